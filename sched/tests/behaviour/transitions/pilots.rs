//! Pilots and sites that come and go.

use fairway_model::{PilotEnd, PilotState, PolicyKind, SiteMode, TaskState};
use fairway_sched::command::Observation;
use fairway_sched::{Command, RefusedKind};

use super::world;
use crate::world::{World, exit, site, sweep, user};

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
fn a_ce_that_is_described_again_has_its_pilots_back() {
    let mut world = World::new(PolicyKind::Fifo, &["short", "long"]);
    let [busy, idle] = [(); 2].map(|()| world.pilot("short", 1));
    world.submit("alice", &sweep(1, ""));
    let held = world.pull(busy, &[]);
    assert_eq!(world.pull(idle, &[]), []);
    world.describe(site(&["long"]));
    world.describe(site(&["short", "long"]));
    world.state.check().unwrap();
    assert!(world.serve()[&idle].drain);
    world.end(busy, held[0], exit(0));
    world.state.check().unwrap();
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
