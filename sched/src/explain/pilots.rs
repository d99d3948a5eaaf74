//! What keeps a waiting task from starting on the pilots that are there.

use std::collections::BTreeSet;

use fairway_jdl::Needs;
use fairway_model::{CeId, PilotId, PilotState, Timestamp, UserName};

use super::{CeVerdict, Refusal, refusal};
use crate::State;
use crate::backfill::{Keeper, Rooms};
use crate::element::Element;
use crate::matching::{Books, Limits, LivePilot, serves};
use crate::packing::Room;
use crate::provision::Purpose;
use crate::queue::{Class, ClassId};

/// So many pilots are told, those with the least against them.
const TOLD_MAX: usize = 20;
/// So many are looked at.
const LOOKED_AT_MAX: usize = 2000;

/// What a pilot means for a waiting task.
#[derive(Clone, Debug, PartialEq)]
pub struct PilotVerdict {
    /// Which pilot.
    pub pilot: PilotId,
    /// At which CE.
    pub ce: CeId,
    /// What speaks against it now; nothing: the task starts there as soon as it is its turn.
    pub refusals: Vec<Refusal>,
}

/// The pilots at work that may run tasks of the owner, at the CEs that could run the class; those
/// with the least against them first.
pub(super) fn pilots(
    state: &State,
    ces: &[CeVerdict],
    (id, class): (ClassId, &Class),
    owner: &UserName,
    now: Timestamp,
) -> Vec<PilotVerdict> {
    let limits = state.limits(now);
    let able = ces.iter().filter(|ce| ce.eligible);
    let elements = able.filter_map(|ce| state.elements.get(&ce.ce));
    let there = elements.flat_map(|element| {
        let pilots = element.pilots.iter().filter_map(|id| state.pilots.get(id));
        pilots.map(move |live| (element, live))
    });
    let own = there.filter(|(_, live)| {
        live.pilot.state == PilotState::Active
            && serves(&live.pilot.owner, owner, class.group.as_ref())
    });
    let mut judged: Vec<(&LivePilot, Vec<Refusal>)> = own
        .take(LOOKED_AT_MAX)
        .map(|(element, live)| (live, refusals(state, element, live, (id, class), limits)))
        .collect();
    judged.sort_by_key(|(live, refusals)| (refusals.len(), live.pilot.id));
    judged.truncate(TOLD_MAX);
    let keeper = Keeper::new(state, Rooms::default(), limits);
    judged
        .into_iter()
        .map(|(live, mut refusals)| {
            if refusals.is_empty()
                && let Some((task, from)) = keeper.delayed(live, id, class)
            {
                let because = format!(
                    "its cores are kept for task {task}, which starts there at {from} at the latest"
                );
                refusals.push(refusal(("kept", because)));
            }
            PilotVerdict {
                pilot: live.pilot.id,
                ce: live.pilot.ce.clone(),
                refusals,
            }
        })
        .collect()
}

fn refusals(
    state: &State,
    element: &Element,
    live: &LivePilot,
    (id, class): (ClassId, &Class),
    limits: Limits,
) -> Vec<Refusal> {
    let needs = &class.needs;
    let mut against = Vec::new();
    if !state.node_admits(live, limits.now) {
        let evidence = live.node.and_then(|node| state.latch.evidence(node));
        let because = evidence.map_or_else(
            || "its node is tried with one task at a time".to_owned(),
            |evidence| format!("its node is set aside: {evidence}"),
        );
        against.push(("aside", because));
    }
    let purpose = state.purpose_of(live, limits);
    if !purpose.takes(state, id, class) {
        against.push(("purpose", meant_for(purpose).to_owned()));
    }
    against.extend(no_room(live, needs));
    let end = element.usable_until(live.ends_by(), limits.now);
    let needed_s = purpose.task_s(needs, limits.remaining_min_s);
    if !limits.lasts_s(needed_s, end) {
        let left_s = end.since(limits.now).as_secs();
        let because = format!("it can be used for {left_s} s more, needed {needed_s} s");
        against.push(("walltime", because));
    }
    if against.is_empty() {
        against.extend(kept(state, live, (id, class)));
    }
    if against.is_empty() && !state.is_complete(live, id, class, limits) {
        let because = format!(
            "not as many pilots of its allocation have room and wait for work as are needed, {}",
            needs.hosts
        );
        against.push(("nodes", because));
    }
    against.into_iter().map(refusal).collect()
}

const fn meant_for(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Any => "it is for all tasks",
        Purpose::Deadline(_) => "it is for other tasks, which have a deadline, while they wait",
        Purpose::Reserved(_) => "it is in a reservation for other tasks, while they wait",
        Purpose::Warm => "it is kept for time-critical tasks",
        Purpose::Gang(_) => "it is for tasks on several nodes, while they wait",
    }
}

/// What is missing, with the values on both sides.
fn no_room(live: &LivePilot, needs: &Needs) -> Vec<(&'static str, String)> {
    let Books { room, .. } = live.books();
    let has = Room::on(&live.pilot);
    let (free, all, asked) = (room.free, has.free, needs.resources);
    let mut against = Vec::new();
    let mut missing = |name, unit: &str, free: u64, all: u64, asked: u64| {
        if free < asked {
            let because = format!("{free} of its {all} {unit} are free, needed {asked}");
            against.push((name, because));
        }
    };
    let (cores, gpus) = (u64::from(free.cores), u64::from(free.gpus));
    missing(
        "cores",
        "cores",
        cores,
        all.cores.into(),
        asked.cores.into(),
    );
    missing(
        "memory",
        "MiB of memory",
        free.memory_mib,
        all.memory_mib,
        asked.memory_mib,
    );
    missing("gpus", "GPUs", gpus, all.gpus.into(), asked.gpus.into());
    for (name, asked) in needs.custom.iter() {
        let (free, all) = (room.custom.get(name), has.custom.get(name));
        missing("custom", name, free.into(), all.into(), asked.into());
    }
    if needs.whole_node && !room.whole_node {
        against.push(("whole_node", "it has no node for itself".to_owned()));
    } else if needs.whole_node && !room.empty {
        let because = "other tasks are there, and it needs a whole node".to_owned();
        against.push(("whole_node", because));
    }
    if against.is_empty() && live.books().waiting > 0 {
        let because = match live.books().waiting {
            1 => "a task that it was given before waits for room there".to_owned(),
            n => format!("{n} tasks that it was given before wait for room there"),
        };
        against.push(("waiting", because));
    }
    against
}

/// Room that is being made for others, or that those have given up who sleep there.
fn kept(
    state: &State,
    live: &LivePilot,
    (id, class): (ClassId, &Class),
) -> Option<(&'static str, String)> {
    if state.leaves_room(live, id, class) {
        return None;
    }
    let rooms = state.kept_rooms.at(live.pilot.id).iter();
    let tasks: BTreeSet<String> = rooms.map(|room| room.task.to_string()).collect();
    let because = if tasks.is_empty() {
        "its free cores are those of tasks that sleep there and go on soon".to_owned()
    } else {
        let tasks: Vec<String> = tasks.into_iter().collect();
        format!("room is being made on it for {}", tasks.join(", "))
    };
    Some(("room", because))
}
