//! What is told at the end of a run: failures with the end of what they wrote,
//! the counts, and where the outputs are.

use std::path::{Path, PathBuf};

use fairway_api::client::{Client, ClientError, LogStream};
use fairway_api::public::{JobView, LogQuery, TaskView, TasksQuery};
use fairway_api::{Problem, ProblemCode};
use fairway_model::TaskState;
use serde::Serialize;

use super::super::output::tell_left_out;
use crate::exit::Failure;
use crate::progress::Counts;
use crate::render::table::harmless;
use crate::render::words;
use crate::screen;
use crate::submission::output_folder;
use crate::unpack;

/// How many failed tasks are told about, for each job.
const FAILURES_MAX: u32 = 5;
/// How many lines of stderr are shown of each.
const TAIL_LINES: u32 = 10;

/// How a run went.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    jobs: Vec<Ended>,
    /// The first tasks that did not succeed.
    failures: Vec<TaskView>,
}

/// A job that is over, with its outputs fetched.
#[derive(Debug, Serialize)]
struct Ended {
    job: JobView,
    /// Where its output sandbox is, if it has one.
    output_dir: Option<PathBuf>,
}

/// Fetches the outputs of all jobs, and the failures.
pub(super) async fn fetch(
    client: &Client,
    jobs: &[JobView],
    output_dir: Option<&Path>,
) -> Result<Summary, Failure> {
    let mut summary = Summary {
        jobs: Vec::with_capacity(jobs.len()),
        failures: Vec::new(),
    };
    for job in jobs {
        let folder = match output_dir {
            Some(folder) if jobs.len() == 1 => folder.to_owned(),
            Some(folder) => folder.join(output_folder(&job.name, job.id)),
            None => output_folder(&job.name, job.id),
        };
        let output_dir = fetch_output(client, job, folder).await?;
        summary.jobs.push(Ended {
            job: job.clone(),
            output_dir,
        });
        if job.count(TaskState::Succeeded) < job.tasks {
            summary.failures.extend(failures(client, job).await?);
        }
    }
    Ok(summary)
}

/// Unpacks a job's outputs to `folder`: those of a single task directly, those of
/// many with a folder for each. `None` if there are none.
async fn fetch_output(
    client: &Client,
    job: &JobView,
    folder: PathBuf,
) -> Result<Option<PathBuf>, Failure> {
    let download = if job.tasks == 1 {
        client
            .task_output(fairway_model::TaskId::new(job.id, 0))
            .await
    } else {
        client.job_output(job.id).await
    };
    let download = match download {
        Err(ClientError::Problem(problem)) if is_missing(&problem) => return Ok(None),
        download => download?,
    };
    let unpacked = unpack::download(download, &folder).await?;
    tell_left_out(&unpacked);
    Ok((unpacked.files > 0).then_some(folder))
}

fn is_missing(problem: &Problem) -> bool {
    problem.code == ProblemCode::NotFound
}

async fn failures(client: &Client, job: &JobView) -> Result<Vec<TaskView>, Failure> {
    let query = TasksQuery {
        job: Some(job.id),
        state: Some(format!(
            "{},{}",
            TaskState::Failed.name(),
            TaskState::Cancelled.name()
        )),
        limit: Some(FAILURES_MAX),
        ..TasksQuery::default()
    };
    Ok(client.tasks(&query).await?.items)
}

impl Summary {
    /// Tells people how it went, on stderr. `tails`: with the end of what failed tasks wrote.
    pub(super) async fn tell(
        &self,
        client: &Client,
        tails: bool,
        quiet: bool,
    ) -> Result<(), Failure> {
        if tails {
            for task in &self.failures {
                screen::remark(&format!("{} {}", named(task), how(task)));
                screen::write_raw_stderr(&tail(client, task).await?);
            }
        }
        if quiet {
            return Ok(());
        }
        for ended in &self.jobs {
            screen::remark(&ended.in_words());
        }
        Ok(())
    }

    /// Why the run as a whole did not succeed.
    pub(super) fn verdict(&self, counts: Counts) -> String {
        match self.failures.first() {
            Some(task) if counts.total == 1 => format!("{} {}", named(task), how(task)),
            _ => format!(
                "{} of {} tasks did not succeed",
                counts.total - counts.succeeded,
                counts.total
            ),
        }
    }
}

impl Ended {
    fn in_words(&self) -> String {
        let job = &self.job;
        let mut text = format!(
            "job {} ({}): {} of {} succeeded",
            job.id,
            harmless(&job.name),
            job.count(TaskState::Succeeded),
            words::count(job.tasks, "task")
        );
        if let Some(ended_at) = job.ended_at {
            text.push_str(&format!(" in {}", words::age(ended_at, job.submitted_at)));
        }
        if let Some(folder) = &self.output_dir {
            text.push_str(&format!("; outputs are in {}", folder.display()));
        }
        text
    }
}

fn named(task: &TaskView) -> String {
    match &task.node {
        Some(node) => format!("task {} of node {}", task.id, harmless(node)),
        None => format!("task {}", task.id),
    }
}

fn how(task: &TaskView) -> String {
    task.detail
        .clone()
        .or_else(|| task.last_end.as_ref().map(ToString::to_string))
        .unwrap_or_else(|| task.state.name().to_owned())
}

/// The last lines that a task wrote to stderr; nothing if it never ran.
async fn tail(client: &Client, task: &TaskView) -> Result<Vec<u8>, Failure> {
    let query = LogQuery {
        tail: Some(TAIL_LINES),
        ..LogQuery::default()
    };
    let mut log = match client.log(task.id, LogStream::Stderr, &query).await {
        Err(ClientError::Problem(problem)) if is_missing(&problem) => return Ok(Vec::new()),
        log => log?,
    };
    let mut text = Vec::new();
    while let Some(chunk) = log.chunk().await? {
        text.extend_from_slice(&chunk);
    }
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    Ok(text)
}
