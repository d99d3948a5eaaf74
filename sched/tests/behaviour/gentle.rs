//! The number of pilots grows as they prove useful, shrinks without flickering, and keeps clear
//! of maintenance; and what is decided about it can be read.

use std::fmt::Write;

use fairway_model::event::TaskVerb;
use fairway_model::{Maintenance, PilotId, PolicyKind, TaskId, Timestamp};
use fairway_sched::command::{Observation, Selection};
use fairway_sched::explain::explain;
use fairway_sched::provision::{CeReport, report};
use fairway_sched::{Command, Decided, Settings};

use crate::world::{HOUR_S, World, exit, site, sweep};

fn world(ramp_min: u32) -> World {
    let settings = Settings {
        ramp_min,
        ..Settings::default()
    };
    let mut world = World::with(PolicyKind::Fifo, &["short"], settings);
    let mut site = site(&["short"]);
    site.ces[0].limits.queued_max = 1000;
    site.ces[0].limits.pilots_max = 1000;
    world.describe(site);
    world
}

/// Orders what is planned, and has all of it come and take a task. How many there were.
fn prove(world: &mut World) -> usize {
    let pilots = world.carry_out();
    for pilot in &pilots {
        world.register(pilot.id, "nonce", 1).unwrap();
        world.pull_one(pilot.id);
    }
    pilots.len()
}

fn reported(world: &World) -> CeReport {
    let site = "lyon".parse().unwrap();
    report(&world.state, &site, world.now).unwrap().remove(0)
}

fn tick(world: &mut World) {
    world.ask(Command::Tick).unwrap();
}

#[test]
fn a_ce_is_trusted_with_twice_as_many_each_time() {
    let mut world = world(5);
    world.submit("alice", &sweep(200, ""));
    assert_eq!(prove(&mut world), 5);
    assert_eq!(prove(&mut world), 10);
    assert_eq!(world.carry_out().len(), 20);
    assert!(
        world.plan().orders.is_empty(),
        "none of them has proved useful"
    );
    let verdict = reported(&world).verdict;
    assert_eq!(verdict.kind, "ramp-up");
    assert_eq!(
        verdict.because,
        "20 pilots are without a task so far, at most 20"
    );
}

#[test]
fn trust_falls_back_when_pilots_are_of_no_use() {
    let mut world = world(5);
    world.submit("alice", &sweep(200, ""));
    prove(&mut world);
    prove(&mut world);
    let pilots = world.carry_out();
    for pilot in &pilots {
        let detail = "FAILED".into();
        world.observe(pilot.id, Observation::Ended { detail });
    }
    assert_eq!(reported(&world).never_called_home, 20);
    assert!(world.plan().orders.is_empty(), "they are backed off from");
    world.pass(30);
    world.publish("short", |_| {});
    assert_eq!(world.plan().orders.len(), 12, "5, and half of 15");
    // Without any pilot, all is as at the beginning.
    let rest: Vec<PilotId> = world.state.pilots_live().map(|pilot| pilot.id).collect();
    for pilot in rest {
        world.kill(pilot).unwrap();
    }
    assert_eq!(world.plan().orders.len(), 5);
}

#[test]
fn the_first_allocation_is_always_trusted() {
    let mut world = world(5);
    let mut site = site(&["short"]);
    site.ces[0].shape.nodes = 16;
    world.describe(site);
    world.submit("alice", &sweep(200, ""));
    assert_eq!(world.carry_out().len(), 16);
    assert!(world.plan().orders.is_empty());
}

#[test]
fn work_that_flickers_calls_nobody_back() {
    let mut world = world(10);
    let job = world.submit("alice", &sweep(3, ""));
    for pilot in world.carry_out() {
        world.observe(pilot.id, Observation::Queued);
    }
    let cancelled = |world: &mut World, job| {
        world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    };
    cancelled(&mut world, job);
    for _ in 0..10 {
        tick(&mut world);
        world.pass(20);
        assert!(world.plan().recalls.is_empty());
        let job = world.submit("alice", &sweep(3, ""));
        tick(&mut world);
        assert!(world.plan().orders.is_empty());
        cancelled(&mut world, job);
    }
    tick(&mut world);
    world.pass(30);
    assert_eq!(world.plan().recalls.len(), 3);
}

