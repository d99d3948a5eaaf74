//! Random histories: several users and pilots, lost and repeated messages, lost pilots,
//! cancels and holds, restarts. After every step the invariants hold and the store and the
//! memory agree; when the faults stop, everything that can end ends.

mod agent;
mod run;
mod sound;
mod step;

use std::collections::BTreeMap;

use fairway_model::{PilotId, PilotState};
use proptest::prelude::*;

use self::agent::{Agent, Message};
use self::step::{Step, busy_step, step};
use crate::world::World;

/// The server, and what is out there.
struct Run {
    world: World,
    agents: BTreeMap<PilotId, Agent>,
    sent: Vec<Message>,
}

/// One of them, if there are any.
fn pick<T: Clone>(from: impl IntoIterator<Item = T>, which: usize) -> Option<T> {
    let all: Vec<T> = from.into_iter().collect();
    (!all.is_empty()).then(|| all[which % all.len()].clone())
}

/// Takes these steps, and then whatever is left until all is over. What must hold is looked at after
/// each.
fn play(steps: &[Step]) -> Run {
    let mut run = Run::new();
    for step in steps {
        run.take(step);
        run.check();
    }
    run.settle();
    run.check();
    run.check_ledger();
    run
}

proptest! {
    #![proptest_config(crate::random_cases())]

    #[test]
    fn every_history_is_sound(steps in prop::collection::vec(step(), 1..120)) {
        let run = play(&steps);
        let left = run.world.state.pilots_live().filter(|pilot| pilot.state != PilotState::Ended);
        prop_assert!(left.count() <= run.agents.len());
    }

    #[test]
    fn every_history_of_giving_way_is_sound(
        steps in prop::collection::vec(busy_step(), 1..80)
    ) {
        play(&steps);
    }

    #[test]
    fn the_same_history_has_the_same_changes(steps in prop::collection::vec(step(), 1..60)) {
        let changes = || {
            let mut run = Run::new();
            steps.iter().for_each(|step| run.take(step));
            run.world.history
        };
        prop_assert_eq!(changes(), changes());
    }
}
