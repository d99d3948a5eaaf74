//! What OpenPBS says of its queues and nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{CeState, CeStatus};

use crate::pbs::limits::{jobs_max, least, mib, seconds, state_count};
use crate::pbs::stanza::Stanza;

/// Resources that every node has. What else there is, the site has named itself.
const OWN_RESOURCES: [&str; 14] = [
    "accelerator",
    "accelerator_memory",
    "accelerator_model",
    "arch",
    "hbmem",
    "host",
    "hpmem",
    "mem",
    "naccelerators",
    "ncpus",
    "ngpus",
    "nodect",
    "vmem",
    "vnode",
];

/// A server with its queues and nodes.
pub(super) struct Site<'a> {
    server: Option<&'a Stanza>,
    queues: BTreeMap<&'a str, &'a Stanza>,
    nodes: &'a [Stanza],
}

/// What the virtual nodes of one host have together.
#[derive(Default)]
struct Host {
    cores: u32,
    used: u32,
    offline: u32,
    memory_mib: u64,
    gpus: u32,
    /// Whether anybody is on it, or nobody can come.
    taken: bool,
}

impl<'a> Site<'a> {
    pub(super) fn new(server: &'a [Stanza], queues: &'a [Stanza], nodes: &'a [Stanza]) -> Self {
        Self {
            server: server.first(),
            queues: queues.iter().map(|it| (it.name.as_str(), it)).collect(),
            nodes,
        }
    }

    pub(super) fn version(&self) -> &'a str {
        self.server
            .and_then(|server| server.get("pbs_version"))
            .unwrap_or_default()
    }

    /// Writes what is known of a queue into `state`; `false` if there is none of that name.
    pub(super) fn publish(&self, queue: &str, state: &mut CeState) -> bool {
        let Some(queue) = self.queues.get(queue) else {
            return false;
        };
        let nodes: Vec<&Stanza> = self.nodes_of(queue).collect();
        publish_nodes(&nodes, state);
        self.publish_limits(queue, state);
        let counts = queue.get("state_count").unwrap_or_default();
        let count = |states: &[&str]| {
            let counts = states.iter().map(|state| state_count(counts, state));
            counts.fold(0, u32::saturating_add)
        };
        state.jobs_running = Some(count(&["Running", "Exiting"]));
        state.jobs_waiting = Some(count(&["Queued", "Held", "Waiting", "Transit"]));
        (state.status, state.reason) = self.status(queue, state);
        true
    }

    /// The nodes that run a queue's jobs: those that name the queue, if any does, or else all that
    /// name none; and of them those that have what the queue asks for in each chunk.
    fn nodes_of(&self, queue: &'a Stanza) -> impl Iterator<Item = &'a Stanza> {
        let names = |node: &Stanza| node.get("queue") == Some(queue.name.as_str());
        let is_bound = self.nodes.iter().any(names);
        let has_all = |node: &Stanza| {
            queue
                .under("default_chunk")
                .filter(|(resource, _)| !OWN_RESOURCES.contains(resource))
                .all(|(resource, value)| {
                    node.get(&format!("resources_available.{resource}"))
                        .is_some_and(|has| has.split(',').any(|one| one == value))
                })
        };
        self.nodes
            .iter()
            .filter(move |node| match is_bound {
                true => names(node),
                false => node.get("queue").is_none(),
            })
            .filter(move |node| has_all(node))
    }

    /// The limits of the queue, and of the server above it.
    fn publish_limits(&self, queue: &Stanza, state: &mut CeState) {
        let levels = [Some(queue), self.server];
        let levels = || levels.iter().flatten().copied();
        state.walltime_max_s = levels()
            .filter_map(|level| seconds(level.get("resources_max.walltime")?))
            .min();
        state.job_cores_max = least(levels().map(|it| it.number("resources_max.ncpus")));
        state.job_nodes_max = least(levels().map(|it| it.number("resources_max.nodect")));
        let jobs = |names: [&str; 3]| {
            least(levels().flat_map(|level| names.map(|name| jobs_max(level.get(name)?))))
        };
        state.own_running_max = jobs(["max_run", "max_user_run", "max_running"]);
        state.own_jobs_max = jobs(["max_queued", "max_user_queuable", "max_queuable"]);
    }

    fn status(&self, queue: &Stanza, state: &CeState) -> (CeStatus, Option<String>) {
        let (status, reason) = match (queue.is_true("enabled"), queue.is_true("started")) {
            // It takes jobs and starts none, or does neither.
            (true, false) => (CeStatus::Closed, "the queue is stopped".to_owned()),
            (false, false) => (
                CeStatus::Closed,
                "the queue is disabled and stopped".to_owned(),
            ),
            // It runs what it has.
            (false, true) => (CeStatus::Draining, "the queue is disabled".to_owned()),
            (true, true)
                if self
                    .server
                    .is_some_and(|it| it.get("scheduling") == Some("False")) =>
            {
                (CeStatus::Closed, "the server does not schedule".to_owned())
            }
            (true, true) if state.cores_offline >= state.cores_total => {
                (CeStatus::Closed, "no node is up".to_owned())
            }
            (true, true) => return (CeStatus::Production, None),
        };
        (status, Some(reason))
    }
}

