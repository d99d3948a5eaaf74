//! When a pilot speaks, and what it says.

use super::super::talk::BACKLOG_MAX;
use super::*;

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
