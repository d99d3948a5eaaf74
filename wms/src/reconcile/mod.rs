//! Background work that brings the world in line with the state. Each part is
//! idempotent: what it does twice does no harm, what it missed it does next time.
//!
//! - [`agents`]: the batch systems of sites that nobody can call.
//! - [`sites`]: keeps one connection to each site's batch system.
//! - [`observe`]: what the batch systems say of our pilots, and what the CEs publish.
//! - [`supply`]: plans pilots, submits them, calls back those that nobody needs.
//! - [`sweep`]: removes sandboxes that belong to no job.

pub mod agents;
mod observe;
mod sites;
mod supply;
mod sweep;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fairway_model::{PilotId, SiteName};
use fairway_site_adapters::BatchSystem;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::files::Files;
use crate::store::Store;
use agents::Agents;
use sites::Sites;

/// What the reconcilers need to know of the server.
#[derive(Clone)]
pub struct Surroundings {
    /// The engine.
    pub engine: Engine,
    /// The store.
    pub store: Store,
    /// Sandboxes, outputs and logs.
    pub files: Files,
    /// The desks of sites that have agents.
    pub agents: Agents,
    /// Folder that adapters may keep things in.
    pub state_dir: PathBuf,
    /// What the pilots' names begin with: `fw-<instance>-`.
    pub name_prefix: String,
    /// Base URL that pilots call.
    pub server_url: String,
    /// Certificates that pilots are to trust, in PEM.
    pub ca_pem: Option<String>,
    /// The pilot program, where a CE names no other.
    pub pilot_program: Vec<String>,
    /// A pilot ends by itself after so many seconds without work.
    pub pilot_idle_s: u64,
    /// Time between two looks at each batch system.
    pub look_every: Duration,
    /// Time between two plans of how many pilots are needed.
    pub plan_every: Duration,
}

/// The running reconcilers.
pub struct Reconcilers {
    stop: CancellationToken,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

struct Shared {
    around: Surroundings,
    sites: Sites,
    /// Rung when pilots should be planned without waiting for the next commit.
    plan_now: Notify,
}

impl Shared {
    /// The name of a pilot's job in the batch system.
    fn job_name(&self, pilot: PilotId) -> String {
        format!("{}{pilot}", self.around.name_prefix)
    }

    /// The pilot that a batch job's name speaks of.
    fn pilot_of(&self, job_name: &str) -> Option<PilotId> {
        job_name
            .strip_prefix(&self.around.name_prefix)?
            .parse()
            .ok()
    }
}

impl Reconcilers {
    /// Starts all of them.
    pub fn start(around: Surroundings) -> Self {
        let shared = Arc::new(Shared {
            sites: Sites::new(around.state_dir.join("adapters"), around.agents.clone()),
            around,
            plan_now: Notify::new(),
        });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        for work in [
            tokio::spawn(
                stop.clone()
                    .run_until_cancelled_owned(observe::run(shared.clone())),
            ),
            tokio::spawn(
                stop.clone()
                    .run_until_cancelled_owned(supply::run(shared.clone())),
            ),
            tokio::spawn(
                stop.clone()
                    .run_until_cancelled_owned(sweep::run(shared.clone())),
            ),
        ] {
            tasks.spawn(work);
        }
        tasks.close();
        Self {
            stop,
            tasks,
            shared,
        }
    }

    /// Stops all of them between two actions and waits for that.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Ends pilots' jobs in their batch systems, as far as these can be reached.
    pub async fn cancel_jobs(&self, jobs: BTreeMap<SiteName, Vec<String>>) {
        for (site, batch_ids) in jobs {
            supply::cancel(&self.shared, &site, &batch_ids).await;
        }
    }
}

/// A connection to a site's batch system.
type Connection = Arc<dyn BatchSystem>;
