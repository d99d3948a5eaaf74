//! One attempt: started, stopped, and what is reported of it.

use super::*;

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
    machine.exited(at(5011), key(0), KILLED, Used::default());
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
    finish(&mut machine, at(40), 0, TERMINATED);
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
    finish(&mut machine, at(10_100), 1, TERMINATED);
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
fn a_task_that_waits_too_long_goes_elsewhere() {
    let mut machine = working(0..3);
    assert!(machine.next_moment(at(4999)) <= at(5000));
    machine.tick(at(5000));
    let sync = machine.next_sync(at(5005)).unwrap();
    assert!(hands_back(&sync, 2));
}
