//! Accounting: one row for each ended attempt.

use fairway_model::UsageRecord;
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{int, to_json};

/// What one ended attempt used.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i64,
    pub user_name: String,
    pub group_name: Option<String>,
    pub site: String,
    pub ce: String,
    pub pilot_id: i64,
    pub cores: i64,
    pub leased_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: i64,
    pub wall_ms: i64,
    pub cpu_ms: i64,
    pub memory_peak_kib: i64,
    pub success: bool,
    /// `AttemptEnd` as JSON.
    pub end_json: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of a usage record.
pub(crate) fn row(usage: &UsageRecord) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        job_id: Set(int(usage.task.job.0)),
        idx: Set(usage.task.index.into()),
        attempt: Set(usage.attempt.0.into()),
        user_name: Set(usage.user.to_string()),
        group_name: Set(usage.group.as_ref().map(ToString::to_string)),
        site: Set(usage.ce.site.to_string()),
        ce: Set(usage.ce.ce.to_string()),
        pilot_id: Set(int(usage.pilot.0)),
        cores: Set(usage.cores.into()),
        leased_at: Set(usage.leased_at.0),
        started_at: Set(usage.started_at.map(|at| at.0)),
        ended_at: Set(usage.ended_at.0),
        wall_ms: Set(int(usage.wall_ms)),
        cpu_ms: Set(int(usage.cpu_ms)),
        memory_peak_kib: Set(int(usage.memory_peak_kib)),
        success: Set(usage.end.is_success()),
        end_json: Set(to_json(&usage.end)?),
    })
}
