//! What a CE publishes, under GLUE 1.3 names: the other ad of Requirements and Rank.
//!
//! What a batch system does not tell is published as the worst case: no free cores,
//! [`INFINITE`] jobs and seconds before ours. Only a limit that is not told is none. What
//! GLUE 1.3 has no name for (nodes, GPUs, memory per core) has one in its manner. Times under `GlueCEPolicy` are in minutes,
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

/// What was observed of how long pilots wait at a CE.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// The mean of what the last pilots waited, in seconds; `None` if there was none.
    pub mean_s: Option<u64>,
    /// What the pilot that waits longest has waited by now, in seconds.
    pub longest_s: u64,
}

/// How long a pilot of this CE waits before it starts, in seconds. 0 if an allocation's cores
/// are free and nobody waits. Otherwise what the batch system itself estimates; or the mean of
/// what the last pilots waited; or, if there was none, what it takes until those before it have
/// run and one more is over, if each takes as long as a pilot may: (waiting + 1) * walltime /
/// running. [`INFINITE`] if that is not told either, or the CE is not in production. Never less than a pilot there has waited by now.
pub fn response_s(ce: &Ce, state: Option<&CeState>, waits: Waits) -> i64 {
    let Some(state) = state.filter(|state| state.status == CeStatus::Production) else {
        return INFINITE;
    };
    if is_idle(ce, state) {
        return 0;
    }
    let told = state.start_estimate;
    let told_s = told.map(|start| start.since(state.observed_at).as_secs());
    let by_queue_s = || {
        let running = state.jobs_running.filter(|running| *running > 0)?;
        let before = u64::from(state.jobs_waiting?) + 1;
        Some(before.saturating_mul(walltime_s(ce, Some(state))) / u64::from(running))
    };
    let known_s = told_s.or(waits.mean_s).or_else(by_queue_s);
    known_s
        .and_then(|known_s| i64::try_from(known_s.max(waits.longest_s)).ok())
        .map_or(INFINITE, |known_s| known_s.min(INFINITE))
}

/// Whether an allocation of the CE's shape would start at once.
fn is_idle(ce: &Ce, state: &CeState) -> bool {
    let nodes = ce.shape.nodes;
    let free_cores = state.cores_free;
    let room = match state.nodes_free.filter(|_| ce.shape.whole_node) {
        Some(free) => free >= nodes,
        None => free_cores.is_some_and(|free| free >= ce.shape.cores.saturating_mul(nodes)),
    };
    state.jobs_waiting == Some(0) && room
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
    glue.number(
        "GlueCEStateFreeJobSlots",
        free / pilot_cores(ce, state).max(1),
    );
    let used = state.and_then(|state| state.cores_used).map(i64::from);
    let offline = state.and_then(|state| state.cores_offline).map(i64::from);
    glue.number("GlueCEStateUsedCPUs", used.unwrap_or(INFINITE));
    glue.number("GlueCEStateOfflineCPUs", offline.unwrap_or(INFINITE));
    let free_nodes = state.and_then(|state| state.nodes_free).unwrap_or(0);
    let offline_nodes = state.and_then(|state| state.nodes_offline).map(i64::from);
    glue.number("GlueCEStateFreeNodes", free_nodes);
    glue.number("GlueCEStateOfflineNodes", offline_nodes.unwrap_or(INFINITE));
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

/// Cores of one pilot: those of a node where whole nodes are asked for.
fn pilot_cores(ce: &Ce, state: Option<&CeState>) -> u32 {
    let node = state.and_then(|state| state.node_cores);
    let node = node.filter(|_| ce.shape.whole_node);
    node.unwrap_or(ce.shape.cores)
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
    let running = state.and_then(|state| state.own_running_max).map(i64::from);
    glue.number("GlueCEPolicyMaxRunningJobs", running.unwrap_or(UNLIMITED));
    glue.number("GlueCEPolicyMaxWaitingJobs", ce.limits.queued_max);
    let own = state.and_then(|state| state.own_jobs_max);
    let total = own.into_iter().fold(ce.limits.pilots_max, u32::min);
    glue.number("GlueCEPolicyMaxTotalJobs", total);
    // A task runs on one node: what a pilot has there is what it can get.
    let cores = pilot_cores(ce, state);
    let allowed = state.and_then(|state| state.job_cores_max);
    let slots = allowed.into_iter().fold(cores, u32::min);
    glue.number("GlueCEPolicyMaxSlotsPerJob", slots);
    glue.number("GlueCEPolicyMaxGPUsPerJob", ce.shape.gpus);
    let nodes = state.and_then(|state| state.job_nodes_max);
    let nodes = nodes.into_iter().fold(ce.shape.nodes, u32::min);
    glue.number("GlueCEPolicyMaxNodesPerJob", nodes);
    let total = state.and_then(|state| state.cores_total).unwrap_or(0);
    glue.number("GlueCEPolicyAssignedJobSlots", total / cores.max(1));
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
    let nodes = state.and_then(|state| state.nodes_total).unwrap_or(0);
    glue.number("GlueCEInfoTotalNodes", nodes);
    let gpus = state.and_then(|state| state.gpus_total).unwrap_or(0);
    glue.number("GlueCEInfoTotalGPUs", gpus);
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
    let per_core = memory.checked_div(u64::from(cores)).unwrap_or(0);
    glue.number("GlueHostMainMemoryRAMSizePerCore", per_core);
    glue.number("GlueHostArchitectureSMPSize", cores);
    glue.text(
        "GlueHostArchitecturePlatformType",
        state
            .and_then(|state| state.architecture.as_deref())
            .unwrap_or(""),
    );
    glue.text("GlueHostOperatingSystemName", name);
    glue.text("GlueHostOperatingSystemRelease", release);
    glue.0.insert(
        "GlueHostNetworkAdapterOutboundIP",
        Value::Boolean(ce.outbound),
    );
    if let Some(si00) = ce.benchmark_si00 {
        glue.0
            .insert("GlueHostBenchmarkSI00", Value::Integer(i64::from(si00)));
    }
    let features = state.map_or(&[][..], |state| &state.features);
    let features = features.iter().filter(|name| !ce.tags.contains(name));
    glue.texts(
        "GlueHostApplicationSoftwareRunTimeEnvironment",
        ce.tags.iter().chain(features).map(String::as_str),
    );
}

/// What descriptions in AliEn's manner ask for by its own names.
fn alien(glue: &mut Builder, ce: &Ce, state: Option<&CeState>) {
    glue.number("TTL", walltime_s(ce, state));
    glue.number("Price", 1);
    glue.texts("Packages", ce.tags.iter().map(String::as_str));
}
