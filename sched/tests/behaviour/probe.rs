//! Probes: pilots that get no task.

use fairway_model::{PilotEnd, PilotId, PilotOwner, PilotState, PolicyKind, SiteMode};
use fairway_sched::command::Observation;
use fairway_sched::{Command, RefusedKind, Reply};

use crate::world::{HOUR_S, World, ce, sweep, user};

fn probe(world: &mut World, name: &str) -> Result<PilotId, RefusedKind> {
    let command = Command::ProbePilot {
        ce: ce(&format!("lyon/{name}")),
        hash: "secret".into(),
        by: user("admin"),
    };
    match world.ask(command) {
        Ok(Reply::Planned(pilots)) => Ok(pilots[0].id),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => Err(refused.kind),
    }
}

fn close(world: &mut World) {
    world
        .ask(Command::SetMode {
            site: "lyon".parse().unwrap(),
            ce: None,
            mode: SiteMode::Closed,
            by: user("admin"),
        })
        .unwrap();
}

#[test]
fn a_probe_calls_home_gets_no_task_and_ends() {
    let mut world = World::new(PolicyKind::Fifo, &["a"]);
    let pilot = probe(&mut world, "a").unwrap();
    assert_eq!(world.rows.pilots[&pilot].owner, PilotOwner::Probe);
    assert!(world.rows.pilots[&pilot].walltime_s < HOUR_S);
    world.submit("alice", &sweep(1, ""));
    // The task is not laid onto it, and it is not called back for want of one.
    let plan = world.plan();
    assert_eq!((plan.orders.len(), plan.recalls.len()), (1, 0));
    world.register(pilot, "nonce", 1).unwrap();
    // As after a restart of the server in between.
    world.reload();
    let want = Some(world.wish(pilot, 0));
    let synced = world.sync(pilot, Vec::new(), &[], want);
    assert!(synced.grants.is_empty() && synced.drain);
    let reason = "drained".into();
    world.ask(Command::Goodbye { pilot, reason }).unwrap();
    assert_eq!(world.rows.pilots[&pilot].state, PilotState::Ended);
    assert_eq!(
        world.plan().orders.len(),
        1,
        "work that waits is no reason to back off"
    );
}

#[test]
fn what_is_closed_or_full_can_be_tried_but_only_once_at_a_time() {
    let mut world = World::new(PolicyKind::Fifo, &["a", "b"]);
    close(&mut world);
    let first = probe(&mut world, "a").unwrap();
    assert_eq!(probe(&mut world, "a"), Err(RefusedKind::Conflict));
    assert_eq!(probe(&mut world, "c"), Err(RefusedKind::NotFound));
    probe(&mut world, "b").unwrap();
    let end = PilotEnd::Cancelled {
        reason: "it did not start in time".into(),
    };
    world.ask(Command::EndPilot { pilot: first, end }).unwrap();
    let second = probe(&mut world, "a").unwrap();
    world.register(second, "nonce", 1).unwrap();
    assert_eq!(world.rows.pilots[&second].state, PilotState::Draining);
}

#[test]
fn a_probe_that_is_refused_keeps_nobody_from_the_ce() {
    let mut world = World::new(PolicyKind::Fifo, &["a"]);
    world.submit("alice", &sweep(1, ""));
    let pilot = probe(&mut world, "a").unwrap();
    let reason = "no such account".into();
    world.observe(pilot, Observation::Refused { reason });
    assert_eq!(world.plan().orders.len(), 1);
}

#[test]
fn a_probe_that_nobody_waits_for_is_called_back() {
    let mut world = World::new(PolicyKind::Fifo, &["a"]);
    let pilot = probe(&mut world, "a").unwrap();
    world.observe(
        pilot,
        Observation::Submitted {
            batch_id: "7".into(),
        },
    );
    world.pass(3000);
    assert!(world.plan().recalls.is_empty());
    world.pass(1000);
    assert_eq!(world.plan().recalls[0].0, pilot);
}
