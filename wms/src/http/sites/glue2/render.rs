//! A site as GLUE 2 entities (GFD.147) in JSON: a list for each kind, with references by ID
//! under `Associations`. What is not known has the placeholders of GFD.147, appendix A.
//!
//! The CEs are the ComputingShares; the nodes behind each are an ExecutionEnvironment. Times are
//! in seconds, memory is in MB as GLUE counts it (our MiB), slots are cores.

use fairway_api::public::{CeView, SiteView};
use fairway_model::{Ce, CeState, CeStatus, SiteMode, Timestamp};
use serde_json::{Value, json};

/// "Not known" for numbers.
const UNKNOWN: u64 = 999_999_999;
/// "Not known" for texts.
const UNDEFINED: &str = "UNDEFINEDVALUE";
/// How long the information holds, in seconds: some looks at the batch system.
const VALIDITY_S: u64 = 300;
const CAPABILITY: &str = "executionmanagement.jobexecution";

/// The site's entities at `now`; `url` is where jobs are submitted.
pub(super) fn document(view: &SiteView, url: &str, now: Timestamp) -> Value {
    let shares: Vec<Share<'_>> = shares(view);
    json!({
        "ComputingService": [service(view, &shares, now)],
        "ComputingEndpoint": [endpoint(view, &shares, url, now)],
        "ComputingShare": shares.iter().map(|it| share(view, it, now)).collect::<Vec<_>>(),
        "ComputingManager": [manager(view, &shares, now)],
        "ExecutionEnvironment":
            shares.iter().map(|it| environment(view, it, now)).collect::<Vec<_>>(),
    })
}

/// A CE, its view, and its name in IDs.
struct Share<'a> {
    ce: &'a Ce,
    view: &'a CeView,
    id: String,
}

impl Share<'_> {
    fn number(&self, of: fn(&CeState) -> Option<u32>) -> Option<u64> {
        self.view.published.as_ref().and_then(of).map(u64::from)
    }

    /// When the information was gathered.
    fn seen_at(&self, now: Timestamp) -> String {
        let seen = self.view.published.as_ref().map(|it| it.observed_at);
        seen.unwrap_or(now).to_string()
    }
}

fn shares(view: &SiteView) -> Vec<Share<'_>> {
    let ces = view.site.ces.iter().zip(&view.states);
    let share = |(ce, state)| {
        let ce: &Ce = ce;
        Share {
            ce,
            view: state,
            id: format!("{}/{}", view.site.name, ce.name),
        }
    };
    ces.map(share).collect()
}

fn id(kind: &str, name: &str) -> String {
    format!("urn:fairway:{kind}:{name}")
}

fn site_id(kind: &str, view: &SiteView) -> String {
    id(kind, view.site.name.as_str())
}

