//! How many pilots are asked for, and where.

use std::collections::BTreeMap;

use crate::world::{HOUR_S, World, exit, sweep, user};
use fairway_model::{PilotLimits, PilotShape, PolicyKind, Resources, SiteMode};
use fairway_sched::Command;
use fairway_sched::command::Observation;

fn describe(world: &mut World, ces: &[&str], change: impl Fn(&mut fairway_model::Ce)) {
    let mut site = crate::world::site(ces);
    site.ces.iter_mut().for_each(change);
    world.describe(site);
}

fn orders(world: &World) -> BTreeMap<String, usize> {
    let mut orders = BTreeMap::new();
    for order in world.plan().orders {
        *orders.entry(order.ce.ce.to_string()).or_default() += 1;
    }
    orders
}

/// Carries the plan out; gives back how many pilots were noted.
fn carry_out(world: &mut World) -> usize {
    world.carry_out().len()
}

fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs
        .iter()
        .map(|(name, n)| (name.to_string(), *n))
        .collect()
}

#[test]
fn one_pilot_a_task_and_no_more() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    assert!(world.plan().orders.is_empty());
    world.submit("alice", &sweep(7, ""));
    assert_eq!(carry_out(&mut world), 7);
    assert!(world.plan().orders.is_empty(), "those on their way count");
    world.submit("alice", &sweep(2, ""));
    assert_eq!(carry_out(&mut world), 2);
}

#[test]
fn wide_pilots_take_many_tasks() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    describe(&mut world, &["short"], |ce| ce.shape.cores = 8);
    world.submit("alice", &sweep(100, ""));
    assert_eq!(orders(&world), counts(&[("short", 13)]));
    // The four cores that are left of the last one are enough for another class.
    world.submit("bob", &sweep(2, "CpuNumber = 2;"));
    assert_eq!(orders(&world), counts(&[("short", 13)]));
}

#[test]
fn running_tasks_need_no_new_pilot() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let pilot = world.pilot("short", 4);
    world.submit("alice", &sweep(4, ""));
    assert!(world.plan().orders.is_empty(), "the pilot has room for all");
    assert_eq!(world.pull(pilot, &[]).len(), 4);
    assert!(world.plan().orders.is_empty());
    world.submit("alice", &sweep(1, ""));
    assert_eq!(world.plan().orders.len(), 1);
}

#[test]
fn limits_hold_and_the_rest_goes_elsewhere() {
    let mut world = World::new(PolicyKind::Fifo, &["long", "short"]);
    describe(&mut world, &["long", "short"], |ce| {
        ce.limits = PilotLimits {
            pilots_max: 30,
            queued_max: 5,
            ..PilotLimits::default()
        };
    });
    world.submit(
        "alice",
        &sweep(100, "Rank = other.GlueCEName == \"short\" ? 1 : 0;"),
    );
    assert_eq!(orders(&world), counts(&[("long", 5), ("short", 5)]));
    assert_eq!(carry_out(&mut world), 10);
    assert!(world.plan().orders.is_empty());
    // A plan that was overtaken is checked again.
    world.submit("bob", &sweep(1, ""));
    assert_eq!(carry_out(&mut world), 0);
}

#[test]
fn free_cores_come_first_where_rank_is_equal() {
    let mut world = World::new(PolicyKind::Fifo, &["a", "b"]);
    world.publish("a", |state| state.cores_free = Some(3));
    world.publish("b", |state| state.cores_free = Some(5));
    world.submit("alice", &sweep(10, ""));
    // 5 and 3 start at once; the 2 that wait do so where most is free.
    assert_eq!(orders(&world), counts(&[("a", 3), ("b", 7)]));
}

#[test]
fn rank_decides_before_free_cores() {
    let mut world = World::new(PolicyKind::Fifo, &["a", "b"]);
    world.publish("a", |state| state.cores_free = Some(1));
    world.submit(
        "alice",
        &sweep(10, "Rank = other.GlueCEName == \"a\" ? 1 : 0;"),
    );
    assert_eq!(orders(&world), counts(&[("a", 10)]));
}

#[test]
fn only_where_a_task_fits() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    for jdl in [
        "CpuNumber = 2;",
        "Requirements = other.GlueCEPolicyMaxWallClockTime >= 61;",
    ] {
        world.submit("alice", &sweep(3, jdl));
        assert!(world.plan().orders.is_empty(), "{jdl}");
    }
    describe(&mut world, &["short"], |ce| {
        ce.shape = PilotShape {
            cores: 2,
            memory_mib: 1000,
            walltime_s: 2 * HOUR_S,
            ..PilotShape::default()
        };
    });
    let plan = world.plan();
    assert_eq!(
        plan.orders.len(),
        5,
        "three of one task, and three more on two"
    );
    let asked = Resources {
        cores: 2,
        memory_mib: 1000,
        gpus: 0,
    };
    assert!(plan.orders.iter().all(|order| order.resources == asked));
}

