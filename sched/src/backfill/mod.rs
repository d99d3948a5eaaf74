//! Backfill: room is kept for a task whose turn has come and that does not fit yet, and what is
//! idle meanwhile goes to others that are out of the way in time.
//!
//! *Blocked* is a task that is next in the order of service, that some pilot of a CE could run if
//! it were empty, and that fits into none as they are. By the walltimes of the tasks that run, it
//! is known when each pilot will have room for it at the latest; on the pilot that has it first, it
//! gets a *reservation* from then on. A task behind it in the order may still start on that pilot
//! if it delays the reservation in no dimension (cores, memory, GPUs): because it ends before, or
//! because it takes what is not needed then. One that asks for no walltime never ends.
//!
//! - EASY (Lifka 1995): a reservation for the first blocked task alone. What is behind it may be
//!   delayed, and more holes can be used.
//! - Conservative (Mu'alem and Feitelson 2001): one for each blocked task, up to a depth, each laid
//!   around those before it. What has a reservation is not delayed by anything behind it.
//!
//! Of tasks with equal needs only the first has one: tasks are not walked, classes are.
//!
//! **The bound.** A task at the head of the order that asks for what some pilot holds, and lasts for,
//! starts within the longest walltime of the tasks that run at the CE: by then every one of them has
//! ended, on the pilot of the reservation as on any other, and nothing that would end later was
//! given room that it needs. If that is later than `drain_max_s` from now, nothing is kept until the
//! task has waited for longer than `wait_max_s`; nor is it ever where tasks that run ask for no
//! walltime: then only a new pilot helps, or chance.
//!
//! **New pilots.** That cores are kept for a task does not stop a new pilot from being asked for, nor
//! does a pilot on its way stop cores from being kept: nobody knows when a batch system starts it,
//! and the bound is to hold whatever that does. Should it come first, the task goes there, and what
//! was kept is given out again with the next match; so the price of keeping both is what stays idle
//! until then, which is counted. What is kept from a task is no room for it: pilots are asked for
//! as if it were not there.
//!
//! **Pilots of one owner** at a CE are planned for together, and apart from those of others: what is
//! kept on a user's own pilots is in nobody else's way.
//!
//! Reservations are not durable, and not state: they follow from the waiting tasks, the pilots and
//! their tasks, and are made anew for each match, as far as the match depends on them. What is
//! remembered is from when on each pilot has room ([`rooms`]), and only while tasks are blocked.

mod cost;
mod plan;
mod profile;
mod remark;
mod rooms;
mod withheld;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::policy::Backfill;
use fairway_model::{
    CeId, PilotId, PilotOwner, PilotState, Resources, SiteMode, TaskId, Timestamp,
};

use self::plan::{Place, Plan, is_plain, places_max};
use self::rooms::Room;
use crate::State;
use crate::element::Element;
use crate::matching::{Limits, LivePilot};
use crate::provision::Purpose;
use crate::queue::{Class, ClassId};

pub(crate) use self::cost::Kept;
pub(crate) use self::remark::remark;
pub(crate) use self::rooms::Rooms;
pub(crate) use self::withheld::Withheld;

/// Room that is kept for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// At which CE.
    pub ce: CeId,
    /// On which pilot.
    pub pilot: PilotId,
    /// For which task.
    pub task: TaskId,
    /// When it can start there at the latest, if nothing that runs exceeds its walltime.
    pub from: Timestamp,
    /// What it asks for.
    pub resources: Resources,
    /// Cores of these that are free already, and kept.
    pub cores_kept: u32,
}

/// With more demands that do not fit on one pilot, a plan is made at once.
const DEMANDS_MAX: usize = 16;

/// A task that cores are kept for, and when it starts at the latest.
pub(crate) type Passed = (TaskId, Timestamp);

/// The pilots of one owner at a CE.
type Pool<'a> = (&'a Element, &'a PilotOwner);

