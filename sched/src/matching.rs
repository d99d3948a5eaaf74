//! Which task a pilot gets next.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{
    Attempt, CustomResources, GroupName, Pilot, PilotId, PilotOwner, Resources, SiteMode, TaskId,
    Timestamp, UserName,
};

use crate::bounds::{Bounds, Subject};
use crate::element::Element;
use crate::latch::NodeId;
use crate::packing::{Portion, Room};
use crate::provision::Purpose;
use crate::queue::{Candidate, Choice, Class, ClassId, Queue};
use crate::shares::{AccountId, Shares};
use crate::state::give_way::Yielding;

/// A task that a pilot has.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    pub(crate) account: AccountId,
    /// That of its task; looked up here whenever time passes.
    pub(crate) class: ClassId,
    pub(crate) resources: Resources,
    pub(crate) custom: CustomResources,
    /// The other pilots on whose nodes it runs too.
    pub(crate) seats: Vec<PilotId>,
    /// What it has on all nodes together.
    pub(crate) all: Resources,
    /// The walltime that it asks for, in seconds.
    pub(crate) walltime_s: Option<u64>,
    /// When its payload started; until it has, when it was granted.
    pub(crate) since: Timestamp,
    /// The wish that it was granted for; 0 if that was before a restart.
    pub(crate) round: u64,
    /// Until when its running core-time has been charged; `None` until its payload starts.
    pub(crate) charged_until: Option<Timestamp>,
    /// When its payload started; `None` before, and once it has run for longer than what fails
    /// at once.
    pub(crate) young_since: Option<Timestamp>,
    /// How it gives way to others, if it does.
    pub(crate) yielding: Yielding,
    /// Whether its owner wants it stopped. Its task's row tells as well; this is looked up for
    /// all tasks of a pilot whenever it speaks.
    pub(crate) cancelling: bool,
}

/// A part of a task of which another pilot, the lead, has the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    pub(crate) lead: PilotId,
    pub(crate) portion: Portion,
}

impl Lease {
    /// The walltime that its task asks for, in milliseconds.
    pub(crate) fn walltime_ms(&self) -> Option<i64> {
        self.walltime_s.map(millis)
    }
}

/// So many seconds in milliseconds (saturating).
pub(crate) fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

/// An open wish for work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// When the pilot's allocation ends.
    pub(crate) until: Timestamp,
    /// How many tasks may wait at the pilot.
    pub(crate) backlog: u32,
    /// Whether the pilot knows that it is to stay though it has no task.
    pub(crate) staying: bool,
}

/// What the tasks of a pilot leave of it: looked at for every pilot that waits for work whenever
/// there is some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Books {
    /// What it has left.
    pub(crate) room: Room,
    /// How many of its tasks wait at it for others to end. It takes them in the order of granting:
    /// what comes after one that waits, waits too.
    pub(crate) waiting: usize,
    /// Whether one of its tasks sleeps until there is room.
    pub(crate) sleepers: bool,
}

impl Books {
    /// Of a pilot with these tasks and parts of tasks.
    fn of(pilot: &Pilot, leases: &[Lease], seats: &[Seat]) -> Self {
        let mut room = Room::on(pilot);
        // A seat is only given where it fits beside all that is there, so that what waits came
        // after it.
        for Seat { portion, .. } in seats {
            room.take(portion.resources, &portion.custom);
        }
        let mut take = |lease: &Lease| room.take(lease.takes(), &lease.custom);
        let first_waiting = leases.iter().position(|lease| !take(lease));
        Self {
            room,
            waiting: first_waiting.map_or(0, |place| leases.len() - place),
            sleepers: leases.iter().any(Lease::awaits_room),
        }
    }
}

