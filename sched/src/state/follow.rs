//! What follows for the tasks that depend on others, and moving tasks in rows.

use std::collections::BTreeMap;

use fairway_model::{EventKind, JobId, TaskId, TaskState, Timestamp};

use super::{Classes, LiveJob, State, Untouched};
use crate::command::Change;
use crate::nodes::{Consequences, Culprit, Row};

impl State {
    /// Draws the consequences of what became of tasks of a job: tasks that depend on them are
    /// queued, skipped, or wait again; the job is let go if all its tasks are over. Gives back
    /// how many tasks that were skipped wait again.
    pub(super) fn settle(&mut self, id: JobId, now: Timestamp) -> u32 {
        let live = self.jobs.get_mut(&id);
        let consequences = live.and_then(|live| {
            let nodes = live.nodes.as_mut()?;
            Some(nodes.settle(live.spec.nodes()))
        });
        let again = consequences.map_or(0, |consequences| self.follow(id, consequences, now));
        self.finish_job(id, now);
        self.settle_dependents(now);
        again
    }

    fn follow(&mut self, id: JobId, consequences: Consequences, now: Timestamp) -> u32 {
        let Consequences {
            ready,
            futile,
            hopeful,
        } = consequences;
        for row in ready {
            let because = "all that it waited for has succeeded";
            for (before, row) in self.untouched(id, row) {
                // What is held stays so until it is released.
                if before == TaskState::Blocked {
                    self.follow_row(id, row, before, TaskState::Waiting, because, now);
                }
            }
        }
        for (row, culprit) in futile {
            let because = self.blame(id, culprit);
            for (before, row) in self.untouched(id, row) {
                self.follow_row(id, row, before, TaskState::Skipped, &because, now);
            }
        }
        let mut again = 0;
        for row in hopeful {
            let live = self.jobs.get(&id).and_then(|live| live.nodes.as_ref());
            for row in live.map_or(Vec::new(), |nodes| nodes.skipped(row)) {
                let because = "what it depends on was queued again";
                let (before, after) = (TaskState::Skipped, TaskState::Blocked);
                self.follow_row(id, row, before, after, because, now);
                again += row.1 - row.0;
            }
        }
        again
    }

    /// The tasks of a row that no attempt was ever begun for, with their states.
    pub(super) fn untouched(&self, id: JobId, (from, to): Row) -> Vec<(TaskState, Row)> {
        let live = self.jobs.get(&id);
        let within = live.map_or(Vec::new(), |live| live.untouched.within(from, to));
        let state = |(from, to, untouched): (u32, u32, Untouched)| (untouched.state, (from, to));
        within.into_iter().map(state).collect()
    }

    /// Which task is in the way, in a sentence.
    fn blame(&self, id: JobId, (index, state): Culprit) -> String {
        let task = TaskId::new(id, index);
        let live = self.jobs.get(&id);
        let node = live.and_then(|live| live.node_name(index)).unwrap_or("?");
        let how = match state {
            TaskState::Cancelled => "was cancelled",
            _ => "failed",
        };
        format!("task {task} of node `{node}`, which it depends on, {how}")
    }

    pub(super) fn follow_row(
        &mut self,
        job: JobId,
        (from, to): Row,
        before: TaskState,
        state: TaskState,
        because: &str,
        now: Timestamp,
    ) {
        self.move_row(job, (from, to), before, state, now);
        let kind = EventKind::TasksMoved {
            job,
            from,
            to,
            state,
            because: because.to_owned(),
        };
        self.event(kind, now);
    }

