//! How many pilots of which shape to ask of which CE, and which to call back.
//!
//! First the waiting tasks are laid, in the order of service, onto the pilots that there are
//! and that are on their way. What finds no place there makes new pilots, where Rank puts it;
//! among CEs of equal Rank first where cores are free now, then where the queue is shortest.
//! A pilot on its way that nothing was laid onto is called back. So there are never
//! more pilots than work, and an 8-core pilot is asked for 8 one-core tasks.

mod demand;
mod fit;
mod room;
mod supply;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fairway_model::{CeId, PilotId, PilotOwner, Resources, Timestamp};

use self::demand::Demand;
use self::fit::{times, without};
use self::room::Room;
use self::supply::Supply;
use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};
use crate::queue::{Class, ClassId};

pub(crate) use self::fit::{closures, misfits};

/// A pilot to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PilotOrder {
    /// Where.
    pub ce: CeId,
    /// Whose tasks it may run.
    pub owner: PilotOwner,
    /// What to ask for, on each node.
    pub resources: Resources,
    /// Nodes of the allocation; on each runs a pilot of its own. At least 1.
    pub nodes: u32,
    /// The walltime to ask for, in seconds.
    pub walltime_s: u64,
    /// Ask for an advance reservation that begins then.
    pub reserve_at: Option<Timestamp>,
    /// Why, in a sentence.
    pub because: String,
}

/// What to do about pilots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PilotPlan {
    /// Pilots to ask for.
    pub orders: Vec<PilotOrder>,
    /// Pilots that have not called home and for which there is no work any more, with the reason.
    pub recalls: Vec<(PilotId, String)>,
}

/// Plans pilots for the work that waits. Changes nothing; what it plans is
/// checked again when it is carried out.
pub fn plan(state: &State, now: Timestamp) -> PilotPlan {
    let mut supplies = supply::supplies(state, now);
    let mut rooms: BTreeMap<&CeId, Room> = state
        .elements
        .iter()
        .map(|(id, element)| (id, Room::of(state, element)))
        .collect();
    let mut orders = Vec::new();
    for (id, class) in in_order_of_service(state) {
        let mut demand = Demand::of(class);
        for supply in &mut supplies {
            supply.lay(state, id, class, &mut demand);
        }
        if demand.is_met() {
            continue;
        }
        let candidates = candidates(state, id, class, now);
        for tied in candidates.chunk_by(|(_, a), (_, b)| a == b) {
            for at_once in [true, false] {
                for (element, _) in tied {
                    if let Some(room) = rooms.get_mut(&element.id) {
                        let pilots = room.take(element, class, &demand, at_once);
                        order(
                            element,
                            class,
                            pilots,
                            &mut demand,
                            &mut orders,
                            &mut supplies,
                        );
                    }
                }
            }
        }
    }
    let recalls = supplies
        .iter()
        .filter(|supply| !supply.used && supply.may_be_recalled)
        .filter_map(|supply| Some((supply.pilot?, "no work is left for it".to_owned())))
        .collect();
    PilotPlan { orders, recalls }
}

/// Classes with waiting tasks, the one with the task to be served next first.
fn in_order_of_service(state: &State) -> Vec<(ClassId, &Class)> {
    let mut classes: Vec<_> = state
        .queue
        .active()
        .filter_map(|(id, class)| {
            let (place, _, task) = class.in_order().next()?;
            Some((place, task, id, class))
        })
        .collect();
    classes.sort_by_key(|(place, task, ..)| (*place, *task));
    classes
        .into_iter()
        .map(|(_, _, id, class)| (id, class))
        .collect()
}

/// CEs that may get pilots for a class, the best first, each with its Rank.
fn candidates<'a>(
    state: &'a State,
    id: ClassId,
    class: &Class,
    now: Timestamp,
) -> Vec<(&'a Element, f64)> {
    let mut candidates: Vec<(&Element, f64)> = state
        .elements
        .values()
        .filter(|element| {
            closures(state, element, now).is_empty()
                && element.backing_off(now).is_none()
                && misfits(state, element, &class.needs).is_empty()
        })
        .filter_map(|element| {
            let verdict = element.verdicts.get(&id)?;
            verdict.eligible.then(|| (element, verdict.rank_or_last()))
        })
        .collect();
    candidates.sort_by(|(a, rank_a), (b, rank_b)| {
        let free = |e: &Element| e.published.as_ref().and_then(|s| s.cores_free).unwrap_or(0);
        rank_b
            .total_cmp(rank_a)
            .then_with(|| a.response_s().cmp(&b.response_s()))
            .then_with(|| Reverse(free(a)).cmp(&Reverse(free(b))))
            .then_with(|| a.id.cmp(&b.id))
    });
    candidates
}

/// Orders `pilots` pilots and lays tasks of the class onto them.
fn order<'a>(
    element: &'a Element,
    class: &Class,
    pilots: u32,
    demand: &mut Demand,
    orders: &mut Vec<PilotOrder>,
    supplies: &mut Vec<Supply<'a>>,
) {
    let shape = element.ce.shape;
    let per_pilot = times(element.expected(), class.needs.resources);
    let waiting = demand.at(element, class);
    for _ in 0..pilots {
        let tasks = per_pilot.min(demand.at(element, class));
        demand.take(element, class, tasks);
        orders.push(PilotOrder {
            ce: element.id.clone(),
            resources: Resources {
                cores: shape.cores,
                memory_mib: shape.memory_mib,
                gpus: 0,
            },
            owner: PilotOwner::Shared,
            nodes: 1,
            reserve_at: None,
            walltime_s: element.walltime_s(),
            because: format!(
                "{waiting} tasks that may run here have no pilot yet; it takes {tasks} of them"
            ),
        });
        supplies.push(Supply {
            element,
            free: without(element.expected(), class.needs.resources, tasks),
            lasts_s: element.walltime_s().saturating_sub(PILOT_MARGIN_S),
            pilot: None,
            may_be_recalled: false,
            used: true,
        });
    }
}
