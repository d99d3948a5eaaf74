//! OAR 2.5 through its command line (`oarsub`, `oarstat`, `oardel`, `oarnodes`) or its REST API.
//!
//! **How the document reaches the job.** OAR takes a command line and nothing else: it reads no
//! standard input, copies no script, and shows everybody the command of everybody's jobs. So the
//! script of a pilot, which holds the secret, is a file of mode 700 in the work folder, that the
//! machine which jobs are submitted from and the nodes share; the job's command is its path. The
//! file is written through the standard input of a shell, and with the REST API in three requests:
//! made empty, closed to others, filled. (The API's own `script` makes a file that everybody can
//! read.) It removes itself as soon as it is started; of jobs that end without having started, or
//! are refused, it is removed by the adapter. What stays, in the worst case, is the file of a
//! submission that gave no answer and never happened; a second try writes over it.
//!
//! **How it is asked.** All states are one query by name and id, with SQL of our own making: the
//! commands' option `--sql`, the API's `select_all`. Both transports so get the same rows, and
//! differ in nothing but how they get them. How a job ended takes a second query, for those of the
//! known jobs that are over.
//!
//! - Pilots that ask for the same and are numbered one after the other are submitted as an array,
//!   in one call: the second to the hundredth cost next to nothing.
//! - OAR gives no warning before it kills a job. A job that is to be cancelled is sent SIGTERM
//!   first and has [`GRACE`] to end; before its walltime it is sent SIGTERM by `--checkpoint`,
//!   again and again, until it ends.
//! - Without its database `oarsub` hangs, cannot be killed by who started it, and submits when
//!   the database is back. So the database is asked something before anything is submitted. If it
//!   hangs all the same it is abandoned: the submission is then looked up by its name.
//! - Without its server (Almighty) but with its database OAR shows jobs as they last were. Only a
//!   submission or a deletion finds out.
//! - Jobs of other accounts (`run_as`) are deleted as those: the name of the script says whose.

mod cli;
mod launch;
mod parse;
mod publish;
mod render;
mod rest;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use fairway_model::{Ce, CeId, CeState, OarSettings, SiteName, Timestamp};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};

use crate::{AdapterError, BatchJob, BatchSystem, PilotJob};
use parse::Job;
use publish::Queue;
use render::{Levels, OarOption, Submission};

/// Calls at a time: `oarsub` and the rest are Perl, and each takes a core for a fifth of a second.
const AT_ONCE: usize = 4;
/// Pilots in one array: their scripts are written in one go.
const ARRAY_MAX: usize = 200;
/// Time for a job to end after SIGTERM, before it is deleted.
const GRACE: Duration = Duration::from_secs(10);
/// Time between two looks at jobs that are to end.
const LOOK: Duration = Duration::from_millis(500);
/// Jobs are told of by their name for so long after they were submitted, also if they are over: a
/// submission whose answer was lost is looked for within it.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The adapter of a site. Nothing is asked yet.
pub(crate) fn open(
    site: SiteName,
    settings: &OarSettings,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    let work_dir = work_dir(&site, settings)?;
    let front: Box<dyn Front> = match &settings.rest {
        Some(rest) => Box::new(rest::Rest::new(rest, work_dir.clone())?),
        None => Box::new(cli::CommandLine::new(settings, work_dir.clone())?),
    };
    Ok(Arc::new(Oar::new(site, settings, work_dir, front)?))
}

/// The work folder, which has to be harmless in command lines, and in OAR's own file names.
fn work_dir(site: &SiteName, settings: &OarSettings) -> Result<String, AdapterError> {
    let harmless = |path: &&String| {
        path.starts_with('/')
            && path.len() > 1
            && path
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
    };
    match settings.work_dir.as_ref().filter(harmless) {
        Some(path) => Ok(path.trim_end_matches('/').to_owned()),
        None => Err(AdapterError::Refused(format!(
            "work_dir of site {site} must be set, to an absolute path of letters, digits and / . _ - \
             that the worker nodes share, not {:?}",
            settings.work_dir.as_deref().unwrap_or_default()
        ))),
    }
}

