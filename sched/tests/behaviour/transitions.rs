//! What each command does to tasks, pilots and sites.

use crate::world::{World, changed, exit, principal, report, sweep, user};
use fairway_model::event::TaskVerb;
use fairway_model::{
    Attempt, AttemptEnd, EventKind, Order, PilotEnd, PilotState, PolicyKind, SiteMode, TaskId,
    TaskState,
};
use fairway_sched::command::{Observation, PilotWant, Selection};
use fairway_sched::{Change, Command, RefusedKind, Reply};

fn world() -> World {
    World::new(PolicyKind::Fairshare, &["short"])
}

fn lost_output() -> AttemptEnd {
    AttemptEnd::OutputLost {
        reason: "disk full".into(),
    }
}

#[test]
fn a_job_is_one_change_whatever_its_size() {
    let mut world = world();
    let before = world.history.len();
    let job = world.submit("alice", &sweep(5000, ""));
    assert_eq!(world.history.len() - before, 2, "the job and one event");
    let (changed, left) = world.change(TaskVerb::Hold, Selection::Job(job), "alice");
    assert_eq!((changed, left.len()), (5000, 0));
    assert_eq!(world.history.len() - before, 4, "the range and one event");
    world.change(TaskVerb::Release, Selection::Job(job), "alice");
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    assert_eq!(world.history.len() - before, 9, "and the end of the job");
    assert!(!world.state.knows_job(job));
    assert!(
        world
            .rows
            .tasks_of(job)
            .all(|task| task.state == TaskState::Cancelled)
    );
    world.state.check().unwrap();
}

#[test]
fn a_repeated_submission_is_the_same_job() {
    let mut world = world();
    let key = Some(("k".to_owned(), "hash".to_owned()));
    let first = world
        .try_submit("alice", &sweep(3, ""), key.clone())
        .unwrap();
    let again = world
        .try_submit("alice", &sweep(3, ""), key.clone())
        .unwrap();
    let Reply::Submitted {
        job,
        repeated: false,
        ..
    } = first
    else {
        panic!("{first:?}")
    };
    let Reply::Submitted {
        job: same,
        repeated: true,
        tasks: 3,
    } = again
    else {
        panic!("{again:?}")
    };
    assert_eq!(job, same);
    // The same key of another user is another key; with another request it is refused.
    world.try_submit("bob", &sweep(3, ""), key).unwrap();
    let other = Some(("k".to_owned(), "other".to_owned()));
    let refused = world.try_submit("alice", &sweep(4, ""), other).unwrap_err();
    assert_eq!(refused.kind, RefusedKind::IdempotencyConflict);
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
fn a_heartbeat_keeps_a_pilot() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    for _ in 0..5 {
        world.pass(200);
        world.sync(pilot, Vec::new(), &[], None);
        world.ask(Command::Tick).unwrap();
    }
    assert_eq!(world.rows.pilots[&pilot].state, PilotState::Active);
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
        let synced = world.report(zombie, attempt, crate::world::ended(exit(0)));
        assert_eq!(synced.orders, [(attempt.0, attempt.1, Order::WriteOff)]);
    }
    let synced = world.sync(zombie, Vec::new(), &[first], None);
    assert_eq!(synced.orders, [(first.0, first.1, Order::WriteOff)]);
    assert_eq!(world.history.len(), before);
    assert_eq!(world.state_of(job, 0), TaskState::Leased);
}

#[test]
fn a_lease_whose_reply_was_lost_is_sent_again() {
    let mut world = world();
    let pilot = world.pilot("short", 2);
    world.submit("alice", &sweep(10, ""));
    let lost = world.pull(pilot, &[]);
    assert_eq!(lost.len(), 2);
    let again = world.pull(pilot, &[]);
    assert_eq!(lost, again, "the same leases, and no more than fit");
    let kept = world.pull(pilot, &[lost[0]]);
    assert_eq!(kept, [lost[1]]);
    // An end that is reported with the wish frees the room, and its lease does not come back.
    let want = Some(world.wish(pilot, 0));
    let reports = vec![report(lost[0], crate::world::ended(exit(0)))];
    let next = world.sync(pilot, reports, &lost, want);
    assert_eq!(next.granted().len(), 1);
    assert!(!lost.contains(&next.granted()[0]));
    assert!(next.orders.is_empty());
}

#[test]
fn leases_survive_a_restart() {
    let mut world = world();
    let pilot = world.pilot("short", 2);
    world.submit("alice", &sweep(10, ""));
    let held = world.pull(pilot, &[]);
    world.start(pilot, held[0]);
    world.reload();
    assert_eq!(world.pull(pilot, &held), []);
    world.end(pilot, held[0], exit(0));
    assert_eq!(world.pull(pilot, &[held[1]]).len(), 1);
    // A lease that the pilot never got is sent again after a restart too.
    world.reload();
    let missing = world.pull(pilot, &[]);
    assert_eq!(missing.len(), 2);
    assert_eq!(missing[0], held[1]);
}