#[test]
fn a_pilot_that_waits_for_too_long_is_called_back() {
    let mut world = world(10);
    world.submit("alice", &sweep(1, ""));
    let pilot = world.carry_out()[0].id;
    world.observe(pilot, Observation::Queued);
    world.pass(2 * 24 * HOUR_S);
    assert!(world.plan().recalls.is_empty());
    world.pass(1);
    let (id, because) = world.plan().recalls.remove(0);
    assert_eq!(id, pilot);
    insta::assert_snapshot!(
        because,
        @"it has waited in the batch system for more than 172800 s"
    );
}

#[test]
fn no_word_of_a_submission_is_answered_with_patience() {
    let mut world = world(10);
    world.submit("alice", &sweep(1, ""));
    let pilot = world.carry_out()[0].id;
    let reason = "timed out".to_owned();
    world.observe(pilot, Observation::Unanswered { reason });
    world.submit("alice", &sweep(1, ""));
    assert_eq!(reported(&world).verdict.kind, "back-off");
    // The pilot may have got there, and is waited for.
    world.register(pilot, "nonce", 1).unwrap();
    let attempt = world.pull_one(pilot);
    world.end(pilot, attempt, exit(0));
    assert!(reported(&world).backoff.is_none());
}

/// A maintenance from `from_s` to `to_s` from now.
fn maintain(world: &mut World, from_s: i64, to_s: i64) {
    let mut site = site(&["short"]);
    let at = |seconds: i64| Timestamp(world.now.0 + 1000 * seconds);
    site.maintenance = vec![Maintenance {
        from: at(from_s),
        to: at(to_s),
        why: "new switches".into(),
    }];
    world.describe(site);
}

