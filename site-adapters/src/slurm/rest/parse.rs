//! What `slurmrestd` answers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Version;
use super::http::Answer;
use super::shapes::{Exit, Number, Words, text};
use crate::slurm::limits::{Accounting, Association, Limits, Qos};
use crate::slurm::partition::{Door, Nodes, Partitions, Rules, said};
use crate::slurm::{bulk, parse};
use crate::{AdapterError, BatchJob, BatchState};

/// Slurm's numbers for `Invalid job id` and `Job/step already completing or completed`.
const OVER_OR_UNKNOWN: [u64; 2] = [2017, 2021];
/// Slurm's number for a query that nothing was found for.
const NOTHING_FOUND: u64 = 9003;

/// What is in every answer.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    errors: Vec<Problem>,
}

/// One of the things that went wrong.
#[derive(Deserialize)]
struct Problem {
    #[serde(default, alias = "error_code")]
    error_number: Number,
    #[serde(default, deserialize_with = "text")]
    error: String,
    #[serde(default, deserialize_with = "text")]
    description: String,
}

/// What went wrong, in words, and whether it is one of `numbers`.
fn problems(answer: &Answer, numbers: &[u64]) -> (String, bool) {
    const CHARS_MAX: usize = 600;
    let Ok(envelope) = serde_json::from_slice::<Envelope>(&answer.body) else {
        let text = String::from_utf8_lossy(&answer.body);
        let line = text.lines().next().unwrap_or_default().trim();
        return (
            format!("HTTP {}: {line}", answer.status)
                .chars()
                .take(CHARS_MAX)
                .collect(),
            false,
        );
    };
    let is_one = |problem: &Problem| {
        let number = problem.error_number.0;
        number.is_some_and(|number| numbers.contains(&number))
    };
    let known = envelope.errors.iter().any(is_one);
    let mut words: Vec<&str> = Vec::new();
    for problem in &envelope.errors {
        for said in [problem.description.as_str(), problem.error.as_str()] {
            if !said.is_empty() && !words.contains(&said) {
                words.push(said);
            }
        }
    }
    let words = if words.is_empty() {
        format!("HTTP {}", answer.status)
    } else {
        words.join("; ")
    };
    (words.chars().take(CHARS_MAX).collect(), known)
}

/// The body of an answer to a question. Whatever went wrong means that there is no answer: a
/// token that has expired and a controller that is away look the same.
pub(super) fn answer<T: DeserializeOwned>(answer: &Answer) -> Result<T, AdapterError> {
    let has_errors = serde_json::from_slice::<Envelope>(&answer.body)
        .is_ok_and(|envelope| !envelope.errors.is_empty());
    if answer.status != 200 || has_errors {
        return Err(AdapterError::Unreachable(problems(answer, &[]).0));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        AdapterError::Unexpected(format!("slurmrestd answered what cannot be read: {error}"))
    })
}

/// Why slurmrestd did not do what it was told.
fn failure(answer: &Answer) -> AdapterError {
    let (words, _) = problems(answer, &[]);
    let is_refusal = matches!(answer.status, 400 | 500) && !parse::is_away(&words);
    let is_told = serde_json::from_slice::<Envelope>(&answer.body)
        .is_ok_and(|envelope| !envelope.errors.is_empty());
    if is_refusal && is_told {
        AdapterError::Refused(words)
    } else {
        AdapterError::Unreachable(words)
    }
}

/// The job's id in the answer to a submission. It may come with errors that are none, such as
/// that the job is held.
pub(super) fn submitted(answer: &Answer) -> Result<String, AdapterError> {
    #[derive(Deserialize)]
    struct Submitted {
        #[serde(default)]
        job_id: Number,
        #[serde(default)]
        result: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(default)]
        job_id: Number,
    }
    let read = serde_json::from_slice::<Submitted>(&answer.body);
    let id = read.ok().and_then(|it| {
        let inner = it.result.and_then(|inner| inner.job_id.0);
        it.job_id.0.or(inner)
    });
    match id {
        Some(id) if answer.status == 200 && id > 0 => Ok(id.to_string()),
        _ => Err(failure(answer)),
    }
}

