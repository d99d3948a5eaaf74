//! Running tasks give way to waiting ones: only where it helps, no more than are needed, and not
//! the same again and again.

use fairway_model::event::TaskVerb;
use fairway_model::policy::Qos;
use fairway_model::{
    Attempt, AttemptEnd, EventKind, GivesWay, Order, PilotId, Policy, PolicyKind, TaskId, TaskState,
};
use fairway_sched::command::{AttemptNews, Observation, Selection};
use fairway_sched::explain::explain;
use fairway_sched::{Command, Entity, Reply};

use crate::world::{World, exit, sweep};

const POLITE: &str = "Preemptible = true;";
const SLEEPY: &str = "Preemptible = true; Suspendable = true;";
const URGENT: &str = "QoS = \"urgent\";";
const GRACE: Order = Order::GiveWay { grace_s: 30 };

fn policy() -> Policy {
    let named = |name: &str, tier| Qos {
        name: name.to_owned(),
        tier,
        usage_factor: 1.0,
        ..Qos::default()
    };
    let mut policy = Policy {
        kind: PolicyKind::Fifo,
        qos: vec![
            named("urgent", 2),
            named("middle", 1),
            Qos {
                preempts: vec![String::new()],
                ..named("pushy", 0)
            },
            Qos {
                preemptible: true,
                ..named("scavenger", -1)
            },
        ],
        ..Policy::default()
    };
    policy.preemption.enabled = true;
    policy
}

type Leased = Vec<(TaskId, Attempt)>;

/// A world under [`policy`] with a pilot of `cores` cores that was filled with `tasks`, which all
/// run; each is a job of its own.
fn busy(cores: u32, tasks: &[&str]) -> (World, PilotId, Leased) {
    let mut world = World::new(PolicyKind::Fifo, &["long"]);
    set(&mut world, policy());
    let pilot = world.pilot("long", cores);
    let held = fill(&mut world, pilot, tasks);
    (world, pilot, held)
}

fn set(world: &mut World, policy: Policy) {
    world.set_policy(policy);
}

fn fill(world: &mut World, pilot: PilotId, tasks: &[&str]) -> Leased {
    for more in tasks {
        world.submit("alice", &sweep(1, more));
    }
    let held = world.pull(pilot, &[]);
    assert_eq!(held.len(), tasks.len());
    for attempt in &held {
        world.start(pilot, *attempt);
    }
    held
}

/// A minute passes, the pilot is heard of, and the server looks around.
fn a_minute(world: &mut World, pilot: PilotId) -> Vec<(TaskId, Attempt, Order)> {
    world.pass(61);
    world.ask(Command::Tick).unwrap();
    world.sync(pilot, Vec::new(), &[], None).orders
}

/// Time passes in which the pilot is heard of.
fn minutes(world: &mut World, pilot: PilotId, n: u32) {
    for _ in 0..n {
        world.pass(60);
        world.sync(pilot, Vec::new(), &[], None);
    }
}

fn hands_back(world: &mut World, pilot: PilotId, attempt: (TaskId, Attempt)) {
    let reason = "it gave way".to_owned();
    world.end(pilot, attempt, AttemptEnd::HandedBack { reason });
}

fn gave_way(world: &World) -> Vec<(TaskId, TaskId)> {
    let told = world
        .rows
        .events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::TaskGivesWay { task, to, .. } => Some((task, to)),
            _ => None,
        });
    told.collect()
}

fn summary(world: &World, task: TaskId) -> String {
    explain(&world.state, task, world.now).unwrap().summary
}

#[test]
fn a_task_gives_way_and_finishes_later() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    let urgent = TaskId::new(world.submit("bob", &sweep(1, URGENT)), 0);
    assert_eq!(a_minute(&mut world, pilot), [(held[0].0, held[0].1, GRACE)]);
    assert_eq!(gave_way(&world), [(held[0].0, urgent)]);
    insta::assert_snapshot!(summary(&world, urgent), @"Room is being made for it on pilot p1 at lyon/long: 1.0 gives way.");
    insta::assert_snapshot!(summary(&world, held[0].0), @"It gives way to others: pilot p1 at lyon/long has been or will be told to stop it. It goes back to the queue, in its old place.");
    assert_eq!(world.row(held[0].0).state, TaskState::Running);

    hands_back(&mut world, pilot, held[0]);
    let row = world.row(held[0].0);
    assert_eq!(row.state, TaskState::Waiting);
    assert_eq!(
        (row.deep_failures, row.shallow_failures, row.losses),
        (0, 0, 0)
    );
    // It is first in the queue, and yet the room is not its own.
    let next = world.pull_one(pilot);
    assert_eq!(next.0, urgent);
    world.end(pilot, next, exit(0));
    let again = world.pull_one(pilot);
    assert_eq!(again, (held[0].0, Attempt(2)));
    world.end(pilot, again, exit(0));
    let row = world.row(held[0].0);
    assert_eq!(row.state, TaskState::Succeeded);
    assert_eq!(row.preemption.map(|it| it.times), Some(1));
}

