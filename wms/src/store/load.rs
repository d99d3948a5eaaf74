//! All that is not over, for a start; and what is needed to queue ended tasks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_jdl::job::Depends;
use fairway_jdl::{JobSpec, Severity};
use fairway_model::policy::MAX_DEPTH_MAX;
use fairway_model::{CeId, Job, JobId, Pilot, PilotState, Task, TaskId, TaskState, Timestamp};
use fairway_sched::command::{EndedRow, EndedTasks, Selection, Snapshot, SpentRow};
use fairway_sched::{Entity, Used};
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Query};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select, Statement,
};

use super::entity::{self, from_json, int, parse, read};
use super::query::jobs::{Counts, counts};
use super::{StoreError, named};
use crate::engine::wall_clock;

/// Of the skipped tasks in a row that is to be queued again, so many are looked at.
const SKIPPED_MAX: u64 = 100;

/// Pilots count for so long against a CE's limit for a day.
const ASKED_SPAN_MS: i64 = 24 * 3600 * 1000;

/// What a job not in memory is made of again.
type Described = (Job, Arc<JobSpec>, Option<(String, String)>);

pub(super) async fn instance(db: &DatabaseConnection) -> Result<String, StoreError> {
    entity::meta::Entity::find_by_id(entity::meta::ID)
        .one(db)
        .await?
        .map(|row| row.instance)
        .ok_or_else(|| StoreError::Schema("table meta is empty".into()))
}

pub(super) async fn load(db: &DatabaseConnection) -> Result<Snapshot, StoreError> {
    let jobs = active_jobs(db).await?;
    let ids: Vec<JobId> = jobs.iter().map(|(job, ..)| job.id).collect();
    let mut rows_of = BTreeMap::new();
    for (job, spec, _) in &jobs {
        let rows = ended_rows(db, job.id, spec).await?;
        if !rows.is_empty() {
            rows_of.insert(job.id, rows);
        }
    }
    let specs = || jobs.iter().map(|(_, spec, _)| &**spec);
    let named = named::named(db, specs()).await?;
    let waited_for = specs().filter_map(JobSpec::depends);
    for (_, on) in waited_for.flat_map(Depends::named) {
        if !named.iter().any(|job| job.id == on.job) {
            let why = format!("job {}, which others wait for, is not there", on.job);
            return Err(StoreError::Schema(why));
        }
    }
    Ok(Snapshot {
        named,
        ended_rows: rows_of,
        policy: policy(db).await?,
        tasks: active_tasks(db).await?,
        ended: ended_counts(&counts(db, &ids).await?),
        jobs,
        pilots: active_pilots(db).await?,
        asked: asked_of_late(db, wall_clock()).await?,
        sites: sites(db).await?,
        shares: shares(db).await?,
        spent: spent(db).await?,
        next_job: next::<entity::job::Entity>(db, entity::job::Column::Id).await?,
        next_pilot: next::<entity::pilot::Entity>(db, entity::pilot::Column::Id).await?,
        next_event: next::<entity::event::Entity>(db, entity::event::Column::Seq).await?,
    })
}

fn describe(row: entity::job::Model) -> Result<Described, StoreError> {
    let idempotency = row.idempotency();
    let job = Job::try_from(row)?;
    let broken = |why: String| {
        StoreError::Schema(format!(
            "job {} is not what was once accepted: {why}",
            job.id
        ))
    };
    let (spec, _warnings) = JobSpec::read(&job.jdl).map_err(|diagnostics| {
        let error = diagnostics
            .iter()
            .find(|diagnostic| diagnostic.severity == Severity::Error);
        broken(error.map_or_else(|| "no reason given".into(), |error| error.message.clone()))
    })?;
    if spec.task_count() != job.task_count {
        return Err(broken(format!(
            "its JDL now expands to {} tasks, not {}",
            spec.task_count(),
            job.task_count
        )));
    }
    Ok((job, Arc::new(spec), idempotency))
}

async fn active_jobs(db: &DatabaseConnection) -> Result<Vec<Described>, StoreError> {
    let rows = entity::job::Entity::find()
        .filter(entity::job::Column::EndedAt.is_null())
        .order_by_asc(entity::job::Column::Id)
        .all(db)
        .await?;
    rows.into_iter().map(describe).collect()
}

fn names(wanted: impl Fn(TaskState) -> bool) -> impl Iterator<Item = &'static str> {
    let states = TaskState::ALL.into_iter();
    states
        .filter(move |state| wanted(*state))
        .map(TaskState::name)
}