/// Whether a virtual node takes no jobs: any of the words of its state says so.
fn is_offline(node: &Stanza) -> bool {
    const UP: [&str; 6] = [
        "free",
        "job-busy",
        "job-exclusive",
        "resv-exclusive",
        "busy",
        "<various>",
    ];
    node.get("state")
        .is_none_or(|state| state.split(',').any(|word| !UP.contains(&word.trim())))
}

fn hosts<'a>(nodes: &[&'a Stanza]) -> BTreeMap<&'a str, Host> {
    let mut hosts: BTreeMap<&str, Host> = BTreeMap::new();
    for node in nodes {
        let name = node
            .get("resources_available.host")
            .or(node.get("Mom"))
            .unwrap_or(&node.name);
        let cores = node.number("resources_available.ncpus").unwrap_or(0_u32);
        let assigned: u32 = node.number("resources_assigned.ncpus").unwrap_or(0);
        let is_exclusive = node
            .get("state")
            .is_some_and(|state| state.contains("-exclusive"));
        let host = hosts.entry(name).or_default();
        host.cores = host.cores.saturating_add(cores);
        let (offline, used) = match is_offline(node) {
            true => (cores, 0),
            false if is_exclusive => (0, cores),
            false => (0, assigned.min(cores)),
        };
        host.offline = host.offline.saturating_add(offline);
        host.used = host.used.saturating_add(used);
        // A vnode without cores stands for the host itself, which may be up when all others are not.
        host.taken |= cores > 0 && (is_offline(node) || assigned > 0 || is_exclusive);
        let memory = node.get("resources_available.mem").and_then(mib);
        host.memory_mib = host.memory_mib.saturating_add(memory.unwrap_or(0));
        let gpus = node.number("resources_available.ngpus");
        host.gpus = host.gpus.saturating_add(gpus.unwrap_or(0));
    }
    hosts
}

fn publish_nodes(nodes: &[&Stanza], state: &mut CeState) {
    let hosts = hosts(nodes);
    // One that never answered has neither cores nor memory, and is not counted as a node.
    let known = || hosts.values().filter(|host| host.cores > 0);
    let sum = |what: fn(&Host) -> u32| known().map(what).fold(0, u32::saturating_add);
    let count = |matching: fn(&&Host) -> bool| {
        u32::try_from(known().filter(matching).count()).unwrap_or(u32::MAX)
    };
    let total = sum(|host| host.cores);
    let offline = sum(|host| host.offline);
    let used = sum(|host| host.used);
    state.cores_total = Some(total);
    state.cores_offline = Some(offline);
    state.cores_used = Some(used);
    state.cores_free = Some(total.saturating_sub(offline).saturating_sub(used));
    state.nodes_total = Some(count(|_| true));
    state.nodes_offline = Some(count(|host| host.offline == host.cores));
    state.nodes_free = Some(count(|host| !host.taken));
    state.gpus_total = Some(sum(|host| host.gpus));
    state.node_cores = known().map(|host| host.cores).max();
    state.node_memory_mib = known().map(|host| host.memory_mib).max();
    state.operating_system = one_of(nodes, "resources_available.arch");
    state.features = features(nodes);
}

/// What all nodes agree on. PBS calls it `arch`, and says `linux`: of processors it knows nothing.
fn one_of(nodes: &[&Stanza], attribute: &str) -> Option<String> {
    let values: BTreeSet<&str> = nodes.iter().filter_map(|it| it.get(attribute)).collect();
    match values.len() {
        1 => values.first().map(|&value| value.to_owned()),
        _ => None,
    }
}

/// The site's own resources that tell nodes apart, as they may stand in a constraint.
fn features(nodes: &[&Stanza]) -> Vec<String> {
    let mut features = BTreeSet::new();
    for node in nodes {
        for (resource, value) in node.under("resources_available") {
            // Amounts are no features.
            let is_amount = value.starts_with(|c: char| c.is_ascii_digit());
            if !OWN_RESOURCES.contains(&resource) && !is_amount && value != "<various>" {
                features.extend(value.split(',').map(|one| format!("{resource}={one}")));
            }
        }
    }
    features.into_iter().collect()
}