/// A pilot that is not over.
#[derive(Clone, Debug)]
pub(crate) struct LivePilot {
    pub(crate) pilot: Pilot,
    /// What its tasks leave of it. Whoever changes its tasks or its resources has it
    /// [counted](Self::count) again.
    books: Books,
    /// When it was heard of last.
    pub(crate) heard_at: Timestamp,
    /// What it has, in the order of granting.
    pub(crate) leases: Vec<Lease>,
    /// Parts of tasks whose leases other pilots have. The pilot does not know of them.
    pub(crate) seats: Vec<Seat>,
    /// Attempts that were given up without the pilot's word, of which it is to be told.
    pub(crate) written_off: Vec<(TaskId, Attempt)>,
    /// The number of its latest wish.
    pub(crate) round: u64,
    /// How many tasks may wait at it: by its latest wish, or as many as did when it made that.
    pub(crate) backlog: usize,
    /// Its wish that has not been answered.
    pub(crate) wish: Option<Wish>,
    /// When its allocation ends, by its latest wish.
    pub(crate) until: Option<Timestamp>,
    /// Which tasks it is for.
    pub(crate) purpose: Purpose,
    /// Whether it ever had a task.
    pub(crate) useful: bool,
    /// Whether one of its tasks succeeded, or ran for longer than what fails at once.
    pub(crate) proven: bool,
    /// Where it runs; known once it has called home.
    pub(crate) node: Option<NodeId>,
    /// Since when there is no work for it, if it has not called home.
    pub(crate) unneeded_since: Option<Timestamp>,
}

/// Whether a pilot may run tasks of the user and group.
pub(crate) fn serves(owner: &PilotOwner, user: &UserName, group: Option<&GroupName>) -> bool {
    match owner {
        PilotOwner::Shared => true,
        PilotOwner::User(own) => own == user,
        PilotOwner::Group(own) => group == Some(own),
        PilotOwner::Probe => false,
    }
}

/// Pilots with an open wish for work, by whose tasks they may run; each with its
/// [reach](LivePilot::reach), so that most need not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parked(BTreeMap<PilotOwner, BTreeMap<PilotId, Resources>>);

impl Parked {
    /// Takes a pilot in, or notes another reach of one that is there.
    pub(crate) fn insert(&mut self, owner: &PilotOwner, pilot: PilotId, reach: Resources) {
        match self.0.get_mut(owner) {
            Some(pilots) => drop(pilots.insert(pilot, reach)),
            None => drop(
                self.0
                    .insert(owner.clone(), BTreeMap::from([(pilot, reach)])),
            ),
        }
    }

