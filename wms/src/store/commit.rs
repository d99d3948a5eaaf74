//! A batch of changes as few statements, in one transaction.
//!
//! The hot path of the whole server. Several images of one row are folded into the last, and all
//! rows of a table go into statements of many rows, sorted by key. The number of rows of a
//! statement is a power of two, so that there are few different statements and the database
//! finds each one prepared.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fairway_jdl::JobNode;
use fairway_model::{
    Attempt, GroupName, Job, JobId, Pilot, PilotId, Policy, Site, SiteName, Task, TaskId,
    TaskState, Timestamp, UsageRecord, UserName,
};
use fairway_sched::Change;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait as _, ConnectionTrait, DatabaseConnection, DatabaseTransaction,
    EntityTrait, IdenStatic as _, Iterable as _, PrimaryKeyToColumn as _, QueryFilter as _,
    Statement,
};

use super::entity::{self, int};
use super::lead::Leadership;
use super::{StoreError, connect};

/// Most rows of one statement. The widest table has 18 columns, and SQLite takes at most 32,766
/// values a statement.
const ROWS_MAX: usize = 1024;

pub(super) async fn commit(
    writer: &DatabaseConnection,
    leadership: &Leadership,
    changes: &[Change],
) -> Result<(), StoreError> {
    let batch = Batch::fold(changes);
    let transaction = connect::begin(writer).await?;
    leadership.fence(&transaction).await?;
    batch.write(&transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// What is left of a batch when only the last image of each row counts.
#[derive(Default)]
struct Batch<'a> {
    jobs: Vec<NewJob<'a>>,
    job_ends: BTreeMap<JobId, Option<Timestamp>>,
    ranges: Vec<Range>,
    tasks: BTreeMap<TaskId, Cow<'a, Task>>,
    pilots: BTreeMap<PilotId, &'a Pilot>,
    /// `None`: the site is no more.
    sites: BTreeMap<&'a SiteName, Option<&'a Site>>,
    policy: Option<&'a Policy>,
    shares: BTreeMap<(&'a fairway_sched::Entity, Timestamp), &'a fairway_sched::Used>,
    spent: BTreeMap<(&'a UserName, Option<&'a GroupName>, Timestamp), u64>,
    usage: BTreeMap<(TaskId, Attempt), &'a UsageRecord>,
    events: Vec<&'a fairway_model::Event>,
}

struct NewJob<'a> {
    job: &'a Job,
    nodes: &'a [JobNode],
    idempotency: Option<&'a (String, String)>,
    /// Whether it waits for other jobs.
    waits: bool,
}

/// Tasks of one job that go to one state together.
struct Range {
    job: JobId,
    from: u32,
    to: u32,
    state: TaskState,
    since: Timestamp,
}

impl<'a> Batch<'a> {
    fn fold(changes: &'a [Change]) -> Self {
        let mut batch = Self::default();
        for change in changes {
            batch.add(change);
        }
        batch
    }

    fn add(&mut self, change: &'a Change) {
        match change {
            Change::NewJob {
                job,
                nodes,
                idempotency,
                waits,
            } => self.jobs.push(NewJob {
                waits: *waits,
                job,
                nodes,
                idempotency: idempotency.as_ref(),
            }),
            Change::JobProgress { job, ended_at } => {
                self.job_ends.insert(*job, *ended_at);
            }
            Change::Task(task) => {
                self.tasks.insert(task.id, Cow::Borrowed(task));
            }
            Change::TaskRange {
                job,
                from,
                to,
                state,
                since,
            } => self.add_range(Range {
                job: *job,
                from: *from,
                to: *to,
                state: *state,
                since: *since,
            }),
            Change::Pilot(pilot) => {
                self.pilots.insert(pilot.id, pilot);
            }
            Change::Site(site) => {
                self.sites.insert(&site.name, Some(site));
            }
            Change::SiteRemoved(name) => {
                self.sites.insert(name, None);
            }
            Change::Policy(policy) => self.policy = Some(policy),
            Change::Share {
                entity,
                interval,
                used,
            } => {
                self.shares.insert((entity, *interval), used);
            }
            Change::Spent {
                user,
                group,
                day,
                core_ms,
            } => {
                self.spent.insert((user, group.as_ref(), *day), *core_ms);
            }
            Change::Usage(usage) => {
                self.usage.insert((usage.task, usage.attempt), usage);
            }
            Change::Event(event) => self.events.push(event),
        }
    }

    /// Ranges are written before images. So that the order of the batch holds, a range is also
    /// applied to the images that came before it.
    fn add_range(&mut self, range: Range) {
        if range.from >= range.to {
            return;
        }
        let tasks = TaskId::new(range.job, range.from)..TaskId::new(range.job, range.to);
        for (_, image) in self.tasks.range_mut(tasks) {
            let image = image.to_mut();
            image.state = range.state;
            image.since = range.since;
        }
        self.ranges.push(range);
    }

    async fn write(self, db: &DatabaseTransaction) -> Result<(), StoreError> {
        self.write_jobs(db).await?;
        for range in &self.ranges {
            update_tasks(db, range).await?;
        }
        let tasks = self.tasks.values().map(|task| entity::task::row(task));
        put::<entity::task::Entity>(db, tasks.collect::<Result<_, _>>()?).await?;
        let pilots = self.pilots.values().copied().map(entity::pilot::row);
        put::<entity::pilot::Entity>(db, pilots.collect::<Result<_, _>>()?).await?;
        self.write_settings(db).await?;
        let shares = self
            .shares
            .iter()
            .map(|((of, interval), used)| entity::interval_usage::row(of, *interval, used));
        put::<entity::interval_usage::Entity>(db, shares.collect()).await?;
        let spent = self
            .spent
            .iter()
            .map(|((user, group, day), core_ms)| entity::spent::row(user, *group, *day, *core_ms));
        put::<entity::spent::Entity>(db, spent.collect()).await?;
        let usage = self.usage.into_values().map(entity::usage::row);
        append::<entity::usage::Entity>(db, usage.collect::<Result<_, _>>()?).await?;
        let events = self.events.into_iter().map(entity::event::row);
        append::<entity::event::Entity>(db, events.collect::<Result<_, _>>()?).await
    }

    async fn write_jobs(&self, db: &DatabaseTransaction) -> Result<(), StoreError> {
        let rows = self.jobs.iter();
        let rows = rows.map(|new| entity::job::row(new.job, new.idempotency));
        append::<entity::job::Entity>(db, rows.collect()).await?;
        for new in &self.jobs {
            for tasks in new.tasks() {
                insert_tasks(db, &tasks).await?;
            }
            let nodes = new.nodes.iter().enumerate();
            let nodes = nodes.map(|(place, node)| entity::node::row(new.job.id, place, node));
            append::<entity::node::Entity>(db, nodes.collect::<Result<_, _>>()?).await?;
        }
        let mut by_end: BTreeMap<Option<Timestamp>, Vec<i64>> = BTreeMap::new();
        for (job, ended_at) in &self.job_ends {
            by_end.entry(*ended_at).or_default().push(int(job.0));
        }
        for (ended_at, jobs) in by_end {
            for jobs in chunks(jobs) {
                entity::job::Entity::update_many()
                    .col_expr(entity::job::Column::EndedAt, ended_at.map(|at| at.0).into())
                    .filter(entity::job::Column::Id.is_in(jobs))
                    .exec(db)
                    .await?;
            }
        }
        Ok(())
    }

    async fn write_settings(&self, db: &DatabaseTransaction) -> Result<(), StoreError> {
        for (name, site) in &self.sites {
            match site {
                Some(site) => {
                    put::<entity::site::Entity>(db, vec![entity::site::row(site)?]).await?;
                }
                None => {
                    entity::site::Entity::delete_by_id(name.as_str())
                        .exec(db)
                        .await?;
                }
            }
        }
        if let Some(policy) = self.policy {
            put::<entity::policy::Entity>(db, vec![entity::policy::row(policy)?]).await?;
        }
        Ok(())
    }
}

impl NewJob<'_> {
    /// Its tasks in as few ranges as their states allow.
    fn tasks(&self) -> Vec<Range> {
        let range = |from, to, state| Range {
            job: self.job.id,
            from,
            to,
            state,
            since: self.job.submitted_at,
        };
        if self.waits {
            return vec![range(0, self.job.task_count, TaskState::Blocked)];
        }
        if self.nodes.is_empty() {
            return vec![range(0, self.job.task_count, TaskState::Waiting)];
        }
        let mut ranges: Vec<Range> = Vec::new();
        for JobNode { tasks, parents, .. } in self.nodes {
            let state = if parents.is_empty() {
                TaskState::Waiting
            } else {
                TaskState::Blocked
            };
            match ranges.last_mut() {
                Some(last) if last.state == state => last.to = tasks.end,
                _ => ranges.push(range(tasks.start, tasks.end, state)),
            }
        }
        ranges
    }
}

