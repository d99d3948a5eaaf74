//! Why a CE has the pilots that it has, and no others.

use std::collections::BTreeMap;

use fairway_model::{CeId, GroupName, PilotSharing, PilotState, Resources, SiteMode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobCounts, NodeAside, Refusal};

/// Provisioning of one CE, as it stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CeProvisioning {
    /// Which CE.
    pub ce: CeId,
    /// The stricter of the site's mode and the CE's.
    pub mode: SiteMode,
    /// What would be decided now.
    pub verdict: SupplyVerdict,
    /// Waiting work that a pilot here could run by Requirements, that served next first; the
    /// first 100 classes of tasks.
    pub wanting: Vec<WantingClass>,
    /// Whose tasks a new pilot may run.
    pub sharing: PilotSharing,
    /// What a new pilot is expected to have, on each node; memory 0 is what the batch system
    /// gives.
    pub resources: Resources,
    /// Nodes of a new allocation.
    pub nodes: u32,
    /// Walltime of a new pilot, in seconds.
    pub walltime_s: u64,
    /// Pilots that are not over, by state; states with none are left out.
    pub pilots: BTreeMap<PilotState, u32>,
    /// Jobs there that are our pilots; an allocation is one.
    pub ours: JobCounts,
    /// All other jobs there; absent if the batch system does not tell how many there are.
    pub others: Option<JobCounts>,
    /// Every limit with its use. The last bounds how fast the pilots may grow in number.
    pub limits: Vec<SupplyLimit>,
    /// Why no pilots are asked for at all.
    pub closures: Vec<Refusal>,
    /// Until when no pilots are asked for because of useless ones.
    pub backoff: Option<Backoff>,
    /// Nodes that get no tasks because work fails on them at once.
    pub set_aside: Vec<NodeAside>,
    /// Pilots that ended without ever calling home, since the server started.
    pub never_called_home: u64,
    /// Pilots asked for in the last 24 hours.
    pub asked_in_a_day: u64,
    /// How long a pilot asked for now would wait before it starts, in seconds, as far as that
    /// can be told.
    pub response_s: Option<u64>,
    /// The last decisions since the server started, the newest last.
    pub decisions: Vec<SupplyDecision>,
}

/// What would be decided about a CE now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SupplyVerdict {
    /// So many pilots would be asked for.
    pub pilots: u32,
    /// The kind of reason: `orders` where pilots would be asked for; otherwise what is in the way.
    pub kind: String,
    /// Why, in a sentence.
    pub because: String,
}

/// A class of waiting tasks that could run at a CE: those that need the same, for the same group.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WantingClass {
    /// What they need.
    pub needs: String,
    /// The group that they are submitted for.
    pub group: Option<GroupName>,
    /// How many wait.
    pub waiting: u64,
    /// How many of them have no place on pilots that are there or on their way.
    pub without_pilot: u64,
    /// The Rank of this CE for them, if it is a number.
    pub rank: Option<f64>,
    /// Why a new pilot could not run them.
    pub refusals: Vec<Refusal>,
}

/// A limit, and how much of it is used.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SupplyLimit {
    /// The setting, or what the batch system published.
    pub name: String,
    /// How much is used.
    pub used: u64,
    /// How much there may be.
    pub max: u64,
    /// How much one more allocation takes.
    pub step: u64,
    /// Whether there is no room for one more.
    pub full: bool,
    /// The values on both sides, in words.
    pub because: String,
}

/// A pause in asking for pilots.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Backoff {
    /// When it is over.
    pub until: Timestamp,
    /// What happened.
    pub because: String,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SupplyVerb {
    /// Pilots were asked for.
    Ordered,
    /// Pilots were called back.
    Recalled,
    /// Pilots were of no use: no more are asked for for a while.
    Useless,
    /// None is asked for.
    Nothing,
}

/// A decision about the pilots of a CE.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SupplyDecision {
    /// When; of several alike in a row, when the last of them was made.
    pub at: Timestamp,
    /// What.
    pub what: SupplyVerb,
    /// How many pilots.
    pub pilots: u32,
    /// Why, in a sentence.
    pub because: String,
}
