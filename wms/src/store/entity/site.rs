//! Sites as their admins described them.

use fairway_model::Site;
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::to_json;

/// A site.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "site")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// `Site` as JSON.
    pub description: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of a site.
pub(crate) fn row(site: &Site) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        name: Set(site.name.to_string()),
        description: Set(to_json(site)?),
    })
}
