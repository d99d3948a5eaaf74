//! What TORQUE says of its queues and nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{CeState, CeStatus};

use crate::pbs::limits::{jobs_max, least, mib, seconds, state_count};
use crate::pbs::stanza::Stanza;

/// A node.
pub(super) struct Node {
    pub(super) cores: u32,
    pub(super) used: u32,
    pub(super) is_offline: bool,
    memory_mib: Option<u64>,
    gpus: u32,
    properties: Vec<String>,
    architecture: Option<String>,
    operating_system: Option<String>,
}

/// The nodes in the answer of `pbsnodes`.
pub(super) fn nodes(stanzas: &[Stanza]) -> Vec<Node> {
    stanzas
        .iter()
        // Anything that is no node has no processors.
        .filter_map(|stanza| Some(node(stanza, stanza.number("np")?)))
        .collect()
}

fn node(stanza: &Stanza, cores: u32) -> Node {
    let state = stanza.get("state").unwrap_or_default();
    // `status` is a list of `name=value`.
    let status: BTreeMap<&str, &str> = stanza
        .get("status")
        .unwrap_or_default()
        .split(',')
        .filter_map(|word| word.trim().split_once('='))
        .collect();
    let used = match stanza.get("jobs") {
        _ if state.contains("job-exclusive") => cores,
        Some(jobs) => slots(jobs).min(cores),
        None => 0,
    };
    Node {
        cores,
        used,
        is_offline: is_offline(state),
        // Over Slurm the memory that jobs can have is called `availmem`.
        memory_mib: ["physmem", "availmem"]
            .iter()
            .find_map(|name| mib(status.get(name)?)),
        gpus: stanza.number("gpus").unwrap_or(0),
        properties: stanza
            .get("properties")
            .unwrap_or_default()
            .split([',', ' '])
            .filter(|property| !property.is_empty())
            .map(str::to_owned)
            .collect(),
        architecture: match (status.get("arch"), status.get("uname")) {
            (Some(arch), _) => Some((*arch).to_owned()),
            (None, Some(uname)) => uname.split_whitespace().last().map(str::to_owned),
            (None, None) => None,
        },
        operating_system: match (status.get("uname"), status.get("opsys")) {
            // System, host, release, words about its build, architecture.
            (Some(uname), _) => {
                let words: Vec<&str> = uname.split_whitespace().collect();
                match words[..] {
                    [system, _host, release, ..] => Some(format!("{system} {release}")),
                    _ => None,
                }
            }
            (None, Some(opsys)) => {
                let words: Vec<&str> = opsys.split_whitespace().take(2).collect();
                Some(words.join(" "))
            }
            (None, None) => None,
        },
    }
}

fn is_offline(state: &str) -> bool {
    const UP: [&str; 8] = [
        "free",
        "busy",
        "reserve",
        "job-exclusive",
        "job-sharing",
        "mixed",
        "allocated",
        "completing",
    ];
    state
        .split([',', '+'])
        .any(|word| !UP.contains(&word.trim()))
}

/// The processors that `jobs` of a node take: `0/12.server, 1/12.server`, or `0-3,5/12.server`.
fn slots(jobs: &str) -> u32 {
    let mut slots = 0_u32;
    for word in jobs.split([',', ' ']).filter(|word| !word.is_empty()) {
        let range = word.split('/').next().unwrap_or_default();
        let count = match range.split_once('-') {
            Some((first, last)) => match (first.parse::<u32>(), last.parse::<u32>()) {
                (Ok(first), Ok(last)) if last >= first => (last - first).saturating_add(1),
                _ => 0,
            },
            None => u32::from(range.parse::<u32>().is_ok()),
        };
        slots = slots.saturating_add(count);
    }
    slots
}

