//! What is durable.
//!
//! A database holds the truth: the state of everything as it stands now, and an append-only
//! ledger of what happened and what was used, written in the same transactions. One process may
//! write what the engine decides ([`Store::lead`]); any number may read, and manage tokens.
//!
//! - `entity`: the rows, one module a table.
//! - `connect`: opening a database and bringing its schema up to date.
//! - `lead`: the right to be the one writer, and the proof of it in each transaction.
//! - `commit`: a batch of changes as few statements.
//! - `load`: all that is not over, for a start.
//! - `query`: lists and views. Pages go by key, never by offset.
//! - `token`: tokens, which do not pass through the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use fairway_api::public::{
    EventsQuery, JobView, JobsQuery, NodeView, NodesQuery, Page, PilotView, PilotsQuery,
    PolicyHistoryQuery, TaskView, TasksQuery, UsageQuery, UsageView,
};
use fairway_jdl::JobSpec;
use fairway_model::{
    Attempt, Event, Job, JobId, PilotId, Policy, Principal, TaskId, Timestamp, UserName,
};
use fairway_sched::Change;
use fairway_sched::command::{EndedTasks, NamedJob, Selection, Snapshot};
use sea_orm::{DatabaseConnection, DbErr};

mod commit;
mod connect;
mod entity;
mod lead;
mod load;
mod named;
mod query;
mod token;

pub use query::policy::PolicyEvent;

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

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.to_string())
    }
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// One connection: SQLite has one writer at a time anyway, and on PostgreSQL the engine's
    /// commits come one after another.
    writer: DatabaseConnection,
    /// A few connections for queries, so that a long list does not delay a commit.
    readers: DatabaseConnection,
    leadership: lead::Leadership,
}