#[test]
fn what_ends_well_within_the_grace_has_succeeded() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    world.submit("bob", &sweep(1, URGENT));
    assert_eq!(a_minute(&mut world, pilot).len(), 1);
    world.end(pilot, held[0], exit(0));
    assert_eq!(world.row(held[0].0).state, TaskState::Succeeded);
}

#[test]
fn nobody_gives_way_without_need() {
    // Not enabled; nobody who may; not asked by who may; no wait yet; room elsewhere.
    let (mut world, pilot, _) = busy(1, &[POLITE]);
    set(
        &mut world,
        Policy {
            preemption: Default::default(),
            ..policy()
        },
    );
    world.submit("bob", &sweep(1, URGENT));
    assert!(a_minute(&mut world, pilot).is_empty());

    let (mut world, pilot, _) = busy(1, &[""]);
    world.submit("bob", &sweep(1, URGENT));
    assert!(a_minute(&mut world, pilot).is_empty());

    let (mut world, pilot, _) = busy(1, &[POLITE]);
    world.submit("bob", &sweep(1, ""));
    assert!(
        a_minute(&mut world, pilot).is_empty(),
        "its share is no reason"
    );

    let (mut world, pilot, _) = busy(1, &[POLITE]);
    world.pass(61);
    world.submit("bob", &sweep(1, URGENT));
    world.ask(Command::Tick).unwrap();
    assert!(world.sync(pilot, Vec::new(), &[], None).orders.is_empty());

    let (mut world, pilot, _) = busy(1, &[POLITE]);
    world.submit("bob", &sweep(1, URGENT));
    world.pilot("long", 1);
    assert!(a_minute(&mut world, pilot).is_empty());
    assert!(gave_way(&world).is_empty());
}

#[test]
fn a_pilot_that_comes_soon_is_waited_for_but_not_for_ever() {
    let (mut world, pilot, _) = busy(1, &[POLITE]);
    let coming = world.planned("long", 1);
    let batch_id = "1".to_owned();
    world.observe(coming, Observation::Submitted { batch_id });
    world.submit("bob", &sweep(1, URGENT));
    world.observe(coming, Observation::Running);
    assert!(a_minute(&mut world, pilot).is_empty());
    world.kill(coming).unwrap();
    assert_eq!(a_minute(&mut world, pilot).len(), 1);
}

#[test]
fn who_names_another_quality_of_service_goes_before_it() {
    let (mut world, pilot, _) = busy(1, &[POLITE]);
    world.submit("bob", &sweep(1, "QoS = \"pushy\";"));
    assert_eq!(a_minute(&mut world, pilot).len(), 1);
    // A quality of service speaks for its tasks.
    let (mut world, pilot, _) = busy(1, &["QoS = \"scavenger\";"]);
    world.submit("bob", &sweep(1, ""));
    assert_eq!(a_minute(&mut world, pilot).len(), 1);
}

#[test]
fn the_cheapest_give_way_and_no_more_than_are_needed() {
    // The third, of two cores, has run for a shorter time than the others.
    let (mut world, pilot, _) = busy(4, &[POLITE, POLITE]);
    minutes(&mut world, pilot, 10);
    let held = world.rows.tasks.keys().copied().collect::<Vec<_>>();
    world.submit("alice", &sweep(1, &format!("{POLITE} CpuNumber = 2;")));
    let holding: Vec<_> = held.iter().map(|task| (*task, Attempt(1))).collect();
    let wide = world.pull(pilot, &holding)[0];
    world.start(pilot, wide);
    // Two waiting tasks, one after the other, fit into what the one leaves.
    let urgent = world.submit("bob", &sweep(2, URGENT));
    a_minute(&mut world, pilot);
    assert_eq!(gave_way(&world), [(wide.0, TaskId::new(urgent, 0))]);
    for _ in 0..3 {
        world.pass(5);
        world.ask(Command::Tick).unwrap();
    }
    assert_eq!(gave_way(&world).len(), 1, "room that is being freed counts");
}