fn ids(kind: &str, shares: &[Share<'_>]) -> Vec<String> {
    shares.iter().map(|share| id(kind, &share.id)).collect()
}

fn known(number: Option<u64>) -> u64 {
    number.unwrap_or(UNKNOWN)
}

/// The sum over all CEs; not known as soon as it is not known of one.
fn sum(shares: &[Share<'_>], of: fn(&CeState) -> Option<u32>) -> u64 {
    known(shares.iter().map(|share| share.number(of)).sum())
}

fn total(state: &CeState) -> Option<u32> {
    Some(state.jobs_running?.saturating_add(state.jobs_waiting?))
}

fn service(view: &SiteView, shares: &[Share<'_>], now: Timestamp) -> Value {
    json!({
        "CreationTime": now.to_string(),
        "Validity": VALIDITY_S,
        "ID": site_id("ComputingService", view),
        "Name": view.site.name,
        "Type": "org.fairway",
        "QualityLevel": "production",
        "Capability": [CAPABILITY],
        "Complexity": format!("endpointType=1, share={0}, resource={0}", shares.len()),
        "TotalJobs": sum(shares, total),
        "RunningJobs": sum(shares, |it| it.jobs_running),
        "WaitingJobs": sum(shares, |it| it.jobs_waiting),
        "Associations": {
            "ComputingEndpointID": [site_id("ComputingEndpoint", view)],
            "ComputingShareID": ids("ComputingShare", shares),
            "ComputingManagerID": [site_id("ComputingManager", view)],
        },
    })
}

fn endpoint(view: &SiteView, shares: &[Share<'_>], url: &str, now: Timestamp) -> Value {
    let statuses = || shares.iter().filter_map(|it| it.view.published.as_ref());
    let (health, info) = match statuses().find(|it| it.status == CeStatus::Unreachable) {
        Some(state) => ("critical", state.reason.as_deref().unwrap_or(UNDEFINED)),
        None if statuses().count() < shares.len() => ("unknown", "nothing was published yet"),
        None => ("ok", "all CEs answer"),
    };
    let open = shares.iter().any(|it| serving(view, it) == "production");
    json!({
        "CreationTime": now.to_string(),
        "Validity": VALIDITY_S,
        "ID": site_id("ComputingEndpoint", view),
        "Name": view.site.name,
        "URL": url,
        "Capability": [CAPABILITY],
        "Technology": "webservice",
        "InterfaceName": "org.fairway.rest",
        "InterfaceVersion": ["1"],
        "QualityLevel": "production",
        "HealthState": health,
        "HealthStateInfo": info,
        "ServingState": if open { "production" } else { "closed" },
        "Staging": "staginginout",
        "JobDescription": ["glite:jdl"],
        "Associations": {
            "ComputingServiceID": site_id("ComputingService", view),
            "ComputingShareID": ids("ComputingShare", shares),
        },
    })
}

/// The stricter of what we do with a CE and what its batch system does.
fn serving(view: &SiteView, share: &Share<'_>) -> &'static str {
    let status = share.view.published.as_ref().map(|it| it.status);
    match (
        view.site.mode.max(share.ce.mode),
        status.unwrap_or_default(),
    ) {
        (SiteMode::Closed, _) | (_, CeStatus::Closed | CeStatus::Unreachable) => "closed",
        (SiteMode::Draining, _) | (_, CeStatus::Draining) => "draining",
        (SiteMode::Open, CeStatus::Production) => "production",
    }
}

fn share(view: &SiteView, share: &Share<'_>, now: Timestamp) -> Value {
    let Share {
        ce,
        view: state,
        id: name,
    } = share;
    let walltime = state.published.as_ref().and_then(|it| it.walltime_max_s);
    let walltime = walltime.map_or(ce.shape.walltime_s, |it| it.min(ce.shape.walltime_s));
    let memory = match ce.shape.memory_mib {
        0 => state.published.as_ref().and_then(|it| it.node_memory_mib),
        asked => Some(asked),
    };
    let others = state.others.as_ref();
    json!({
        "CreationTime": share.seen_at(now),
        "Validity": VALIDITY_S,
        "ID": id("ComputingShare", name),
        "Name": ce.name,
        "Description": format!("pilots at {name}"),
        "MappingQueue": ce.queue(),
        "MaxWallTime": walltime,
        "MaxTotalJobs": ce.limits.pilots_max,
        "MaxWaitingJobs": ce.limits.queued_max,
        "MaxRunningJobs": known(share.number(|it| it.own_running_max)),
        "MaxSlotsPerJob": ce.shape.cores,
        "MaxMainMemory": known(memory),
        "GuaranteedMainMemory": known((ce.shape.memory_mib > 0).then_some(ce.shape.memory_mib)),
        "ServingState": serving(view, share),
        "TotalJobs": known(share.number(total)),
        "RunningJobs": known(share.number(|it| it.jobs_running)),
        "WaitingJobs": known(share.number(|it| it.jobs_waiting)),
        "LocalRunningJobs": known(others.map(|it| it.running.into())),
        "LocalWaitingJobs": known(others.map(|it| it.waiting.into())),
        "EstimatedAverageWaitingTime": known(state.response_s),
        "EstimatedWorstWaitingTime": known(state.response_s),
        "FreeSlots": known(share.number(|it| it.cores_free)),
        "UsedSlots": known(share.number(|it| it.cores_used)),
        "Tag": ce.tags,
        "Associations": {
            "ComputingServiceID": site_id("ComputingService", view),
            "ComputingEndpointID": [site_id("ComputingEndpoint", view)],
            "ExecutionEnvironmentID": [id("ExecutionEnvironment", name)],
        },
    })
}

fn manager(view: &SiteView, shares: &[Share<'_>], now: Timestamp) -> Value {
    let first = shares.iter().find_map(|it| it.view.published.as_ref());
    let version = first
        .map(|it| it.lrms.1.as_str())
        .filter(|it| !it.is_empty());
    json!({
        "CreationTime": now.to_string(),
        "Validity": VALIDITY_S,
        "ID": site_id("ComputingManager", view),
        "Name": view.site.name,
        "ProductName": first.map_or(view.site.adapter.kind(), |it| it.lrms.0.as_str()),
        "ProductVersion": version.unwrap_or(UNDEFINED),
        "TotalLogicalCPUs": sum(shares, |it| it.cores_total),
        "TotalSlots": sum(shares, |it| it.cores_total),
        "Associations": {
            "ComputingServiceID": site_id("ComputingService", view),
            "ExecutionEnvironmentID": ids("ExecutionEnvironment", shares),
        },
    })
}

fn environment(view: &SiteView, share: &Share<'_>, now: Timestamp) -> Value {
    let published = share.view.published.as_ref();
    let system = published.and_then(|it| it.operating_system.as_deref());
    let (name, version) = match system {
        Some(system) => system.split_once(' ').unwrap_or((system, UNDEFINED)),
        None => (UNDEFINED, UNDEFINED),
    };
    let nodes = published.and_then(|it| it.nodes_total);
    let used = published.and_then(|it| {
        let idle = it.nodes_free?.saturating_add(it.nodes_offline.unwrap_or(0));
        Some(it.nodes_total?.saturating_sub(idle))
    });
    json!({
        "CreationTime": share.seen_at(now),
        "Validity": VALIDITY_S,
        "ID": id("ExecutionEnvironment", &share.id),
        "Name": share.ce.name,
        "Platform": platform(published.and_then(|it| it.architecture.as_deref())),
        "TotalInstances": known(nodes.map(u64::from)),
        "UsedInstances": known(used.map(u64::from)),
        "UnavailableInstances": known(share.number(|it| it.nodes_offline)),
        "LogicalCPUs": known(share.number(|it| it.node_cores)),
        "MainMemorySize": known(published.and_then(|it| it.node_memory_mib)),
        "OSFamily": "linux",
        "OSName": name,
        "OSVersion": version,
        "ConnectivityIn": false,
        "ConnectivityOut": share.ce.outbound,
        "Associations": {
            "ComputingManagerID": site_id("ComputingManager", view),
            "ComputingShareID": [id("ComputingShare", &share.id)],
        },
    })
}

/// GLUE's word for a processor architecture.
fn platform(architecture: Option<&str>) -> &str {
    match architecture {
        Some("x86_64") => "amd64",
        Some("i386" | "i486" | "i586" | "i686") => "i386",
        Some("ppc64" | "ppc64le") => "powerpc",
        Some(other) => other,
        None => UNDEFINED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_796_112_000_000);

    fn view() -> SiteView {
        serde_json::from_value(json!({
            "name": "lyon",
            "adapter": {"kind": "slurm"},
            "ces": [
                {"name": "short", "queue": "cpu", "tags": ["VO-biomed-blast"],
                 "shape": {"cores": 4, "memory_mib": 8000, "walltime_s": 7200}},
                {"name": "new", "mode": "draining", "outbound": false},
            ],
            "states": [
                {"published": {
                    "ce": "lyon/short", "observed_at": NOW.0 - 15_000, "status": "production",
                    "reason": null, "lrms": ["slurm", "22.05.8"], "cores_total": 64, "cores_free": 16,
                    "cores_offline": 8, "jobs_running": 5, "jobs_waiting": 2, "walltime_max_s": 3600,
                    "node_cores": 8, "node_memory_mib": 32000, "architecture": "x86_64",
                    "operating_system": "Debian 12", "nodes_total": 8, "nodes_free": 2,
                    "nodes_offline": 1, "cores_used": 40, "own_running_max": 20},
                 "age_s": 15, "response_s": 30, "ours": {"running": 1, "waiting": 1},
                 "others": {"running": 4, "waiting": 1}, "glue": {}, "pilots": {}},
                {"published": null, "glue": {}, "pilots": {}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_site_with_one_ce_of_which_nothing_is_known() {
        insta::assert_json_snapshot!(document(&view(), "https://wms.example.org:8470", NOW));
    }

    /// Every ID that is referred to is there.
    #[test]
    fn associations_lead_somewhere() {
        let document = document(&view(), "https://wms.example.org:8470", NOW);
        let kinds = document.as_object().unwrap();
        let entities = || kinds.values().flat_map(|it| it.as_array().unwrap());
        let known: Vec<&Value> = entities().map(|it| &it["ID"]).collect();
        for entity in entities() {
            for target in entity["Associations"].as_object().unwrap().values() {
                let one = std::slice::from_ref(target);
                for id in target.as_array().map_or(one, Vec::as_slice) {
                    assert!(known.contains(&id), "{id}");
                }
            }
        }
    }
}
