//! What Slurm answers. Pure. Only the plain text formats are read: their
//! letters have not changed in ten years, where the JSON changes every release,
//! and a dead controller answers `--json` with success and an empty list.

use std::collections::BTreeMap;

use fairway_model::{CeState, CeStatus};

use crate::exec::Output;
use crate::{AdapterError, BatchJob, BatchState};

/// What the commands say when the controller or the authentication is away, or too busy, as
/// opposed to a refusal. `Unspecified error` is what a controller says that is going down.
const UNREACHABLE_WORDS: [&str; 10] = [
    "Unable to contact",
    "connect failure",
    "Connection refused",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "temporarily una",
    "Protocol authentication error",
    "Invalid authentication credential",
    "Incompatible versions",
    "Unspecified error",
];

/// Why a command failed: the batch system is away, or refused.
pub(super) fn failure(output: &Output) -> AdapterError {
    let words = output.words();
    if output.code.is_none() || UNREACHABLE_WORDS.iter().any(|away| words.contains(away)) {
        AdapterError::Unreachable(words)
    } else {
        AdapterError::Refused(words.replace("Batch job submission failed: ", ""))
    }
}

/// The id in the answer of `sbatch --parsable`: `12`, or `12;cluster`.
pub(super) fn submitted_id(stdout: &str) -> Result<String, AdapterError> {
    let id = stdout.trim().split(';').next().unwrap_or_default();
    if is_id(id) {
        Ok(id.to_owned())
    } else {
        Err(unexpected("sbatch", stdout))
    }
}

/// Whether a text can be one of our job ids.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The jobs named `name_prefix…` in the answer of `squeue`, rows of id, state, name, reason.
pub(super) fn queue(stdout: &str, name_prefix: &str) -> Result<Vec<BatchJob>, AdapterError> {
    let mut jobs = Vec::new();
    for row in rows(stdout) {
        let mut columns = row.splitn(4, '|');
        let (Some(id), Some(state), Some(name), Some(reason)) = (
            columns.next(),
            columns.next(),
            columns.next(),
            columns.next(),
        ) else {
            return Err(unexpected("squeue", row));
        };
        if name.starts_with(name_prefix) {
            jobs.push(BatchJob {
                batch_id: id.to_owned(),
                name: name.to_owned(),
                state: queued_state(state, reason.trim()),
            });
        }
    }
    Ok(jobs)
}

fn queued_state(state: &str, reason: &str) -> BatchState {
    match state {
        "PENDING" => BatchState::Queued {
            reason: reason.to_owned(),
        },
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT"
        | "RESIZING" => BatchState::Running,
        _ if is_final(state) => BatchState::Ended {
            detail: detail(&[state, reason]),
        },
        // CONFIGURING, REQUEUED, SPECIAL_EXIT …, and whatever a later release invents: it does
        // not run, is not over, and the state says best what it waits for.
        _ => BatchState::Queued {
            reason: detail(&[state, reason]),
        },
    }
}

fn is_final(state: &str) -> bool {
    matches!(
        state,
        "COMPLETED"
            | "CANCELLED"
            | "FAILED"
            | "TIMEOUT"
            | "NODE_FAIL"
            | "PREEMPTED"
            | "BOOT_FAIL"
            | "DEADLINE"
            | "OUT_OF_MEMORY"
            | "REVOKED"
    )
}

/// The words that say something, separated by commas.
fn detail(words: &[&str]) -> String {
    let said: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.is_empty() && *word != "None")
        .collect();
    said.join(", ")
}

/// The jobs that are over in the answer of `sacct`, rows of id, state, exit code (`code:signal`),
/// name. Rows that claim to wait or run are left out: the accounting keeps such orphans after a
/// crash, and of live jobs only the controller knows.
pub(super) fn accounting(stdout: &str, name_prefix: &str) -> Result<Vec<BatchJob>, AdapterError> {
    let mut jobs = Vec::new();
    for row in rows(stdout) {
        let mut columns = row.splitn(4, '|');
        let (Some(id), Some(state), Some(exit), Some(name)) = (
            columns.next(),
            columns.next(),
            columns.next(),
            columns.next(),
        ) else {
            return Err(unexpected("sacct", row));
        };
        // `CANCELLED by 1001`
        let word = state.split([' ', '+']).next().unwrap_or_default();
        if name.starts_with(name_prefix) && is_final(word) {
            jobs.push(BatchJob {
                batch_id: id.to_owned(),
                name: name.to_owned(),
                state: BatchState::Ended {
                    detail: detail(&[state, &exit_words(exit)]),
                },
            });
        }
    }
    Ok(jobs)
}

/// `3:0` is exit code 3, `0:15` is signal 15, `0:0` says nothing.
fn exit_words(exit: &str) -> String {
    match exit.split_once(':') {
        Some(("0", "0")) | None => String::new(),
        Some((code, "0")) => format!("exit code {code}"),
        Some((_, signal)) => format!("signal {signal}"),
    }
}

/// Whether `sacct` says that this cluster keeps no accounting.
pub(super) fn is_accounting_off(output: &Output) -> bool {
    output.stderr.contains("accounting storage is disabled")
}

/// The version in the answer of `sinfo --version`: `slurm-wlm 22.05.8`.
pub(super) fn version(stdout: &str) -> String {
    stdout
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned()
}

