//! What reservations mean for a task, in a sentence.

use std::collections::BTreeSet;

use fairway_model::{CeId, PilotId, TaskId, Timestamp};

use super::plan::Plan;
use super::rooms::Rooms;
use crate::State;
use crate::matching::serves;
use crate::queue::{Class, ClassId};

/// What reservations mean for a waiting task: that cores are kept for it, or for others; `None` if
/// neither.
pub(crate) fn remark(
    state: &State,
    task: TaskId,
    (id, class): (ClassId, &Class),
    now: Timestamp,
) -> Option<String> {
    let owner = &state.jobs.get(&task.job)?.job.owner;
    let mut rooms = Rooms::default();
    let mut kept_back = None;
    for (element, pilots_of) in state.pools() {
        let may = serves(pilots_of, owner, class.group.as_ref())
            && element.admits(owner, class.group.as_ref())
            && element.verdicts.get(&id).is_some_and(|it| it.eligible);
        if !may {
            continue;
        }
        let mut plan = Plan::new(state, element, pilots_of, state.limits(now));
        let kept = plan.places(&mut rooms).iter().filter(|place| place.kept);
        let own = kept.clone().find(|place| place.task == task);
        if let Some(own) = own {
            return Some(kept_for(state, &state.reservation(element, own)));
        }
        let pilots: BTreeSet<PilotId> = kept.map(|place| place.pilot).collect();
        for live in pilots.iter().filter_map(|id| state.pilots.get(id)) {
            if kept_back.is_some()
                || !state.could_start(live, element, (id, class), state.limits(now))
            {
                continue;
            }
            let delayed = plan.delays(&mut rooms, live, (id, &class.needs));
            kept_back = delayed.map(|place| {
                let pilot = (live.pilot.id, &element.id);
                kept_from(pilot, class, (place.task, place.from))
            });
        }
    }
    kept_back
}

fn kept_for(state: &State, kept: &super::Reservation) -> String {
    let cost = state.kept.cost_of(kept.task) as f64 / 3_600_000.0;
    format!(
        "Cores are kept for it on pilot {} at {}: it starts there at {} at the latest, {} of its {} \
         are free now; keeping them has cost {cost:.1} core-hours so far.",
        kept.pilot, kept.ce, kept.from, kept.cores_kept, kept.resources.cores
    )
}

fn kept_from(
    (pilot, ce): (PilotId, &CeId),
    class: &Class,
    (before, from): (TaskId, Timestamp),
) -> String {
    let because = match class.needs.walltime_s {
        Some(s) => format!("its walltime of {s} s would delay that"),
        None => "it asks for no walltime, and would delay that".to_owned(),
    };
    format!(
        "It would fit on pilot {pilot} at {ce} and is kept back: the cores are kept for task {before}, \
         which comes before it and starts there at {from} at the latest; {because}."
    )
}
