//! Slurm through its command line: `sbatch`, `squeue`, `sacct`, `scancel`,
//! `sinfo`, `scontrol`, `sacctmgr`; or through `slurmrestd`, see [`rest`].
//!
//! - Pilots that differ in nothing but number and document go in one `sbatch`, as a job array: see
//!   [`bulk`]. Others take one `sbatch` each, at most four at a time.
//! - The state of all pilots is one `squeue`, whatever their number, and one `sacct` for those
//!   that `squeue` does not know any more or says are over. A cluster without accounting is fine:
//!   it just tells less of the end of a job.
//! - No answer is not an empty answer: a controller that is away makes every call
//!   [`AdapterError::Unreachable`], and what was known stays.
//! - What is known to be over a limit is refused without asking: Slurm may take it and let it
//!   wait for ever.

mod accounts;
mod bulk;
mod limits;
mod members;
mod parse;
mod partition;
mod render;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fairway_model::{Ce, CeId, CeState, SiteName, SlurmSettings, Timestamp};
use futures::StreamExt;
use tracing::{debug, warn};

use crate::exec::{self, ExecError, Invocation, Output, Runner};
use crate::{AdapterError, BatchJob, BatchState, BatchSystem, PilotJob};
use accounts::Accounts;
use bulk::Batch;
use limits::Accounting;
use members::Members;
use parse::Config;
use partition::Partitions;
use render::Place;

/// Longest time for one command. Without a controller each of them tries for about Slurm's
/// `MessageTimeout` (10 s by default, `scontrol` twice as long) before it gives up.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);
/// `sbatch` processes at a time: enough for more than a hundred submissions a second.
const SUBMISSIONS_AT_ONCE: usize = 4;
/// Job ids in one command line: far from the limits of the kernel and of Slurm.
const IDS_PER_COMMAND: usize = 500;
/// How long what the accounting says of us is taken for true.
const ACCOUNTING_TIME_MAX: Duration = Duration::from_secs(300);
/// How long what partitions were seen to allow is held against submissions.
const PARTITIONS_TIME_MAX: Duration = Duration::from_secs(600);

/// The adapter that `settings` ask for. `state_dir` is for what has to outlive a restart.
///
/// # Errors
/// `Refused` if the settings cannot be used.
pub(crate) fn open(
    site: SiteName,
    settings: &SlurmSettings,
    state_dir: &Path,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    check_paths(&site, settings)?;
    Ok(Arc::new(Slurm::new(site, settings, state_dir)?))
}

fn check_paths(site: &SiteName, settings: &SlurmSettings) -> Result<(), AdapterError> {
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
    Ok(())
}

/// What was learned of the cluster, to be held against what it is asked for.
#[derive(Default)]
struct Known {
    partitions: Option<(Instant, Partitions)>,
    nodes: HashSet<String>,
    accounting: Option<(Instant, Option<Accounting>)>,
}

impl Known {
    fn look(known: &Mutex<Self>) -> MutexGuard<'_, Self> {
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the accounting says, unless it is too long ago.
    fn fresh_accounting(&self) -> Option<Option<Accounting>> {
        let fresh = |(seen, _): &&(Instant, _)| seen.elapsed() < ACCOUNTING_TIME_MAX;
        self.accounting
            .as_ref()
            .filter(fresh)
            .map(|it| it.1.clone())
    }

    /// Refuses a job that is over a known limit.
    fn check(&self, job: &PilotJob) -> Result<(), AdapterError> {
        let fresh = |(seen, _): &&(Instant, _)| seen.elapsed() < PARTITIONS_TIME_MAX;
        let Some((_, partitions)) = self.partitions.as_ref().filter(fresh) else {
            return Ok(());
        };
        let Some(partition) = partitions.get(job.ce.queue()) else {
            // It may be new.
            return Ok(());
        };
        // Of other accounts than our own nobody was asked.
        let accounting = self.accounting.as_ref().and_then(|(_, it)| it.as_ref());
        let accounting = accounting.filter(|_| job.run_as.is_none());
        limits::of(&job.ce, partition, accounting)
            .map_err(AdapterError::Refused)?
            .check(job)
    }

    /// The jobs, each to avoid only nodes that the cluster has: Slurm refuses jobs that avoid
    /// others. A node may be told of with its domain.
    fn without_strangers<'a>(&self, jobs: &'a [PilotJob]) -> Cow<'a, [PilotJob]> {
        if self.nodes.is_empty() || jobs.iter().all(|job| job.avoid.is_empty()) {
            return Cow::Borrowed(jobs);
        }
        let known = |name: String| {
            let short = name.split('.').next().unwrap_or_default();
            let names = [name.as_str(), short];
            let known = names.into_iter().find(|name| self.nodes.contains(*name));
            known.map(str::to_owned)
        };
        let mut jobs = jobs.to_vec();
        for job in &mut jobs {
            let avoid = std::mem::take(&mut job.avoid);
            job.avoid = avoid.into_iter().filter_map(known).collect();
        }
        Cow::Owned(jobs)
    }
}

