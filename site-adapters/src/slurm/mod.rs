//! Slurm through its command line: `sbatch`, `squeue`, `sacct`, `scancel`,
//! `sinfo`, `scontrol`.
//!
//! - One pilot is one `sbatch`, at most four at a time. (A job array would take one call for many,
//!   but its members share one script, and each pilot needs a secret of its own.)
//! - The state of all pilots is one `squeue`, whatever their number, and one `sacct` for those
//!   that `squeue` does not know any more or says are over. A cluster without accounting is fine:
//!   it just tells less of the end of a job.
//! - No answer is not an empty answer: a controller that is away makes every call
//!   [`AdapterError::Unreachable`], and what was known stays.

mod parse;
mod render;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fairway_model::{Ce, CeId, CeState, CeStatus, SiteName, SlurmSettings, Timestamp};
use futures::StreamExt;
use tracing::debug;

use crate::exec::{self, ExecError, Invocation, Output, Runner};
use crate::{AdapterError, BatchJob, BatchState, BatchSystem, PilotJob};

/// Longest time for one command. Without a controller each of them tries for about Slurm's
/// `MessageTimeout` (10 s by default, `scontrol` twice as long) before it gives up.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);
/// `sbatch` processes at a time: enough for more than a hundred submissions a second.
const SUBMISSIONS_AT_ONCE: usize = 4;
/// Job ids in one command line: far from the limits of the kernel and of Slurm.
const IDS_PER_COMMAND: usize = 500;

/// One cluster.
pub(crate) struct Slurm {
    site: SiteName,
    bin_dir: Option<String>,
    conf: Option<String>,
    work_dir: Option<String>,
    runner: Box<dyn Runner>,
}

impl Slurm {
    /// The cluster that the commands in `bin_dir` (else in the search path) reach with the
    /// configuration file `conf` (else Slurm's default). Nothing is run yet.
    pub(crate) fn new(site: SiteName, settings: &SlurmSettings) -> Result<Self, AdapterError> {
        let SlurmSettings {
            bin_dir,
            conf,
            work_dir,
            ..
        } = settings;
        for (setting, path) in [("bin_dir", bin_dir), ("conf", conf), ("work_dir", work_dir)] {
            let path = path.as_deref();
            // Slurm replaces % and \ in the paths of output files.
            let unusable =
                |path: &str| !path.starts_with('/') || path.contains(['%', '\\', '\n', '\0']);
            if let Some(path) = path.filter(|path| unusable(path)) {
                return Err(AdapterError::Refused(format!(
                    "{setting} of site {site} must be an absolute path without % or \\, not {path:?}"
                )));
            }
        }
        Ok(Self {
            site,
            bin_dir: bin_dir.clone(),
            conf: conf.clone(),
            work_dir: work_dir
                .as_ref()
                .map(|path| path.trim_end_matches('/').to_owned()),
            runner: exec::runner(settings.ssh.as_ref(), COMMAND_TIME_MAX)?,
        })
    }

    async fn run(
        &self,
        program: &str,
        args: Vec<String>,
        stdin: String,
    ) -> Result<Output, AdapterError> {
        // Times as seconds since the epoch, whatever the zones of server and cluster.
        let mut env = vec![("SLURM_TIME_FORMAT".to_owned(), "%s".to_owned())];
        env.extend(
            self.conf
                .iter()
                .map(|conf| ("SLURM_CONF".to_owned(), conf.clone())),
        );
        let invocation = Invocation {
            program: match &self.bin_dir {
                Some(folder) => format!("{folder}/{program}"),
                None => program.to_owned(),
            },
            args,
            env,
            stdin,
            run_as: None,
        };
        let result = self.runner.run(&invocation).await;
        debug!(site = %self.site, ?invocation, code = ?result.as_ref().ok().and_then(|o| o.code));
        result.map_err(|error| match error {
            ExecError::TooLong { .. } => AdapterError::Unexpected(error.to_string()),
            ExecError::Start { .. } | ExecError::Timeout { .. } | ExecError::Read { .. } => {
                AdapterError::Unreachable(error.to_string())
            }
        })
    }

    /// Runs a command that only asks. It has nothing to refuse: whatever fails means that there
    /// is no answer.
    async fn ask(&self, program: &str, args: Vec<String>) -> Result<String, AdapterError> {
        let output = self.run(program, args, String::new()).await?;
        if output.succeeded() {
            Ok(output.stdout)
        } else {
            Err(AdapterError::Unreachable(output.words()))
        }
    }

