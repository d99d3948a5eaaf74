//! The policy as a document: its versions, what would follow from another one, and who changed
//! what.

use fairway_model::policy::FieldChange;
use fairway_model::{GroupName, TaskId, Timestamp, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What is said with a change of the policy.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PolicyReason {
    /// Why, for the record; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What would follow if a policy were put in force now. Lists are cut at 50 entries; the numbers
/// tell how many more there are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyDiff {
    /// The version of the policy that it was compared with; see the `ETag` of the policy.
    pub version: String,
    /// What differs.
    pub changes: Vec<FieldChange>,
    /// Tasks in the queue.
    pub waiting: u64,
    /// Whose place in the order of service changes; by the new place, those without one last.
    pub places: Vec<PlaceChange>,
    /// How many more there are.
    pub places_left_out: u64,
    /// Whose due part changes, the largest differences first.
    pub dues: Vec<DueChange>,
    /// How many more there are.
    pub dues_left_out: u64,
    /// Of whom limits, budgets, pauses or caps keep back more tasks, or fewer; the largest
    /// differences first.
    pub held: Vec<HeldChange>,
    /// How many more there are.
    pub held_left_out: u64,
    /// The tasks that are served next under the policy in force, if each is given a core that can
    /// run anything; the first 20.
    pub next_before: Vec<NextTask>,
    /// The same under the other policy.
    pub next_after: Vec<NextTask>,
}

/// An account whose place in the order of service changes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlaceChange {
    /// Who.
    pub user: UserName,
    /// In which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Their tasks in the queue.
    pub waiting: u64,
    /// Place from 1, among those of whom something may be started.
    pub before: Option<u32>,
    /// The same under the other policy.
    pub after: Option<u32>,
}

/// A share or a user whose due part of everything changes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DueChange {
    /// Its place in the tree of shares, by names from the top down.
    pub path: String,
    /// What part of everything it is to get, 0 to 1; absent if it is not in the tree.
    pub before: Option<f64>,
    /// The same under the other policy.
    pub after: Option<f64>,
}

/// An account of which bounds keep back more tasks, or fewer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldChange {
    /// Who.
    pub user: UserName,
    /// In which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Their tasks in the queue.
    pub waiting: u64,
    /// How many of these are kept back although there may be room.
    pub before: u64,
    /// The same under the other policy.
    pub after: u64,
    /// The bound that keeps most of them back (`paused`, `budget`, `running_tasks_max`,
    /// `running_cores_max`, `target`); the present one if none does then.
    pub clause: String,
    /// The values on both sides.
    pub because: String,
}

/// A task that would be served next.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NextTask {
    /// Which.
    pub task: TaskId,
    /// Whose.
    pub user: UserName,
    /// In which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
}

/// Which changes of the policy to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PolicyHistoryQuery {
    /// Where to go on: `next` of the page before.
    pub cursor: Option<String>,
    /// How many to a page: 1 to 1000, 100 if not set.
    pub limit: Option<u32>,
}

/// A change of the policy.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyChange {
    /// Its place in the ledger of events.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: UserName,
    /// Why, as they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The version that came into force.
    pub version: String,
    /// What differed from the policy before; of the first one, from the usual.
    pub changes: Vec<FieldChange>,
}
