//! What a CE publishes, under GLUE 1.3 names: the other ad of Requirements and Rank.
//!
//! What a batch system does not tell is published as the worst case: no free cores,
//! [`INFINITE`] jobs and seconds before ours. Times under `GlueCEPolicy` are in minutes,
//! all others in seconds, as GLUE has it.

use std::sync::Arc;

use fairway_jdl::{Ad, Value};
use fairway_model::{Ce, CeId, CeState, CeStatus, SiteName};

/// GLUE's "infinitely many" in attributes where large is bad; also its response time of a CE
/// of which nothing is known.
pub const INFINITE: i64 = 2_146_660_842;

/// GLUE's "no limit" under `GlueCEPolicy`.
pub const UNLIMITED: i64 = 999_999_999;

/// The CE's ad. `response_s` is the estimate of how long a pilot waits there before it
/// starts; see [`response_s`].
pub fn ad(site: &SiteName, ce: &Ce, state: Option<&CeState>, response_s: i64) -> Ad {
    let id = CeId {
        site: site.clone(),
        ce: ce.name.clone(),
    };
    let mut glue = Builder(Ad::new());
    glue.text("GlueCEUniqueID", &id.to_string());
    glue.text("GlueCEName", ce.name.as_str());
    glue.text("GlueSiteName", site.as_str());
    glue.text("GlueSiteUniqueID", site.as_str());
    status(&mut glue, ce, state, response_s);
    policy(&mut glue, ce, state);
    info(&mut glue, site, ce, state);
    host(&mut glue, ce, state);
    alien(&mut glue, ce, state);
    glue.0
}

/// How long a pilot of this CE waits before it starts, in seconds: 0 if a pilot's cores are
/// free and nobody waits; otherwise the mean of what the last pilots there waited
/// (`delays_s`); [`INFINITE`] if there was none.
pub fn response_s(
    ce: &Ce,
    state: Option<&CeState>,
    delays_s: impl IntoIterator<Item = u64>,
) -> i64 {
    let idle = state.is_some_and(|state| {
        state.status == CeStatus::Production
            && state.jobs_waiting == Some(0)
            && state.cores_free.is_some_and(|free| free >= ce.shape.cores)
    });
    if idle {
        return 0;
    }
    let (sum, n) = delays_s
        .into_iter()
        .fold((0_u64, 0_u64), |(sum, n), delay| {
            (sum.saturating_add(delay), n + 1)
        });
    let mean = sum.checked_div(n);
    mean.and_then(|mean| i64::try_from(mean).ok())
        .map_or(INFINITE, |mean| mean.min(INFINITE))
}

/// The GLUE name of a status.
pub const fn status_name(state: Option<&CeState>) -> &'static str {
    match state {
        Some(state) => match state.status {
            CeStatus::Production => "Production",
            CeStatus::Draining => "Draining",
            CeStatus::Closed => "Closed",
            CeStatus::Unreachable => "Unknown",
        },
        None => "Unknown",
    }
}

struct Builder(Ad);

impl Builder {
    fn text(&mut self, name: &str, value: &str) {
        self.0.insert(name, Value::String(Arc::from(value)));
    }

    fn number(&mut self, name: &str, value: impl TryInto<i64>) {
        let value = value.try_into().unwrap_or(i64::MAX);
        self.0.insert(name, Value::Integer(value));
    }

    fn texts<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        let values = values.map(|text| Value::String(Arc::from(text))).collect();
        self.0.insert(name, Value::List(values));
    }
}

fn status(glue: &mut Builder, ce: &Ce, state: Option<&CeState>, response_s: i64) {
    let free = state.and_then(|state| state.cores_free).unwrap_or(0);
    let running = state.and_then(|state| state.jobs_running).map(i64::from);
    let waiting = state.and_then(|state| state.jobs_waiting).map(i64::from);
    let total = running
        .zip(waiting)
        .map(|(running, waiting)| running + waiting);
    glue.text("GlueCEStateStatus", status_name(state));
    glue.number("GlueCEStateFreeCPUs", free);
    glue.number("GlueCEStateFreeJobSlots", free / ce.shape.cores.max(1));
    glue.number("GlueCEStateRunningJobs", running.unwrap_or(INFINITE));
    glue.number("GlueCEStateWaitingJobs", waiting.unwrap_or(INFINITE));
    glue.number("GlueCEStateTotalJobs", total.unwrap_or(INFINITE));
    glue.number("GlueCEStateEstimatedResponseTime", response_s);
    glue.number("GlueCEStateWorstResponseTime", response_s);
}

