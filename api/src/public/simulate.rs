//! What would become of the queue under another policy.

use fairway_model::{Policy, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to play out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateRequest {
    /// Policies to try beside that in force; at most 8.
    #[serde(default)]
    pub policies: Vec<NamedPolicy>,
    /// So many seconds ahead at most, up to 30 days; a day if not set.
    #[serde(default)]
    pub horizon_s: Option<u64>,
    /// What chance begins with; 1 if not set.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// A policy with the name that it is told of by.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedPolicy {
    /// Its name.
    pub name: String,
    /// The policy.
    pub policy: Policy,
}

/// What became of the queue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SimulateReply {
    /// The moment that all runs begin at.
    pub from: Timestamp,
    /// Tasks that were not over then.
    pub tasks: u64,
    /// What chance began with.
    pub seed: u64,
    /// The measures of each run, that of the policy in force (`now`) first: as those of
    /// `fairway simulate --json`.
    #[schema(value_type = Vec<Object>)]
    pub outcomes: Vec<serde_json::Value>,
}
