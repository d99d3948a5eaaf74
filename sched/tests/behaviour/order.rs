//! Who is served in which order.

use crate::world::{World, exit, sweep, user};
use fairway_model::{Metric, Policy, PolicyKind};
use fairway_sched::Command;

/// Alice submits 1,000 tasks, Bob 10 a little later; one core serves them all.
fn served(kind: PolicyKind) -> Vec<String> {
    let mut world = World::new(kind, &["short"]);
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(1000, ""));
    world.pass(1);
    world.submit("bob", &sweep(10, ""));
    for _ in 0..1010 {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(0));
    }
    assert_eq!(world.state.waiting(), 0);
    assert!(world.rows.jobs.values().all(|(.., ended)| ended.is_some()));
    world.served()
}

fn places_of_bob(served: &[String]) -> Vec<usize> {
    let places = served.iter().enumerate().filter(|(_, name)| *name == "bob");
    places.map(|(place, _)| place).collect()
}

#[test]
fn fifo_serves_in_order_of_arrival() {
    let served = served(PolicyKind::Fifo);
    assert_eq!(places_of_bob(&served), Vec::from_iter(1000..1010));
}

#[test]
fn round_robin_serves_users_in_turn() {
    let served = served(PolicyKind::RoundRobin);
    let expected: Vec<usize> = (0..10).map(|turn| 2 * turn + 1).collect();
    assert_eq!(places_of_bob(&served), expected);
}

#[test]
fn fairshare_serves_the_smaller_share() {
    let served = served(PolicyKind::Fairshare);
    let expected: Vec<usize> = (0..10).map(|turn| 2 * turn + 1).collect();
    assert_eq!(places_of_bob(&served), expected);
}

#[test]
fn fairshare_remembers_what_was_used_before() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(20, ""));
    for _ in 0..10 {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(0));
    }
    // An hour later Alice's ten count 8.5: Bob gets nine before she is served again.
    world.pass(3600);
    world.publish("short", |_| {});
    let pilot = world.pilot("short", 1);
    world.submit("bob", &sweep(20, ""));
    let shares = world.state.shares(world.now);
    let names: Vec<_> = shares
        .iter()
        .map(|standing| standing.user.as_str())
        .collect();
    assert_eq!(names, ["bob", "alice"]);
    assert!((shares[1].fs - 8.5).abs() < 1e-12);
    for _ in 0..10 {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(0));
    }
    let served = world.served();
    assert_eq!(&served[10..19], ["bob"; 9]);
    assert_eq!(served[19], "alice");
}

#[test]
fn core_seconds_decide_under_their_metric() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let mut policy = Policy::default();
    policy.usage.metric = Metric::CoreSeconds;
    world.set_policy(policy);
    let one = world.pilot("short", 1);
    world.submit("alice", &sweep(10, ""));
    let attempt = world.pull_one(one);
    world.start(one, attempt);
    world.submit("bob", &sweep(10, ""));
    // Alice's task runs for 100 s, seen by a tick, then for 50 s more.
    world.pass(100);
    world.ask(Command::Tick).unwrap();
    assert!((standing(&world, "alice").fs - 100.0).abs() < 1e-9);
    world.pass(50);
    world.end(one, attempt, exit(0));
    assert!((standing(&world, "alice").fs - 150.0).abs() < 1e-9);
    for _ in 0..3 {
        let attempt = world.pull_one(one);
        world.start(one, attempt);
        world.pass(60);
        world.end(one, attempt, exit(0));
    }
    // Bob: 60, 120, 180 s; then Alice with 150 s is next.
    assert_eq!(world.served()[1..], ["bob", "bob", "bob"]);
    world.pull_one(one);
    assert_eq!(world.served()[4], "alice");
}

/// What is given out at one moment is charged for later, and counts nevertheless: a small lead does
/// not win all that is free.
#[test]
fn what_is_given_out_counts_before_it_is_charged_for() {
    for kind in [
        PolicyKind::Fairshare,
        PolicyKind::FairTree,
        PolicyKind::HalfLife,
        PolicyKind::Maui,
    ] {
        let mut world = World::new(kind, &["short"]);
        let mut policy = Policy {
            kind,
            ..Policy::default()
        };
        policy.usage.metric = Metric::CoreSeconds;
        policy.maui.users = [("*".to_owned(), "50".parse().unwrap())].into();
        world.set_policy(policy);
        let one = world.pilot("short", 1);
        for (user, seconds) in [("alice", 100), ("bob", 110)] {
            world.submit(user, &sweep(1, ""));
            let attempt = world.pull_one(one);
            world.start(one, attempt);
            world.pass(seconds);
            world.end(one, attempt, exit(0));
        }
        world.ask(Command::Tick).unwrap();
        let before = world.served().len();
        for user in ["alice", "bob"] {
            world.submit(user, &sweep(100, ""));
        }
        let pilots: Vec<_> = (0..30).map(|_| world.pilot("short", 1)).collect();
        for pilot in pilots {
            world.pull_one(pilot);
        }
        let served = world.served();
        let alice = served[before..].iter().filter(|it| *it == "alice").count();
        // Ten ahead, and the rest shared.
        assert!((18..=23).contains(&alice), "{kind:?}: {alice} of 30");
    }
}

#[test]
fn a_changed_policy_holds_at_once() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(100, ""));
    world.submit("bob", &sweep(100, ""));
    for _ in 0..5 {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(0));
    }
    let policy = Policy {
        kind: PolicyKind::Fairshare,
        ..Policy::default()
    };
    world.set_policy(policy);
    for _ in 0..5 {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(0));
    }
    // What was counted under fifo counts now: Bob catches up.
    assert_eq!(world.served()[..5], ["alice"; 5]);
    assert_eq!(world.served()[5..], ["bob"; 5]);
}

#[test]
fn requeued_tasks_keep_their_place() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(3, "RetryCount = 1;"));
    let first = world.pull_one(pilot);
    world.start(pilot, first);
    world.end(pilot, first, exit(1));
    let again = world.pull_one(pilot);
    assert_eq!((again.0, again.1.0), (first.0, 2));
}

fn standing(world: &World, name: &str) -> fairway_sched::state::Standing {
    let standing = world.state.standing(&user(name), None, world.now);
    standing.unwrap()
}
