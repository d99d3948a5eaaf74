//! The policy in force: one row, or none until an operator sets one.

use fairway_model::Policy;
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::super::StoreError;
use super::{from_json, to_json};

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

/// The policy of a row. Documents of earlier versions are read as what they meant.
pub(crate) fn read(text: &str) -> Result<Policy, StoreError> {
    let mut document: serde_json::Value = from_json(text, "policy.description")?;
    let fairshare = document
        .get_mut("fairshare")
        .and_then(|it| it.as_object_mut());
    // The metric was a setting of the formula alone.
    if let Some(metric) = fairshare.and_then(|fairshare| fairshare.remove("metric")) {
        document["usage"] = serde_json::json!({ "metric": metric });
    }
    serde_json::from_value(document)
        .map_err(|error| StoreError::Schema(format!("column policy.description: {error}")))
}

/// The row of the policy.
pub(crate) fn row(policy: &Policy) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: Set(ID),
        description: Set(to_json(policy)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_model::{Metric, PolicyKind};

    #[test]
    fn a_document_of_the_first_version_is_read() {
        let text = r#"{"kind":"round-robin","fairshare":{"duration_s":60,"max_depth":3,
            "decay_rate":0.5,"metric":"core-seconds"}}"#;
        let policy = read(text).unwrap();
        assert_eq!(policy.kind, PolicyKind::RoundRobin);
        assert_eq!(policy.usage.metric, Metric::CoreSeconds);
        assert_eq!(policy.fairshare.duration_s, 60);
    }
}
