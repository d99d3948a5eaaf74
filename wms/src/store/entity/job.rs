//! Jobs.

use fairway_model::{Job, JobId, Timestamp};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{int, parse, read};

/// A job with its JDL and its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub name: String,
    pub owner: String,
    pub group_name: Option<String>,
    pub submitted_at: i64,
    pub ended_at: Option<i64>,
    pub task_count: i64,
    pub sandbox: Option<String>,
    pub idempotency_key: Option<String>,
    pub request_hash: Option<String>,
    pub jdl: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A job without its JDL, which may be long and which lists do not show.
#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct Head {
    pub id: i64,
    pub name: String,
    pub owner: String,
    pub group_name: Option<String>,
    pub submitted_at: i64,
    pub ended_at: Option<i64>,
    pub task_count: i64,
}

impl Model {
    /// The idempotency key with the hash of its request.
    pub(crate) fn idempotency(&self) -> Option<(String, String)> {
        self.idempotency_key.clone().zip(self.request_hash.clone())
    }
}

impl TryFrom<Model> for Job {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: JobId(read(row.id, "job.id")?),
            name: row.name,
            owner: parse(&row.owner, "job.owner")?,
            group: row
                .group_name
                .map(|name| parse(&name, "job.group_name"))
                .transpose()?,
            submitted_at: Timestamp(row.submitted_at),
            jdl: row.jdl,
            task_count: read(row.task_count, "job.task_count")?,
            sandbox: row.sandbox,
        })
    }
}

/// The row of a new job.
pub(crate) fn row(job: &Job, idempotency: Option<&(String, String)>) -> ActiveModel {
    ActiveModel {
        id: Set(int(job.id.0)),
        name: Set(job.name.clone()),
        owner: Set(job.owner.to_string()),
        group_name: Set(job.group.as_ref().map(ToString::to_string)),
        submitted_at: Set(job.submitted_at.0),
        ended_at: Set(None),
        task_count: Set(job.task_count.into()),
        sandbox: Set(job.sandbox.clone()),
        idempotency_key: Set(idempotency.map(|(key, _)| key.clone())),
        request_hash: Set(idempotency.map(|(_, hash)| hash.clone())),
        jdl: Set(job.jdl.clone()),
    }
}
