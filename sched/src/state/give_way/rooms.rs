//! Room that is made for a task that waits, and kept for it until it is there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::{PilotId, PilotState, Resources, TaskId, TaskState, Timestamp};

use super::beds::{Beds, Decision};
use super::{State, cores_of};
use crate::matching::{Lease, LivePilot};
use crate::preempt::{self, Rank};
use crate::queue::{Class, ClassId};

/// Victims are looked for at most so often.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Room is kept for so long beyond the grace: for the pilot to hear of it and to tell.
const KEEP: Duration = Duration::from_secs(120);

/// Room that is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptRoom {
    /// For which task.
    pub(crate) task: TaskId,
    class: ClassId,
    pub(super) resources: Resources,
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
    pub(in crate::state) fn granted(&mut self, task: TaskId, class: ClassId, pilot: PilotId) {
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
    pub(in crate::state) fn make_room(&mut self, now: Timestamp) {
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

    /// Whether a pilot can take a task of the class without taking room that is kept: being made
    /// for others, or given up by what sleeps there.
    pub(crate) fn leaves_room(&self, live: &LivePilot, id: ClassId, class: &Class) -> bool {
        let rooms = self.kept_rooms.at(live.pilot.id);
        if rooms.is_empty() && !live.books().sleepers {
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
        let sleepers = live.leases.iter().filter(|it| it.awaits_room());
        let kept_cores = sleepers.filter(|lease| {
            let class = self.class_of_task(lease.task);
            class.is_some_and(|class| !own.goes_before(policy, Rank::of(policy, &class.needs)))
        });
        let kept = kept_rooms
            .chain(kept_cores.map(|lease| cores_of(lease.resources)))
            .fold(Resources::default(), Resources::plus);
        let free = free_later(live).and_then(|free| free.minus(kept));
        free.is_some_and(|free| free.holds(needs))
    }
}

/// What a pilot has left once all that give way have done so; `None` while tasks wait at it.
pub(super) fn free_later(live: &LivePilot) -> Option<Resources> {
    let seats = live.seats.iter().map(|seat| seat.portion.resources);
    let leases = live.leases.iter().map(Lease::takes_later);
    let mut taken = seats.chain(leases);
    taken.try_fold(live.pilot.resources, Resources::minus)
}
