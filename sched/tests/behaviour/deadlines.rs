//! Pilots by thresholds and deadlines, and pilots that are kept warm.

use fairway_model::{
    Ce, EventKind, PilotId, PilotOwner, PilotState, PolicyKind, Resources, TaskId, Timestamp,
    WarmSettings,
};
use fairway_sched::command::Observation;
use fairway_sched::explain::explain;
use fairway_sched::provision::{
    Outlook, OutlookKind, PilotOrder, Purpose, deadline_outlook, report,
};
use fairway_sched::{Command, Reply};

use crate::world::{HOUR_S, World, ce, exit, sweep, user};

const BUSY_S: u64 = 600;

/// One CE `long`, changed.
fn world(change: impl FnOnce(&mut Ce)) -> World {
    let mut world = World::new(PolicyKind::Fifo, &["long"]);
    describe(&mut world, change);
    world
}

fn describe(world: &mut World, change: impl FnOnce(&mut Ce)) {
    let mut site = world.state.site(&"lyon".parse().unwrap()).unwrap().clone();
    change(&mut site.ces[0]);
    let (site, by) = (Box::new(site), user("admin"));
    world.ask(Command::PutSite { site, by }).unwrap();
}

/// One CE of 8-core pilots where nothing is free and pilots wait for ten minutes.
fn busy(change: impl FnOnce(&mut Ce)) -> World {
    let mut world = world(|ce| {
        ce.shape.cores = 8;
        ce.shape.memory_mib = 16_000;
        ce.shape.walltime_s = 2 * HOUR_S;
        change(ce);
    });
    let pilot = world.planned("long", 8);
    world.pass(BUSY_S);
    world.register(pilot, "nonce", 8).unwrap();
    let reason = "drained".into();
    world.ask(Command::Goodbye { pilot, reason }).unwrap();
    fill(&mut world);
    world
}

fn fill(world: &mut World) {
    world.publish("long", |state| {
        state.cores_free = Some(0);
        state.jobs_waiting = Some(10);
    });
}

/// A deadline in so many seconds.
fn deadline(world: &World, seconds: u64) -> String {
    let at = world.now.secs().unsigned_abs() + seconds;
    format!("Deadline = {at}; ExpectedDuration = 600; WallTime = 3600; CpuNumber = 2;")
}

fn carry_out(world: &mut World) -> Vec<(PilotId, PilotOrder)> {
    let orders = world.plan().orders;
    let asked: Vec<_> = orders
        .iter()
        .map(|order| {
            let hashes = (0..order.nodes).map(|_| "secret".to_owned());
            (order.clone(), hashes.collect())
        })
        .collect();
    let Ok(Reply::Planned(pilots)) = world.ask(Command::PlanPilots { orders: asked }) else {
        panic!("planning is not refused");
    };
    pilots
        .into_iter()
        .map(|pilot| pilot.id)
        .zip(orders)
        .collect()
}

fn outlook(world: &World, job: fairway_model::JobId) -> Option<Outlook> {
    let needs = world.specs[&job].needs(0);
    deadline_outlook(&world.state, &needs, (&user("alice"), None), world.now)
}

#[test]
fn below_its_threshold_a_ce_gets_no_pilots() {
    let mut world = world(|ce| ce.supply.threshold = 5);
    let job = world.submit("alice", &sweep(5, ""));
    assert_eq!(world.plan().orders, []);
    let told = report(&world.state, &"lyon".parse().unwrap(), world.now).unwrap();
    assert_eq!(told[0].verdict.kind, "threshold");
    assert_eq!(
        told[0].verdict.because,
        "5 tasks that may run here have no pilot, pilots are asked for from 6 on"
    );
    let told = explain(&world.state, TaskId::new(job, 0), world.now).unwrap();
    assert_eq!(told.ces[0].refusals[0].clause, "threshold");
    world.submit("bob", &sweep(1, ""));
    assert_eq!(world.plan().orders.len(), 6);
}

