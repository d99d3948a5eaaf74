//! Sites, their compute elements, and what they publish about themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CeId, SiteName, Timestamp, UserName};

/// Whether a site or CE takes pilots, by its admin's or an operator's word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SiteMode {
    /// It takes pilots.
    #[default]
    Open,
    /// Pilots there finish the tasks they have; no new pilot is sent.
    Draining,
    /// No pilot is sent.
    Closed,
}

/// A place with a batch system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// Whether it takes pilots.
    #[serde(default)]
    pub mode: SiteMode,
    /// The batch system's kind and how it is reached; read by the site adapters.
    /// Secrets are referred to (a file, an environment variable), never written here.
    pub adapter: AdapterSettings,
    /// Its compute elements.
    pub ces: Vec<Ce>,
}

/// Which adapter serves a site, with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AdapterSettings {
    /// Processes on the server's own machine.
    Local {
        /// Cores to give away; all that the machine has if not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cores: Option<u32>,
    },
    /// Slurm through its command line.
    Slurm {
        /// Folder of `sbatch`, `squeue` …; the search path if not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bin_dir: Option<String>,
        /// `SLURM_CONF` for the commands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conf: Option<String>,
        /// Folder on the worker nodes that pilots start in and write their log to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work_dir: Option<String>,
    },
}

impl AdapterSettings {
    /// The kind of batch system, as in the settings.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Slurm { .. } => "slurm",
        }
    }
}

/// A compute element: one queue or partition that pilots are submitted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ce {
    /// Its name within the site.
    pub name: crate::id::CeName,
    /// Whether it takes pilots.
    #[serde(default)]
    pub mode: SiteMode,
    /// The batch system's queue or partition; the CE's name if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The account to submit under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The quality of service to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// Path of the pilot program on the worker nodes; the server's setting if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot_program: Option<String>,
    /// What one pilot asks the batch system for.
    #[serde(default)]
    pub shape: PilotShape,
    /// How many pilots there may be.
    #[serde(default)]
    pub limits: PilotLimits,
    /// Who may use it; everybody if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserName>,
    /// Groups that may use it; everybody if empty (and `users` is).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<crate::GroupName>,
    /// Software tags, published as `GlueHostApplicationSoftwareRunTimeEnvironment`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Ce {
    /// The batch system's queue or partition.
    pub fn queue(&self) -> &str {
        self.queue.as_deref().unwrap_or(self.name.as_str())
    }
}

/// What one pilot asks the batch system for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PilotShape {
    /// Cores.
    pub cores: u32,
    /// Memory in MiB; 0 leaves it to the batch system's default.
    pub memory_mib: u64,
    /// Walltime in seconds.
    pub walltime_s: u64,
}

impl Default for PilotShape {
    fn default() -> Self {
        Self {
            cores: 1,
            memory_mib: 0,
            walltime_s: 3600,
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
}

impl Default for PilotLimits {
    fn default() -> Self {
        Self {
            pilots_max: 100,
            queued_max: 20,
        }
    }
}

/// Whether a CE can be used, by what was seen of it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CeStatus {
    /// Accepts and runs jobs. GLUE: `Production`.
    Production,
    /// Runs what it has, accepts nothing. GLUE: `Draining`.
    Draining,
    /// Accepts and runs nothing. GLUE: `Closed`.
    Closed,
    /// Did not answer. Published as `Unknown`.
    #[default]
    Unreachable,
}

/// What a CE publishes about itself. `None` is "not told", and is published as
/// the worst case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CeState {
    /// Which CE.
    pub ce: CeId,
    /// When this was observed.
    pub observed_at: Timestamp,
    /// Whether it can be used.
    pub status: CeStatus,
    /// Why, in the batch system's or the adapter's words, where it is not in production.
    pub reason: Option<String>,
    /// Batch system and version, e.g. `slurm` and `22.05.8`.
    pub lrms: (String, String),
    /// Cores in all.
    pub cores_total: Option<u32>,
    /// Cores that nobody uses now.
    pub cores_free: Option<u32>,
    /// Cores of nodes that are down or drained.
    pub cores_offline: Option<u32>,
    /// Jobs that run, ours and others'.
    pub jobs_running: Option<u32>,
    /// Jobs that wait, ours and others'.
    pub jobs_waiting: Option<u32>,
    /// Longest walltime of a job, in seconds; `None` is unlimited or not told.
    pub walltime_max_s: Option<u64>,
    /// Most cores of one node.
    pub node_cores: Option<u32>,
    /// Memory of one node, in MiB.
    pub node_memory_mib: Option<u64>,
    /// Processor architecture, e.g. `x86_64`.
    pub architecture: Option<String>,
    /// Operating system, e.g. `Debian 12`.
    pub operating_system: Option<String>,
}

impl CeState {
    /// A CE of which nothing is known but that it did not answer.
    pub fn unreachable(ce: CeId, lrms: &str, observed_at: Timestamp, reason: String) -> Self {
        Self {
            ce,
            observed_at,
            status: CeStatus::Unreachable,
            reason: Some(reason),
            lrms: (lrms.to_owned(), String::new()),
            cores_total: None,
            cores_free: None,
            cores_offline: None,
            jobs_running: None,
            jobs_waiting: None,
            walltime_max_s: None,
            node_cores: None,
            node_memory_mib: None,
            architecture: None,
            operating_system: None,
        }
    }
}
