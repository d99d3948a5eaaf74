//! Nodes of compound jobs, with how many of their tasks are in each state.

use std::collections::BTreeMap;
use std::ops::Range;

use fairway_api::public::{NodeView, NodesQuery, Page};
use fairway_model::{JobId, TaskState};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, EntityTrait as _, FromQueryResult,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
};

use super::super::StoreError;
use super::super::entity::node::{Column, Entity, Model};
use super::super::entity::{from_json, int, job, read, task};

/// The one order of nodes: that of their tasks.
const ORDER: &str = "idx";

/// A task with the name of its node.
#[derive(FromQueryResult)]
struct Named {
    job_id: i64,
    idx: i64,
    name: Option<String>,
}

/// The node of each of these tasks; tasks of jobs that are not compound are left out.
pub(crate) async fn of_tasks(
    db: &DatabaseConnection,
    tasks: impl IntoIterator<Item = (i64, i64)>,
) -> Result<BTreeMap<(i64, i64), String>, StoreError> {
    let tasks: Vec<(i64, i64)> = tasks.into_iter().collect();
    if tasks.is_empty() {
        return Ok(BTreeMap::new());
    }
    // The last node that begins at the task or before it: one step in the index.
    let of = |column| Expr::col((task::Entity, column));
    let name = Query::select()
        .column(Column::Name)
        .from(Entity)
        .and_where(Expr::col((Entity, Column::JobId)).eq(of(task::Column::JobId)))
        .and_where(Expr::col((Entity, Column::FirstTask)).lte(of(task::Column::Idx)))
        .order_by(Column::FirstTask, sea_orm::Order::Desc)
        .limit(1)
        .to_owned();
    let key = Expr::tuple([of(task::Column::JobId), of(task::Column::Idx)]);
    let select = Query::select()
        .columns([task::Column::JobId, task::Column::Idx])
        .expr_as(Expr::from(name), "name")
        .from(task::Entity)
        .and_where(key.in_tuples(tasks))
        .to_owned();
    let mut names = BTreeMap::new();
    for row in db.query_all(&select).await? {
        let Named { job_id, idx, name } = Named::from_query_result(&row, "")?;
        names.extend(name.map(|name| ((job_id, idx), name)));
    }
    Ok(names)
}

/// How many nodes each of these jobs has; those that are not compound are left out.
pub(crate) async fn counts(
    db: &DatabaseConnection,
    jobs: &[JobId],
) -> Result<BTreeMap<JobId, u32>, StoreError> {
    if jobs.is_empty() {
        return Ok(BTreeMap::new());
    }
    // The last place is one step in the index of each job; counting them would be a walk.
    let last = Query::select()
        .expr(Expr::col((Entity, Column::Idx)).max())
        .from(Entity)
        .and_where(Expr::col((Entity, Column::JobId)).equals((job::Entity, job::Column::Id)))
        .to_owned();
    let select = Query::select()
        .column(job::Column::Id)
        .expr_as(Expr::from(last), "last")
        .from(job::Entity)
        .and_where(job::Column::Id.is_in(jobs.iter().map(|job| int(job.0))))
        .to_owned();
    let mut counts = BTreeMap::new();
    for row in db.query_all(&select).await? {
        let Last { id, last } = Last::from_query_result(&row, "")?;
        if let Some(last) = last {
            counts.insert(JobId(read(id, "job.id")?), read(last + 1, "node.idx")?);
        }
    }
    Ok(counts)
}

/// A job with the place of its last node, if it has nodes.
#[derive(FromQueryResult)]
struct Last {
    id: i64,
    last: Option<i64>,
}

/// The tasks of a node; `None` if the job has no such node.
pub(crate) async fn tasks(
    db: &DatabaseConnection,
    job: JobId,
    name: &str,
) -> Result<Option<Range<u32>>, StoreError> {
    let row: Option<(i64, i64)> = Entity::find()
        .select_only()
        .columns([Column::FirstTask, Column::TaskCount])
        .filter(Column::JobId.eq(int(job.0)))
        .filter(Column::Name.eq(name))
        .into_tuple()
        .one(db)
        .await?;
    row.map(|(first, count)| range(first, count)).transpose()
}

fn range(first: i64, count: i64) -> Result<Range<u32>, StoreError> {
    let end = read(first + count, "node.task_count")?;
    Ok(read(first, "node.first_task")?..end)
}