/// How OAR is talked to.
#[async_trait]
trait Front: Send + Sync {
    /// Whether there is anybody to submit to.
    async fn check(&self) -> Result<(), AdapterError>;
    /// Writes scripts into the work folder, for `account` alone to read.
    async fn place(
        &self,
        account: Option<&str>,
        scripts: &[(String, String)],
    ) -> Result<(), AdapterError>;
    /// Removes files from the work folder; those that are gone are no error.
    async fn remove(&self, account: Option<&str>, files: &[String]) -> Result<(), AdapterError>;
    /// Submits `count` jobs in one call, and tells their ids in order.
    async fn submit(
        &self,
        account: Option<&str>,
        options: &[OarOption],
        command: &str,
        count: usize,
    ) -> Result<Vec<String>, AdapterError>;
    /// The jobs that meet any of the conditions. `some`: there must be jobs in the database, so
    /// that no job at all is no answer.
    async fn jobs(&self, conditions: &[String], some: bool) -> Result<Vec<Job>, AdapterError>;
    /// The same, with their exit codes and all that happened to them.
    async fn ends(&self, conditions: &[String]) -> Result<Vec<Job>, AdapterError>;
    /// Everybody's jobs that are not over, with the resources that they have.
    async fn load(&self) -> Result<Vec<Job>, AdapterError>;
    /// Sends SIGTERM to running jobs; others are no error.
    async fn terminate(&self, account: Option<&str>, ids: &[u32]) -> Result<(), AdapterError>;
    /// Deletes jobs; those that are over or unknown are no error.
    async fn delete(&self, account: Option<&str>, ids: &[u32]) -> Result<(), AdapterError>;
    /// The resources that meet a condition.
    async fn resources(&self, condition: &str) -> Result<Vec<Map<String, Value>>, AdapterError>;
    /// OAR's version.
    async fn version(&self) -> Result<String, AdapterError>;
    /// A time, in seconds since the epoch, as `YYYY-MM-DD HH:MM:SS` where the server is.
    async fn local_time(&self, at: i64) -> Result<String, AdapterError>;
    /// Longest condition for one question, in characters.
    fn condition_chars_max(&self) -> usize;
}

/// One cluster.
struct Oar {
    site: SiteName,
    levels: Levels,
    work_dir: String,
    front: Box<dyn Front>,
    /// Jobs whose scripts were removed already.
    tidied: Mutex<BTreeSet<i64>>,
}

/// One call to make, and for which of the pilots.
struct Batch {
    submission: Submission,
    places: Vec<usize>,
    scripts: Vec<(String, String)>,
}

impl Oar {
    fn new(
        site: SiteName,
        settings: &OarSettings,
        work_dir: String,
        front: Box<dyn Front>,
    ) -> Result<Self, AdapterError> {
        let level = |set: &Option<String>, usual: &str| set.as_deref().unwrap_or(usual).to_owned();
        let levels = Levels {
            node: level(&settings.node_level, "host"),
            core: level(&settings.core_level, "core"),
        };
        levels.check()?;
        Ok(Self {
            site,
            levels,
            work_dir,
            front,
            tidied: Mutex::default(),
        })
    }

