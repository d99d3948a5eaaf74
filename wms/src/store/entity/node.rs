//! Nodes of compound jobs. Written once, with their job.

use fairway_jdl::JobNode;
use fairway_model::JobId;
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{int, to_json};

/// A node: a row of its job's tasks.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "node")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    pub name: String,
    pub first_task: i64,
    pub task_count: i64,
    /// The `idx` of each of its parents as JSON.
    pub parents: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of a new job's node.
pub(crate) fn row(job: JobId, place: usize, node: &JobNode) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        job_id: Set(int(job.0)),
        idx: Set(int(place as u64)),
        name: Set(node.name.to_string()),
        first_task: Set(node.tasks.start.into()),
        task_count: Set(i64::from(node.tasks.end) - i64::from(node.tasks.start)),
        parents: Set(to_json(&node.parents)?),
    })
}
