//! Payloads that give way, stopped or asleep.

use super::*;

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
    finish(&mut machine, at(30_200), 0, KILLED);
    let sync = machine.next_sync(at(31_000)).unwrap();
    assert!(hands_back(&sync, 0));
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
    finish(&mut machine, at(30_100), 0, TERMINATED);
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
    finish(&mut machine, at(9100), 0, TERMINATED);
    assert_eq!((machine.free.cores, machine.free.memory_mib), (0, 1000));
    finish(&mut machine, at(9200), 1, OK);
    assert_eq!(machine.free, machine.terms.capacity);
}

#[test]
fn a_pilot_that_drains_hands_back_what_sleeps() {
    let mut machine = asleep();
    let sync = machine.next_sync(at(9000)).unwrap();
    machine.synced(at(9000), sync.id, drains());
    let steps = [Step::Terminate(key(0)), Step::Resume(key(0))];
    assert_eq!(machine.take_steps(), steps);
    finish(&mut machine, at(9100), 0, TERMINATED);
    let sync = machine.next_sync(at(9200)).unwrap();
    assert!(hands_back(&sync, 0));
}