    /// What can be submitted, in as few calls as possible, and what cannot.
    fn batches(
        &self,
        jobs: &[PilotJob],
        results: &mut [Option<Result<String, AdapterError>>],
    ) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        for (place, job) in jobs.iter().enumerate() {
            let prepared = render::submission(job, &self.levels, &self.work_dir)
                .and_then(|submission| Ok((submission, launch::script(job)?)));
            let (submission, script) = match prepared {
                Ok(prepared) => prepared,
                Err(refusal) => {
                    results[place] = Some(Err(refusal));
                    continue;
                }
            };
            if let Some(batch) = batches.last_mut()
                && batch.submission.take(&submission, ARRAY_MAX)
            {
                let file = batch.submission.file(batch.submission.count);
                batch.places.push(place);
                batch.scripts.push((file, script));
            } else {
                batches.push(Batch {
                    places: vec![place],
                    scripts: vec![(submission.file(1), script)],
                    submission,
                });
            }
        }
        batches
    }

    async fn submit_batch(
        &self,
        batch: &Batch,
        away: &AtomicBool,
    ) -> Result<Vec<String>, AdapterError> {
        if away.load(Ordering::Relaxed) {
            // Each try would take as long as the first to fail.
            return Err(AdapterError::Unreachable(
                "not tried, because a submission just before found nobody".to_owned(),
            ));
        }
        let Batch {
            submission,
            scripts,
            ..
        } = batch;
        let account = submission.account.as_deref();
        let result = self.submit_placed(submission, account, scripts).await;
        match &result {
            Err(AdapterError::Unreachable(_)) => away.store(true, Ordering::Relaxed),
            Err(AdapterError::Refused(_)) => {
                let files: Vec<String> = scripts.iter().map(|(file, _)| file.clone()).collect();
                self.remove(account, &files).await;
            }
            Ok(_) | Err(AdapterError::Unexpected(_)) => {}
        }
        result
    }

    async fn submit_placed(
        &self,
        submission: &Submission,
        account: Option<&str>,
        scripts: &[(String, String)],
    ) -> Result<Vec<String>, AdapterError> {
        let mut options = submission.own_options(&self.work_dir);
        options.extend(submission.options.iter().cloned());
        if let Some(at) = submission.reserve_at {
            options.push(("reservation".to_owned(), self.front.local_time(at).await?));
        }
        self.front.place(account, scripts).await?;
        let command = submission.command(&self.work_dir);
        self.front
            .submit(account, &options, &command, submission.count)
            .await
    }

    /// Removes scripts that nobody will start. It is tried again when the jobs are told of.
    async fn remove(&self, account: Option<&str>, files: &[String]) -> bool {
        let result = self.front.remove(account, files).await;
        if let Err(error) = &result {
            tracing::warn!(site = %self.site, %error, "scripts of pilots were not removed");
        }
        result.is_ok()
    }

    /// Removes the scripts of `jobs`, grouped by whose they are.
    async fn remove_scripts(&self, jobs: &[&Job]) {
        let mut files: BTreeMap<Option<String>, Vec<(i64, String)>> = BTreeMap::new();
        {
            let tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
            for job in jobs.iter().filter(|job| !tidied.contains(&job.job_id)) {
                if let Some((account, file)) = job.script(&self.work_dir) {
                    files.entry(account).or_default().push((job.job_id, file));
                }
            }
        }
        for (account, files) in files {
            let (ids, files): (Vec<i64>, Vec<String>) = files.into_iter().unzip();
            if self.remove(account.as_deref(), &files).await {
                let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
                tidied.extend(ids);
            }
        }
    }

    /// The jobs `ids` that OAR knows.
    async fn look(&self, ids: &[u32]) -> Result<Vec<Job>, AdapterError> {
        let wanted: HashSet<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let conditions = render::with_ids(ids, self.front.condition_chars_max());
        let mut jobs = self.front.jobs(&conditions, true).await?;
        jobs.retain(|job| wanted.contains(&job.job_id));
        Ok(jobs)
    }

    /// Sends SIGTERM to those of `jobs` that run, and waits until they are over or [`GRACE`] is.
    async fn warn(&self, jobs: &[Job]) -> Result<(), AdapterError> {
        let started: Vec<&Job> = jobs.iter().filter(|job| job.has_started()).collect();
        for (account, ids) in self.by_account(&started) {
            self.front.terminate(account.as_deref(), &ids).await?;
        }
        let mut ids: Vec<u32> = started.iter().filter_map(|job| id_of(job)).collect();
        let deadline = tokio::time::Instant::now() + GRACE;
        while !ids.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            let jobs = self.look(&ids).await?;
            ids = jobs
                .iter()
                .filter(|job| job.has_started())
                .filter_map(id_of)
                .collect();
        }
        Ok(())
    }

    /// The ids of jobs by the account that may delete them.
    fn by_account(&self, jobs: &[&Job]) -> BTreeMap<Option<String>, Vec<u32>> {
        let mut groups: BTreeMap<Option<String>, Vec<u32>> = BTreeMap::new();
        for job in jobs {
            let account = job.script(&self.work_dir).and_then(|(account, _)| account);
            groups.entry(account).or_default().extend(id_of(job));
        }
        groups
    }

    async fn queue(&self, name: &str) -> Result<Queue, AdapterError> {
        // A name that no queue can have would be more than a name in SQL.
        if crate::require_plain("queue", name).is_err() {
            return Ok(Queue::Absent);
        }
        for (active, queue) in [(true, Queue::Active), (false, Queue::Inactive)] {
            let condition = render::queue_is_there(name, active);
            if !self.front.resources(&condition).await?.is_empty() {
                return Ok(queue);
            }
        }
        Ok(Queue::Absent)
    }
}

fn id_of(job: &Job) -> Option<u32> {
    u32::try_from(job.job_id).ok()
}

