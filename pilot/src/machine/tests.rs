use fairway_api::pilot::Payload;
use fairway_model::JobId;

use super::talk::BACKLOG_MAX;
use super::*;

const OK: AttemptEnd = AttemptEnd::Exited { code: 0 };

fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn key(index: u32) -> Key {
    Key {
        task: TaskId::new(JobId(1), index),
        attempt: Attempt(1),
    }
}

fn lease(index: u32) -> Lease {
    Lease {
        task: key(index).task,
        attempt: key(index).attempt,
        payload: Payload {
            executable: "true".to_owned(),
            resources: Resources {
                cores: 1,
                memory_mib: 0,
                gpus: 0,
            },
            ..Payload::default()
        },
    }
}

fn machine() -> Machine {
    let terms = Terms {
        capacity: Resources {
            cores: 2,
            memory_mib: 1000,
            gpus: 0,
        },
        ends_at: Duration::from_secs(1000),
        tidy_up: Duration::from_secs(50),
        idle: Duration::from_secs(60),
        heartbeat: Duration::from_secs(30),
    };
    Machine::new(terms, at(0))
}

fn leases(indices: impl IntoIterator<Item = u32>) -> SyncReply {
    SyncReply {
        leases: indices.into_iter().map(lease).collect(),
        ..SyncReply::default()
    }
}

fn orders(stop: &[(u32, bool)]) -> SyncReply {
    let order = |(index, stale): &(u32, bool)| match stale {
        true => order(*index, Order::WriteOff),
        false => order(*index, Order::Cancel),
    };
    SyncReply {
        orders: stop.iter().map(order).collect(),
        ..SyncReply::default()
    }
}

fn order(index: u32, what: Order) -> AttemptOrder {
    let Key { task, attempt } = key(index);
    AttemptOrder {
        task,
        attempt,
        what,
    }
}

/// A machine that was given these leases at 0 and has staged and started all that fit.
fn working(indices: impl IntoIterator<Item = u32>) -> Machine {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    machine.synced(at(0), sync.id, leases(indices));
    go_on(&mut machine, at(0));
    machine
}

/// Stages and starts what the machine wants; returns what was started.
fn go_on(machine: &mut Machine, now: Moment) -> Vec<u32> {
    let mut started = Vec::new();
    loop {
        let steps = machine.take_steps();
        if steps.is_empty() {
            return started;
        }
        for step in steps {
            match step {
                Step::Stage(lease) => machine.staged(now, Key::from(&*lease), Ok(())),
                Step::Start(key) => {
                    machine.started(now, key, Ok(()));
                    started.push(key.task.index);
                }
                Step::Deliver { key, .. } => machine.delivered(now, key, None),
                Step::Suspend(_)
                | Step::Resume(_)
                | Step::Terminate(_)
                | Step::Kill(_)
                | Step::Drop(_) => {}
            }
        }
    }
}

fn finish(machine: &mut Machine, now: Moment, index: u32, end: AttemptEnd) {
    machine.exited(now, key(index), end, Used::default());
    go_on(machine, now);
}

fn ends(sync: &Outgoing) -> Vec<(u32, AttemptEnd)> {
    let end = |report: &Report| match &report.what {
        ReportKind::Ended { end, .. } => Some((report.task.index, end.clone())),
        ReportKind::Started | ReportKind::Suspended | ReportKind::Resumed => None,
    };
    sync.request.reports.iter().filter_map(end).collect()
}

#[test]
fn asks_at_once_and_keeps_one_wish_open() {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    let want = sync.request.want.unwrap();
    assert_eq!((want.round, want.remaining_s, want.backlog), (1, 950, 0));
    assert!(machine.next_sync(at(1000)).is_none());
    machine.synced(at(2000), sync.id, SyncReply::default());
    assert_eq!(
        machine
            .next_sync(at(2000))
            .unwrap()
            .request
            .want
            .unwrap()
            .round,
        2
    );
}

#[test]
fn starts_what_fits_in_order() {
    let mut machine = working(0..4);
    assert_eq!(machine.free.cores, 0);
    machine.exited(at(10), key(1), OK, Used::default());
    assert_eq!(go_on(&mut machine, at(10)), [2]);
    assert_eq!(machine.free.cores, 0);
}

