//! The append-only ledger.

use fairway_model::{Event, EventKind, Timestamp};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{from_json, int, read, to_json};

/// Something that happened. Beside the body stands only what events are looked for by.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub at: i64,
    /// The job that it is about, as a whole or in one task.
    pub job_id: Option<i64>,
    /// The task within the job, if it is about one.
    pub idx: Option<i64>,
    /// The first task and one past the last, if it is about a row of tasks.
    pub range_from: Option<i64>,
    pub range_to: Option<i64>,
    pub pilot_id: Option<i64>,
    /// `EventKind` as JSON.
    pub body: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Event {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            seq: read(row.seq, "event.seq")?,
            at: Timestamp(row.at),
            kind: from_json(&row.body, "event.body")?,
        })
    }
}

/// The row of an event.
pub(crate) fn row(event: &Event) -> Result<ActiveModel, StoreError> {
    let task = event.kind.task();
    let range = match event.kind {
        EventKind::TasksChanged { from, to, .. } | EventKind::TasksMoved { from, to, .. } => {
            Some((from, to))
        }
        _ => None,
    };
    let job = event.kind.job().or(task.map(|task| task.job));
    Ok(ActiveModel {
        seq: Set(int(event.seq)),
        at: Set(event.at.0),
        job_id: Set(job.map(|job| int(job.0))),
        idx: Set(task.map(|task| task.index.into())),
        range_from: Set(range.map(|(from, _)| from.into())),
        range_to: Set(range.map(|(_, to)| to.into())),
        pilot_id: Set(event.kind.pilot().map(|pilot| int(pilot.0))),
        body: Set(to_json(&event.kind)?),
    })
}
