//! Pilots that are kept for time-critical tasks: a set of them is asked for with the first such
//! task that may run at the CE, and kept as long as such tasks come.

use fairway_model::{PilotOwner, PilotSharing, PilotState};

use super::{PilotOrder, Planner, Purpose, Size, Supply};
use crate::element::{Element, PILOT_MARGIN_S};

impl<'a> Planner<'a> {
    /// Orders what is missing of the warm sets. Private pilots would have to be kept for each user:
    /// there are warm sets only where pilots are shared.
    pub(super) fn keep_warm(&mut self, open: &[&'a Element]) {
        for element in open {
            let Some(warm) = element.ce.supply.warm.filter(|_| element.is_warm()) else {
                continue;
            };
            if element.ce.pilots != PilotSharing::Shared {
                continue;
            }
            let pilots = element.pilots.iter();
            let kept = pilots.filter_map(|id| self.state.pilots.get(id));
            let kept = kept.filter(|live| {
                live.purpose == Purpose::Warm && live.pilot.state < PilotState::Draining
            });
            let mut there = u32::try_from(kept.count()).unwrap_or(u32::MAX);
            let size = Size::of(element);
            let owner = PilotOwner::Shared;
            while there < warm.pilots
                && size.cores > 0
                && self.ledger.has_room(self.state, element, &owner, size)
            {
                self.order_warm(element, size, warm.pilots - there);
                there = there.saturating_add(size.nodes);
            }
        }
    }

    fn order_warm(&mut self, element: &'a Element, size: Size, missing: u32) {
        let walltime_s = element.walltime_s(self.now);
        for _ in 0..size.nodes {
            self.supplies.push(Supply {
                element,
                owner: PilotOwner::Shared,
                free: element.expected(),
                lasts_s: walltime_s.saturating_sub(PILOT_MARGIN_S),
                purpose: Purpose::Warm,
                pilot: None,
                used: true,
            });
        }
        let order = PilotOrder {
            ce: element.id.clone(),
            owner: PilotOwner::Shared,
            resources: element.asked(),
            nodes: size.nodes,
            walltime_s,
            reserve_at: None,
            purpose: Purpose::Warm,
            because: format!("{missing} of the pilots kept for time-critical tasks are missing"),
        };
        self.ledger.add(&order, size);
        self.orders.push(order);
    }
}