#[test]
fn a_large_task_is_not_overtaken() {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    let mut reply = leases(0..3);
    reply.leases[1].payload.resources.cores = 2;
    machine.synced(at(0), sync.id, reply);
    assert_eq!(go_on(&mut machine, at(0)), [0]);
    machine.exited(at(5), key(0), OK, Used::default());
    assert_eq!(go_on(&mut machine, at(5)), [1]);
}

#[test]
fn more_than_the_pilot_has_is_refused() {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    let mut reply = leases([0]);
    reply.leases[0].payload.resources.memory_mib = 1001;
    machine.synced(at(0), sync.id, reply);
    let sync = machine.next_sync(at(5)).unwrap();
    assert!(matches!(
        ends(&sync)[..],
        [(0, AttemptEnd::NotStarted { .. })]
    ));
}

#[test]
fn reports_travel_together_and_with_the_next_wish() {
    let mut machine = working([0, 1]);
    let started = machine.next_sync(at(5)).unwrap();
    assert_eq!(started.request.reports.len(), 2);
    assert!(started.request.want.is_some());
    finish(&mut machine, at(6), 0, OK);
    finish(&mut machine, at(7), 1, OK);
    assert!(
        machine.next_sync(at(20)).is_none(),
        "one sync with reports at a time"
    );
    machine.synced(at(20), started.id, SyncReply::default());
    let sync = machine.next_sync(at(20)).unwrap();
    assert_eq!(ends(&sync), [(0, OK), (1, OK)]);
    assert_eq!(
        sync.request.holding.len(),
        2,
        "held until the report arrived"
    );
    machine.synced(at(21), sync.id, SyncReply::default());
    assert!(
        machine
            .next_sync(at(21))
            .unwrap()
            .request
            .holding
            .is_empty()
    );
}

#[test]
fn reports_pass_an_open_wish() {
    let mut machine = working([0]);
    let started = machine.next_sync(at(5)).unwrap();
    machine.synced(at(6), started.id, SyncReply::default());
    let wish = machine.next_sync(at(6)).unwrap();
    assert!(wish.request.want.is_some() && wish.request.reports.is_empty());
    finish(&mut machine, at(2000), 0, OK);
    assert!(
        machine.next_sync(at(2004)).is_none(),
        "others may come along"
    );
    let sync = machine.next_sync(at(2005)).unwrap();
    assert_eq!(ends(&sync).len(), 1);
    assert!(sync.request.want.is_none(), "the open wish is as good");
}

#[test]
fn a_lost_reply_is_made_up_for() {
    let mut machine = working([0]);
    finish(&mut machine, at(100), 0, OK);
    let lost = machine.next_sync(at(105)).unwrap();
    machine.sync_failed(at(106), lost.id, at(500));
    assert!(machine.next_sync(at(499)).is_none(), "not before it may");
    let again = machine.next_sync(at(500)).unwrap();
    assert_eq!(ends(&again), ends(&lost));
    assert_eq!(again.request.holding, [(key(0).task, key(0).attempt)]);
    machine.synced(at(501), again.id, SyncReply::default());
    assert!(machine.held.is_empty());
}

#[test]
fn a_lease_that_comes_again_runs_once() {
    let mut machine = working([0]);
    let sync = machine.next_sync(at(5)).unwrap();
    machine.synced(at(6), sync.id, leases([0]));
    assert!(go_on(&mut machine, at(6)).is_empty());
    finish(&mut machine, at(10), 0, OK);
    let sync = machine.next_sync(at(100)).unwrap();
    machine.synced(at(101), sync.id, SyncReply::default());
    // A copy that was on its way all the time.
    let sync = machine.next_sync(at(101)).unwrap();
    machine.synced(at(102), sync.id, leases([0]));
    assert!(go_on(&mut machine, at(102)).is_empty());
    assert!(machine.held.is_empty());
}

