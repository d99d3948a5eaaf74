//! Random tasks on random pilots: nothing behind a task delays it.

use std::collections::BTreeMap;

use fairway_model::policy::Backfill;
use fairway_model::{PolicyKind, TaskId, Timestamp};
use fairway_sched::Reservation;
use proptest::prelude::*;

use super::Machine;

/// What tasks behind others did to those before them.
fn later_than_before(
    before: &[Reservation],
    after: &[Reservation],
    granted: TaskId,
) -> Option<TaskId> {
    let ahead = before.iter().filter(|it| it.task < granted);
    ahead
        .filter(|it| {
            let now = after.iter().find(|other| other.task == it.task);
            now.is_some_and(|now| now.from > it.from)
        })
        .map(|it| it.task)
        .next()
}

#[derive(Clone, Debug)]
struct Wanted {
    cores: u32,
    walltime_s: u64,
    /// In percent of the walltime.
    lasts: u64,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let cores = prop_oneof![3 => 1..3_u32, 1 => 3..9_u32];
    (cores, 1..4_u64, 20..=100_u64).prop_map(|(cores, walltime, lasts)| Wanted {
        cores,
        walltime_s: walltime,
        lasts,
    })
}

fn machine_of(mode: Backfill, pilots: &[u32], tasks: &[Wanted], exact: bool) -> Machine {
    let mut machine = Machine::new(PolicyKind::Fifo, mode, pilots);
    for (n, task) in (0..).zip(tasks) {
        // Each asks for another walltime: none is of the class of another.
        let walltime_s = task.walltime_s * 30 + n;
        let lasts_s = if exact {
            walltime_s
        } else {
            (walltime_s * task.lasts / 100).max(1)
        };
        machine.submit("alice", task.cores, walltime_s, lasts_s);
    }
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A task that is first is not started later than was said at any moment, whenever others
    /// end, as long as they keep to their walltime.
    #[test]
    fn the_head_is_never_delayed(
        pilots in prop::collection::vec(4..9_u32, 1..4),
        tasks in prop::collection::vec(wanted(), 1..30),
        conservative in any::<bool>(),
    ) {
        let mode = if conservative { Backfill::Conservative } else { Backfill::Easy };
        let mut machine = machine_of(mode, &pilots, &tasks, false);
        let mut promised: BTreeMap<TaskId, Timestamp> = BTreeMap::new();
        loop {
            machine.ask_all();
            // Under fifo those are first that were submitted first; what no pilot holds is not there.
            if let Some(head) = machine.reservations().first() {
                let known = promised.entry(head.task).or_insert(head.from);
                prop_assert!(head.from <= *known, "{} is delayed", head.task);
                *known = head.from;
            }
            if !machine.next_end() {
                break;
            }
        }
        for (task, from) in promised {
            let start = machine.history[&task].0;
            prop_assert!(start <= from.since(machine.begin).as_secs());
        }
        let held = tasks.iter().filter(|task| pilots.iter().any(|n| *n >= task.cores));
        prop_assert_eq!(machine.history.len(), held.count());
        machine.world.state.check().unwrap();
    }

    /// Where every task takes just its walltime, none starts later than it was told.
    #[test]
    fn conservative_keeps_its_word(
        cores in 4..9_u32,
        pilots in 1..4_usize,
        tasks in prop::collection::vec(wanted(), 1..30),
    ) {
        let pilots = vec![cores; pilots];
        let mut machine = machine_of(Backfill::Conservative, &pilots, &tasks, true);
        let mut promised: BTreeMap<TaskId, Timestamp> = BTreeMap::new();
        loop {
            machine.ask_all();
            for kept in machine.reservations() {
                let known = promised.entry(kept.task).or_insert(kept.from);
                *known = kept.from.min(*known);
            }
            if !machine.next_end() {
                break;
            }
        }
        for (task, from) in promised {
            let start = machine.history[&task].0;
            prop_assert!(start <= from.since(machine.begin).as_secs(), "{task} is late");
        }
    }

    /// No grant moves a reservation of a task before it, in whatever order pilots ask.
    #[test]
    fn what_is_behind_delays_nothing_before_it(
        pilots in prop::collection::vec(2..9_u32, 1..7),
        tasks in prop::collection::vec(wanted(), 1..30),
        turns in prop::collection::vec(0..100_usize, 100),
        conservative in any::<bool>(),
        depth in 1..5_u32,
    ) {
        let mode = if conservative { Backfill::Conservative } else { Backfill::Easy };
        let mut machine = machine_of(mode, &pilots, &tasks, false);
        let mut policy = machine.world.state.policy().clone();
        policy.backfill.depth = depth;
        machine.world.set_policy(policy);
        machine.world.settings.grants_max = 1;
        machine.world.reload();
        for turn in turns {
            let pilot = machine.pilots[turn % machine.pilots.len()];
            let before = machine.reservations();
            let held = machine.held(pilot);
            let granted = machine.world.pull(pilot, &held);
            for (task, _) in &granted {
                let delayed = later_than_before(&before, &machine.reservations(), *task);
                prop_assert_eq!(delayed, None, "by {}", task);
            }
            machine.note(pilot, granted);
            if turn % 3 == 0 {
                machine.next_end();
            }
        }
        machine.world.state.check().unwrap();
    }

    /// What is remembered is what follows from the leases.
    #[test]
    fn reservations_are_the_same_after_a_restart(
        pilots in prop::collection::vec(2..9_u32, 1..4),
        tasks in prop::collection::vec(wanted(), 1..30),
        steps in 0..10_usize,
    ) {
        let mut machine = machine_of(Backfill::Conservative, &pilots, &tasks, false);
        for _ in 0..steps {
            machine.ask_all();
            machine.next_end();
        }
        machine.ask_all();
        let before = machine.reservations();
        machine.world.reload();
        prop_assert_eq!(before, machine.reservations());
    }
}
