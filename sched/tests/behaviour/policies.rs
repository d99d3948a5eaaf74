//! Who is served in which order under each kind of policy, and what bounds keep back.

use crate::world::{World, exit, sweep, user};
use fairway_model::policy::{Budget, BudgetPeriod, Limit, Pause, Qos, Share, Who};
use fairway_model::{Attempt, JobId, Metric, PilotId, Policy, PolicyKind, TaskId, Timestamp};
use fairway_sched::explain::explain;
use fairway_sched::{Command, RefusedKind, Reply};

fn under(world: &mut World, change: impl FnOnce(&mut Policy)) {
    let mut policy = world.state.policy().clone();
    change(&mut policy);
    assert_eq!(policy.check(), Ok(()));
    world.set_policy(policy);
}

fn group(path: &str, share: f64) -> Share {
    Share {
        path: path.into(),
        share,
        user: false,
    }
}

fn submit_as(world: &mut World, who: &str, group: &str, jdl: &str) -> JobId {
    match world.submit_for(who, Some(group), jdl, None).unwrap() {
        Reply::Submitted { job, .. } => job,
        other => panic!("{other:?}"),
    }
}

/// Serves `n` tasks one after the other with a pilot of one core; each takes a second.
fn serve(world: &mut World, pilot: PilotId, n: usize) -> Vec<TaskId> {
    let serve_one = |_| {
        let attempt: (TaskId, Attempt) = world.pull_one(pilot);
        world.start(pilot, attempt);
        world.pass(1);
        world.end(pilot, attempt, exit(0));
        attempt.0
    };
    (0..n).map(serve_one).collect()
}

fn count(world: &World, served: &[TaskId], owner: &str) -> usize {
    let of = |task: &&TaskId| world.rows.jobs[&task.job].0.owner.as_str() == owner;
    served.iter().filter(of).count()
}

#[test]
fn groups_take_turns_and_then_their_users() {
    let mut world = World::new(PolicyKind::RoundRobinGroups, &["short"]);
    let pilot = world.pilot("short", 1);
    for (who, group) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")] {
        submit_as(&mut world, who, group, &sweep(100, ""));
    }
    let served = serve(&mut world, pilot, 60);
    assert_eq!(count(&world, &served, "b1"), 30);
    for who in ["a1", "a2", "a3"] {
        assert_eq!(count(&world, &served, who), 10, "{who}");
    }
}

/// A tree of two levels: usage follows the shares from the top down, what a group does not use
/// is lent to the others, and given back as soon as it has work.
#[test]
fn a_tree_of_shares_is_kept_lent_and_given_back() {
    for kind in [PolicyKind::Fairshare, PolicyKind::FairTree] {
        let mut world = World::new(kind, &["short"]);
        under(&mut world, |policy| {
            policy.usage.metric = Metric::CoreSeconds;
            policy.half_life.half_life_s = 36_000;
            policy.shares = vec![
                group("physics", 3.0),
                group("physics/atlas", 2.0),
                group("physics/cms", 1.0),
                group("bio", 1.0),
            ];
        });
        let pilot = world.pilot("short", 1);
        submit_as(&mut world, "ann", "atlas", &sweep(900, ""));
        submit_as(&mut world, "carl", "cms", &sweep(900, ""));
        // Nothing is there for bio: physics has all, in parts of 2 and 1.
        let lent = serve(&mut world, pilot, 90);
        assert_eq!(count(&world, &lent, "ann"), 60, "{kind:?}");
        // Bio comes: physics has used 90, so the next 30 are bio's, and then 1 in 4.
        submit_as(&mut world, "beth", "bio", &sweep(900, ""));
        let back = serve(&mut world, pilot, 30);
        assert_eq!(count(&world, &back, "beth"), 30, "{kind:?}");
        let shared = serve(&mut world, pilot, 120);
        assert_eq!(count(&world, &shared, "beth"), 30, "{kind:?}");
        assert_eq!(count(&world, &shared, "ann"), 60, "{kind:?}");
    }
}

#[test]
fn a_user_has_an_account_in_each_group() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    under(&mut world, |policy| {
        policy.shares = vec![group("a", 1.0), group("b", 3.0)];
    });
    let pilot = world.pilot("short", 1);
    let in_a = submit_as(&mut world, "alice", "a", &sweep(50, ""));
    let in_b = submit_as(&mut world, "alice", "b", &sweep(50, ""));
    let served = serve(&mut world, pilot, 40);
    let of = |job| served.iter().filter(|task| task.job == job).count();
    assert_eq!((of(in_a), of(in_b)), (10, 30));
}

