//! OpenPBS and PBS Pro.
//!
//! - Pilots that differ in their documents only are one job array. Its members are told apart by
//!   their index, and named after the pilots: see [`super::id::member_name`].
//! - The state of all pilots is one `qstat`, whatever their number, and one more for those that it
//!   does not know any more: with the server's history on it says how they ended, with the history
//!   off they are unknown the moment that they are over. Each command takes a privileged port of
//!   the machine for a minute, and `qstat` takes one for each id that is named, so that ids are
//!   named only if they are few.
//! - JSON is asked for, and text as soon as the JSON cannot be read: see [`super::stanza`].
//! - No answer is not an empty answer: without a server `qstat` prints JSON that looks like an
//!   empty queue. Only the exit code tells.
//! - A node cannot be avoided by its name: [`PilotJob::avoid`] is of no effect.
//! - Pilots under other accounts are seen only if the server has `query_other_jobs` set.

mod parse;
mod publish;
mod render;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use fairway_model::{Ce, CeState, Timestamp};
use tracing::warn;

use super::id::Id;
use super::stanza::{self, Stanza};
use super::{Away, Commands, array, close_absent, failure, id, job};
use crate::{AdapterError, BatchJob, BatchSystem, PilotJob};

/// Jobs and arrays whose ids are named in a question to the history, at most. Above it the whole
/// history is asked for: one connection in place of one for each id.
const IDS_NAMED_MAX: usize = 20;
/// Exit code of a command that does not know an option.
const USAGE: i32 = 2;

/// One server.
pub(super) struct OpenPbs {
    commands: Commands,
    /// Whether its JSON could not be read once. What made it so may stay for days.
    text_only: AtomicBool,
}

/// What a listing is of.
#[derive(Clone, Copy)]
enum Listing {
    Jobs,
    Queues,
    Server,
    Nodes,
}

impl Listing {
    /// The command, what makes its text easy to read, and how a stanza of it begins.
    const fn form(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            Self::Jobs => ("qstat", &["-w"], "Job Id:"),
            Self::Queues => ("qstat", &[], "Queue:"),
            Self::Server => ("qstat", &[], "Server:"),
            Self::Nodes => ("pbsnodes", &[], ""),
        }
    }
}

impl OpenPbs {
    pub(super) fn new(commands: Commands) -> Self {
        Self {
            commands,
            text_only: AtomicBool::new(false),
        }
    }

    /// Asks for rows, about `ids` or about everything.
    async fn list(
        &self,
        listing: Listing,
        args: Vec<String>,
        ids: &[String],
    ) -> Result<Vec<Stanza>, AdapterError> {
        let (program, text_options, heading) = listing.form();
        if !self.text_only.load(Ordering::Relaxed) {
            let json = [args.as_slice(), &super::strings(&["-F", "json"]), ids].concat();
            let output = self.commands.run(program, json).await?;
            if parse::is_answer(&output, !ids.is_empty()) {
                match stanza::from_json(&output.stdout) {
                    Ok(rows) => return Ok(rows),
                    Err(error) => {
                        warn!(site = %self.commands.site, %error, program,
                            "the JSON of PBS cannot be read; its text is from now on");
                    }
                }
            } else if output.code != Some(USAGE) {
                return Err(AdapterError::Unreachable(failure::words(&output)));
            }
            self.text_only.store(true, Ordering::Relaxed);
        }
        let text = [args.as_slice(), &super::strings(text_options), ids].concat();
        let output = self.commands.run(program, text).await?;
        if !parse::is_answer(&output, !ids.is_empty()) {
            return Err(AdapterError::Unreachable(failure::words(&output)));
        }
        Ok(stanza::from_text(&output.stdout, heading))
    }

