//! Giving way: running tasks are told to make room for waiting ones, the room is kept for these,
//! and what sleeps goes on when there is room again.

mod beds;
mod by_hand;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::{
    EventKind, GivesWay, Order, PilotId, PilotState, Preemption, Resources, Task, TaskId,
    TaskState, Timestamp,
};

use self::beds::{Beds, Decision};
use super::State;
use super::sync::Orders;
use crate::command::Change;
use crate::matching::{Lease, LivePilot};
use crate::preempt::{self, Rank};
use crate::queue::{Class, ClassId};

/// An order that nothing was seen of is given again after so long: its reply may be lost.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// Victims are looked for at most so often.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Room is kept for so long beyond the grace: for the pilot to hear of it and to tell.
const KEEP: Duration = Duration::from_secs(120);

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
}

impl Yielding {
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
    fn awaits_room(&self) -> bool {
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

/// Room that is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptRoom {
    /// For which task.
    pub(crate) task: TaskId,
    class: ClassId,
    resources: Resources,
    /// Who gives way.
    pub(crate) victims: Vec<TaskId>,
    /// It is kept until then.
    until: Timestamp,
}

/// All rooms that are being made, by pilot. In memory only: after a restart those who were told
/// to give way still do, and who is next in order gets the room.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptRooms {
    at: BTreeMap<PilotId, Vec<KeptRoom>>,
    looked_at: Option<Timestamp>,
}

impl KeptRooms {
    pub(crate) fn at(&self, pilot: PilotId) -> &[KeptRoom] {
        self.at.get(&pilot).map_or(&[], Vec::as_slice)
    }

    /// Where room is being made for a task.
    pub(crate) fn of(&self, task: TaskId) -> Option<(PilotId, &KeptRoom)> {
        let mut rooms = self.at.iter();
        rooms.find_map(|(pilot, rooms)| Some((*pilot, rooms.iter().find(|it| it.task == task)?)))
    }

    fn tasks(&self) -> BTreeSet<TaskId> {
        self.at.values().flatten().map(|room| room.task).collect()
    }

    /// A task was given to a pilot: it has what was kept for it, or for one like it.
    pub(super) fn granted(&mut self, task: TaskId, class: ClassId, pilot: PilotId) {
        if self.at.is_empty() {
            return;
        }
        let own = self.of(task).map(|(pilot, _)| pilot);
        let Some(rooms) = self.at.get_mut(&own.unwrap_or(pilot)) else {
            return;
        };
        let taken = rooms.iter().position(|room| match own {
            Some(_) => room.task == task,
            None => room.class == class,
        });
        if let Some(place) = taken {
            rooms.remove(place);
        }
    }

    fn retain(&mut self, keep: impl Fn(PilotId, &KeptRoom) -> bool) {
        for (pilot, rooms) in &mut self.at {
            rooms.retain(|room| keep(*pilot, room));
        }
        self.at.retain(|_, rooms| !rooms.is_empty());
    }
}

impl State {
    /// Looks for tasks that are to give way, unless that was done just now.
    pub(super) fn make_room(&mut self, now: Timestamp) {
        let settings = self.policy().preemption;
        let lately = |at| now.since(at) < LOOK_PAUSE;
        if !settings.enabled {
            self.kept_rooms = KeptRooms::default();
            return;
        }
        if self.kept_rooms.looked_at.is_some_and(lately) {
            return;
        }
        self.kept_rooms.looked_at = Some(now);
        self.forget_rooms(now);
        let contenders = self.contenders(now);
        if contenders.is_empty() {
            return;
        }
        let taken = self.kept_rooms.tasks();
        let decisions = Beds::of(self, now).decide(&contenders, &taken);
        for decision in decisions {
            self.carry_room_out(decision, now);
        }
    }

    fn forget_rooms(&mut self, now: Timestamp) {
        let mut rooms = std::mem::take(&mut self.kept_rooms);
        rooms.retain(|pilot, room| {
            let active =
                |live: &LivePilot| live.pilot.state == PilotState::Active && now < room.until;
            let live = self.jobs.get(&room.task.job);
            let waits = live.and_then(|live| live.task(room.task.index));
            self.pilots.get(&pilot).is_some_and(active)
                && waits.is_some_and(|task| task.state == TaskState::Waiting)
        });
        self.kept_rooms = rooms;
    }

