//! Slurm through `slurmrestd`: for servers that are on no node of the cluster and have no account
//! to log in with, but a token (JWT).
//!
//! - Which version of the API is spoken is found out from its own description, once.
//! - It tells of all jobs of the cluster at once, whatever is asked for: on a large cluster the
//!   commands cost a hundredth.
//! - The token is read where it is kept for each call, so that one that was renewed is used.
//! - It says 500 for a token that has expired, for a controller that is away, and for a refusal;
//!   only the words tell them apart.

mod cluster;
mod http;
mod parse;
mod render;
mod shapes;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use fairway_model::{Ce, CeState, RestSettings, SiteName, SlurmSettings, Timestamp};
use futures::{StreamExt, TryStreamExt};
use tracing::{debug, warn};

use super::bulk::{self, Batch};
use super::limits::Accounting;
use super::members::Members;
use super::render::Place;
use super::{Known, SUBMISSIONS_AT_ONCE};
use crate::{AdapterError, BatchJob, BatchSystem, PilotJob};
use http::{Answer, Call, Http, Method, Transport};

/// Slurm's default for `MaxArraySize`; slurmrestd does not tell it.
const ARRAY_SIZE_MAX: u64 = 1001;
/// What Slurm says to arrays that are longer than the site lets them be.
const ARRAY_REFUSED: &str = "Invalid job array specification";

/// Which API is spoken: v0.0.N, and whether the accounting is behind it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    number: u32,
    has_accounting: bool,
}

impl Version {
    /// Of Slurm 22.05.
    const OLDEST: u32 = 38;
    /// Of Slurm 26.05.
    const NEWEST: u32 = 45;

    /// From Slurm 23.02 on one parser serves commands and API, with other names and shapes.
    const fn is_parsed(self) -> bool {
        self.number >= 39
    }

    const fn has_script_in_job(self) -> bool {
        self.number >= 40
    }

    fn path(self, rest: &str) -> String {
        format!("/slurm/v0.0.{}/{rest}", self.number)
    }

    fn accounting_path(self, rest: &str) -> String {
        format!("/slurmdb/v0.0.{}/{rest}", self.number)
    }
}

/// One cluster.
pub(super) struct Rest {
    site: SiteName,
    user: String,
    place: Place,
    transport: Box<dyn Transport>,
    version: Mutex<Option<Version>>,
    known: Mutex<Known>,
    members: Members,
}

impl Rest {
    /// The cluster behind `rest`. Nobody is called yet.
    ///
    /// # Errors
    /// `Refused` if the settings cannot be used.
    pub(super) fn new(
        site: SiteName,
        settings: &SlurmSettings,
        rest: &RestSettings,
    ) -> Result<Self, AdapterError> {
        if settings.ssh.is_some() {
            return Err(AdapterError::Refused(format!(
                "site {site} has both ssh and rest: choose one"
            )));
        }
        let user = rest.user.clone().ok_or_else(|| {
            AdapterError::Refused(format!("rest of site {site} needs a user, the token's"))
        })?;
        crate::require_plain("rest.user", &user)?;
        let transport = Box::new(Http::new(&site, rest, &user)?);
        Ok(Self {
            place: Place::new(settings),
            site,
            user,
            transport,
            version: Mutex::default(),
            known: Mutex::default(),
            members: Members::default(),
        })
    }

    async fn call(&self, call: Call) -> Result<Answer, AdapterError> {
        let result = self.transport.call(&call).await;
        debug!(site = %self.site, ?call, status = ?result.as_ref().ok().map(|it| it.status));
        let answer = result?;
        match answer.status {
            401 | 403 => Err(AdapterError::Unreachable(
                "slurmrestd does not accept the token".to_owned(),
            )),
            // Not even a job that does not exist is a 404: the version is not spoken any more.
            404 => {
                *self.remembered_version() = None;
                Err(AdapterError::Unreachable(format!(
                    "slurmrestd does not know {}",
                    call.path
                )))
            }
            _ => Ok(answer),
        }
    }