#[test]
fn the_own_priority_puts_the_own_tasks_in_order() {
    for kind in PolicyKind::ALL {
        let mut world = World::new(kind, &["short"]);
        let pilot = world.pilot("short", 1);
        let plain = world.submit("alice", &sweep(2, ""));
        let other = world.submit("bob", &sweep(4, ""));
        let urgent = world.submit("alice", &sweep(2, "Priority = 9;"));
        let served = serve(&mut world, pilot, 8);
        let own: Vec<JobId> = served
            .iter()
            .map(|it| it.job)
            .filter(|job| *job != other)
            .collect();
        assert_eq!(own, [urgent, urgent, plain, plain], "{kind:?}");
    }
}

#[test]
fn a_higher_tier_goes_first_and_only_for_whom_it_is_for() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    under(&mut world, |policy| {
        policy.qos = vec![Qos {
            name: "urgent".into(),
            tier: 5,
            usage_factor: 2.0,
            users: vec![user("bob")],
            ..Qos::default()
        }];
    });
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(3, ""));
    let urgent = world.submit("bob", &sweep(3, "QoS = \"urgent\";"));
    let served = serve(&mut world, pilot, 3);
    assert!(served.iter().all(|task| task.job == urgent), "{served:?}");
    // Three tasks count six.
    let standing = world.state.standing(&user("bob"), None, world.now);
    assert_eq!(standing.unwrap().fs, 6.0);
    let refused = world.try_submit("alice", &sweep(1, "QoS = \"urgent\";"), None);
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind, RefusedKind::NotOffered);
    assert_eq!(refused.reason, "user alice may not ask for QoS `urgent`");
    let unknown = world.try_submit("bob", &sweep(1, "QoS = \"gold\";"), None);
    assert_eq!(
        unknown.unwrap_err().reason,
        "there is no QoS `gold`; there is urgent"
    );
}

/// A light user's task waits no longer than the bound, whatever stream of others comes.
#[test]
fn who_has_waited_for_too_long_goes_first() {
    for kind in PolicyKind::ALL
        .into_iter()
        .filter(|kind| *kind != PolicyKind::Maui)
    {
        let mut world = World::new(kind, &["short"]);
        under(&mut world, |policy| {
            policy.wait_max_s = Some(100);
            policy.fairshare.max_depth = 1000;
            policy.qos = vec![Qos {
                name: "high".into(),
                tier: 1,
                usage_factor: 1.0,
                ..Qos::default()
            }];
        });
        let pilot = world.pilot("short", 1);
        world.submit("alice", &sweep(1, "QoS = \"high\";"));
        let low = world.submit("bob", &sweep(1, ""));
        let begun = world.now;
        let mut waited = None;
        for _ in 0..200 {
            world.submit("alice", &sweep(1, "QoS = \"high\";"));
            world.ask(Command::Tick).unwrap();
            if serve(&mut world, pilot, 1)[0].job == low {
                waited = Some(world.now.since(begun).as_secs());
                break;
            }
        }
        // One task of a second may have been under way.
        assert!(
            waited.is_some_and(|s| (100..=103).contains(&s)),
            "{kind:?}: {waited:?}"
        );
    }
}

#[test]
fn limits_on_running_tasks_are_kept_and_told() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    under(&mut world, |policy| {
        policy.limits = vec![
            Limit {
                user: Some(Who::Each),
                running_tasks_max: Some(2),
                ..Limit::default()
            },
            Limit {
                tag: Some("matlab".into()),
                running_cores_max: Some(1),
                ..Limit::default()
            },
        ];
    });
    let pilot = world.pilot("short", 8);
    let alice = world.submit("alice", &sweep(10, ""));
    world.submit("bob", &sweep(1, ""));
    let granted = world.pull(pilot, &[]);
    assert_eq!(granted.len(), 3, "two of alice's and one of bob's");
    let told = explain(&world.state, TaskId::new(alice, 5), world.now).unwrap();
    assert!(
        told.summary.contains("user alice has 2 of 2 tasks running"),
        "{}",
        told.summary
    );
    // No pilot is asked for what may not run.
    assert_eq!(world.plan().orders, []);
    // One ends, one more may run.
    let first = *granted.iter().find(|(task, _)| task.job == alice).unwrap();
    world.end(pilot, first, exit(0));
    let left: Vec<_> = granted.into_iter().filter(|it| *it != first).collect();
    assert_eq!(world.pull(pilot, &left).len(), 1);
    assert_eq!(world.state.check(), Ok(()));
}

