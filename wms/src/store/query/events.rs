//! The ledger, oldest first.

use fairway_api::public::{EventsQuery, Page};
use fairway_model::{Event, TaskId, UserName};
use sea_orm::{
    ColumnTrait as _, Condition, DatabaseConnection, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
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
        select = select.filter(about(task));
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

/// Events of the task itself, of its job as a whole, and of ranges of its job's tasks with it.
fn about(task: TaskId) -> Condition {
    let index = i64::from(task.index);
    let whole = Condition::all().add(Column::Idx.is_null()).add(
        Condition::any().add(Column::RangeFrom.is_null()).add(
            Condition::all()
                .add(Column::RangeFrom.lte(index))
                .add(Column::RangeTo.gt(index)),
        ),
    );
    Condition::all()
        .add(Column::JobId.eq(int(task.job.0)))
        .add(Condition::any().add(Column::Idx.eq(index)).add(whole))
}
