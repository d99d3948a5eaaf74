//! What is durable.

use fairway_api::public::{
    EventsQuery, JobView, JobsQuery, Page, PilotView, PilotsQuery, TaskView, TasksQuery, UsageQuery,
    UsageView,
};
use fairway_model::{Attempt, Event, Job, JobId, PilotId, Principal, TaskId, Timestamp, UserName};
use fairway_sched::Change;
use fairway_sched::command::Snapshot;

/// Why the store did not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed or cannot be reached; the text is for the log.
    #[error("database: {0}")]
    Database(String),
    /// Another server has taken over this store: this one must stop.
    #[error("another server has taken over this store")]
    Superseded,
    /// Another server runs on this store.
    #[error("another server runs on this store: {0}")]
    InUse(String),
    /// The schema is not one that this program knows.
    #[error("schema: {0}")]
    Schema(String),
    /// A query's cursor, sort key or filter makes no sense; the text is for the user.
    #[error("{0}")]
    BadQuery(String),
}

/// A token as it is kept.
#[derive(Clone, Debug)]
pub struct StoredToken {
    /// Its public part.
    pub id: String,
    /// SHA-256 (hex) of the secret part.
    pub hash: String,
    /// Who it is for.
    pub principal: Principal,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it stops being valid.
    pub expires_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// The store: a database, and the right to be its only writer.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the database at `url` (`sqlite:///path/to/file` or `postgres://…`), brings its
    /// schema up to date. Many may have a store open; only the one that [`lead`](Self::lead)s commits.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(_url: &str) -> Result<Self, StoreError> {
        todo!()
    }

    /// Becomes the one writer: takes the lock and a new epoch, which every later commit carries.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another server has the lock.
    pub async fn lead(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// A random name (8 hex digits) that this store got when it was made; batch jobs carry it.
    pub async fn instance(&self) -> Result<String, StoreError> {
        todo!()
    }

    /// Writes all changes in one transaction; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] if the epoch is no longer ours; nothing is written then.
    pub async fn commit(&self, _changes: &[Change]) -> Result<(), StoreError> {
        todo!()
    }

    /// All that is not over.
    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        todo!()
    }

    /// Whether the database answers and takes writes.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// The job of an earlier submission with this key: its id, task count and the request's hash.
    pub async fn find_idempotent(
        &self,
        _owner: &UserName,
        _key: &str,
    ) -> Result<Option<(JobId, u32, String)>, StoreError> {
        todo!()
    }

    /// A job's row, with its JDL.
    pub async fn job(&self, _job: JobId) -> Result<Option<Job>, StoreError> {
        todo!()
    }

    /// A job as shown.
    pub async fn job_view(&self, _job: JobId) -> Result<Option<JobView>, StoreError> {
        todo!()
    }

    /// A page of jobs. `owner` limits it to one owner whatever the query says.
    pub async fn jobs(
        &self,
        _query: &JobsQuery,
        _owner: Option<&UserName>,
    ) -> Result<Page<JobView>, StoreError> {
        todo!()
    }

    /// A task as shown.
    pub async fn task_view(&self, _task: TaskId) -> Result<Option<TaskView>, StoreError> {
        todo!()
    }

    /// A page of tasks. `owner` limits it to one owner whatever the query says.
    pub async fn tasks(
        &self,
        _query: &TasksQuery,
        _owner: Option<&UserName>,
    ) -> Result<Page<TaskView>, StoreError> {
        todo!()
    }

    /// A page of events, oldest first. `owner` limits it to events of that owner's jobs and tasks.
    /// The events of a task begin with its job's `JobSubmitted`.
    pub async fn events(
        &self,
        _query: &EventsQuery,
        _owner: Option<&UserName>,
    ) -> Result<Page<Event>, StoreError> {
        todo!()
    }

    /// A page of pilots, newest first, with the tasks that each has now.
    pub async fn pilots(&self, _query: &PilotsQuery) -> Result<Page<PilotView>, StoreError> {
        todo!()
    }

    /// A pilot as shown.
    pub async fn pilot_view(&self, _pilot: PilotId) -> Result<Option<PilotView>, StoreError> {
        todo!()
    }

    /// Usage summed up. `user` limits it to one user whatever the query says.
    pub async fn usage(
        &self,
        _query: &UsageQuery,
        _user: Option<&UserName>,
    ) -> Result<Vec<UsageView>, StoreError> {
        todo!()
    }

    /// Which attempts of a task were begun, live one included: the usage rows' numbers.
    pub async fn attempts(&self, _task: TaskId) -> Result<Vec<Attempt>, StoreError> {
        todo!()
    }

    /// Keys of the input sandboxes that belong to jobs.
    pub async fn sandboxes(&self) -> Result<Vec<String>, StoreError> {
        todo!()
    }

    /// Adds a token.
    pub async fn add_token(&self, _token: &StoredToken) -> Result<(), StoreError> {
        todo!()
    }

    /// A token by its public part.
    pub async fn token(&self, _id: &str) -> Result<Option<StoredToken>, StoreError> {
        todo!()
    }

    /// All tokens, newest first.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        todo!()
    }

    /// Revokes a token; false if there is none.
    pub async fn revoke_token(&self, _id: &str, _now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }
}
