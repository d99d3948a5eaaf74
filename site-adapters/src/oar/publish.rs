//! What is published of a CE, from its resources and everybody's jobs. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fairway_model::{Ce, CeState, CeStatus};
use serde_json::{Map, Value};

use super::parse::{Job, as_number, as_text};

/// Properties that sites give the memory of a node in, in MiB.
const MEMORY: [&str; 3] = ["memnode", "mem", "memory"];
/// Properties that sites name the processor architecture in.
const ARCHITECTURE: [&str; 2] = ["cpuarch", "arch"];
/// Properties that sites name the operating system in.
const OPERATING_SYSTEM: [&str; 2] = ["os", "operating_system"];
/// What every resource has, and what numbers it: no features.
const NO_FEATURE: [&str; 27] = [
    "api_timestamp",
    "available_upto",
    "besteffort",
    "core",
    "cpu",
    "cpuset",
    "deploy",
    "desktop_computing",
    "drain",
    "expiry_date",
    "finaud_decision",
    "gpu",
    "gpudevice",
    "host",
    "id",
    "last_available_upto",
    "last_job_date",
    "network_address",
    "next_finaud_decision",
    "next_state",
    "resource_id",
    "scheduler_priority",
    "state",
    "state_num",
    "suspended_jobs",
    "thread",
    "type",
];
/// A property with more values than this numbers the nodes, and is not published.
const VALUES_MAX: usize = 16;
/// Longest value that is published, in characters.
const VALUE_CHARS_MAX: usize = 64;

/// Whether a queue starts jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// It does.
    Active,
    /// It takes jobs and starts none.
    Inactive,
    /// There is none of that name.
    Absent,
}

/// A node: what its resources have in common, and its cores.
#[derive(Default)]
struct Node {
    cores: BTreeSet<i64>,
    cores_offline: BTreeSet<i64>,
    cores_used: BTreeSet<i64>,
    memory_mib: u64,
}

impl Node {
    fn is_offline(&self) -> bool {
        self.cores_offline.len() == self.cores.len()
    }

    fn is_free(&self) -> bool {
        self.cores_offline.is_empty() && self.cores_used.is_empty()
    }
}

/// Writes into `state` what is known of `ce`: its queue, its resources (rows of properties) and
/// everybody's jobs that are not over. `core_level` is the property that numbers the cores.
pub(super) fn publish(
    state: &mut CeState,
    ce: &Ce,
    core_level: &str,
    queue: Queue,
    resources: &[Map<String, Value>],
    jobs: &[Job],
) {
    let nodes = nodes(resources, core_level, jobs);
    let sum = |count: fn(&Node) -> usize| small(nodes.values().map(count).sum());
    let count = |which: fn(&Node) -> bool| small(nodes.values().filter(|node| which(node)).count());
    let (total, offline) = (
        sum(|node| node.cores.len()),
        sum(|node| node.cores_offline.len()),
    );
    // A node that is being drained still runs what it has: offline, and used.
    let taken = sum(|node| node.cores_offline.union(&node.cores_used).count());
    (state.status, state.reason) = status(queue, ce.queue(), total, offline);
    state.cores_total = Some(total);
    state.cores_offline = Some(offline);
    state.cores_used = Some(sum(|node| node.cores_used.len()));
    state.cores_free = Some(total - taken);
    state.nodes_total = Some(small(nodes.len()));
    state.nodes_offline = Some(count(Node::is_offline));
    state.nodes_free = Some(count(Node::is_free));
    state.node_cores = nodes.values().map(|node| small(node.cores.len())).max();
    state.node_memory_mib = nodes
        .values()
        .map(|node| node.memory_mib)
        .max()
        .filter(|&memory| memory > 0);
    let gpus = distinct(resources, "gpu").len();
    state.gpus_total = resources
        .iter()
        .any(|resource| resource.contains_key("gpu"))
        .then(|| small(gpus));
    state.architecture = one_of(resources, &ARCHITECTURE);
    state.operating_system = one_of(resources, &OPERATING_SYSTEM);
    state.features = features(resources);
    let of_queue = |job: &&Job| job.queue_name == ce.queue();
    let (running, waiting): (Vec<&Job>, Vec<&Job>) = jobs
        .iter()
        .filter(of_queue)
        .partition(|job| job.is_placed());
    state.jobs_running = Some(small(running.len()));
    state.jobs_waiting = Some(small(waiting.len()));
}

fn status(queue: Queue, name: &str, total: u32, offline: u32) -> (CeStatus, Option<String>) {
    let (status, reason) = match queue {
        Queue::Absent => (CeStatus::Closed, format!("there is no queue {name:?}")),
        Queue::Inactive => (
            CeStatus::Draining,
            "the queue is not active: it starts no jobs".to_owned(),
        ),
        Queue::Active if total == 0 => (
            CeStatus::Closed,
            "no resource meets the constraint".to_owned(),
        ),
        Queue::Active if offline >= total => (CeStatus::Closed, "no node is up".to_owned()),
        Queue::Active => return (CeStatus::Production, None),
    };
    (status, Some(reason))
}

fn nodes(
    resources: &[Map<String, Value>],
    core_level: &str,
    jobs: &[Job],
) -> BTreeMap<String, Node> {
    let used: HashSet<i64> = jobs
        .iter()
        .filter(|job| job.is_placed())
        .flat_map(|job| job.assigned_resources.iter().copied())
        .collect();
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for resource in resources {
        let integer = |name: &str| resource.get(name).and_then(as_number);
        let word = |name: &str| resource.get(name).and_then(as_text).unwrap_or_default();
        let (Some(id), address) = (
            integer("resource_id").or_else(|| integer("id")),
            word("network_address"),
        ) else {
            continue;
        };
        // Several resources may be threads of one core; without cores each is one.
        let core = integer(core_level).unwrap_or(id);
        let node = nodes.entry(address).or_default();
        node.cores.insert(core);
        if word("state") != "Alive" || word("drain") == "YES" {
            node.cores_offline.insert(core);
        }
        if used.contains(&id) {
            node.cores_used.insert(core);
        }
        let memory = MEMORY.iter().find_map(|name| integer(name));
        let memory = memory.and_then(|memory| u64::try_from(memory).ok());
        node.memory_mib = node.memory_mib.max(memory.unwrap_or_default());
    }
    nodes
}

/// What all resources have in common under the first of `names` that they have.
fn one_of(resources: &[Map<String, Value>], names: &[&str]) -> Option<String> {
    let values = names
        .iter()
        .map(|name| distinct(resources, name))
        .find(|values| !values.is_empty())?;
    (values.len() == 1).then(|| values.into_iter().next())?
}

/// The values that a property has; what is not set, or `0`, is none.
fn distinct(resources: &[Map<String, Value>], name: &str) -> BTreeSet<String> {
    resources
        .iter()
        .filter_map(|resource| resource.get(name).and_then(as_text))
        .filter(|value| !value.is_empty() && value != "0")
        .collect()
}

/// `property=value` of all that the site has added, and that does not number the nodes.
fn features(resources: &[Map<String, Value>]) -> Vec<String> {
    let names: BTreeSet<&String> = resources.iter().flat_map(Map::keys).collect();
    let own = names
        .into_iter()
        .filter(|name| !NO_FEATURE.contains(&name.as_str()));
    let mut features = Vec::new();
    for name in own {
        let values = distinct(resources, name);
        if values.len() <= VALUES_MAX {
            let short = values
                .into_iter()
                .filter(|value| value.chars().count() <= VALUE_CHARS_MAX);
            features.extend(short.map(|value| format!("{name}={value}")));
        }
    }
    features
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
