//! What would follow from another policy: told before, and then seen.

use crate::world::{World, sweep, user};
use fairway_model::policy::{Budget, Limit, Pause, Share, Who};
use fairway_model::{Policy, PolicyKind, UserName};
use fairway_sched::what_if::PolicyEffects;
use fairway_sched::{Command, RefusedKind};

fn policy_of(world: &World, change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = world.state.policy().clone();
    change(&mut policy);
    assert_eq!(policy.check(), Ok(()));
    policy
}

fn set(policy: Policy) -> Command {
    Command::SetPolicy {
        policy,
        by: user("root"),
        because: None,
        from: None,
    }
}

fn users<'a>(owners: impl Iterator<Item = &'a fairway_sched::what_if::Owner>) -> Vec<&'a str> {
    owners.map(|owner| owner.user.as_str()).collect()
}

fn order(world: &World) -> Vec<UserName> {
    let standings = world.state.shares(world.now);
    let placed = standings.into_iter().filter(|it| it.place.is_some());
    placed.map(|it| it.user).collect()
}

/// Three users; who came first asks for the most.
fn three() -> World {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    for (who, tasks) in [("ann", 5), ("ben", 3), ("cat", 2)] {
        world.submit(who, &sweep(tasks, ""));
        world.pass(1);
    }
    world
}

#[test]
fn the_next_tasks_are_told_under_both_policies() {
    let world = three();
    let policy = policy_of(&world, |it| it.kind = PolicyKind::RoundRobin);
    let PolicyEffects {
        next_before,
        next_after,
        waiting,
        ..
    } = world.state.what_if(&policy, world.now);
    assert_eq!(waiting, 10);
    assert_eq!(
        users(next_before.iter().map(|it| &it.owner)),
        [
            "ann", "ann", "ann", "ann", "ann", "ben", "ben", "ben", "cat", "cat"
        ]
    );
    assert_eq!(
        users(next_after.iter().map(|it| &it.owner)),
        [
            "ann", "ben", "cat", "ann", "ben", "cat", "ann", "ben", "ann", "ann"
        ]
    );
}

#[test]
fn what_was_told_is_what_is_seen() {
    let mut world = three();
    let policy = policy_of(&world, |it| {
        it.kind = PolicyKind::Fairshare;
        it.shares = vec![Share {
            path: "cat".into(),
            share: 3.0,
            user: true,
        }];
        it.paused = vec![Pause {
            user: Some("ann".into()),
            why: "maintenance".into(),
            ..Pause::default()
        }];
    });
    let told = world.state.what_if(&policy, world.now);
    assert_eq!(told.held.len(), 1);
    let held = &told.held[0];
    assert_eq!((held.before, held.after, held.waiting), (0, 5, 5));
    assert_eq!(held.because, "user ann has been paused (maintenance)");
    let ann = told
        .places
        .iter()
        .find(|it| it.owner.user.as_str() == "ann");
    assert_eq!(ann.map(|it| (it.before, it.after)), Some((Some(1), None)));
    let cat = told.dues.iter().find(|it| it.path == "cat").unwrap();
    assert!((cat.before.unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert!((cat.after.unwrap() - 3.0 / 5.0).abs() < 1e-9);
    // The state itself is as it was; once the policy is in force nothing would change any more.
    assert_eq!(world.state.policy().kind, PolicyKind::Fifo);
    world.ask(set(policy.clone())).unwrap();
    let mut open = order(&world);
    open.retain(|it| it.as_str() != "ann");
    assert_eq!(told.next_after[0].owner.user, open[0]);
    let again = world.state.what_if(&policy, world.now);
    assert!(again.places.is_empty() && again.dues.is_empty() && again.held.is_empty());
    assert_eq!(again.next_before, told.next_after);
    assert_eq!(again.next_after, told.next_after);
}

#[test]
fn what_a_limit_keeps_back_is_counted_by_what_runs() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 1);
    world.submit("ann", &sweep(6, ""));
    let running = world.pull_one(pilot);
    world.start(pilot, running);
    let limit = |max| {
        vec![Limit {
            user: Some(Who::Each),
            running_tasks_max: Some(max),
            ..Limit::default()
        }]
    };
    let policy = policy_of(&world, |it| it.limits = limit(3));
    let told = world.state.what_if(&policy, world.now);
    let held = &told.held[0];
    assert_eq!(
        (held.before, held.after, held.clause),
        (0, 3, "running_tasks_max")
    );
    assert_eq!(
        held.because,
        "once 2 more of them run, user ann has 3 of 3 tasks running"
    );
    assert_eq!(told.next_after.len(), 2);
    // A limit that is reached by what runs keeps all back; lifting it frees them.
    world
        .ask(set(policy_of(&world, |it| it.limits = limit(1))))
        .unwrap();
    let policy = policy_of(&world, |it| it.limits.clear());
    let told = world.state.what_if(&policy, world.now);
    assert_eq!((told.held[0].before, told.held[0].after), (5, 0));
    assert_eq!((told.next_before.len(), told.next_after.len()), (0, 5));
    let ann = &told.places[0];
    assert_eq!((ann.before, ann.after), (None, Some(1)));
}

#[test]
fn what_is_told_is_bounded() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    for n in 0..70 {
        world.submit(&format!("u{n:02}"), &sweep(1000, ""));
    }
    let policy = policy_of(&world, |it| {
        it.kind = PolicyKind::Fairshare;
        it.budgets = vec![Budget {
            user: Some(Who::Each),
            group: None,
            every: Default::default(),
            core_hours: 0.0,
        }];
    });
    let told = world.state.what_if(&policy, world.now);
    assert_eq!((told.held.len(), told.held_left_out), (50, 20));
    assert_eq!((told.places.len(), told.places_left_out), (50, 20));
    assert_eq!((told.next_before.len(), told.next_after.len()), (20, 0));
}

#[test]
fn a_change_that_was_made_from_another_policy_is_refused() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let seen = world.state.policy().clone();
    let change = |world: &World, kind| Command::SetPolicy {
        policy: policy_of(world, |it| it.kind = kind),
        by: user("root"),
        because: Some("tried in the simulator".into()),
        from: Some(Box::new(seen.clone())),
    };
    let first = change(&world, PolicyKind::Maui);
    world.ask(first).unwrap();
    let second = change(&world, PolicyKind::FairTree);
    assert_eq!(
        world.ask(second).unwrap_err().kind,
        RefusedKind::PolicyChanged
    );
    assert_eq!(world.state.policy().kind, PolicyKind::Maui);
    let event = world.rows.events.last().unwrap();
    let text = serde_json::to_string(&event.kind).unwrap();
    assert!(
        text.contains(r#""because":"tried in the simulator""#),
        "{text}"
    );
}