/// The tasks that are not over, in order. Those that no attempt was ever begun for differ only in
/// state and time, so the database gives them as rows of neighbours: of a queue of 100,000 it
/// hands out a few lines.
async fn active_tasks(db: &DatabaseConnection) -> Result<Vec<Task>, StoreError> {
    let mut tasks = touched_tasks(db).await?;
    for run in untouched_tasks(db).await? {
        let job = JobId(read(run.job_id, "task.job_id")?);
        let (first, last): (u32, u32) = (read(run.first, "task.idx")?, read(run.last, "task.idx")?);
        let state = entity::task::state(&run.state)?;
        tasks.extend((first..=last).map(|index| Task {
            state,
            ..Task::new(TaskId::new(job, index), Timestamp(run.since))
        }));
    }
    tasks.sort_unstable_by_key(|task| task.id);
    Ok(tasks)
}

async fn touched_tasks(db: &DatabaseConnection) -> Result<Vec<Task>, StoreError> {
    use entity::task::Column;
    let active = Query::select()
        .column(entity::job::Column::Id)
        .from(entity::job::Entity)
        .and_where(entity::job::Column::EndedAt.is_null())
        .to_owned();
    let rows = entity::task::Entity::find()
        .filter(Column::State.is_in(names(|state| !state.is_final())))
        .filter(Column::Attempt.gt(0))
        .filter(Column::JobId.in_subquery(active))
        .all(db)
        .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// Neighbouring tasks of a job, alike in all columns, that no attempt was ever begun for.
#[derive(FromQueryResult)]
struct Run {
    job_id: i64,
    state: String,
    since: i64,
    first: i64,
    last: i64,
}

async fn untouched_tasks(db: &DatabaseConnection) -> Result<Vec<Run>, StoreError> {
    // Among alike tasks in order, the index less the place is the same for neighbours only.
    const SQL: &str = "\
        SELECT job_id, state, since, MIN(idx) AS first, MAX(idx) AS last \
        FROM ( \
            SELECT job_id, state, since, idx, idx - ROW_NUMBER() OVER ( \
                PARTITION BY job_id, state, since ORDER BY idx \
            ) AS run \
            FROM task \
            WHERE attempt = 0 AND state IN ('blocked', 'waiting', 'held') \
                AND job_id IN (SELECT id FROM job WHERE ended_at IS NULL) \
        ) AS untouched \
        GROUP BY job_id, state, since, run";
    let select = Statement::from_string(db.get_database_backend(), SQL);
    Ok(Run::find_by_statement(select).all(db).await?)
}

/// Which tasks of a job are in which final state, if tasks depend on others.
async fn ended_rows(
    db: &DatabaseConnection,
    job: JobId,
    spec: &JobSpec,
) -> Result<Vec<EndedRow>, StoreError> {
    match spec.has_dependencies() {
        true => rows_of_ended(db, job).await,
        false => Ok(Vec::new()),
    }
}

/// Which tasks of a job are in which final state.
pub(super) async fn rows_of_ended(
    db: &DatabaseConnection,
    job: JobId,
) -> Result<Vec<EndedRow>, StoreError> {
    // As for the tasks that are not over; neighbours are alike in state only.
    const SQL: &str = "\
        SELECT state, MIN(idx) AS first, MAX(idx) AS last \
        FROM ( \
            SELECT state, idx, idx - ROW_NUMBER() OVER (PARTITION BY state ORDER BY idx) AS run \
            FROM task \
            WHERE job_id = $1 AND state IN ('succeeded', 'failed', 'cancelled', 'skipped') \
        ) AS ended \
        GROUP BY state, run \
        ORDER BY first";
    let backend = db.get_database_backend();
    let select = Statement::from_sql_and_values(backend, SQL, [int(job.0).into()]);
    let rows = EndedRun::find_by_statement(select).all(db).await?;
    rows.into_iter()
        .map(|run| {
            let last: u32 = read(run.last, "task.idx")?;
            let state = entity::task::state(&run.state)?;
            Ok((state, read(run.first, "task.idx")?, last + 1))
        })
        .collect()
}

/// Neighbouring tasks of a job in the same final state.
#[derive(FromQueryResult)]
struct EndedRun {
    state: String,
    first: i64,
    last: i64,
}

fn ended_counts(counts: &Counts) -> Vec<(JobId, TaskState, u32)> {
    let all = counts
        .iter()
        .flat_map(|(job, states)| states.iter().map(|(state, n)| (*job, *state, *n)));
    all.filter(|(_, state, _)| state.is_final()).collect()
}

pub(super) async fn policy(
    db: &DatabaseConnection,
) -> Result<Option<fairway_model::Policy>, StoreError> {
    entity::policy::Entity::find_by_id(entity::policy::ID)
        .one(db)
        .await?
        .map(|row| entity::policy::read(&row.description))
        .transpose()
}

async fn active_pilots(db: &DatabaseConnection) -> Result<Vec<Pilot>, StoreError> {
    let rows = entity::pilot::Entity::find()
        .filter(entity::pilot::Column::State.ne(PilotState::Ended.name()))
        .order_by_asc(entity::pilot::Column::Id)
        .all(db)
        .await?;
    rows.into_iter().map(Pilot::try_from).collect()
}

/// How many pilots were asked for in the last 24 hours, by CE and minute.
async fn asked_of_late(
    db: &DatabaseConnection,
    now: Timestamp,
) -> Result<Vec<(CeId, Timestamp, u32)>, StoreError> {
    const SQL: &str = "\
        SELECT site, ce, MAX(planned_at) AS planned_at, COUNT(*) AS pilots \
        FROM pilot \
        WHERE planned_at > $1 \
        GROUP BY site, ce, planned_at / 60000";
    let since = now.0.saturating_sub(ASKED_SPAN_MS);
    let select = Statement::from_sql_and_values(db.get_database_backend(), SQL, [since.into()]);
    let rows = Asked::find_by_statement(select).all(db).await?;
    rows.into_iter()
        .map(|row| {
            let ce = entity::pilot::ce(&row.site, &row.ce)?;
            let pilots = read(row.pilots, "the number of pilots")?;
            Ok((ce, Timestamp(row.planned_at), pilots))
        })
        .collect()
}

/// Pilots asked for of a CE within a minute.
#[derive(FromQueryResult)]
struct Asked {
    site: String,
    ce: String,
    planned_at: i64,
    pilots: i64,
}

async fn sites(db: &DatabaseConnection) -> Result<Vec<fairway_model::Site>, StoreError> {
    let rows = entity::site::Entity::find()
        .order_by_asc(entity::site::Column::Name)
        .all(db)
        .await?;
    rows.iter()
        .map(|row| from_json(&row.description, "site.description"))
        .collect()
}

async fn shares(db: &DatabaseConnection) -> Result<Vec<(Entity, Timestamp, Used)>, StoreError> {
    use entity::interval_usage::{Column, Entity};
    let rows = Entity::find()
        .order_by_asc(Column::Kind)
        .order_by_asc(Column::Name)
        .order_by_asc(Column::GroupName)
        .order_by_asc(Column::IntervalStart)
        .all(db)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What each account spent: in all, and on its last day.
async fn spent(db: &DatabaseConnection) -> Result<Vec<SpentRow>, StoreError> {
    const SQL: &str = "\
        SELECT spent.user_name, spent.group_name, CAST(total AS BIGINT) AS total, day, core_ms \
        FROM spent JOIN \
            (SELECT user_name, group_name, MAX(day) AS last, SUM(core_ms) AS total \
             FROM spent GROUP BY user_name, group_name) AS sums \
        ON sums.user_name = spent.user_name AND sums.group_name = spent.group_name \
            AND sums.last = spent.day \
        ORDER BY spent.user_name, spent.group_name";
    let select = Statement::from_string(db.get_database_backend(), SQL);
    let rows = Spent::find_by_statement(select).all(db).await?;
    rows.into_iter()
        .map(|row| {
            Ok(SpentRow {
                user: parse(&row.user_name, "spent.user_name")?,
                group: match row.group_name.as_str() {
                    "" => None,
                    name => Some(parse(name, "spent.group_name")?),
                },
                total_ms: read(row.total, "the sum of spent.core_ms")?,
                day: Timestamp(row.day),
                day_ms: read(row.core_ms, "spent.core_ms")?,
            })
        })
        .collect()
}

/// What an account spent.
#[derive(FromQueryResult)]
struct Spent {
    user_name: String,
    group_name: String,
    total: i64,
    day: i64,
    core_ms: i64,
}

/// Removes usage in intervals so old that no policy of the present interval's length can count
/// them. Done once a start: until then it is a row more for each user and interval.
pub(super) async fn forget_old_shares(db: &DatabaseConnection) -> Result<(), StoreError> {
    use entity::interval_usage::{Column, Entity};
    let newest: Option<Option<i64>> = Entity::find()
        .select_only()
        .column_as(Column::IntervalStart.max(), "newest")
        .into_tuple()
        .one(db)
        .await?;
    let Some(newest) = newest.flatten() else {
        return Ok(());
    };
    let policy = policy(db).await?.unwrap_or_default();
    let length_s = i64::try_from(fairway_sched::interval_s(&policy)).unwrap_or(i64::MAX);
    let span_ms = length_s.saturating_mul(i64::from(MAX_DEPTH_MAX) * 1000);
    let oldest = newest.saturating_sub(span_ms);
    Entity::delete_many()
        .filter(Column::IntervalStart.lt(oldest))
        .exec(db)
        .await?;
    Ok(())
}

/// One more than the largest number in use; 1 if there is none.
async fn next<E: EntityTrait>(db: &DatabaseConnection, key: E::Column) -> Result<u64, StoreError> {
    let largest: Option<Option<i64>> = E::find()
        .select_only()
        .expr(Func::max(Expr::col(key)))
        .into_tuple()
        .one(db)
        .await?;
    Ok(read::<i64, u64>(largest.flatten().unwrap_or(0), "the largest number")? + 1)
}

pub(super) async fn ended(
    db: &DatabaseConnection,
    selection: &Selection,
) -> Result<Vec<EndedTasks>, StoreError> {
    let mut by_job: BTreeMap<JobId, Vec<Task>> = BTreeMap::new();
    if let Selection::Job(id) | Selection::Row(id, ..) = selection {
        by_job.insert(*id, Vec::new());
    }
    for select in selected(selection) {
        for row in select.all(db).await? {
            let task = Task::try_from(row)?;
            by_job.entry(task.id.job).or_default().push(task);
        }
    }
    let ids: Vec<JobId> = by_job.keys().copied().collect();
    let mut counts = counts(db, &ids).await?;
    let mut ended = Vec::new();
    for (id, mut tasks) in by_job {
        let row = entity::job::Entity::find_by_id(int(id.0)).one(db).await?;
        let Some(row) = row else {
            continue;
        };
        let (job, spec, idempotency) = describe(row)?;
        if spec.depends().is_some() && spec.nodes().is_empty() {
            add_skipped(db, selection, &mut tasks).await?;
        }
        let states = counts.remove(&id).unwrap_or_default();
        // A compound job that waited for others in vain is taken up again as a whole.
        let as_a_whole = spec.depends().is_some() && states.contains_key(&TaskState::Skipped);
        if tasks.is_empty() && !as_a_whole {
            continue;
        }
        ended.push(EndedTasks {
            named: named::named(db, std::iter::once(&*spec)).await?,
            rows: ended_rows(db, id, &spec).await?,
            job,
            spec,
            idempotency,
            counts: states
                .into_iter()
                .filter(|(state, _)| state.is_final())
                .collect(),
            tasks,
        });
    }
    Ok(ended)
}

/// Adds the tasks of a job in a selection that were skipped, all of them: the job waits for others,
/// and nothing but a retry brings them back. Those that are chosen one by one are there.
async fn add_skipped(
    db: &DatabaseConnection,
    selection: &Selection,
    tasks: &mut Vec<Task>,
) -> Result<(), StoreError> {
    use entity::task::Column;
    let (job, from, to) = match selection {
        Selection::Job(job) => (job, 0, u32::MAX),
        Selection::Row(job, from, to) => (job, *from, *to),
        Selection::Tasks(_) => return Ok(()),
    };
    tasks.retain(|task| task.state != TaskState::Skipped);
    let skipped = entity::task::Entity::find()
        .filter(Column::JobId.eq(int(job.0)))
        .filter(Column::State.eq(TaskState::Skipped.name()))
        .filter(Column::Idx.gte(i64::from(from)))
        .filter(Column::Idx.lt(i64::from(to)))
        .order_by_asc(Column::Idx);
    for row in skipped.all(db).await? {
        tasks.push(Task::try_from(row)?);
    }
    Ok(())
}

/// The queries for what is selected and may be queued again, and for those that were skipped
/// and asked for by themselves, so that they can be told what is in their way.
fn selected(selection: &Selection) -> Vec<Select<entity::task::Entity>> {
    use entity::task::Column;
    let again = |state: TaskState| state.is_final() && state.may_become(TaskState::Waiting);
    let all = entity::task::Entity::find()
        .order_by_asc(Column::JobId)
        .order_by_asc(Column::Idx);
    let lost = all.clone().filter(Column::State.is_in(names(again)));
    match selection {
        Selection::Job(job) => vec![lost.filter(Column::JobId.eq(int(job.0)))],
        Selection::Row(job, from, to) => {
            let within = Column::JobId
                .eq(int(job.0))
                .and(Column::Idx.gte(i64::from(*from)))
                .and(Column::Idx.lt(i64::from(*to)));
            let skipped = all
                .filter(Column::State.eq(TaskState::Skipped.name()))
                .limit(SKIPPED_MAX);
            vec![lost.filter(within.clone()), skipped.filter(within)]
        }
        Selection::Tasks(tasks) => tasks
            .chunks(1000)
            .map(|tasks| {
                let keys = tasks
                    .iter()
                    .map(|task: &TaskId| (int(task.job.0), i64::from(task.index)));
                let key = Expr::tuple([Expr::col(Column::JobId), Expr::col(Column::Idx)]);
                let asked = names(|state| again(state) || state == TaskState::Skipped);
                let select = all.clone().filter(Column::State.is_in(asked));
                select.filter(key.in_tuples(keys))
            })
            .collect(),
    }
}
