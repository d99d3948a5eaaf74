//! How past usage loses weight.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The settings of the mission's fairshare formula:
/// `FS_j = Σ (i = 0 .. max_depth-1) decay_rate^i · N(j,i)`,
/// where `N(j,i)` is what `j` used in interval `i`, 0 being the current one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FairshareSettings {
    /// `Duration`: length of an interval in seconds.
    pub duration_s: u64,
    /// `Max_depth`: how many intervals count.
    pub max_depth: u32,
    /// `Decay_rate`: weight of an interval against the one after it, 0 to 1.
    pub decay_rate: f64,
}

impl Default for FairshareSettings {
    /// The worked setting of the mission: 1 h, 5, 0.85.
    fn default() -> Self {
        Self {
            duration_s: 3600,
            max_depth: 5,
            decay_rate: 0.85,
        }
    }
}

/// Most intervals that can be made to count.
pub const MAX_DEPTH_MAX: u32 = 1000;

/// Steps in which usage loses half of its weight.
const STEPS: u32 = 24;

/// Usage that loses half of its weight in each stretch of this length, in 24 steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HalfLifeSettings {
    /// In how many seconds usage loses half of its weight; at least 24.
    pub half_life_s: u64,
}

impl Default for HalfLifeSettings {
    /// A week, Slurm's default. HTCondor's is a day.
    fn default() -> Self {
        Self {
            half_life_s: 7 * 24 * 3600,
        }
    }
}

impl HalfLifeSettings {
    /// The shortest half-life, in seconds.
    pub const MIN_S: u64 = STEPS as u64;

    /// The same as intervals: 24 to a half-life, over ten half-lives, after which a thousandth
    /// of the weight is left.
    pub fn as_intervals(self) -> FairshareSettings {
        FairshareSettings {
            duration_s: (self.half_life_s / u64::from(STEPS)).max(1),
            max_depth: 10 * STEPS,
            // 0.5^(1/24), written out: the same on every machine.
            decay_rate: 0.971_531_941_153_605_9,
        }
    }
}