#[test]
fn pilots_keep_clear_of_maintenance() {
    let mut world = world(10);
    maintain(&mut world, 1800, 7200);
    let job = world.submit("alice", &sweep(1, "WallTime = 1770;"));
    assert_eq!(world.plan().orders[0].walltime_s, 1800);
    world.pass(31);
    assert!(world.plan().orders.is_empty());
    let told = |world: &World| {
        let explained = explain(&world.state, TaskId::new(job, 0), world.now).unwrap();
        let refusals = explained.ces[0].refusals.iter();
        refusals.fold(String::new(), |mut text, refusal| {
            writeln!(text, "{}: {}", refusal.clause, refusal.because).unwrap();
            text
        })
    };
    insta::assert_snapshot!(told(&world), @"walltime: a pilot has 1769 s until the maintenance at 1970-01-01T10:30:00Z, needed 1800 s (30 s of them for the pilot itself)");
    // Short tasks still get one, and one that is there takes no other task.
    let short = world.submit("bob", &sweep(1, "WallTime = 60;"));
    let pilot = world.carry_out()[0].id;
    world.register(pilot, "nonce", 2).unwrap();
    let granted = world.pull(pilot, &[]);
    assert_eq!(
        granted.iter().map(|it| it.0.job).collect::<Vec<_>>(),
        [short]
    );
    world.pass(1769);
    world.publish("short", |_| {});
    insta::assert_snapshot!(told(&world), @r"
    maintenance: the site is in maintenance until 1970-01-01T12:00:00Z (new switches)
    walltime: a pilot has 0 s until the maintenance at 1970-01-01T10:30:00Z, needed 1800 s (30 s of them for the pilot itself)
    ");
    world.pass(5400);
    world.publish("short", |_| {});
    assert_eq!(world.plan().orders[0].walltime_s, HOUR_S);
}

#[test]
fn a_plan_that_a_maintenance_has_overtaken_is_not_carried_out() {
    let mut world = world(10);
    world.submit("alice", &sweep(1, ""));
    let orders = world.plan().orders.into_iter();
    let orders = orders.map(|order| (order, vec!["secret".into()])).collect();
    maintain(&mut world, 1800, 7200);
    let Ok(fairway_sched::Reply::Planned(pilots)) = world.ask(Command::PlanPilots { orders })
    else {
        panic!("planning is not refused");
    };
    assert!(pilots.is_empty());
}

#[test]
fn pilots_that_wait_when_a_maintenance_begins_are_called_back() {
    let mut world = world(10);
    world.submit("alice", &sweep(1, ""));
    let pilot = world.carry_out()[0].id;
    world.observe(pilot, Observation::Queued);
    maintain(&mut world, 0, 7200);
    insta::assert_snapshot!(
        world.plan().recalls[0].1,
        @"its site is in maintenance until 1970-01-01T12:00:00Z"
    );
}

#[test]
fn what_is_not_looked_at_any_more_loses_weight() {
    let mut world = world(10);
    let response = |world: &mut World| {
        tick(world);
        reported(world).response_s
    };
    assert_eq!(response(&mut world), 0, "cores are free, and nobody waits");
    world.pass(29);
    assert_eq!(response(&mut world), 0);
    world.pass(1);
    assert_eq!(response(&mut world), 30);
    world.pass(90);
    assert_eq!(response(&mut world), 120);
    world.publish("short", |_| {});
    assert_eq!(response(&mut world), 0);
}

#[test]
fn a_pilot_that_waits_tells_that_others_will() {
    let mut world = world(10);
    world.publish("short", |state| {
        state.cores_free = Some(0);
        state.jobs_running = Some(10);
    });
    let response = |world: &mut World| {
        world.publish("short", |state| {
            state.cores_free = Some(0);
            state.jobs_running = Some(10);
        });
        tick(world);
        reported(world).response_s
    };
    assert_eq!(response(&mut world), 360, "one of ten that take an hour");
    world.submit("alice", &sweep(1, ""));
    let pilot = world.carry_out()[0].id;
    world.pass(3000);
    assert_eq!(response(&mut world), 2048);
    world.register(pilot, "nonce", 1).unwrap();
    assert_eq!(response(&mut world), 3000, "the mean of one");
}

/// What there is to read of a CE.
fn told(report: &CeReport) -> String {
    let mut text = String::new();
    let verdict = &report.verdict;
    writeln!(text, "{}: {}", verdict.kind, verdict.because).unwrap();
    for class in &report.wanting {
        let refusals = &class.refusals;
        writeln!(
            text,
            "wanted by {} of {} tasks {refusals:?}",
            class.without_pilot, class.waiting
        )
        .unwrap();
    }
    writeln!(text, "{:?} {:?}", report.pilots, report.jobs).unwrap();
    for limit in &report.limits {
        writeln!(text, "{}: {}", limit.name, limit.because()).unwrap();
    }
    for decision in &report.decisions {
        writeln!(
            text,
            "{} {:?}: {}",
            decision.at, decision.what, decision.because
        )
        .unwrap();
    }
    text
}

#[test]
fn an_operator_can_read_why() {
    let mut world = world(2);
    tick(&mut world);
    let job = world.submit("alice", &sweep(3, ""));
    world.submit("bob", &sweep(50, "CpuNumber = 16;"));
    let pilots = world.carry_out();
    world.observe(pilots[0].id, Observation::Queued);
    for _ in 0..3 {
        tick(&mut world);
        world.pass(1);
    }
    insta::assert_snapshot!(told(&reported(&world)));
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    tick(&mut world);
    world.pass(30);
    for (pilot, reason) in world.plan().recalls {
        let end = fairway_model::PilotEnd::Cancelled { reason };
        world.ask(Command::EndPilot { pilot, end }).unwrap();
    }
    tick(&mut world);
    let decisions = reported(&world).decisions;
    let last: Vec<Decided> = decisions.iter().rev().take(3).map(|it| it.what).collect();
    let expected = [
        Decided::Recalled(1),
        Decided::Nothing("cores"),
        Decided::Nothing("ramp-up"),
    ];
    assert_eq!(last, expected);
}