/// Whether a cancellation succeeded; a job that is over or unknown is as good.
pub(super) fn cancelled(answer: &Answer) -> Result<(), AdapterError> {
    let (_, is_gone) = problems(answer, &OVER_OR_UNKNOWN);
    let is_clean = serde_json::from_slice::<Envelope>(&answer.body)
        .is_ok_and(|envelope| envelope.errors.is_empty());
    if is_gone || (answer.status == 200 && is_clean) {
        Ok(())
    } else {
        Err(failure(answer))
    }
}

/// The newest version of the API that is known here and spoken there.
pub(super) fn version(paths: &Answer) -> Result<Version, AdapterError> {
    #[derive(Deserialize)]
    struct OpenApi {
        paths: BTreeMap<String, IgnoredAny>,
    }
    let OpenApi { paths } = answer(paths)?;
    let spoken: BTreeSet<u32> = paths
        .keys()
        .filter_map(|path| {
            let version = path.strip_prefix("/slurm/v0.0.")?.split('/').next()?;
            version.parse().ok()
        })
        .collect();
    let number = spoken
        .range(Version::OLDEST..=Version::NEWEST)
        .next_back()
        // A release that dropped all that is known here: its oldest is the most alike.
        .or_else(|| spoken.range(Version::OLDEST..).next())
        .copied()
        .ok_or_else(|| {
            AdapterError::Unexpected(format!(
                "slurmrestd speaks none of the versions from v0.0.{} on: {spoken:?}",
                Version::OLDEST
            ))
        })?;
    let accounting = format!("/slurmdb/v0.0.{number}/");
    Ok(Version {
        number,
        has_accounting: paths.keys().any(|path| path.starts_with(&accounting)),
    })
}

/// All jobs of the cluster.
#[derive(Deserialize)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    job_id: Number,
    #[serde(default)]
    array_job_id: Number,
    #[serde(default)]
    array_task_id: Number,
    #[serde(default, deserialize_with = "text")]
    array_task_string: String,
    #[serde(default)]
    job_state: Words,
    #[serde(default, deserialize_with = "text")]
    state_reason: String,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default, deserialize_with = "text")]
    user_name: String,
    #[serde(default, deserialize_with = "text")]
    partition: String,
    #[serde(default)]
    exit_code: Exit,
}

impl Job {
    /// The state as `squeue` would say it: from 23.11 on flags stand beside it.
    fn state(&self) -> &str {
        let told = ["COMPLETING", "CONFIGURING", "STAGE_OUT", "SUSPENDED"];
        let flag = self.job_state.first_of(&told);
        flag.or(self.job_state.first()).unwrap_or_default()
    }

    fn place(&self) -> BatchState {
        let exit = self.exit_code.words();
        match parse::queued_state(self.state(), &self.state_reason) {
            BatchState::Ended { .. } if !exit.is_empty() => BatchState::Ended {
                detail: parse::detail(&[self.state(), &exit]),
            },
            other => other,
        }
    }

    fn id(&self) -> Option<u64> {
        self.job_id.0
    }

    /// The array that it is, or is of.
    fn array(&self) -> Option<u64> {
        self.array_job_id.0.filter(|id| *id > 0)
    }

    /// The indices that it stands for, and whether there may be more: Slurm cuts the text of a
    /// waiting array after 64 characters by default, in the middle of a number.
    fn indices(&self) -> Option<(Vec<u64>, bool)> {
        if let Some(index) = self.array_task_id.0 {
            return Some((vec![index], false));
        }
        let ranges = self.array_task_string.split('%').next()?;
        match ranges.strip_suffix("...") {
            Some(cut) => {
                let whole = cut.rsplit_once(',').map_or("", |(whole, _)| whole);
                Some((bulk::numbers(whole).unwrap_or_default(), true))
            }
            None => Some((bulk::numbers(ranges)?, false)),
        }
    }
}