/// What a task can get is what a pilot asks for, where the queue does not allow less.
fn walltime_s(ce: &Ce, state: Option<&CeState>) -> u64 {
    let limit_s = state.and_then(|state| state.walltime_max_s);
    limit_s.map_or(ce.shape.walltime_s, |max| max.min(ce.shape.walltime_s))
}

fn policy(glue: &mut Builder, ce: &Ce, state: Option<&CeState>) {
    let wall_min = walltime_s(ce, state) / 60;
    for name in [
        "GlueCEPolicyMaxWallClockTime",
        "GlueCEPolicyMaxObtainableWallClockTime",
        "GlueCEPolicyMaxCPUTime",
        "GlueCEPolicyMaxObtainableCPUTime",
    ] {
        glue.number(name, wall_min);
    }
    glue.number("GlueCEPolicyMaxRunningJobs", UNLIMITED);
    glue.number("GlueCEPolicyMaxWaitingJobs", ce.limits.queued_max);
    glue.number("GlueCEPolicyMaxTotalJobs", ce.limits.pilots_max);
    glue.number("GlueCEPolicyMaxSlotsPerJob", ce.shape.cores);
    let total = state.and_then(|state| state.cores_total).unwrap_or(0);
    glue.number(
        "GlueCEPolicyAssignedJobSlots",
        total / ce.shape.cores.max(1),
    );
    glue.number("GlueCEPolicyPriority", 1);
    glue.number("GlueCEPolicyPreemption", 0);
}

fn info(glue: &mut Builder, site: &SiteName, ce: &Ce, state: Option<&CeState>) {
    let (kind, version) = state.map_or(("", ""), |state| (&*state.lrms.0, &*state.lrms.1));
    glue.text("GlueCEInfoLRMSType", kind);
    glue.text("GlueCEInfoLRMSVersion", version);
    glue.text("GlueCEInfoHostName", site.as_str());
    glue.text("GlueCEInfoJobManager", kind);
    let total = state.and_then(|state| state.cores_total).unwrap_or(0);
    glue.number("GlueCEInfoTotalCPUs", total);
    let users = ce.users.iter().map(|user| format!("USER:{user}"));
    let groups = ce.groups.iter().map(|group| format!("VO:{group}"));
    let rules: Vec<String> = users.chain(groups).collect();
    glue.texts(
        "GlueCEAccessControlBaseRule",
        rules.iter().map(String::as_str),
    );
}

fn host(glue: &mut Builder, ce: &Ce, state: Option<&CeState>) {
    let memory = state.and_then(|state| state.node_memory_mib).unwrap_or(0);
    let cores = state.and_then(|state| state.node_cores).unwrap_or(0);
    let system = state.and_then(|state| state.operating_system.as_deref());
    let (name, release) = system
        .unwrap_or("")
        .split_once(' ')
        .unwrap_or((system.unwrap_or(""), ""));
    glue.number("GlueHostMainMemoryRAMSize", memory);
    glue.number("GlueHostMainMemoryVirtualSize", memory);
    glue.number("GlueHostArchitectureSMPSize", cores);
    glue.text(
        "GlueHostArchitecturePlatformType",
        state
            .and_then(|state| state.architecture.as_deref())
            .unwrap_or(""),
    );
    glue.text("GlueHostOperatingSystemName", name);
    glue.text("GlueHostOperatingSystemRelease", release);
    // Pilots need it, so it is there wherever one runs.
    glue.0
        .insert("GlueHostNetworkAdapterOutboundIP", Value::Boolean(true));
    glue.texts(
        "GlueHostApplicationSoftwareRunTimeEnvironment",
        ce.tags.iter().map(String::as_str),
    );
}

/// What descriptions in AliEn's manner ask for by its own names.
fn alien(glue: &mut Builder, ce: &Ce, state: Option<&CeState>) {
    glue.number("TTL", walltime_s(ce, state));
    glue.number("Price", 1);
    glue.texts("Packages", ce.tags.iter().map(String::as_str));
}
