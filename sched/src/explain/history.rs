//! What the ledger has of a task, in sentences.

use std::time::Duration;

use fairway_model::{Event, EventKind, GivesWay, TaskId, TaskState, Timestamp};

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    /// When.
    pub at: Timestamp,
    /// What, without a full stop.
    pub what: String,
}

/// The life of a task by its events, oldest first. Events of others are left out.
pub fn history(task: TaskId, events: &[Event]) -> Vec<HistoryLine> {
    let mut lines = Vec::new();
    // Since when it could have started.
    let mut queued: Option<Timestamp> = None;
    for event in events.iter().filter(|event| concerns(&event.kind, task)) {
        let Some(what) = sentence(&event.kind, queued.map(|since| event.at.since(since))) else {
            continue;
        };
        match &event.kind {
            EventKind::JobSubmitted { .. } => queued = Some(event.at),
            EventKind::AttemptEnded { state, .. }
            | EventKind::TaskChanged { state, .. }
            | EventKind::TasksChanged { state, .. }
            | EventKind::TasksMoved { state, .. } => {
                let waits = *state == TaskState::Waiting;
                queued = waits.then_some(event.at);
            }
            EventKind::TaskLeased { .. } => queued = None,
            _ => {}
        }
        lines.push(HistoryLine { at: event.at, what });
    }
    lines
}

fn concerns(kind: &EventKind, task: TaskId) -> bool {
    let within = |from: u32, to: u32| (from..to).contains(&task.index);
    match kind {
        EventKind::JobSubmitted { job, .. } => *job == task.job,
        EventKind::TasksChanged { job, from, to, .. }
        | EventKind::TasksMoved { job, from, to, .. } => *job == task.job && within(*from, *to),
        other => other.task() == Some(task),
    }
}

fn sentence(kind: &EventKind, waited: Option<Duration>) -> Option<String> {
    Some(match kind {
        EventKind::JobSubmitted { by, tasks, .. } => match tasks {
            1 => format!("submitted by {by}"),
            _ => format!("submitted by {by}, with {} more", tasks - 1),
        },
        EventKind::TaskLeased {
            attempt,
            pilot,
            ce,
            because,
            ..
        } => {
            let waited = waited.map(|it| format!(" after {} s", it.as_secs()));
            let why = because.as_ref().map(|why| format!(", since {why}"));
            format!(
                "given to pilot {pilot} at {ce}{} (attempt {attempt}){}",
                waited.unwrap_or_default(),
                why.unwrap_or_default()
            )
        }
        EventKind::TaskStarted { attempt, .. } => format!("started (attempt {attempt})"),
        EventKind::AttemptEnded {
            attempt,
            state,
            because,
            ..
        } => format!("attempt {attempt} ended, now {}: {because}", state.name()),
        EventKind::TaskGivesWay {
            to, how, because, ..
        } => {
            let how = match how {
                GivesWay::Stops => "told to stop",
                GivesWay::Sleeps => "told to sleep",
            };
            format!("{how} to make room for {to}: {because}")
        }
        EventKind::TaskSuspended { .. } => "suspended".to_owned(),
        EventKind::TaskResumed { .. } => "goes on".to_owned(),
        EventKind::TaskChanged {
            verb, state, by, ..
        }
        | EventKind::TasksChanged {
            verb, state, by, ..
        } => format!("{by} asked to {} it, now {}", verb.name(), state.name()),
        EventKind::TasksMoved { state, because, .. } => {
            format!("now {}: {because}", state.name())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use fairway_model::{Attempt, JobId, PilotId};

    use super::*;

    #[test]
    fn a_lease_tells_how_long_it_was_waited_for_and_why() {
        let task = TaskId::new(JobId(1), 0);
        let event = |seq, at_s, kind| Event {
            seq,
            at: Timestamp::from_secs(at_s),
            kind,
        };
        let submitted = EventKind::JobSubmitted {
            job: JobId(1),
            tasks: 3,
            by: "anna".parse().unwrap(),
        };
        let leased = EventKind::TaskLeased {
            task,
            attempt: Attempt(1),
            pilot: PilotId(2),
            ce: "lyon/short".parse().unwrap(),
            because: Some("nobody else had tasks waiting".into()),
        };
        let told = history(task, &[event(1, 100, submitted), event(2, 160, leased)]);
        let told: Vec<&str> = told.iter().map(|line| line.what.as_str()).collect();
        assert_eq!(
            told,
            [
                "submitted by anna, with 2 more",
                "given to pilot p2 at lyon/short after 60 s (attempt 1), since nobody else had \
                 tasks waiting"
            ]
        );
    }
}