impl Store {
    /// Opens the database at `url` (`sqlite:///path/to/file` or `postgres://…`), brings its
    /// schema up to date. Many may have a store open; only the one that [`lead`](Self::lead)s commits.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let connected = connect::open(url).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                leadership: lead::Leadership::new(connected.lock),
                writer: connected.writer,
                readers: connected.readers,
            }),
        })
    }

    /// Becomes the one writer: takes the lock and a new epoch, which every later commit carries.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another server has the lock.
    pub async fn lead(&self) -> Result<(), StoreError> {
        self.inner.leadership.take(&self.inner.writer).await?;
        load::forget_old_shares(&self.inner.writer).await
    }

    /// Finishes what is under way, closes all connections and gives the lock back. What goes
    /// wrong here is only logged: everything that was acknowledged is durable already.
    pub async fn close(&self) {
        let closed = async {
            self.inner.readers.close_by_ref().await?;
            self.inner.writer.close_by_ref().await?;
            self.inner.leadership.give_back().await
        };
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the store was not closed properly");
        }
    }

    /// The policy that was set last, if one ever was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn policy(&self) -> Result<Option<Policy>, StoreError> {
        load::policy(&self.inner.readers).await
    }

    /// A random name (8 hex digits) that this store got when it was made; batch jobs carry it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn instance(&self) -> Result<String, StoreError> {
        load::instance(&self.inner.readers).await
    }

    /// Writes all changes in one transaction; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] if the epoch is no longer ours; nothing is written then.
    pub async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        commit::commit(&self.inner.writer, &self.inner.leadership, changes).await
    }

    /// All that is not over.
    ///
    /// # Errors
    /// [`StoreError::Schema`] if a row cannot be read by this program.
    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        load::load(&self.inner.readers).await
    }

    /// The tasks of `tasks` that failed or were cancelled, by job, as
    /// [`Command::Retry`](fairway_sched::Command::Retry) wants them. A job without such a task,
    /// or that does not exist, is left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ended(&self, tasks: &Selection) -> Result<Vec<EndedTasks>, StoreError> {
        load::ended(&self.inner.readers, tasks).await
    }

    /// The jobs that a description names as those that it waits for, as they stand; those that
    /// are not there are left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn named(&self, spec: &JobSpec) -> Result<Vec<NamedJob>, StoreError> {
        named::named(&self.inner.readers, std::iter::once(spec)).await
    }

    /// Whether the database answers and takes writes, and, for a leader, whether it still leads.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] if another server leads; otherwise what the database says.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.leadership.check(&self.inner.writer).await
    }

    /// The job of an earlier submission with this key: its id, task count and the request's hash.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_idempotent(
        &self,
        owner: &UserName,
        key: &str,
    ) -> Result<Option<(JobId, u32, String)>, StoreError> {
        query::jobs::find_idempotent(&self.inner.readers, owner, key).await
    }

    /// A job's row, with its JDL.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn job(&self, job: JobId) -> Result<Option<Job>, StoreError> {
        query::jobs::row(&self.inner.readers, job).await
    }

    /// The owner of each of these jobs and how many tasks it has; those that are not there are
    /// left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn job_owners(
        &self,
        jobs: &BTreeSet<JobId>,
    ) -> Result<BTreeMap<JobId, (UserName, u32)>, StoreError> {
        query::jobs::owners(&self.inner.readers, jobs).await
    }

    /// A job as shown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn job_view(&self, job: JobId) -> Result<Option<JobView>, StoreError> {
        query::jobs::one(&self.inner.readers, job).await
    }

    /// A page of jobs. `owner` limits it to one owner whatever the query says.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] if the query makes no sense.
    pub async fn jobs(
        &self,
        query: &JobsQuery,
        owner: Option<&UserName>,
    ) -> Result<Page<JobView>, StoreError> {
        query::jobs::page(&self.inner.readers, query, owner).await
    }

    /// A page of the nodes of a compound job, in order; empty if it is not compound.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] if the query makes no sense.
    pub async fn nodes(
        &self,
        job: JobId,
        query: &NodesQuery,
    ) -> Result<Page<NodeView>, StoreError> {
        query::nodes::page(&self.inner.readers, job, query).await
    }

    /// A node of a job as shown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn node_view(&self, job: JobId, name: &str) -> Result<Option<NodeView>, StoreError> {
        query::nodes::one(&self.inner.readers, job, name).await
    }

    /// The names of all nodes of a job with their tasks, in order; empty if it is not compound.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn node_names(&self, job: JobId) -> Result<Vec<(Range<u32>, String)>, StoreError> {
        query::nodes::names(&self.inner.readers, job).await
    }

    /// Why a task was moved last by what it depends on, if it ever was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn last_move(&self, task: TaskId) -> Result<Option<String>, StoreError> {
        query::events::last_move(&self.inner.readers, task).await
    }

    /// A task as shown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn task_view(&self, task: TaskId) -> Result<Option<TaskView>, StoreError> {
        query::tasks::one(&self.inner.readers, task).await
    }

    /// A page of tasks. `owner` limits it to one owner whatever the query says.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] if the query makes no sense.
    pub async fn tasks(
        &self,
        query: &TasksQuery,
        owner: Option<&UserName>,
    ) -> Result<Page<TaskView>, StoreError> {
        query::tasks::page(&self.inner.readers, query, owner).await
    }

    /// A page of events, oldest first. `owner` limits it to events of that owner's jobs and tasks.
    /// The events of a task begin with its job's `JobSubmitted`.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] if the query makes no sense.
    pub async fn events(
        &self,
        query: &EventsQuery,
        owner: Option<&UserName>,
    ) -> Result<Page<Event>, StoreError> {
        query::events::page(&self.inner.readers, query, owner).await
    }

    /// A page of the changes of the policy, the latest first.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] if the query makes no sense.
    pub async fn policy_events(
        &self,
        query: &PolicyHistoryQuery,
    ) -> Result<Page<PolicyEvent>, StoreError> {
        query::policy::page(&self.inner.readers, query).await
    }

    /// A page of pilots, newest first, with the tasks that each has now.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] if the query makes no sense.
    pub async fn pilots(&self, query: &PilotsQuery) -> Result<Page<PilotView>, StoreError> {
        query::pilots::page(&self.inner.readers, query).await
    }

    /// A pilot as shown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pilot_view(&self, pilot: PilotId) -> Result<Option<PilotView>, StoreError> {
        query::pilots::one(&self.inner.readers, pilot).await
    }

    /// Usage summed up. `user` limits it to one user whatever the query says.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] if the query makes no sense.
    pub async fn usage(
        &self,
        query: &UsageQuery,
        user: Option<&UserName>,
    ) -> Result<Vec<UsageView>, StoreError> {
        query::usage::sums(&self.inner.readers, query, user).await
    }

    /// How long the last attempts of a user ran that succeeded, in milliseconds; at most `most`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn last_runtimes(&self, user: &UserName, most: u64) -> Result<Vec<u64>, StoreError> {
        query::usage::last_runtimes(&self.inner.readers, user, most).await
    }

    /// The last events of a task, and of its job as a whole, oldest first; at most `most`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn last_events(&self, task: TaskId, most: u64) -> Result<Vec<Event>, StoreError> {
        query::events::last_of(&self.inner.readers, task, most).await
    }

    /// Which attempts of a task were begun, live one included: the usage rows' numbers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
        query::usage::attempts(&self.inner.readers, task).await
    }

    /// Keys of the input sandboxes that belong to jobs.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sandboxes(&self) -> Result<Vec<String>, StoreError> {
        query::jobs::sandboxes(&self.inner.readers).await
    }

    /// Adds a token.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn add_token(&self, token: &StoredToken) -> Result<(), StoreError> {
        token::add(&self.inner.writer, token).await
    }

    /// A token by its public part.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn token(&self, id: &str) -> Result<Option<StoredToken>, StoreError> {
        token::find(&self.inner.readers, id).await
    }

    /// All tokens, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        token::all(&self.inner.readers).await
    }

    /// Revokes a token; false if there is none. One that was revoked before keeps that moment.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        token::revoke(&self.inner.writer, id, now).await
    }
}
