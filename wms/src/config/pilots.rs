//! Pilots: the program, and how long they may be silent, idle or late.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Pilots: the program, and how long they may be silent, idle or late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PilotsConfig {
    /// The pilot program on the worker nodes, with its arguments; a CE may name another.
    pub program: Vec<String>,
    /// A pilot ends by itself after so many seconds without work.
    pub idle_s: u64,
    /// A pilot not heard of for so many seconds is lost, and its tasks are queued again.
    pub silence_max_s: u64,
    /// A pilot that runs in the batch system and has not called home for so many seconds is
    /// lost.
    pub start_max_s: u64,
    /// Seconds between two looks at each batch system.
    pub look_every_s: u64,
    /// Seconds between two plans of how many pilots are needed; new work is planned for at
    /// once.
    pub plan_every_s: u64,
    /// No pilot is sent to a CE whose published state is older than so many seconds.
    pub published_age_max_s: u64,
    /// A task that asked for no walltime must find at least so many seconds left of a pilot.
    pub remaining_min_s: u64,
    /// Pilots at all sites together that are not over, at most; no limit if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pilots_max: Option<u32>,
    /// A CE without pilots begins with so many. It is trusted with twice as many each time that
    /// all of them prove useful.
    pub ramp_min: u32,
    /// A pilot that waits in the batch system is called back when there has been no work for it
    /// for so many seconds.
    pub recall_after_s: u64,
    /// A pilot that waits in the batch system for longer than so many seconds is called back.
    pub queued_max_s: u64,
}

impl Default for PilotsConfig {
    fn default() -> Self {
        Self {
            program: vec!["fairway-pilot".into()],
            idle_s: 120,
            silence_max_s: 180,
            start_max_s: 600,
            look_every_s: 15,
            plan_every_s: 15,
            published_age_max_s: 300,
            remaining_min_s: 60,
            pilots_max: None,
            ramp_min: 10,
            recall_after_s: 30,
            queued_max_s: 2 * 24 * 3600,
        }
    }
}

impl PilotsConfig {
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        if self.program.first().is_none_or(String::is_empty) {
            wrong.push("pilots.program must name the pilot program".into());
        }
        for (name, value) in [
            ("silence_max_s", self.silence_max_s),
            ("start_max_s", self.start_max_s),
            ("look_every_s", self.look_every_s),
            ("plan_every_s", self.plan_every_s),
            ("ramp_min", self.ramp_min.into()),
            ("queued_max_s", self.queued_max_s),
        ] {
            if value == 0 {
                wrong.push(format!("pilots.{name} must be at least 1"));
            }
        }
    }

    /// How often pilots must be heard of, in seconds: three may be missed.
    pub fn heartbeat_s(&self) -> u64 {
        (self.silence_max_s / 4).max(1)
    }
}
