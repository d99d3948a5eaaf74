//! The life of an attempt: granted, started, ended; and what its end means for the task.

use fairway_jdl::Needs;
use fairway_model::{
    Attempt, AttemptEnd, CeId, EventKind, PilotId, Preemption, Resources, Task, TaskId, TaskState,
    Timestamp, UsageRecord,
};

use super::State;
use crate::backfill::Passed;
use crate::command::{Change, Grant};
use crate::element::Element;
use crate::matching::Lease;
use crate::queue::Choice;
use crate::shares::Used;

/// Core-milliseconds between two moments.
pub(crate) fn core_ms(from: Timestamp, to: Timestamp, cores: u32) -> u64 {
    let wall_ms = u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX);
    wall_ms.saturating_mul(u64::from(cores))
}

/// What running takes between two moments, with cores of that benchmark.
pub(super) fn running(
    resources: Resources,
    benchmark: f64,
    from: Timestamp,
    to: Timestamp,
) -> Used {
    let wall_ms = core_ms(from, to, 1);
    let core_ms = core_ms(from, to, resources.cores);
    let memory_mib_ms = wall_ms.saturating_mul(resources.memory_mib);
    Used {
        tasks_started: 0,
        core_ms,
        cpu_ms: 0,
        normalised_ms: (core_ms as f64 * benchmark).round() as u64,
        memory_gib_ms: memory_mib_ms / 1024,
        gpu_ms: wall_ms.saturating_mul(u64::from(resources.gpus)),
    }
}

/// What an attempt used, as its pilot reports it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) wall_ms: u64,
    pub(super) cpu_ms: u64,
    pub(super) memory_peak_kib: u64,
}

/// What the end of an attempt means for its task.
struct Outcome {
    state: TaskState,
    because: String,
}

/// Decides what becomes of a task whose attempt ended, and counts the failure.
/// `excuse`: why its node is to blame.
fn outcome(
    task: &mut Task,
    end: &AttemptEnd,
    excuse: Option<String>,
    needs: &Needs,
    losses_max: u32,
) -> Outcome {
    let done = |state, because| Outcome { state, because };
    if end.is_success() {
        return done(TaskState::Succeeded, end.to_string());
    }
    if task.state == TaskState::Cancelling {
        return done(TaskState::Cancelled, "cancelled by its owner's word".into());
    }
    if let Some(excuse) = excuse.filter(|_| task.losses < losses_max) {
        task.losses += 1;
        let (state, place) = back(task);
        return done(state, format!("{end}; {excuse}; {place}"));
    }
    let (count, allowed, what) = match end {
        AttemptEnd::HandedBack { .. } => {
            let (state, place) = back(task);
            return done(state, format!("{end}; {place}"));
        }
        // A pilot that stops what nobody cancelled has lost it.
        AttemptEnd::PilotLost { .. } | AttemptEnd::Cancelled => {
            task.losses += 1;
            (task.losses, losses_max, "losses of its pilot")
        }
        AttemptEnd::NotStarted { .. } => {
            task.shallow_failures += 1;
            (
                task.shallow_failures,
                needs.retries_shallow,
                "retries before the start (ShallowRetryCount)",
            )
        }
        AttemptEnd::Exited { .. }
        | AttemptEnd::Signaled { .. }
        | AttemptEnd::WalltimeExceeded { .. }
        | AttemptEnd::MemoryExceeded { .. }
        | AttemptEnd::OutputLost { .. } => {
            task.deep_failures += 1;
            (
                task.deep_failures,
                needs.retries_deep,
                "retries after the start (RetryCount)",
            )
        }
    };
    if count > allowed {
        let because = match allowed {
            0 => format!("{end}; no {what} are allowed"),
            _ => format!("{end}; all {allowed} {what} are used up"),
        };
        return done(TaskState::Failed, because);
    }
    let (state, place) = back(task);
    done(
        state,
        format!("{end}; {count} of {allowed} {what}; {place}"),
    )
}

/// Where a task goes that comes back from a pilot.
fn back(task: &Task) -> (TaskState, &'static str) {
    if task.hold_on_return {
        (TaskState::Held, "held, as was asked for")
    } else {
        (TaskState::Waiting, "queued again in its old place")
    }
}

