//! Explanations of every kind, each held against what the ledger of the same run then says.

use fairway_model::policy::{Backfill, Budget, BudgetPeriod, Limit, Pause, Qos, Who};
use fairway_model::{AttemptEnd, EventKind, Policy, PolicyKind, TaskId, TaskState, TaskVerb};
use fairway_sched::Command;
use fairway_sched::command::{AttemptNews, Selection};
use fairway_sched::explain::{explain, history};

use crate::world::{World, exit, site, sweep, user};

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

/// What became of a task, by the ledger.
fn story(world: &World, task: TaskId) -> String {
    let lines = history(task, &world.rows.events).into_iter();
    let lines: Vec<String> = lines.map(|it| format!("{}  {}", it.at, it.what)).collect();
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

/// Who was served lately does not starve, however old the rest of their work is: it is not told so.
#[test]
fn old_work_of_who_was_served_is_not_overdue() {
    let mut world = under(PolicyKind::Fairshare, |policy| {
        policy.wait_max_s = Some(7200);
    });
    let pilot = world.pilot("short", 1);
    let [alice, bob] = ["alice", "bob"].map(|who| world.submit(who, &sweep(3, "")));
    let serve = |world: &mut World| {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(0));
        attempt.0
    };
    let first = [(); 2].map(|()| serve(&mut world));
    assert_eq!(first, [TaskId::new(alice, 0), TaskId::new(bob, 0)]);
    world.pass(7000);
    assert_eq!(serve(&mut world), TaskId::new(alice, 1));
    world.pass(300);
    world.ask(Command::Tick).unwrap();
    let overdue = |world: &World, task| {
        let told = explain(&world.state, task, world.now).unwrap();
        told.overdue
    };
    assert!(overdue(&world, TaskId::new(bob, 1)));
    assert!(!overdue(&world, TaskId::new(bob, 2)));
    assert!(!overdue(&world, TaskId::new(alice, 2)));
    assert_eq!(serve(&mut world), TaskId::new(bob, 1));
    assert!(last_rule(&world).starts_with("overdue: "));
    assert_eq!(serve(&mut world), TaskId::new(alice, 2));
    assert!(!last_rule(&world).starts_with("overdue: "));
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

#[test]
fn what_gave_way_waits_again() {
    let mut world = under(PolicyKind::Fairshare, |policy| {
        policy.qos = vec![Qos {
            name: "urgent".into(),
            tier: 2,
            usage_factor: 1.0,
            ..Qos::default()
        }];
        policy.preemption.enabled = true;
        policy.preemption.again_after_s = 600;
    });
    let pilot = world.pilot("short", 1);
    let polite = TaskId::new(world.submit("alice", &sweep(1, "Preemptible = true;")), 0);
    let first = world.pull_one(pilot);
    world.start(pilot, first);
    let urgent = TaskId::new(world.submit("bob", &sweep(1, "QoS = \"urgent\";")), 0);
    world.pass(61);
    world.ask(Command::Tick).unwrap();
    let reason = "it gave way to others".to_owned();
    world.end(pilot, first, AttemptEnd::HandedBack { reason });
    insta::assert_snapshot!(told(&world, polite), @r"
    1 task is before it in the queue; 1 of 1 CEs could run it, 1 pilot is at work. bob comes before it: 2.0 is of tier 2, and this of tier 0. It gave way to others at 1970-01-01T10:01:01Z, and has kept its place; when it runs again, it does not give way in its first 600 s.
      bob (1 waiting): 2.0 is of tier 2, and this of tier 0
      p1: room is being made on it for 2.0
    ");
    insta::assert_snapshot!(story(&world, polite), @r"
    1970-01-01T10:00:00Z  submitted by alice
    1970-01-01T10:00:00Z  given to pilot p1 at lyon/short after 0 s (attempt 1), since nobody else had tasks waiting
    1970-01-01T10:00:00Z  started (attempt 1)
    1970-01-01T10:01:01Z  told to stop to make room for 2.0: of quality of service `urgent`, tier 2 before tier 0; it had waited for 61 s and found no room
    1970-01-01T10:01:01Z  attempt 1 ended, now waiting: handed back: it gave way to others; queued again in its old place
    ");
    // It comes after whom it gave way to, and then does not give way again for as long as was told.
    let next = world.pull_one(pilot);
    assert_eq!(next.0, urgent);
    world.end(pilot, next, exit(0));
    let again = world.pull_one(pilot);
    assert_eq!(again.0, polite);
    world.start(pilot, again);
    world.submit("bob", &sweep(1, "QoS = \"urgent\";"));
    let gave_way = |world: &mut World, after_s: u64| {
        world.pass(after_s);
        world.sync(pilot, Vec::new(), &[again], None);
        world.ask(Command::Tick).unwrap();
        let events = world.rows.events.iter();
        events
            .filter(|it| matches!(it.kind, EventKind::TaskGivesWay { task, .. } if task == polite))
            .count()
    };
    let times = [200, 200, 199, 1].map(|after_s| gave_way(&mut world, after_s));
    assert_eq!(times, [1, 1, 1, 2]);
    world.end(pilot, again, exit(0));
    insta::assert_snapshot!(story(&world, polite), @r"
    1970-01-01T10:00:00Z  submitted by alice
    1970-01-01T10:00:00Z  given to pilot p1 at lyon/short after 0 s (attempt 1), since nobody else had tasks waiting
    1970-01-01T10:00:00Z  started (attempt 1)
    1970-01-01T10:01:01Z  told to stop to make room for 2.0: of quality of service `urgent`, tier 2 before tier 0; it had waited for 61 s and found no room
    1970-01-01T10:01:01Z  attempt 1 ended, now waiting: handed back: it gave way to others; queued again in its old place
    1970-01-01T10:01:01Z  given to pilot p1 at lyon/short after 0 s (attempt 2), since nobody else had tasks waiting
    1970-01-01T10:01:01Z  started (attempt 2)
    1970-01-01T10:11:01Z  told to stop to make room for 3.0: of quality of service `urgent`, tier 2 before tier 0; it had waited for 600 s and found no room
    1970-01-01T10:11:01Z  attempt 2 ended, now succeeded: exited with 0
    ");
}

#[test]
fn what_sleeps_for_others() {
    let mut world = under(PolicyKind::Fairshare, |policy| {
        policy.qos = vec![Qos {
            name: "pushy".into(),
            preempts: vec![String::new()],
            usage_factor: 1.0,
            ..Qos::default()
        }];
        policy.preemption.enabled = true;
    });
    let pilot = world.pilot("short", 1);
    let sleepy = "Preemptible = true; Suspendable = true;";
    let sleepy = TaskId::new(world.submit("alice", &sweep(1, sleepy)), 0);
    let first = world.pull_one(pilot);
    world.start(pilot, first);
    let pushy = TaskId::new(world.submit("bob", &sweep(1, "QoS = \"pushy\";")), 0);
    world.pass(61);
    world.ask(Command::Tick).unwrap();
    insta::assert_snapshot!(told(&world, pushy), @r"
    Room is being made for it on pilot p1 at lyon/short: 1.0 gives way.
      p1: 0 of its 1 cores are free, needed 1
    ");
    world.report(pilot, first, AttemptNews::Suspended);
    let other = world.pull(pilot, &[first])[0];
    assert_eq!(other.0, pushy);
    world.start(pilot, other);
    insta::assert_snapshot!(told(&world, sleepy), @"It is suspended with pilot p1 at lyon/short since 1970-01-01T10:01:01Z, and goes on when its cores are free again.");
    world.pass(30);
    world.end(pilot, other, exit(0));
    world.report(pilot, first, AttemptNews::Resumed);
    world.end(pilot, first, exit(0));
    insta::assert_snapshot!(story(&world, sleepy), @r"
    1970-01-01T10:00:00Z  submitted by alice
    1970-01-01T10:00:00Z  given to pilot p1 at lyon/short after 0 s (attempt 1), since nobody else had tasks waiting
    1970-01-01T10:00:00Z  started (attempt 1)
    1970-01-01T10:01:01Z  told to sleep to make room for 2.0: of quality of service `pushy`, which displaces others by name; it had waited for 61 s and found no room
    1970-01-01T10:01:01Z  suspended
    1970-01-01T10:01:31Z  goes on
    1970-01-01T10:01:31Z  attempt 1 ended, now succeeded: exited with 0
    ");
}

#[test]
fn cores_are_kept_for_the_first_in_line() {
    let mut world = under(PolicyKind::Fifo, |policy| {
        policy.backfill.mode = Backfill::Easy;
    });
    let pilot = world.pilot("short", 2);
    world.submit("alice", &sweep(1, "WallTime = 1200;"));
    let running = world.pull_one(pilot);
    world.start(pilot, running);
    let wide = TaskId::new(
        world.submit("bob", &sweep(1, "CpuNumber = 2; WallTime = 600;")),
        0,
    );
    let long = TaskId::new(world.submit("carol", &sweep(1, "WallTime = 2400;")), 0);
    let short = TaskId::new(world.submit("dave", &sweep(1, "WallTime = 600;")), 0);
    let both = [wide, long].map(|task| told(&world, task));
    insta::assert_snapshot!(both.join("\n\n"), @r"
    It is next in the queue; 1 of 1 CEs could run it, 1 pilot is at work. Cores are kept for it on pilot p1 at lyon/short: it starts there at 1970-01-01T10:20:00Z at the latest, 1 of its 2 are free now; keeping them has cost 0.0 core-hours so far.
      p1: 1 of its 2 cores are free, needed 2

    1 task is before it in the queue; 1 of 1 CEs could run it, 1 pilot is at work. bob comes before it: 2.0 came into the queue just before it. It would fit on pilot p1 at lyon/short and is kept back: the cores are kept for task 2.0, which comes before it and starts there at 1970-01-01T10:20:00Z at the latest; its walltime of 2400 s would delay that.
      bob (1 waiting): 2.0 came into the queue just before it
      p1: its cores are kept for task 2.0, which starts there at 1970-01-01T10:20:00Z at the latest
    ");
    // The short one does not delay it.
    let filled = world.pull(pilot, &[running])[0];
    assert_eq!(filled.0, short);
    insta::assert_snapshot!(last_rule(&world), @"backfilled: it does not delay 2.0, for which cores are kept until 1970-01-01T10:20:00Z");
    world.start(pilot, filled);
    world.pass(600);
    world.end(pilot, filled, exit(0));
    assert_eq!(world.pull(pilot, &[running]), []);
    world.pass(600);
    world.end(pilot, running, exit(0));
    assert_eq!(world.pull_one(pilot).0, wide);
}

#[test]
fn a_task_on_several_nodes_waits_for_an_allocation() {
    let mut world = World::new(PolicyKind::Fairshare, &["wide"]);
    let mut described = site(&["wide"]);
    described.ces[0].shape.nodes = 2;
    world.describe(described);
    let pilots = world.together("wide", 1, 2);
    world.submit("bob", &sweep(1, ""));
    let single = world.pull_one(pilots[0]);
    let both = "CpuNumber = 2; HostNumber = 2;";
    let gang = TaskId::new(world.submit("alice", &sweep(1, both)), 0);
    assert_eq!(world.pull(pilots[1], &[]), []);
    insta::assert_snapshot!(told(&world, gang), @r"
    It is next in the queue; 1 of 1 CEs could run it, 2 pilots are at work. It needs 2 nodes of one allocation at the same time; 1 has room now.
      p1: 0 of its 1 cores are free, needed 1
      p2: not as many pilots of its allocation have room and wait for work as are needed, 2
    ");
    // All at once, as soon as there is room on both.
    world.end(pilots[0], single, exit(0));
    world.pass(20);
    assert_eq!(world.pull_one(pilots[0]).0, gang);
    insta::assert_snapshot!(told(&world, gang), @"It was given to pilot p1 and 1 more at lyon/wide and starts there.");
    insta::assert_snapshot!(story(&world, gang), @r"
    1970-01-01T10:00:00Z  submitted by alice
    1970-01-01T10:00:20Z  given to pilot p1 at lyon/wide after 20 s (attempt 1), since nobody else had tasks waiting
    ");
}

#[test]
fn no_site_is_there() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let remove = Command::RemoveSite {
        site: "lyon".parse().unwrap(),
        by: user("admin"),
    };
    world.ask(remove).unwrap();
    let task = TaskId::new(world.submit("alice", &sweep(1, "")), 0);
    insta::assert_snapshot!(told(&world, task), @"No site is registered.");
    assert!(world.plan().orders.is_empty());
    assert_eq!(rules(&world), []);
}

#[test]
fn what_it_waits_for_can_never_be() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 1);
    let first = world.submit("alice", &sweep(1, "RetryCount = 0;"));
    let depends = format!("Depends = \"afterok:{first}\";");
    let after = TaskId::new(world.submit("alice", &sweep(1, &depends)), 0);
    insta::assert_snapshot!(told(&world, after), @"It waits until job 1 has succeeded.");
    let attempt = world.pull_one(pilot);
    world.start(pilot, attempt);
    world.end(pilot, attempt, exit(1));
    assert_eq!(world.row(after).state, TaskState::Skipped);
    assert_eq!(explain(&world.state, after, world.now), None);
    insta::assert_snapshot!(story(&world, after), @r"
    1970-01-01T10:00:00Z  submitted by alice
    1970-01-01T10:00:00Z  now skipped: job 1, on whose success it depends, did not succeed
    ");
}

#[test]
fn a_task_that_is_over_tells_which_rules_served_it() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 1);
    let task = TaskId::new(world.submit("alice", &sweep(1, "RetryCount = 1;")), 0);
    world.pass(20);
    let run = |world: &mut World, code| {
        let attempt = world.pull_one(pilot);
        world.start(pilot, attempt);
        world.pass(60);
        world.end(pilot, attempt, exit(code));
        attempt.0
    };
    assert_eq!(run(&mut world, 1), task);
    let other = TaskId::new(world.submit("bob", &sweep(1, "")), 0);
    world.submit("bob", &sweep(1, ""));
    let order = [run(&mut world, 0), run(&mut world, 0)];
    assert_eq!(order, [other, task]);
    assert_eq!(world.row(task).state, TaskState::Succeeded);
    insta::assert_snapshot!(story(&world, task), @r"
    1970-01-01T10:00:00Z  submitted by alice
    1970-01-01T10:00:20Z  given to pilot p1 at lyon/short after 20 s (attempt 1), since nobody else had tasks waiting
    1970-01-01T10:00:20Z  started (attempt 1)
    1970-01-01T10:01:20Z  attempt 1 ended, now waiting: exited with 1; 1 of 1 retries after the start (RetryCount); queued again in its old place
    1970-01-01T10:02:20Z  given to pilot p1 at lyon/short after 60 s (attempt 2), since fairshare: level 1.0000 of alice was the least of 2 with waiting tasks
    1970-01-01T10:02:20Z  started (attempt 2)
    1970-01-01T10:03:20Z  attempt 2 ended, now succeeded: exited with 0
    ");
}