/// One cluster.
struct Slurm {
    site: SiteName,
    bin_dir: Option<String>,
    conf: Option<String>,
    place: Place,
    runner: Box<dyn Runner>,
    accounts: Accounts,
    /// How the cluster is set up, and who we are there; asked for once.
    config: tokio::sync::OnceCell<Config>,
    user: tokio::sync::OnceCell<String>,
    known: Mutex<Known>,
    members: Members,
}

impl Slurm {
    /// The cluster that the commands in `bin_dir` (else in the search path) reach with the
    /// configuration file `conf` (else Slurm's default). Nothing is run yet.
    fn new(
        site: SiteName,
        settings: &SlurmSettings,
        state_dir: &Path,
    ) -> Result<Self, AdapterError> {
        let trimmed = |path: &String| path.trim_end_matches('/').to_owned();
        Ok(Self {
            site,
            bin_dir: settings.bin_dir.clone(),
            conf: settings.conf.clone(),
            place: Place {
                work_dir: settings.work_dir.as_ref().map(trimmed),
                bin_dir: settings.bin_dir.as_ref().map(trimmed),
            },
            runner: exec::runner(settings.ssh.as_ref(), COMMAND_TIME_MAX)?,
            accounts: Accounts::in_folder(state_dir),
            config: tokio::sync::OnceCell::new(),
            user: tokio::sync::OnceCell::new(),
            known: Mutex::default(),
            members: Members::default(),
        })
    }

    /// Runs one of Slurm's commands as `run_as`, else as ourselves.
    async fn run(
        &self,
        program: &str,
        args: Vec<String>,
        stdin: String,
        run_as: Option<&str>,
    ) -> Result<Output, AdapterError> {
        let program = match &self.bin_dir {
            Some(folder) => format!("{folder}/{program}"),
            None => program.to_owned(),
        };
        // Times as seconds since the epoch, whatever the zones of server and cluster.
        let mut env = vec![("SLURM_TIME_FORMAT".to_owned(), "%s".to_owned())];
        env.extend(
            self.conf
                .iter()
                .map(|conf| ("SLURM_CONF".to_owned(), conf.clone())),
        );
        let run_as = run_as.map(str::to_owned);
        self.invoke(Invocation {
            program,
            args,
            env,
            stdin,
            run_as,
        })
        .await
    }

    async fn invoke(&self, invocation: Invocation) -> Result<Output, AdapterError> {
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
        let output = self.run(program, args, String::new(), None).await?;
        if output.succeeded() {
            Ok(output.stdout)
        } else {
            Err(AdapterError::Unreachable(output.words()))
        }
    }

    async fn config(&self) -> Result<&Config, AdapterError> {
        let ask = || async {
            let answer = self.ask("scontrol", render::config_args()).await?;
            Ok(parse::config(&answer))
        };
        self.config.get_or_try_init(ask).await
    }

    /// Who we are where the commands run.
    async fn user(&self) -> Result<&String, AdapterError> {
        let ask = || async {
            let invocation = Invocation {
                program: "id".to_owned(),
                args: vec!["-un".to_owned()],
                ..Invocation::default()
            };
            let output = self.invoke(invocation).await?;
            let name = output.stdout.trim();
            crate::require_plain("the user's own name", name)?;
            Ok(name.to_owned())
        };
        self.user.get_or_try_init(ask).await
    }
}

/// Submission.
impl Slurm {
    /// What arrays may be made of `jobs`. Only asked for where there might be one.
    async fn array_rules(&self, jobs: &[PilotJob]) -> Result<bulk::Rules, AdapterError> {
        let index_end = if bulk::may_have_arrays(jobs) {
            self.config().await?.array_size_max
        } else {
            0
        };
        Ok(bulk::Rules {
            index_end,
            contiguous: false,
        })
    }

    /// Submits a batch; the id is the array's if it is one.
    async fn submit_batch(
        &self,
        batch: &Batch<'_>,
        away: &AtomicBool,
    ) -> Result<String, AdapterError> {
        let args = render::submit_args(batch, &self.place)?;
        let script = render::script(batch, &self.place)?;
        let job = batch.first();
        Known::look(&self.known).check(job)?;
        if away.load(Ordering::Relaxed) {
            // Each try would take as long as the first to fail.
            return Err(AdapterError::Unreachable(
                "not tried, because a submission just before found nobody".to_owned(),
            ));
        }
        let run_as = job.run_as.as_deref();
        if let Some(account) = run_as {
            self.accounts.remember(account)?;
        }
        let result = match self.run("sbatch", args, script, run_as).await {
            Ok(output) if output.succeeded() => parse::submitted_id(&output.stdout),
            Ok(output) => Err(parse::failure(&output)),
            Err(error) => Err(error),
        };
        if matches!(result, Err(AdapterError::Unreachable(_))) {
            away.store(true, Ordering::Relaxed);
        }
        result
    }
}