#[test]
fn what_may_wait_is_bounded_at_submission() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    under(&mut world, |policy| {
        policy.limits = vec![Limit {
            user: Some(Who::Each),
            waiting_tasks_max: Some(10),
            ..Limit::default()
        }];
    });
    world.submit("alice", &sweep(8, ""));
    let refused = world.try_submit("alice", &sweep(3, ""), None).unwrap_err();
    assert_eq!(refused.kind, RefusedKind::LimitReached);
    assert_eq!(
        refused.reason,
        "user alice has 8 tasks waiting, and may have 10: 3 more are too many"
    );
    world.submit("alice", &sweep(2, ""));
    world.submit("bob", &sweep(10, ""));
    under(&mut world, |policy| {
        policy.limits = vec![Limit {
            user: Some(Who::Each),
            waiting_cores_max: Some(20),
            ..Limit::default()
        }];
    });
    let wide = "CpuNumber = 4; HostNumber = 2;";
    let refused = world
        .try_submit("alice", &sweep(3, wide), None)
        .unwrap_err();
    assert_eq!(
        refused.reason,
        "user alice has 10 cores asked for by waiting tasks, and may have 20: 12 more are too many"
    );
    world.submit("alice", &sweep(2, wide));
}

#[test]
fn a_budget_ends_at_midnight_or_never() {
    for every in [BudgetPeriod::Day, BudgetPeriod::Total] {
        let mut world = World::new(PolicyKind::Fairshare, &["short"]);
        under(&mut world, |policy| {
            policy.budgets = vec![Budget {
                user: Some(Who::One("alice".into())),
                group: None,
                every,
                core_hours: 1.0,
            }];
        });
        let pilot = world.pilot("short", 1);
        world.submit("alice", &sweep(10, ""));
        let attempt = world.pull_one(pilot);
        world.start(pilot, attempt);
        world.pass(3000);
        world.end(pilot, attempt, exit(0));
        let attempt = world.pull_one(pilot);
        world.start(pilot, attempt);
        world.pass(700);
        world.end(pilot, attempt, exit(0));
        // The same after a restart.
        world.reload();
        world.publish("short", |_| {});
        let pilot = world.pilot("short", 1);
        world.ask(Command::Tick).unwrap();
        assert!(world.pull(pilot, &[]).is_empty(), "{every:?}");
        world.now = Timestamp::from_secs(24 * 3600 + 1);
        world.publish("short", |_| {});
        let pilot = world.pilot("short", 1);
        world.ask(Command::Tick).unwrap();
        let granted = world.pull(pilot, &[]).len();
        assert_eq!(
            granted,
            usize::from(every == BudgetPeriod::Day),
            "{every:?}"
        );
    }
}

#[test]
fn nothing_of_what_is_paused_is_started() {
    let mut world = World::new(PolicyKind::FairTree, &["short"]);
    let until = Timestamp(world.now.0 + 60_000);
    under(&mut world, |policy| {
        policy.paused = vec![Pause {
            group: Some("a".into()),
            why: "disk full".into(),
            until: Some(until),
            ..Pause::default()
        }];
    });
    let pilot = world.pilot("short", 4);
    let paused = submit_as(&mut world, "alice", "a", &sweep(2, ""));
    submit_as(&mut world, "alice", "b", &sweep(1, ""));
    let running = world.pull(pilot, &[]);
    assert_eq!(running.len(), 1);
    let told = explain(&world.state, TaskId::new(paused, 0), world.now).unwrap();
    assert!(
        told.summary.contains("group a has been paused until")
            && told.summary.contains("disk full"),
        "{}",
        told.summary
    );
    world.pass(61);
    assert_eq!(world.pull(pilot, &running).len(), 2);
}

