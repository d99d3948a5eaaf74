//! Queueing ended tasks again. Their rows come with the command, since memory lets go of what
//! is over.

use std::collections::BTreeSet;

use fairway_jdl::JobSpec;
use fairway_model::event::TaskVerb;
use fairway_model::{EventKind, JobId, Principal, Task, TaskState, Timestamp};

use super::change_tasks::Tally;
use super::depends::were_let_go;
use super::load::nodes_restored;
use super::{Counts, Described, LiveJob, State, refused};
use crate::command::{Change, EndedTasks, Refused, RefusedKind, Reply, Selection};
use crate::nodes::Nodes;
use crate::ranges::Ranges;

/// Whether a task in this state may be asked to be queued again.
fn is_again(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Failed | TaskState::Cancelled | TaskState::Skipped
    )
}

/// Leaves only those rows that are to be queued again. Not among them: what depends on others
/// that are still in the way when all of the rows are, which is told; and what was skipped and
/// waits again by itself.
fn leave_futile(spec: &JobSpec, mut nodes: Nodes, rows: &mut Vec<Task>, tally: &mut Tally) {
    let described = spec.nodes();
    for row in rows.iter().filter(|row| row.state != TaskState::Skipped) {
        let index = row.id.index;
        nodes.note(described, (index, index + 1), row.state, TaskState::Waiting);
    }
    nodes.settle(described);
    rows.retain(|row| {
        let Some(node) = spec
            .node_of(row.id.index)
            .filter(|node| nodes.is_futile(*node))
        else {
            return row.state != TaskState::Skipped;
        };
        tally.leave_with(row.id, || {
            let culprit = nodes.culprit(described, node).unwrap_or(node);
            let name = described.get(culprit as usize).map_or("?", |it| &it.name);
            format!("it depends on node `{name}`, which did not succeed: retry that too")
        });
        false
    });
}

impl State {
    pub(super) fn retry(
        &mut self,
        tasks: Selection,
        by: &Principal,
        ended: Vec<EndedTasks>,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        for given in &ended {
            self.check_ended(given, by)?;
        }
        let mut asked = match tasks {
            Selection::Job(id) | Selection::Row(id, ..) => {
                if !ended.iter().any(|given| given.job.id == id) {
                    self.may_touch(id, by)?;
                }
                BTreeSet::new()
            }
            Selection::Tasks(ids) => ids.into_iter().collect(),
        };
        let mut tally = Tally::default();
        for given in ended {
            for task in &given.tasks {
                asked.remove(&task.id);
            }
            self.retry_job(given, by, &mut tally, now);
        }
        if !asked.is_empty() {
            // Those that are not over are left, each with its reason.
            self.change_chosen(TaskVerb::Retry, &asked, by, &mut tally, now);
        }
        Ok(tally.reply())
    }

    /// Refuses rows that cannot be what the store holds.
    fn check_ended(&self, given: &EndedTasks, by: &Principal) -> Result<(), Refused> {
        let id = given.job.id;
        if !by.may_touch(&given.job.owner) {
            let reason = format!("there is no job {id}");
            return Err(refused(RefusedKind::NotFound, reason));
        }
        let counted: u64 = given.counts.iter().map(|(_, n)| u64::from(*n)).sum();
        let known = self.jobs.contains_key(&id);
        let sound = given.tasks.iter().all(|task| {
            task.id.job == id && task.id.index < given.job.task_count && is_again(task.state)
        });
        let in_rows: u64 = given
            .rows
            .iter()
            .map(|(_, from, to)| u64::from(to - from))
            .sum();
        let complete = counted == u64::from(given.job.task_count)
            && (!given.spec.has_dependencies() || in_rows == counted);
        if !sound || !(known || complete) {
            let reason = format!("job {id} has changed meanwhile: try again");
            return Err(refused(RefusedKind::Conflict, reason));
        }
        if !known {
            self.find_named(&given.spec, &given.named)?;
        }
        Ok(())
    }

