//! Giving way: running tasks are told to make room for waiting ones, the room is kept for these,
//! and what sleeps goes on when there is room again.
//!
//! Here is what pilots are told and what it means for their leases. `beds` decides who gives way
//! to whom, `rooms` keeps what is being made, `sleep` is about what sleeps, and `by_hand` about
//! what a person puts to sleep.

mod beds;
mod by_hand;
mod rooms;
mod sleep;

use std::sync::Arc;
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{
    EventKind, GivesWay, Order, PilotId, Preemption, Resources, Task, TaskId, TaskState, Timestamp,
};

use super::State;
use super::sync::Orders;
use crate::command::Change;
use crate::matching::Lease;
use crate::preempt;
use crate::queue::Class;

pub(crate) use self::rooms::KeptRooms;

/// An order that nothing was seen of is given again after so long: its reply may be lost.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// What giving way means for a lease; follows from its task's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Yielding {
    /// What its pilot is to be told until it is seen to be done.
    pub(crate) order: Option<Order>,
    /// When it was told last.
    pub(crate) told_at: Option<Timestamp>,
    /// Its payload sleeps: nothing is charged.
    pub(crate) asleep: bool,
    /// Its cores are free for others.
    pub(crate) cores_free: bool,
    /// It sleeps by a person's word: others may have its cores for as long as they like.
    by_hand: bool,
}

impl Yielding {
    /// Of a live attempt.
    pub(crate) fn of(task: &Task, grace_s: u64) -> Self {
        let asleep = task.suspended_since().is_some();
        let order = match task.gives_way() {
            Some(GivesWay::Stops) => Some(Order::GiveWay { grace_s }),
            Some(GivesWay::Sleeps) => (!asleep).then_some(Order::Suspend),
            None => asleep.then_some(Order::Resume),
        };
        Self {
            order,
            told_at: None,
            asleep,
            cores_free: asleep && task.gives_way().is_some(),
            by_hand: task.preemption.is_some_and(|it| it.by_hand),
        }
    }

    /// Whether this is what the row says.
    pub(super) fn is_as(self, task: &Task) -> bool {
        let grace_s = match self.order {
            Some(Order::GiveWay { grace_s }) => grace_s,
            _ => 0,
        };
        let told = Self {
            told_at: self.told_at,
            ..Self::of(task, grace_s)
        };
        self == told
    }
}

impl Lease {
    /// What it takes of its pilot's resources.
    pub(crate) fn takes(&self) -> Resources {
        let cores = if self.yielding.cores_free {
            0
        } else {
            self.resources.cores
        };
        Resources {
            cores,
            ..self.resources
        }
    }

    /// Whether it sleeps until there is room.
    pub(crate) fn awaits_room(&self) -> bool {
        self.yielding.cores_free && !self.yielding.by_hand
    }

    /// What it takes once all orders are carried out.
    fn takes_later(&self) -> Resources {
        match self.yielding.order {
            Some(Order::GiveWay { .. }) => Resources::default(),
            Some(Order::Suspend) => without_cores(self.resources),
            _ => self.takes(),
        }
    }
}

fn without_cores(resources: Resources) -> Resources {
    Resources {
        cores: 0,
        ..resources
    }
}

fn cores_of(resources: Resources) -> Resources {
    Resources {
        cores: resources.cores,
        ..Resources::default()
    }
}

impl State {
    /// Notes that a running task is to make room.
    fn gives_way(
        &mut self,
        task: TaskId,
        pilot: PilotId,
        to: TaskId,
        because: &str,
        now: Timestamp,
    ) {
        let Some(how) = self.needs_of(task).map(|needs| preempt::how(&needs)) else {
            return;
        };
        let Some(row) = self.row_mut(task) else {
            return;
        };
        let before = row.preemption.unwrap_or_default();
        row.preemption = Some(Preemption {
            times: before.times.saturating_add(1),
            at: Some(now),
            order: Some(how),
            ..before
        });
        let row = row.clone();
        let attempt = row.attempt;
        self.yield_as(pilot, &row);
        self.changes.push(Change::Task(row));
        let kind = EventKind::TaskGivesWay {
            task,
            attempt,
            to,
            how,
            because: because.to_owned(),
        };
        self.event(kind, now);
    }

    /// Adds what the pilot is to be told of tasks that give way. What was told a moment ago is
    /// not repeated, so that a wish can stay open meanwhile.
    pub(super) fn add_give_way(&mut self, pilot: PilotId, orders: &mut Orders, now: Timestamp) {
        let Some(live) = self.pilots.get_mut(&pilot) else {
            return;
        };
        for lease in &mut live.leases {
            let yielding = &mut lease.yielding;
            let lately = |at| now.since(at) < TELL_AGAIN;
            let Some(order) = yielding
                .order
                .filter(|_| !yielding.told_at.is_some_and(lately))
            else {
                continue;
            };
            let live = self.jobs.get(&lease.task.job);
            let row = live.and_then(|live| live.tasks.get(&lease.task.index));
            // That it is to be cancelled is another order, and goes before.
            if row.is_some_and(|row| row.state != TaskState::Cancelling) {
                yielding.told_at = Some(now);
                orders.what.push((lease.task, lease.attempt, order));
            }
        }
    }

    /// Pilots that wait for an answer, and were told something of which nothing was seen, are told
    /// again; and what sleeps goes on where there is room.
    pub(super) fn watch_yielding(&mut self, now: Timestamp) {
        let mut late = Vec::new();
        let mut sleeping = Vec::new();
        for (id, live) in &self.pilots {
            let lately = |at| now.since(at) < TELL_AGAIN;
            let leases = || live.leases.iter().map(|lease| lease.yielding);
            if leases().any(|it| it.order.is_some() && !it.told_at.is_some_and(lately)) {
                late.push(*id);
            }
            if live.books().sleepers {
                sleeping.push(*id);
            }
        }
        for pilot in late {
            self.tell(pilot);
        }
        for pilot in sleeping {
            self.resume_sleepers(pilot, now);
        }
    }

    /// Makes a lease what its task's row says.
    fn yield_as(&mut self, pilot: PilotId, row: &Task) {
        let grace_s = self.policy().preemption.grace_s;
        if let Some(lease) = self.lease_mut(pilot, row.id) {
            lease.yielding = Yielding::of(row, grace_s);
        }
        self.recount(pilot);
    }

    pub(super) fn lease_mut(&mut self, pilot: PilotId, task: TaskId) -> Option<&mut Lease> {
        let live = self.pilots.get_mut(&pilot)?;
        live.leases.iter_mut().find(|lease| lease.task == task)
    }

    fn row_mut(&mut self, task: TaskId) -> Option<&mut Task> {
        self.jobs.get_mut(&task.job)?.tasks.get_mut(&task.index)
    }

    fn class_of_task(&self, task: TaskId) -> Option<&Class> {
        let live = self.jobs.get(&task.job)?;
        self.queue.class(live.class_of(task.index))
    }

    fn needs_of(&self, task: TaskId) -> Option<Arc<Needs>> {
        Some(self.class_of_task(task)?.needs.clone())
    }
}