    /// Submits one job, or an array of several. Where an array is over a limit of the queue, as
    /// much of it is submitted as there is room for.
    async fn submit_group(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let mut waiting = Vec::from([(0, jobs.len())]);
        let mut results = Vec::with_capacity(jobs.len());
        while let Some((start, end)) = waiting.pop() {
            let part = &jobs[start..end];
            let error = match self.submit_at_once(part).await {
                Ok(ids) => {
                    results.extend(ids.into_iter().map(Ok));
                    continue;
                }
                Err(error) => error,
            };
            let is_full = failure::is_over_limit(&error);
            if is_full && part.len() > 1 {
                let middle = start + part.len() / 2;
                waiting.extend([(middle, end), (start, middle)]);
                continue;
            }
            // Where there is no room for one job, and no server for one, there is none for others.
            let is_last = is_full || matches!(error, AdapterError::Unreachable(_));
            let end = if is_last { jobs.len() } else { end };
            results.extend((start..end).map(|_| Err(error.clone())));
            if is_last {
                break;
            }
        }
        results
    }

    async fn submit_at_once(&self, jobs: &[PilotJob]) -> Result<Vec<String>, AdapterError> {
        let work_dir = self.commands.work_dir.as_deref();
        let args = render::submit_args(jobs)?;
        let script = render::script(jobs, work_dir)?;
        let run_as = jobs.first().and_then(|job| job.run_as.as_deref());
        let output = self.commands.run_as(run_as, "qsub", args, script).await?;
        if !output.succeeded() {
            return Err(failure::submission(&output));
        }
        job::submitted(&output.stdout, jobs.len())
    }

    /// What the history knows of `missing`.
    async fn ended(
        &self,
        name_prefix: &str,
        missing: &BTreeSet<&str>,
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let whole: BTreeSet<String> = missing
            .iter()
            .filter_map(|id| Id::parse(id).map(Id::whole))
            .collect();
        let ids: Vec<String> = match whole.len() {
            0 => return Ok(Vec::new()),
            1..=IDS_NAMED_MAX => whole.into_iter().collect(),
            _ => Vec::new(),
        };
        let rows = self
            .list(Listing::Jobs, render::history_args(), &ids)
            .await?;
        let mut jobs = job::named(&rows, name_prefix, parse::state);
        jobs.retain(|job| missing.contains(job.batch_id.as_str()));
        Ok(jobs)
    }
}

#[async_trait]
impl BatchSystem for OpenPbs {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let away = Away::default();
        let mut results = Vec::with_capacity(jobs.len());
        // One after another: `qsub` leaves a process behind that keeps one connection for the next
        // ones, and is faster so than several at a time.
        for group in array::groups(jobs) {
            let group = &jobs[group];
            let answers = match away.check() {
                Ok(()) => self.submit_group(group).await,
                Err(error) => group.iter().map(|_| Err(error.clone())).collect(),
            };
            answers.iter().for_each(|answer| away.note(answer));
            results.extend(answers);
        }
        results
    }

    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let rows = self.list(Listing::Jobs, render::queue_args(), &[]).await?;
        let mut jobs = job::named(&rows, name_prefix, parse::state);
        let told: HashSet<&str> = jobs.iter().map(|job| job.batch_id.as_str()).collect();
        let missing: BTreeSet<&str> = known
            .iter()
            .map(String::as_str)
            .filter(|id| id::is_job(id) && !told.contains(id))
            .collect();
        let ended = self.ended(name_prefix, &missing).await?;
        jobs.extend(ended);
        Ok(jobs)
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        self.commands
            .delete(batch_ids, failure::deleted, async || {
                let rows = self.list(Listing::Jobs, render::queue_args(), &[]).await?;
                Ok(job::owners(&rows))
            })
            .await
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        if ces.is_empty() {
            return Ok(Vec::new());
        }
        let server = self
            .list(Listing::Server, render::server_args(), &[])
            .await?;
        let queues = self
            .list(Listing::Queues, render::queues_args(), &[])
            .await?;
        let nodes = self.list(Listing::Nodes, render::nodes_args(), &[]).await?;
        let site = publish::Site::new(&server, &queues, &nodes);
        let publish_one = |ce: &Ce| {
            let mut state = self.commands.state(ce, "openpbs", site.version(), now);
            let queue = render::target(ce);
            if !site.publish(queue, &mut state) {
                close_absent(&mut state, queue);
            }
            state
        };
        Ok(ces.iter().map(publish_one).collect())
    }
}

#[cfg(test)]
mod tests;