    pub(crate) fn remove(&mut self, owner: &PilotOwner, pilot: PilotId) {
        if let Some(pilots) = self.0.get_mut(owner) {
            pilots.remove(&pilot);
            if pilots.is_empty() {
                self.0.remove(owner);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PilotId> {
        self.0.values().flat_map(BTreeMap::keys).copied()
    }

    /// The pilots of each owner.
    pub(crate) fn by_owner(
        &self,
    ) -> impl Iterator<Item = (&PilotOwner, &BTreeMap<PilotId, Resources>)> {
        self.0.iter()
    }
}

impl LivePilot {
    /// One without tasks, heard of at a moment.
    pub(crate) fn new(pilot: Pilot, heard_at: Timestamp, node: Option<NodeId>) -> Self {
        Self {
            books: Books::of(&pilot, &[], &[]),
            pilot,
            heard_at,
            leases: Vec::new(),
            seats: Vec::new(),
            written_off: Vec::new(),
            round: 0,
            backlog: 0,
            wish: None,
            until: None,
            purpose: Purpose::Any,
            useful: false,
            proven: false,
            node,
            unneeded_since: None,
        }
    }

    /// What its tasks leave of it.
    pub(crate) const fn books(&self) -> &Books {
        &self.books
    }

    /// Its tasks or its resources have changed.
    pub(crate) fn count(&mut self) {
        self.books = Books::of(&self.pilot, &self.leases, &self.seats);
    }

    /// Whether its books are as its tasks are.
    pub(crate) fn is_counted(&self) -> bool {
        self.books == Books::of(&self.pilot, &self.leases, &self.seats)
    }

    /// Whether the task, or a part of it, finds room at once.
    pub(crate) fn has_room(&self, needs: &Needs) -> bool {
        self.books.waiting == 0 && self.books.room.holds(needs)
    }

    /// Whether as much as is asked for is free at once.
    pub(crate) fn holds_now(&self, demand: Resources) -> bool {
        self.books.waiting == 0 && self.books.room.free.holds(demand)
    }

    /// What a task may ask for at most to be given to it, if nothing else is against it.
    pub(crate) fn reach(&self, wish: Wish) -> Resources {
        match self.books.waiting {
            // It may wait there for others to end.
            waiting if waiting < wish.backlog as usize => self.pilot.resources,
            0 => self.books.room.free,
            _ => Resources::default(),
        }
    }

    /// Whether a task may wait there for others to end. A pilot that does not know all that its
    /// node is used for cannot tell when it may start.
    fn may_queue(&self, needs: &Needs) -> bool {
        self.seats.is_empty()
            && needs.hosts == 1
            && !needs.whole_node
            && Room::on(&self.pilot).holds(needs)
    }

    /// When its allocation ends, as far as it has said so.
    pub(crate) fn ends_by(&self) -> Timestamp {
        let told = self.until.or(self.pilot.ends_at);
        told.unwrap_or(Timestamp(i64::MAX))
    }

    /// Whether a task that needs this, or its part on one host, may be given to it.
    pub(crate) fn holds(&self, wish: Wish, needs: &Needs, limits: Limits) -> bool {
        let room = self.has_room(needs)
            || self.books.waiting < wish.backlog as usize && self.may_queue(needs);
        let task_s = self.purpose.task_s(needs, limits.remaining_min_s);
        room && limits.lasts_s(task_s, wish.until)
    }
}

/// When a pilot's remaining time is enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) now: Timestamp,
    /// For tasks that ask for no walltime, in seconds.
    pub(crate) remaining_min_s: u64,
}

impl Limits {
    /// Whether the task can end before `until`.
    pub(crate) fn lasts(&self, needs: &Needs, until: Timestamp) -> bool {
        self.lasts_s(needs.walltime_s.unwrap_or(self.remaining_min_s), until)
    }

    /// Whether what takes so many seconds can end before `until`.
    pub(crate) fn lasts_s(&self, needed_s: u64, until: Timestamp) -> bool {
        self.now.plus(Duration::from_secs(needed_s)) <= until
    }
}

/// What keeps tasks from pilots of an owner at a CE, beside their needs: who may use it, and the
/// bounds of the policy.
#[derive(Clone, Copy)]
pub(crate) struct Door<'a> {
    pub(crate) shares: &'a Shares,
    pub(crate) bounds: &'a Bounds,
    pub(crate) now: Timestamp,
}

impl Door<'_> {
    /// Whether a candidate may be served by a pilot of `owner` at a CE.
    pub(crate) fn lets(
        &self,
        candidate: &Candidate<'_>,
        element: &Element,
        owner: &PilotOwner,
    ) -> bool {
        let group = candidate.class.group.as_ref();
        let subject = Subject {
            shares: self.shares,
            account: candidate.account,
            needs: &candidate.class.needs,
            site: Some(&element.id.site),
        };
        element.admits(candidate.user, group)
            && serves(owner, candidate.user, group)
            && self.bounds.allow(subject, self.now)
    }
}

/// Whether a class may be served at a CE at all.
pub(crate) fn eligible(id: ClassId, element: &Element) -> bool {
    element.verdicts.get(&id).is_some_and(|it| it.eligible)
}

/// The next task for a pilot of `owner`: over all classes that `wanted` lets through, the first in the
/// order of service. `None` also where the CE gives no more work.
pub(crate) fn next_for(
    queue: &Queue,
    door: Door<'_>,
    element: &Element,
    owner: &PilotOwner,
    wanted: impl Fn(ClassId, &Class) -> bool,
) -> Option<Choice> {
    if element.mode() != SiteMode::Open {
        return None;
    }
    queue.first(
        door.shares,
        door.now,
        |id, class| eligible(id, element) && wanted(id, class),
        |candidate| door.lets(candidate, element, owner),
    )
}