#[test]
fn cancel_stops_softly_then_hard_and_is_reported() {
    let mut machine = working([0]);
    let sync = machine.next_sync(at(5)).unwrap();
    machine.synced(at(10), sync.id, orders(&[(0, false)]));
    assert_eq!(machine.take_steps(), [Step::Terminate(key(0))]);
    machine.tick(at(5009));
    assert!(machine.take_steps().is_empty());
    assert!(machine.next_moment(at(5009)) <= at(5010));
    machine.tick(at(5010));
    assert_eq!(machine.take_steps(), [Step::Kill(key(0))]);
    machine.exited(
        at(5011),
        key(0),
        AttemptEnd::Signaled { signal: 9 },
        Used::default(),
    );
    assert_eq!(
        machine.take_steps(),
        [Step::Deliver {
            key: key(0),
            outputs: false
        }]
    );
    machine.delivered(at(5012), key(0), None);
    let sync = machine.next_sync(at(5020)).unwrap();
    assert_eq!(ends(&sync), [(0, AttemptEnd::Cancelled)]);
}

#[test]
fn cancel_of_a_waiting_task_is_reported_at_once() {
    let mut machine = working(0..3);
    let sync = machine.next_sync(at(25)).unwrap();
    machine.synced(at(30), sync.id, orders(&[(2, false)]));
    assert_eq!(
        ends(&machine.next_sync(at(35)).unwrap()),
        [(2, AttemptEnd::Cancelled)]
    );
    machine.exited(at(40), key(0), OK, Used::default());
    assert!(go_on(&mut machine, at(40)).is_empty());
}

#[test]
fn walltime_counts_from_the_start_itself() {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    let mut reply = leases([0]);
    reply.leases[0].payload.walltime_s = Some(1);
    machine.synced(at(0), sync.id, reply);
    machine.staged(at(0), key(0), Ok(()));
    assert_eq!(machine.take_steps().last(), Some(&Step::Start(key(0))));
    machine.started(at(300), key(0), Ok(()));
    machine.tick(at(1299));
    assert_eq!(machine.take_steps(), []);
    machine.tick(at(1300));
    assert_eq!(machine.take_steps(), [Step::Terminate(key(0))]);
}

#[test]
fn reports_wait_longer_for_others_while_tasks_wait() {
    let mut idle = working(0..2);
    let wish = idle.next_sync(at(4)).unwrap();
    assert!(wish.request.reports.is_empty());
    assert_eq!(idle.next_sync(at(5)).unwrap().request.reports.len(), 2);
    let mut busy = working(0..3);
    assert!(busy.next_sync(at(24)).is_none());
    assert_eq!(busy.next_moment(at(0)), at(25));
    assert_eq!(busy.next_sync(at(25)).unwrap().request.reports.len(), 2);
}

#[test]
fn a_cancel_that_comes_too_late_does_not_hide_the_end() {
    let mut machine = working([0]);
    let sync = machine.next_sync(at(5)).unwrap();
    finish(&mut machine, at(8), 0, OK);
    machine.synced(at(10), sync.id, orders(&[(0, false)]));
    assert_eq!(ends(&machine.next_sync(at(15)).unwrap()), [(0, OK)]);
}

#[test]
fn what_the_server_wrote_off_is_stopped_without_a_word() {
    let mut machine = working(0..4);
    let sync = machine.next_sync(at(25)).unwrap();
    finish(&mut machine, at(26), 1, OK);
    // 0 runs, 1 is over, 2 runs, 3 waits; 9 was never here.
    machine.synced(
        at(30),
        sync.id,
        orders(&[(0, true), (1, true), (3, true), (9, true)]),
    );
    let steps = machine.take_steps();
    assert_eq!(
        steps,
        [
            Step::Terminate(key(0)),
            Step::Drop(key(1)),
            Step::Drop(key(3))
        ]
    );
    finish(&mut machine, at(40), 0, AttemptEnd::Signaled { signal: 15 });
    assert_eq!(
        machine
            .held
            .keys()
            .map(|key| key.task.index)
            .collect::<Vec<_>>(),
        [2]
    );
    let sync = machine.next_sync(at(50)).unwrap();
    assert!(ends(&sync).is_empty());
}

#[test]
fn a_report_in_flight_for_what_was_written_off_is_not_repeated() {
    let mut machine = working([0]);
    let open = machine.next_sync(at(5)).unwrap();
    machine.synced(at(6), open.id, SyncReply::default());
    let wish = machine.next_sync(at(6)).unwrap();
    finish(&mut machine, at(50), 0, OK);
    let carrier = machine.next_sync(at(55)).unwrap();
    assert_eq!(ends(&carrier).len(), 1);
    machine.synced(at(56), wish.id, orders(&[(0, true)]));
    machine.sync_failed(at(57), carrier.id, at(60));
    let next = machine.next_sync(at(60)).unwrap();
    assert!(next.request.reports.is_empty() && next.request.holding.is_empty());
}