    /// Classes with tasks that wait and that others may give way to, in the order of service.
    fn contenders(&self, now: Timestamp) -> Vec<ClassId> {
        let policy = self.policy();
        let yielding: BTreeSet<Rank<'_>> = self
            .queue
            .classes()
            .filter(|(_, class)| preempt::may_give_way(policy, &class.needs))
            .map(|(_, class)| Rank::of(policy, &class.needs))
            .collect();
        let mut found = Vec::new();
        for (id, class) in self.queue.active() {
            let rank = Rank::of(policy, &class.needs);
            // Room is made on one pilot, and not for those that need a whole node or several.
            let modest = class.needs.hosts == 1 && !class.needs.whole_node;
            if modest
                && yielding
                    .iter()
                    .any(|other| rank.goes_before(policy, *other))
            {
                found.push((id, rank.tier));
            }
        }
        if found.len() > 1 {
            let order = self.queue.classes_in_order(&self.shares, now).into_iter();
            let places: BTreeMap<ClassId, usize> = order.zip(0..).collect();
            found.sort_by_key(|(id, tier)| (Reverse(*tier), places.get(id).copied(), *id));
        }
        found.into_iter().map(|(id, _)| id).collect()
    }

    fn carry_room_out(&mut self, decision: Decision, now: Timestamp) {
        let Decision {
            task,
            class,
            resources,
            pilot,
            victims,
            because,
        } = decision;
        for victim in &victims {
            self.gives_way(*victim, pilot, task, &because, now);
        }
        let grace = Duration::from_secs(self.policy().preemption.grace_s);
        let room = KeptRoom {
            task,
            class,
            resources,
            victims,
            until: now.plus(grace).plus(KEEP),
        };
        self.kept_rooms.at.entry(pilot).or_default().push(room);
        self.tell(pilot);
    }

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
            if live.leases.iter().any(Lease::awaits_room) {
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

    /// Whether a pilot can take a task of the class without taking room that is kept: being made
    /// for others, or given up by what sleeps there.
    pub(crate) fn leaves_room(&self, live: &LivePilot, id: ClassId, class: &Class) -> bool {
        let rooms = self.kept_rooms.at(live.pilot.id);
        let sleepers = || live.leases.iter().filter(|it| it.awaits_room());
        if rooms.is_empty() && sleepers().next().is_none() {
            return true;
        }
        let needs = class.needs.resources;
        if rooms.iter().any(|room| room.class == id) {
            return live.has_room(&class.needs);
        }
        let policy = self.policy();
        let own = Rank::of(policy, &class.needs);
        let yields_to = |other: ClassId| {
            self.queue.class(other).is_some_and(|other| {
                let other = Rank::of(policy, &other.needs);
                other.goes_before(policy, own) || own.tier <= other.tier
            })
        };
        let kept_rooms = rooms.iter().filter(|room| yields_to(room.class));
        let kept_rooms = kept_rooms.map(|room| room.resources);
        let kept_cores = sleepers().filter(|lease| {
            let class = self.class_of_task(lease.task);
            class.is_some_and(|class| !own.goes_before(policy, Rank::of(policy, &class.needs)))
        });
        let kept = kept_rooms
            .chain(kept_cores.map(|lease| cores_of(lease.resources)))
            .fold(Resources::default(), Resources::plus);
        let free = free_later(live).and_then(|free| free.minus(kept));
        free.is_some_and(|free| free.holds(needs))
    }

    /// Lets go on what sleeps at the pilot, as far as its cores are free and nobody who goes
    /// before waits for them.
    pub(super) fn resume_sleepers(&mut self, pilot: PilotId, now: Timestamp) {
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
        let (free, waiting) = live.books();
        if waiting > 0 || !free.free.holds(cores.plus(cores_of(kept))) {
            return false;
        }
        let policy = self.policy();
        let own = Rank::of(policy, &class.needs);
        let door = self.door(now);
        let waits = |(id, other): (ClassId, &Class)| {
            Rank::of(policy, &other.needs).goes_before(policy, own)
                && free.holds(&other.needs)
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
    pub(super) fn attempt_suspended(&mut self, pilot: PilotId, task: TaskId, now: Timestamp) {
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
    pub(super) fn attempt_resumed(&mut self, pilot: PilotId, task: TaskId, now: Timestamp) {
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

    /// Makes a lease what its task's row says.
    fn yield_as(&mut self, pilot: PilotId, row: &Task) {
        let grace_s = self.policy().preemption.grace_s;
        if let Some(lease) = self.lease_mut(pilot, row.id) {
            lease.yielding = Yielding::of(row, grace_s);
        }
        self.rooms.touch(pilot);
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

    fn needs_of(&self, task: TaskId) -> Option<std::sync::Arc<fairway_jdl::Needs>> {
        Some(self.class_of_task(task)?.needs.clone())
    }
}

/// What a pilot has left once all that give way have done so; `None` while tasks wait at it.
fn free_later(live: &LivePilot) -> Option<Resources> {
    let mut leases = live.leases.iter();
    leases.try_fold(live.pilot.resources, |free, lease| {
        free.minus(lease.takes_later())
    })
}
