//! Amounts of computing resources. Integers only: sums and comparisons are
//! exact, on every machine.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a task asks for, or what a pilot has to give.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
pub struct Resources {
    /// Processor cores.
    pub cores: u32,
    /// Memory in MiB. As a demand, 0 means "none asked for": the task takes what there is.
    #[serde(default)]
    pub memory_mib: u64,
    /// GPUs.
    #[serde(default)]
    pub gpus: u32,
}

impl Resources {
    /// Whether `demand` fits into this amount, in every dimension.
    pub fn holds(self, demand: Self) -> bool {
        demand.cores <= self.cores
            && demand.memory_mib <= self.memory_mib
            && demand.gpus <= self.gpus
    }

    /// What remains after `demand` is taken out, or `None` if it does not fit.
    #[must_use]
    pub fn minus(self, demand: Self) -> Option<Self> {
        Some(Self {
            cores: self.cores.checked_sub(demand.cores)?,
            memory_mib: self.memory_mib.checked_sub(demand.memory_mib)?,
            gpus: self.gpus.checked_sub(demand.gpus)?,
        })
    }

    /// This amount and `other` together (saturating).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cores: self.cores.saturating_add(other.cores),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}
