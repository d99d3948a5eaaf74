//! What pilots a CE gets: their shape, their number, whom they serve, and when.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CustomResources;

/// What one pilot asks the batch system for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PilotShape {
    /// Cores on each node.
    pub cores: u32,
    /// Memory on each node, in MiB; 0 leaves it to the batch system's default.
    pub memory_mib: u64,
    /// GPUs on each node.
    pub gpus: u32,
    /// Walltime in seconds.
    pub walltime_s: u64,
    /// Nodes of one allocation. One pilot runs on each of them.
    pub nodes: u32,
    /// Whether to ask for nodes with nobody else on them. `cores` and `memory_mib` then say
    /// what a node is expected to have; the pilot takes what it finds.
    pub whole_node: bool,
    /// What each node has beside, by names of the site's own choice, such as
    /// `{ fpga = 2 }`: tasks ask for it in `CustomResources`. The batch system is not asked for
    /// it, so it must be what every node here has.
    #[serde(skip_serializing_if = "CustomResources::is_empty")]
    #[schema(value_type = BTreeMap<String, u32>)]
    pub custom: CustomResources,
}

impl Default for PilotShape {
    fn default() -> Self {
        Self {
            cores: 1,
            memory_mib: 0,
            gpus: 0,
            walltime_s: 3600,
            nodes: 1,
            whole_node: false,
            custom: CustomResources::default(),
        }
    }
}

/// How many pilots a CE may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PilotLimits {
    /// Pilots that are not over, queued ones included.
    pub pilots_max: u32,
    /// Pilots that have not called home yet.
    pub queued_max: u32,
    /// Cores of all pilots that are not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_max: Option<u32>,
    /// Pilots asked for within 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day_max: Option<u32>,
    /// Pilots of one user or group, where pilots are private.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_owner_max: Option<u32>,
}

impl Default for PilotLimits {
    fn default() -> Self {
        Self {
            pilots_max: 100,
            queued_max: 20,
            cores_max: None,
            per_day_max: None,
            per_owner_max: None,
        }
    }
}

/// Whose tasks a pilot may run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PilotSharing {
    /// Everybody's who may use the CE.
    #[default]
    Shared,
    /// One user's.
    PerUser,
    /// One group's.
    PerGroup,
}

/// When pilots are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SupplySettings {
    /// Only when more than so many tasks that may run here wait without a pilot. 0: as soon as
    /// one does. (BeBiDa calls it Ti'Punch.)
    pub threshold: u64,
    /// Whether the batch system takes advance reservations: one is asked for for tasks with a
    /// deadline, to begin just in time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reserve: bool,
    /// A set of pilots kept for time-critical tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm: Option<WarmSettings>,
}

/// A set of pilots kept for time-critical tasks: it is asked for with the first such task, and
/// released when there was none for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmSettings {
    /// How many pilots.
    pub pilots: u32,
    /// They are released after so many seconds without a time-critical task.
    pub idle_s: u64,
}
