//! What a partition is and allows, whoever tells of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{Ce, CeState, CeStatus};

/// The partitions of a cluster by their names.
pub(super) type Partitions = BTreeMap<String, Partition>;

/// What is known of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Partition {
    /// `up`, `down`, `drain` or `inactive`.
    pub(super) availability: String,
    /// What one job may ask for.
    pub(super) rules: Rules,
    pub(super) cores_total: u32,
    cores_free: u32,
    cores_used: u32,
    cores_offline: u32,
    nodes_total: u32,
    nodes_free: u32,
    nodes_offline: u32,
    nodes_in_maintenance: u32,
    node_cores: u32,
    node_memory_mib: u64,
    gpus_total: u32,
    features: BTreeSet<String>,
    jobs_running: u32,
    jobs_waiting: u32,
    architecture: OneOf,
    operating_system: OneOf,
    /// Why nodes are away, in their admins' words.
    away: BTreeSet<String>,
}

/// The limits and doors of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) walltime_max_s: Option<u64>,
    pub(super) nodes_max: Option<u32>,
    pub(super) cores_per_node_max: Option<u32>,
    pub(super) accounts: Door,
    pub(super) qos: Door,
    /// The quality of service that all of its jobs are held to besides their own.
    pub(super) own_qos: Option<String>,
}

/// Whom a partition lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Door {
    #[default]
    All,
    Only(Vec<String>),
    AllBut(Vec<String>),
}

impl Door {
    /// Why it stays closed for `name`.
    pub(super) fn refuses(&self, name: &str) -> Option<String> {
        let is_listed = |names: &[String]| names.iter().any(|it| it == name);
        match self {
            Self::Only(names) if !is_listed(names) => {
                Some(format!("not among those admitted: {}", names.join(", ")))
            }
            Self::AllBut(names) if is_listed(names) => {
                Some(format!("among those kept out: {}", names.join(", ")))
            }
            _ => None,
        }
    }
}

/// Nodes that are alike.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nodes<'a> {
    /// How many.
    pub(super) count: u32,
    /// As `sinfo` calls it: a word, with signs after it for what else is to be known.
    pub(super) state: &'a str,
    pub(super) cores_used: u32,
    pub(super) cores_free: u32,
    pub(super) cores_offline: u32,
    pub(super) cores_total: u32,
    /// Cores of each.
    pub(super) cores_each: u32,
    /// Memory of each.
    pub(super) memory_mib_each: u64,
    /// `gpu:a100:4(S:0-1),…`, of each.
    pub(super) gres: &'a str,
    /// Separated by commas.
    pub(super) features: &'a str,
    /// Why they are away.
    pub(super) reason: &'a str,
}

/// What all nodes have in common; nothing as soon as two differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum OneOf {
    #[default]
    None,
    One(String),
    Several,
}

impl OneOf {
    fn add(&mut self, value: &str) {
        match self {
            Self::None => *self = Self::One(value.to_owned()),
            Self::One(one) if one == value => {}
            _ => *self = Self::Several,
        }
    }

    fn one(&self) -> Option<String> {
        match self {
            Self::One(one) => Some(one.clone()),
            Self::None | Self::Several => None,
        }
    }
}

impl Partition {
    /// Counts nodes in.
    pub(super) fn add(&mut self, nodes: Nodes<'_>) {
        self.cores_total += nodes.cores_total;
        self.cores_used += nodes.cores_used;
        self.cores_offline += nodes.cores_offline;
        self.nodes_total += nodes.count;
        let condition = condition(nodes.state);
        match condition {
            // Slurm counts these as idle.
            Condition::Maintenance => self.cores_offline += nodes.cores_free,
            _ => self.cores_free += nodes.cores_free,
        }
        match condition {
            Condition::Free => self.nodes_free += nodes.count,
            Condition::Busy => {}
            Condition::Away => {
                self.nodes_offline += nodes.count;
                self.away.extend(said(nodes.reason));
            }
            Condition::Maintenance => self.nodes_in_maintenance += nodes.count,
        }
        // Nodes may differ; the largest says what can be asked for at all.
        self.node_cores = self.node_cores.max(nodes.cores_each);
        self.node_memory_mib = self.node_memory_mib.max(nodes.memory_mib_each);
        self.gpus_total += nodes.count * gpus(nodes.gres);
        let features = nodes.features.split(',').filter_map(said);
        self.features.extend(features);
    }

    /// Counts one job of anybody's in.
    pub(super) fn count_job(&mut self, waits: bool) {
        if waits {
            self.jobs_waiting += 1;
        } else {
            self.jobs_running += 1;
        }
    }

    /// Takes what a node is.
    pub(super) fn describe(&mut self, architecture: Option<&str>, system: Option<&str>) {
        if let Some(architecture) = architecture.filter(|it| !it.is_empty()) {
            self.architecture.add(architecture);
        }
        if let Some(system) = system.filter(|it| !it.is_empty()) {
            self.operating_system.add(system);
        }
    }

