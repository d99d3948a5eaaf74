//! Room on the pilots that there are, and that are on their way.

use std::cmp::Reverse;
use std::time::Duration;

use fairway_model::{Pilot, PilotId, PilotState, Resources, SiteMode, Timestamp};

use super::demand::Demand;
use super::fit::{times, without};
use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};
use crate::matching::LivePilot;
use crate::queue::{Class, ClassId};

/// Room on a pilot that is there, on its way, or ordered just now.
pub(super) struct Supply<'a> {
    pub(super) element: &'a Element,
    pub(super) free: Resources,
    /// Seconds that a task may take there.
    pub(super) lasts_s: u64,
    /// `None` for one that is ordered just now.
    pub(super) pilot: Option<PilotId>,
    pub(super) may_be_recalled: bool,
    pub(super) used: bool,
}

impl Supply<'_> {
    /// Lays as many of the tasks onto it as fit.
    pub(super) fn lay(&mut self, state: &State, id: ClassId, class: &Class, demand: &mut Demand) {
        let eligible = self.element.verdicts.get(&id).is_some_and(|v| v.eligible);
        let task_s = class
            .needs
            .walltime_s
            .unwrap_or(state.settings.remaining_min_s);
        if !eligible || task_s > self.lasts_s || self.free.cores == 0 {
            return;
        }
        let room = times(self.free, class.needs.resources);
        let tasks = room.min(demand.at(self.element, class));
        if tasks == 0 {
            return;
        }
        demand.take(self.element, class, tasks);
        self.used = true;
        self.free = without(self.free, class.needs.resources, tasks);
    }
}

/// The pilots that there are, those that run first, and the youngest of those that do not
/// last: it is the one to be called back.
pub(super) fn supplies(state: &State, now: Timestamp) -> Vec<Supply<'_>> {
    let mut pilots: Vec<&LivePilot> = state.pilots.values().collect();
    pilots.sort_by_key(|live| (Reverse(live.pilot.state), live.pilot.id));
    pilots
        .into_iter()
        .filter_map(|live| supply(state, live, now))
        .collect()
}

fn supply<'a>(state: &'a State, live: &LivePilot, now: Timestamp) -> Option<Supply<'a>> {
    let pilot: &Pilot = &live.pilot;
    let element = state.elements.get(&pilot.ce)?;
    let (free, lasts_s) = match pilot.state {
        PilotState::Active if element.mode() == SiteMode::Open => {
            let (free, waiting) = live.books();
            let free = if waiting > 0 {
                Resources::default()
            } else {
                free
            };
            let left = pilot.ends_at.map_or(Duration::MAX, |end| end.since(now));
            (free, left.as_secs())
        }
        // It will be told to leave as soon as it calls home.
        state if state.is_expected() && element.mode() != SiteMode::Open => {
            (Resources::default(), 0)
        }
        state if state.is_expected() => (
            element.expected_of(pilot.resources),
            pilot.walltime_s.saturating_sub(PILOT_MARGIN_S),
        ),
        _ => return None,
    };
    Some(Supply {
        element,
        free,
        lasts_s,
        pilot: Some(pilot.id),
        may_be_recalled: may_be_recalled(pilot, element),
        used: false,
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