/// What is published of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Partition {
    availability: String,
    walltime_max_s: Option<u64>,
    cores_total: u32,
    cores_free: u32,
    cores_offline: u32,
    node_cores: u32,
    node_memory_mib: u64,
    jobs_running: u32,
    jobs_waiting: u32,
    architecture: OneOf,
    operating_system: OneOf,
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
    /// Writes what is known of the partition into `state`.
    pub(super) fn publish(&self, state: &mut CeState) {
        let (status, reason) = self.status();
        state.status = status;
        state.reason = reason;
        state.cores_total = Some(self.cores_total);
        state.cores_free = Some(self.cores_free);
        state.cores_offline = Some(self.cores_offline);
        state.jobs_running = Some(self.jobs_running);
        state.jobs_waiting = Some(self.jobs_waiting);
        state.walltime_max_s = self.walltime_max_s;
        state.node_cores = Some(self.node_cores);
        state.node_memory_mib = Some(self.node_memory_mib);
        state.architecture = self.architecture.one();
        state.operating_system = self.operating_system.one();
    }

    fn status(&self) -> (CeStatus, Option<String>) {
        let (status, reason) = match self.availability.as_str() {
            "up" if self.cores_offline < self.cores_total => return (CeStatus::Production, None),
            "up" => (CeStatus::Closed, "no node is up".to_owned()),
            // It runs what it has and refuses new jobs.
            "drain" | "drained" => (CeStatus::Draining, "the partition is draining".to_owned()),
            // `down` accepts jobs and starts none of them, `inactive` does neither.
            other => (CeStatus::Closed, format!("the partition is {other}")),
        };
        (status, Some(reason))
    }
}

/// The partitions in the answer of `sinfo`: rows of nodes that are alike, of partition,
/// availability, walltime limit, node state, cores (allocated/idle/other/total), cores of a
/// node, MiB of a node.
pub(super) fn partitions(stdout: &str) -> Result<BTreeMap<String, Partition>, AdapterError> {
    let mut partitions: BTreeMap<String, Partition> = BTreeMap::new();
    for row in rows(stdout) {
        let columns: Vec<&str> = row.split('|').collect();
        let [
            name,
            availability,
            limit,
            _state,
            cores,
            node_cores,
            node_memory,
        ] = columns[..]
        else {
            return Err(unexpected("sinfo", row));
        };
        let counts: Vec<u32> = cores
            .split('/')
            .map_while(|count| count.parse().ok())
            .collect();
        let [_allocated, idle, other, total] = counts[..] else {
            return Err(unexpected("sinfo", row));
        };
        let partition = partitions.entry(name.to_owned()).or_default();
        availability.clone_into(&mut partition.availability);
        partition.walltime_max_s = walltime(limit).map_err(|()| unexpected("sinfo", row))?;
        partition.cores_free += idle;
        partition.cores_offline += other;
        partition.cores_total += total;
        // Nodes may differ; the largest says what can be asked for at all. An empty partition
        // has a row with no numbers.
        partition.node_cores = partition.node_cores.max(node_cores.parse().unwrap_or(0));
        partition.node_memory_mib = partition
            .node_memory_mib
            .max(node_memory.parse().unwrap_or(0));
    }
    Ok(partitions)
}

/// Counts the jobs in the answer of `squeue`, rows of partition and state. A waiting job may
/// name several partitions and counts in each.
pub(super) fn count_jobs(stdout: &str, partitions: &mut BTreeMap<String, Partition>) {
    for row in rows(stdout) {
        let Some((names, state)) = row.split_once('|') else {
            continue;
        };
        for name in names.split(',') {
            let Some(partition) = partitions.get_mut(name) else {
                continue;
            };
            if state == "PENDING" {
                partition.jobs_waiting += 1;
            } else {
                partition.jobs_running += 1;
            }
        }
    }
}

/// Takes architecture and operating system from the answer of `scontrol --oneliner show node`,
/// rows of `Name=value`. `OS` is `Linux`, the kernel's version and words about its build.
pub(super) fn describe_nodes(stdout: &str, partitions: &mut BTreeMap<String, Partition>) {
    for row in rows(stdout) {
        let value = |name: &str| {
            row.split(' ')
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let Some(names) = value("Partitions") else {
            continue;
        };
        let system = row
            .split_once(" OS=")
            .map(|(_, rest)| rest.split(' ').take(2).collect::<Vec<_>>().join(" "));
        for partition in names.split(',') {
            let Some(partition) = partitions.get_mut(partition) else {
                continue;
            };
            if let Some(architecture) = value("Arch") {
                partition.architecture.add(architecture);
            }
            if let Some(system) = &system {
                partition.operating_system.add(system);
            }
        }
    }
}

/// A walltime as Slurm prints it, in seconds: `30:00`, `1:00:00`, `2-00:00:00`; `infinite` and
/// `n/a` are no limit.
fn walltime(text: &str) -> Result<Option<u64>, ()> {
    if matches!(text, "infinite" | "UNLIMITED" | "n/a") {
        return Ok(None);
    }
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds = 0_u64;
    for part in clock.split(':') {
        seconds = seconds * 60 + part.parse::<u32>().map(u64::from).map_err(drop)?;
    }
    let days: u32 = days.parse().map_err(drop)?;
    Ok(Some(u64::from(days) * 86_400 + seconds))
}

fn rows(stdout: &str) -> impl Iterator<Item = &str> {
    stdout.lines().filter(|line| !line.trim().is_empty())
}

fn unexpected(program: &str, row: &str) -> AdapterError {
    const CHARS_MAX: usize = 200;
    let row: String = row.chars().take(CHARS_MAX).collect();
    AdapterError::Unexpected(format!("{program} answered {row:?}"))
}
