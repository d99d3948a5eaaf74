//! Pilots, with the tasks that each has now.

use std::collections::BTreeMap;

use fairway_api::public::{Page, PilotView, PilotsQuery};
use fairway_model::{JobId, Pilot, PilotId, PilotState, TaskId, TaskState};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::super::StoreError;
use super::super::entity::pilot::{Column, Entity, Model};
use super::super::entity::{int, read, task};

/// The one order of pilots: newest first.
const ORDER: &str = "-id";

pub(crate) async fn one(
    db: &DatabaseConnection,
    pilot: PilotId,
) -> Result<Option<PilotView>, StoreError> {
    let row = Entity::find_by_id(int(pilot.0)).one(db).await?;
    let mut tasks = live_tasks(db, row.as_slice()).await?;
    row.map(|row| view(row, &mut tasks)).transpose()
}

pub(crate) async fn page(
    db: &DatabaseConnection,
    query: &PilotsQuery,
) -> Result<Page<PilotView>, StoreError> {
    let limit = super::limit(query.limit)?;
    let mut select = Entity::find();
    if let Some(site) = &query.site {
        select = select.filter(Column::Site.eq(site.as_str()));
    }
    if let Some(states) = super::states(query.state.as_deref(), &PilotState::ALL, PilotState::name)?
    {
        select = select.filter(Column::State.is_in(states));
    }
    if let Some([id]) = super::key(query.cursor.as_deref(), ORDER)? {
        select = select.filter(Column::Id.lt(id));
    }
    let rows = select
        .order_by_desc(Column::Id)
        .limit(limit + 1)
        .all(db)
        .await?;
    let mut tasks = live_tasks(db, &rows).await?;
    super::page(
        rows,
        limit,
        |row| super::cursor(ORDER, &[row.id]),
        |rows| rows.into_iter().map(|row| view(row, &mut tasks)).collect(),
    )
}

type Tasks = BTreeMap<PilotId, Vec<TaskId>>;

async fn live_tasks(db: &DatabaseConnection, pilots: &[Model]) -> Result<Tasks, StoreError> {
    let live = TaskState::ALL.into_iter().filter(|state| state.is_live());
    let rows: Vec<(i64, i64, i64)> = task::Entity::find()
        .select_only()
        .columns([
            task::Column::PilotId,
            task::Column::JobId,
            task::Column::Idx,
        ])
        .filter(task::Column::PilotId.is_in(pilots.iter().map(|pilot| pilot.id)))
        .filter(task::Column::State.is_in(live.map(TaskState::name)))
        .order_by_asc(task::Column::JobId)
        .order_by_asc(task::Column::Idx)
        .into_tuple()
        .all(db)
        .await?;
    let mut tasks = Tasks::new();
    for (pilot, job, index) in rows {
        let task = TaskId::new(JobId(read(job, "task.job_id")?), read(index, "task.idx")?);
        let pilot = PilotId(read(pilot, "task.pilot_id")?);
        tasks.entry(pilot).or_default().push(task);
    }
    Ok(tasks)
}

fn view(row: Model, tasks: &mut Tasks) -> Result<PilotView, StoreError> {
    let pilot = Pilot::try_from(row)?;
    Ok(PilotView {
        tasks: tasks.remove(&pilot.id).unwrap_or_default(),
        id: pilot.id,
        ce: pilot.ce,
        state: pilot.state,
        since: pilot.since,
        planned_at: pilot.planned_at,
        batch_id: pilot.batch_id,
        resources: pilot.resources,
        host: pilot.host,
        started_at: pilot.started_at,
        ends_at: pilot.ends_at,
        end: pilot.end,
    })
}