    async fn get(&self, path: String) -> Result<Answer, AdapterError> {
        self.call(Call::get(path)).await
    }

    fn remembered_version(&self) -> std::sync::MutexGuard<'_, Option<Version>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn version(&self) -> Result<Version, AdapterError> {
        let remembered = *self.remembered_version();
        if let Some(version) = remembered {
            return Ok(version);
        }
        let description = self.get("/openapi/v3".to_owned()).await?;
        let version = parse::version(&description)?;
        *self.remembered_version() = Some(version);
        Ok(version)
    }

    async fn jobs(&self, version: Version) -> Result<(Answer, parse::Jobs), AdapterError> {
        let answer = self.get(version.path("jobs")).await?;
        let jobs = parse::answer(&answer)?;
        Ok((answer, jobs))
    }

    /// Submits a batch; one result for each of its members.
    async fn submit_batch(
        &self,
        batch: &Batch<'_>,
        version: Version,
        away: &AtomicBool,
    ) -> Vec<Result<String, AdapterError>> {
        let result = self.submit_whole(batch, version, away).await;
        let is_array = batch.members.len() > 1;
        match &result {
            Err(AdapterError::Refused(words)) if is_array && words.contains(ARRAY_REFUSED) => {
                let mut results = Vec::new();
                for alone in batch.each_alone() {
                    results.push(self.submit_whole(&alone, version, away).await);
                }
                results
            }
            _ => batch.results(&result),
        }
    }

    async fn submit_whole(
        &self,
        batch: &Batch<'_>,
        version: Version,
        away: &AtomicBool,
    ) -> Result<String, AdapterError> {
        let job = batch.first();
        if job.run_as.as_deref().is_some_and(|it| it != self.user) {
            return Err(AdapterError::Refused(
                "through slurmrestd pilots run as the token's user only".to_owned(),
            ));
        }
        let body = render::submission(batch, &self.place, version)?;
        Known::look(&self.known).check(job)?;
        if away.load(Ordering::Relaxed) {
            // Each try would take as long as the first to fail.
            return Err(AdapterError::Unreachable(
                "not tried, because a submission just before found nobody".to_owned(),
            ));
        }
        let call = Call {
            method: Method::Post,
            path: version.path("job/submit"),
            body: Some(body),
        };
        let result = match self.call(call).await {
            Ok(answer) => parse::submitted(&answer),
            Err(error) => Err(error),
        };
        if matches!(result, Err(AdapterError::Unreachable(_))) {
            away.store(true, Ordering::Relaxed);
        }
        result
    }

    /// What the accounting knows of the end of `ids`, one call for each job or array.
    async fn ended(
        &self,
        version: Version,
        name_prefix: &str,
        ids: &BTreeSet<&str>,
    ) -> Result<Vec<BatchJob>, AdapterError> {
        if !version.has_accounting {
            return Ok(Vec::new());
        }
        let whole: BTreeSet<&str> = ids.iter().filter_map(|id| id.split('_').next()).collect();
        let mut calls = Vec::new();
        for id in whole {
            calls.push(self.ended_one(version, name_prefix, id));
        }
        let told: Vec<Vec<BatchJob>> = futures::stream::iter(calls)
            .buffered(SUBMISSIONS_AT_ONCE)
            .try_collect()
            .await?;
        let mut jobs: Vec<BatchJob> = told.into_iter().flatten().collect();
        jobs.retain(|job| ids.contains(job.batch_id.as_str()));
        Ok(jobs)
    }

    async fn ended_one(
        &self,
        version: Version,
        name_prefix: &str,
        id: &str,
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let path = version.accounting_path(&format!("job/{id}"));
        parse::accounting(&self.get(path).await?, name_prefix)
    }

    async fn cancel_one(&self, version: Version, id: &str) -> Result<(), AdapterError> {
        let call = Call {
            method: Method::Delete,
            path: version.path(&format!("job/{id}")),
            body: None,
        };
        parse::cancelled(&self.call(call).await?)?;
        self.members.note_cancelled(&[id]);
        Ok(())
    }

    /// What the accounting says of us, from time to time. It is of no importance if it does not
    /// answer: then Slurm says itself what it does not take.
    async fn accounting(&self, version: Version) -> Option<Accounting> {
        if let Some(accounting) = Known::look(&self.known).fresh_accounting() {
            return accounting;
        }
        let ask = async {
            if !version.has_accounting {
                return Ok(None);
            }
            let (associations, qualities) = tokio::try_join!(
                self.get(version.accounting_path("associations")),
                self.get(version.accounting_path("qos")),
            )?;
            cluster::limits(&associations, &qualities, &self.user)
        };
        let accounting = match ask.await {
            Ok(accounting) => accounting,
            Err(error) => {
                warn!(site = %self.site, %error, "the limits of the accounting are not known");
                None
            }
        };
        Known::look(&self.known).accounting = Some((Instant::now(), accounting.clone()));
        accounting
    }
}

