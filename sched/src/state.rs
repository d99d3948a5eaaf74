//! All that is decided upon.

use fairway_model::Timestamp;

use crate::command::{Applied, Command, Snapshot};

/// The operator's settings that decisions depend on, beside the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A pilot not heard of for so long is lost.
    pub pilot_silence_max_s: u64,
    /// A pilot that runs in the batch system and has not called home for so long is lost.
    pub pilot_start_max_s: u64,
    /// A task may be lost with so many pilots before it fails.
    pub losses_max: u32,
    /// A task must have so many seconds of a pilot's remaining time if it asks for no walltime.
    pub remaining_min_s: u64,
    /// Most tasks given to a pilot in one sync.
    pub grants_max: u32,
    /// No pilots are asked for of a CE whose published state is older than this.
    pub published_age_max_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pilot_silence_max_s: 300,
            pilot_start_max_s: 600,
            losses_max: 3,
            remaining_min_s: 60,
            grants_max: 100,
            published_age_max_s: 600,
        }
    }
}

/// All that is decided upon; a cache of the store, rebuilt from it at start.
#[derive(Clone, Debug)]
pub struct State;

impl State {
    /// The state that a snapshot of the store describes. Pilots in it count as heard of at `now`.
    pub fn load(_snapshot: Snapshot, _settings: Settings, _now: Timestamp) -> Self {
        todo!()
    }

    /// Carries out one command.
    pub fn apply(&mut self, _command: Command, _now: Timestamp) -> Applied {
        todo!()
    }
}
