//! What is done in parts where there is much of it, so that no command takes long, comes to the
//! same; and what is not kept in memory is not missed.

use std::collections::BTreeSet;

use fairway_model::policy::Metric;
use fairway_model::{PilotId, PolicyKind, TaskId};
use fairway_sched::Command;

use crate::world::{World, exit, sweep, user};

/// Pulls until nothing more comes.
fn fill(world: &mut World, pilot: PilotId) -> BTreeSet<TaskId> {
    let mut holding = Vec::new();
    loop {
        let granted = world.pull(pilot, &holding);
        if granted.is_empty() {
            return holding.into_iter().map(|(task, _)| task).collect();
        }
        holding.extend(granted);
    }
}

#[test]
fn a_job_of_many_needs_is_held_against_the_ces_by_several_commands() {
    let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(PolicyKind::Fifo, &names);
    // 400 different needs and 40 CEs: more pairs than one command looks at.
    let different = sweep(
        400,
        "Requirements = other.GlueCEInfoTotalCPUs > 8 || _PARAM_ < 0;",
    );
    let job = world.submit("alice", &different);
    let pilot = world.pilot("c7", 1000);
    let first = fill(&mut world, pilot);
    assert!(first.len() < 400, "all at once: {}", first.len());
    assert!(first.len() >= 200, "hardly any at once: {}", first.len());
    // Those that wait longest were looked at first.
    assert!(first.iter().zip(0..).all(|(task, n)| task.index == n));
    world.ask(Command::Serve).unwrap();
    world.ask(Command::Tick).unwrap();
    let mut holding: Vec<_> = world.state.pilot(pilot).unwrap().tasks;
    let attempts = holding
        .drain(..)
        .map(|task| (task, world.row(task).attempt));
    let attempts: Vec<_> = attempts.collect();
    let rest = world.pull(pilot, &attempts);
    assert!(!rest.is_empty());
    world.state.check().unwrap();
    // A restart finds all of them judged.
    world.reload();
    assert_eq!(world.state.job(job).unwrap().task_count, 400);
    world.state.check().unwrap();
}

/// Core-seconds that count against a user.
fn charged(world: &World, name: &str) -> f64 {
    let standing = world.state.standing(&user(name), None, world.now);
    standing.unwrap().fs
}

#[test]
fn many_tasks_that_run_are_charged_for_in_turn_and_completely() {
    let mut world = World::new(PolicyKind::Fairshare, &["long"]);
    let mut policy = world.state.policy().clone();
    policy.usage.metric = Metric::CoreSeconds;
    world.set_policy(policy);
    world.submit("alice", &sweep(3000, ""));
    let pilots: Vec<PilotId> = (0..30).map(|_| world.pilot("long", 100)).collect();
    let mut running = Vec::new();
    for pilot in pilots {
        for attempt in world.pull(pilot, &[]) {
            world.start(pilot, attempt);
            running.push((pilot, attempt));
        }
    }
    assert_eq!(running.len(), 3000);
    world.pass(10);
    world.ask(Command::Tick).unwrap();
    let once = charged(&world, "alice");
    assert!(0.0 < once && once < 30_000.0, "{once}");
    world.ask(Command::Tick).unwrap();
    assert_eq!(charged(&world, "alice"), 30_000.0);
    // However often it was their turn: at the end everything is charged for.
    for _ in 0..3 {
        world.pass(1);
        world.ask(Command::Tick).unwrap();
    }
    for (pilot, attempt) in running {
        world.end(pilot, attempt, exit(0));
    }
    assert_eq!(charged(&world, "alice"), 3000.0 * 13.0);
}

#[test]
fn what_was_read_of_a_job_of_one_task_is_read_again_when_it_starts() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let text = "Executable = \"/bin/a\"; Arguments = \"one\"; WallTime = 77;";
    world.submit("alice", text);
    world.submit("alice", &sweep(2, ""));
    let pilot = world.pilot("short", 3);
    let want = Some(world.wish(pilot, 0));
    let synced = world.sync(pilot, Vec::new(), &[], want);
    let (one, many) = (&synced.grants[0], &synced.grants[1]);
    assert!(one.spec.is_none());
    assert_eq!(one.needs.walltime_s, Some(77));
    // The text is in the store, and was given there as it came.
    assert_eq!(world.rows.jobs[&one.task.job].0.jdl, text);
    assert!(many.spec.is_some());
}