#[test]
fn only_where_the_ce_can_be_used() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    world.submit("alice", &sweep(1, ""));
    assert_eq!(world.plan().orders.len(), 1);
    world.publish("short", |state| {
        state.status = fairway_model::CeStatus::Unreachable
    });
    assert!(world.plan().orders.is_empty());
    world.publish("short", |_| {});
    world.pass(601);
    assert!(world.plan().orders.is_empty(), "too old to be trusted");
    world.publish("short", |_| {});
    describe(&mut world, &["short"], |ce| ce.mode = SiteMode::Draining);
    assert!(world.plan().orders.is_empty());
    describe(&mut world, &["short"], |ce| ce.users = vec![user("bob")]);
    assert!(world.plan().orders.is_empty());
    describe(&mut world, &["short"], |ce| ce.users = vec![user("alice")]);
    assert_eq!(world.plan().orders.len(), 1);
}

#[test]
fn refusals_are_answered_with_patience() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    world.submit("alice", &sweep(3, ""));
    for pause_s in [30, 60, 120, 240, 480, 960, 1800, 1800] {
        assert_eq!(carry_out(&mut world), 3);
        let refused: Vec<_> = world.state.pilots_live().map(|pilot| pilot.id).collect();
        for pilot in refused {
            world.observe(
                pilot,
                Observation::Refused {
                    reason: "bad account".into(),
                },
            );
        }
        world.pass(pause_s - 1);
        world.publish("short", |_| {});
        assert!(world.plan().orders.is_empty(), "{pause_s}");
        world.pass(1);
        assert_eq!(world.plan().orders.len(), 3, "{pause_s}");
    }
    // A pilot that gets a task makes good.
    let pilot = world.pilot("short", 1);
    let attempt = world.pull_one(pilot);
    world.end(pilot, attempt, exit(0));
    assert_eq!(world.plan().orders.len(), 1);
}

#[test]
fn pilots_that_end_without_use_while_work_waits_are_a_warning() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let idle = world.pilot("short", 1);
    world
        .ask(Command::Goodbye {
            pilot: idle,
            reason: "no work".into(),
        })
        .unwrap();
    world.submit("alice", &sweep(1, ""));
    assert_eq!(world.plan().orders.len(), 1, "there was no work for it");
    let broken = world.planned("short", 1);
    world.observe(
        broken,
        Observation::Ended {
            detail: "FAILED".into(),
        },
    );
    assert!(world.plan().orders.is_empty());
}

#[test]
fn pilots_without_work_are_called_back() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let job = world.submit("alice", &sweep(4, ""));
    assert_eq!(carry_out(&mut world), 4);
    let ids: Vec<_> = world.state.pilots_live().map(|pilot| pilot.id).collect();
    world.observe(
        ids[0],
        Observation::Submitted {
            batch_id: "1".into(),
        },
    );
    world.observe(
        ids[1],
        Observation::Submitted {
            batch_id: "2".into(),
        },
    );
    world.observe(
        ids[2],
        Observation::Submitted {
            batch_id: "3".into(),
        },
    );
    world.observe(ids[0], Observation::Running);
    assert!(world.plan().recalls.is_empty());
    let tasks = (1..4)
        .map(|index| fairway_model::TaskId::new(job, index))
        .collect();
    let tasks = fairway_sched::command::Selection::Tasks(tasks);
    world.change(fairway_model::event::TaskVerb::Cancel, tasks, "alice");
    // Work may come back in a moment.
    world.ask(Command::Tick).unwrap();
    assert!(world.plan().recalls.is_empty());
    world.pass(30);
    // One task is left, for the pilot that starts. The one whose submission is under way
    // cannot be called back yet.
    let recalled: Vec<_> = world.plan().recalls.into_iter().map(|(id, _)| id).collect();
    assert_eq!(recalled, [ids[1], ids[2]]);
}

#[test]
fn a_ce_that_does_not_answer_keeps_its_pilots_and_a_closed_one_does_not() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    world.submit("alice", &sweep(1, ""));
    let pilot = world.planned("short", 1);
    world.observe(pilot, Observation::Queued);
    world.publish("short", |state| {
        state.status = fairway_model::CeStatus::Unreachable;
    });
    assert!(world.plan().recalls.is_empty());
    describe(&mut world, &["short"], |ce| ce.mode = SiteMode::Closed);
    assert_eq!(world.plan().recalls.len(), 1);
}