#[test]
fn lower_tiers_go_first() {
    let (mut world, pilot, held) = busy(1, &["QoS = \"middle\"; Preemptible = true;"]);
    let other = world.pilot("long", 1);
    minutes(&mut world, pilot, 4);
    let low = fill(&mut world, other, &[POLITE]);
    minutes(&mut world, pilot, 1);
    world.start(pilot, held[0]);
    let urgent = world.submit("bob", &sweep(1, URGENT));
    a_minute(&mut world, pilot);
    assert_eq!(gave_way(&world), [(low[0].0, TaskId::new(urgent, 0))]);
    // The lower tier never gets the higher one's room.
    let (mut world, pilot, _) = busy(1, &["QoS = \"middle\"; Preemptible = true;"]);
    world.submit("bob", &sweep(1, ""));
    assert!(a_minute(&mut world, pilot).is_empty());
}

#[test]
fn who_gave_way_does_not_do_so_again_at_once() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    let mut policy = policy();
    policy.preemption.again_after_s = 600;
    set(&mut world, policy);
    world.submit("bob", &sweep(1, URGENT));
    a_minute(&mut world, pilot);
    hands_back(&mut world, pilot, held[0]);
    let urgent = world.pull_one(pilot);
    world.end(pilot, urgent, exit(0));
    let again = world.pull_one(pilot);
    world.start(pilot, again);
    world.submit("bob", &sweep(1, URGENT));
    assert!(a_minute(&mut world, pilot).is_empty());
    world.reload();
    assert!(a_minute(&mut world, pilot).is_empty());
    minutes(&mut world, pilot, 6);
    assert!(a_minute(&mut world, pilot).is_empty());
    minutes(&mut world, pilot, 1);
    assert_eq!(a_minute(&mut world, pilot).len(), 1);
}

#[test]
fn a_cancel_in_between_takes_nothing_back() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    let urgent = world.submit("bob", &sweep(1, URGENT));
    a_minute(&mut world, pilot);
    world.change(TaskVerb::Cancel, Selection::Job(urgent), "bob");
    hands_back(&mut world, pilot, held[0]);
    // Nobody is there any more for whom the room is kept.
    assert_eq!(world.pull_one(pilot), (held[0].0, Attempt(2)));
}

#[test]
fn a_victim_that_is_cancelled_is_cancelled() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    world.submit("bob", &sweep(1, URGENT));
    a_minute(&mut world, pilot);
    world.change(TaskVerb::Cancel, Selection::Tasks(vec![held[0].0]), "alice");
    let told = world.sync(pilot, Vec::new(), &[], None).orders;
    assert_eq!(told, [(held[0].0, held[0].1, Order::Cancel)]);
    hands_back(&mut world, pilot, held[0]);
    assert_eq!(world.row(held[0].0).state, TaskState::Cancelled);
}

#[test]
fn a_lost_pilot_leaves_no_room_behind() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    let urgent = TaskId::new(world.submit("bob", &sweep(1, URGENT)), 0);
    a_minute(&mut world, pilot);
    world.kill(pilot).unwrap();
    assert_eq!(world.row(held[0].0).state, TaskState::Waiting);
    world.pass(5);
    world.ask(Command::Tick).unwrap();
    assert!(!summary(&world, urgent).contains("Room is being made"));
    let other = world.pilot("long", 2);
    assert_eq!(world.pull(other, &[]).len(), 2);
}

#[test]
fn a_restart_in_between_tells_again() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    world.submit("bob", &sweep(1, URGENT));
    let told = a_minute(&mut world, pilot);
    assert_eq!(told.len(), 1);
    // Told once; again only when nothing was seen of it for a while, or by another server.
    assert!(world.sync(pilot, Vec::new(), &[], None).orders.is_empty());
    world.reload();
    assert_eq!(world.sync(pilot, Vec::new(), &[], None).orders, told);
    world.pass(6);
    assert_eq!(world.sync(pilot, Vec::new(), &[], None).orders, told);
    hands_back(&mut world, pilot, held[0]);
    assert_eq!(world.row(held[0].0).state, TaskState::Waiting);
}

#[test]
fn a_pilot_that_waits_for_work_is_told_at_once() {
    let (mut world, pilot, held) = busy(1, &[POLITE]);
    let want = Some(world.wish(pilot, 0));
    world.sync(pilot, Vec::new(), &held, want);
    world.submit("bob", &sweep(1, URGENT));
    world.pass(61);
    let served = world.serve();
    assert_eq!(served[&pilot].orders, [(held[0].0, held[0].1, GRACE)]);
}