/// New tasks in a row by one statement, however many they are.
async fn insert_tasks(db: &DatabaseTransaction, range: &Range) -> Result<(), StoreError> {
    const SQL: &str = "\
        WITH RECURSIVE series (idx) AS ( \
            SELECT CAST($1 AS BIGINT) UNION ALL SELECT idx + 1 FROM series WHERE idx + 1 < $2 \
        ) \
        INSERT INTO task (job_id, idx, state, since) \
        SELECT CAST($3 AS BIGINT), idx, CAST($4 AS TEXT), CAST($5 AS BIGINT) FROM series";
    let values = [
        i64::from(range.from).into(),
        i64::from(range.to).into(),
        int(range.job.0).into(),
        range.state.name().into(),
        range.since.0.into(),
    ];
    let insert = Statement::from_sql_and_values(db.get_database_backend(), SQL, values);
    db.execute_raw(insert).await?;
    Ok(())
}

async fn update_tasks(db: &DatabaseTransaction, range: &Range) -> Result<(), StoreError> {
    use entity::task::Column;
    entity::task::Entity::update_many()
        .col_expr(Column::State, range.state.name().into())
        .col_expr(Column::Since, range.since.0.into())
        .filter(Column::JobId.eq(int(range.job.0)))
        .filter(Column::Idx.gte(i64::from(range.from)))
        .filter(Column::Idx.lt(i64::from(range.to)))
        .exec(db)
        .await?;
    Ok(())
}

