//! What people read. Everything here makes texts from values: nothing is
//! fetched or printed, and "now" is handed in.

pub(crate) mod accounts;
pub(crate) mod check;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod jobs;
pub(crate) mod policy;
pub(crate) mod sites;
pub(crate) mod table;
pub(crate) mod tasks;
pub(crate) mod why;
pub(crate) mod words;

#[cfg(test)]
mod tests;

use anstyle::{AnsiColor, Style};
use fairway_model::{PilotState, TaskState};

/// The colour of a task's state.
pub(crate) fn task_style(state: TaskState) -> Style {
    match state {
        TaskState::Blocked | TaskState::Waiting => Style::new(),
        TaskState::Held | TaskState::Cancelling => AnsiColor::Yellow.on_default(),
        TaskState::Leased | TaskState::Running => AnsiColor::Cyan.on_default(),
        TaskState::Succeeded => AnsiColor::Green.on_default(),
        TaskState::Failed => AnsiColor::Red.on_default(),
        TaskState::Cancelled | TaskState::Skipped => Style::new().dimmed(),
    }
}

/// The colour of a pilot's state.
pub(crate) fn pilot_style(state: PilotState) -> Style {
    match state {
        PilotState::Planned | PilotState::Queued | PilotState::Starting => Style::new(),
        PilotState::Active => AnsiColor::Green.on_default(),
        PilotState::Draining => AnsiColor::Yellow.on_default(),
        PilotState::Ended => Style::new().dimmed(),
    }
}
