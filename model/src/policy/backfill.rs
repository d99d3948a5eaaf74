//! How idle cores are used while a wide task waits for more of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What may go ahead of a task that does not fit yet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Backfill {
    /// Whatever fits: wide tasks wait until enough is free by chance.
    Off,
    /// What does not delay the first task that does not fit (EASY).
    #[default]
    Easy,
    /// What delays none of the tasks before it that do not fit.
    Conservative,
}

/// How idle cores are used while wide tasks wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackfillSettings {
    /// What may go ahead.
    pub mode: Backfill,
    /// Conservative: for how many tasks that do not fit, at each CE, cores are kept; the others
    /// wait until they are among them.
    pub depth: u32,
    /// Cores are kept for a task only if it can start within so many seconds: keeping them
    /// costs what could run on them meanwhile. It does not bind for what has waited for longer
    /// than the policy's `wait_max_s`.
    pub drain_max_s: u64,
}

impl Default for BackfillSettings {
    fn default() -> Self {
        Self {
            mode: Backfill::default(),
            depth: 50,
            drain_max_s: 24 * 3600,
        }
    }
}