#[test]
fn tasks_with_a_place_do_not_count_for_a_threshold() {
    let mut world = world(|ce| ce.supply.threshold = 5);
    world.planned("long", 4);
    world.submit("alice", &sweep(9, ""));
    assert_eq!(world.plan().orders, []);
    world.submit("alice", &sweep(1, ""));
    assert_eq!(world.plan().orders.len(), 6);
}

#[test]
fn while_there_is_slack_a_deadline_queues_like_others() {
    let mut world = busy(|_| {});
    world.submit("alice", &sweep(8, ""));
    let more = deadline(&world, 4 * 3600);
    world.submit("bob", &sweep(2, &more));
    let orders = carry_out(&mut world);
    let purposes: Vec<_> = orders.iter().map(|(_, order)| order.purpose).collect();
    assert_eq!(purposes, [Purpose::Any, Purpose::Any]);
    assert!(orders.iter().all(|(_, order)| order.resources.cores == 8));
}

#[test]
fn without_slack_its_pilots_come_first_and_are_of_its_size() {
    let mut world = busy(|_| {});
    world.submit("alice", &sweep(8, ""));
    let more = deadline(&world, 600 + 2 * BUSY_S);
    world.submit("bob", &sweep(2, &more));
    let orders = carry_out(&mut world);
    let small = Resources {
        cores: 2,
        memory_mib: 4000,
        gpus: 0,
    };
    for (_, order) in &orders[..2] {
        assert!(matches!(order.purpose, Purpose::Deadline(_)), "{order:?}");
        assert_eq!((order.resources, order.nodes), (small, 1));
        // Ten minutes, and two for the pilot itself.
        assert_eq!(order.walltime_s, 720);
    }
    insta::assert_snapshot!(orders[0].1.because);
    assert_eq!(orders[2].1.purpose, Purpose::Any);
    assert_eq!(orders[2].1.resources.cores, 8);
    assert_eq!(orders.len(), 3);
    assert_eq!(world.plan().orders, [], "they are on their way");
}

#[test]
fn where_cores_are_free_pilots_have_their_usual_cores() {
    let mut world = busy(|_| {});
    world.publish("long", |state| {
        state.cores_free = Some(64);
        state.jobs_waiting = Some(0);
    });
    let more = deadline(&world, 600 + 60);
    world.submit("bob", &sweep(5, &more));
    let orders = carry_out(&mut world);
    let (sizes, walltimes): (Vec<_>, Vec<_>) = orders
        .iter()
        .map(|(_, order)| (order.resources.cores, order.walltime_s))
        .unzip();
    assert_eq!((sizes, walltimes), (vec![8, 8], vec![720, 720]));
}

#[test]
fn its_pilots_serve_it_first_and_by_what_it_expects() {
    let mut world = busy(|_| {});
    let others = world.submit("alice", &sweep(1, "WallTime = 60;"));
    let more = deadline(&world, 600 + 2 * BUSY_S);
    let job = world.submit("bob", &sweep(1, &more));
    let orders = carry_out(&mut world);
    let (pilot, order) = &orders[0];
    assert!(matches!(order.purpose, Purpose::Deadline(_)));
    world.register(*pilot, "nonce", 2).unwrap();
    let mut want = world.wish(*pilot, 0);
    want.remaining_s = 700;
    // Alice was first, but it was not asked for for her.
    let granted = world.sync(*pilot, Vec::new(), &[], Some(want)).granted();
    assert_eq!(granted[0].0, TaskId::new(job, 0));
    assert_eq!(granted.len(), 1);
    world.end(*pilot, granted[0], exit(0));
    let mut want = world.wish(*pilot, 0);
    want.remaining_s = 90;
    let granted = world.sync(*pilot, Vec::new(), &[], Some(want)).granted();
    assert_eq!(granted[0].0, TaskId::new(others, 0), "nothing else is left");
}

