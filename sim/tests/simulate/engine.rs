//! The world itself.

use std::collections::BTreeMap;

use fairway_model::{EventKind, PolicyKind, TaskId};
use fairway_sched::Change;
use fairway_sim::{Setup, Targets, Workload, left_out, simulate_watched};
use proptest::prelude::*;

use crate::{jobs, policy, run, setup, standing};

#[test]
fn a_small_schedule_is_as_worked_out_by_hand() {
    // Two cores. The wide job has to wait for both. The one behind it asks for an hour, which would
    // delay it: the free core is kept.
    let workload = jobs(&[(0, 100, 1, 1), (10, 50, 2, 2), (20, 30, 1, 3)]);
    let outcome = run(&standing(1, 2), &workload, "fifo");
    let waits: Vec<f64> = outcome.users.iter().map(|it| it.wait_mean_s).collect();
    assert_eq!(waits, [0.0, 90.0, 130.0]);
    assert_eq!(outcome.makespan_s, 180.0);
    assert!((outcome.utilisation - 230.0 / 360.0).abs() < 1e-9);
    assert_eq!(outcome.wait.max_s, 130.0);
    assert!((outcome.slowdown.max - 160.0 / 30.0).abs() < 1e-6);
    assert_eq!(outcome.tasks.succeeded, 3);
    assert_eq!((outcome.pilots.started, outcome.pilots.wasted), (1, 0));
    assert!((outcome.pilots.idle_core_s - 130.0).abs() < 1e-9);
}

#[test]
fn a_batch_system_lets_pilots_wait() {
    let setup = setup(
        "[[cluster]]\nname = \"one\"\nnodes = 1\ncores = 1\n\
         delay = { kind = \"fixed\", seconds = 60 }\npilot = { start_s = 5, idle_s = 100 }\n",
    );
    // The second comes while the pilot waits for work, the third after it has left.
    let workload = jobs(&[(0, 10, 1, 1), (100, 20, 1, 2), (1000, 30, 1, 3)]);
    let outcome = run(&setup, &workload, "fifo");
    let waits: Vec<f64> = outcome.users.iter().map(|it| it.wait_mean_s).collect();
    assert_eq!(waits, [65.0, 0.0, 65.0]);
    assert_eq!((outcome.pilots.asked, outcome.pilots.started), (2, 2));
    assert_eq!(outcome.pilots.core_s, 160.0 + 35.0);
}

#[test]
fn what_fits_nowhere_is_left_out_and_told() {
    let text = "1 0 -1 10 3 -1 -1 3 60 -1 1 1\n\
                2 0 -1 10 1 -1 -1 1 90000 -1 1 1\n\
                3 0 -1 10 1 -1 -1 1 60 -1 1 1\n";
    let workload = Workload::from_swf(text.as_bytes()).unwrap();
    let setup = setup("[[cluster]]\nname = \"one\"\nnodes = 9\ncores = 2\n");
    let tasks = run(&setup, &workload, "fifo").tasks;
    assert_eq!((tasks.too_large, tasks.too_long), (1, 1));
    assert_eq!((tasks.submitted, tasks.succeeded), (1, 1));
    let told = left_out(&setup, &workload).unwrap();
    assert_eq!(
        told,
        [
            "left out: 1 of 3 tasks, whose jobs ask for more than any pilot has",
            "left out: 1 of 3 tasks, whose jobs ask for more time than any pilot has for tasks",
        ]
    );
}

