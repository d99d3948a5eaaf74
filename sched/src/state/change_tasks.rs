//! A person's word: cancel, hold, release.

use std::collections::BTreeSet;

use fairway_model::event::TaskVerb;
use fairway_model::{EventKind, JobId, Principal, TaskId, TaskState, Timestamp};

use super::{State, Untouched, refused};
use crate::command::{Change, Refused, RefusedKind, Reply, Selection};
use crate::nodes::Row;

/// So many tasks that were left as they are, are told.
const LEFT_MAX: usize = 100;

/// What became of the tasks of one request.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) changed: u32,
    left: Vec<(TaskId, String)>,
}

impl Tally {
    pub(super) fn leave(&mut self, task: TaskId, reason: impl Into<String>) {
        self.leave_with(task, || reason.into());
    }

    /// As [`leave`](Self::leave), for a reason that takes some finding.
    pub(super) fn leave_with(&mut self, task: TaskId, reason: impl FnOnce() -> String) {
        if self.left.len() < LEFT_MAX {
            self.left.push((task, reason()));
        }
    }

    pub(super) fn reply(self) -> Reply {
        Reply::TasksChanged {
            changed: self.changed,
            left: self.left,
        }
    }
}

/// What a verb makes of a task.
enum Effect {
    /// It goes to this state.
    Become(TaskState),
    /// It is held when it comes back, or not any more.
    HoldOnReturn(bool),
    /// It stays as it is, because of this.
    Leave(&'static str),
}

fn effect(verb: TaskVerb, state: TaskState, hold_on_return: bool) -> Effect {
    use Effect::{Become, HoldOnReturn, Leave};
    use TaskState::{
        Blocked, Cancelled, Cancelling, Failed, Held, Leased, Running, Skipped, Succeeded, Waiting,
    };
    match (verb, state) {
        (_, Succeeded | Failed | Cancelled | Skipped) => Leave("it is over"),
        (TaskVerb::Cancel, Blocked | Waiting | Held) => Become(Cancelled),
        (TaskVerb::Cancel, Leased | Running) => Become(Cancelling),
        (_, Cancelling) => Leave("it is being cancelled"),
        (TaskVerb::Hold, Blocked | Waiting) => Become(Held),
        (TaskVerb::Hold, Held) => Leave("it is held already"),
        (TaskVerb::Hold, Leased | Running) => HoldOnReturn(true),
        (TaskVerb::Release, Held) => Become(Waiting),
        (TaskVerb::Release, Leased | Running) if hold_on_return => HoldOnReturn(false),
        (TaskVerb::Release, Blocked | Waiting | Leased | Running) => Leave("it is not held"),
        (TaskVerb::Retry, Blocked) => Leave("it waits for other tasks"),
        (TaskVerb::Retry, Waiting) => Leave("it waits in the queue"),
        (TaskVerb::Retry, Held) => Leave("it is held: release it"),
        (TaskVerb::Retry, Leased | Running) => Leave("it is with a pilot"),
        (TaskVerb::Suspend | TaskVerb::Resume, Blocked | Waiting | Held | Leased | Running) => {
            Leave("it does not run")
        }
    }
}

impl State {
    pub(super) fn change_tasks(
        &mut self,
        verb: TaskVerb,
        tasks: Selection,
        by: &Principal,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        let mut tally = Tally::default();
        match tasks {
            Selection::Job(id) => {
                self.may_touch(id, by)?;
                self.change_rows(verb, id, (0, u32::MAX), by, &mut tally, now);
            }
            Selection::Row(id, from, to) => {
                self.may_touch(id, by)?;
                self.refuse_ended(id, (from, to))?;
                self.change_rows(verb, id, (from, to), by, &mut tally, now);
            }
            Selection::Tasks(ids) => {
                let ids: BTreeSet<TaskId> = ids.into_iter().collect();
                self.change_chosen(verb, &ids, by, &mut tally, now);
            }
        }
        Ok(tally.reply())
    }

    /// Refuses if the job is over or not theirs.
    pub(super) fn may_touch(&self, id: JobId, by: &Principal) -> Result<(), Refused> {
        let no_job = || refused(RefusedKind::NotFound, format!("there is no job {id}"));
        match self.jobs.get(&id) {
            Some(live) if by.may_touch(&live.job.owner) => Ok(()),
            None if id.0 < self.next_job => {
                let reason = format!("all tasks of job {id} are over");
                Err(refused(RefusedKind::Conflict, reason))
            }
            _ => Err(no_job()),
        }
    }

    /// Refuses if no task of the row is left.
    fn refuse_ended(&self, id: JobId, (from, to): Row) -> Result<(), Refused> {
        let left = self.jobs.get(&id).is_some_and(|live| {
            live.tasks.range(from..to).next().is_some() || live.untouched.meets(from, to)
        });
        if left {
            return Ok(());
        }
        let reason = format!("all of these tasks of job {id} are over");
        Err(refused(RefusedKind::Conflict, reason))
    }

    fn change_rows(
        &mut self,
        verb: TaskVerb,
        id: JobId,
        (from, to): Row,
        by: &Principal,
        tally: &mut Tally,
        now: Timestamp,
    ) {
        let Some(live) = self.jobs.get(&id) else {
            return;
        };
        let ranges = live.untouched.within(from, to);
        let others: Vec<u32> = live
            .tasks
            .range(from..to)
            .map(|(&index, _)| index)
            .collect();
        for (from, to, untouched) in ranges {
            self.change_range(verb, (id, from, to), untouched, by, tally, now);
        }
        for index in others {
            self.change_task(verb, TaskId::new(id, index), by, tally, now);
        }
        self.settle(id, now);
    }