impl Jobs {
    /// Those of `user` named `name_prefix…`. `known` tells which members there are of arrays
    /// that are not listed to their end.
    pub(super) fn ours(&self, user: &str, name_prefix: &str, known: &[String]) -> Vec<BatchJob> {
        let mut ours = Vec::new();
        let mut cut = Vec::new();
        for job in &self.jobs {
            let is_ours = job.user_name.is_empty() || job.user_name == user;
            if !is_ours || !job.name.starts_with(name_prefix) {
                continue;
            }
            let members = job.array().and_then(|array| Some((array, job.indices()?)));
            let Some((array, (indices, may_be_more))) = members else {
                ours.extend(job.id().map(|id| BatchJob {
                    batch_id: id.to_string(),
                    name: job.name.clone(),
                    state: job.place(),
                }));
                continue;
            };
            let member = |index: u64| BatchJob {
                batch_id: format!("{array}_{index}"),
                name: bulk::member_name(&job.name, index),
                state: job.place(),
            };
            ours.extend(indices.iter().copied().map(member));
            if may_be_more {
                cut.push((array, indices.last().copied(), job));
            }
        }
        let listed: BTreeSet<String> = ours.iter().map(|job| job.batch_id.clone()).collect();
        for id in known.iter().filter(|id| !listed.contains(*id)) {
            let Some((array, index)) = id.split_once('_') else {
                continue;
            };
            let (Ok(array), Ok(index)) = (array.parse::<u64>(), index.parse::<u64>()) else {
                continue;
            };
            let of = cut
                .iter()
                .find(|(it, last, _)| *it == array && last.is_none_or(|last| index > last));
            ours.extend(of.map(|(.., job)| BatchJob {
                batch_id: id.clone(),
                name: bulk::member_name(&job.name, index),
                state: job.place(),
            }));
        }
        ours
    }

    /// Counts them, everybody's, into the partitions.
    pub(super) fn count(&self, partitions: &mut Partitions) {
        for job in &self.jobs {
            let waits = match parse::queued_state(job.state(), "") {
                BatchState::Ended { .. } => continue,
                BatchState::Queued { .. } => job.state() == "PENDING",
                BatchState::Running => false,
            };
            let members = match job.array() {
                Some(_) if waits => job.indices().map_or(1, |(indices, _)| indices.len()),
                _ => 1,
            };
            for name in job.partition.split(',') {
                if let Some(partition) = partitions.get_mut(name) {
                    (0..members).for_each(|_| partition.count_job(waits));
                }
            }
        }
    }
}

/// What the accounting knows of the end of a job, or of the members of an array.
pub(super) fn accounting(from: &Answer, name_prefix: &str) -> Result<Vec<BatchJob>, AdapterError> {
    #[derive(Deserialize)]
    struct Past {
        jobs: Vec<PastJob>,
    }
    #[derive(Deserialize)]
    struct PastJob {
        #[serde(default)]
        job_id: Number,
        #[serde(default)]
        array: PastArray,
        #[serde(default, deserialize_with = "text")]
        name: String,
        state: PastState,
        #[serde(default)]
        exit_code: Exit,
    }
    #[derive(Default, Deserialize)]
    struct PastArray {
        #[serde(default)]
        job_id: Number,
        #[serde(default)]
        task_id: Number,
        /// Members that never started: ranges, or bits as a hexadecimal number.
        #[serde(default, deserialize_with = "text")]
        task: String,
    }
    #[derive(Deserialize)]
    struct PastState {
        #[serde(default)]
        current: Words,
    }
    if problems(from, &[NOTHING_FOUND, OVER_OR_UNKNOWN[0]]).1 {
        return Ok(Vec::new());
    }
    let past: Past = answer(from)?;
    let mut jobs = Vec::new();
    for job in past.jobs {
        let state = job.state.current.first().unwrap_or_default();
        if !job.name.starts_with(name_prefix) || !parse::is_final(state) {
            continue;
        }
        let ended = BatchState::Ended {
            detail: parse::detail(&[state, &job.exit_code.words()]),
        };
        let members = match (job.array.task_id.0, job.array.task.as_str()) {
            (Some(index), _) => Some(vec![index]),
            (None, "") => None,
            (None, task) => bits(task).or_else(|| bulk::numbers(task)),
        };
        match (job.array.job_id.0.filter(|id| *id > 0), members) {
            (Some(array), Some(members)) => {
                jobs.extend(members.into_iter().map(|index| BatchJob {
                    batch_id: format!("{array}_{index}"),
                    name: bulk::member_name(&job.name, index),
                    state: ended.clone(),
                }))
            }
            _ => jobs.extend(job.job_id.0.map(|id| BatchJob {
                batch_id: id.to_string(),
                name: job.name.clone(),
                state: ended.clone(),
            })),
        }
    }
    Ok(jobs)
}