#[test]
fn a_backlog_goes_beyond_what_fits() {
    let mut world = world();
    let pilot = world.pilot("short", 2);
    world.submit("alice", &sweep(10, ""));
    let want = Some(world.wish(pilot, 3));
    let held = world.sync(pilot, Vec::new(), &[], want).granted();
    assert_eq!(held.len(), 5);
    let want = Some(world.wish(pilot, 3));
    assert_eq!(world.sync(pilot, Vec::new(), &held, want).granted(), []);
    world.state.check().unwrap();
}

#[test]
fn tasks_go_where_they_fit() {
    let mut world = world();
    let small = world.pilot("short", 1);
    let big = world.pilot("short", 4);
    let wide = world.submit("alice", &sweep(1, "CpuNumber = 3;"));
    assert_eq!(world.pull(small, &[]), []);
    let narrow = world.submit("bob", &sweep(5, ""));
    // Alice has used nothing, nor has Bob; she is first by name.
    let held = world.pull(big, &[]);
    assert_eq!(held[0].0.job, wide);
    assert_eq!(held.len(), 2, "three cores and one");
    assert_eq!(held[1].0.job, narrow);
}

#[test]
fn too_little_remaining_time_gets_nothing() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(1, ""));
    let want = PilotWant {
        round: 1,
        remaining_s: 59,
        backlog: 5,
        staying: false,
    };
    assert_eq!(world.sync(pilot, Vec::new(), &[], Some(want)).granted(), []);
    let want = PilotWant {
        round: 2,
        remaining_s: 60,
        backlog: 0,
        staying: false,
    };
    assert_eq!(
        world
            .sync(pilot, Vec::new(), &[], Some(want))
            .granted()
            .len(),
        1
    );
}

#[test]
fn requirements_and_access_are_honoured() {
    let mut world = World::new(PolicyKind::Fifo, &["short", "long"]);
    let mut site = crate::world::site(&["short", "long"]);
    site.ces[0].users = vec![user("bob")];
    world
        .ask(Command::PutSite {
            site: Box::new(site),
            by: user("admin"),
        })
        .unwrap();
    let (short, long) = (world.pilot("short", 1), world.pilot("long", 1));
    world.submit(
        "alice",
        &sweep(1, "Requirements = other.GlueCEName == \"short\";"),
    );
    let alice = world.submit("alice", &sweep(1, ""));
    let bob = world.submit("bob", &sweep(1, ""));
    // Alice may not use the CE that her first job asks for.
    assert_eq!(world.pull_one(short).0.job, bob);
    assert_eq!(world.pull_one(long).0.job, alice);
}

#[test]
fn an_open_wish_is_served_when_work_comes() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    assert_eq!(world.pull(pilot, &[]), []);
    assert!(world.serve().is_empty());
    world.submit("alice", &sweep(2, ""));
    let served = world.serve();
    assert_eq!(served[&pilot].granted().len(), 1);
    assert!(world.serve().is_empty(), "the wish is answered");
}

#[test]
fn a_closed_wish_is_not_served() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    world.pull(pilot, &[]);
    world.ask(Command::CloseWant { pilot }).unwrap();
    world.submit("alice", &sweep(2, ""));
    assert!(world.serve().is_empty());
}

#[test]
fn the_better_ranked_pilot_is_served_first() {
    let mut world = World::new(PolicyKind::Fifo, &["long", "short"]);
    let (long, short) = (world.pilot("long", 1), world.pilot("short", 1));
    world.pull(long, &[]);
    world.pull(short, &[]);
    let rank = "Rank = other.GlueCEName == \"short\" ? 1 : 0;";
    world.submit("alice", &sweep(1, rank));
    // In the same batch another pilot asks: the task is kept for the one that ranks higher.
    let other = world.pilot("long", 1);
    assert_eq!(world.pull(other, &[]), []);
    let served = world.serve();
    assert_eq!(served.keys().collect::<Vec<_>>(), [&short]);
}

