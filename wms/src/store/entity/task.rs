//! Tasks as they stand now.

use fairway_model::{Attempt, JobId, PilotId, Task, TaskId, TaskState, Timestamp};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{from_json, int, named, read, to_json};

/// A task as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    pub state: String,
    pub since: i64,
    pub attempt: i64,
    pub pilot_id: Option<i64>,
    pub leased_at: Option<i64>,
    pub started_at: Option<i64>,
    pub deep_failures: i64,
    pub shallow_failures: i64,
    pub losses: i64,
    pub hold_on_return: bool,
    /// `AttemptEnd` as JSON.
    pub last_end: Option<String>,
    /// `NULL` is 0: no attempt, or one of the version before.
    pub cores: Option<i64>,
    /// Ids of pilots as JSON; `NULL` is none.
    pub seats: Option<String>,
    /// `Preemption` as JSON.
    pub preemption_json: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The state that a column holds.
pub(crate) fn state(name: &str) -> Result<TaskState, StoreError> {
    named(TaskState::from_name(name), name, "task.state")
}

impl TryFrom<Model> for Task {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: TaskId::new(
                JobId(read(row.job_id, "task.job_id")?),
                read(row.idx, "task.idx")?,
            ),
            state: state(&row.state)?,
            since: Timestamp(row.since),
            attempt: Attempt(read(row.attempt, "task.attempt")?),
            pilot: row
                .pilot_id
                .map(|id| read(id, "task.pilot_id").map(PilotId))
                .transpose()?,
            leased_at: row.leased_at.map(Timestamp),
            started_at: row.started_at.map(Timestamp),
            deep_failures: read(row.deep_failures, "task.deep_failures")?,
            shallow_failures: read(row.shallow_failures, "task.shallow_failures")?,
            losses: read(row.losses, "task.losses")?,
            hold_on_return: row.hold_on_return,
            last_end: row
                .last_end
                .map(|text| from_json(&text, "task.last_end"))
                .transpose()?,
            cores: read(row.cores.unwrap_or(0), "task.cores")?,
            seats: match row.seats {
                Some(text) => from_json(&text, "task.seats")?,
                None => Vec::new(),
            },
            preemption: row
                .preemption_json
                .map(|text| from_json(&text, "task.preemption_json"))
                .transpose()?,
        })
    }
}

/// The row of a task.
pub(crate) fn row(task: &Task) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        job_id: Set(int(task.id.job.0)),
        idx: Set(task.id.index.into()),
        state: Set(task.state.name().to_owned()),
        since: Set(task.since.0),
        attempt: Set(task.attempt.0.into()),
        pilot_id: Set(task.pilot.map(|pilot| int(pilot.0))),
        leased_at: Set(task.leased_at.map(|at| at.0)),
        started_at: Set(task.started_at.map(|at| at.0)),
        deep_failures: Set(task.deep_failures.into()),
        shallow_failures: Set(task.shallow_failures.into()),
        losses: Set(task.losses.into()),
        hold_on_return: Set(task.hold_on_return),
        last_end: Set(task.last_end.as_ref().map(to_json).transpose()?),
        cores: Set((task.cores > 0).then(|| task.cores.into())),
        seats: Set(match &*task.seats {
            [] => None,
            seats => Some(to_json(&seats)?),
        }),
        preemption_json: Set(task.preemption.as_ref().map(to_json).transpose()?),
    })
}