/// The places of the ones in a hexadecimal number: `0xEA` is 1, 3, 5, 6 and 7.
fn bits(text: &str) -> Option<Vec<u64>> {
    let digits = text.strip_prefix("0x")?;
    let mut places = Vec::new();
    for (place, digit) in (0_u64..).step_by(4).zip(digits.chars().rev()) {
        let digit = digit.to_digit(16)?;
        places.extend(
            (0..4)
                .filter(|bit| digit >> bit & 1 == 1)
                .map(|bit| place + bit),
        );
    }
    Some(places)
}

/// Slurm's release in an answer.
pub(super) fn release(from: &Answer) -> String {
    #[derive(Default, Deserialize)]
    struct Told {
        #[serde(default)]
        meta: Meta,
    }
    #[derive(Default, Deserialize)]
    struct Meta {
        #[serde(default, alias = "Slurm")]
        slurm: Release,
    }
    #[derive(Default, Deserialize)]
    struct Release {
        #[serde(default, deserialize_with = "text")]
        release: String,
    }
    let told: Told = serde_json::from_slice(&from.body).unwrap_or_default();
    told.meta.slurm.release
}

/// The partitions, without their nodes.
pub(super) fn partitions(from: &Answer) -> Result<Partitions, AdapterError> {
    #[derive(Deserialize)]
    struct Told {
        partitions: Vec<Partition>,
    }
    /// Up to 22.05 all in one row, later in groups.
    #[derive(Deserialize)]
    struct Partition {
        name: String,
        #[serde(default)]
        state: Words,
        #[serde(default)]
        partition: Inner,
        #[serde(default)]
        max_time_limit: Number,
        #[serde(default)]
        maximum_nodes_per_job: Number,
        #[serde(default)]
        maximum_cpus_per_node: Number,
        #[serde(default)]
        maximums: Maximums,
        #[serde(default)]
        allowed_accounts: Words,
        #[serde(default)]
        denied_accounts: Words,
        #[serde(default)]
        accounts: Lists,
        #[serde(default)]
        allowed_qos: Words,
        #[serde(default)]
        denied_qos: Words,
        #[serde(default)]
        qos: QosLists,
    }
    #[derive(Default, Deserialize)]
    struct Inner {
        #[serde(default)]
        state: Words,
    }
    #[derive(Default, Deserialize)]
    struct Maximums {
        #[serde(default)]
        cpus_per_node: Number,
        #[serde(default)]
        nodes: Number,
        #[serde(default)]
        time: Number,
    }
    #[derive(Default, Deserialize)]
    struct Lists {
        #[serde(default)]
        allowed: Words,
        #[serde(default)]
        deny: Words,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum QosLists {
        Assigned(String),
        Lists {
            #[serde(default)]
            allowed: Words,
            #[serde(default)]
            deny: Words,
            #[serde(default, deserialize_with = "text")]
            assigned: String,
        },
        Other(IgnoredAny),
    }
    impl Default for QosLists {
        fn default() -> Self {
            Self::Assigned(String::new())
        }
    }
    let door = |allowed: [&Words; 2], denied: [&Words; 2]| {
        let all = |words: [&Words; 2]| [&words[0].0[..], &words[1].0[..]].concat();
        let (allowed, denied) = (all(allowed), all(denied));
        match (allowed.first().map(String::as_str), denied.is_empty()) {
            (None | Some("ALL"), true) => Door::All,
            (None | Some("ALL"), false) => Door::AllBut(denied),
            (Some(_), _) => Door::Only(allowed),
        }
    };
    let told: Told = answer(from)?;
    let mut partitions = Partitions::new();
    for it in told.partitions {
        let nothing = Words::default();
        let (allowed, deny, own) = match &it.qos {
            QosLists::Assigned(own) => (&nothing, &nothing, own.as_str()),
            QosLists::Lists {
                allowed,
                deny,
                assigned,
            } => (allowed, deny, assigned.as_str()),
            QosLists::Other(_) => (&nothing, &nothing, ""),
        };
        let minutes = it.max_time_limit.0.or(it.maximums.time.0);
        let state = it.state.first().or(it.partition.state.first());
        let partition = partitions.entry(it.name).or_default();
        partition.availability = state.unwrap_or("UP").to_ascii_lowercase();
        partition.rules = Rules {
            walltime_max_s: minutes.map(|minutes| minutes * 60),
            nodes_max: (it.maximum_nodes_per_job.small()).or(it.maximums.nodes.small()),
            cores_per_node_max: it
                .maximum_cpus_per_node
                .small()
                .or(it.maximums.cpus_per_node.small()),
            accounts: door(
                [&it.allowed_accounts, &it.accounts.allowed],
                [&it.denied_accounts, &it.accounts.deny],
            ),
            qos: door([&it.allowed_qos, allowed], [&it.denied_qos, deny]),
            own_qos: said(own),
        };
    }
    Ok(partitions)
}

/// Counts the nodes into their partitions, and tells their names.
pub(super) fn nodes(
    from: &Answer,
    partitions: &mut Partitions,
) -> Result<Vec<String>, AdapterError> {
    #[derive(Deserialize)]
    struct Told {
        nodes: Vec<Node>,
    }
    #[derive(Deserialize)]
    struct Node {
        name: String,
        #[serde(default)]
        state: Words,
        #[serde(default)]
        state_flags: Words,
        #[serde(default)]
        cpus: Number,
        #[serde(default)]
        alloc_cpus: Number,
        #[serde(default)]
        real_memory: Number,
        #[serde(default)]
        features: Words,
        #[serde(default, deserialize_with = "text")]
        gres: String,
        #[serde(default, deserialize_with = "text")]
        reason: String,
        #[serde(default)]
        partitions: Words,
        #[serde(default, deserialize_with = "text")]
        architecture: String,
        #[serde(default, deserialize_with = "text")]
        operating_system: String,
    }
    let told: Told = answer(from)?;
    let mut names = Vec::new();
    for node in told.nodes {
        let total = node.cpus.small().unwrap_or(0);
        let used = node.alloc_cpus.small().unwrap_or(0).min(total);
        let flags = Words([node.state.0, node.state_flags.0].concat());
        let (state, is_away) = node_state(&flags);
        let (free, offline) = if is_away {
            (0, total - used)
        } else {
            (total - used, 0)
        };
        let features = node.features.0.join(",");
        let system = parse::short_system(&node.operating_system);
        for name in &node.partitions.0 {
            let Some(partition) = partitions.get_mut(name) else {
                continue;
            };
            partition.add(Nodes {
                count: 1,
                state,
                cores_used: used,
                cores_free: free,
                cores_offline: offline,
                cores_total: total,
                cores_each: total,
                memory_mib_each: node.real_memory.0.unwrap_or(0),
                gres: &node.gres,
                features: &features,
                reason: &node.reason,
            });
            partition.describe(Some(&node.architecture), Some(&system));
        }
        names.push(node.name);
    }
    Ok(names)
}

/// A node's state as `sinfo` would say it, from its state and the flags beside it; and whether
/// what is free of it cannot be had.
fn node_state(flags: &Words) -> (&str, bool) {
    let away = [
        "DOWN",
        "DRAIN",
        "DRAINED",
        "DRAINING",
        "FAIL",
        "NOT_RESPONDING",
        "INVALID_REG",
        "INVALID",
        "UNKNOWN",
        "ERROR",
        "FUTURE",
    ];
    if flags.first_of(&away).is_some() {
        return ("down", true);
    }
    if flags.first_of(&["MAINTENANCE", "MAINT"]).is_some() {
        return ("maint", false);
    }
    let busy = ["RESERVED", "PLANNED", "COMPLETING", "MIXED", "ALLOCATED"];
    if flags.first_of(&busy).is_some() {
        return ("allocated", false);
    }
    (flags.first().unwrap_or("unknown"), false)
}

#[derive(Deserialize)]
struct Tres {
    #[serde(rename = "type", default, deserialize_with = "text")]
    kind: String,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default)]
    count: Number,
}