#[test]
fn walltime_and_memory_stop_a_payload_and_say_so() {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    let mut reply = leases(0..2);
    reply.leases[0].payload.walltime_s = Some(10);
    reply.leases[1].payload.resources.memory_mib = 100;
    machine.synced(at(0), sync.id, reply);
    go_on(&mut machine, at(0));
    assert!(machine.next_moment(at(9)) <= at(10_000));
    machine.tick(at(10_000));
    machine.over_memory(at(10_000), key(1), 130);
    assert_eq!(
        machine.take_steps(),
        [Step::Terminate(key(0)), Step::Terminate(key(1))]
    );
    // Even one that ends well on the signal did not do all that it was to do.
    finish(&mut machine, at(10_100), 0, OK);
    finish(
        &mut machine,
        at(10_100),
        1,
        AttemptEnd::Signaled { signal: 15 },
    );
    let limits = [
        (0, AttemptEnd::WalltimeExceeded { limit_s: 10 }),
        (
            1,
            AttemptEnd::MemoryExceeded {
                limit_mib: 100,
                used_mib: 130,
            },
        ),
    ];
    assert_eq!(ends(&machine.next_sync(at(10_105)).unwrap()), limits);
}

#[test]
fn lost_outputs_spoil_only_a_success() {
    let mut machine = working([0, 1]);
    machine.exited(at(5), key(0), OK, Used::default());
    machine.exited(
        at(5),
        key(1),
        AttemptEnd::Exited { code: 1 },
        Used::default(),
    );
    for index in [0, 1] {
        machine.delivered(at(6), key(index), Some("full".to_owned()));
    }
    let lost = AttemptEnd::OutputLost {
        reason: "full".to_owned(),
    };
    let expected = [(0, lost), (1, AttemptEnd::Exited { code: 1 })];
    assert_eq!(ends(&machine.next_sync(at(11)).unwrap()), expected);
}

#[test]
fn drain_finishes_what_is_there() {
    let mut machine = working(0..3);
    let sync = machine.next_sync(at(25)).unwrap();
    machine.synced(
        at(26),
        sync.id,
        SyncReply {
            drain: true,
            ..SyncReply::default()
        },
    );
    let beat = machine.next_sync(machine.next_moment(at(26))).unwrap();
    assert!(
        beat.request.want.is_none(),
        "it takes no more, but is heard of"
    );
    for index in 0..3 {
        finish(&mut machine, at(3000), index, OK);
        assert_eq!(machine.over_because(at(3000)), None);
    }
    let sync = machine.next_sync(at(3005)).unwrap();
    assert_eq!(ends(&sync).len(), 3);
    machine.synced(at(3006), sync.id, SyncReply::default());
    assert_eq!(
        machine.over_because(at(3006)),
        Some("the server asked it to finish")
    );
}

#[test]
fn leaving_hands_back_and_does_not_wait_for_ever() {
    let mut machine = working(0..3);
    machine.leave(at(1000), "preempted");
    assert_eq!(
        machine.take_steps(),
        [Step::Terminate(key(0)), Step::Terminate(key(1))]
    );
    machine.exited(
        at(1100),
        key(0),
        AttemptEnd::Signaled { signal: 15 },
        Used::default(),
    );
    go_on(&mut machine, at(1100));
    let sync = machine.next_sync(at(1105)).unwrap();
    let back = AttemptEnd::HandedBack {
        reason: "preempted".to_owned(),
    };
    assert_eq!(ends(&sync), [(2, back.clone()), (0, back)]);
    assert!(sync.request.want.is_none());
    // A lease that was on its way is handed back as well.
    machine.synced(at(1110), sync.id, leases([7]));
    assert_eq!(ends(&machine.next_sync(at(1115)).unwrap())[0].0, 7);
    machine.tick(at(3000));
    assert_eq!(machine.take_steps().last(), Some(&Step::Kill(key(1))));
    assert_eq!(machine.over_because(at(4999)), None);
    assert_eq!(machine.over_because(at(5000)), Some("preempted"));
}

