//! Explanations of every kind, each held against what the ledger then says. Those of backfill,
//! of room that is made and of gangs are beside their rules.

use fairway_model::policy::{Budget, BudgetPeriod, Limit, Pause, Qos, Who};
use fairway_model::{EventKind, Policy, PolicyKind, TaskId, TaskState, TaskVerb};
use fairway_sched::Command;
use fairway_sched::command::Selection;
use fairway_sched::explain::explain;

use crate::world::{World, exit, sweep};

fn under(kind: PolicyKind, change: impl FnOnce(&mut Policy)) -> World {
    let mut world = World::new(kind, &["short"]);
    let mut policy = world.state.policy().clone();
    change(&mut policy);
    world.set_policy(policy);
    world
}

/// What is told of a task: the summary, who comes before, its priority and each pilot.
fn told(world: &World, task: TaskId) -> String {
    let explained = explain(&world.state, task, world.now).unwrap();
    let mut lines = vec![explained.summary];
    for rival in explained.before {
        let (path, waiting) = (rival.path, rival.waiting);
        lines.push(format!("  {path} ({waiting} waiting): {}", rival.because));
    }
    if let Some(priority) = explained.priority {
        let parts = priority
            .parts
            .iter()
            .map(|(name, it)| format!("{name} {it:.1}"));
        let parts: Vec<String> = parts.collect();
        lines.push(format!("  {:.1}: {}", priority.total, parts.join(", ")));
    }
    for pilot in explained.pilots {
        let against = pilot.refusals.iter().map(|it| it.because.clone());
        let against: Vec<String> = against.collect();
        lines.push(format!("  {}: {}", pilot.pilot, against.join("; ")));
    }
    lines.join("\n")
}

/// Why tasks were leased so far, in order.
fn rules(world: &World) -> Vec<(TaskId, String)> {
    let events = world.rows.events.iter();
    events
        .filter_map(|event| match &event.kind {
            EventKind::TaskLeased { task, because, .. } => Some((*task, because.clone()?)),
            _ => None,
        })
        .collect()
}

fn last_rule(world: &World) -> String {
    rules(world).pop().unwrap().1
}

#[test]
fn the_share_of_others_comes_first() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 1);
    let alice = world.submit("alice", &sweep(3, ""));
    let running = world.pull_one(pilot);
    world.start(pilot, running);
    let bob = world.submit("bob", &sweep(2, ""));
    insta::assert_snapshot!(told(&world, TaskId::new(alice, 1)));
    insta::assert_snapshot!(told(&world, running.0));
    world.end(pilot, running, exit(0));
    assert_eq!(world.pull_one(pilot).0, TaskId::new(bob, 0));
    insta::assert_snapshot!(last_rule(&world));
}

#[test]
fn a_limit_holds_it() {
    let mut world = under(PolicyKind::Fairshare, |policy| {
        policy.limits = vec![Limit {
            user: Some(Who::Each),
            running_tasks_max: Some(1),
            ..Limit::default()
        }];
    });
    let pilot = world.pilot("short", 4);
    let alice = world.submit("alice", &sweep(2, ""));
    let running = world.pull(pilot, &[]);
    insta::assert_snapshot!(told(&world, TaskId::new(alice, 1)));
    assert_eq!(world.pull(pilot, &running), []);
    world.end(pilot, running[0], exit(0));
    assert_eq!(world.pull(pilot, &[]).len(), 1);
    assert_eq!(last_rule(&world), "nobody else had tasks waiting");
}

#[test]
fn a_budget_or_a_pause_holds_it() {
    let mut world = under(PolicyKind::Fairshare, |policy| {
        policy.budgets = vec![Budget {
            user: Some(Who::One("alice".into())),
            group: None,
            every: BudgetPeriod::Total,
            core_hours: 0.1,
        }];
        policy.paused = vec![Pause {
            user: Some("bob".into()),
            why: "disk full".into(),
            ..Pause::default()
        }];
    });
    let pilot = world.pilot("short", 1);
    let alice = world.submit("alice", &sweep(2, ""));
    let running = world.pull_one(pilot);
    world.start(pilot, running);
    world.pass(600);
    world.end(pilot, running, exit(0));
    world.ask(Command::Tick).unwrap();
    let bob = world.submit("bob", &sweep(1, ""));
    let both = [alice, bob].map(|job| {
        let index = u32::from(job == alice);
        told(&world, TaskId::new(job, index))
    });
    insta::assert_snapshot!(both.join("\n\n"));
    assert_eq!(world.pull(pilot, &[]), []);
}