#[test]
fn open_wishes_get_orders() {
    let mut world = world();
    let pilot = world.pilot("short", 2);
    let job = world.submit("alice", &sweep(1, ""));
    let held = world.pull(pilot, &[]);
    assert_eq!(world.pull(pilot, &held), []);
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    let served = world.serve();
    assert_eq!(
        served[&pilot].orders,
        [(held[0].0, held[0].1, Order::Cancel)]
    );
    // Again on every sync, until it is reported.
    let synced = world.sync(pilot, Vec::new(), &held, None);
    assert_eq!(synced.orders.len(), 1);
    world.end(pilot, held[0], AttemptEnd::Cancelled);
    assert_eq!(world.state_of(job, 0), TaskState::Cancelled);
    assert_eq!(world.pull(pilot, &[]), []);
    world.ask(Command::DrainPilot { pilot }).unwrap();
    assert!(world.serve()[&pilot].drain);
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
fn a_running_task_is_held_when_it_comes_back() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, "RetryCount = 3;"));
    let attempt = world.pull_one(pilot);
    world.start(pilot, attempt);
    let (changed, left) = world.change(TaskVerb::Hold, Selection::Job(job), "alice");
    assert_eq!(changed, 1);
    assert_eq!(
        left,
        ["1.0: it is with a pilot: it runs on, and is held only if it comes back"]
    );
    world.end(pilot, attempt, exit(1));
    assert_eq!(world.state_of(job, 0), TaskState::Held);
    assert_eq!(world.pull(pilot, &[]), []);
    world.change(TaskVerb::Release, Selection::Job(job), "alice");
    assert_eq!(world.pull(pilot, &[]).len(), 1);
}

#[test]
fn nobody_touches_what_is_not_theirs() {
    let mut world = world();
    let job = world.submit("alice", &sweep(3, ""));
    let by = principal("bob");
    let command = Command::ChangeTasks {
        verb: TaskVerb::Cancel,
        tasks: Selection::Job(job),
        by,
    };
    assert_eq!(world.ask(command).unwrap_err().kind, RefusedKind::NotFound);
    let tasks = Selection::Tasks(vec![TaskId::new(job, 1)]);
    let (changed, left) = world.change(TaskVerb::Cancel, tasks, "bob");
    assert_eq!(
        (changed, left),
        (0, vec!["1.1: there is no such task".to_owned()])
    );
}

#[test]
fn chosen_tasks_are_changed_and_the_others_told() {
    let mut world = world();
    let job = world.submit("alice", &sweep(10, ""));
    let ids = [1, 2, 3, 7, 12].map(|index| TaskId::new(job, index));
    let before = world.history.len();
    let (changed, left) = world.change(TaskVerb::Cancel, Selection::Tasks(ids.to_vec()), "alice");
    assert_eq!(
        (changed, left),
        (4, vec!["1.12: there is no such task".to_owned()])
    );
    let ranges = world.history[before..]
        .iter()
        .filter_map(|change| match change {
            Change::TaskRange { from, to, .. } => Some((*from, *to)),
            _ => None,
        });
    assert_eq!(ranges.collect::<Vec<_>>(), [(1, 4), (7, 8)]);
    let (changed, left) = world.change(TaskVerb::Cancel, Selection::Tasks(ids.to_vec()), "alice");
    assert_eq!((changed, left.len()), (0, 5));
    assert_eq!(left[0], "1.1: it is over");
}

#[test]
fn a_retry_revives_a_job_that_is_over() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(4, "RetryCount = 0;"));
    for code in [0, 1] {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(code));
    }
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    assert!(!world.state.knows_job(job));
    let (tried, _) = changed(world.retry(job, "alice").unwrap());
    assert_eq!(tried, 3);
    assert_eq!(world.rows.jobs[&job].2, None);
    assert_eq!(world.state_of(job, 0), TaskState::Succeeded);
    world.state.check().unwrap();
    for attempt in [2, 1, 1] {
        let next = world.pull_one(pilot);
        assert_eq!(next.1, Attempt(attempt), "numbers go on");
        world.end(pilot, next, exit(0));
    }
    assert!(world.rows.jobs[&job].2.is_some());
}

#[test]
fn a_retry_within_a_live_job() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    // Every task is a class of its own.
    let needs = "RetryCount = 0; Requirements = other.GlueCEStateFreeCPUs >= _PARAM_;";
    let job = world.submit("alice", &sweep(3, needs));
    let first = world.pull_one(pilot);
    world.end(pilot, first, exit(1));
    assert!(world.state.knows_job(job));
    assert_eq!(changed(world.retry(job, "alice").unwrap()).0, 1);
    assert_eq!(world.pull_one(pilot), (first.0, Attempt(2)));
    // Nothing is over: every task is left, or there is nothing to say.
    let tasks = Selection::Tasks(vec![TaskId::new(job, 1)]);
    let (changed, left) = world.change(TaskVerb::Retry, tasks, "alice");
    assert_eq!(
        (changed, left),
        (0, vec!["1.1: it waits in the queue".to_owned()])
    );
}

