//! The one row about the store itself.

use sea_orm::entity::prelude::*;

/// The id of the one row.
pub(crate) const ID: i64 = 1;

/// What the store knows of itself.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "meta")]
pub struct Model {
    /// Always [`ID`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// Eight random hex digits, made with the store.
    pub instance: String,
    /// Grows by one with every leader; only the newest may write.
    pub epoch: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
