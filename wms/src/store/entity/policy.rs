//! The policy in force: one row, or none until an operator sets one.

use fairway_model::Policy;
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::to_json;

/// The id of the one row.
pub(crate) const ID: i64 = 1;

/// The policy.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "policy")]
pub struct Model {
    /// Always [`ID`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// `Policy` as JSON.
    pub description: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of the policy.
pub(crate) fn row(policy: &Policy) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: Set(ID),
        description: Set(to_json(policy)?),
    })
}