#[test]
fn a_pilot_shows_its_secret_once() {
    let mut world = world();
    let pilot = world.planned("short", 4);
    let wrong = Command::RegisterPilot {
        pilot,
        bootstrap_hash: "guess".into(),
        nonce_hash: "n".into(),
        session_hash: "s".into(),
        host: "h".into(),
        resources: Default::default(),
        remaining_s: 1,
    };
    assert_eq!(
        world.ask(wrong).unwrap_err().kind,
        RefusedKind::Unauthorized
    );
    world.register(pilot, "nonce", 8).unwrap();
    assert_eq!(
        world.rows.pilots[&pilot].resources.cores, 4,
        "no more than was asked for"
    );
    // The reply was lost: the same pilot asks again. Somebody else does not get in.
    world.register(pilot, "nonce", 8).unwrap();
    let stolen = world.register(pilot, "other", 8).unwrap_err();
    assert_eq!(stolen.kind, RefusedKind::Unauthorized);
    world.kill(pilot).unwrap();
    let late = world.register(pilot, "nonce", 8).unwrap_err();
    assert_eq!(late.kind, RefusedKind::PilotEnded);
}

#[test]
fn the_batch_system_moves_pilots_on() {
    let mut world = world();
    let pilot = world.planned("short", 1);
    let submitted = Observation::Submitted {
        batch_id: "77".into(),
    };
    world.observe(pilot, submitted.clone());
    assert_eq!(world.rows.pilots[&pilot].state, PilotState::Queued);
    let before = world.history.len();
    world.observe(pilot, submitted);
    world.observe(pilot, Observation::Queued);
    assert_eq!(world.history.len(), before, "what is known changes nothing");
    world.observe(pilot, Observation::Running);
    assert_eq!(world.rows.pilots[&pilot].state, PilotState::Starting);
    world.pass(601);
    world.ask(Command::Tick).unwrap();
    assert!(matches!(
        world.rows.pilots[&pilot].end,
        Some(PilotEnd::Lost { .. })
    ));
    // What comes too late changes nothing.
    let before = world.history.len();
    world.observe(
        pilot,
        Observation::Ended {
            detail: "COMPLETED".into(),
        },
    );
    assert_eq!(world.history.len(), before);
}

#[test]
fn a_pilot_over_in_the_batch_system_is_lost_at_once() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, ""));
    let attempt = world.pull_one(pilot);
    world.start(pilot, attempt);
    world.observe(
        pilot,
        Observation::Ended {
            detail: "CANCELLED by 0".into(),
        },
    );
    assert_eq!(world.state_of(job, 0), TaskState::Waiting);
    assert_eq!(world.row(attempt.0).losses, 1);
}

#[test]
fn goodbye_gives_unstarted_tasks_back_free_of_charge() {
    let mut world = world();
    let pilot = world.pilot("short", 2);
    world.submit("alice", &sweep(2, ""));
    let held = world.pull(pilot, &[]);
    world.start(pilot, held[0]);
    world
        .ask(Command::Goodbye {
            pilot,
            reason: "end of allocation".into(),
        })
        .unwrap();
    let losses: Vec<u32> = held
        .iter()
        .map(|(task, _)| world.row(*task).losses)
        .collect();
    assert_eq!(losses, [1, 0]);
    let refused = world
        .ask(Command::Goodbye {
            pilot,
            reason: "again".into(),
        })
        .unwrap_err();
    assert_eq!(refused.kind, RefusedKind::PilotEnded);
}

#[test]
fn a_closed_site_gives_no_work_and_a_removed_one_drains() {
    let mut world = world();
    let (active, expected) = (world.pilot("short", 1), world.planned("short", 1));
    world.submit("alice", &sweep(2, ""));
    let mode = |mode| Command::SetMode {
        site: "lyon".parse().unwrap(),
        ce: Some("short".parse().unwrap()),
        mode,
        by: user("admin"),
    };
    world.ask(mode(SiteMode::Draining)).unwrap();
    let want = Some(world.wish(active, 0));
    let synced = world.sync(active, Vec::new(), &[], want);
    assert!(synced.drain && synced.grants.is_empty());
    world.ask(mode(SiteMode::Open)).unwrap();
    let held = world.pull(active, &[]);
    let remove = Command::RemoveSite {
        site: "lyon".parse().unwrap(),
        by: user("admin"),
    };
    world.ask(remove).unwrap();
    assert!(matches!(
        world.rows.pilots[&expected].end,
        Some(PilotEnd::Cancelled { .. })
    ));
    assert!(world.sync(active, Vec::new(), &held, None).drain);
    world.end(active, held[0], exit(0));
    world.state.check().unwrap();
}

#[test]
fn a_ce_out_of_production_takes_no_tasks_without_requirements() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(1, ""));
    world.publish("short", |state| {
        state.status = fairway_model::CeStatus::Draining
    });
    assert_eq!(world.pull(pilot, &[]), []);
    world.publish("short", |_| {});
    assert_eq!(world.serve()[&pilot].grants.len(), 1);
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
