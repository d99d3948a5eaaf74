//! Sites that let nobody in: their agents call, and find here what is wanted of them.
//!
//! A site whose adapter is `agent` is served by a `BatchSystem` like any other. Each call to it
//! becomes a request that waits at the site's [`Desk`] until the agent's next exchange fetches
//! it, and ends with the agent's reply or with the [`Patience`] of whoever asked. To the rest
//! of the server an agent that is away is a batch system that does not answer:
//!
//! - *No agent*, or none that was heard of lately: requests fail as `Unreachable` at once, so
//!   the CEs are published as unreachable and get no pilots. An agent that was there a moment
//!   ago, or may not have found a server that was started again, is waited for a little.
//! - *A request or its reply is lost on the way*: the request is given again, under its id; the
//!   agent executes an id once. See `fairway_api::agent`.
//! - *The agent ends in the middle of a request*, or another takes over: nobody else gets the
//!   request, and it fails as `Unreachable`. If it was a submission, the job is found by its
//!   name, or was never made.
//! - *The server ends in the middle*: the requests are forgotten with those who asked. What
//!   the agent did meanwhile is found in the batch system.
//!
//! All of this is memory only; a server that starts knows no agent until it calls.

mod desk;
mod remote;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairway_api::agent::{AgentView, ExchangeReply, ExchangeRequest};
use fairway_model::SiteName;

use super::Connection;
use desk::Desk;
pub use desk::SessionOver;
use remote::Remote;

/// How long agents are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a request is fetched.
    pub fetch: Duration,
    /// Until a request is answered, from when it was made.
    pub answer: Duration,
    /// An agent that was silent for so long is away. Longer than an exchange is held open.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            fetch: Duration::from_secs(20),
            // A batch system may take a minute for each of several commands.
            answer: Duration::from_secs(300),
            silence: Duration::from_secs(60),
        }
    }
}

/// The desks of all sites that have agents. Cheap to clone.
#[derive(Clone, Default)]
pub struct Agents(Arc<Inner>);

#[derive(Default)]
struct Inner {
    patience: Patience,
    desks: Mutex<BTreeMap<SiteName, Arc<Desk>>>,
}

impl Agents {
    /// No desks yet; agents will be waited for so long.
    pub fn new(patience: Patience) -> Self {
        Self(Arc::new(Inner {
            patience,
            desks: Mutex::default(),
        }))
    }

    /// The batch system behind the site's agent, whether there is one now or not.
    pub fn connect(&self, site: &SiteName) -> Connection {
        Arc::new(Remote::new(site.clone(), self.desk(site)))
    }

    /// An exchange with the site's agent; held open for `wait_max` at most.
    ///
    /// # Errors
    /// [`SessionOver`]: this run of the agent is to end.
    pub async fn exchange(
        &self,
        site: &SiteName,
        exchange: ExchangeRequest,
        wait_max: Duration,
    ) -> Result<ExchangeReply, SessionOver> {
        self.desk(site).exchange(exchange, wait_max).await
    }

    /// What is known of the site's agent; `None` if it was not heard of.
    pub fn view(&self, site: &SiteName) -> Option<AgentView> {
        lock(&self.0.desks).get(site)?.view()
    }

    fn desk(&self, site: &SiteName) -> Arc<Desk> {
        let mut desks = lock(&self.0.desks);
        let desk = desks
            .entry(site.clone())
            .or_insert_with(|| Arc::new(Desk::new(self.0.patience)));
        Arc::clone(desk)
    }
}

/// The guard of what is sound even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