#[test]
fn a_deadline_puts_nobody_ahead_on_the_pilots_of_all() {
    let mut world = busy(|_| {});
    let others = world.submit("alice", &sweep(2, ""));
    let more = deadline(&world, 600 + 2 * BUSY_S);
    world.submit("bob", &sweep(2, &more));
    let pilot = world.pilot("long", 8);
    assert_eq!(world.pull(pilot, &[])[0].0, TaskId::new(others, 0));
}

#[test]
fn a_pilot_of_a_deadline_is_called_back_when_its_tasks_are_gone() {
    let mut world = busy(|_| {});
    let more = deadline(&world, 600 + 2 * BUSY_S);
    let job = world.submit("bob", &sweep(1, &more));
    let (pilot, _) = carry_out(&mut world)[0].clone();
    let batch_id = "1".into();
    world.observe(pilot, Observation::Submitted { batch_id });
    world.ask(Command::Tick).unwrap();
    assert_eq!(world.plan().recalls, []);
    let verb = fairway_model::event::TaskVerb::Cancel;
    world.change(verb, fairway_sched::command::Selection::Job(job), "bob");
    world.ask(Command::Tick).unwrap();
    world.pass(60);
    world.ask(Command::Tick).unwrap();
    assert_eq!(world.plan().recalls[0].0, pilot);
}

#[test]
fn limits_hold_for_deadlines_too() {
    let mut world = busy(|ce| ce.limits.pilots_max = 3);
    let more = deadline(&world, 600 + BUSY_S);
    world.submit("bob", &sweep(20, &more));
    assert_eq!(carry_out(&mut world).len(), 3);
}

#[test]
fn what_cannot_be_in_time_is_treated_like_others_and_told() {
    let mut world = busy(|_| {});
    let more = deadline(&world, 500);
    let job = world.submit("alice", &sweep(1, &more));
    let orders = world.plan().orders;
    assert_eq!((orders.len(), orders[0].purpose), (1, Purpose::Any));
    let told = outlook(&world, job).unwrap();
    assert_eq!(told.kind, OutlookKind::Impossible);
    insta::assert_snapshot!(told.because);
}

