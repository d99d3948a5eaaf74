//! For which tasks cores are kept on the pilots of one owner at a CE, and what that leaves to
//! others.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::policy::Backfill;
use fairway_model::{PilotId, PilotOwner, PilotState, Resources, TaskId, Timestamp};

use super::Passed;
use super::profile::{Profile, after};
use super::rooms::{Room, Rooms, profile};
use crate::State;
use crate::element::Element;
use crate::matching::{Limits, LivePilot, next_for};
use crate::queue::{Choice, Class, ClassId};

/// So many tasks at the head of the order are laid out at most to find the first that does not
/// fit: what fits is given out sooner than others are planned for.
const FITTING_MAX: usize = 64;

/// A task laid onto a pilot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) task: TaskId,
    pub(super) pilot: PilotId,
    pub(super) from: Timestamp,
    until: Timestamp,
    pub(super) demand: Resources,
    /// Whether it has to wait for its place, so that others must leave it alone. One that fits now
    /// gets it as soon as its pilot asks.
    pub(super) kept: bool,
}

/// How many tasks are laid out at most.
pub(super) fn places_max(state: &State) -> usize {
    Reach::of(state, Timestamp::default()).places_max
}

/// How far tasks are laid out.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// So many that have to wait.
    kept_max: usize,
    places_max: usize,
    /// So many classes are looked at.
    classes_max: usize,
    latest: Timestamp,
}

impl Reach {
    fn of(state: &State, now: Timestamp) -> Self {
        let settings = state.shares.policy().backfill;
        let depth = settings.depth as usize;
        let (kept_max, places_max) = match settings.mode {
            Backfill::Off => (0, 0),
            Backfill::Easy => (1, FITTING_MAX),
            Backfill::Conservative => (depth, depth),
        };
        Self {
            kept_max,
            places_max,
            classes_max: places_max.saturating_add(FITTING_MAX),
            latest: now.plus(Duration::from_secs(settings.drain_max_s)),
        }
    }
}