/// What a match must know of reservations; made for one match, since each changes them.
pub(crate) struct Keeper<'a> {
    state: &'a State,
    limits: Limits,
    rooms: RefCell<Rooms>,
    plans: RefCell<BTreeMap<(&'a CeId, &'a PilotOwner), Plan<'a>>>,
    /// Whether something could be kept on the pilot that was asked about last.
    last: Cell<Option<(PilotId, bool)>>,
    /// Where something was kept back.
    held: RefCell<BTreeSet<(CeId, PilotOwner)>>,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(state: &'a State, mut rooms: Rooms, limits: Limits) -> Self {
        rooms.refresh(state);
        Self {
            state,
            limits,
            rooms: RefCell::new(rooms),
            plans: RefCell::default(),
            last: Cell::new(None),
            held: RefCell::default(),
        }
    }

    /// Whether a task of the class, which the pilot has room for, may be given to it: it delays no
    /// task before it that something is kept for.
    pub(crate) fn lets(&self, live: &'a LivePilot, id: ClassId, class: &Class) -> bool {
        self.delayed(live, id, class).is_none()
    }

    /// The task that such a task would delay.
    pub(crate) fn delayed(
        &self,
        live: &'a LivePilot,
        id: ClassId,
        class: &Class,
    ) -> Option<Passed> {
        if !self.may_keep(live) {
            return None;
        }
        let element = self.state.elements.get(&live.pilot.ce)?;
        let pool = (&element.id, &live.pilot.owner);
        let mut plans = self.plans.borrow_mut();
        let plan = plans
            .entry(pool)
            .or_insert_with(|| Plan::new(self.state, element, pool.1, self.limits));
        let rooms = &mut self.rooms.borrow_mut();
        let delayed = plan.delays(rooms, live, (id, &class.needs));
        if delayed.is_some() {
            let mut held = self.held.borrow_mut();
            held.insert((pool.0.clone(), pool.1.clone()));
        }
        delayed.map(|place| (place.task, place.from))
    }

    /// The task that comes before `task`, of the class, and that cores are kept for on the pilot;
    /// as far as a match has laid them out.
    pub(crate) fn passed(&self, live: &LivePilot, id: ClassId, task: TaskId) -> Option<Passed> {
        let plans = self.plans.borrow();
        let plan = plans.get(&(&live.pilot.ce, &live.pilot.owner))?;
        plan.passed(live.pilot.id, id, task)
    }

    /// Whether anything could be kept on the pilot. Where all tasks ask for one core, it is never so.
    fn may_keep(&self, live: &LivePilot) -> bool {
        if live.leases.is_empty() || self.state.shares.policy().backfill.mode == Backfill::Off {
            return false;
        }
        let id = live.pilot.id;
        if let Some((last, kept)) = self.last.get()
            && last == id
        {
            return kept;
        }
        let kept = self.is_blocked_on(live)
            && (self.state.elements.get(&live.pilot.ce)).is_some_and(|element| {
                let demands = self.blocked_on(live, element);
                !demands.is_empty() && self.may_be_first(live, element, &demands)
            });
        self.last.set(Some((id, kept)));
        kept
    }

    /// Whether anything is asked for that would fit if the pilot were empty, and does not now:
    /// by anybody, so that it is known without a look at the classes.
    fn is_blocked_on(&self, live: &LivePilot) -> bool {
        let mut demands = self.state.queue.demands();
        demands.any(|it| live.pilot.resources.holds(it) && !live.holds_now(it))
    }

    /// What tasks ask for that would fit if the pilot were empty, and do not now.
    fn blocked_on(&self, live: &LivePilot, element: &Element) -> Vec<Resources> {
        let mut demands = Vec::new();
        for (id, class) in self.state.queue.active() {
            let demand = class.needs.resources;
            let blocked = live.pilot.resources.holds(demand)
                && !live.holds_now(demand)
                && is_plain(&class.needs)
                && !demands.contains(&demand)
                && element.verdicts.get(&id).is_some_and(|it| it.eligible);
            if blocked {
                demands.push(demand);
            }
            if demands.len() > DEMANDS_MAX {
                break;
            }
        }
        demands
    }

    /// Whether the pilot could be the first to have room for one of the demands, after all others
    /// that are laid out have theirs. Each of them takes one pilot at most out of the way, so that
    /// one which many others are ahead of is never reached. It spares most pilots of a large CE a
    /// plan.
    fn may_be_first(&self, live: &LivePilot, element: &Element, demands: &[Resources]) -> bool {
        if demands.len() > DEMANDS_MAX {
            return true;
        }
        let Limits {
            now,
            remaining_min_s,
        } = self.limits;
        let classes = self.state.queue.active();
        let longest_s = classes
            .map(|(_, class)| class.needs.walltime_s.unwrap_or(remaining_min_s))
            .max();
        let lasts = Duration::from_secs(longest_s.unwrap_or(0));
        let usable_until = element.usable_until(Timestamp(i64::MAX), now);
        // By anybody, for anything.
        let usable = |other: &LivePilot, room: Room| {
            room.as_of(now).from.plus(lasts) <= room.ends_at.min(usable_until)
                && other.pilot.state == PilotState::Active
                && other.purpose == Purpose::Any
                && self.state.node_admits(other, now)
        };
        let n = places_max(self.state);
        let rooms = &mut self.rooms.borrow_mut();
        demands
            .iter()
            .any(|&demand| rooms.is_among_first((self.state, element), (demand, n), live, usable))
    }
}

impl State {
    /// Decides something with regard to reservations.
    pub(crate) fn with_reservations<T>(
        &mut self,
        limits: Limits,
        decide: impl for<'a> FnOnce(&'a Self, &Keeper<'a>) -> T,
    ) -> T {
        let rooms = std::mem::take(&mut self.rooms);
        let keeper = Keeper::new(self, rooms, limits);
        let decided = decide(self, &keeper);
        let (rooms, held) = (keeper.rooms.into_inner(), keeper.held.into_inner());
        self.rooms = rooms;
        self.kept.pools.extend(held);
        decided
    }

    /// The room that is kept for tasks now, by CE; of equal tasks only for the first.
    pub fn reservations(&self, now: Timestamp) -> Vec<Reservation> {
        let mut rooms = Rooms::default();
        let mut reservations = Vec::new();
        for (element, owner) in self.pools() {
            let mut plan = Plan::new(self, element, owner, self.limits(now));
            let places = plan.places(&mut rooms).iter();
            let kept = places.filter(|place| place.kept);
            reservations.extend(kept.map(|place| self.reservation(element, place)));
        }
        reservations
    }

    fn reservation(&self, element: &Element, place: &Place) -> Reservation {
        let live = self.pilots.get(&place.pilot);
        let free = live.map_or(0, |live| live.books().room.free.cores);
        Reservation {
            ce: element.id.clone(),
            pilot: place.pilot,
            task: place.task,
            from: place.from,
            resources: place.demand,
            cores_kept: free.min(place.demand.cores),
        }
    }

    /// All pools of CEs that give work.
    fn pools(&self) -> impl Iterator<Item = Pool<'_>> {
        let open = self.elements.values();
        let open = open.filter(|element| element.mode() == SiteMode::Open);
        open.flat_map(|element| {
            let pilots = element.pilots.iter().filter_map(|id| self.pilots.get(id));
            let owners: BTreeSet<_> = pilots.map(|live| &live.pilot.owner).collect();
            owners.into_iter().map(move |owner| (element, owner))
        })
    }
}
