//! This machine as a small batch system: a first-come-first-served queue over
//! its cores. Jobs live in folders of the server's state directory and in
//! sessions of their own, so they outlive the server and are found again.
//!
//! `queue.rs` decides who runs, `folder.rs` keeps what must survive, `process.rs`
//! starts, recognises and signals processes, `machine.rs` tells what this
//! machine is. Any queue name stands for the one queue that there is.

mod folder;
mod machine;
mod process;
mod queue;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fairway_model::{Ce, CeId, CeState, CeStatus, SiteName, Timestamp};
use tracing::warn;

use crate::{AdapterError, BatchJob, BatchSystem, PilotJob};
use queue::{Queue, Started};

/// Time between SIGTERM and SIGKILL: a pilot hands its tasks back meanwhile.
const KILL_GRACE: Duration = Duration::from_secs(30);

/// This machine.
pub(crate) struct Local {
    site: SiteName,
    queue: Arc<Mutex<Queue>>,
}

impl Local {
    /// The jobs in `folder`, over `cores` cores (all that the server may use if not set).
    pub(crate) fn open(
        site: SiteName,
        cores: Option<u32>,
        folder: &Path,
    ) -> Result<Self, AdapterError> {
        Self::open_with(site, cores, folder, KILL_GRACE)
    }

    fn open_with(
        site: SiteName,
        cores: Option<u32>,
        folder: &Path,
        kill_grace: Duration,
    ) -> Result<Self, AdapterError> {
        let cores = cores.unwrap_or_else(machine::cores);
        let queue = Queue::open(folder, cores, kill_grace).map_err(|error| unreachable(&error))?;
        Ok(Self {
            site,
            queue: Arc::new(Mutex::new(queue)),
        })
    }

    /// Runs `work` on the queue where blocking is allowed, then starts what can be started.
    async fn with_queue<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Queue) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, AdapterError> {
        let queue = Arc::clone(&self.queue);
        let done = tokio::task::spawn_blocking(move || {
            let mut held = queue.lock().unwrap_or_else(PoisonError::into_inner);
            held.observe()?;
            let result = work(&mut held)?;
            let started = held.advance();
            drop(held);
            watch(&queue, started);
            Ok(result)
        });
        match done.await {
            Ok(result) => result.map_err(|error: std::io::Error| unreachable(&error)),
            Err(error) => Err(AdapterError::Unreachable(format!(
                "the local queue stopped: {error}"
            ))),
        }
    }
}

/// Learns what happened to the jobs and acts on it.
fn tick(queue: &Arc<Mutex<Queue>>) {
    let mut held = queue.lock().unwrap_or_else(PoisonError::into_inner);
    match held.observe() {
        Ok(()) => {
            let started = held.advance();
            drop(held);
            watch(queue, started);
        }
        // The next poll observes again, and reports it if it lasts.
        Err(error) => warn!(%error, "cannot look after the local jobs"),
    }
}

/// [`tick`] where blocking is allowed.
async fn tick_aside(queue: Arc<Mutex<Queue>>) {
    if let Err(error) = tokio::task::spawn_blocking(move || tick(&queue)).await {
        warn!(%error, "the local queue stopped");
    }
}

/// Waits for each child, which also reaps it, and then starts what may follow.
fn watch(queue: &Arc<Mutex<Queue>>, started: Vec<Started>) {
    for Started { name, mut child } in started {
        let queue = Arc::clone(queue);
        tokio::spawn(async move {
            // Its exit code says nothing that the job's folder does not tell better.
            if let Err(error) = child.wait().await {
                warn!(job = name, %error, "cannot wait for a local job");
            }
            tick_aside(queue).await;
        });
    }
}

fn unreachable(error: &std::io::Error) -> AdapterError {
    AdapterError::Unreachable(format!("the folder of the local jobs: {error}"))
}

#[async_trait]
impl BatchSystem for Local {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let count = jobs.len();
        let jobs = jobs.to_vec();
        let submitted = self
            .with_queue(move |queue| Ok(jobs.iter().map(|job| queue.submit(job)).collect()))
            .await;
        submitted.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn poll(
        &self,
        name_prefix: &str,
        _known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let prefix = name_prefix.to_owned();
        self.with_queue(move |queue| Ok(queue.report(&prefix)))
            .await
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let ids = batch_ids.to_vec();
        let any = self
            .with_queue(move |queue| {
                let mut signalled = false;
                for id in &ids {
                    signalled |= queue.cancel(id)?;
                }
                Ok(signalled.then(|| queue.kill_grace()))
            })
            .await?;
        if let Some(grace) = any {
            // Those that are deaf to SIGTERM must not depend on somebody asking again.
            let queue = Arc::clone(&self.queue);
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                tick_aside(queue).await;
            });
        }
        Ok(())
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        let load = self.with_queue(|queue| Ok(queue.load())).await?;
        let publish_one = |ce: &Ce| {
            let id = CeId {
                site: self.site.clone(),
                ce: ce.name.clone(),
            };
            CeState {
                status: CeStatus::Production,
                reason: None,
                lrms: ("local".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
                cores_total: Some(load.cores_total),
                cores_free: Some(load.cores_total.saturating_sub(load.cores_used)),
                cores_offline: Some(0),
                jobs_running: Some(load.running),
                jobs_waiting: Some(load.waiting),
                walltime_max_s: None,
                node_cores: Some(load.cores_total),
                node_memory_mib: machine::memory_mib(),
                architecture: Some(machine::architecture()),
                operating_system: machine::operating_system(),
                ..CeState::unreachable(id, "local", now, String::new())
            }
        };
        Ok(ces.iter().map(publish_one).collect())
    }
}

#[cfg(test)]
mod tests;
