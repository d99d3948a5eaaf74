//! How many pilots a CE may still get.

use super::demand::Demand;
use super::fit::times;
use crate::State;
use crate::element::Element;
use crate::queue::Class;

/// How many pilots a CE may still get.
pub(super) struct Room {
    pilots: u32,
    /// Of these, how many would start at once.
    starting: u32,
}

impl Room {
    pub(super) fn of(state: &State, element: &Element) -> Self {
        let (live, expected) = state.pilots_at(element);
        let limits = element.ce.limits;
        let free = element
            .published
            .as_ref()
            .and_then(|s| s.cores_free)
            .unwrap_or(0);
        let slots = free / element.ce.shape.cores.max(1);
        let pilots = limits
            .pilots_max
            .saturating_sub(live)
            .min(limits.queued_max.saturating_sub(expected));
        Self {
            pilots,
            starting: slots.saturating_sub(expected),
        }
    }

    /// Takes as many pilots as the tasks are worth, and there is room for. `at_once`: only
    /// those that find free cores.
    pub(super) fn take(
        &mut self,
        element: &Element,
        class: &Class,
        demand: &Demand,
        at_once: bool,
    ) -> u32 {
        let per_pilot = times(element.expected(), class.needs.resources).max(1);
        let worth = demand.at(element, class).div_ceil(per_pilot);
        let room = if at_once {
            self.pilots.min(self.starting)
        } else {
            self.pilots
        };
        let pilots = room.min(u32::try_from(worth).unwrap_or(u32::MAX));
        self.pilots -= pilots;
        self.starting = self.starting.saturating_sub(pilots);
        pilots
    }
}
