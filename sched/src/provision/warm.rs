//! Pilots that are kept for time-critical tasks: a set of them is asked for with the first such
//! task that may run at the CE, and kept as long as such tasks come.

use fairway_model::{JobId, PilotOwner, PilotSharing, PilotState};

use super::{PilotOrder, Planner, Prospect, Purpose, Size, Supply, Together};
use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};

/// What is to be said of the time-critical tasks of a job: that no CE that could run
/// them keeps pilots for them. `None` if there are none, or one does.
pub fn critical_remark(state: &State, job: JobId) -> Option<String> {
    let live = state.jobs.get(&job)?;
    let id = live.class_of(0);
    let class = state.queue.class(id)?;
    let group = live.job.group.as_ref();
    let keeps = |element: &Element| {
        element.ce.supply.warm.is_some()
            && element.ce.pilots == PilotSharing::Shared
            && element.verdicts.get(&id).is_some_and(|it| it.eligible)
            && element.admits(&live.job.owner, group)
    };
    let kept = state.elements.values().any(keeps);
    (class.needs.time_critical && !kept).then(|| {
        "no CE that could run it keeps pilots for time-critical tasks: it is served like others"
            .to_owned()
    })
}

impl<'a> Planner<'a> {
    /// Orders what is missing of the warm sets. Private pilots would have to be kept for each user:
    /// there are warm sets only where pilots are shared.
    pub(super) fn keep_warm(&mut self, open: &[Prospect<'a>]) {
        for &Prospect { element, size, .. } in open {
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
                room: element.room(),
                lasts_s: walltime_s.saturating_sub(PILOT_MARGIN_S),
                purpose: Purpose::Warm,
                together: Together::Ordered(self.orders.len()),
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
