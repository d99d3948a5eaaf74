//! The public protocol: what users, site admins and operators say and are told.

use std::collections::BTreeMap;

use fairway_model::{
    Attempt, AttemptEnd, CeId, GroupName, JobId, PilotEnd, PilotId, PilotState, Policy, Resources,
    Role, SiteName, TaskId, TaskState, Timestamp, UserName,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Diagnostic;

mod explain;
mod policy;
mod provisioning;
mod simulate;
mod sites;

pub use explain::{
    CeDeadline, CeVerdict, DeadlineView, DependsOn, ExplainQuery, Explanation, ForecastView,
    HistoryLine, PilotVerdict, PriorityPart, PriorityView, Progress, Refusal, Rival, WaitsFor,
};
pub use policy::{
    DueChange, HeldChange, NextTask, PlaceChange, PolicyChange, PolicyDiff, PolicyHistoryQuery,
    PolicyReason,
};
pub use provisioning::{
    Backoff, CeProvisioning, SupplyDecision, SupplyLimit, SupplyVerb, SupplyVerdict, WantingClass,
};
pub use simulate::{NamedPolicy, SimulateReply, SimulateRequest};
pub use sites::{
    CeView, CheckEnd, CheckEvent, CheckOutcome, CheckQuery, CheckStage, CheckStep, JobCounts,
    MaintenancePlan, ModeChange, NodeAside, NodeRelease, SiteView,
};

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Give this as `cursor` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A submission as JSON (`application/json`).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The job description.
    pub jdl: JobDescription,
    /// The group to submit for; the token's if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
}

/// A job description in one of its two forms.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum JobDescription {
    /// A JDL text.
    Text(String),
    /// The same as JSON, of which `fairway reference jdl-schema` prints the JSON Schema.
    #[schema(value_type = Object)]
    Json(serde_json::Map<String, serde_json::Value>),
}

/// The answer to a submission.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SubmitReply {
    /// The new job.
    pub job: JobId,
    /// How many tasks it has.
    pub tasks: u32,
    /// What was noticed in the JDL and did not prevent the submission; and, without a place
    /// there, that a deadline is tight or impossible, or a time-critical task finds no pilots kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
    /// Whether this is the job of an earlier request with the same `Idempotency-Key`.
    #[serde(default)]
    pub repeated: bool,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Which job.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Who submitted it.
    pub owner: UserName,
    /// The group it was submitted for.
    pub group: Option<GroupName>,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many of them are in each state; states with none are left out.
    pub states: BTreeMap<TaskState, u32>,
    /// When its last task ended, if all have.
    pub ended_at: Option<Timestamp>,
    /// How many nodes it consists of if it is compound (a collection or DAG); otherwise absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nodes: u32,
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl JobView {
    /// How many of its tasks are in `state`.
    pub fn count(&self, state: TaskState) -> u32 {
        self.states.get(&state).copied().unwrap_or(0)
    }

    /// How many of its tasks are over.
    pub fn done(&self) -> u32 {
        self.states
            .iter()
            .filter(|(state, _)| state.is_final())
            .map(|(_, n)| n)
            .sum()
    }
}

/// A node of a compound job: some of its tasks, in a row.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name, unique in the job.
    pub name: String,
    /// The index of its first task.
    pub first: u32,
    /// How many tasks it has.
    pub tasks: u32,
    /// Where it is as a whole: while not all of its tasks are over, the state of the one that is
    /// furthest on; then `failed`, `cancelled` or `skipped` if one is, else `succeeded`.
    pub state: TaskState,
    /// How many of its tasks are in each state; states with none are left out.
    pub states: BTreeMap<TaskState, u32>,
    /// The nodes whose tasks must all succeed before its own start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
}

impl NodeView {
    /// Where a node is as a whole whose tasks are in these states.
    pub fn state_of(states: &BTreeMap<TaskState, u32>) -> TaskState {
        use TaskState::{
            Blocked, Cancelled, Cancelling, Failed, Held, Leased, Running, Skipped, Succeeded,
            Waiting,
        };
        let open = [Running, Cancelling, Leased, Waiting, Held, Blocked];
        let over = [Failed, Cancelled, Skipped];
        let mut all = open.into_iter().chain(over);
        all.find(|state| states.contains_key(state))
            .unwrap_or(Succeeded)
    }
}