/// The names of all nodes of a job with their tasks, in order.
pub(crate) async fn names(
    db: &DatabaseConnection,
    job: JobId,
) -> Result<Vec<(Range<u32>, String)>, StoreError> {
    let rows: Vec<(i64, i64, String)> = Entity::find()
        .select_only()
        .columns([Column::FirstTask, Column::TaskCount, Column::Name])
        .filter(Column::JobId.eq(int(job.0)))
        .order_by_asc(Column::Idx)
        .into_tuple()
        .all(db)
        .await?;
    rows.into_iter()
        .map(|(first, count, name)| Ok((range(first, count)?, name)))
        .collect()
}

pub(crate) async fn one(
    db: &DatabaseConnection,
    job: JobId,
    name: &str,
) -> Result<Option<NodeView>, StoreError> {
    let row = Entity::find()
        .filter(Column::JobId.eq(int(job.0)))
        .filter(Column::Name.eq(name))
        .one(db)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let rows = [row];
    let mut states = states(db, job, &rows).await?;
    let parents = parents(db, job, &rows).await?;
    let [row] = rows;
    let states = states.remove(&row.idx).unwrap_or_default();
    view(row, states, &parents).map(Some)
}

pub(crate) async fn page(
    db: &DatabaseConnection,
    job: JobId,
    query: &NodesQuery,
) -> Result<Page<NodeView>, StoreError> {
    let limit = super::limit(query.limit)?;
    let mut select = Entity::find().filter(Column::JobId.eq(int(job.0)));
    if let Some([idx]) = super::key(query.cursor.as_deref(), ORDER)? {
        select = select.filter(Column::Idx.gt(idx));
    }
    let rows = select
        .order_by_asc(Column::Idx)
        .limit(limit + 1)
        .all(db)
        .await?;
    let mut states = states(db, job, &rows).await?;
    let parents = parents(db, job, &rows).await?;
    super::page(
        rows,
        limit,
        |row| super::cursor(ORDER, &[row.idx]),
        |rows| {
            let view = |row: Model| {
                let states = states.remove(&row.idx).unwrap_or_default();
                view(row, states, &parents)
            };
            rows.into_iter().map(view).collect()
        },
    )
}

/// How many tasks of each of these nodes are in each state.
async fn states(
    db: &DatabaseConnection,
    job: JobId,
    nodes: &[Model],
) -> Result<BTreeMap<i64, BTreeMap<TaskState, u32>>, StoreError> {
    const SQL: &str = "\
        SELECT node.idx, task.state, COUNT(*) AS tasks \
        FROM node JOIN task ON task.job_id = node.job_id \
            AND task.idx >= node.first_task \
            AND task.idx < node.first_task + node.task_count \
        WHERE node.job_id = $1 AND node.idx >= $2 AND node.idx <= $3 \
        GROUP BY node.idx, task.state";
    #[derive(FromQueryResult)]
    struct Counted {
        idx: i64,
        state: String,
        tasks: i64,
    }
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else {
        return Ok(BTreeMap::new());
    };
    let values = [int(job.0).into(), first.idx.into(), last.idx.into()];
    let select = Statement::from_sql_and_values(db.get_database_backend(), SQL, values);
    let mut states: BTreeMap<i64, BTreeMap<TaskState, u32>> = BTreeMap::new();
    for row in Counted::find_by_statement(select).all(db).await? {
        let of_node = states.entry(row.idx).or_default();
        of_node.insert(task::state(&row.state)?, read(row.tasks, "tasks")?);
    }
    Ok(states)
}

fn places(row: &Model) -> Result<Vec<i64>, StoreError> {
    from_json(&row.parents, "node.parents")
}

/// The names of all parents of these nodes.
async fn parents(
    db: &DatabaseConnection,
    job: JobId,
    nodes: &[Model],
) -> Result<BTreeMap<i64, String>, StoreError> {
    let mut wanted = Vec::new();
    for row in nodes {
        wanted.extend(places(row)?);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let mut names = BTreeMap::new();
    for wanted in wanted.chunks(1000) {
        let rows: Vec<(i64, String)> = Entity::find()
            .select_only()
            .columns([Column::Idx, Column::Name])
            .filter(Column::JobId.eq(int(job.0)))
            .filter(Column::Idx.is_in(wanted.iter().copied()))
            .into_tuple()
            .all(db)
            .await?;
        names.extend(rows);
    }
    Ok(names)
}

fn view(
    row: Model,
    states: BTreeMap<TaskState, u32>,
    names: &BTreeMap<i64, String>,
) -> Result<NodeView, StoreError> {
    let parents = places(&row)?;
    let named = parents.iter().filter_map(|place| names.get(place));
    Ok(NodeView {
        first: read(row.first_task, "node.first_task")?,
        tasks: read(row.task_count, "node.task_count")?,
        state: NodeView::state_of(&states),
        states,
        parents: named.cloned().collect(),
        name: row.name,
    })
}