/// The tasks at the head of the order of service, laid onto the pilots of one owner at a CE. It is
/// made as far as somebody wants to know of it.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    state: &'a State,
    element: &'a Element,
    owner: &'a PilotOwner,
    limits: Limits,
    reach: Reach,
    places: Vec<Place>,
    /// How many places come before each class that has been looked at.
    before: BTreeMap<ClassId, usize>,
    /// What pilots with places have left beside these.
    taken: BTreeMap<PilotId, Profile>,
    /// How many places are kept.
    kept: usize,
    complete: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        state: &'a State,
        element: &'a Element,
        owner: &'a PilotOwner,
        limits: Limits,
    ) -> Self {
        let reach = Reach::of(state, limits.now);
        Self {
            state,
            element,
            owner,
            limits,
            reach,
            places: Vec::new(),
            before: BTreeMap::new(),
            taken: BTreeMap::new(),
            kept: 0,
            complete: reach.kept_max == 0,
        }
    }

    /// All places.
    pub(super) fn places(&mut self, rooms: &mut Rooms) -> &[Place] {
        self.reach_class(rooms, None);
        &self.places
    }

    /// The first task that cores are kept for on a pilot, of those laid out before a class.
    pub(super) fn passed(&self, pilot: PilotId, id: ClassId, own: TaskId) -> Option<Passed> {
        let mut places = self.places.iter().take(self.places_before(id));
        let place = places.find(|it| it.kept && it.pilot == pilot && it.task != own)?;
        Some((place.task, place.from))
    }

    /// The task that comes before this class in the order of service and that a task of it would
    /// delay, if it were given to the pilot now.
    pub(super) fn delays(
        &mut self,
        rooms: &mut Rooms,
        live: &LivePilot,
        (id, needs): (ClassId, &Needs),
    ) -> Option<Place> {
        let before = self.reach_class(rooms, Some(id));
        let here = |place: &&Place| place.kept && place.pilot == live.pilot.id;
        let mut kept = self.places[..before].iter().filter(here).peekable();
        kept.peek()?;
        let mut free = profile(live, self.limits.now)?;
        let start = free.earliest(needs.resources, None)?;
        let end = after(start, walltime_ms(needs));
        kept.find(|place| {
            free.take(place.from, place.until, place.demand);
            !free.fits(start, end, needs.resources)
        })
        .copied()
    }

    /// Lays out what comes before the class; everything if there is none. How many places come
    /// before it.
    fn reach_class(&mut self, rooms: &mut Rooms, until: Option<ClassId>) -> usize {
        while !self.complete {
            if let Some(&before) = until.and_then(|id| self.before.get(&id)) {
                return before;
            }
            let Some((choice, class)) = self.next(rooms) else {
                self.complete = true;
                break;
            };
            if Some(choice.class) == until {
                return self.places.len();
            }
            self.before.insert(choice.class, self.places.len());
            if let Some(place) = self.place(rooms, &choice, class) {
                self.take(place);
            }
            self.complete = self.kept >= self.reach.kept_max
                || self.places.len() >= self.reach.places_max
                || self.before.len() >= self.reach.classes_max;
        }
        until.map_or(self.places.len(), |id| self.places_before(id))
    }

    /// How many of the places that are laid out come before the class; all before one that was not
    /// reached.
    fn places_before(&self, id: ClassId) -> usize {
        self.before.get(&id).copied().unwrap_or(self.places.len())
    }

    fn take(&mut self, place: Place) {
        if !self.taken.contains_key(&place.pilot)
            && let Some(live) = self.state.pilots.get(&place.pilot)
            && let Some(free) = profile(live, self.limits.now)
        {
            self.taken.insert(place.pilot, free);
        }
        if let Some(free) = self.taken.get_mut(&place.pilot) {
            free.take(place.from, place.until, place.demand);
        }
        self.kept += usize::from(place.kept);
        self.places.push(place);
    }

    /// The first task of the next class in the order of service.
    fn next(&self, rooms: &Rooms) -> Option<(Choice, &'a Class)> {
        let wanted = |id: ClassId, class: &Class| {
            !self.before.contains_key(&id)
                && is_plain(&class.needs)
                && rooms.may_hold(&self.element.id, self.owner, class.needs.resources)
        };
        let door = self.state.door(self.limits.now);
        let choice = next_for(&self.state.queue, door, self.element, self.owner, wanted)?;
        let class = self.state.queue.class(choice.class)?;
        Some((choice, class))
    }

    /// Whether cores are kept for a task however long that takes, since it has waited for too long:
    /// else nothing would bound how long a wide task waits among long ones.
    fn at_any_price(&self, choice: &Choice, class: &Class) -> bool {
        let shares = &self.state.shares;
        let since = class.waits_since(shares, choice.account);
        let max = shares.policy().wait_max_s.map(Duration::from_secs);
        since
            .zip(max)
            .is_some_and(|(since, max)| self.limits.now.since(since) > max)
    }

    /// The earliest place for a task. Which of several follows from what does not change while
    /// tasks come and go: what a task behind is given moves no place before it.
    fn place(&self, rooms: &mut Rooms, choice: &Choice, class: &Class) -> Option<Place> {
        let demand = class.needs.resources;
        let lasts_ms = walltime_ms(&class.needs);
        let usable_until = self
            .element
            .usable_until(Timestamp(i64::MAX), self.limits.now);
        let fits = |room: Room| {
            let live = self.state.pilots.get(&room.pilot)?;
            let purpose = self.state.purpose_of(live, self.limits);
            let task_s = purpose.task_s(&class.needs, self.limits.remaining_min_s);
            let ends = room.from.plus(Duration::from_secs(task_s));
            let fits = ends <= room.ends_at.min(usable_until)
                && live.pilot.state == PilotState::Active
                && purpose.takes(self.state, choice.class, class)
                && self.state.node_admits(live, self.limits.now);
            fits.then_some(room)
        };
        let all = rooms.for_demand(self.state, self.element, self.owner, demand);
        let untouched = all
            .iter()
            .filter(|room| !self.taken.contains_key(&room.pilot));
        let untouched = untouched
            .map(|room| room.as_of(self.limits.now))
            .find_map(fits);
        let taken = self.taken.iter().filter_map(|(pilot, free)| {
            let live = self.state.pilots.get(pilot)?;
            fits(Room::in_profile(live, free, demand, lasts_ms)?)
        });
        let room = taken.chain(untouched).min()?;
        let soon = room.from <= self.reach.latest;
        (soon || self.at_any_price(choice, class)).then_some(Place {
            task: choice.task,
            pilot: room.pilot,
            from: room.from,
            until: after(room.from, lasts_ms),
            demand,
            kept: room.from > self.limits.now,
        })
    }
}

/// Whether room is kept for tasks that need this: those on one node, that share it, and that ask
/// for nothing but cores, memory and GPUs.
pub(super) fn is_plain(needs: &Needs) -> bool {
    needs.hosts == 1 && !needs.whole_node && needs.custom.is_empty()
}

fn walltime_ms(needs: &Needs) -> Option<i64> {
    needs.walltime_s.map(crate::matching::millis)
}