#[test]
fn outputs_that_do_not_arrive_in_time_send_the_task_back() {
    let mut machine = working([0]);
    machine.exited(at(10), key(0), OK, Used::default());
    machine.take_steps();
    machine.leave(at(20), "preempted");
    machine.tick(at(3019));
    machine.tick(at(3020));
    let sync = machine.next_sync(at(3025)).unwrap();
    assert!(matches!(
        ends(&sync)[..],
        [(0, AttemptEnd::HandedBack { .. })]
    ));
}

#[test]
fn the_allocations_end_makes_the_pilot_leave() {
    let mut machine = working([0]);
    machine.tick(at(949_999));
    assert!(!machine.is_leaving());
    machine.tick(at(950_000));
    assert!(machine.is_leaving());
}

#[test]
fn idleness_ends_the_pilot() {
    let mut machine = machine();
    machine.tick(at(59_999));
    assert_eq!(machine.over_because(at(59_999)), None);
    machine.tick(at(60_000));
    assert_eq!(
        machine.over_because(at(60_000)),
        Some("there was no work for 60 s")
    );
}

#[test]
fn backlog_follows_payload_time() {
    let mut machine = working([0, 1]);
    assert_eq!(machine.backlog(at(0)), 0, "nothing is known yet");
    finish(&mut machine, at(10), 0, OK);
    // Two slots of 10 ms for 250 ms, and the running one is as old as that.
    assert_eq!(machine.backlog(at(10)), 50);
    // The other one turns out to be long: (10 ms + 3 s) / 2.
    assert_eq!(machine.backlog(at(3000)), 0);
    finish(&mut machine, at(60_000), 1, OK);
    assert_eq!(machine.backlog(at(60_000)), 0);

    let mut machine = working([0]);
    finish(&mut machine, Duration::from_micros(500), 0, OK);
    assert_eq!(machine.backlog(at(1)), BACKLOG_MAX);
}

#[test]
fn a_grown_backlog_replaces_the_open_wish() {
    let mut machine = working([0]);
    let started = machine.next_sync(at(5)).unwrap();
    machine.synced(at(5), started.id, SyncReply::default());
    let open = machine.next_sync(at(5)).unwrap().request.want.unwrap();
    assert_eq!(open.backlog, 0);
    finish(&mut machine, at(6), 0, OK);
    let wish = machine.next_sync(at(11)).unwrap().request.want.unwrap();
    assert!(wish.round > open.round && wish.backlog > 0);
}

#[test]
fn a_task_that_waits_too_long_goes_elsewhere() {
    let mut machine = working(0..3);
    assert!(machine.next_moment(at(4999)) <= at(5000));
    machine.tick(at(5000));
    let sync = machine.next_sync(at(5005)).unwrap();
    assert!(matches!(
        ends(&sync)[..],
        [(2, AttemptEnd::HandedBack { .. })]
    ));
}

#[test]
fn it_is_heard_of_while_it_works_and_while_nothing_is_due() {
    let mut machine = working([0, 1]);
    let mut now = at(5);
    let mut last = now;
    let mut open = None;
    while now < at(100_000) {
        if let Some(sync) = machine.next_sync(now) {
            assert!(
                now - last <= Duration::from_secs(30),
                "silent from {last:?} to {now:?}"
            );
            last = now;
            if sync.request.reports.is_empty() && sync.request.want.is_some() {
                open = Some(sync.id); // Left open: the server holds it for long.
            } else {
                machine.synced(now, sync.id, SyncReply::default());
            }
            continue;
        }
        let next = machine.next_moment(now);
        assert!(next > now, "a busy loop at {now:?}");
        now = next;
        machine.tick(now);
    }
    assert!(open.is_some());
}

fn stay(stay: bool) -> SyncReply {
    SyncReply {
        stay: Some(stay),
        ..SyncReply::default()
    }
}

