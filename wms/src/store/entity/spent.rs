//! What each account spent on each day.

use fairway_model::{GroupName, Timestamp, UserName};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::int;

/// What one account spent on one day.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "spent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_name: String,
    /// Empty for none.
    #[sea_orm(primary_key, auto_increment = false)]
    pub group_name: String,
    /// When the day began, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    pub core_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of a day.
pub(crate) fn row(
    user: &UserName,
    group: Option<&GroupName>,
    day: Timestamp,
    core_ms: u64,
) -> ActiveModel {
    ActiveModel {
        user_name: Set(user.to_string()),
        group_name: Set(group.map(ToString::to_string).unwrap_or_default()),
        day: Set(day.0),
        core_ms: Set(int(core_ms)),
    }
}