    fn retry_job(
        &mut self,
        mut given: EndedTasks,
        by: &Principal,
        tally: &mut Tally,
        now: Timestamp,
    ) {
        let id = given.job.id;
        // Rows that were read before the tasks were queued again by somebody else.
        let known = self.jobs.get(&id);
        let mut rows = std::mem::take(&mut given.tasks);
        rows.retain(|row| known.is_none_or(|live| live.task(row.id.index).is_none()));
        rows.sort_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        let nodes = match known {
            Some(live) => live.nodes.clone(),
            None => nodes_restored(&given.spec, &given.rows),
        };
        let let_go = match known {
            Some(live) => live.is_let_go(),
            None => were_let_go(|state| {
                let mut counts = given.counts.iter();
                counts.any(|(other, tasks)| *other == state && *tasks > 0)
            }),
        };
        let revives = known.is_none();
        if revives {
            let Ok(found) = self.find_named(&given.spec, &given.named) else {
                return;
            };
            self.enroll(&given.job, &given.spec, found);
        }
        let mut skipped = Vec::new();
        if let Some(nodes) = nodes {
            skipped = self.skipped_as_a_whole(&given, &nodes, let_go, tally);
            leave_futile(&given.spec, *nodes, &mut rows, tally);
        }
        self.leave_vain(&given, let_go, &mut rows, tally);
        if rows.is_empty() && skipped.is_empty() {
            if revives {
                self.depends.withdraw(id);
            }
            return;
        }
        if revives {
            self.revive(given);
        }
        for (from, to) in skipped {
            self.retry_range((id, from, to), TaskState::Skipped, by, tally, now);
        }
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            if row.attempt.0 > 0 {
                self.retry_task(row, by, tally, now);
                continue;
            }
            let (from, state) = (row.id.index, row.state);
            let mut to = from + 1;
            let next =
                |row: &Task, to| row.id.index == to && row.state == state && row.attempt.0 == 0;
            while rows.next_if(|row| next(row, to)).is_some() {
                to += 1;
            }
            self.retry_range((id, from, to), state, by, tally, now);
        }
        self.depends.stir(id);
        tally.changed += self.settle(id, now);
    }

    /// Takes a job that is over back into memory, with no task that is not over.
    fn revive(&mut self, given: EndedTasks) {
        let id = given.job.id;
        let mut counts = Counts::default();
        for (state, tasks) in given.counts {
            counts.add(state, tasks);
        }
        let classes = self.classes_of(&given.job, &given.spec, 0);
        let live = LiveJob {
            nodes: nodes_restored(&given.spec, &given.rows),
            spec: Described::of(given.spec, &given.job.jdl),
            job: given.job,
            idempotency: None,
            untouched: Ranges::default(),
            tasks: Default::default(),
            counts,
            classes,
        };
        self.admit(live, given.idempotency);
        self.changes.push(Change::JobProgress {
            job: id,
            ended_at: None,
        });
    }

    fn retry_range(
        &mut self,
        (id, from, to): (JobId, u32, u32),
        before: TaskState,
        by: &Principal,
        tally: &mut Tally,
        now: Timestamp,
    ) {
        let rows = match before {
            // It is let go from there if nothing is in the way.
            TaskState::Skipped => vec![(false, (from, to))],
            _ => self.by_readiness(id, (from, to)),
        };
        for (ready, (from, to)) in rows {
            let state = if ready {
                TaskState::Waiting
            } else {
                TaskState::Blocked
            };
            tally.changed += to - from;
            self.move_row(id, (from, to), before, state, now);
            self.row_changed(TaskVerb::Retry, (id, from, to), state, by, now);
        }
    }

    fn retry_task(&mut self, row: Task, by: &Principal, tally: &mut Tally, now: Timestamp) {
        let task = row.id;
        self.rejoin(task.job, (task.index, task.index + 1));
        let Some(live) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let row_of_one = (task.index, task.index + 1);
        live.moved(row_of_one, row.state, TaskState::Waiting);
        self.depends
            .note(task.job, row_of_one, row.state, TaskState::Waiting);
        let row = Task {
            state: TaskState::Waiting,
            since: now,
            deep_failures: 0,
            shallow_failures: 0,
            losses: 0,
            hold_on_return: false,
            ..row
        };
        live.tasks.insert(task.index, row.clone());
        tally.changed += 1;
        self.enqueue(task.job, task.index, task.index + 1);
        self.changes.push(Change::Task(row));
        let kind = EventKind::TaskChanged {
            task,
            verb: TaskVerb::Retry,
            state: TaskState::Waiting,
            by: by.name.clone(),
        };
        self.event(kind, now);
    }
}
