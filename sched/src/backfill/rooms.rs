//! From when on each pilot has room, kept for the demands that had to wait. A cache: everything
//! in it follows from the pilots' tasks.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{CeId, PilotId, PilotOwner, PilotState, Resources, Timestamp};

use super::profile::{NEVER, NOW, Profile, after, soon};
use crate::State;
use crate::element::Element;
use crate::matching::{Books, Lease, LivePilot};

/// So many demands are remembered of the pilots of one owner at a CE; with more, all are
/// computed anew.
const DEMANDS_MAX: usize = 256;

/// When a task that runs ends at the latest. Nobody knows when one that sleeps goes on.
fn ends_by(lease: &Lease) -> Timestamp {
    if lease.yielding.asleep {
        return NEVER;
    }
    lease
        .walltime_ms()
        .map_or(NEVER, |ms| after(lease.since, Some(ms)))
}

/// What the pilot will have free; `None` if it cannot be told when it takes something again.
pub(super) fn profile(live: &LivePilot, present: Timestamp) -> Option<Profile> {
    let Books { room, waiting, .. } = live.books();
    let (running, waiting) = live.leases.split_at(live.leases.len() - waiting);
    let running = running.iter().map(|lease| (lease.takes(), ends_by(lease)));
    let profile = Profile::new(present, room.free, running);
    waiting.iter().try_fold(profile, |profile, lease| {
        profile.then(lease.takes(), lease.walltime_ms())
    })
}

/// The same from any moment on, which holds until its tasks change; `None` also of a pilot that takes
/// no work.
fn lasting(live: &LivePilot) -> Option<Profile> {
    let active = live.pilot.state == PilotState::Active;
    active.then(|| profile(live, NOW)).flatten()
}

/// From when on a pilot has room for a demand. Those come first that have it first; of these the
/// smallest, which leave the others to wider tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Room {
    /// [`NOW`], or when tasks that run now end at the latest: that may be over by now.
    pub(super) from: Timestamp,
    /// Cores of the pilot.
    cores: u32,
    pub(super) pilot: PilotId,
    /// When the pilot ends.
    pub(super) ends_at: Timestamp,
}

impl Room {
    /// Where the demand fits, by the pilot's [lasting profile](lasting).
    fn of(live: &LivePilot, profile: Option<&Profile>, demand: Resources) -> Option<Self> {
        let profile = profile.filter(|_| live.pilot.resources.holds(demand))?;
        Self::in_profile(live, profile, demand, None)
    }

    /// The same with a moment that is not over.
    pub(super) fn as_of(self, now: Timestamp) -> Self {
        let from = match self.from {
            NOW => now,
            from => from.max(soon(now)),
        };
        Self { from, ..self }
    }

    /// Where the demand fits for `lasts_ms`.
    pub(super) fn in_profile(
        live: &LivePilot,
        profile: &Profile,
        demand: Resources,
        lasts_ms: Option<i64>,
    ) -> Option<Self> {
        let from = profile.earliest(demand, lasts_ms)?;
        Some(Self {
            from,
            cores: live.pilot.resources.cores,
            pilot: live.pilot.id,
            ends_at: live.ends_by(),
        })
    }
}

/// The rooms for one demand.
#[derive(Clone, Debug, Default)]
struct Index {
    of: BTreeMap<PilotId, Room>,
    in_order: BTreeSet<Room>,
}

impl Index {
    fn set(&mut self, pilot: PilotId, room: Option<Room>) {
        let before = match room {
            Some(room) => self.of.insert(pilot, room),
            None => self.of.remove(&pilot),
        };
        if let Some(before) = before {
            self.in_order.remove(&before);
        }
        self.in_order.extend(room);
    }
}

/// By demand.
type Pool = BTreeMap<Resources, Index>;

/// The rooms of the pilots of each owner at each CE.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms {
    pools: BTreeMap<CeId, BTreeMap<PilotOwner, Pool>>,
    /// Pilots that are not what they were.
    changed: BTreeSet<PilotId>,
    /// Whether it was of use since the last [`forget_unused`](Self::forget_unused).
    asked: bool,
}