#[test]
fn the_room_is_not_for_others() {
    let (mut world, pilot, held) = busy(2, &[POLITE, POLITE]);
    let urgent = world.submit("bob", &sweep(1, &format!("{URGENT} CpuNumber = 2;")));
    world.submit("carol", &sweep(5, ""));
    assert_eq!(a_minute(&mut world, pilot).len(), 2);
    hands_back(&mut world, pilot, held[0]);
    // One core is free: it waits for the other.
    assert!(world.pull(pilot, &held[1..]).is_empty());
    hands_back(&mut world, pilot, held[1]);
    assert_eq!(world.pull_one(pilot).0.job, urgent);
}

/// A pilot of 2 cores on which a task of both sleeps for an urgent one of both, which runs.
fn asleep() -> (World, PilotId, (TaskId, Attempt), (TaskId, Attempt)) {
    let (mut world, pilot, held) = busy(2, &[&format!("{SLEEPY} CpuNumber = 2; Memory = 100;")]);
    world.submit("bob", &sweep(1, &format!("{URGENT} CpuNumber = 2;")));
    let told = a_minute(&mut world, pilot);
    assert_eq!(told, [(held[0].0, held[0].1, Order::Suspend)]);
    world.report(pilot, held[0], AttemptNews::Suspended);
    let urgent = world.pull(pilot, &held)[0];
    world.start(pilot, urgent);
    (world, pilot, held[0], urgent)
}

#[test]
fn a_suspended_task_goes_on_when_there_is_room_again() {
    let (mut world, pilot, held, urgent) = asleep();
    let row = world.row(held.0);
    assert_eq!(row.gives_way(), Some(GivesWay::Sleeps));
    assert_eq!(row.state, TaskState::Running);
    insta::assert_snapshot!(summary(&world, held.0), @"It is suspended with pilot p1 at lyon/long since 1970-01-01T10:01:01Z, and goes on when its cores are free again.");
    let free = world.state.pilot(pilot).unwrap().free;
    assert_eq!((free.cores, free.memory_mib), (0, 7900));

    // Its room is not for those that it does not give way to.
    world.submit("carol", &sweep(2, ""));
    let told = world.end(pilot, urgent, exit(0));
    assert_eq!(told.orders, [(held.0, held.1, Order::Resume)]);
    assert!(world.pull(pilot, &[held]).is_empty());
    world.report(pilot, held, AttemptNews::Resumed);
    world.end(pilot, held, exit(0));
    assert_eq!(world.row(held.0).state, TaskState::Succeeded);
    assert_eq!(world.pull(pilot, &[]).len(), 2);
}

#[test]
fn it_sleeps_on_while_others_wait_that_go_before() {
    let (mut world, pilot, held, urgent) = asleep();
    let second = world.submit("bob", &sweep(1, URGENT));
    let told = world.end(pilot, urgent, exit(0));
    assert!(told.orders.is_empty());
    let next = world.pull(pilot, &[held])[0];
    assert_eq!(next.0.job, second);
    let told = world.end(pilot, next, exit(0));
    assert_eq!(told.orders, [(held.0, held.1, Order::Resume)]);
}

#[test]
fn sleep_is_not_charged() {
    let (mut world, pilot, held, urgent) = asleep();
    let charged = |world: &World| -> u64 {
        let shares = world.rows.shares.iter();
        let accounts = shares.filter(|((entity, _), _)| matches!(entity, Entity::Account { .. }));
        accounts.map(|(_, used)| used.core_ms).sum()
    };
    assert_eq!(charged(&world), 61_000 * 2);
    minutes(&mut world, pilot, 10);
    world.ask(Command::Tick).unwrap();
    world.reload();
    let told = world.end(pilot, urgent, exit(0)).orders;
    assert_eq!(told, [(held.0, held.1, Order::Resume)]);
    assert_eq!(charged(&world), 61_000 * 2 + 600_000 * 2);
    world.pass(10);
    world.report(pilot, held, AttemptNews::Resumed);
    world.pass(20);
    // Its pilot does not say how long it ran: the server's clock does not count its sleep.
    world.kill(pilot).unwrap();
    assert_eq!(charged(&world), 61_000 * 2 + 600_000 * 2 + 20_000 * 2);
    let record = &world.rows.usage[&held];
    assert_eq!(record.wall_ms, 61_000 + 20_000);
    let row = world.row(held.0);
    assert_eq!(row.state, TaskState::Waiting);
    assert_eq!(row.suspended_since(), None);
}