fn count(tres: &[Tres], kind: &str, name: &str) -> Option<u32> {
    let found = tres.iter().find(|it| it.kind == kind && it.name == name);
    found.and_then(|it| it.count.small())
}

/// A value deep within an answer, by the names on the way.
fn at<T: DeserializeOwned + Default>(value: &serde_json::Value, path: &str) -> T {
    let found = value.pointer(path).cloned();
    found
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default()
}

/// What the accounting says of `user`, from its associations and the qualities of service. Where
/// it is of several clusters nothing tells which one this is: then nothing is known.
pub(super) fn limits(
    associations: &Answer,
    qualities: &Answer,
    user: &str,
) -> Result<Option<Accounting>, AdapterError> {
    #[derive(Deserialize)]
    struct Told {
        associations: Vec<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Qualities {
        #[serde(alias = "QOS")]
        qos: Vec<serde_json::Value>,
    }
    let told: Told = answer(associations)?;
    let mut accounting = Accounting::default();
    let mut clusters: BTreeSet<String> = BTreeSet::new();
    for it in &told.associations {
        if at::<String>(it, "/user") != user {
            continue;
        }
        clusters.insert(at(it, "/cluster"));
        let account: String = at(it, "/account");
        let is_default = at::<Words>(it, "/flags").has("DEFAULT")
            || at::<bool>(it, "/is_default")
            || at::<Number>(it, "/is_default").0 == Some(1);
        if is_default {
            accounting.default_account = Some(account.clone());
        }
        let tres: Vec<Tres> = at_list(it, "/max/tres/per/job");
        accounting.associations.push(Association {
            account,
            partition: said(&at::<String>(it, "/partition")),
            limits: Limits {
                walltime_max_s: minutes(it, "/max/jobs/per/wall_clock"),
                cores_max: count(&tres, "cpu", ""),
                nodes_max: count(&tres, "node", ""),
                gpus_max: count(&tres, "gres", "gpu"),
                node_cores_max: None,
                running_max: at::<Number>(it, "/max/jobs/active").small(),
                jobs_max: at::<Number>(it, "/max/jobs/total").small(),
            },
            qos: at::<Words>(it, "/qos").0,
            // 22.05 tells its name, later releases its number.
            default_qos: said(&at::<String>(it, "/default/qos")),
        });
    }
    if clusters.len() != 1 {
        return Ok(None);
    }
    let told: Qualities = answer(qualities)?;
    for it in &told.qos {
        let tres: Vec<Tres> = at_list(it, "/limits/max/tres/per/job");
        let limits = Limits {
            walltime_max_s: minutes(it, "/limits/max/wall_clock/per/job"),
            cores_max: count(&tres, "cpu", ""),
            nodes_max: count(&tres, "node", ""),
            gpus_max: count(&tres, "gres", "gpu"),
            node_cores_max: None,
            running_max: at::<Number>(it, "/limits/max/jobs/active_jobs/per/user").small(),
            jobs_max: at::<Number>(it, "/limits/max/jobs/per/user").small(),
        };
        let flags: Words = at(it, "/flags");
        let flags: Vec<&str> = flags.0.iter().map(String::as_str).collect();
        accounting
            .qos
            .insert(at(it, "/name"), Qos::new(limits, &flags));
    }
    Ok(Some(accounting))
}

fn at_list(value: &serde_json::Value, path: &str) -> Vec<Tres> {
    at(value, path)
}

fn minutes(value: &serde_json::Value, path: &str) -> Option<u64> {
    at::<Number>(value, path).0.map(|minutes| minutes * 60)
}
