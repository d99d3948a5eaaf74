//! `fairway run`: a server, a site and a pilot for the time of one command.

mod report;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use fairway_api::client::{Client, LogStream};
use fairway_api::public::{JobView, LogQuery};
use fairway_model::{JobId, TaskId, TaskVerb};

use super::logs;
use super::submit::tell_warnings;
use crate::embedded::Embedded;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::progress::{Counts, Progress};
use crate::screen;
use crate::submission::{self, Loaded};
use crate::wait;

/// How long cancelled tasks may take to end before everything is stopped anyway.
const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// Run jobs on this machine, without a server
///
/// Starts a server inside this program, with this machine as its only site, submits the jobs with
/// their input sandboxes, shows their progress and outputs, fetches their output sandboxes, and
/// leaves nothing running. Succeeds only if all tasks do. Ctrl-C cancels the jobs.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// JDL files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder for the output sandboxes; a new ./<name>-<number> for each job if not set
    #[arg(long, short, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Cores to use; all that this machine has if not set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cores: Option<u32>,
    /// Keep the server's state in this folder, and go on with what is there; a temporary one
    /// if not set
    #[arg(long, value_name = "DIR")]
    keep_state: Option<PathBuf>,
    /// Show no progress and no summary
    #[arg(long, short)]
    quiet: bool,
    /// Write a summary as JSON to stdout at the end; what a single task writes is not shown
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut loaded = Vec::with_capacity(self.files.len());
        for file in &self.files {
            loaded.push(submission::load(file, None, None)?);
        }
        let mut interrupts = Interrupts::listen()?;
        let embedded = tokio::select! {
            embedded = Embedded::start(self.keep_state.clone(), self.cores) => embedded?,
            () = interrupts.next() => return Err(Failure::Interrupted),
        };
        let client = embedded.client().clone();
        let submitted = RefCell::new(Vec::new());
        let outcome = tokio::select! {
            outcome = self.work(&client, &loaded, &submitted) => outcome,
            () = interrupts.next() => Err(Failure::Interrupted),
        };
        if matches!(outcome, Err(Failure::Interrupted | Failure::ReaderGone)) {
            let submitted = submitted.take();
            // A second Ctrl-C does not wait for that.
            tokio::select! {
                () = cancel(&client, &submitted) => {}
                () = interrupts.next() => {}
            }
        }
        match (outcome, embedded.stop().await) {
            (Ok(()), stopped) => stopped,
            (Err(failure), Ok(())) => Err(failure),
            (Err(failure), Err(left)) => {
                screen::remark(&left.to_string());
                Err(failure)
            }
        }
    }

    async fn work(
        &self,
        client: &Client,
        loaded: &[Loaded],
        submitted: &RefCell<Vec<JobId>>,
    ) -> Result<(), Failure> {
        for one in loaded {
            let reply = client.submit(&one.submission).await?;
            submitted.borrow_mut().push(reply.job);
            tell_warnings(&reply);
        }
        let jobs = submitted.borrow().clone();
        let total = loaded.iter().map(|one| u64::from(one.tasks)).sum();
        let single = (total == 1 && !self.json).then(|| TaskId::new(jobs[0], 0));
        let mut progress = if self.quiet || single.is_some() {
            Progress::Silent
        } else {
            Progress::new(total)
        };
        let (jobs, ()) = tokio::try_join!(
            wait::until_over(client, &jobs, &mut progress),
            stream(client, single)
        )?;
        self.conclude(client, &jobs, single).await
    }

    /// Fetches the outputs and tells how it went.
    async fn conclude(
        &self,
        client: &Client,
        jobs: &[JobView],
        single: Option<TaskId>,
    ) -> Result<(), Failure> {
        let summary = report::fetch(client, jobs, self.output_dir.as_deref()).await?;
        if self.json {
            screen::write_json(&summary)?;
        } else {
            summary.tell(client, single.is_none(), self.quiet).await?;
        }
        let counts = Counts::of(jobs);
        if counts.all_succeeded() {
            Ok(())
        } else {
            Err(Failure::Unsuccessful(summary.verdict(counts)))
        }
    }
}

/// Hands on what a single task writes, as it comes.
async fn stream(client: &Client, task: Option<TaskId>) -> Result<(), Failure> {
    let Some(task) = task else {
        return Ok(());
    };
    let query = LogQuery::default();
    tokio::try_join!(
        logs::follow(client, task, LogStream::Stdout, &query, screen::write_raw),
        logs::follow(client, task, LogStream::Stderr, &query, |bytes| {
            screen::write_raw_stderr(bytes);
            Ok(())
        }),
    )?;
    Ok(())
}

/// Cancels the jobs and waits a while for their end. What fails here does not matter:
/// everything is stopped next.
async fn cancel(client: &Client, jobs: &[JobId]) {
    for job in jobs {
        if let Err(error) = client.change_job(*job, TaskVerb::Cancel).await {
            screen::remark(&format!("job {job} was not cancelled: {error}"));
        }
    }
    let mut progress = Progress::Silent;
    let over = wait::until_over(client, jobs, &mut progress);
    if tokio::time::timeout(CANCEL_GRACE, over).await.is_err() {
        screen::remark("some tasks did not end in time; they are stopped now");
    }
}
