//! CEs that get pilots only when much waits: BeBiDa's Ti'Punch, which leaves a cluster to
//! others as long as a little work can be done elsewhere or later.

use std::collections::BTreeMap;

use fairway_model::{CeId, Timestamp};

use super::demand::Demands;
use super::lay::lay;
use super::supply::Supply;
use crate::State;
use crate::element::Element;

/// How many tasks that may run at a CE have no place on the pilots that there are; only of CEs
/// with a threshold. Costs nothing if there are none.
pub(super) fn waiting_at(
    state: &State,
    supplies: &[Supply<'_>],
    now: Timestamp,
) -> BTreeMap<CeId, u64> {
    let elements = state.elements.values();
    let bounded: Vec<&Element> = elements
        .filter(|element| element.ce.supply.threshold > 0)
        .collect();
    let mut waiting: BTreeMap<CeId, u64> = bounded
        .iter()
        .map(|element| (element.id.clone(), 0))
        .collect();
    if bounded.is_empty() {
        return waiting;
    }
    let mut supplies = supplies.to_vec();
    let mut demands = Demands::of(state, now);
    for (id, class) in super::in_order_of_service(state, now) {
        let mut demand = demands.demand(class);
        lay(&mut supplies, state, id, class, &mut demand, |_| true);
        for element in &bounded {
            let eligible = element.verdicts.get(&id).is_some_and(|it| it.eligible);
            if let Some(n) = waiting.get_mut(&element.id)
                && eligible
            {
                *n += demand.admitted(element);
            }
        }
    }
    waiting
}

/// As [`below`], for one CE by itself. Costs as much as a plan if it has a threshold, and nothing
/// otherwise.
pub(crate) fn too_few(state: &State, element: &Element, now: Timestamp) -> Option<String> {
    if element.ce.supply.threshold == 0 {
        return None;
    }
    let supplies = super::supply::supplies(state, now);
    below(element, &waiting_at(state, &supplies, now))
}

/// Why a CE gets no pilots: too few tasks wait. The values on both sides.
pub(crate) fn below(element: &Element, waiting_at: &BTreeMap<CeId, u64>) -> Option<String> {
    let threshold = element.ce.supply.threshold;
    let waiting = waiting_at.get(&element.id).copied().unwrap_or(0);
    (threshold > 0 && waiting <= threshold).then(|| {
        format!(
            "{waiting} tasks that may run here have no pilot, pilots are asked for from {} on",
            threshold.saturating_add(1)
        )
    })
}