#[test]
fn that_nothing_can_run_is_told_with_both_sides() {
    let told = |text: &str| {
        let setup = setup("[[cluster]]\nname = \"one\"\nnodes = 9\ncores = 2\ngpus = 1\n");
        let workload = Workload::from_swf(text.as_bytes()).unwrap();
        left_out(&setup, &workload).unwrap_err().to_string()
    };
    let wide = "1 0 -1 10 3 -1 -1 3 60 -1 1 1\n1 0 -1 10 4 -1 -1 4 60 -1 1 1\n";
    let long = "2 0 -1 10 1 -1 -1 1 90000 -1 1 1\n";
    assert_eq!(
        told(wide),
        "workload: none of its tasks can run on these clusters: the largest pilot has 2 cores, \
         1 GPU, for 86370 s; the smallest task asks for 3 cores, for 60 s"
    );
    assert_eq!(
        told(long),
        "workload: none of its tasks can run on these clusters: the largest pilot has 2 cores, \
         1 GPU, for 86370 s; the shortest task asks for 1 core, for 90000 s"
    );
}

#[test]
fn a_run_ends_when_it_is_told_to() {
    let limited = Setup {
        until_s: Some(50),
        ..standing(1, 1)
    };
    let outcome = run(&limited, &jobs(&[(0, 100, 1, 1), (0, 10, 1, 2)]), "fifo");
    assert_eq!(outcome.tasks.unfinished, 2);
    assert_eq!(outcome.makespan_s, 50.0);
    assert!((outcome.utilisation - 1.0).abs() < 1e-9);
    assert!(outcome.stopped.is_some());
}

#[test]
fn fairshare_shares_where_fifo_does_not() {
    // One floods the machine, the other comes a little later with as much.
    let flood = (0..200).map(|_| (0, 100, 1, 1));
    let later = (0..200).map(|_| (50, 100, 1, 2));
    let workload = jobs(&flood.chain(later).collect::<Vec<_>>());
    let setup = standing(2, 4);
    let error = |kind| run(&setup, &workload, kind).share_error.unwrap();
    let (fifo, fair) = (error("fifo"), error("fairshare"));
    assert!(fifo > 0.2, "{fifo}");
    assert!(fair < 0.1, "{fair}");
}

#[test]
fn targets_move_the_ideal() {
    let rows: Vec<_> = (0..300).map(|n| (0, 100, 1, n % 2 + 1)).collect();
    let weights = [("u1".parse().unwrap(), 3.0), ("u2".parse().unwrap(), 1.0)];
    let unequal = Setup {
        targets: Targets::new(weights.into_iter().collect()).unwrap(),
        ..standing(1, 4)
    };
    // Round-robin gives both the same, which is a quarter too much for one of them.
    let outcome = run(&unequal, &jobs(&rows), "round-robin");
    assert!((outcome.share_error.unwrap() - 0.25).abs() < 0.02);
    assert!((outcome.jain.unwrap() - 0.8).abs() < 0.02);
}

/// A workload and clusters with everything that can go wrong.
const STORMY: &str = "\
tick_s = 20\nplan_s = 10\n\
[[cluster]]\nname = \"one\"\nnodes = 4\ncores = 4\nmemory_mib = 8000\n\
delay = { kind = \"exponential\", mean_s = 120 }\n\
pilot = { walltime_s = 7200, idle_s = 60 }\n\
faults = { task_failure = 0.1, pilot_mtbf_hours = 0.3, black_holes = 1 }\n\
[[cluster]]\nname = \"two\"\nnodes = 3\ncores = 8\nspeed = 2.0\n\
delay = { kind = \"lognormal\", median_s = 300, sigma = 1.0 }\n\
pilot = { cores = 4, walltime_s = 3600, nodes = 2 }\nsharing = \"per-user\"\n";

fn stormy_work(tasks: u32) -> Workload {
    let text = format!(
        "[[stream]]\nname = \"a\"\nusers = 3\nskew = 1.0\ntasks = {tasks}\ntasks_per_job = 4\n\
         arrivals = {{ kind = \"poisson\", load = 0.7 }}\n\
         runtime = {{ kind = \"lognormal\", median_s = 120, sigma = 1.0, max_s = 1200 }}\n\
         cores = [[1, 0.7], [4, 0.3]]\nmemory_mib = 500\nretries = 3\n\
         [[stream]]\nname = \"b\"\ntasks = {tasks}\n\
         arrivals = {{ kind = \"bursts\", every_s = 900, jobs = 10 }}\n\
         runtime = {{ kind = \"pareto\", min_s = 10, alpha = 1.2, max_s = 1200 }}\n"
    );
    Workload::generated(&text, 40, 7).unwrap()
}