impl State {
    /// Gives the task, which waits, to the pilot. `passed` is a task before it that cores are kept
    /// for there.
    pub(super) fn grant(
        &mut self,
        choice: Choice,
        pilot: PilotId,
        passed: Option<Passed>,
        now: Timestamp,
    ) -> Option<Grant> {
        let Choice {
            task,
            class,
            account,
        } = choice;
        let row = self.jobs.get(&task.job)?.task(task.index)?;
        debug_assert_eq!(row.state, TaskState::Waiting);
        let placement = self.placement(pilot, class, account, now)?;
        let because = self.rule_of((task, row.since), (class, account), passed, now);
        let because = because.map(|rule| rule.to_string());
        let row_of_one = [(task.index, task.index + 1)];
        self.queue
            .remove(&self.shares, class, account, (task.job, &row_of_one));
        // What was kept for it may go to others.
        self.wishes_may_be_granted |= self.kept.is_any();
        let live = self.jobs.get_mut(&task.job)?;
        live.untouched.take(task.index, task.index + 1);
        let attempt = row.attempt.next();
        let row = Task {
            state: TaskState::Leased,
            since: now,
            attempt,
            pilot: Some(pilot),
            cores: placement.portion.resources.cores,
            seats: placement.seats.clone(),
            leased_at: Some(now),
            started_at: None,
            ..row
        };
        live.counts.shift(TaskState::Waiting, TaskState::Leased, 1);
        live.tasks.insert(task.index, row.clone());
        self.queue.note_served(&self.shares, class, account, now);
        let needs = self.queue.class(class)?.needs.clone();
        let all = self.take_seats(pilot, (task, attempt), class, &placement);

        let at = self.pilots.get_mut(&pilot)?;
        let first = !std::mem::replace(&mut at.useful, true);
        at.unneeded_since = None;
        at.leases.push(Lease {
            task,
            attempt,
            account,
            class,
            resources: placement.portion.resources,
            custom: placement.portion.custom,
            seats: placement.seats,
            all,
            walltime_s: needs.walltime_s,
            since: now,
            round: at.round,
            charged_until: None,
            young_since: None,
            yielding: Default::default(),
            cancelling: false,
        });
        let ce = at.pilot.ce.clone();
        self.recount(pilot);
        self.kept_rooms.granted(task, class, pilot);
        if let Some(element) = self.elements.get_mut(&ce) {
            element.experience.note_useful(first);
        }
        self.shares.take_turn(account);
        self.note_live(pilot, account, &needs, all, true);
        self.changes.push(Change::Task(row));
        self.charge(account, &needs, Used::tasks(1));
        let kind = EventKind::TaskLeased {
            task,
            attempt,
            pilot,
            ce,
            because,
        };
        self.event(kind, now);
        self.told_grant(pilot, task)
    }

    /// What the pilot is told of a task that it has.
    pub(super) fn told_grant(&self, pilot: PilotId, task: TaskId) -> Option<Grant> {
        let job = self.jobs.get(&task.job)?;
        let at = self.pilots.get(&pilot)?;
        let lease = at.leases.iter().find(|lease| lease.task == task)?;
        Some(Grant {
            task,
            attempt: lease.attempt,
            spec: job.spec.read().cloned(),
            needs: self.queue.class(lease.class)?.needs.clone(),
            sandbox: job.job.sandbox.clone(),
            resources: lease.resources,
            hosts: self.hosts_of(at, lease),
        })
    }

    /// What running at a CE took between two moments.
    pub(super) fn ran(
        &self,
        ce: &CeId,
        resources: Resources,
        from: Timestamp,
        to: Timestamp,
    ) -> Used {
        let benchmark = self.elements.get(ce).map_or(1.0, Element::benchmark);
        running(resources, benchmark, from, to)
    }

    /// Whether this is the live attempt of the task, and it is with this pilot.
    pub(super) fn is_live(&self, pilot: PilotId, task: TaskId, attempt: Attempt) -> bool {
        self.pilots.get(&pilot).is_some_and(|live| {
            live.leases
                .iter()
                .any(|lease| lease.task == task && lease.attempt == attempt)
        })
    }

