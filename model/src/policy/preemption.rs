//! When running tasks give way to others.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When running tasks give way. Which may, and to whom, tasks (`Preemptible`) and qualities of
/// service say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreemptionSettings {
    /// Whether any do.
    pub enabled: bool,
    /// A task must have waited for so many seconds before others give way to it.
    pub wait_min_s: u64,
    /// A task that gave way does not give way again before it has run for so many seconds since.
    pub again_after_s: u64,
    /// What a task has to end by itself once it was told to give way, in seconds.
    pub grace_s: u64,
}

impl Default for PreemptionSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            wait_min_s: 60,
            again_after_s: 3600,
            grace_s: 30,
        }
    }
}