#[test]
fn late_and_repeated_news_of_sleep_change_nothing() {
    let (mut world, pilot, held, _) = asleep();
    let before = world.history.len();
    world.report(pilot, held, AttemptNews::Suspended);
    world.report(pilot, held, AttemptNews::Resumed);
    assert_eq!(world.history.len(), before);
}

#[test]
fn a_suspended_task_can_be_cancelled() {
    let (mut world, pilot, held, _) = asleep();
    world.change(TaskVerb::Cancel, Selection::Tasks(vec![held.0]), "alice");
    let told = world.sync(pilot, Vec::new(), &[], None).orders;
    assert_eq!(told, [(held.0, held.1, Order::Cancel)]);
    world.end(pilot, held, AttemptEnd::Cancelled);
    assert_eq!(world.row(held.0).state, TaskState::Cancelled);
}

#[test]
fn memory_is_not_freed_by_sleep() {
    let (mut world, pilot, _) = busy(1, &[&format!("{SLEEPY} Memory = 3000;")]);
    world.submit("bob", &sweep(1, &format!("{URGENT} Memory = 2000;")));
    assert!(a_minute(&mut world, pilot).is_empty());
}

#[test]
fn a_round_serves_many() {
    let polite = vec![POLITE; 8];
    let (mut world, pilot, _) = busy(8, &polite);
    world.submit("bob", &sweep(5, URGENT));
    assert_eq!(a_minute(&mut world, pilot).len(), 5);
    let reply = world.ask(Command::Serve).unwrap();
    assert!(matches!(reply, Reply::Served(served) if served.is_empty()));
}

#[test]
fn a_person_can_suspend_and_resume() {
    let (mut world, pilot, held) = busy(1, &["Suspendable = true;"]);
    let job = held[0].0.job;
    let change = |world: &mut World, verb, by| world.change(verb, Selection::Job(job), by);
    let (changed, _) = change(&mut world, TaskVerb::Suspend, "alice");
    assert_eq!(changed, 1);
    let (changed, left) = change(&mut world, TaskVerb::Suspend, "alice");
    assert_eq!((changed, left.len()), (0, 1));
    let told = world.sync(pilot, Vec::new(), &[], None).orders;
    assert_eq!(told, [(held[0].0, held[0].1, Order::Suspend)]);
    world.report(pilot, held[0], AttemptNews::Suspended);
    insta::assert_snapshot!(summary(&world, held[0].0), @"It is suspended with pilot p1 at lyon/long since 1970-01-01T10:00:00Z, as was asked for: resume it.");

    // Its cores are for everybody, and it is not woken by itself.
    world.submit("bob", &sweep(1, ""));
    assert!(a_minute(&mut world, pilot).is_empty());
    let other = world.pull(pilot, &held)[0];
    let (changed, _) = change(&mut world, TaskVerb::Resume, "alice");
    assert_eq!(changed, 1);
    assert!(a_minute(&mut world, pilot).is_empty());
    // From now on it is next there.
    world.submit("bob", &sweep(1, ""));
    let told = world.end(pilot, other, exit(0)).orders;
    assert_eq!(told, [(held[0].0, held[0].1, Order::Resume)]);
    let (_, left) = change(&mut world, TaskVerb::Suspend, "alice");
    insta::assert_snapshot!(left[0], @"1.0: it is about to go on: try again when it does");
    world.report(pilot, held[0], AttemptNews::Resumed);
    let (_, left) = change(&mut world, TaskVerb::Resume, "alice");
    insta::assert_snapshot!(left[0], @"1.0: it is not suspended");
    assert_eq!(world.row(held[0].0).preemption.map(|it| it.times), Some(0));
}

#[test]
fn only_what_can_sleep_and_runs_is_suspended() {
    let (mut world, _, held) = busy(1, &[""]);
    let waiting = world.submit("alice", &sweep(1, "Suspendable = true;"));
    let tasks = vec![held[0].0, TaskId::new(waiting, 0)];
    let (changed, left) = world.change(TaskVerb::Suspend, Selection::Tasks(tasks), "alice");
    assert_eq!(changed, 0);
    let told = [
        "1.0: it does not say `Suspendable = true`",
        "2.0: it does not run",
    ];
    assert_eq!(left, told);
}
