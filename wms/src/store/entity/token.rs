//! Tokens; of their secrets only the hash.

use fairway_model::{Principal, Role, Timestamp};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::{StoreError, StoredToken};
use super::{from_json, named, parse, to_json};

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub hash: String,
    pub name: String,
    pub group_name: Option<String>,
    pub role: String,
    /// The sites' names as JSON.
    pub sites: String,
    pub created_at: i64,
    pub expires_at: i64,
    pub revoked_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for StoredToken {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            hash: row.hash,
            principal: Principal {
                name: parse(&row.name, "token.name")?,
                group: row
                    .group_name
                    .map(|name| parse(&name, "token.group_name"))
                    .transpose()?,
                role: named(Role::from_name(&row.role), &row.role, "token.role")?,
                sites: from_json(&row.sites, "token.sites")?,
            },
            created_at: Timestamp(row.created_at),
            expires_at: Timestamp(row.expires_at),
            revoked_at: row.revoked_at.map(Timestamp),
        })
    }
}

/// The row of a token.
pub(crate) fn row(token: &StoredToken) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: Set(token.id.clone()),
        hash: Set(token.hash.clone()),
        name: Set(token.principal.name.to_string()),
        group_name: Set(token.principal.group.as_ref().map(ToString::to_string)),
        role: Set(token.principal.role.name().to_owned()),
        sites: Set(to_json(&token.principal.sites)?),
        created_at: Set(token.created_at.0),
        expires_at: Set(token.expires_at.0),
        revoked_at: Set(token.revoked_at.map(|at| at.0)),
    })
}