    async fn submit_one(&self, job: &PilotJob, away: &AtomicBool) -> Result<String, AdapterError> {
        let args = render::submit_args(job, self.work_dir.as_deref())?;
        let script = render::script(job)?;
        if away.load(Ordering::Relaxed) {
            // Each try would take as long as the first to fail.
            return Err(AdapterError::Unreachable(
                "not tried, because a submission just before found nobody".to_owned(),
            ));
        }
        let result = match self.run("sbatch", args, script).await {
            Ok(output) if output.succeeded() => parse::submitted_id(&output.stdout),
            Ok(output) => Err(parse::failure(&output)),
            Err(error) => Err(error),
        };
        if matches!(result, Err(AdapterError::Unreachable(_))) {
            away.store(true, Ordering::Relaxed);
        }
        result
    }

    /// What the accounting knows of the end of `ids`. `must` tells whether it has to answer.
    async fn ended(
        &self,
        name_prefix: &str,
        ids: &[&str],
        must: bool,
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let mut jobs = Vec::new();
        for ids in ids.chunks(IDS_PER_COMMAND) {
            let args = render::accounting_args(ids);
            match self.run("sacct", args, String::new()).await {
                Ok(output) if output.succeeded() => {
                    jobs.extend(parse::accounting(&output.stdout, name_prefix)?);
                }
                Ok(output) if parse::is_accounting_off(&output) => break,
                Ok(output) if must => return Err(AdapterError::Unreachable(output.words())),
                Err(error) if must => return Err(error),
                Ok(_) | Err(_) => break,
            }
        }
        Ok(jobs)
    }
}

#[async_trait]
impl BatchSystem for Slurm {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let away = AtomicBool::new(false);
        let submissions: Vec<_> = jobs.iter().map(|job| self.submit_one(job, &away)).collect();
        futures::stream::iter(submissions)
            .buffered(SUBMISSIONS_AT_ONCE)
            .collect()
            .await
    }

    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let stdout = self.ask("squeue", render::queue_args()).await?;
        let mut jobs = parse::queue(&stdout, name_prefix)?;
        let places: HashMap<String, usize> = jobs
            .iter()
            .enumerate()
            .map(|(place, job)| (job.batch_id.clone(), place))
            .collect();

        let known: BTreeSet<&str> = known
            .iter()
            .map(String::as_str)
            .filter(|id| parse::is_id(id))
            .collect();
        let is_over = |place: &usize| matches!(jobs[*place].state, BatchState::Ended { .. });
        let (over, missing): (Vec<&str>, Vec<&str>) = known
            .into_iter()
            .filter(|id| places.get(*id).is_none_or(is_over))
            .partition(|id| places.contains_key(*id));

        // The queue tells that a job is over, the accounting how; of those that are gone from
        // the queue only the accounting knows, and without its answer they would look lost.
        let mut ended = self.ended(name_prefix, &missing, true).await?;
        ended.extend(self.ended(name_prefix, &over, false).await?);
        for job in ended {
            match places.get(&job.batch_id) {
                Some(&place) => jobs[place] = job,
                None => jobs.push(job),
            }
        }
        Ok(jobs)
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let ids: Vec<String> = batch_ids
            .iter()
            .filter(|id| parse::is_id(id))
            .cloned()
            .collect();
        for ids in ids.chunks(IDS_PER_COMMAND) {
            // Jobs that are over or unknown are no failure for scancel either.
            let output = self.run("scancel", ids.to_vec(), String::new()).await?;
            if !output.succeeded() {
                return Err(parse::failure(&output));
            }
        }
        Ok(())
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        let (version, partitions, load, nodes) = tokio::try_join!(
            self.ask("sinfo", vec!["--version".to_owned()]),
            self.ask("sinfo", render::partition_args()),
            self.ask("squeue", render::load_args()),
            self.ask("scontrol", render::node_args()),
        )?;
        let mut partitions = parse::partitions(&partitions)?;
        parse::count_jobs(&load, &mut partitions);
        parse::describe_nodes(&nodes, &mut partitions);
        let version = parse::version(&version);
        let publish_one = |ce: &Ce| {
            let id = CeId {
                site: self.site.clone(),
                ce: ce.name.clone(),
            };
            let mut state = CeState::unreachable(id, "slurm", now, String::new());
            state.lrms.1.clone_from(&version);
            match partitions.get(ce.queue()) {
                Some(partition) => partition.publish(&mut state),
                None => {
                    state.status = CeStatus::Closed;
                    state.reason = Some(format!("there is no partition {:?}", ce.queue()));
                }
            }
            state
        };
        Ok(ces.iter().map(publish_one).collect())
    }
}

#[cfg(test)]
mod tests;
