//! What CEs publish about themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CeId, Timestamp};

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
    /// Nodes in all.
    #[serde(default)]
    pub nodes_total: Option<u32>,
    /// Nodes with nobody on them that accept jobs.
    #[serde(default)]
    pub nodes_free: Option<u32>,
    /// Nodes that are down or drained.
    #[serde(default)]
    pub nodes_offline: Option<u32>,
    /// Cores that jobs use now.
    #[serde(default)]
    pub cores_used: Option<u32>,
    /// GPUs in all.
    #[serde(default)]
    pub gpus_total: Option<u32>,
    /// Most cores of one job (of ours, where the limit differs by account).
    #[serde(default)]
    pub job_cores_max: Option<u32>,
    /// Most nodes of one job.
    #[serde(default)]
    pub job_nodes_max: Option<u32>,
    /// Most jobs of ours that may run at a time.
    #[serde(default)]
    pub own_running_max: Option<u32>,
    /// Most jobs of ours that may be in the queue, running ones included.
    #[serde(default)]
    pub own_jobs_max: Option<u32>,
    /// What the batch system calls its nodes' features, properties or labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// When a pilot asked for now would start, by the batch system's own estimate.
    #[serde(default)]
    pub start_estimate: Option<Timestamp>,
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
            nodes_total: None,
            nodes_free: None,
            nodes_offline: None,
            cores_used: None,
            gpus_total: None,
            job_cores_max: None,
            job_nodes_max: None,
            own_running_max: None,
            own_jobs_max: None,
            features: Vec::new(),
            start_estimate: None,
        }
    }
}