#[test]
fn a_node_of_another_pilot_s_task_is_not_idle() {
    let mut machine = machine();
    let first = machine.next_sync(at(0)).unwrap();
    assert!(!first.request.want.unwrap().staying);
    machine.synced(at(10), first.id, stay(true));
    let wish = machine.next_sync(at(20)).unwrap();
    assert!(wish.request.want.unwrap().staying, "it says what it knows");
    machine.tick(at(100_000));
    assert_eq!(machine.over_because(at(100_000)), None);
    // A reply that does not speak of it changes nothing.
    machine.synced(at(100_000), wish.id, SyncReply::default());
    machine.tick(at(200_000));
    assert_eq!(machine.over_because(at(200_000)), None);
    let wish = machine.next_sync(at(200_000)).unwrap();
    machine.synced(at(200_000), wish.id, stay(false));
    machine.tick(at(259_999));
    assert_eq!(
        machine.over_because(at(259_999)),
        None,
        "its rest begins anew"
    );
    machine.tick(at(260_000));
    assert!(machine.over_because(at(260_000)).is_some());
}

#[test]
fn a_pilot_that_drains_stays_for_another_pilot_s_task() {
    let mut machine = machine();
    let first = machine.next_sync(at(0)).unwrap();
    let reply = SyncReply {
        drain: true,
        ..stay(true)
    };
    machine.synced(at(10), first.id, reply);
    assert_eq!(machine.over_because(at(10)), None);
    // It wishes for nothing, and is heard of.
    let beat = machine.next_sync(at(10_000)).unwrap();
    assert!(beat.request.want.is_none());
    machine.synced(at(10_010), beat.id, stay(false));
    assert!(machine.over_because(at(10_010)).is_some());
    // It does not stay when its time is up.
    let mut machine = self::machine();
    let first = machine.next_sync(at(0)).unwrap();
    machine.synced(at(10), first.id, stay(true));
    machine.leave(at(20), "the pilot's allocation ends");
    assert!(machine.over_because(at(20)).is_some());
}

fn told(machine: &mut Machine, now: Moment, what: &[AttemptOrder]) {
    let sync = machine
        .next_sync(now)
        .or_else(|| machine.next_sync(now + COMING));
    let reply = SyncReply {
        orders: what.to_vec(),
        ..SyncReply::default()
    };
    machine.synced(now, sync.unwrap().id, reply);
}

/// By then a pilot speaks again whatever happens.
const COMING: Duration = Duration::from_secs(30);

/// What is reported beside ends.
fn news(machine: &Machine) -> Vec<(u32, &'static str)> {
    let name = |report: &Report| match report.what {
        ReportKind::Started => "started",
        ReportKind::Suspended => "suspended",
        ReportKind::Resumed => "resumed",
        ReportKind::Ended { .. } => "ended",
    };
    let reports = machine.reports.iter();
    reports
        .map(|report| (report.task.index, name(report)))
        .collect()
}

const GIVE_WAY: Order = Order::GiveWay { grace_s: 30 };

/// A machine with a task that runs and is told to give way at 100.
fn giving_way() -> Machine {
    let mut machine = working([0]);
    told(&mut machine, at(100), &[order(0, GIVE_WAY)]);
    assert_eq!(machine.take_steps(), [Step::Terminate(key(0))]);
    machine
}

#[test]
fn who_gives_way_has_its_grace_once() {
    let mut machine = giving_way();
    told(&mut machine, at(20_000), &[order(0, GIVE_WAY)]);
    assert_eq!(machine.take_steps(), [], "told again");
    machine.tick(at(30_099));
    assert_eq!(machine.take_steps(), []);
    machine.tick(at(30_100));
    assert_eq!(machine.take_steps(), [Step::Kill(key(0))]);
    finish(
        &mut machine,
        at(30_200),
        0,
        AttemptEnd::Signaled { signal: 9 },
    );
    let sync = machine.next_sync(at(31_000)).unwrap();
    assert!(matches!(
        ends(&sync)[..],
        [(0, AttemptEnd::HandedBack { .. })]
    ));
}

#[test]
fn what_ends_well_though_it_gives_way_has_succeeded() {
    let mut machine = giving_way();
    machine.exited(at(200), key(0), OK, Used::default());
    let delivers = Step::Deliver {
        key: key(0),
        outputs: true,
    };
    assert_eq!(machine.take_steps(), [delivers]);
    machine.delivered(at(200), key(0), None);
    assert_eq!(ends(&machine.next_sync(at(300)).unwrap()), [(0, OK)]);
}

