//! Which task a pilot gets next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{
    Attempt, GroupName, Pilot, PilotId, PilotOwner, Resources, SiteMode, TaskId, Timestamp,
    UserName,
};

use crate::element::Element;
use crate::latch::NodeId;
use crate::provision::Purpose;
use crate::queue::{Class, ClassId, Place, Queue};

/// A task that a pilot has.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    pub(crate) resources: Resources,
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
}

/// A pilot that is not over.
#[derive(Clone, Debug)]
pub(crate) struct LivePilot {
    pub(crate) pilot: Pilot,
    /// When it was heard of last.
    pub(crate) heard_at: Timestamp,
    /// What it has, in the order of granting.
    pub(crate) leases: Vec<Lease>,
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

/// Pilots with an open wish for work, by whose tasks they may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parked(BTreeMap<PilotOwner, BTreeSet<PilotId>>);

impl Parked {
    pub(crate) fn insert(&mut self, owner: &PilotOwner, pilot: PilotId) {
        match self.0.get_mut(owner) {
            Some(pilots) => drop(pilots.insert(pilot)),
            None => drop(self.0.insert(owner.clone(), BTreeSet::from([pilot]))),
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
        self.0.values().flatten().copied()
    }

    /// The pilots of each owner.
    pub(crate) fn by_owner(&self) -> impl Iterator<Item = (&PilotOwner, &BTreeSet<PilotId>)> {
        self.0.iter()
    }
}

impl LivePilot {
    /// What it has left, and how many of its tasks wait at it for others to end. It takes them
    /// in the order of granting: what comes after one that waits, waits too.
    pub(crate) fn books(&self) -> (Resources, usize) {
        let mut free = self.pilot.resources;
        for (place, lease) in self.leases.iter().enumerate() {
            match free.minus(lease.resources) {
                Some(rest) => free = rest,
                None => return (free, self.leases.len() - place),
            }
        }
        (free, 0)
    }

    /// When its allocation ends, as far as it has said so.
    pub(crate) fn ends_by(&self) -> Timestamp {
        let told = self.until.or(self.pilot.ends_at);
        told.unwrap_or(Timestamp(i64::MAX))
    }

    /// Whether a task that needs this may be given to it.
    pub(crate) fn holds(&self, wish: Wish, needs: &Needs, limits: Limits) -> bool {
        let (free, waiting) = self.books();
        let room = free.holds(needs.resources) && waiting == 0
            || waiting < wish.backlog as usize && self.pilot.resources.holds(needs.resources);
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

    fn lasts_s(&self, needed_s: u64, until: Timestamp) -> bool {
        self.now.plus(Duration::from_secs(needed_s)) <= until
    }
}

/// The task to serve next, of one class.
pub(crate) struct Choice<'a> {
    place: &'a Place,
    pub(crate) task: TaskId,
}

impl Choice<'_> {
    /// Whether this is to be served before `other`.
    pub(crate) fn before(&self, other: &Self) -> bool {
        // The same user may be first in several classes: the earlier task goes first.
        (self.place, self.task) < (other.place, other.task)
    }
}

/// The first task of a class, in the order of service, that may run with a pilot of `owner` at
/// a CE.
pub(crate) fn first_of<'a>(
    id: ClassId,
    class: &'a Class,
    element: &Element,
    owner: &PilotOwner,
) -> Option<Choice<'a>> {
    if !element.verdicts.get(&id)?.eligible {
        return None;
    }
    let (place, _, task) = class.in_order().find(|(_, user, _)| {
        let group = class.group.as_ref();
        element.admits(user, group) && serves(owner, user, group)
    })?;
    Some(Choice { place, task })
}

/// The next task for a pilot of `owner`: over all classes that `wanted` lets through, the first in the
/// order of service. `None` also where the CE gives no more work.
pub(crate) fn next_for<'a>(
    queue: &'a Queue,
    element: &Element,
    owner: &PilotOwner,
    wanted: impl Fn(ClassId, &Class) -> bool,
) -> Option<Choice<'a>> {
    if element.mode() != SiteMode::Open {
        return None;
    }
    let mut best: Option<Choice<'a>> = None;
    for (id, class) in queue.active() {
        if !wanted(id, class) {
            continue;
        }
        if let Some(choice) = first_of(id, class, element, owner)
            && best.as_ref().is_none_or(|best| choice.before(best))
        {
            best = Some(choice);
        }
    }
    best
}
