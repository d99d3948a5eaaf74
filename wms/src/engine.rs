//! The single writer: one loop that drains a bounded inbox, stamps one `now`,
//! applies commands to the state, commits their changes together, and only then
//! replies.

use fairway_model::Timestamp;
use fairway_sched::{Command, Refused, Reply, State};

/// Why a command was not answered with a reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The decision was no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store did not take the change; it did not happen.
    #[error("the store does not accept changes: {0}")]
    Store(String),
    /// Too many commands wait; try again later.
    #[error("the server is overloaded")]
    Overloaded,
    /// The engine has stopped.
    #[error("the server is shutting down")]
    Stopped,
}

/// The way to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {}

impl Engine {
    /// Has a command carried out. Returns after its changes are durable.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn ask(&self, _command: Command) -> Result<Reply, EngineError> {
        todo!()
    }

    /// As [`ask`](Self::ask) for a `Command::Sync` whose wish for work may wait: if nothing can
    /// be granted, the answer comes when something can, when a newer wish of the same pilot
    /// arrives, when the pilot gets an order, or after `wait` — whichever is first.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn sync(
        &self,
        _command: Command,
        _wait: std::time::Duration,
    ) -> Result<Reply, EngineError> {
        todo!()
    }

    /// Looks at the state between two batches. `look` must be quick: nothing else happens meanwhile.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] or [`EngineError::Overloaded`].
    pub async fn look<T: Send + 'static>(
        &self,
        _look: impl FnOnce(&State, Timestamp) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        todo!()
    }
}
