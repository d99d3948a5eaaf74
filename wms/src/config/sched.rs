//! Decisions that do not depend on the policy.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Decisions that do not depend on the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SchedConfig {
    /// A task may be lost with so many pilots before it fails.
    pub losses_max: u32,
    /// Tasks given to a pilot in one answer at most.
    pub grants_max: u32,
    /// What fails within so many seconds failed at once: it may be its node's fault.
    pub fast_fail_s: u64,
    /// A node on which so many things failed at once in a row, while other nodes do well, is set
    /// aside; at least 2.
    pub fast_fails_max: u32,
}

impl Default for SchedConfig {
    fn default() -> Self {
        Self {
            losses_max: 5,
            grants_max: 256,
            fast_fail_s: 10,
            fast_fails_max: 5,
        }
    }
}

impl SchedConfig {
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        if self.grants_max == 0 {
            wrong.push("sched.grants_max must be at least 1".into());
        }
        if self.fast_fails_max < 2 {
            wrong.push("sched.fast_fails_max must be at least 2".into());
        }
    }
}
