//! How attempts end, and what becomes of their tasks.

use fairway_model::event::TaskVerb;
use fairway_model::{Attempt, AttemptEnd, EventKind, Order, PilotEnd, TaskState};
use fairway_sched::Command;
use fairway_sched::command::Selection;

use super::world;
use crate::world::{ended, exit, sweep};

fn lost_output() -> AttemptEnd {
    AttemptEnd::OutputLost {
        reason: "disk full".into(),
    }
}

#[test]
fn success_ends_task_and_job() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, ""));
    let attempt = world.pull_one(pilot);
    assert_eq!(world.state_of(job, 0), TaskState::Leased);
    world.start(pilot, attempt);
    assert_eq!(world.state_of(job, 0), TaskState::Running);
    world.pass(5);
    world.end(pilot, attempt, exit(0));
    assert_eq!(world.state_of(job, 0), TaskState::Succeeded);
    assert_eq!(world.rows.jobs[&job].2, Some(world.now));
    assert!(!world.state.knows_job(job));
    let usage = &world.rows.usage[&attempt];
    assert_eq!((usage.wall_ms, usage.cpu_ms, usage.cores), (1000, 900, 1));
}

#[test]
fn failures_are_retried_as_often_as_allowed() {
    let not_started = AttemptEnd::NotStarted {
        reason: "no such file".into(),
    };
    for (allowed, end) in [
        ("RetryCount = 2;", exit(1)),
        ("RetryCount = 2;", AttemptEnd::Signaled { signal: 11 }),
        (
            "RetryCount = 2;",
            AttemptEnd::WalltimeExceeded { limit_s: 10 },
        ),
        (
            "RetryCount = 2;",
            AttemptEnd::MemoryExceeded {
                limit_mib: 1,
                used_mib: 2,
            },
        ),
        ("RetryCount = 2;", lost_output()),
        ("ShallowRetryCount = 2; RetryCount = 0;", not_started),
    ] {
        let mut world = world();
        let pilot = world.pilot("short", 1);
        let job = world.submit("alice", &sweep(1, allowed));
        for expected in [TaskState::Waiting, TaskState::Waiting, TaskState::Failed] {
            let attempt = world.pull_one(pilot);
            world.end(pilot, attempt, end.clone());
            assert_eq!(world.state_of(job, 0), expected, "{end}");
        }
        assert_eq!(world.rows.usage.len(), 3, "one record an attempt");
    }
}

#[test]
fn without_retries_a_failure_is_final() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, "RetryCount = 0; ShallowRetryCount = 0;"));
    let attempt = world.pull_one(pilot);
    world.end(
        pilot,
        attempt,
        AttemptEnd::MemoryExceeded {
            limit_mib: 1,
            used_mib: 2,
        },
    );
    assert_eq!(world.state_of(job, 0), TaskState::Failed);
}

#[test]
fn handing_back_is_free() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, "RetryCount = 0; ShallowRetryCount = 0;"));
    for _ in 0..10 {
        let attempt = world.pull_one(pilot);
        world.start(pilot, attempt);
        world.end(
            pilot,
            attempt,
            AttemptEnd::HandedBack {
                reason: "preempted".into(),
            },
        );
        assert_eq!(world.state_of(job, 0), TaskState::Waiting);
    }
}

#[test]
fn lost_pilots_are_forgiven_up_to_the_limit() {
    let mut world = world();
    let job = world.submit("alice", &sweep(1, ""));
    for loss in 1..=4 {
        let pilot = world.pilot("short", 1);
        let attempt = world.pull_one(pilot);
        world.start(pilot, attempt);
        world.pass(301);
        world.ask(Command::Tick).unwrap();
        let expected = if loss == 4 {
            TaskState::Failed
        } else {
            TaskState::Waiting
        };
        assert_eq!(world.state_of(job, 0), expected);
        assert!(matches!(
            world.rows.pilots[&pilot].end,
            Some(PilotEnd::Lost { .. })
        ));
        assert_eq!(
            world.rows.usage[&attempt].wall_ms, 301_000,
            "by the server's clock"
        );
    }
}

#[test]
fn a_zombie_changes_nothing() {
    let mut world = world();
    let (zombie, other) = (world.pilot("short", 1), world.pilot("short", 1));
    let job = world.submit("alice", &sweep(1, ""));
    let first = world.pull_one(zombie);
    world.start(zombie, first);
    // Given up and queued again while its pilot is alive somewhere.
    world.end(
        zombie,
        first,
        AttemptEnd::HandedBack {
            reason: "drain".into(),
        },
    );
    let second = world.pull_one(other);
    assert_eq!(second, (first.0, Attempt(2)));
    // Late, doubled and foreign reports get a stop order and change nothing.
    let before = world.history.len();
    for attempt in [first, second] {
        let synced = world.report(zombie, attempt, ended(exit(0)));
        assert_eq!(synced.orders, [(attempt.0, attempt.1, Order::WriteOff)]);
    }
    let synced = world.sync(zombie, Vec::new(), &[first], None);
    assert_eq!(synced.orders, [(first.0, first.1, Order::WriteOff)]);
    assert_eq!(world.history.len(), before);
    assert_eq!(world.state_of(job, 0), TaskState::Leased);
}

#[test]
fn a_payload_that_beats_its_cancellation_has_succeeded() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, ""));
    let attempt = world.pull_one(pilot);
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    world.end(pilot, attempt, exit(0));
    assert_eq!(world.state_of(job, 0), TaskState::Succeeded);
}

#[test]
fn a_cancelled_lease_that_never_arrived_is_over() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, ""));
    world.pull_one(pilot);
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    assert_eq!(world.pull(pilot, &[]), []);
    assert_eq!(world.state_of(job, 0), TaskState::Cancelled);
}

#[test]
fn every_attempt_is_in_the_ledger() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(1, "RetryCount = 1;"));
    let attempt = world.pull_one(pilot);
    world.start(pilot, attempt);
    world.end(pilot, attempt, exit(3));
    let ends: Vec<String> = world
        .rows
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::AttemptEnded { because, .. } => Some(because.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(
        ends,
        [
            "exited with 3; 1 of 1 retries after the start (RetryCount); queued again in its old place"
        ]
    );
}
