//! What `slurmrestd` answers about jobs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Version;
use super::http::Answer;
use super::shapes::{Exit, Number, Words, text};
use crate::slurm::partition::Partitions;
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
