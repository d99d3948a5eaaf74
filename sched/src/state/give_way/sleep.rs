//! What gave way by sleeping: it is put to sleep, costs nothing meanwhile, and goes on when there
//! is room again.

use fairway_model::{
    EventKind, GivesWay, PilotId, PilotState, Preemption, Resources, TaskId, Timestamp,
};

use super::{State, beds, cores_of};
use crate::command::Change;
use crate::matching::LivePilot;
use crate::preempt::Rank;
use crate::queue::{Class, ClassId};

impl State {
    /// Lets go on what sleeps at the pilot, as far as its cores are free and nobody who goes
    /// before waits for them.
    pub(in crate::state) fn resume_sleepers(&mut self, pilot: PilotId, now: Timestamp) {
        let active = |live: &&LivePilot| live.pilot.state == PilotState::Active;
        let Some(live) = self.pilots.get(&pilot).filter(active) else {
            return;
        };
        let sleepers = live.leases.iter().filter(|it| it.awaits_room());
        let sleepers: Vec<(TaskId, Resources)> = sleepers
            .map(|lease| (lease.task, cores_of(lease.resources)))
            .collect();
        for (task, cores) in sleepers {
            if self.may_go_on(pilot, task, cores, now) {
                self.resume(pilot, task);
            }
        }
    }

    fn may_go_on(&self, pilot: PilotId, task: TaskId, cores: Resources, now: Timestamp) -> bool {
        let (Some(live), Some(class)) = (self.pilots.get(&pilot), self.class_of_task(task)) else {
            return false;
        };
        let Some(element) = self.elements.get(&live.pilot.ce) else {
            return false;
        };
        let rooms = self.kept_rooms.at(pilot).iter().map(|room| room.resources);
        let kept = rooms.fold(Resources::default(), Resources::plus);
        if !live.holds_now(cores.plus(cores_of(kept))) {
            return false;
        }
        let policy = self.policy();
        let own = Rank::of(policy, &class.needs);
        let door = self.door(now);
        let waits = |(id, other): (ClassId, &Class)| {
            Rank::of(policy, &other.needs).goes_before(policy, own)
                && live.has_room(&other.needs)
                && beds::could_take(self, live, element, (id, other), now)
                && other.may_any(id, |candidate| {
                    door.lets(candidate, element, &live.pilot.owner)
                })
        };
        !self.queue.active().any(waits)
    }

    fn resume(&mut self, pilot: PilotId, task: TaskId) {
        let Some(row) = self.row_mut(task) else {
            return;
        };
        if let Some(preemption) = &mut row.preemption {
            preemption.order = None;
        }
        let row = row.clone();
        self.yield_as(pilot, &row);
        self.changes.push(Change::Task(row));
        self.tell(pilot);
    }

    /// The pilot has put a payload to sleep. Repeated and late news change nothing.
    pub(in crate::state) fn attempt_suspended(
        &mut self,
        pilot: PilotId,
        task: TaskId,
        now: Timestamp,
    ) {
        let asked =
            |it: &&mut Preemption| it.order == Some(GivesWay::Sleeps) && it.suspended_at.is_none();
        let Some(row) = self.row_mut(task) else {
            return;
        };
        let Some(preemption) = row.preemption.as_mut().filter(asked) else {
            return;
        };
        preemption.suspended_at = Some(now);
        let (row, attempt) = (row.clone(), row.attempt);
        self.charge_lease(pilot, task, now);
        self.yield_as(pilot, &row);
        self.changes.push(Change::Task(row));
        self.event(EventKind::TaskSuspended { task, attempt }, now);
        self.wishes_may_be_granted = true;
    }

    /// A payload that slept goes on. Repeated and late news change nothing.
    pub(in crate::state) fn attempt_resumed(
        &mut self,
        pilot: PilotId,
        task: TaskId,
        now: Timestamp,
    ) {
        let Some(row) = self.row_mut(task) else {
            return;
        };
        let Some(preemption) = row.preemption.as_mut().filter(|it| it.order.is_none()) else {
            return;
        };
        let Some(since) = preemption.suspended_at.take() else {
            return;
        };
        let slept = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        preemption.suspended_ms = preemption.suspended_ms.saturating_add(slept);
        preemption.resumed_at = Some(now);
        let (row, attempt) = (row.clone(), row.attempt);
        self.yield_as(pilot, &row);
        if let Some(lease) = self.lease_mut(pilot, task) {
            lease.charged_until = Some(now);
        }
        self.changes.push(Change::Task(row));
        self.event(EventKind::TaskResumed { task, attempt }, now);
    }

    /// Charges what a running attempt used since it was charged last.
    fn charge_lease(&mut self, pilot: PilotId, task: TaskId, now: Timestamp) {
        let Some(lease) = self.lease_mut(pilot, task) else {
            return;
        };
        let Some(until) = lease.charged_until.replace(now) else {
            return;
        };
        let (account, resources) = (lease.account, lease.all);
        let ce = self.pilots.get(&pilot).map(|live| live.pilot.ce.clone());
        if let (Some(needs), Some(ce)) = (self.needs_of(task), ce) {
            let used = self.ran(&ce, resources, until, now);
            self.charge(account, &needs, used);
        }
    }
}