/// Gives each member of the batches its own result, in the order of the call.
fn spread(
    results: Vec<(&Batch<'_>, Result<String, AdapterError>)>,
    count: usize,
) -> Vec<Result<String, AdapterError>> {
    let missing = || Err(AdapterError::Unexpected("it was not submitted".to_owned()));
    let mut spread: Vec<_> = (0..count).map(|_| missing()).collect();
    for (batch, result) in results {
        for member in &batch.members {
            spread[member.place] = match &result {
                Ok(id) if batch.members.len() > 1 => Ok(format!("{id}_{}", member.index)),
                other => other.clone(),
            };
        }
    }
    spread
}

/// What became of jobs.
impl Slurm {
    /// All of our jobs that the controller knows, those under other accounts included.
    async fn queued(&self, name_prefix: &str) -> Result<Vec<BatchJob>, AdapterError> {
        let stdout = self.ask("squeue", render::queue_args(None)).await?;
        let mut jobs = parse::queue(&stdout, name_prefix)?;
        let accounts = self.accounts.names()?;
        if !accounts.is_empty() {
            let users: Vec<String> = accounts.into_iter().collect();
            let args = render::queue_args(Some(&users.join(",")));
            let others = parse::queue(&self.ask("squeue", args).await?, name_prefix)?;
            let seen: HashSet<String> = jobs.iter().map(|job| job.batch_id.clone()).collect();
            jobs.extend(
                others
                    .into_iter()
                    .filter(|job| !seen.contains(&job.batch_id)),
            );
        }
        Ok(jobs)
    }

    /// What the accounting knows of the end of `ids`. `must` tells whether it has to answer.
    async fn ended(
        &self,
        name_prefix: &str,
        ids: &BTreeSet<&str>,
        must: bool,
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let whole = |id: &&'_ str| id.split('_').next().unwrap_or_default().to_owned();
        let asked: BTreeSet<String> = ids.iter().map(whole).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let mut jobs = Vec::new();
        for asked in asked.chunks(IDS_PER_COMMAND) {
            let args = render::accounting_args(asked);
            match self.run("sacct", args, String::new(), None).await {
                Ok(output) if output.succeeded() => {
                    jobs.extend(parse::accounting(&output.stdout, name_prefix)?);
                }
                Ok(output) if parse::is_accounting_off(&output) => break,
                Ok(output) if must => return Err(AdapterError::Unreachable(output.words())),
                Err(error) if must => return Err(error),
                Ok(_) | Err(_) => break,
            }
        }
        jobs.retain(|job| ids.contains(job.batch_id.as_str()));
        Ok(jobs)
    }

    /// Cancels jobs of one user, ourselves if `owner` is not set.
    async fn cancel_as(&self, owner: Option<&str>, ids: &[&str]) -> Result<(), AdapterError> {
        let words = render::cancel_words(ids.iter().copied());
        for words in words.chunks(IDS_PER_COMMAND) {
            // Jobs that are over or unknown are no failure for scancel either.
            let output = self
                .run("scancel", words.to_vec(), String::new(), owner)
                .await?;
            if !output.succeeded() {
                return Err(parse::failure(&output));
            }
        }
        self.members.note_cancelled(ids);
        Ok(())
    }
}

/// What is published.
impl Slurm {
    /// What the accounting says of us, from time to time. It is of no importance if it does not
    /// answer: then Slurm says itself what it does not take.
    async fn accounting(&self) -> Option<Accounting> {
        if let Some(accounting) = Known::look(&self.known).fresh_accounting() {
            return accounting;
        }
        let accounting = match self.ask_accounting().await {
            Ok(accounting) => accounting,
            Err(error) => {
                warn!(site = %self.site, %error, "the limits of the accounting are not known");
                None
            }
        };
        Known::look(&self.known).accounting = Some((Instant::now(), accounting.clone()));
        accounting
    }

    async fn ask_accounting(&self) -> Result<Option<Accounting>, AdapterError> {
        let config = self.config().await?;
        if !config.limits_hold {
            return Ok(None);
        }
        let user = self.user().await?;
        let (associations, qualities) = tokio::try_join!(
            self.ask("sacctmgr", render::association_args(user)),
            self.ask("sacctmgr", render::qos_args()),
        )?;
        let (default_account, associations) = parse::associations(&associations, &config.cluster)?;
        // Who has no association may be let in nevertheless, and nothing limits him.
        Ok((!associations.is_empty()).then_some(Accounting {
            default_account,
            associations,
            qos: parse::qualities(&qualities)?,
        }))
    }
}

#[async_trait]
impl BatchSystem for Slurm {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let away = AtomicBool::new(false);
        let rules = match self.array_rules(jobs).await {
            Ok(rules) => rules,
            Err(error) => return jobs.iter().map(|_| Err(error.clone())).collect(),
        };
        let jobs = Known::look(&self.known).without_strangers(jobs);
        let batches = bulk::batches(&jobs, rules);
        let submissions: Vec<_> = batches
            .iter()
            .map(|batch| {
                let away = &away;
                async move { (batch, self.submit_batch(batch, away).await) }
            })
            .collect();
        let results = futures::stream::iter(submissions)
            .buffered(SUBMISSIONS_AT_ONCE)
            .collect()
            .await;
        spread(results, jobs.len())
    }

    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let mut jobs = self.queued(name_prefix).await?;
        let places: HashMap<String, usize> = jobs
            .iter()
            .enumerate()
            .map(|(place, job)| (job.batch_id.clone(), place))
            .collect();

        let is_over = |place: &usize| matches!(jobs[*place].state, BatchState::Ended { .. });
        let (over, missing): (BTreeSet<&str>, BTreeSet<&str>) = known
            .iter()
            .map(String::as_str)
            .filter(|id| parse::is_id(id))
            .filter(|id| places.get(*id).is_none_or(is_over))
            .partition(|id| places.contains_key(*id));

        // The queue tells that a job is over, the accounting how; of those that are gone from
        // the queue only the accounting knows, and without its answer they would look lost.
        let mut ended = self.ended(name_prefix, &missing, true).await?;
        ended.extend(self.ended(name_prefix, &over, false).await?);
        ended.extend(self.members.gone(&missing, &ended));
        for job in ended {
            match places.get(&job.batch_id) {
                Some(&place) => jobs[place] = job,
                None => jobs.push(job),
            }
        }
        self.members.note(&jobs, known);
        Ok(jobs)
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let ids: Vec<&str> = batch_ids
            .iter()
            .map(String::as_str)
            .filter(|id| parse::is_id(id))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let accounts = self.accounts.names()?;
        let owners = if accounts.is_empty() {
            BTreeMap::new()
        } else {
            let users: Vec<String> = accounts.into_iter().collect();
            let args = render::owner_args(&users.join(","));
            parse::owners(&self.ask("squeue", args).await?)
        };
        let mut of_owner: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
        for id in ids {
            let owner = owners.get(id).map(String::as_str);
            of_owner.entry(owner).or_default().push(id);
        }
        for (owner, ids) in of_owner {
            self.cancel_as(owner, &ids).await?;
        }
        Ok(())
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        let (version, partitions, rules, load, nodes) = tokio::try_join!(
            self.ask("sinfo", vec!["--version".to_owned()]),
            self.ask("sinfo", render::partition_args()),
            self.ask("scontrol", render::rule_args()),
            self.ask("squeue", render::load_args()),
            self.ask("scontrol", render::node_args()),
        )?;
        let mut partitions = parse::partitions(&partitions)?;
        parse::rules(&rules, &mut partitions);
        parse::count_jobs(&load, &mut partitions);
        let nodes = parse::describe_nodes(&nodes, &mut partitions);
        let accounting = self.accounting().await;
        let version = parse::version(&version);
        let publish_one = |ce: &Ce| {
            publish_one(
                &self.site,
                ce,
                &version,
                &partitions,
                accounting.as_ref(),
                now,
            )
        };
        let states = ces.iter().map(publish_one).collect();
        let mut known = Known::look(&self.known);
        known.partitions = Some((Instant::now(), partitions));
        known.nodes = nodes.into_iter().collect();
        Ok(states)
    }
}

fn publish_one(
    site: &SiteName,
    ce: &Ce,
    version: &str,
    partitions: &Partitions,
    accounting: Option<&Accounting>,
    now: Timestamp,
) -> CeState {
    let id = CeId {
        site: site.clone(),
        ce: ce.name.clone(),
    };
    let mut state = CeState::unreachable(id, "slurm", now, String::new());
    version.clone_into(&mut state.lrms.1);
    match partitions.get(ce.queue()) {
        Some(partition) => limits::publish(ce, partition, accounting, &mut state),
        None => partition::publish_absence(ce, &mut state),
    }
    state
}

#[cfg(test)]
mod tests;
