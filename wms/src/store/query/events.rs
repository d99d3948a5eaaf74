//! The ledger, oldest first.

use fairway_api::public::{EventsQuery, Page};
use fairway_model::{Event, EventKind, TaskId, UserName};
use sea_orm::sea_query::{ExprTrait as _, Query, SelectStatement, UnionType};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::super::StoreError;
use super::super::entity::event::{Column, Entity};
use super::super::entity::int;
use super::tasks::jobs_of;

/// The one order of the ledger.
const ORDER: &str = "seq";

pub(crate) async fn page(
    db: &DatabaseConnection,
    query: &EventsQuery,
    owner: Option<&UserName>,
) -> Result<Page<Event>, StoreError> {
    let limit = super::limit(query.limit)?;
    let mut select = Entity::find();
    if let Some(job) = query.job {
        select = select.filter(Column::JobId.eq(int(job.0)));
    }
    if let Some(task) = query.task {
        select = select.filter(Column::Seq.in_subquery(about(task)));
    }
    if let Some(pilot) = query.pilot {
        select = select.filter(Column::PilotId.eq(int(pilot.0)));
    }
    if let Some(owner) = owner {
        select = select.filter(Column::JobId.in_subquery(jobs_of(owner)));
    }
    if let Some([seq]) = super::key(query.cursor.as_deref(), ORDER)? {
        select = select.filter(Column::Seq.gt(seq));
    }
    let rows = select
        .order_by_asc(Column::Seq)
        .limit(limit + 1)
        .all(db)
        .await?;
    super::page(
        rows,
        limit,
        |row| super::cursor(ORDER, &[row.seq]),
        |rows| rows.into_iter().map(Event::try_from).collect(),
    )
}

/// The last events of a task, and of its job as a whole, oldest first; at most `most`.
pub(crate) async fn last_of(
    db: &DatabaseConnection,
    task: TaskId,
    most: u64,
) -> Result<Vec<Event>, StoreError> {
    let rows = Entity::find()
        .filter(Column::Seq.in_subquery(about(task)))
        .order_by_desc(Column::Seq)
        .limit(most)
        .all(db)
        .await?;
    rows.into_iter().rev().map(Event::try_from).collect()
}

/// Why the task was moved last by what it depends on, if it ever was.
pub(crate) async fn last_move(
    db: &DatabaseConnection,
    task: TaskId,
) -> Result<Option<String>, StoreError> {
    // What a person asked for lies in between at most a few times.
    const LOOK_BACK: u64 = 100;
    let index = i64::from(task.index);
    let rows = Entity::find()
        .filter(Column::JobId.eq(int(task.job.0)))
        .filter(Column::Idx.is_null())
        .filter(Column::RangeFrom.lte(index))
        .filter(Column::RangeTo.gt(index))
        .order_by_desc(Column::Seq)
        .limit(LOOK_BACK)
        .all(db)
        .await?;
    for row in rows {
        if let EventKind::TasksMoved { because, .. } = Event::try_from(row)?.kind {
            return Ok(Some(because));
        }
    }
    Ok(None)
}

/// The numbers of the events of the task itself, of its job as a whole, and of ranges of its
/// job's tasks with it. Two selections, because each of them is found by the index; of both in
/// one condition the database would make a walk through all events of the job.
fn about(task: TaskId) -> SelectStatement {
    let index = i64::from(task.index);
    let of_job = Query::select()
        .column(Column::Seq)
        .from(Entity)
        .and_where(Column::JobId.eq(int(task.job.0)))
        .to_owned();
    let covers = Column::RangeFrom.lte(index).and(Column::RangeTo.gt(index));
    let whole = of_job
        .clone()
        .and_where(Column::Idx.is_null())
        .and_where(Column::RangeFrom.is_null().or(covers))
        .to_owned();
    of_job
        .clone()
        .and_where(Column::Idx.eq(index))
        .union(UnionType::All, whole)
        .to_owned()
}