/// A machine of two cores with a task of both, of 100 MiB and 10 s of walltime, that sleeps since
/// 2000, and one of two cores that runs.
fn asleep() -> Machine {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    let mut reply = leases([0]);
    let payload = &mut reply.leases[0].payload;
    payload.resources.cores = 2;
    payload.resources.memory_mib = 100;
    payload.walltime_s = Some(10);
    machine.synced(at(0), sync.id, reply);
    go_on(&mut machine, at(0));
    told(&mut machine, at(2000), &[order(0, Order::Suspend)]);
    assert_eq!(machine.take_steps(), [Step::Suspend(key(0))]);
    assert!(news(&machine).contains(&(0, "suspended")));
    assert_eq!((machine.free.cores, machine.free.memory_mib), (2, 900));
    let sync = machine.next_sync(at(2100)).unwrap();
    let mut reply = leases([1]);
    reply.leases[0].payload.resources.cores = 2;
    machine.synced(at(2100), sync.id, reply);
    assert_eq!(go_on(&mut machine, at(2100)), [1]);
    machine
}

#[test]
fn a_sleeper_goes_on_when_its_cores_are_free_and_its_walltime_then_too() {
    let mut machine = asleep();
    // Its walltime would have been over long ago.
    machine.tick(at(15_000));
    assert_eq!(machine.take_steps(), []);
    told(&mut machine, at(20_000), &[order(0, Order::Resume)]);
    assert_eq!(machine.take_steps(), [], "its cores are in use");
    machine.exited(at(22_000), key(1), OK, Used::default());
    assert!(machine.take_steps().contains(&Step::Resume(key(0))));
    assert!(news(&machine).contains(&(0, "resumed")));
    assert_eq!((machine.free.cores, machine.free.memory_mib), (0, 900));
    // It ran for 2 s before, and has 8 s left.
    machine.tick(at(29_999));
    assert!(!machine.take_steps().contains(&Step::Terminate(key(0))));
    machine.tick(at(30_000));
    assert!(machine.take_steps().contains(&Step::Terminate(key(0))));
    finish(
        &mut machine,
        at(30_100),
        0,
        AttemptEnd::Signaled { signal: 15 },
    );
    assert_eq!((machine.free.cores, machine.free.memory_mib), (2, 1000));
}

#[test]
fn orders_to_sleep_and_wake_that_come_again_are_answered_again() {
    let mut machine = asleep();
    told(&mut machine, at(9000), &[order(0, Order::Suspend)]);
    assert_eq!(machine.take_steps(), []);
    assert!(news(&machine).contains(&(0, "suspended")));
    finish(&mut machine, at(9100), 1, OK);
    told(&mut machine, at(9200), &[order(0, Order::Resume)]);
    assert!(machine.take_steps().contains(&Step::Resume(key(0))));
    told(&mut machine, at(9300), &[order(0, Order::Resume)]);
    assert_eq!(machine.take_steps(), []);
    assert!(news(&machine).contains(&(0, "resumed")));
}

#[test]
fn a_sleeper_is_woken_to_be_stopped_and_its_cores_are_not_counted_twice() {
    let mut machine = asleep();
    told(&mut machine, at(9000), &[order(0, Order::Cancel)]);
    let steps = [Step::Terminate(key(0)), Step::Resume(key(0))];
    assert_eq!(machine.take_steps(), steps);
    finish(
        &mut machine,
        at(9100),
        0,
        AttemptEnd::Signaled { signal: 15 },
    );
    assert_eq!((machine.free.cores, machine.free.memory_mib), (0, 1000));
    finish(&mut machine, at(9200), 1, OK);
    assert_eq!(machine.free, machine.terms.capacity);
}

#[test]
fn a_pilot_that_drains_hands_back_what_sleeps() {
    let mut machine = asleep();
    let sync = machine.next_sync(at(9000)).unwrap();
    let reply = SyncReply {
        drain: true,
        ..SyncReply::default()
    };
    machine.synced(at(9000), sync.id, reply);
    let steps = [Step::Terminate(key(0)), Step::Resume(key(0))];
    assert_eq!(machine.take_steps(), steps);
    finish(
        &mut machine,
        at(9100),
        0,
        AttemptEnd::Signaled { signal: 15 },
    );
    let sync = machine.next_sync(at(9200)).unwrap();
    assert!(matches!(
        ends(&sync)[..],
        [(0, AttemptEnd::HandedBack { .. })]
    ));
}
