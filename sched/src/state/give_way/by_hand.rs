//! Sleep by a person's word.

use fairway_model::event::TaskVerb;
use fairway_model::{EventKind, GivesWay, Preemption, Principal, TaskId, TaskState, Timestamp};

use super::State;
use crate::command::Change;
use crate::state::change_tasks::Tally;

/// What a verb makes of a running task, or why it stays as it is.
fn effect(
    verb: TaskVerb,
    before: Preemption,
    suspendable: bool,
) -> Result<Preemption, &'static str> {
    let wakes = before.order.is_none() && before.suspended_at.is_some();
    match verb {
        TaskVerb::Suspend if !suspendable => Err("it does not say `Suspendable = true`"),
        TaskVerb::Suspend if before.order == Some(GivesWay::Stops) => {
            Err("it gives way to others and is being stopped")
        }
        TaskVerb::Suspend if before.by_hand => Err("it is suspended already"),
        // Its pilot has been told to let it go on.
        TaskVerb::Suspend if wakes => Err("it is about to go on: try again when it does"),
        TaskVerb::Suspend => Ok(Preemption {
            order: Some(GivesWay::Sleeps),
            by_hand: true,
            ..before
        }),
        // It goes on when there is room: as what gave way to others.
        _ if before.by_hand => Ok(Preemption {
            by_hand: false,
            ..before
        }),
        _ if before.order == Some(GivesWay::Sleeps) => {
            Err("it gives way to others, and goes on when there is room")
        }
        _ => Err("it is not suspended"),
    }
}

impl State {
    /// Suspends a running task, or lets it go on, by a person's word.
    pub(in crate::state) fn sleep_by_hand(
        &mut self,
        verb: TaskVerb,
        task: TaskId,
        by: &Principal,
        tally: &mut Tally,
        now: Timestamp,
    ) {
        let suspendable = self.needs_of(task).is_some_and(|needs| needs.suspendable);
        let Some(row) = self.row_mut(task) else {
            return;
        };
        let Some(pilot) = row.pilot else { return };
        match effect(verb, row.preemption.unwrap_or_default(), suspendable) {
            Ok(preemption) => row.preemption = Some(preemption),
            Err(reason) => return tally.leave(task, reason),
        }
        let row = row.clone();
        tally.changed += 1;
        self.yield_as(pilot, &row);
        self.changes.push(Change::Task(row));
        let kind = EventKind::TaskChanged {
            task,
            verb,
            state: TaskState::Running,
            by: by.name.clone(),
        };
        self.event(kind, now);
        self.tell(pilot);
        self.resume_sleepers(pilot, now);
    }
}
