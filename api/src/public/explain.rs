//! Why a task is where it is.

use std::collections::BTreeMap;

use fairway_model::{CeId, PilotId, Resources, TaskId, TaskState, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ShareView, is_one, one};

const fn is_zero(number: &u32) -> bool {
    *number == 0
}

const fn is_tier_zero(tier: &i32) -> bool {
    *tier == 0
}

/// Why a task is where it is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Which task.
    pub task: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// The node that it belongs to, if its job is compound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The whole explanation in one sentence.
    pub summary: String,
    /// The nodes that it waits for; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<WaitsFor>,
    /// What it waits for of other jobs; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<DependsOn>,
    /// How many tasks would be served before it, as things stand; only for waiting tasks that the
    /// policy lets be started.
    pub ahead: Option<u64>,
    /// Its owner's standing.
    pub share: Option<ShareView>,
    /// What it asks for.
    pub resources: Resources,
    /// On how many hosts it runs at the same time, each with these resources.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub hosts: u32,
    /// The walltime that it asks for, in seconds.
    pub walltime_s: Option<u64>,
    /// Its Requirements, as written.
    pub requirements: Option<String>,
    /// Its Rank, as written.
    pub rank: Option<String>,
    /// How its deadline stands; only of tasks that have one and have not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DeadlineView>,
    /// Every CE, best Rank first, with what speaks against it.
    pub ces: Vec<CeVerdict>,
    /// Of a waiting task: the pilots at work that it might run with, at CEs that could run it,
    /// with what speaks against each now; those with the least first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pilots: Vec<PilotVerdict>,
    /// Of a waiting task: the first 5 accounts that come before its owner's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Rival>,
    /// How many accounts come before its owner's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub accounts_before: u32,
    /// Its priority; of waiting tasks under `maui`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<PriorityView>,
    /// Its quality of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// The tier of that, if it is not 0.
    #[serde(default, skip_serializing_if = "is_tier_zero")]
    pub tier: i32,
    /// How long it has been in the queue, in seconds; of waiting tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_s: Option<u64>,
    /// Whether that is longer than anybody is to wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// When it will start; of tasks that have not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastView>,
    /// Why there is no forecast, if one was asked for and could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_forecast: Option<String>,
    /// What was decided about it and what became of it, from the ledger, oldest first; the last
    /// 100 events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryLine>,
}

/// What to explain beside the present.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// Whether to tell when it will start, which takes up to some seconds; yes if not set.
    pub forecast: Option<bool>,
}

/// When a task will start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForecastView {
    /// When it was made; it may be up to 30 s old.
    pub made_at: Timestamp,
    /// With luck.
    pub earliest: Option<Timestamp>,
    /// As is likely.
    pub likely: Option<Timestamp>,
    /// Without luck; absent: not within the horizon, or nobody can say.
    pub latest: Option<Timestamp>,
    /// How far was looked.
    pub horizon: Timestamp,
    /// Why nothing is said of what is likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_none: Option<String>,
}

/// What a pilot means for a waiting task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PilotVerdict {
    /// Which pilot.
    pub pilot: PilotId,
    /// At which CE.
    pub ce: CeId,
    /// What speaks against it now; if nothing: the task starts there as soon as it is its turn.
    pub refusals: Vec<Refusal>,
}

/// Somebody whose tasks come before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rival {
    /// Their place in the tree of shares, by names from the top down.
    pub path: String,
    /// How many of their tasks wait.
    pub waiting: u64,
    /// Why they come before, with the numbers on both sides.
    pub because: String,
}

/// A priority under `maui`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PriorityView {
    /// The sum.
    pub total: f64,
    /// Whether a cap is reached, so that it is not started.
    pub capped: bool,
    /// Its components, with their weights.
    pub parts: Vec<PriorityPart>,
}

/// A component of a priority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PriorityPart {
    /// `fairshare`, `resources`, `qos`, `queue_time` or `expansion_factor`.
    pub name: String,
    /// What it adds.
    pub value: f64,
}

/// One thing that happened to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryLine {
    /// When.
    pub at: Timestamp,
    /// What, and why, in a sentence.
    pub what: String,
}

/// How a deadline stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadlineView {
    /// `met` (if pilots start as they did lately), `tight` or `impossible`, at the best CE.
    pub outlook: String,
    /// Why, in a sentence.
    pub because: String,
    /// The same at each CE, the best first.
    pub ces: Vec<CeDeadline>,
}

/// How a deadline stands at a CE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CeDeadline {
    /// Which CE.
    pub ce: CeId,
    /// `met`, `tight` or `impossible`.
    pub outlook: String,
    /// The values on both sides.
    pub because: String,
}

/// A node that a task waits for: all tasks of it must succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitsFor {
    /// Its name.
    pub node: String,
    /// How many of its tasks are in each state; states with none are left out.
    pub states: BTreeMap<TaskState, u32>,
}

/// Something that a task waits for of other jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DependsOn {
    /// As it is written in a job description: `afterok:12`.
    pub dependency: String,
    /// Whether it has come about.
    pub met: bool,
    /// How far the tasks are that it names; not of `singleton`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// How many tasks are how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// They have not started.
    pub pending: u32,
    /// They run, or are being cancelled.
    pub running: u32,
    /// They have succeeded.
    pub succeeded: u32,
    /// They failed, or were cancelled or skipped.
    pub lost: u32,
}

/// What a CE means for a task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CeVerdict {
    /// Which CE.
    pub ce: CeId,
    /// Whether the task could run there.
    pub eligible: bool,
    /// Its Rank there, if Rank gives a number.
    pub rank: Option<f64>,
    /// What refused it: each clause, limit or state with the values on both sides.
    pub refusals: Vec<Refusal>,
}

/// One thing that speaks against a CE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// What refused: a clause of Requirements, or `cores`, `memory`, `walltime`, `mode`, `status`, `users` …
    pub clause: String,
    /// The values on both sides, e.g. `GlueCEPolicyMaxWallClockTime is 60, needed >= 720`.
    pub because: String,
}
