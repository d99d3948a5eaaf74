//! What Slurm's commands answer. Pure. Only the plain text formats are read: their
//! letters have not changed in ten years, where the JSON changes every release,
//! and a dead controller answers `--json` with success and an empty list.

use std::collections::BTreeMap;

use super::bulk;
use super::limits::{Association, Limits, Qos};
use super::partition::{Door, Nodes, Partitions, Rules, said};
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
    if output.code.is_none() || is_away(&words) {
        AdapterError::Unreachable(words)
    } else {
        AdapterError::Refused(words.replace("Batch job submission failed: ", ""))
    }
}

/// Whether these words of Slurm's mean that there was nobody to refuse.
pub(super) fn is_away(words: &str) -> bool {
    UNREACHABLE_WORDS.iter().any(|away| words.contains(away))
}

/// The id in the answer of `sbatch --parsable`: `12`, or `12;cluster`.
pub(super) fn submitted_id(stdout: &str) -> Result<String, AdapterError> {
    let id = stdout.trim().split(';').next().unwrap_or_default();
    if is_number(id) {
        Ok(id.to_owned())
    } else {
        Err(unexpected("sbatch", stdout))
    }
}

/// Whether a text can be one of our job ids: `13`, or `13_4` for a member of an array.
pub(super) fn is_id(text: &str) -> bool {
    let (job, index) = text.split_once('_').unwrap_or((text, "0"));
    is_number(job) && is_number(index)
}

