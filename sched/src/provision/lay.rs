//! Laying waiting tasks onto pilots: one by one, or, if they run on several nodes, onto pilots of
//! one allocation together.

use std::collections::BTreeMap;

use fairway_model::PilotId;

use super::demand::Demand;
use super::supply::Supply;
use crate::State;
use crate::queue::{Class, ClassId};

/// Which pilots share an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Together {
    /// Those of this one.
    There(PilotId),
    /// Those of the order in this place of the plan.
    Ordered(usize),
}

/// Lays as many tasks of a class onto the pilots as find room; of tasks on one node onto those
/// alone that `lets` lets through.
pub(super) fn lay(
    supplies: &mut [Supply<'_>],
    state: &State,
    id: ClassId,
    class: &Class,
    demand: &mut Demand<'_>,
    lets: impl Fn(&Supply<'_>) -> bool,
) {
    if class.needs.hosts > 1 {
        return lay_gangs(supplies, state, id, class, demand);
    }
    for supply in supplies {
        if demand.is_met() {
            return;
        }
        if lets(supply) {
            supply.lay(state, id, class, demand);
        }
    }
}

fn lay_gangs(
    supplies: &mut [Supply<'_>],
    state: &State,
    id: ClassId,
    class: &Class,
    demand: &mut Demand<'_>,
) {
    let mut allocations: BTreeMap<Together, Vec<usize>> = BTreeMap::new();
    for (place, supply) in supplies.iter().enumerate() {
        if !supply.is_reserved() && supply.suits(state, id, class) {
            allocations.entry(supply.together).or_default().push(place);
        }
    }
    // Those first whose pilots run first.
    let mut allocations: Vec<Vec<usize>> = allocations.into_values().collect();
    allocations.sort_unstable();
    for mut able in allocations {
        while !demand.is_met() {
            able.retain(|place| supplies[*place].room.holds(&class.needs));
            // As they will be served: those with the least to spare first.
            able.sort_by_key(|place| (supplies[*place].room.free.cores, *place));
            let Some(party) = able.get(..class.needs.hosts as usize) else {
                break;
            };
            let Supply { element, owner, .. } = &supplies[party[0]];
            if demand.at(element, owner) == 0 {
                break;
            }
            demand.take(element, &owner.clone(), 1);
            for place in party {
                supplies[*place].room.without(&class.needs, 1);
                supplies[*place].used = true;
            }
        }
    }
}