#[async_trait]
impl BatchSystem for Rest {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let version = match self.version().await {
            Ok(version) => version,
            Err(error) => return jobs.iter().map(|_| Err(error.clone())).collect(),
        };
        let away = AtomicBool::new(false);
        let jobs = Known::look(&self.known).without_strangers(jobs);
        let rules = bulk::Rules {
            index_end: ARRAY_SIZE_MAX,
            // What waits of an array is told in a text that is cut when it has many gaps.
            contiguous: true,
        };
        let batches = bulk::batches(&jobs, rules);
        let submissions: Vec<_> = batches
            .iter()
            .map(|batch| {
                let away = &away;
                async move { (batch, self.submit_batch(batch, version, away).await) }
            })
            .collect();
        let results: Vec<_> = futures::stream::iter(submissions)
            .buffered(SUBMISSIONS_AT_ONCE)
            .collect()
            .await;
        bulk::spread(results, jobs.len())
    }

    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let version = self.version().await?;
        let (_, all) = self.jobs(version).await?;
        let mut jobs = all.ours(&self.user, name_prefix, known);
        drop(all);
        let missing: BTreeSet<&str> = {
            let listed: HashSet<&str> = jobs.iter().map(|job| job.batch_id.as_str()).collect();
            let known = known.iter().map(String::as_str);
            known
                .filter(|id| super::parse::is_id(id) && !listed.contains(id))
                .collect()
        };
        let mut ended = self.ended(version, name_prefix, &missing).await?;
        ended.extend(self.members.gone(&missing, &ended));
        jobs.extend(ended);
        self.members.note(&jobs);
        Ok(jobs)
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let ids: Vec<&str> = batch_ids
            .iter()
            .map(String::as_str)
            .filter(|id| super::parse::is_id(id))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let version = self.version().await?;
        let mut calls = Vec::new();
        for id in ids {
            calls.push(self.cancel_one(version, id));
        }
        futures::stream::iter(calls)
            .buffered(SUBMISSIONS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        let version = self.version().await?;
        let (partitions, nodes, jobs) = tokio::try_join!(
            self.get(version.path("partitions")),
            self.get(version.path("nodes")),
            self.jobs(version),
        )?;
        let release = cluster::release(&partitions);
        let mut partitions = cluster::partitions(&partitions)?;
        let nodes = cluster::nodes(&nodes, &mut partitions)?;
        jobs.1.count(&mut partitions);
        let accounting = self.accounting(version).await;
        let publish_one = |ce: &Ce| {
            let accounting = accounting.as_ref();
            super::publish_one(&self.site, ce, &release, &partitions, accounting, now)
        };
        let states = ces.iter().map(publish_one).collect();
        Known::look(&self.known).note(partitions, nodes);
        Ok(states)
    }
}

#[cfg(test)]
mod tests;