/// Which nodes of a job to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NodesQuery {
    /// Where to go on: `next` of the page before.
    pub cursor: Option<String>,
    /// How many to a page: 1 to 1000, 100 if not set.
    pub limit: Option<u32>,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only of this owner (operators; others see only their own anyway).
    pub owner: Option<UserName>,
    /// Only with this name.
    pub name: Option<String>,
    /// `active` (not all tasks over) or `ended`.
    pub state: Option<String>,
    /// `id` or `-id` (newest first; the default).
    pub sort: Option<String>,
    /// Where to go on: `next` of the page before.
    pub cursor: Option<String>,
    /// How many to a page: 1 to 1000, 100 if not set.
    pub limit: Option<u32>,
}

/// A task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// Which task.
    pub id: TaskId,
    /// The node that it belongs to, if its job is compound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where it is in its life.
    pub state: TaskState,
    /// When it entered that state.
    pub since: Timestamp,
    /// Who submitted it.
    pub owner: UserName,
    /// How many attempts were begun.
    pub attempt: Attempt,
    /// Where the live or last attempt runs or ran.
    pub ce: Option<CeId>,
    /// The pilot of the live or last attempt.
    pub pilot: Option<PilotId>,
    /// Cores that the live or last attempt was given, on each of its nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// The other pilots whose nodes the live or last attempt runs on too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<PilotId>,
    /// When the live or last attempt was given to a pilot.
    pub leased_at: Option<Timestamp>,
    /// When the live or last attempt's payload started.
    pub started_at: Option<Timestamp>,
    /// How often it was told to give way to others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub preemptions: u32,
    /// Since when its payload is suspended, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<Timestamp>,
    /// How the last ended attempt ended.
    pub last_end: Option<AttemptEnd>,
    /// The same in words.
    pub detail: Option<String>,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TasksQuery {
    /// Only of this job.
    pub job: Option<JobId>,
    /// Only of this node of the job; together with `job`.
    pub node: Option<String>,
    /// Only in one of these states, separated by commas.
    pub state: Option<String>,
    /// Only of this owner (operators; others see only their own anyway).
    pub owner: Option<UserName>,
    /// Only those of this pilot.
    #[param(value_type = Option<String>)]
    pub pilot: Option<PilotId>,
    /// `id` (the default), `-id`, `since` or `-since`.
    pub sort: Option<String>,
    /// Where to go on: `next` of the page before.
    pub cursor: Option<String>,
    /// How many to a page: 1 to 1000, 100 if not set.
    pub limit: Option<u32>,
}

/// What to do with many tasks at once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TasksChange {
    /// The tasks; at most 10,000 at a time.
    pub tasks: Vec<TaskId>,
}

/// What became of it. Tasks that were not in a state for it are told apart.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TasksChanged {
    /// How many tasks were changed.
    pub changed: u32,
    /// Those that stay as they are, at least for now, with the reason; the first 100.
    pub left: Vec<TaskLeft>,
}

/// A task that stays as it is, at least for now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskLeft {
    /// Which task.
    pub task: TaskId,
    /// Why.
    pub because: String,
    /// Whether there is no such task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}

/// Which part of stdout or stderr to get.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Which attempt; the live or last one if not set.
    #[param(value_type = Option<u32>)]
    pub attempt: Option<Attempt>,
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// As an event stream (`text/event-stream`) that goes on until the task is over. Its
    /// events: `chunk` (JSON string), `end` (the task's state).
    #[serde(default)]
    pub follow: bool,
}

/// Which events to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only about this job and its tasks.
    pub job: Option<JobId>,
    /// Only about this task.
    #[param(value_type = Option<String>)]
    pub task: Option<TaskId>,
    /// Only about this pilot (operators).
    #[param(value_type = Option<String>)]
    pub pilot: Option<PilotId>,
    /// Where to go on: `next` of the page before.
    pub cursor: Option<String>,
    /// How many to a page: 1 to 1000, 100 if not set.
    pub limit: Option<u32>,
}

/// A pilot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PilotView {
    /// Which pilot.
    pub id: PilotId,
    /// Where it is.
    pub ce: CeId,
    /// Where it is in its life.
    pub state: PilotState,
    /// When it entered that state.
    pub since: Timestamp,
    /// When it was decided upon.
    pub planned_at: Timestamp,
    /// The batch system's id for it.
    pub batch_id: Option<String>,
    /// What it has to give.
    pub resources: Resources,
    /// The worker node.
    pub host: Option<String>,
    /// When it called home.
    pub started_at: Option<Timestamp>,
    /// When its allocation ends.
    pub ends_at: Option<Timestamp>,
    /// Why it is over.
    pub end: Option<PilotEnd>,
    /// The tasks that it has now.
    pub tasks: Vec<TaskId>,
}