/// Writes rows that may exist or not.
async fn put<E: EntityTrait>(
    db: &DatabaseTransaction,
    rows: Vec<E::ActiveModel>,
) -> Result<(), StoreError>
where
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    let keys: Vec<E::Column> = E::PrimaryKey::iter().map(|key| key.into_column()).collect();
    let is_key = |column: &E::Column| keys.iter().any(|key| key.as_str() == column.as_str());
    let others = E::Column::iter().filter(|column| !is_key(column));
    let replace = OnConflict::columns(keys.iter().copied())
        .update_columns(others)
        .to_owned();
    for rows in chunks(rows) {
        E::insert_many(rows)
            .on_conflict(replace.clone())
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Writes rows that must not exist.
async fn append<E: EntityTrait>(
    db: &DatabaseTransaction,
    rows: Vec<E::ActiveModel>,
) -> Result<(), StoreError>
where
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
{
    for rows in chunks(rows) {
        E::insert_many(rows).exec_without_returning(db).await?;
    }
    Ok(())
}

/// The rows in order, in as few parts as possible whose lengths are powers of two of at most [`ROWS_MAX`].
fn chunks<T>(mut rows: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let length = rows.len().min(ROWS_MAX);
        let length = 1 << length.checked_ilog2()?;
        let rest = rows.split_off(length);
        Some(std::mem::replace(&mut rows, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_powers_of_two() {
        let lengths = |count: usize| -> Vec<usize> {
            let parts: Vec<_> = chunks((0..count).collect()).collect();
            assert_eq!(parts.concat(), (0..count).collect::<Vec<_>>());
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(0), [] as [usize; 0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(7), [4, 2, 1]);
        assert_eq!(lengths(2051), [1024, 1024, 2, 1]);
    }
}