#[async_trait]
impl BatchSystem for Oar {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let mut results: Vec<Option<Result<String, AdapterError>>> = vec![None; jobs.len()];
        let batches = self.batches(jobs, &mut results);
        let checked = match batches.is_empty() {
            true => Ok(()),
            false => self.front.check().await,
        };
        let away = AtomicBool::new(false);
        let calls: Vec<_> = batches
            .iter()
            .map(|batch| async {
                checked.clone()?;
                self.submit_batch(batch, &away).await
            })
            .collect();
        let answers: Vec<_> = futures::stream::iter(calls)
            .buffered(AT_ONCE)
            .collect()
            .await;
        for (batch, answer) in batches.iter().zip(answers) {
            for (index, &place) in batch.places.iter().enumerate() {
                results[place] = Some(match &answer {
                    Ok(ids) => ids.get(index).cloned().ok_or_else(|| {
                        AdapterError::Unexpected("oarsub told too few ids".to_owned())
                    }),
                    Err(error) => Err(error.clone()),
                });
            }
        }
        let missing = || AdapterError::Unexpected("the submission was not tried".to_owned());
        let found = results.into_iter();
        found
            .map(|result| result.unwrap_or_else(|| Err(missing())))
            .collect()
    }

    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let known: BTreeSet<u32> = known.iter().filter_map(|id| render::parse_id(id)).collect();
        let known: Vec<u32> = known.into_iter().collect();
        let chars_max = self.front.condition_chars_max();
        let mut conditions = vec![render::named(name_prefix, remembered_since())?];
        conditions.extend(render::with_ids(&known, chars_max));
        let is_known = |job: &Job| id_of(job).is_some_and(|id| known.binary_search(&id).is_ok());

        let found = self.front.jobs(&conditions, !known.is_empty()).await?;
        let mut jobs: BTreeMap<i64, Job> = found
            .into_iter()
            .filter(|job| job.job_id > 0)
            .filter(|job| is_known(job) || job.name().starts_with(name_prefix))
            .map(|job| (job.job_id, job))
            .collect();

        let over = jobs.values().filter(|job| job.is_over());
        let over: Vec<u32> = over.filter(|job| is_known(job)).filter_map(id_of).collect();
        if !over.is_empty() {
            let conditions = render::with_ids(&over, chars_max);
            for job in self.front.ends(&conditions).await? {
                if let Some(place) = jobs.get_mut(&job.job_id) {
                    *place = job;
                }
            }
        }
        let left: Vec<&Job> = jobs
            .values()
            .filter(|job| job.may_leave_its_script())
            .collect();
        self.remove_scripts(&left).await;
        // Of jobs that nobody asks for any more nothing needs to be known.
        self.tidied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|id| jobs.contains_key(id));
        Ok(jobs.values().map(Job::batch_job).collect())
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let ids: BTreeSet<u32> = batch_ids
            .iter()
            .filter_map(|id| render::parse_id(id))
            .collect();
        let ids: Vec<u32> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut jobs = self.look(&ids).await?;
        jobs.retain(|job| !job.is_over());
        self.warn(&jobs).await?;
        let alive: Vec<&Job> = jobs.iter().collect();
        for (account, ids) in self.by_account(&alive) {
            self.front.delete(account.as_deref(), &ids).await?;
        }
        let waiting: Vec<&Job> = jobs.iter().filter(|job| !job.is_placed()).collect();
        self.remove_scripts(&waiting).await;
        Ok(())
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        if ces.is_empty() {
            return Ok(Vec::new());
        }
        let (version, jobs) = tokio::try_join!(self.front.version(), self.front.load())?;
        // Each queue and each condition is asked for once.
        let queues: BTreeSet<&str> = ces.iter().map(Ce::queue).collect();
        let queues: Vec<_> = queues
            .into_iter()
            .map(|name| async move { Ok::<_, AdapterError>((name, self.queue(name).await?)) })
            .collect();
        let queues: BTreeMap<&str, Queue> = futures::stream::iter(queues)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let conditions: Result<BTreeSet<String>, AdapterError> =
            ces.iter().map(render::resources_of).collect();
        let resources: Vec<_> = conditions?
            .into_iter()
            .map(|condition| async move {
                let resources = self.front.resources(&condition).await?;
                Ok::<_, AdapterError>((condition, resources))
            })
            .collect();
        let resources: BTreeMap<String, Vec<Map<String, Value>>> = futures::stream::iter(resources)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut states = Vec::with_capacity(ces.len());
        for ce in ces {
            let id = CeId {
                site: self.site.clone(),
                ce: ce.name.clone(),
            };
            let mut state = CeState::unreachable(id, "oar", now, String::new());
            state.lrms.1.clone_from(&version);
            let queue = queues.get(ce.queue()).copied().unwrap_or(Queue::Absent);
            let found = resources.get(&render::resources_of(ce)?);
            let found = found.map(Vec::as_slice).unwrap_or_default();
            publish::publish(&mut state, ce, &self.levels.core, queue, found, &jobs);
            states.push(state);
        }
        Ok(states)
    }
}

/// Since when jobs are told of by name, in seconds since the epoch.
fn remembered_since() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = now.unwrap_or_default().saturating_sub(REMEMBERED);
    i64::try_from(since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