    /// Notes that the payload of a live attempt started. Repeated news change nothing.
    pub(super) fn attempt_started(&mut self, pilot: PilotId, task: TaskId, now: Timestamp) {
        let row = self
            .jobs
            .get_mut(&task.job)
            .and_then(|live| Some((&mut live.counts, live.tasks.get_mut(&task.index)?)));
        let Some((counts, row)) = row else {
            return;
        };
        if row.started_at.is_some() {
            return;
        }
        row.started_at = Some(now);
        if row.state == TaskState::Leased {
            let (before, after) = (TaskState::Leased, TaskState::Running);
            counts.shift(before, after, 1);
            row.state = after;
            row.since = now;
            let row_of_one = (task.index, task.index + 1);
            self.depends.note(task.job, row_of_one, before, after);
        }
        let (row, attempt) = (row.clone(), row.attempt);
        self.changes.push(Change::Task(row));
        self.event(EventKind::TaskStarted { task, attempt }, now);
        if let Some(live) = self.pilots.get_mut(&pilot)
            && let Some(lease) = live.leases.iter_mut().find(|lease| lease.task == task)
        {
            lease.charged_until = Some(now);
            lease.young_since = Some(now);
            lease.since = now;
            self.rooms.touch(pilot);
        }
        self.settle_dependents(now);
    }

    /// Ends a live attempt. Without measurements the server's own clock tells the wall time.
    pub(super) fn end_attempt(
        &mut self,
        pilot: PilotId,
        task: TaskId,
        end: AttemptEnd,
        measured: Option<Measured>,
        now: Timestamp,
    ) {
        let Some(at) = self.pilots.get_mut(&pilot) else {
            return;
        };
        let Some(place) = at.leases.iter().position(|lease| lease.task == task) else {
            return;
        };
        let lease = at.leases.remove(place);
        let ce = at.pilot.ce.clone();
        // Others may get what a limit kept from them.
        let limits = self.bounds.has_limits() || self.shares.has_caps();
        self.wishes_may_be_granted |= at.wish.is_some() || limits;
        self.recount(pilot);
        self.free_seats(&lease);
        let excuse = self.blame_node(pilot, task, &end, measured, now);

        let Some(live) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let Some(row) = live.tasks.get_mut(&task.index) else {
            return;
        };
        let class = lease.class;
        let Some(needs) = self.queue.class(class).map(|class| class.needs.clone()) else {
            return;
        };
        let before = row.state;
        let outcome = outcome(row, &end, excuse, &needs, self.settings.losses_max);
        row.state = outcome.state;
        row.since = now;
        row.last_end = Some(end.clone());
        row.hold_on_return = false;
        let slept_ms = row.slept_ms(now);
        row.preemption = row.preemption.map(Preemption::after_attempt);
        let row = row.clone();
        live.moved((task.index, task.index + 1), before, outcome.state);
        let row_of_one = (task.index, task.index + 1);
        self.depends
            .note(task.job, row_of_one, before, outcome.state);
        let owner = live.job.owner.clone();
        let group = live.job.group.clone();
        if outcome.state.is_final() {
            live.tasks.remove(&task.index);
        }

        self.note_live(pilot, lease.account, &needs, lease.all, false);
        let mut used = Used::cpu(measured.map_or(0, |measured| measured.cpu_ms));
        if let Some(until) = lease.charged_until.filter(|_| !lease.yielding.asleep) {
            used = used.plus(self.ran(&ce, lease.all, until, now));
        }
        self.charge(lease.account, &needs, used);
        let measured = measured.unwrap_or_else(|| Measured {
            wall_ms: row
                .started_at
                .map_or(0, |start| core_ms(start, now, 1).saturating_sub(slept_ms)),
            cpu_ms: 0,
            memory_peak_kib: 0,
        });
        self.changes.push(Change::Usage(UsageRecord {
            task,
            attempt: lease.attempt,
            user: owner,
            group,
            ce,
            pilot,
            cores: lease.all.cores,
            leased_at: row.leased_at.unwrap_or(now),
            started_at: row.started_at,
            ended_at: now,
            wall_ms: measured.wall_ms,
            cpu_ms: measured.cpu_ms,
            memory_peak_kib: measured.memory_peak_kib,
            end: end.clone(),
        }));
        self.changes.push(Change::Task(row));
        let kind = EventKind::AttemptEnded {
            task,
            attempt: lease.attempt,
            end,
            state: outcome.state,
            because: outcome.because,
        };
        self.event(kind, now);
        if outcome.state == TaskState::Waiting {
            self.enqueue(task.job, task.index, task.index + 1);
        } else if outcome.state.is_final() {
            self.leave_class(class, 1);
            self.settle(task.job, now);
        }
        self.settle_dependents(now);
    }
}
