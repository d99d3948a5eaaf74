//! What each user used in each interval.

use fairway_model::{Timestamp, UserName};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::int;

/// One user's usage in one interval.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "share")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub interval_start: i64,
    pub tasks_started: i64,
    pub core_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of a share.
pub(crate) fn row(
    user: &UserName,
    interval: Timestamp,
    tasks_started: u64,
    core_ms: u64,
) -> ActiveModel {
    ActiveModel {
        user_name: Set(user.to_string()),
        interval_start: Set(interval.0),
        tasks_started: Set(int(tasks_started)),
        core_ms: Set(int(core_ms)),
    }
}