#[test]
fn the_outlook_is_what_pilots_waited_lately() {
    let mut world = busy(|_| {});
    let mut told = Vec::new();
    for seconds in [4 * 3600, 600 + 2 * BUSY_S, 600 + BUSY_S / 2] {
        let more = deadline(&world, seconds);
        let job = world.submit("alice", &sweep(1, &more));
        let outlook = outlook(&world, job).unwrap();
        told.push(format!("{}: {}", outlook.kind.name(), outlook.because));
    }
    let free = world.submit("alice", &sweep(1, ""));
    assert_eq!(outlook(&world, free), None);
    let more = deadline(&world, 7200) + "Requirements = other.GlueCEName == \"short\";";
    let nowhere = world.submit("alice", &sweep(1, &more));
    let outlook = outlook(&world, nowhere).unwrap();
    told.push(format!("{}: {}", outlook.kind.name(), outlook.because));
    let explained = explain(&world.state, TaskId::new(nowhere, 0), world.now).unwrap();
    assert_eq!(explained.deadline, Some(outlook));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_reservation_begins_just_in_time() {
    let mut world = busy(|ce| ce.supply.reserve = true);
    let more = deadline(&world, 3 * 3600);
    let job = world.submit("alice", &sweep(3, &more));
    let latest = world.now.secs() + 3 * 3600 - 600 - 30;
    let orders = carry_out(&mut world);
    let (reserved, others): (Vec<_>, Vec<_>) = orders
        .iter()
        .partition(|(_, order)| order.reserve_at.is_some());
    assert_eq!(reserved.len(), 1);
    let (pilot, order) = reserved[0];
    assert_eq!(order.reserve_at, Some(Timestamp::from_secs(latest - 60)));
    assert_eq!(order.resources.cores, 6, "all three at a time");
    // Until then they queue like others.
    assert_eq!(others.len(), 1);
    let begins = order.reserve_at.unwrap();
    world.observe(*pilot, Observation::Queued);
    assert_eq!(world.plan().orders, [], "there is one already");
    world.now = begins;
    fill(&mut world);
    world.register(*pilot, "nonce", 6).unwrap();
    let granted = world.pull(*pilot, &[]);
    assert_eq!(granted.len(), 3);
    assert_eq!(granted[0].0, TaskId::new(job, 0));
}

fn warm(pilots: u32) -> World {
    world(|ce| {
        ce.supply.warm = Some(WarmSettings {
            pilots,
            idle_s: 100,
        });
    })
}

#[test]
fn a_warm_set_is_kept_from_the_first_time_critical_task_on() {
    let mut world = warm(3);
    world.submit("bob", &sweep(2, ""));
    world.ask(Command::Tick).unwrap();
    assert!(
        carry_out(&mut world)
            .iter()
            .all(|(_, order)| order.purpose == Purpose::Any)
    );
    world.submit("alice", &sweep(1, "TimeCritical = true;"));
    world.ask(Command::Tick).unwrap();
    let orders = carry_out(&mut world);
    let warm: Vec<PilotId> = orders
        .iter()
        .filter(|(_, order)| order.purpose == Purpose::Warm)
        .map(|(pilot, _)| *pilot)
        .collect();
    assert_eq!((warm.len(), orders.len()), (3, 3));
    assert_eq!(world.plan().orders, []);
    for pilot in &warm[..2] {
        world.register(*pilot, "nonce", 1).unwrap();
    }
    // They are for nobody else.
    let critical = world.pull(warm[0], &[]);
    assert_eq!(world.rows.jobs[&critical[0].0.job].0.owner, user("alice"));
    assert_eq!(world.pull(warm[1], &[]), []);
    world.end(warm[0], critical[0], exit(0));
    world.pass(99);
    world.ask(Command::Tick).unwrap();
    assert_eq!(world.rows.pilots[&warm[1]].state, PilotState::Active);
    world.submit("alice", &sweep(1, "TimeCritical = true;"));
    let served = world.serve();
    assert_eq!(served.len(), 1, "a warm pilot has waited for it");
    let (pilot, synced) = served.into_iter().next().unwrap();
    world.end(pilot, synced.granted()[0], exit(0));
    world.pass(101);
    world.ask(Command::Tick).unwrap();
    for pilot in &warm[..2] {
        assert_eq!(world.rows.pilots[pilot].state, PilotState::Draining);
    }
    let why = world
        .rows
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::PilotChanged { detail, .. } => Some(detail.clone()),
            _ => None,
        });
    assert_eq!(why.unwrap(), "no time-critical task has come for a while");
    let kept = world
        .plan()
        .orders
        .into_iter()
        .filter(|order| order.purpose == Purpose::Warm);
    assert_eq!(kept.count(), 0);
}

#[test]
fn a_warm_set_keeps_its_number_while_pilots_end() {
    let mut world = warm(2);
    world.submit("alice", &sweep(1, "TimeCritical = true;"));
    world.ask(Command::Tick).unwrap();
    let orders = carry_out(&mut world);
    assert_eq!(orders.len(), 2);
    world.register(orders[0].0, "nonce", 1).unwrap();
    let pilot = orders[0].0;
    let reason = "end of its allocation".into();
    world.ask(Command::Goodbye { pilot, reason }).unwrap();
    world.pass(60);
    world.publish("long", |_| {});
    assert_eq!(world.plan().orders.len(), 1);
}

#[test]
fn there_is_no_warm_set_of_private_pilots() {
    let mut world = warm(2);
    describe(&mut world, |ce| {
        ce.pilots = fairway_model::PilotSharing::PerUser
    });
    world.submit("alice", &sweep(1, "TimeCritical = true;"));
    world.ask(Command::Tick).unwrap();
    let orders = world.plan().orders;
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].owner, PilotOwner::User(user("alice")));
    assert_eq!(world.state.set_aside(&ce("lyon/long")), []);
}