/// Maui: who is below their target goes first, until waiting outweighs it.
#[test]
fn a_percent_from_the_target_is_worth_four_hours() {
    let mut world = World::new(PolicyKind::Maui, &["short"]);
    under(&mut world, |policy| {
        policy.usage.metric = Metric::CoreSeconds;
        policy.maui.users = [("alice", "49"), ("bob", "51")]
            .map(|(who, target)| (who.to_owned(), target.parse().unwrap()))
            .into();
        policy.maui.decay = 1.0;
        policy.maui.interval_s = 30 * 24 * 3600;
    });
    let pilot = world.pilot("short", 1);
    // Both have used as much, so Bob is 1 % below his target and Alice 1 % above hers: 8 hours.
    for who in ["alice", "bob"] {
        world.submit(who, &sweep(1, ""));
        serve(&mut world, pilot, 1);
    }
    for (hours, first) in [(7, "bob"), (9, "alice")] {
        world.submit("alice", &sweep(1, ""));
        world.pass(hours * 3600);
        world.submit("bob", &sweep(1, ""));
        world.publish("short", |_| {});
        let pilot = world.pilot("short", 1);
        world.ask(Command::Tick).unwrap();
        // Both run for no time at all, so that nobody's usage changes.
        let attempt = world.pull_one(pilot);
        assert_eq!(count(&world, &[attempt.0], first), 1, "{hours} h");
        world.end(pilot, attempt, exit(0));
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(0));
    }
}

#[test]
fn nothing_is_started_above_a_cap() {
    let mut world = World::new(PolicyKind::Maui, &["short"]);
    under(&mut world, |policy| {
        policy.usage.metric = Metric::CoreSeconds;
        policy.maui.users = [("alice".to_owned(), "50%".parse().unwrap())].into();
    });
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(10, ""));
    serve(&mut world, pilot, 1);
    world.pass(60);
    world.ask(Command::Tick).unwrap();
    // All usage is hers: she is capped, and others are not.
    assert!(world.pull(pilot, &[]).is_empty());
    world.submit("bob", &sweep(2, ""));
    let served = serve(&mut world, pilot, 2);
    assert_eq!(count(&world, &served, "bob"), 2);
    world.pass(60);
    world.ask(Command::Tick).unwrap();
    assert_eq!(world.pull(pilot, &[]).len(), 1);
}

/// What is not charged for is nobody's part of what is.
#[test]
fn what_costs_nothing_reaches_no_cap() {
    let mut world = World::new(PolicyKind::Maui, &["short"]);
    under(&mut world, |policy| {
        policy.usage.metric = Metric::CoreSeconds;
        policy.maui.users = [("alice".to_owned(), "50^".parse().unwrap())].into();
        policy.qos = vec![Qos {
            usage_factor: 0.0,
            ..serde_json::from_str(r#"{"name": "free"}"#).unwrap()
        }];
    });
    let pilot = world.pilot("short", 2);
    world.submit("alice", &sweep(1, "QoS = \"free\";"));
    let free = world.pull_one(pilot);
    world.start(pilot, free);
    world.submit("alice", &sweep(1, ""));
    assert_eq!(world.pull(pilot, &[free]).len(), 1);
}

/// Changing the policy back and forth forgets nothing, and leaves everything in its place.
#[test]
fn policies_change_while_tasks_wait_and_run() {
    let mut world = World::new(PolicyKind::Fairshare, &["short"]);
    let pilot = world.pilot("short", 2);
    for (who, group) in [("alice", "a"), ("bob", "b"), ("carol", "b")] {
        submit_as(&mut world, who, group, &sweep(20, ""));
    }
    world.pull(pilot, &[]);
    for kind in PolicyKind::ALL.into_iter().chain(PolicyKind::ALL) {
        under(&mut world, |policy| {
            policy.kind = kind;
            policy.shares = vec![group("top", 1.0), group("top/a", 2.0)];
            policy.limits = vec![Limit {
                user: Some(Who::One("bob".into())),
                running_tasks_max: Some(1),
                ..Limit::default()
            }];
        });
        assert_eq!(world.state.check(), Ok(()), "{kind:?}");
        under(&mut world, |policy| {
            policy.shares.clear();
            policy.limits.clear();
        });
        assert_eq!(world.state.check(), Ok(()), "{kind:?}");
    }
    assert_eq!(world.reloaded().check(), Ok(()));
}
