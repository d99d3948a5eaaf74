//! What counts as having used the platform.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What usage is measured in.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Each payload given to a pilot counts 1.
    #[default]
    TasksStarted,
    /// Each second of each core counts 1, while it runs.
    CoreSeconds,
    /// Processor time of the payload's processes, in seconds; counted when it ends.
    CpuSeconds,
    /// Core-seconds times the benchmark that the CE publishes for one core.
    NormalisedSeconds,
    /// Core-seconds, GiB-seconds and GPU-seconds, each with its weight, added.
    WeightedSum,
    /// The largest of the three instead of their sum: the dominant resource.
    Dominant,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 6] = [
        Self::TasksStarted,
        Self::CoreSeconds,
        Self::CpuSeconds,
        Self::NormalisedSeconds,
        Self::WeightedSum,
        Self::Dominant,
    ];

    /// The name used in documents and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TasksStarted => "tasks-started",
            Self::CoreSeconds => "core-seconds",
            Self::CpuSeconds => "cpu-seconds",
            Self::NormalisedSeconds => "normalised-seconds",
            Self::WeightedSum => "weighted-sum",
            Self::Dominant => "dominant",
        }
    }
}

/// What a second of each resource is worth, for the metrics that weigh them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageWeights {
    /// Of a core.
    pub core: f64,
    /// Of a GiB of memory that was asked for.
    pub memory_gib: f64,
    /// Of a GPU.
    pub gpu: f64,
}

impl Default for UsageWeights {
    /// A GiB as a quarter of a core, a GPU as 16 cores: an ordinary node's proportions.
    fn default() -> Self {
        Self {
            core: 1.0,
            memory_gib: 0.25,
            gpu: 16.0,
        }
    }
}

/// What counts as usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageSettings {
    /// What it is measured in.
    pub metric: Metric,
    /// For `weighted-sum` and `dominant`.
    pub weights: UsageWeights,
}