fn history(setup: &Setup, workload: &Workload, kind: &str) -> Vec<String> {
    let mut history = Vec::new();
    let mut watch = |change: &Change, now| history.push(format!("{now:?} {change:?}"));
    simulate_watched(setup, workload, kind, policy(kind), &mut watch).unwrap();
    history
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let (setup, workload) = (setup(STORMY), stormy_work(60));
    let first = history(&setup, &workload, "fairshare");
    assert!(first.len() > 1000);
    assert!(first == history(&setup, &stormy_work(60), "fairshare"));
    let other = Setup { seed: 8, ..setup };
    assert!(first != history(&other, &workload, "fairshare"));
}

#[test]
fn everything_that_can_go_wrong_does_in_a_storm() {
    let (setup, workload) = (setup(STORMY), stormy_work(120));
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut watch = |change: &Change, _| {
        let Change::Event(event) = change else { return };
        let text = match &event.kind {
            EventKind::PilotEnded { end, .. } => end.to_string(),
            EventKind::AttemptEnded { end, .. } => end.to_string(),
            _ => return,
        };
        for what in ["node failed", "no work", "exited with 1", "exited with 127"] {
            *seen.entry(what).or_default() += u32::from(text.contains(what));
        }
    };
    simulate_watched(
        &setup,
        &workload,
        "fairshare",
        policy("fairshare"),
        &mut watch,
    )
    .unwrap();
    assert!(seen.values().all(|&n| n > 0), "{seen:?}");
}

/// 12, or what `PROPTEST_CASES` asks for.
fn cases() -> u32 {
    let asked = std::env::var_os("PROPTEST_CASES");
    asked.map_or(12, |_| ProptestConfig::default().cases)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_once(
        seed in 0_u64..1000,
        failure in 0.0..0.5_f64,
        mtbf in prop_oneof![Just(0.0), 0.2..5.0_f64],
        holes in 0_u32..2,
        tasks in 1_u32..60,
        kind in prop::sample::select(PolicyKind::ALL.map(PolicyKind::name).to_vec()),
        is_standing in any::<bool>(),
    ) {
        let pilots = if is_standing { "standing" } else { "batch" };
        let text = format!(
            "pilots = \"{pilots}\"\n[[cluster]]\nname = \"one\"\nnodes = 3\ncores = 4\n\
             delay = {{ kind = \"exponential\", mean_s = 60 }}\n\
             faults = {{ task_failure = {failure}, pilot_mtbf_hours = {mtbf}, \
             black_holes = {holes} }}\n"
        );
        let setup = Setup { seed, ..setup(&text) };
        let workload = stormy_work(tasks);
        let mut ended: BTreeMap<TaskId, u32> = BTreeMap::new();
        let mut watch = |change: &Change, _| {
            if let Change::Task(task) = change && task.state.is_final() {
                *ended.entry(task.id).or_default() += 1;
            }
        };
        let outcome =
            simulate_watched(&setup, &workload, kind, policy(kind), &mut watch).unwrap();
        let counts = outcome.tasks;
        prop_assert!(ended.values().all(|&times| times == 1));
        prop_assert_eq!(counts.submitted, workload.task_count() as u64);
        prop_assert_eq!(counts.succeeded + counts.failed, ended.len() as u64);
        prop_assert_eq!(counts.unfinished, counts.submitted - ended.len() as u64);
        prop_assert_eq!(counts.unfinished, 0);
        prop_assert_eq!(outcome.stopped, None);
        prop_assert!((0.0..=1.0).contains(&outcome.utilisation));
        prop_assert!(outcome.pilots.idle_core_s >= 0.0);
    }
}