impl Rooms {
    /// Notes that the tasks of a pilot, or its end, are not what they were.
    pub(crate) fn touch(&mut self, pilot: PilotId) {
        if !self.pools.is_empty() {
            self.changed.insert(pilot);
        }
    }

    /// Takes in what has changed.
    pub(super) fn refresh(&mut self, state: &State) {
        for id in std::mem::take(&mut self.changed) {
            let Some(live) = state.pilots.get(&id) else {
                let pools = self.pools.values_mut().flat_map(BTreeMap::values_mut);
                pools
                    .flat_map(BTreeMap::values_mut)
                    .for_each(|index| index.set(id, None));
                continue;
            };
            let at = self.pools.get_mut(&live.pilot.ce);
            let Some(pool) = at.and_then(|at| at.get_mut(&live.pilot.owner)) else {
                continue;
            };
            let profile = lasting(live);
            for (demand, index) in pool {
                index.set(id, Room::of(live, profile.as_ref(), *demand));
            }
        }
    }

    /// Forgets all if it was of no use since this was called last: while nothing has to wait for
    /// room, nothing is kept up to date.
    pub(super) fn forget_unused(&mut self) {
        if !std::mem::take(&mut self.asked) {
            self.pools.clear();
            self.changed.clear();
        }
    }

    /// The rooms for a demand on the pilots of an owner, the earliest first.
    pub(super) fn for_demand(
        &mut self,
        state: &State,
        element: &Element,
        owner: &PilotOwner,
        demand: Resources,
    ) -> &BTreeSet<Room> {
        self.asked = true;
        let at = self.pools.entry(element.id.clone()).or_default();
        let pool = at.entry(owner.clone()).or_default();
        if pool.len() >= DEMANDS_MAX && !pool.contains_key(&demand) {
            pool.clear();
        }
        let index = pool.entry(demand).or_insert_with(|| {
            let mut index = Index::default();
            for live in element.pilots.iter().filter_map(|id| state.pilots.get(id)) {
                if live.pilot.owner == *owner {
                    let room = Room::of(live, lasting(live).as_ref(), demand);
                    index.set(live.pilot.id, room);
                }
            }
            index
        });
        &index.in_order
    }

    /// Whether a pilot is among those that have room for a demand before `n` others that are usable.
    pub(super) fn is_among_first(
        &mut self,
        (state, element): (&State, &Element),
        (demand, n): (Resources, usize),
        live: &LivePilot,
        usable: impl Fn(&LivePilot, Room) -> bool,
    ) -> bool {
        let mut before = 0;
        for room in self.for_demand(state, element, &live.pilot.owner, demand) {
            if room.pilot == live.pilot.id {
                return true;
            }
            let other = state.pilots.get(&room.pilot);
            before += usize::from(other.is_some_and(|other| usable(other, *room)));
            if before >= n {
                return false;
            }
        }
        false
    }

    /// Compares what is remembered with what follows from the pilots. The error says what is wrong.
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        let mut known = self.clone();
        known.refresh(state);
        for (ce, at) in &known.pools {
            let Some(element) = state.elements.get(ce) else {
                continue;
            };
            for (owner, pool) in at {
                for (demand, index) in pool {
                    let mut anew = Self::default();
                    if *anew.for_demand(state, element, owner, *demand) != index.in_order {
                        return Err(format!("CE {ce} has other room for {demand:?} than known"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether some pilot of the owner can ever hold the demand, as far as is known.
    pub(super) fn may_hold(&self, ce: &CeId, owner: &PilotOwner, demand: Resources) -> bool {
        let pool = self.pools.get(ce).and_then(|at| at.get(owner));
        let index = pool.and_then(|pool| pool.get(&demand));
        index.is_none_or(|index| !index.of.is_empty())
    }
}