#[test]
fn requirements_that_nothing_meets() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 1);
    let more = "Requirements = other.GlueCEPolicyMaxWallClockTime >= 720;";
    let job = world.submit("alice", &sweep(1, more));
    insta::assert_snapshot!(told(&world, TaskId::new(job, 0)));
    assert_eq!(world.pull(pilot, &[]), []);
}

#[test]
fn a_pilot_that_is_too_small_or_too_full() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let full = world.pilot("short", 2);
    world.pilot("short", 1);
    world.submit("alice", &sweep(1, "CpuNumber = 1; WallTime = 3000;"));
    world.pull_one(full);
    let wide = world.submit("bob", &sweep(1, "CpuNumber = 2; WallTime = 60;"));
    insta::assert_snapshot!(told(&world, TaskId::new(wide, 0)));
    assert_eq!(world.state_of(wide, 0), TaskState::Waiting);
}

#[test]
fn a_higher_tier_and_one_that_is_overdue() {
    let mut world = under(PolicyKind::Fairshare, |policy| {
        policy.qos = vec![Qos {
            name: "urgent".into(),
            tier: 2,
            ..serde_json::from_str(r#"{"name": "urgent"}"#).unwrap()
        }];
        policy.wait_max_s = Some(7200);
    });
    let plain = world.submit("alice", &sweep(2, ""));
    let urgent = world.submit("bob", &sweep(3, "QoS = \"urgent\";"));
    insta::assert_snapshot!(told(&world, TaskId::new(plain, 0)));
    let pilot = world.pilot("short", 1);
    let attempt = world.pull_one(pilot);
    assert_eq!(attempt.0, TaskId::new(urgent, 0));
    assert_eq!(
        last_rule(&world),
        "higher tier urgent: 2 is served before lower ones"
    );
    world.start(pilot, attempt);
    world.end(pilot, attempt, exit(0));
    world.pass(8000);
    world.publish("short", |_| {});
    world.ask(Command::Tick).unwrap();
    let late = explain(&world.state, TaskId::new(plain, 0), world.now).unwrap();
    assert!(late.overdue && late.ahead == Some(0), "{late:?}");
    let pilot = world.pilot("short", 1);
    assert_eq!(world.pull_one(pilot).0, TaskId::new(plain, 0));
    let rule = last_rule(&world);
    assert!(rule.starts_with("overdue: it had waited 80"), "{rule}");
}

#[test]
fn priorities_are_told_by_component() {
    let mut world = World::new(PolicyKind::Maui, &["short"]);
    let first = world.submit("alice", &sweep(1, "CpuNumber = 1;"));
    world.pass(3600);
    world.publish("short", |_| {});
    let second = world.submit("bob", &sweep(1, "CpuNumber = 1;"));
    insta::assert_snapshot!(told(&world, TaskId::new(second, 0)));
    let pilot = world.pilot("short", 1);
    assert_eq!(world.pull_one(pilot).0, TaskId::new(first, 0));
    insta::assert_snapshot!(last_rule(&world));
}

#[test]
fn blocked_and_held_tasks_are_no_candidates() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 4);
    let first = world.submit("alice", &sweep(1, ""));
    let after = world.submit(
        "alice",
        &sweep(1, &format!("Depends = \"afterok:{first}\";")),
    );
    let held = world.submit("alice", &sweep(1, ""));
    world.change(TaskVerb::Hold, Selection::Job(held), "alice");
    let both = [after, held].map(|job| told(&world, TaskId::new(job, 0)));
    insta::assert_snapshot!(both.join("\n\n"));
    let granted = world.pull(pilot, &[]);
    let granted: Vec<TaskId> = granted.into_iter().map(|it| it.0).collect();
    assert_eq!(granted, [TaskId::new(first, 0)]);
}
