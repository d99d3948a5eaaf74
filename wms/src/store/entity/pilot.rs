//! Pilots as they stand now.

use fairway_model::{
    CeId, CustomResources, Pilot, PilotId, PilotOwner, PilotState, Resources, Timestamp,
};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{from_json, int, named, parse, read, to_json};

/// A pilot as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pilot")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub site: String,
    pub ce: String,
    pub state: String,
    pub since: i64,
    pub planned_at: i64,
    pub batch_id: Option<String>,
    pub cores: i64,
    pub memory_mib: i64,
    pub gpus: i64,
    pub walltime_s: i64,
    pub bootstrap_hash: String,
    pub session_hash: Option<String>,
    pub nonce_hash: Option<String>,
    pub host: Option<String>,
    pub started_at: Option<i64>,
    pub ends_at: Option<i64>,
    /// `PilotEnd` as JSON.
    pub end_json: Option<String>,
    /// `PilotOwner` as JSON; `NULL` is everybody's.
    pub owner_json: Option<String>,
    /// The first pilot of its allocation; `NULL` is itself.
    pub allocation: Option<i64>,
    /// `CustomResources` as JSON; `NULL` is none.
    pub custom_json: Option<String>,
    /// `NULL` is false.
    pub whole_node: Option<bool>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The CE of two columns.
pub(crate) fn ce(site: &str, ce: &str) -> Result<CeId, StoreError> {
    Ok(CeId {
        site: parse(site, "site")?,
        ce: parse(ce, "ce")?,
    })
}

impl TryFrom<Model> for Pilot {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: PilotId(read(row.id, "pilot.id")?),
            ce: ce(&row.site, &row.ce)?,
            owner: match row.owner_json {
                Some(text) => from_json(&text, "pilot.owner_json")?,
                None => PilotOwner::Shared,
            },
            allocation: PilotId(read(row.allocation.unwrap_or(row.id), "pilot.allocation")?),
            state: named(PilotState::from_name(&row.state), &row.state, "pilot.state")?,
            since: Timestamp(row.since),
            planned_at: Timestamp(row.planned_at),
            batch_id: row.batch_id,
            resources: Resources {
                cores: read(row.cores, "pilot.cores")?,
                memory_mib: read(row.memory_mib, "pilot.memory_mib")?,
                gpus: read(row.gpus, "pilot.gpus")?,
            },
            custom: match row.custom_json {
                Some(text) => from_json(&text, "pilot.custom_json")?,
                None => CustomResources::default(),
            },
            whole_node: row.whole_node.unwrap_or(false),
            walltime_s: read(row.walltime_s, "pilot.walltime_s")?,
            bootstrap_hash: row.bootstrap_hash,
            session_hash: row.session_hash,
            nonce_hash: row.nonce_hash,
            host: row.host,
            started_at: row.started_at.map(Timestamp),
            ends_at: row.ends_at.map(Timestamp),
            end: row
                .end_json
                .map(|text| from_json(&text, "pilot.end_json"))
                .transpose()?,
        })
    }
}

/// The row of a pilot.
pub(crate) fn row(pilot: &Pilot) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: Set(int(pilot.id.0)),
        site: Set(pilot.ce.site.to_string()),
        ce: Set(pilot.ce.ce.to_string()),
        state: Set(pilot.state.name().to_owned()),
        since: Set(pilot.since.0),
        planned_at: Set(pilot.planned_at.0),
        batch_id: Set(pilot.batch_id.clone()),
        cores: Set(pilot.resources.cores.into()),
        memory_mib: Set(int(pilot.resources.memory_mib)),
        gpus: Set(pilot.resources.gpus.into()),
        walltime_s: Set(int(pilot.walltime_s)),
        bootstrap_hash: Set(pilot.bootstrap_hash.clone()),
        session_hash: Set(pilot.session_hash.clone()),
        nonce_hash: Set(pilot.nonce_hash.clone()),
        host: Set(pilot.host.clone()),
        started_at: Set(pilot.started_at.map(|at| at.0)),
        ends_at: Set(pilot.ends_at.map(|at| at.0)),
        end_json: Set(pilot.end.as_ref().map(to_json).transpose()?),
        owner_json: Set(match &pilot.owner {
            PilotOwner::Shared => None,
            owner => Some(to_json(owner)?),
        }),
        custom_json: Set(match pilot.custom.is_empty() {
            true => None,
            false => Some(to_json(&pilot.custom)?),
        }),
        whole_node: Set(pilot.whole_node.then_some(true)),
        allocation: Set((pilot.allocation != pilot.id).then(|| int(pilot.allocation.0))),
    })
}