fn is_number(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A job's id and name: of each member if it is an array, `13_4` or `13_[2-5,7%2]`.
pub(super) fn members(id: &str, name: &str) -> Vec<(String, String)> {
    let indices = id.split_once('_').and_then(|(array, indices)| {
        let indices = indices.trim_start_matches('[').trim_end_matches(']');
        Some((array, bulk::numbers(indices)?))
    });
    let Some((array, indices)) = indices else {
        return vec![(id.to_owned(), name.to_owned())];
    };
    let member = |index: u64| (format!("{array}_{index}"), bulk::member_name(name, index));
    indices.into_iter().map(member).collect()
}

/// The jobs named `name_prefix…` in the answer of `squeue`, rows of id, state, name, reason.
pub(super) fn queue(stdout: &str, name_prefix: &str) -> Result<Vec<BatchJob>, AdapterError> {
    let mut jobs = Vec::new();
    for row in rows(stdout) {
        let [id, state, name, reason] = columns(row).ok_or_else(|| unexpected("squeue", row))?;
        if name.starts_with(name_prefix) {
            for (batch_id, name) in members(id, name) {
                jobs.push(BatchJob {
                    batch_id,
                    name,
                    state: queued_state(state, reason.trim()),
                });
            }
        }
    }
    Ok(jobs)
}

/// Where a job is that the controller knows.
pub(super) fn queued_state(state: &str, reason: &str) -> BatchState {
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

/// Whether a job in this state is over.
pub(super) fn is_final(state: &str) -> bool {
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
pub(super) fn detail(words: &[&str]) -> String {
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
        let [id, state, exit, name] = columns(row).ok_or_else(|| unexpected("sacct", row))?;
        // `CANCELLED by 1001`
        let word = state.split([' ', '+']).next().unwrap_or_default();
        if name.starts_with(name_prefix) && is_final(word) {
            for (batch_id, name) in members(id, name) {
                jobs.push(BatchJob {
                    batch_id,
                    name,
                    state: BatchState::Ended {
                        detail: detail(&[state, &exit_words(exit)]),
                    },
                });
            }
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

/// Whose the jobs are in the answer of `squeue`, rows of id and user.
pub(super) fn owners(stdout: &str) -> BTreeMap<String, String> {
    let pairs = rows(stdout).filter_map(|row| row.split_once('|'));
    pairs
        .flat_map(|(id, user)| members(id, "").into_iter().map(move |(id, _)| (id, user)))
        .map(|(id, user)| (id, user.trim().to_owned()))
        .collect()
}

/// The version in the answer of `sinfo --version`: `slurm-wlm 22.05.8`.
pub(super) fn version(stdout: &str) -> String {
    stdout
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned()
}

/// How a cluster is set up, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) cluster: String,
    /// Indices of arrays are below it; 0 if there are no arrays.
    pub(super) array_size_max: u64,
    /// Whether the limits of associations and qualities of service are held to.
    pub(super) limits_hold: bool,
}

/// Reads the answer of `scontrol show config`, rows of `Name = value`.
pub(super) fn config(stdout: &str) -> Config {
    let value = |name: &str| {
        rows(stdout).find_map(|row| {
            let (key, value) = row.split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        })
    };
    let enforced = value("AccountingStorageEnforce").unwrap_or_default();
    Config {
        cluster: value("ClusterName").unwrap_or_default().to_owned(),
        array_size_max: value("MaxArraySize").map_or(0, |size| size.parse().unwrap_or(0)),
        limits_hold: enforced.contains("limits") || enforced.contains("safe"),
    }
}

/// The partitions in the answer of `sinfo`: rows of nodes that are alike, see
/// `render::partition_args`.
pub(super) fn partitions(stdout: &str) -> Result<Partitions, AdapterError> {
    let mut partitions = Partitions::new();
    for row in rows(stdout) {
        let [
            name,
            availability,
            limit,
            state,
            cores,
            node_cores,
            node_memory,
            count,
            gres,
            features,
            reason,
        ] = columns(row).ok_or_else(|| unexpected("sinfo", row))?;
        let counts: Vec<u32> = cores
            .split('/')
            .map_while(|count| count.parse().ok())
            .collect();
        let [used, free, offline, total] = counts[..] else {
            return Err(unexpected("sinfo", row));
        };
        let partition = partitions.entry(name.to_owned()).or_default();
        availability.clone_into(&mut partition.availability);
        partition.rules.walltime_max_s = walltime(limit).ok_or_else(|| unexpected("sinfo", row))?;
        partition.add(Nodes {
            // An empty partition has a row with no numbers. Numbers may end in `+`.
            count: leading_number(count),
            state,
            cores_used: used,
            cores_free: free,
            cores_offline: offline,
            cores_total: total,
            cores_each: leading_number(node_cores),
            memory_mib_each: leading_number(node_memory).into(),
            gres,
            features,
            reason,
        });
    }
    Ok(partitions)
}

fn leading_number(text: &str) -> u32 {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().unwrap_or(0)
}

/// Takes what partitions allow from the answer of `scontrol --oneliner show partition`, rows of
/// `Name=value`.
pub(super) fn rules(stdout: &str, partitions: &mut Partitions) {
    for row in rows(stdout) {
        let Some(partition) = field(row, "PartitionName").and_then(|it| partitions.get_mut(it))
        else {
            continue;
        };
        let number = |name: &str| field(row, name).and_then(|value| value.parse().ok());
        let door = |allow: &str, deny: &str| match (field(row, allow), field(row, deny)) {
            (Some(allowed), _) if allowed != "ALL" => Door::Only(list(allowed)),
            (_, Some(denied)) => Door::AllBut(list(denied)),
            _ => Door::All,
        };
        partition.rules = Rules {
            walltime_max_s: partition.rules.walltime_max_s,
            nodes_max: number("MaxNodes"),
            cores_per_node_max: number("MaxCPUsPerNode"),
            accounts: door("AllowAccounts", "DenyAccounts"),
            qos: door("AllowQos", "DenyQos"),
            own_qos: field(row, "QoS").and_then(said),
        };
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter_map(said).collect()
}

/// Counts the jobs in the answer of `squeue`, rows of partition and state. A waiting job may
/// name several partitions and counts in each.
pub(super) fn count_jobs(stdout: &str, partitions: &mut Partitions) {
    for row in rows(stdout) {
        let Some((names, state)) = row.split_once('|') else {
            continue;
        };
        for name in names.split(',') {
            if let Some(partition) = partitions.get_mut(name) {
                partition.count_job(state == "PENDING");
            }
        }
    }
}

/// Takes architecture and operating system from the answer of `scontrol --oneliner show node`,
/// rows of `Name=value`, and tells the names of the nodes.
pub(super) fn describe_nodes(stdout: &str, partitions: &mut Partitions) -> Vec<String> {
    let mut nodes = Vec::new();
    for row in rows(stdout) {
        nodes.extend(field(row, "NodeName").map(str::to_owned));
        let system = row.split_once(" OS=").map(|(_, rest)| short_system(rest));
        for partition in field(row, "Partitions").unwrap_or_default().split(',') {
            if let Some(partition) = partitions.get_mut(partition) {
                partition.describe(field(row, "Arch"), system.as_deref());
            }
        }
    }
    nodes
}

/// The name and version of a system; Slurm adds words about its build.
pub(super) fn short_system(words: &str) -> String {
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// The value of `name` in a row of `Name=value`.
fn field<'a>(row: &'a str, name: &str) -> Option<&'a str> {
    row.split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// The default account and the associations in the answer of `sacctmgr`, see
/// `render::association_args`.
pub(super) fn associations(
    stdout: &str,
    cluster: &str,
) -> Result<(Option<String>, Vec<Association>), AdapterError> {
    let mut default_account = None;
    let mut associations = Vec::new();
    for row in rows(stdout) {
        let wrong = || unexpected("sacctmgr", row);
        let [
            default,
            of_cluster,
            account,
            partition,
            running,
            jobs,
            wall,
            tres,
            qos,
            default_qos,
        ] = columns(row).ok_or_else(wrong)?;
        if !of_cluster.eq_ignore_ascii_case(cluster) {
            continue;
        }
        default_account = said(default);
        associations.push(Association {
            account: account.to_owned(),
            partition: said(partition),
            limits: limits(wall, tres, running, jobs).ok_or_else(wrong)?,
            qos: list(qos),
            default_qos: said(default_qos),
        });
    }
    Ok((default_account, associations))
}

/// The qualities of service in the answer of `sacctmgr`, see `render::qos_args`.
pub(super) fn qualities(stdout: &str) -> Result<BTreeMap<String, Qos>, AdapterError> {
    let mut all = BTreeMap::new();
    for row in rows(stdout) {
        let wrong = || unexpected("sacctmgr", row);
        let [name, flags, wall, tres, running, jobs] = columns(row).ok_or_else(wrong)?;
        let limits = limits(wall, tres, running, jobs).ok_or_else(wrong)?;
        let flags: Vec<&str> = flags.split(',').collect();
        all.insert(name.to_owned(), Qos::new(limits, &flags));
    }
    Ok(all)
}

fn limits(wall: &str, tres: &str, running: &str, jobs: &str) -> Option<Limits> {
    // `cpu=3,node=1,gres/gpu=4`
    let of = |name: &str| {
        tres.split(',').find_map(|pair| {
            let (key, count) = pair.split_once('=')?;
            (key == name).then(|| count.parse().ok())?
        })
    };
    Some(Limits {
        walltime_max_s: if wall.is_empty() {
            None
        } else {
            walltime(wall)?
        },
        cores_max: of("cpu"),
        nodes_max: of("node"),
        gpus_max: of("gres/gpu"),
        node_cores_max: None,
        running_max: running.parse().ok(),
        jobs_max: jobs.parse().ok(),
    })
}

/// A walltime as Slurm prints it, in seconds: `30:00`, `1:00:00`, `2-00:00:00`; `infinite` and
/// `n/a` are no limit. `None` if it is something else.
#[expect(
    clippy::option_option,
    reason = "no limit is something else than no walltime"
)]
fn walltime(text: &str) -> Option<Option<u64>> {
    if matches!(text, "infinite" | "UNLIMITED" | "n/a") {
        return Some(None);
    }
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds = 0_u64;
    for part in clock.split(':') {
        seconds = seconds * 60 + u64::from(part.parse::<u32>().ok()?);
    }
    Some(Some(
        u64::from(days.parse::<u32>().ok()?) * 86_400 + seconds,
    ))
}

fn rows(stdout: &str) -> impl Iterator<Item = &str> {
    stdout.lines().filter(|line| !line.trim().is_empty())
}

/// The columns of a row, the last of which may hold anything.
fn columns<const N: usize>(row: &str) -> Option<[&str; N]> {
    row.splitn(N, '|').collect::<Vec<_>>().try_into().ok()
}

fn unexpected(program: &str, row: &str) -> AdapterError {
    const CHARS_MAX: usize = 200;
    let row: String = row.chars().take(CHARS_MAX).collect();
    AdapterError::Unexpected(format!("{program} answered {row:?}"))
}
