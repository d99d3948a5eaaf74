//! Wishes for work, and which pilot is given which task.

use fairway_model::event::TaskVerb;
use fairway_model::{AttemptEnd, CeStatus, Order, PolicyKind, TaskState};
use fairway_sched::Command;
use fairway_sched::command::{PilotWant, Selection};

use super::world;
use crate::world::{World, ended, exit, report, site, sweep, user};

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
    let reports = vec![report(lost[0], ended(exit(0)))];
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
    let mut site = site(&["short", "long"]);
    site.ces[0].users = vec![user("bob")];
    world.describe(site);
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
fn a_pilot_that_is_to_leave_gets_no_more_tasks() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    assert_eq!(world.pull(pilot, &[]), []);
    world.ask(Command::DrainPilot { pilot }).unwrap();
    world.submit("alice", &sweep(1, ""));
    let served = world.serve();
    assert!(served[&pilot].drain && served[&pilot].grants.is_empty());
}

#[test]
fn a_ce_out_of_production_takes_no_tasks_without_requirements() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    world.submit("alice", &sweep(1, ""));
    world.publish("short", |state| state.status = CeStatus::Draining);
    assert_eq!(world.pull(pilot, &[]), []);
    world.publish("short", |_| {});
    assert_eq!(world.serve()[&pilot].grants.len(), 1);
}