    pub(super) fn change_chosen(
        &mut self,
        verb: TaskVerb,
        ids: &BTreeSet<TaskId>,
        by: &Principal,
        tally: &mut Tally,
        now: Timestamp,
    ) {
        let mut jobs = BTreeSet::new();
        let mut rest = ids.iter().copied().peekable();
        while let Some(task) = rest.next() {
            let (JobId(job), index) = (task.job, task.index);
            let live = match self.jobs.get(&task.job) {
                Some(live) if !by.may_touch(&live.job.owner) => None,
                Some(live) if index >= live.job.task_count => None,
                Some(live) => Some(live),
                None if job < self.next_job => {
                    tally.leave(task, "all tasks of its job are over");
                    continue;
                }
                None => None,
            };
            let Some(live) = live else {
                tally.leave(task, "there is no such task");
                continue;
            };
            jobs.insert(task.job);
            if let Some((_, end, untouched)) = live.untouched.get(index) {
                // Chosen neighbours go in one step.
                let mut to = index + 1;
                while to < end && rest.next_if_eq(&TaskId::new(task.job, to)).is_some() {
                    to += 1;
                }
                self.change_range(verb, (task.job, index, to), untouched, by, tally, now);
            } else if live.tasks.contains_key(&index) {
                self.change_task(verb, task, by, tally, now);
            } else {
                tally.leave(task, "it is over");
            }
        }
        for job in jobs {
            self.settle(job, now);
        }
    }

    /// Changes tasks that no attempt was ever begun for, all in the same state.
    fn change_range(
        &mut self,
        verb: TaskVerb,
        (id, from, to): (JobId, u32, u32),
        before: Untouched,
        by: &Principal,
        tally: &mut Tally,
        now: Timestamp,
    ) {
        let state = match effect(verb, before.state, false) {
            Effect::Become(state) => state,
            Effect::HoldOnReturn(_) => return,
            Effect::Leave(reason) => {
                let told = u32::try_from(LEFT_MAX).unwrap_or(u32::MAX);
                for index in from..to.min(from.saturating_add(told)) {
                    tally.leave(TaskId::new(id, index), reason);
                }
                return;
            }
        };
        tally.changed += to - from;
        let rows = match state {
            // What is released goes where it would be had it never been held.
            TaskState::Waiting => self.by_readiness(id, (from, to)),
            _ => vec![(true, (from, to))],
        };
        if state == TaskState::Waiting {
            self.depends.stir(id);
        }
        for (ready, row) in rows {
            let state = if ready { state } else { TaskState::Blocked };
            self.move_row(id, row, before.state, state, now);
            self.row_changed(verb, (id, row.0, row.1), state, by, now);
        }
    }

    pub(super) fn row_changed(
        &mut self,
        verb: TaskVerb,
        (job, from, to): (JobId, u32, u32),
        state: TaskState,
        by: &Principal,
        now: Timestamp,
    ) {
        let kind = EventKind::TasksChanged {
            job,
            from,
            to,
            verb,
            state,
            by: by.name.clone(),
        };
        self.event(kind, now);
    }

    /// Changes a task that an attempt was begun for.
    fn change_task(
        &mut self,
        verb: TaskVerb,
        task: TaskId,
        by: &Principal,
        tally: &mut Tally,
        now: Timestamp,
    ) {
        let Some(live) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let Some(row) = live.tasks.get_mut(&task.index) else {
            return;
        };
        let before = row.state;
        if before == TaskState::Running && matches!(verb, TaskVerb::Suspend | TaskVerb::Resume) {
            return self.sleep_by_hand(verb, task, by, tally, now);
        }
        let state = match effect(verb, before, row.hold_on_return) {
            Effect::Become(state) => {
                row.since = now;
                state
            }
            Effect::HoldOnReturn(hold) => {
                if hold {
                    tally.leave(
                        task,
                        "it is with a pilot: it runs on, and is held only if it comes back",
                    );
                }
                if row.hold_on_return == hold {
                    return;
                }
                // The wish is on record, though the task runs on.
                tally.changed += 1;
                row.hold_on_return = hold;
                before
            }
            Effect::Leave(reason) => {
                tally.leave(task, reason);
                return;
            }
        };
        if state != before {
            row.state = state;
            row.hold_on_return = false;
            tally.changed += 1;
        }
        let (row, class) = (row.clone(), live.class_of(task.index));
        live.moved((task.index, task.index + 1), before, state);
        let row_of_one = (task.index, task.index + 1);
        self.depends.note(task.job, row_of_one, before, state);
        if before == TaskState::Waiting {
            self.dequeue(task.job, task.index, task.index + 1);
        }
        match state {
            TaskState::Waiting => self.enqueue(task.job, task.index, task.index + 1),
            TaskState::Cancelling => {
                if let Some(pilot) = row.pilot {
                    if let Some(lease) = self.lease_mut(pilot, task) {
                        lease.cancelling = true;
                    }
                    self.tell(pilot);
                }
            }
            TaskState::Cancelled => {
                if let Some(live) = self.jobs.get_mut(&task.job) {
                    live.tasks.remove(&task.index);
                }
                self.leave_class(class, 1);
            }
            _ => {}
        }
        self.changes.push(Change::Task(row));
        let kind = EventKind::TaskChanged {
            task,
            verb,
            state,
            by: by.name.clone(),
        };
        self.event(kind, now);
    }
}
