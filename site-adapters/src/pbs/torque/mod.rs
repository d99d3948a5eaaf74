//! TORQUE, and TORQUE's commands over Slurm (`slurm-torque`), which are told apart once, by their
//! own answer.
//!
//! - TORQUE keeps jobs that are over for its `keep_completed` seconds, with their exit status, as
//!   Slurm does for its `MinJobAge`, without. There is no history after that: a job that is gone is
//!   left out of a poll.
//! - TORQUE has arrays. Over Slurm the members of an array are not told of, so that each pilot is
//!   submitted by itself.
//! - The commands over Slurm tell errors on standard output, end with odd exit codes, ignore what
//!   they do not know, and paste their options into a line for a shell; nothing that a shell would
//!   read gets there. What they lack is asked for by directives in the script.
//! - [`PilotJob::avoid`] is of no effect with TORQUE itself.

mod over_slurm;
mod parse;
mod publish;
mod render;

use std::collections::BTreeMap;

use async_trait::async_trait;
use fairway_model::{Ce, CeState, Timestamp};
use futures::StreamExt;
use tokio::sync::OnceCell;

use super::stanza::{self, Stanza};
use super::{Away, Commands, array, close_absent, failure, job, strings};
use crate::{AdapterError, BatchJob, BatchSystem, PilotJob};

/// `qsub` processes at a time.
const SUBMISSIONS_AT_ONCE: usize = 4;

/// Whose commands they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    /// TORQUE's own.
    Torque,
    /// Slurm's, that look like TORQUE's.
    OverSlurm,
}

/// One server.
pub(super) struct Torque {
    commands: Commands,
    flavour: OnceCell<Flavour>,
}

impl Torque {
    pub(super) fn new(commands: Commands) -> Self {
        Self {
            commands,
            flavour: OnceCell::new(),
        }
    }

    async fn flavour(&self) -> Result<Flavour, AdapterError> {
        let ask = async || {
            let output = self.commands.run("qsub", strings(&["--version"])).await?;
            parse::flavour(&output)
        };
        self.flavour.get_or_try_init(ask).await.copied()
    }

    /// Runs a command that only asks.
    async fn ask(&self, program: &str, args: Vec<String>) -> Result<String, AdapterError> {
        let flavour = self.flavour().await?;
        let output = self.commands.run(program, args).await?;
        if parse::is_answer(&output, flavour) {
            Ok(output.stdout)
        } else {
            Err(AdapterError::Unreachable(failure::words(&output)))
        }
    }

    async fn jobs(&self) -> Result<Vec<Stanza>, AdapterError> {
        let args = render::queue_args(self.flavour().await?);
        let text = self.ask("qstat", args).await?;
        Ok(stanza::from_text(&text, "Job Id:"))
    }

    async fn submit_group(
        &self,
        jobs: &[PilotJob],
        away: &Away,
    ) -> Vec<Result<String, AdapterError>> {
        let result = match away.check() {
            Ok(()) => self.submit_at_once(jobs).await,
            Err(error) => Err(error),
        };
        away.note(&result);
        match result {
            Ok(ids) => ids.into_iter().map(Ok).collect(),
            Err(error) => jobs.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn submit_at_once(&self, jobs: &[PilotJob]) -> Result<Vec<String>, AdapterError> {
        let flavour = self.flavour().await?;
        let work_dir = self.commands.work_dir.as_deref();
        let args = render::submit_args(jobs, flavour, work_dir)?;
        let script = render::script(jobs, flavour, work_dir)?;
        let run_as = jobs.first().and_then(|job| job.run_as.as_deref());
        let output = match flavour {
            Flavour::Torque => self.commands.run_as(run_as, "qsub", args, script).await?,
            Flavour::OverSlurm => {
                let args = render::through_a_pipe(self.commands.path("qsub"), args);
                self.commands.shell(run_as, args, script).await?
            }
        };
        if !output.succeeded() {
            return Err(failure::submission(&output));
        }
        job::submitted(&output.stdout, jobs.len())
    }
}

#[async_trait]
impl BatchSystem for Torque {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let flavour = match self.flavour().await {
            Ok(flavour) => flavour,
            Err(error) => return jobs.iter().map(|_| Err(error.clone())).collect(),
        };
        let groups = match flavour {
            Flavour::Torque => array::groups(jobs),
            Flavour::OverSlurm => (0..jobs.len()).map(|at| at..at + 1).collect(),
        };
        let away = Away::default();
        let submissions: Vec<_> = groups
            .into_iter()
            .map(|group| self.submit_group(&jobs[group], &away))
            .collect();
        let results: Vec<_> = futures::stream::iter(submissions)
            .buffered(SUBMISSIONS_AT_ONCE)
            .collect()
            .await;
        results.into_iter().flatten().collect()
    }

    async fn poll(
        &self,
        name_prefix: &str,
        _known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        // Whatever is known of any job is in this one listing.
        Ok(job::named(&self.jobs().await?, name_prefix, parse::state))
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let told = match self.flavour().await? {
            Flavour::Torque => failure::deleted,
            Flavour::OverSlurm => parse::deleted_over_slurm,
        };
        self.commands
            .delete(batch_ids, told, async || {
                Ok(job::owners(&self.jobs().await?))
            })
            .await
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        if ces.is_empty() {
            return Ok(Vec::new());
        }
        let flavour = self.flavour().await?;
        let nodes = self.ask("pbsnodes", strings(&["-a"])).await?;
        let nodes = publish::nodes(&stanza::from_text(&nodes, ""));
        let queues = self.ask("qstat", strings(&["-Q", "-f"])).await?;
        let queues: BTreeMap<String, Stanza> = stanza::from_text(&queues, "Queue:")
            .into_iter()
            .map(|queue| (queue.name.clone(), queue))
            .collect();
        let mut states = Vec::with_capacity(ces.len());
        let (lrms, version) = self.lrms(flavour).await?;
        let (jobs, limits) = match flavour {
            Flavour::Torque => (Vec::new(), String::new()),
            Flavour::OverSlurm => (
                self.jobs().await?,
                self.ask("qstat", strings(&["-q"])).await?,
            ),
        };
        for ce in ces {
            let mut state = self.commands.state(ce, lrms, &version, now);
            match (queues.get(ce.queue()), flavour) {
                (None, _) => close_absent(&mut state, ce.queue()),
                (Some(queue), Flavour::Torque) => publish::publish(queue, &nodes, &mut state),
                (Some(queue), Flavour::OverSlurm) => {
                    over_slurm::publish(queue, &nodes, &jobs, &limits, &mut state);
                }
            }
            states.push(state);
        }
        Ok(states)
    }
}

impl Torque {
    /// What the batch system is, and its version.
    async fn lrms(&self, flavour: Flavour) -> Result<(&'static str, String), AdapterError> {
        match flavour {
            Flavour::Torque => {
                let text = self.ask("qstat", strings(&["-B", "-f"])).await?;
                let server = stanza::from_text(&text, "Server:");
                let version = server.first().and_then(|server| server.get("pbs_version"));
                Ok(("torque", version.unwrap_or_default().to_owned()))
            }
            Flavour::OverSlurm => {
                // `slurm-wlm 22.05.8`
                let text = self.ask("sbatch", strings(&["--version"])).await?;
                let version = text.split_whitespace().last().unwrap_or_default();
                Ok(("slurm", version.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