/// Which pilots to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PilotsQuery {
    /// Only at this site.
    #[param(value_type = Option<String>)]
    pub site: Option<SiteName>,
    /// Only in one of these states, separated by commas.
    pub state: Option<String>,
    /// Where to go on: `next` of the page before.
    pub cursor: Option<String>,
    /// How many to a page: 1 to 1000, 100 if not set.
    pub limit: Option<u32>,
}

/// The standing of a user in a group.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShareView {
    /// Who.
    pub user: UserName,
    /// In which group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Their place in the tree of shares, by names from the top down.
    pub path: String,
    /// Tasks in the queue.
    pub waiting: u64,
    /// Tasks with a live attempt.
    pub running: u64,
    /// Cores of these.
    pub running_cores: u64,
    /// Usage that counts, under the settings in force: tasks or seconds.
    pub fs: f64,
    /// What part of everything they are to get if everybody wants theirs, 0 to 1.
    pub due: f64,
    /// What part of all usage that counts is theirs, 0 to 1.
    pub used: f64,
    /// Place in the order of service, from 1, among those with waiting tasks that may be
    /// started.
    pub place: Option<u32>,
    /// The numbers that FS came from: interval 0 is the current one.
    pub intervals: Vec<ShareInterval>,
}

/// One interval of a user's usage.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShareInterval {
    /// When it began.
    pub begins_at: Timestamp,
    /// Payloads given to pilots in it.
    pub tasks_started: u64,
    /// Core-milliseconds used in it.
    pub core_ms: u64,
    /// Its weight, `decay_rate^i`.
    pub weight: f64,
}

/// All users' standing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SharesView {
    /// The policy in force.
    pub policy: Policy,
    /// When the current interval began.
    pub interval_begins_at: Timestamp,
    /// The users, in the order in which they would be served.
    pub users: Vec<ShareView>,
    /// The shares above them, by path.
    pub tree: Vec<ShareNodeView>,
}

/// A node of the tree of shares above the users.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShareNodeView {
    /// Its place by names from the top down.
    pub path: String,
    /// What part of everything it is to get if everybody wants theirs, 0 to 1.
    pub due: f64,
    /// What part of all usage that counts is its own, 0 to 1.
    pub used: f64,
    /// Usage that counts: tasks or seconds.
    pub usage: f64,
    /// Tasks with a live attempt.
    pub running: u64,
    /// Cores of these.
    pub running_cores: u64,
}

/// Which usage to sum up.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// `user` (the default), `group`, `site`, `ce` or `job`.
    pub by: Option<String>,
    /// Only attempts that ended at or after this moment (ms since the epoch).
    pub from: Option<i64>,
    /// Only attempts that ended before this moment (ms since the epoch).
    pub until: Option<i64>,
    /// Only of this user (operators; others see only their own anyway).
    pub user: Option<UserName>,
}

/// One line of a usage summary.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// The user, group, site, CE or job.
    pub key: String,
    /// Ended attempts.
    pub attempts: u64,
    /// Of these, successes.
    pub succeeded: u64,
    /// Wall time in milliseconds.
    pub wall_ms: u64,
    /// Wall time of each core given, in milliseconds.
    pub core_ms: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// The largest peak memory, in KiB.
    pub memory_peak_kib: u64,
}

/// A new token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Who it is for.
    pub name: UserName,
    /// The group they submit for.
    #[serde(default)]
    pub group: Option<GroupName>,
    /// What they may do.
    pub role: Role,
    /// For a site admin: the sites.
    #[serde(default)]
    pub sites: Vec<SiteName>,
    /// Valid for so many seconds; 90 days if not set.
    #[serde(default)]
    pub valid_s: Option<u64>,
}

/// A token as it is created: the only time that it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// The secret itself.
    pub token: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub view: TokenView,
}

/// What is kept of a token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its public part, by which it can be revoked.
    pub id: String,
    /// Who it is for.
    pub name: UserName,
    /// The group they submit for.
    pub group: Option<GroupName>,
    /// What they may do.
    pub role: Role,
    /// For a site admin: the sites.
    pub sites: Vec<SiteName>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it stops being valid.
    pub expires_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// How the server is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: String,
    /// The server's version.
    pub version: String,
    /// Tasks in the queue.
    pub waiting: u64,
    /// Tasks with a live attempt.
    pub live: u64,
    /// Pilots that are not over.
    pub pilots: u64,
}
