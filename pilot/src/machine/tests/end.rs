//! How a pilot comes to its end, and what keeps it.

use super::*;

fn stay(stay: bool) -> SyncReply {
    SyncReply {
        stay: Some(stay),
        ..SyncReply::default()
    }
}

#[test]
fn drain_finishes_what_is_there() {
    let mut machine = working(0..3);
    let sync = machine.next_sync(at(25)).unwrap();
    machine.synced(at(26), sync.id, drains());
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
    machine.exited(at(1100), key(0), TERMINATED, Used::default());
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
    assert!(hands_back(&sync, 0));
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
