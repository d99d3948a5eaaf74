//! What was used in each interval: by accounts, qualities of service and queues.

use std::sync::Arc;

use fairway_model::Timestamp;
use fairway_sched::{Entity as Of, Used};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{int, parse, read};

/// Usage of one entity in one interval.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "interval_usage")]
pub struct Model {
    /// `user`, `qos` or `queue`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// Of users; empty for none.
    #[sea_orm(primary_key, auto_increment = false)]
    pub group_name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub interval_start: i64,
    pub tasks_started: i64,
    pub core_ms: i64,
    pub cpu_ms: i64,
    pub normalised_ms: i64,
    pub memory_gib_ms: i64,
    pub gpu_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

const USER: &str = "user";
const QOS: &str = "qos";
const QUEUE: &str = "queue";

/// The row of an interval.
pub(crate) fn row(of: &Of, interval: Timestamp, used: &Used) -> ActiveModel {
    let (kind, name, group) = match of {
        Of::Account { user, group } => (USER, user.as_str(), group.as_ref()),
        Of::Qos(name) => (QOS, &**name, None),
        Of::Queue(name) => (QUEUE, &**name, None),
    };
    ActiveModel {
        kind: Set(kind.to_owned()),
        name: Set(name.to_owned()),
        group_name: Set(group.map(ToString::to_string).unwrap_or_default()),
        interval_start: Set(interval.0),
        tasks_started: Set(int(used.tasks_started)),
        core_ms: Set(int(used.core_ms)),
        cpu_ms: Set(int(used.cpu_ms)),
        normalised_ms: Set(int(used.normalised_ms)),
        memory_gib_ms: Set(int(used.memory_gib_ms)),
        gpu_ms: Set(int(used.gpu_ms)),
    }
}

impl TryFrom<Model> for (Of, Timestamp, Used) {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let of = match row.kind.as_str() {
            QOS => Of::Qos(Arc::from(row.name)),
            QUEUE => Of::Queue(Arc::from(row.name)),
            _ => Of::Account {
                user: parse(&row.name, "interval_usage.name")?,
                group: match row.group_name.as_str() {
                    "" => None,
                    name => Some(parse(name, "interval_usage.group_name")?),
                },
            },
        };
        let used = Used {
            tasks_started: read(row.tasks_started, "interval_usage.tasks_started")?,
            core_ms: read(row.core_ms, "interval_usage.core_ms")?,
            cpu_ms: read(row.cpu_ms, "interval_usage.cpu_ms")?,
            normalised_ms: read(row.normalised_ms, "interval_usage.normalised_ms")?,
            memory_gib_ms: read(row.memory_gib_ms, "interval_usage.memory_gib_ms")?,
            gpu_ms: read(row.gpu_ms, "interval_usage.gpu_ms")?,
        };
        Ok((of, Timestamp(row.interval_start), used))
    }
}
