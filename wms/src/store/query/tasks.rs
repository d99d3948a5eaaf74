//! Tasks, with their owner and the place of their last attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use fairway_api::public::{Page, TaskView, TasksQuery};
use fairway_model::{CeId, JobId, Task, TaskId, TaskState, UserName};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

use super::super::StoreError;
use super::super::entity::task::{Column, Entity, Model};
use super::super::entity::{int, job, parse, pilot, read};

/// The ids of an owner's jobs.
pub(super) fn jobs_of(owner: &UserName) -> SelectStatement {
    Query::select()
        .column(job::Column::Id)
        .from(job::Entity)
        .and_where(job::Column::Owner.eq(owner.as_str()))
        .to_owned()
}

pub(crate) async fn one(
    db: &DatabaseConnection,
    task: TaskId,
) -> Result<Option<TaskView>, StoreError> {
    let row = Entity::find_by_id((int(task.job.0), task.index.into()))
        .one(db)
        .await?;
    let around = Around::load(db, row.as_slice()).await?;
    row.map(|row| around.view(row)).transpose()
}

pub(crate) async fn page(
    db: &DatabaseConnection,
    query: &TasksQuery,
    owner: Option<&UserName>,
) -> Result<Page<TaskView>, StoreError> {
    let limit = super::limit(query.limit)?;
    let order = super::order(query.sort.as_deref(), &["id", "-id", "since", "-since"])?;
    let mut select = Entity::find();
    if let Some(job) = query.job {
        select = select.filter(Column::JobId.eq(int(job.0)));
    }
    if let Some(node) = &query.node {
        let tasks = node_tasks(db, query.job, node).await?;
        select = select
            .filter(Column::Idx.gte(i64::from(tasks.start)))
            .filter(Column::Idx.lt(i64::from(tasks.end)));
    }
    if let Some(pilot) = query.pilot {
        select = select.filter(Column::PilotId.eq(int(pilot.0)));
    }
    if let Some(states) = super::states(query.state.as_deref(), &TaskState::ALL, TaskState::name)? {
        select = select.filter(Column::State.is_in(states));
    }
    for owner in owner.into_iter().chain(&query.owner) {
        select = select.filter(Column::JobId.in_subquery(jobs_of(owner)));
    }
    let rows = ordered(select, order, query.cursor.as_deref())?
        .limit(limit + 1)
        .all(db)
        .await?;
    let around = Around::load(db, &rows).await?;
    let behind = |row: &Model| match order {
        "since" | "-since" => super::cursor(order, &[row.since, row.job_id, row.idx]),
        _ => super::cursor(order, &[row.job_id, row.idx]),
    };
    super::page(rows, limit, behind, |rows| {
        rows.into_iter().map(|row| around.view(row)).collect()
    })
}

/// The node of each of these tasks, where there is one.
async fn nodes(
    db: &DatabaseConnection,
    rows: &[Model],
) -> Result<BTreeMap<(i64, i64), String>, StoreError> {
    let jobs: BTreeSet<i64> = rows.iter().map(|row| row.job_id).collect();
    let jobs: Vec<JobId> = jobs
        .into_iter()
        .map(|job| read(job, "task.job_id").map(JobId))
        .collect::<Result<_, _>>()?;
    let compound = super::nodes::counts(db, &jobs).await?;
    let tasks = rows.iter().map(|row| (row.job_id, row.idx));
    let tasks = tasks.filter(|(job, _)| compound.keys().any(|it| int(it.0) == *job));
    super::nodes::of_tasks(db, tasks).await
}

/// The tasks of the node that a query asks for.
async fn node_tasks(
    db: &DatabaseConnection,
    job: Option<JobId>,
    node: &str,
) -> Result<Range<u32>, StoreError> {
    let Some(job) = job else {
        return Err(StoreError::BadQuery(
            "a node is a node of a job: give `job` too".into(),
        ));
    };
    let tasks = super::nodes::tasks(db, job, node).await?;
    tasks.ok_or_else(|| StoreError::BadQuery(format!("job {job} has no node `{node}`")))
}

/// The rows behind the cursor, in order.
fn ordered(
    select: Select<Entity>,
    order: &str,
    cursor: Option<&str>,
) -> Result<Select<Entity>, StoreError> {
    let mut columns = vec![Column::JobId, Column::Idx];
    let after: Option<Vec<i64>> = if order.ends_with("since") {
        columns.insert(0, Column::Since);
        super::key::<3>(cursor, order)?.map(Vec::from)
    } else {
        super::key::<2>(cursor, order)?.map(Vec::from)
    };
    let descending = order.starts_with('-');
    let mut select = select;
    if let Some(after) = after {
        let key = Expr::tuple(columns.iter().map(|column| Expr::col(*column)));
        let after = Expr::tuple(after.into_iter().map(Expr::value));
        select = select.filter(if descending {
            key.lt(after)
        } else {
            key.gt(after)
        });
    }
    for column in columns {
        select = if descending {
            select.order_by_desc(column)
        } else {
            select.order_by_asc(column)
        };
    }
    Ok(select)
}

/// What a view of tasks tells that stands in other tables.
struct Around {
    owners: BTreeMap<i64, String>,
    places: BTreeMap<i64, (String, String)>,
    /// Of tasks of compound jobs.
    nodes: BTreeMap<(i64, i64), String>,
}

impl Around {
    async fn load(db: &DatabaseConnection, rows: &[Model]) -> Result<Self, StoreError> {
        let mut jobs: Vec<i64> = rows.iter().map(|row| row.job_id).collect();
        jobs.dedup();
        let owners: Vec<(i64, String)> = job::Entity::find()
            .select_only()
            .columns([job::Column::Id, job::Column::Owner])
            .filter(job::Column::Id.is_in(jobs))
            .into_tuple()
            .all(db)
            .await?;
        let mut pilots: Vec<i64> = rows.iter().filter_map(|row| row.pilot_id).collect();
        pilots.sort_unstable();
        pilots.dedup();
        let places: Vec<(i64, String, String)> = pilot::Entity::find()
            .select_only()
            .columns([pilot::Column::Id, pilot::Column::Site, pilot::Column::Ce])
            .filter(pilot::Column::Id.is_in(pilots))
            .into_tuple()
            .all(db)
            .await?;
        Ok(Self {
            nodes: nodes(db, rows).await?,
            owners: owners.into_iter().collect(),
            places: places
                .into_iter()
                .map(|(id, site, ce)| (id, (site, ce)))
                .collect(),
        })
    }

    fn view(&self, row: Model) -> Result<TaskView, StoreError> {
        let owner = self.owners.get(&row.job_id).ok_or_else(|| {
            StoreError::Schema(format!("tasks of job {} without the job", row.job_id))
        })?;
        let owner: UserName = parse(owner, "job.owner")?;
        let place = row.pilot_id.and_then(|id| self.places.get(&id));
        let ce: Option<CeId> = place.map(|(site, ce)| pilot::ce(site, ce)).transpose()?;
        let node = self.nodes.get(&(row.job_id, row.idx)).cloned();
        let task = Task::try_from(row)?;
        Ok(TaskView {
            id: task.id,
            node,
            state: task.state,
            since: task.since,
            owner,
            attempt: task.attempt,
            ce,
            pilot: task.pilot,
            cores: (task.cores > 0).then_some(task.cores),
            suspended_at: task.suspended_since(),
            seats: task.seats,
            leased_at: task.leased_at,
            started_at: task.started_at,
            preemptions: task.preemption.map_or(0, |it| it.times),
            detail: task.last_end.as_ref().map(ToString::to_string),
            last_end: task.last_end,
        })
    }
}
