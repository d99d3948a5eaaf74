//! Who is served next: the operator's choice.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The order in which users are served when a pilot has room.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Tasks in order of arrival.
    Fifo,
    /// Users in turn, one task each, without preemption.
    RoundRobin,
    /// The user with the smallest FS first.
    #[default]
    Fairshare,
}

/// What counts as having executed.
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
}

/// The settings of the mission's fairshare formula:
/// `FS_j = Σ (i = 0 .. max_depth-1) decay_rate^i · N(j,i)`,
/// where `N(j,i)` is what user `j` executed in interval `i`, 0 being the current one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FairshareSettings {
    /// `Duration`: length of an interval in seconds.
    pub duration_s: u64,
    /// `Max_depth`: how many intervals count.
    pub max_depth: u32,
    /// `Decay_rate`: weight of an interval against the one after it, 0 to 1.
    pub decay_rate: f64,
    /// What `N` counts.
    pub metric: Metric,
}

impl Default for FairshareSettings {
    /// The worked setting of the mission: 1 h, 5, 0.85.
    fn default() -> Self {
        Self {
            duration_s: 3600,
            max_depth: 5,
            decay_rate: 0.85,
            metric: Metric::default(),
        }
    }
}

/// Most intervals that can be made to count.
pub const MAX_DEPTH_MAX: u32 = 1000;

impl FairshareSettings {
    /// Refuses settings that make no sense, saying which and why.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        if self.duration_s == 0 {
            return Err("duration_s must be at least 1".into());
        }
        if !(1..=MAX_DEPTH_MAX).contains(&self.max_depth) {
            return Err(format!(
                "max_depth must be 1 to {MAX_DEPTH_MAX}, not {}",
                self.max_depth
            ));
        }
        if !(0.0..=1.0).contains(&self.decay_rate) {
            return Err(format!(
                "decay_rate must be 0 to 1, not {}",
                self.decay_rate
            ));
        }
        Ok(())
    }
}

/// The whole of the operator's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Who is served next.
    pub kind: PolicyKind,
    /// How shares are counted; they are kept under every policy, so that a change
    /// at run time finds them.
    pub fairshare: FairshareSettings,
}
