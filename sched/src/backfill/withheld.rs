//! Which room provisioning must not count on, since it is kept for others.

use std::collections::BTreeSet;

use fairway_model::{Pilot, PilotId, Timestamp};

use super::Keeper;
use super::plan::Plan;
use super::rooms::Rooms;
use crate::State;
use crate::queue::{Class, ClassId};

/// Room that is kept, where some task was kept back lately. Empty, and at no cost, if none was.
pub(crate) struct Withheld<'a> {
    keeper: Keeper<'a>,
    /// Pilots on which room is kept.
    pilots: BTreeSet<PilotId>,
}

impl<'a> Withheld<'a> {
    pub(crate) fn of(state: &'a State, now: Timestamp) -> Self {
        let limits = state.limits(now);
        let mut rooms = Rooms::default();
        let mut pilots = BTreeSet::new();
        for (ce, owner) in &state.kept.pools {
            if let Some(element) = state.elements.get(ce) {
                let mut plan = Plan::new(state, element, owner, limits);
                let places = plan.places(&mut rooms).iter();
                pilots.extend(places.filter(|it| it.kept).map(|it| it.pilot));
            }
        }
        Self {
            keeper: Keeper::new(state, rooms, limits),
            pilots,
        }
    }

    /// Whether what the pilot has free is kept from tasks of a class.
    pub(crate) fn from(&self, pilot: Option<&Pilot>, id: ClassId, class: &Class) -> bool {
        let here = pilot.filter(|pilot| self.pilots.contains(&pilot.id));
        let live = here.and_then(|pilot| self.keeper.state.pilots.get(&pilot.id));
        live.is_some_and(|live| !self.keeper.lets(live, id, class))
    }
}
