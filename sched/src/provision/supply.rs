//! Room on the pilots that there are, and that are on their way; and which of them nobody needs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::{Pilot, PilotId, PilotOwner, PilotState, SiteMode, Timestamp};

use super::Purpose;
use super::demand::Demand;
use super::lay::Together;
use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};
use crate::matching::{Books, LivePilot};
use crate::packing::Room;
use crate::queue::{Class, ClassId};
use crate::state::probe::is_probe;

/// Room on a pilot that is there, on its way, or ordered just now.
#[derive(Clone)]
pub(super) struct Supply<'a> {
    pub(super) element: &'a Element,
    pub(super) owner: PilotOwner,
    pub(super) room: Room,
    /// Seconds that a task may take there.
    pub(super) lasts_s: u64,
    pub(super) purpose: Purpose,
    pub(super) together: Together,
    /// `None` for one that is ordered just now.
    pub(super) pilot: Option<&'a Pilot>,
    pub(super) used: bool,
}

impl Supply<'_> {
    /// Lays as many of the tasks onto it as fit. A reservation that is yet to begin takes none:
    /// until then they are served like others.
    pub(super) fn lay(
        &mut self,
        state: &State,
        id: ClassId,
        class: &Class,
        demand: &mut Demand<'_>,
    ) {
        if self.is_reserved() {
            self.used |= self.purpose == Purpose::Reserved(id) && class.waiting() > 0;
        } else {
            self.take(state, id, class, demand);
        }
    }

    /// Whether it is a reservation that is yet to begin.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.purpose, Purpose::Reserved(_)) && self.is_expected()
    }

    fn is_expected(&self) -> bool {
        self.pilot.is_none_or(|pilot| pilot.state.is_expected())
    }

    /// As [`lay`](Self::lay), whether it has begun or not.
    pub(super) fn take(
        &mut self,
        state: &State,
        id: ClassId,
        class: &Class,
        demand: &mut Demand<'_>,
    ) {
        if !self.suits(state, id, class) {
            return;
        }
        let room = self.room.times(&class.needs);
        if room == 0 {
            return;
        }
        let tasks = room.min(demand.at(self.element, &self.owner));
        if tasks == 0 {
            return;
        }
        demand.take(self.element, &self.owner, tasks);
        self.used = true;
        self.room.without(&class.needs, tasks);
    }

    /// Whether it takes tasks of a class, if they find room.
    pub(super) fn suits(&self, state: &State, id: ClassId, class: &Class) -> bool {
        let remaining_min_s = state.settings.remaining_min_s;
        let task_s = self.purpose.task_s(&class.needs, remaining_min_s);
        let verdict = self.element.verdicts.get(&id);
        self.room.free.cores > 0
            && task_s <= self.lasts_s
            && self.purpose.takes(state, id, class)
            && verdict.is_some_and(|verdict| verdict.eligible)
    }
}

/// The pilots that have room or could be called back, those that run first, and the youngest of
/// those that do not last: it is the one to be called back.
pub(super) fn supplies(state: &State, now: Timestamp) -> Vec<Supply<'_>> {
    let mut pilots: Vec<&LivePilot> = state.pilots.values().collect();
    pilots.sort_by_key(|live| in_order(&live.pilot));
    pilots
        .into_iter()
        .filter_map(|live| supply(state, live, now))
        .collect()
}

/// Those that run first, and of these the oldest.
fn in_order(pilot: &Pilot) -> (Reverse<PilotState>, PilotId) {
    (Reverse(pilot.state), pilot.id)
}

