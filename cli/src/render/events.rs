//! The history of a task, a job or a pilot.

use fairway_model::{Event, EventKind, GivesWay};

use super::table::harmless;

/// Events, one a line.
pub(crate) fn list(events: &[Event]) -> String {
    events
        .iter()
        .map(|event| format!("{}  {}\n", event.at, harmless(&sentence(&event.kind))))
        .collect()
}

fn sentence(kind: &EventKind) -> String {
    match kind {
        EventKind::JobSubmitted { job, tasks, by } => {
            let tasks = super::words::count(*tasks, "task");
            format!("job {job} with {tasks} submitted by {by}")
        }
        EventKind::TaskLeased {
            task,
            attempt,
            pilot,
            ce,
            because,
        } => {
            let why = because.as_ref().map(|why| format!(": {why}"));
            let why = why.unwrap_or_default();
            format!("{task} given to pilot {pilot} at {ce} (attempt {attempt}){why}")
        }
        EventKind::TaskStarted { task, attempt } => format!("{task} started (attempt {attempt})"),
        EventKind::TaskGivesWay {
            task,
            attempt,
            to,
            how,
            because,
        } => {
            let how = match how {
                GivesWay::Stops => "is stopped and queued again",
                GivesWay::Sleeps => "is suspended",
            };
            format!("{task} gives way to {to} and {how}: {because} (attempt {attempt})")
        }
        EventKind::TaskSuspended { task, attempt } => {
            format!("{task} suspended (attempt {attempt})")
        }
        EventKind::TaskResumed { task, attempt } => {
            format!("{task} goes on (attempt {attempt})")
        }
        EventKind::AttemptEnded {
            task,
            attempt,
            state,
            because,
            ..
        } => format!("{task} {}: {because} (attempt {attempt})", state.name()),
        EventKind::TaskChanged {
            task,
            verb,
            state,
            by,
        } => format!("{task} {}: {} asked for by {by}", state.name(), verb.name()),
        EventKind::TasksChanged {
            job,
            from,
            to,
            verb,
            state,
            by,
        } => format!(
            "{job}.{from} to {job}.{} {}: {} asked for by {by}",
            to.saturating_sub(1),
            state.name(),
            verb.name()
        ),
        EventKind::TasksMoved {
            job,
            from,
            to,
            state,
            because,
        } => match to - from {
            1 => format!("{job}.{from} {}: {because}", state.name()),
            _ => format!(
                "{job}.{from} to {job}.{} {}: {because}",
                to - 1,
                state.name()
            ),
        },
        EventKind::PilotPlanned { pilot, ce, because } => {
            format!("pilot {pilot} planned for {ce}: {because}")
        }
        EventKind::PilotChanged {
            pilot,
            state,
            detail,
        } => format!("pilot {pilot} {}: {detail}", state.name()),
        EventKind::PilotEnded { pilot, end } => format!("pilot {pilot} ended: {end}"),
        EventKind::NodeSetAside {
            ce,
            host,
            evidence,
            until,
        } => format!("node {host} of {ce} set aside until {until}: {evidence}"),
        EventKind::NodeProbed { ce, host } => {
            format!("node {host} of {ce} is probed: it gets one task at a time")
        }
        EventKind::NodeReleased { ce, host, because } => {
            format!("node {host} of {ce} gets tasks again: {because}")
        }
        EventKind::SiteChanged { site, what, by } => format!("site {site} {what} by {by}"),
        EventKind::PolicyChanged {
            policy,
            by,
            because,
        } => {
            let because = because.as_ref().map(|it| format!(" ({it})"));
            let because = because.unwrap_or_default();
            format!("policy changed by {by}{because}: {policy}")
        }
    }
}