    /// Moves a row of tasks that no attempt was ever begun for from one state to another.
    pub(super) fn move_row(
        &mut self,
        job: JobId,
        (from, to): Row,
        before: TaskState,
        state: TaskState,
        now: Timestamp,
    ) {
        if before == TaskState::Waiting {
            self.dequeue(job, from, to);
        }
        if before.is_final() {
            self.rejoin(job, (from, to));
        }
        let Some(live) = self.jobs.get_mut(&job) else {
            return;
        };
        live.untouched.take(from, to);
        live.moved((from, to), before, state);
        self.depends.note(job, (from, to), before, state);
        let mut left = Vec::new();
        if state.is_final() {
            left = live.by_class(from, to);
        } else {
            let untouched = Untouched { state, since: now };
            live.untouched.insert(from, to, untouched);
        }
        if state == TaskState::Waiting {
            self.enqueue(job, from, to);
        }
        for (class, rows) in left {
            let tasks = rows.iter().map(|(from, to)| u64::from(to - from)).sum();
            self.leave_class(class, tasks);
        }
        self.changes.push(Change::TaskRange {
            job,
            from,
            to,
            state,
            since: now,
        });
    }

    /// Lets tasks that were over join their classes, which may have gone meanwhile.
    pub(super) fn rejoin(&mut self, id: JobId, (from, to): Row) {
        let Some(live) = self.jobs.get(&id) else {
            return;
        };
        let (spec, group) = (live.spec.read().cloned(), live.job.group.clone());
        if let Classes::Uniform(class) = live.classes {
            let needs = spec.map(|spec| spec.needs(from));
            let needs = needs.or_else(|| Some(self.queue.class(class)?.needs.clone()));
            let Some(needs) = needs else {
                debug_assert!(false, "nothing is known of what job {id} needs");
                return;
            };
            let class = self.join_class(&needs, group.as_ref(), u64::from(to - from));
            if let Some(live) = self.jobs.get_mut(&id) {
                live.classes = Classes::Uniform(class);
            }
            return;
        }
        let Some(spec) = spec else { return };
        let kinds = spec.kinds();
        let mut joining: BTreeMap<usize, u64> = BTreeMap::new();
        for index in from..to {
            *joining.entry(kinds.of(index)).or_default() += 1;
        }
        for (place, tasks) in joining {
            let class = self.join_class(&kinds.all()[place].0, group.as_ref(), tasks);
            if let Some(live) = self.jobs.get_mut(&id)
                && let Classes::Kinds(ids) = &mut live.classes
            {
                ids[place] = class;
            }
        }
    }
}

impl LiveJob {
    /// Counts a row of tasks that went from one state to another.
    pub(super) fn moved(&mut self, (from, to): Row, before: TaskState, after: TaskState) {
        self.counts.shift(before, after, to - from);
        if let Some(nodes) = &mut self.nodes {
            nodes.note(self.spec.nodes(), (from, to), before, after);
        }
    }

    /// The name of a task's node, if the job is compound.
    pub(crate) fn node_name(&self, index: u32) -> Option<&str> {
        let place = self.spec.node_of(index)?;
        let node = self.spec.nodes().get(place as usize)?;
        Some(&node.name)
    }

    /// How many tasks of a node of which none failed or was cancelled are in each state; states
    /// with none are left out.
    pub(crate) fn states_of_node(&self, place: u32) -> BTreeMap<TaskState, u32> {
        let mut states = BTreeMap::new();
        let mut add = |state, tasks| {
            if tasks > 0 {
                *states.entry(state).or_default() += tasks;
            }
        };
        let node = self.spec.nodes().get(place as usize);
        let Some((nodes, node)) = self.nodes.as_ref().zip(node) else {
            return states;
        };
        let tasks = node.tasks.clone();
        for (from, to, untouched) in self.untouched.within(tasks.start, tasks.end) {
            add(untouched.state, to - from);
        }
        for (_, row) in self.tasks.range(tasks.clone()) {
            add(row.state, 1);
        }
        let succeeded = tasks.end - tasks.start - nodes.missing(place);
        add(TaskState::Succeeded, succeeded);
        states
    }

    /// A row of tasks in parts that wait for nothing of their job any more, or do.
    pub(super) fn by_readiness(&self, row: Row) -> Vec<(bool, Row)> {
        match &self.nodes {
            Some(nodes) => nodes.by_readiness(self.spec.nodes(), row),
            None => vec![(true, row)],
        }
    }
}