fn supply<'a>(state: &'a State, live: &'a LivePilot, now: Timestamp) -> Option<Supply<'a>> {
    let pilot: &Pilot = &live.pilot;
    if is_probe(pilot) {
        return None;
    }
    let element = state.elements.get(&pilot.ce)?;
    let open = element.mode() == SiteMode::Open;
    let (room, lasts_s) = match pilot.state {
        PilotState::Active if open => {
            let Books { room, waiting, .. } = live.books();
            if *waiting > 0 || room.free.cores == 0 {
                return None;
            }
            // One that has not said so lasts as long as may be.
            let end = pilot.ends_at.unwrap_or(Timestamp(i64::MAX));
            let end = element.usable_until(end, now);
            (room.clone(), end.since(now).as_secs())
        }
        // It will be told to leave as soon as it calls home.
        state if state.is_expected() && !open => (Room::none(), 0),
        state if state.is_expected() => {
            let walltime = Duration::from_secs(pilot.walltime_s);
            let end = element.usable_until(now.plus(walltime), now);
            let lasts_s = end.since(now).as_secs().saturating_sub(PILOT_MARGIN_S);
            let room = Room {
                free: element.expected_of(pilot.resources),
                ..Room::on(pilot)
            };
            (room, lasts_s)
        }
        _ => return None,
    };
    Some(Supply {
        element,
        owner: pilot.owner.clone(),
        room,
        lasts_s,
        purpose: state.purpose_of(live, state.limits(now)),
        together: Together::There(pilot.allocation),
        pilot: Some(pilot),
        used: live.purpose == Purpose::Warm && element.is_warm(),
    })
}

/// One whose submission is under way cannot be called back yet, one that is starting would be
/// wasted. A CE that does not answer for a while is no reason to call anybody back.
fn may_be_recalled(pilot: &Pilot, element: &Element) -> bool {
    let reached = match pilot.state {
        PilotState::Planned => pilot.batch_id.is_some(),
        PilotState::Queued => true,
        _ => false,
    };
    reached && (element.in_production() || element.mode() != SiteMode::Open)
}

/// Allocations that cannot be called back: of each, one pilot at least has come too far.
fn bound(state: &State) -> BTreeSet<PilotId> {
    let bound = state.pilots.values().filter(|live| {
        let element = state.elements.get(&live.pilot.ce);
        !element.is_some_and(|element| may_be_recalled(&live.pilot, element))
    });
    bound.map(|live| live.pilot.allocation).collect()
}

/// Which pilots are of no use at the moment, each with all others of its allocation; and of
/// which nobody knows any more when they will start.
pub(super) fn recallable(
    state: &State,
    supplies: &mut [Supply<'_>],
    now: Timestamp,
) -> (Vec<PilotId>, Vec<(PilotId, String)>) {
    supplies.sort_by_key(|supply| supply.pilot.map(in_order));
    let bound = bound(state);
    let free = |supply: &&Supply<'_>| {
        let allocation = supply.pilot.map(|pilot| pilot.allocation);
        allocation.is_some_and(|allocation| !bound.contains(&allocation))
    };
    let mut used: BTreeSet<PilotId> = BTreeSet::new();
    let mut youngest: BTreeMap<PilotId, Timestamp> = BTreeMap::new();
    for supply in supplies.iter().filter(free) {
        let Some(pilot) = supply.pilot else { continue };
        if supply.used {
            used.insert(pilot.allocation);
        }
        let since = youngest.entry(pilot.allocation).or_insert(pilot.since);
        *since = pilot.since.max(*since);
    }
    let max_s = state.settings.pilot_queued_max_s;
    let (mut unneeded, mut overdue) = (Vec::new(), Vec::new());
    for pilot in supplies
        .iter()
        .filter(free)
        .filter_map(|supply| supply.pilot)
    {
        let since = youngest.get(&pilot.allocation).copied().unwrap_or(now);
        if now.since(since) > Duration::from_secs(max_s) {
            let because = format!("it has waited in the batch system for more than {max_s} s");
            overdue.push((pilot.id, because));
        } else if !used.contains(&pilot.allocation) {
            unneeded.push(pilot.id);
        }
    }
    (unneeded, overdue)
}

/// Why a pilot that is of no use is called back now; `None` if it is not: work may come back.
pub(super) fn recall(state: &State, id: PilotId, now: Timestamp) -> Option<String> {
    let live = state.pilots.get(&id)?;
    let element = state.elements.get(&live.pilot.ce)?;
    if element.mode() != SiteMode::Open {
        return Some("no work is given out at its CE any more".into());
    }
    if let Some(window) = element.maintenance_now(now) {
        return Some(format!("its site is in maintenance until {}", window.to));
    }
    let patience = Duration::from_secs(state.settings.recall_after_s);
    let unneeded = |pilot: &Pilot| {
        let live = state.pilots.get(&pilot.id);
        let since = live.and_then(|live| live.unneeded_since);
        since.is_some_and(|since| now.since(since) >= patience)
    };
    let mut together = state.allocation(live.pilot.allocation);
    together
        .all(unneeded)
        .then(|| "no work is left for it".into())
}