    /// Writes what is known of the partition into `state`.
    pub(super) fn publish(&self, state: &mut CeState) {
        let (status, reason) = self.status();
        state.status = status;
        state.reason = reason;
        state.cores_total = Some(self.cores_total);
        state.cores_free = Some(self.cores_free);
        state.cores_used = Some(self.cores_used);
        state.cores_offline = Some(self.cores_offline);
        state.nodes_total = Some(self.nodes_total);
        state.nodes_free = Some(self.nodes_free);
        state.nodes_offline = Some(self.nodes_offline + self.nodes_in_maintenance);
        state.gpus_total = Some(self.gpus_total);
        state.features = self.features.iter().cloned().collect();
        state.jobs_running = Some(self.jobs_running);
        state.jobs_waiting = Some(self.jobs_waiting);
        let most = self.rules.cores_per_node_max.unwrap_or(u32::MAX);
        state.node_cores = Some(self.node_cores.min(most));
        state.node_memory_mib = Some(self.node_memory_mib);
        state.architecture = self.architecture.one();
        state.operating_system = self.operating_system.one();
    }

    fn status(&self) -> (CeStatus, Option<String>) {
        let (status, reason) = match self.availability.as_str() {
            "up" if self.nodes_offline + self.nodes_in_maintenance < self.nodes_total => {
                return (CeStatus::Production, None);
            }
            "up" if self.nodes_in_maintenance > 0 => (
                CeStatus::Closed,
                "every node that is up is reserved for maintenance".to_owned(),
            ),
            "up" => (CeStatus::Closed, because("no node is up", &self.away)),
            // It runs what it has and refuses new jobs.
            "drain" | "drained" => (CeStatus::Draining, "the partition is draining".to_owned()),
            // `down` accepts jobs and starts none of them, `inactive` does neither.
            other => (CeStatus::Closed, format!("the partition is {other}")),
        };
        (status, Some(reason))
    }
}

fn because(what: &str, why: &BTreeSet<String>) -> String {
    const REASONS_MAX: usize = 5;
    let why: Vec<&str> = why.iter().take(REASONS_MAX).map(String::as_str).collect();
    if why.is_empty() {
        what.to_owned()
    } else {
        format!("{what} ({})", why.join("; "))
    }
}

/// The text, unless it is one of the ways in which Slurm says nothing.
pub(super) fn said(text: &str) -> Option<String> {
    let text = text.trim();
    let is_nothing = matches!(text, "" | "(null)" | "none" | "None" | "N/A" | "n/a");
    (!is_nothing).then(|| text.to_owned())
}

/// Whether a node can be had.
enum Condition {
    Free,
    Busy,
    Maintenance,
    Away,
}

/// What a node state of Slurm's says. The signs after the word: `*` does not answer, `~` `#` `!`
/// `%` are about saving power, `$` is a maintenance, `@` `^` a reboot, `-` planned for a job.
fn condition(state: &str) -> Condition {
    let word = state.trim_end_matches(|sign: char| !sign.is_ascii_alphanumeric());
    let word = word.to_ascii_lowercase();
    if state.ends_with('*') {
        return Condition::Away;
    }
    match word.as_str() {
        "maint" => Condition::Maintenance,
        _ if state.ends_with('$') => Condition::Maintenance,
        "idle" => Condition::Free,
        "mixed" | "allocated" | "completing" | "planned" | "reserved" | "blocked" => {
            Condition::Busy
        }
        // down, drained, draining, failing, unknown, future, inval …
        _ => Condition::Away,
    }
}

/// The GPUs in a list of generic resources: `gpu:a100:2(S:0),gpu:4,license:9`.
fn gpus(gres: &str) -> u32 {
    let mut sum = 0;
    let mut depth = 0_usize;
    // A comma within parentheses separates sockets or indices.
    let resources = gres.split(|character: char| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    for resource in resources {
        let resource = resource.split('(').next().unwrap_or_default();
        let Some(rest) = resource.strip_prefix("gpu") else {
            continue;
        };
        // `gpu` alone is one.
        let count = match rest.rsplit(':').next() {
            Some(count) if rest.starts_with(':') => count.parse().unwrap_or(1),
            _ if rest.is_empty() => 1,
            _ => 0,
        };
        sum += count;
    }
    sum
}

/// What a CE publishes whose partition is not there.
pub(super) fn publish_absence(ce: &Ce, state: &mut CeState) {
    state.status = CeStatus::Closed;
    state.reason = Some(format!("there is no partition {:?}", ce.queue()));
}

#[cfg(test)]
mod tests {
    use super::gpus;

    #[test]
    fn counts_gpus_in_all_their_spellings() {
        let spellings = [
            ("(null)", 0),
            ("", 0),
            ("gpu:2", 2),
            ("gpu", 1),
            ("gpu:a100:4(S:0-1)", 4),
            ("gpu:a100:2(S:0,2),gpu:t4:1,shard:8,gpumem:80", 3),
            ("license:3,gpu:1", 1),
        ];
        for (gres, count) in spellings {
            assert_eq!(gpus(gres), count, "{gres}");
        }
    }
}
