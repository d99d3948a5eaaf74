//! The scheduler that runs in production, in a world that is made up: clusters, batch systems,
//! pilots, delays, failures and users are simulated, and nothing is decided here. Every decision
//! is made by [`fairway_sched::State::apply`] and [`fairway_sched::provision::plan`].
//!
//! - [`Clusters`]: the file that describes the clusters; [`Workload`]: what is submitted when.
//! - `world`: events in order of time, and the part that pilots and batch systems play.
//! - [`simulate`]: one run of one policy; what is measured of it is an [`Outcome`].
//! - [`report`]: outcomes side by side, as a table and as a page.
//! - [`forecast()`]: the same world begun from a live state, to tell when a task will start;
//!   [`project`]: the same, to measure what becomes of all that waits, under another policy too.
//!
//! The same inputs and the same seed give the same history, on every machine.

mod clusters;
mod forecast;
mod live;
mod numbers;
mod projection;
mod record;
pub mod report;
mod run;
mod workload;
mod world;

pub use clusters::{Cluster, Clusters, Faults, PilotSettings, PilotSupply, SchedulerSettings};
pub use forecast::{Forecast, ForecastOptions, forecast};
pub use live::RuntimeGuess;
pub use numbers::Distribution;
pub use projection::{ProjectionOptions, open_tasks, project};
pub use record::metrics::{
    Outcome, PilotCounts, Slowdowns, Targets, TaskCounts, UserOutcome, Waits, jain, share_error,
};
pub use run::{
    Observer, Setup, Watch, left_out, read_policy, simulate, simulate_observed, simulate_watched,
};
pub use workload::{Generator, JdlOptions, RuntimeSource, Workload};

/// Why something cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// What is at a path is no workload.
    #[error("{path}, read as {kind}: {reason}")]
    Workload {
        /// Where.
        path: String,
        /// As what it was read.
        kind: &'static str,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// What a text says makes no sense.
    #[error("{what}: {reason}")]
    Text {
        /// What kind of text.
        what: &'static str,
        /// What is wrong, and what to write.
        reason: String,
    },
}
