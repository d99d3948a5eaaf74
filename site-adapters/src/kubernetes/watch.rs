//! Two watches, of Jobs and of pods, that keep the memory up to date, so that a poll of thousands
//! of pilots costs the cluster next to nothing.
//!
//! Each begins with a list and goes on from its version. The server ends a watch every few minutes:
//! then it is resumed from the last version seen. If that version is too old (410), or the
//! connection broke, it begins with a list again.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Resource;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::client::{Access, Failure};
use super::memory::Memory;
use super::{parse, render};

/// Objects in one answer of a list.
const PAGE: u32 = 500;
/// The server ends a watch after so many seconds.
const WATCH_S: u32 = 240;
/// The server sends a sign of life about once a minute; a watch that has been silent for longer
/// than this is not trusted: its connection may be dead without anybody having noticed.
const SILENCE_MAX: Duration = Duration::from_secs(150);
/// Pauses between attempts to begin again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What the watches and the adapter share.
#[derive(Default)]
pub(super) struct Shared {
    memory: Mutex<Memory>,
    jobs: Mutex<Pulse>,
    pods: Mutex<Pulse>,
}

/// When a watch was last heard of, as long as it is connected.
#[derive(Default)]
pub(super) struct Pulse(Option<Instant>);

impl Shared {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether both watches are connected and have been heard of lately.
    pub(super) fn is_live(&self) -> bool {
        [&self.jobs, &self.pods].into_iter().all(|pulse| {
            let pulse = pulse.lock().unwrap_or_else(PoisonError::into_inner);
            pulse.0.is_some_and(|at| at.elapsed() < SILENCE_MAX)
        })
    }
}

/// What is watched.
pub(super) trait Watched:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + 'static
{
    /// It was made or has changed.
    fn seen(&self, memory: &mut Memory);
    /// It is gone.
    fn deleted(&self, memory: &mut Memory);
    /// These are all that there are, as of `version`.
    fn all(items: &[Self], version: u64, memory: &mut Memory);
    /// The pulse of its watch.
    fn pulse(shared: &Shared) -> &Mutex<Pulse>;
}

impl Watched for Job {
    fn seen(&self, memory: &mut Memory) {
        if let Some(facts) = parse::job(self) {
            memory.job_seen(facts);
        }
    }

    fn deleted(&self, memory: &mut Memory) {
        if let Some(facts) = parse::job(self) {
            memory.job_deleted(facts);
        }
    }

    fn all(items: &[Self], version: u64, memory: &mut Memory) {
        memory.all_jobs(items.iter().filter_map(parse::job).collect(), version);
    }

    fn pulse(shared: &Shared) -> &Mutex<Pulse> {
        &shared.jobs
    }
}

impl Watched for Pod {
    fn seen(&self, memory: &mut Memory) {
        if let Some(facts) = parse::pod(self) {
            memory.pod_seen(facts);
        }
    }

    fn deleted(&self, memory: &mut Memory) {
        if let Some(facts) = parse::pod(self) {
            memory.pod_deleted(facts);
        }
    }

    fn all(items: &[Self], version: u64, memory: &mut Memory) {
        memory.all_pods(items.iter().filter_map(parse::pod).collect(), version);
    }

    fn pulse(shared: &Shared) -> &Mutex<Pulse> {
        &shared.pods
    }
}

/// The label that what we made has.
pub(super) fn ours() -> String {
    format!("{}={}", render::MANAGED_BY, render::MANAGER)
}

/// Watches for ever.
pub(super) async fn run<K: Watched>(access: Arc<Access>, shared: Arc<Shared>) {
    let mut pause = PAUSES.0;
    loop {
        let begin = Instant::now();
        let result = list_and_watch::<K>(&access, &shared).await;
        beat::<K>(&shared, None);
        if begin.elapsed() > PAUSES.1 {
            pause = PAUSES.0;
        }
        if let Err(failure) = result {
            debug!(kind = %K::kind(&()), ?failure, "a watch begins again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// Lists everything and takes note of it.
pub(super) async fn list<K: Watched>(access: &Access, shared: &Shared) -> Result<u64, Failure> {
    let (items, version) = match list_pages::<K>(access).await {
        // The pages took longer than the server keeps old versions.
        Err(failure) if failure.is_expired() => list_pages::<K>(access).await?,
        other => other?,
    };
    K::all(&items, version, &mut shared.memory());
    Ok(version)
}

async fn list_pages<K: Watched>(access: &Access) -> Result<(Vec<K>, u64), Failure> {
    let mut items = Vec::new();
    let mut params = ListParams::default().labels(&ours()).limit(PAGE);
    loop {
        let page = access
            .call(|to| {
                let params = params.clone();
                async move {
                    Api::<K>::namespaced(to.client, &to.namespace)
                        .list(&params)
                        .await
                }
            })
            .await?;
        items.extend(page.items);
        let version = page.metadata.resource_version.unwrap_or_default();
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => {
                let version = version.parse().map_err(|_| {
                    Failure::Unreadable(format!("{version:?} as the version of a list"))
                })?;
                return Ok((items, version));
            }
        }
    }
}

/// Returns when it is time for another list.
async fn list_and_watch<K: Watched>(access: &Access, shared: &Shared) -> Result<(), Failure> {
    let mut version = list::<K>(access, shared).await?.to_string();
    loop {
        let params = WatchParams::default().labels(&ours()).timeout(WATCH_S);
        // Borrowed by each attempt.
        let (params, from) = (&params, &version);
        let events = access
            .call(|to| async move {
                let api = Api::<K>::namespaced(to.client, &to.namespace);
                api.watch(params, from).await
            })
            .await?;
        let mut events = std::pin::pin!(events);
        beat::<K>(shared, Some(Instant::now()));
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                    item.seen(&mut shared.memory());
                    version = item.meta().resource_version.clone().unwrap_or(version);
                }
                WatchEvent::Deleted(item) => {
                    item.deleted(&mut shared.memory());
                    version = item.meta().resource_version.clone().unwrap_or(version);
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                WatchEvent::Error(status) => return Err(Failure::Api(status)),
            }
            beat::<K>(shared, Some(Instant::now()));
        }
        tokio::time::sleep(PAUSES.0).await;
    }
}

fn beat<K: Watched>(shared: &Shared, at: Option<Instant>) {
    let mut pulse = K::pulse(shared)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    pulse.0 = at;
}
