//! Sites: what is known of them, and how one is tried.

use std::collections::BTreeMap;

use fairway_model::{CeName, CeState, Maintenance, PilotState, Site, SiteMode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::agent::AgentView;

/// A site with what is known of its CEs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SiteView {
    /// The site as its admin described it.
    #[serde(flatten)]
    pub site: Site,
    /// What each CE published last; in the order of `ces`.
    pub states: Vec<CeView>,
    /// The site's agent, where the site has one that was heard of; for its admins only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentView>,
}

/// A CE with what it published, and what Fairway has there.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CeView {
    /// What it published last; absent until the first look.
    pub published: Option<CeState>,
    /// How old that is, in seconds.
    #[serde(default)]
    pub age_s: Option<u64>,
    /// How long a pilot asked for now would wait before it starts, in seconds, as far as that
    /// can be told.
    #[serde(default)]
    pub response_s: Option<u64>,
    /// Memory for each core of a node, in MiB.
    #[serde(default)]
    pub core_memory_mib: Option<u64>,
    /// Jobs there that are our pilots.
    #[serde(default)]
    pub ours: JobCounts,
    /// All other jobs there; absent if the batch system does not tell how many there are.
    #[serde(default)]
    pub others: Option<JobCounts>,
    /// The same under GLUE 1.3 names, as Requirements and Rank see it.
    pub glue: BTreeMap<String, serde_json::Value>,
    /// Our pilots there by state; states with none are left out.
    pub pilots: BTreeMap<PilotState, u32>,
    /// Nodes that get no tasks because work fails there at once; told to operators and the
    /// site's admins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<NodeAside>,
}

/// A node that gets no tasks for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeAside {
    /// Its name, as its pilots tell it.
    pub host: String,
    /// What speaks against it.
    pub evidence: String,
    /// When it is probed with one task.
    pub until: Timestamp,
}

/// Gives a node tasks again that was set aside.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeRelease {
    /// The CE that it belongs to.
    pub ce: CeName,
    /// Its name.
    pub host: String,
}

/// How many jobs run and wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobCounts {
    /// Jobs that run.
    pub running: u32,
    /// Jobs that wait.
    pub waiting: u32,
}

/// Opens, drains or closes a site or one of its CEs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeChange {
    /// The new mode.
    pub mode: SiteMode,
    /// Only for this CE.
    #[serde(default)]
    pub ce: Option<CeName>,
}

/// Says when a site is not to be used.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenancePlan {
    /// All times in which it is not; none if empty.
    pub maintenance: Vec<Maintenance>,
}

/// How a site is to be tried.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckQuery {
    /// Only this CE.
    #[param(value_type = Option<String>)]
    pub ce: Option<CeName>,
    /// Whether to send a pilot to each CE; yes if not set.
    pub pilot: Option<bool>,
    /// How long a pilot may take to call home, in seconds: 1 to 3600, 300 if not set.
    pub wait_s: Option<u64>,
}

/// What is looked at when a site is tried, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStage {
    /// Whether the description makes sense.
    Description,
    /// Whether the batch system is reached, and answers.
    Connection,
    /// Which batch system it is.
    Version,
    /// Whether the CE's queue is there and in production.
    Queue,
    /// Whether the batch system could give what pilots of the CE ask for.
    Limits,
    /// Whether a pilot starts there, calls home and ends.
    Pilot,
}

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckOutcome {
    /// It is not over; more of it follows.
    UnderWay,
    /// All is well.
    Ok,
    /// Pilots can run, but something may not be meant so.
    Remark,
    /// Pilots cannot run.
    Failed,
    /// Not tried, because of what failed before.
    Skipped,
}

/// A step of trying a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckStep {
    /// What was looked at.
    pub stage: CheckStage,
    /// At which CE; absent where it is the whole site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ce: Option<CeName>,
    /// How it came out.
    pub outcome: CheckOutcome,
    /// What was found, in words.
    pub found: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The last word on a site that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckEnd {
    /// Steps that failed.
    pub failed: u32,
    /// Steps with a remark.
    pub remarks: u32,
}

/// One thing that is told while a site is tried: the event `step` or `end` of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckEvent {
    /// A step, as far as it has come.
    Step(CheckStep),
    /// All is done; nothing more comes.
    End(CheckEnd),
}