/// Writes what is known of a queue into `state`.
pub(super) fn publish(queue: &Stanza, nodes: &[Node], state: &mut CeState) {
    let needed = ["resources_default.neednodes", "resources_default.feature"]
        .iter()
        .find_map(|name| queue.get(name))
        .unwrap_or_default();
    // A queue that asks for properties runs on the nodes that have them. What no node has is no
    // property: `neednodes` may be a whole request, such as `1:ppn=2:fast`.
    let has = |node: &Node, word: &str| node.properties.iter().any(|it| it == word);
    let words: Vec<&str> = needed
        .split([':', ','])
        .filter(|word| nodes.iter().any(|node| has(node, word)))
        .collect();
    let nodes: Vec<&Node> = nodes
        .iter()
        .filter(|node| words.iter().all(|word| has(node, word)))
        .collect();
    publish_nodes(&nodes, state);
    publish_limits(queue, state);
    let counts = queue.get("state_count").unwrap_or_default();
    let count = |states: &[&str]| {
        let counts = states.iter().map(|state| state_count(counts, state));
        counts.fold(0, u32::saturating_add)
    };
    state.jobs_running = Some(count(&["Running", "Exiting"]));
    state.jobs_waiting = Some(count(&["Queued", "Held", "Waiting", "Transit"]));
    (state.status, state.reason) = status(queue, state);
}

pub(super) fn publish_nodes(nodes: &[&Node], state: &mut CeState) {
    let sum = |what: fn(&Node) -> u32| {
        let values = nodes.iter().map(|node| what(node));
        values.fold(0, u32::saturating_add)
    };
    let count = |matching: fn(&&&Node) -> bool| {
        u32::try_from(nodes.iter().filter(matching).count()).unwrap_or(u32::MAX)
    };
    let total = sum(|node| node.cores);
    let offline = sum(|node| if node.is_offline { node.cores } else { 0 });
    let used = sum(|node| if node.is_offline { 0 } else { node.used });
    state.cores_total = Some(total);
    state.cores_offline = Some(offline);
    state.cores_used = Some(used);
    state.cores_free = Some(total.saturating_sub(offline).saturating_sub(used));
    state.nodes_total = Some(count(|_| true));
    state.nodes_offline = Some(count(|node| node.is_offline));
    state.nodes_free = Some(count(|node| !node.is_offline && node.used == 0));
    state.gpus_total = Some(sum(|node| node.gpus));
    describe(nodes, state);
}

/// What a node is.
pub(super) fn describe(nodes: &[&Node], state: &mut CeState) {
    state.node_cores = nodes.iter().map(|node| node.cores).max();
    state.node_memory_mib = nodes.iter().filter_map(|node| node.memory_mib).max();
    state.architecture = one_of(nodes, |node| node.architecture.as_deref());
    state.operating_system = one_of(nodes, |node| node.operating_system.as_deref());
    let features: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.properties).collect();
    state.features = features.into_iter().cloned().collect();
}

/// What all nodes that tell it agree on.
fn one_of(nodes: &[&Node], what: impl Fn(&Node) -> Option<&str>) -> Option<String> {
    let values: BTreeSet<&str> = nodes.iter().filter_map(|node| what(node)).collect();
    match values.len() {
        1 => values.first().map(|&value| value.to_owned()),
        _ => None,
    }
}

fn publish_limits(queue: &Stanza, state: &mut CeState) {
    state.walltime_max_s = queue.get("resources_max.walltime").and_then(seconds);
    let number = |names: [&str; 2]| least(names.map(|name| queue.number(name)));
    state.job_cores_max = number(["resources_max.procct", "resources_max.ncpus"]);
    state.job_nodes_max = number(["resources_max.nodect", "resources_max.nodes"]);
    let jobs = |names: [&str; 2]| least(names.map(|name| jobs_max(queue.get(name)?)));
    state.own_running_max = jobs(["max_running", "max_user_run"]);
    state.own_jobs_max = jobs(["max_queuable", "max_user_queuable"]);
}

pub(super) fn status(queue: &Stanza, state: &CeState) -> (CeStatus, Option<String>) {
    let (status, reason) = match (queue.is_true("enabled"), queue.is_true("started")) {
        // It takes jobs and starts none, or does neither.
        (true, false) => (CeStatus::Closed, "the queue is stopped"),
        (false, false) => (CeStatus::Closed, "the queue is disabled and stopped"),
        // It runs what it has.
        (false, true) => (CeStatus::Draining, "the queue is disabled"),
        (true, true) if state.cores_offline >= state.cores_total => {
            (CeStatus::Closed, "no node is up")
        }
        (true, true) => return (CeStatus::Production, None),
    };
    (status, Some(reason.to_owned()))
}
