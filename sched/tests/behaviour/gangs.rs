//! Tasks on several nodes: all of them or none, together on one allocation.

use fairway_model::event::TaskVerb;
use fairway_model::policy::{Limit, Qos, Who};
use fairway_model::{
    Attempt, AttemptEnd, EventKind, Order, PilotId, PilotShape, PilotState, Policy, PolicyKind,
    TaskId, TaskState,
};
use fairway_sched::Command;
use fairway_sched::command::{Observation, Selection};
use fairway_sched::explain::explain;

use crate::world::{HOUR_S, World, exit, site, sweep};

const THREE_HOSTS: &str = "CpuNumber = 6; HostNumber = 3;";

/// A world with one CE whose allocations have so many nodes of four cores.
fn world(nodes: u32) -> World {
    let mut world = World::new(PolicyKind::Fifo, &["wide"]);
    let mut site = site(&["wide"]);
    site.ces[0].shape = PilotShape {
        cores: 4,
        nodes,
        walltime_s: HOUR_S,
        ..PilotShape::default()
    };
    world.describe(site);
    world
}

/// Every pilot wishes for work; gives back what was granted, with the pilot.
fn all_pull(world: &mut World, pilots: &[PilotId]) -> Vec<(PilotId, (TaskId, Attempt))> {
    let mut granted = Vec::new();
    // A second time, as the first answer may only have been whether to stay.
    for pilot in pilots.iter().chain(pilots) {
        let holding = held(world, *pilot);
        for attempt in world.pull(*pilot, &holding) {
            granted.push((*pilot, attempt));
        }
    }
    for (pilot, synced) in world.serve() {
        granted.extend(synced.granted().into_iter().map(|it| (pilot, it)));
    }
    granted
}

fn held(world: &World, pilot: PilotId) -> Vec<(TaskId, Attempt)> {
    let tasks = world.state.pilot(pilot).unwrap().tasks.into_iter();
    tasks.map(|task| (task, world.row(task).attempt)).collect()
}

fn free(world: &World, pilots: &[PilotId]) -> Vec<u32> {
    let free = |pilot: &PilotId| world.state.pilot(*pilot).unwrap().free.cores;
    pilots.iter().map(free).collect()
}

fn refusals(world: &World, task: TaskId) -> String {
    let explained = explain(&world.state, task, world.now).unwrap();
    let refusals = explained.ces.iter().flat_map(|ce| &ce.refusals);
    let lines: Vec<String> = refusals
        .map(|refusal| format!("{}: {}", refusal.clause, refusal.because))
        .collect();
    lines.join("\n")
}

#[test]
fn a_gang_starts_when_the_last_of_its_nodes_has_come() {
    let mut world = world(4);
    let job = world.submit("alice", &sweep(1, THREE_HOSTS));
    let pilots: Vec<PilotId> = world.carry_out().iter().map(|it| it.id).collect();
    assert_eq!(pilots.len(), 4);
    for (n, pilot) in pilots[..2].iter().enumerate() {
        let host = format!("node{n}");
        world.register_on(*pilot, "nonce", 4, &host).unwrap();
        assert!(world.pull(*pilot, &[]).is_empty());
        assert!(
            world.pull(*pilot, &[]).is_empty(),
            "it was told to stay, and waits"
        );
    }
    assert_eq!(
        free(&world, &pilots[..2]),
        [4, 4],
        "nothing is held before all is there"
    );
    assert_eq!(world.state_of(job, 0), TaskState::Waiting);
    world.register_on(pilots[3], "nonce", 4, "node3").unwrap();
    let want = Some(world.wish(pilots[3], 0));
    let synced = world.sync(pilots[3], Vec::new(), &[], want);
    let grant = &synced.grants[0];
    assert_eq!(grant.resources.cores, 2);
    let hosts: Vec<_> = grant.hosts.iter().map(|it| (&*it.name, it.cores)).collect();
    assert_eq!(hosts, [("node3", 2), ("node0", 2), ("node1", 2)]);
    assert_eq!(world.row(grant.task).seats, pilots[..2]);
    assert_eq!(free(&world, &[pilots[0], pilots[1], pilots[3]]), [2, 2, 2]);
    // The others have known that they are to stay since they came.
    assert!(world.serve().is_empty());
}

#[test]
fn pilots_of_two_allocations_make_no_gang() {
    let mut world = world(2);
    let job = world.submit("alice", &sweep(1, THREE_HOSTS));
    let pilots = [world.together("wide", 4, 2), world.together("wide", 4, 2)].concat();
    assert!(all_pull(&mut world, &pilots).is_empty());
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(job, 0)),
        @"nodes: an allocation has 2 of the 3 nodes needed"
    );
    assert!(world.plan().orders.is_empty());
}

#[test]
fn all_nodes_are_given_or_none() {
    let mut world = world(3);
    let pilots = world.together("wide", 4, 3);
    // One node has three of its four cores in use.
    world.submit("bob", &sweep(1, "CpuNumber = 3;"));
    let busy = world.pull_one(pilots[0]);
    let job = world.submit("alice", &sweep(1, THREE_HOSTS));
    assert!(all_pull(&mut world, &pilots).is_empty());
    assert_eq!(free(&world, &pilots), [1, 4, 4]);
    let explained = explain(&world.state, TaskId::new(job, 0), world.now).unwrap();
    insta::assert_snapshot!(
        explained.summary,
        @"It is next in the queue; 1 of 1 CEs could run it, 3 pilots are at work. It needs 3 nodes of one allocation at the same time; 2 have room now."
    );
    world.end(pilots[0], busy, exit(0));
    assert_eq!(all_pull(&mut world, &pilots).len(), 1);
    assert_eq!(free(&world, &pilots), [2, 2, 2]);
}

#[test]
fn gangs_and_single_tasks_share_an_allocation() {
    let mut world = world(3);
    let pilots = world.together("wide", 4, 3);
    assert!(
        all_pull(&mut world, &pilots).is_empty(),
        "all wait for work"
    );
    world.submit("alice", &sweep(2, "CpuNumber = 3; SMPGranularity = 1;"));
    world.submit("bob", &sweep(1, "CpuNumber = 2; HostNumber = 2;"));
    world.submit("carol", &sweep(9, ""));
    let served = world.serve().into_values();
    let granted: usize = served.map(|synced| synced.grants.len()).sum();
    // Two gangs on three nodes and one on two leave 1 + 1 + 2 cores.
    assert_eq!(granted, 3 + 4);
    assert_eq!(free(&world, &pilots), [0, 0, 0]);
    world.state.check().unwrap();
}

#[test]
fn no_task_waits_at_a_pilot_with_a_seat() {
    let mut world = world(2);
    let pilots = world.together("wide", 2, 2);
    world.submit("alice", &sweep(1, "CpuNumber = 2; HostNumber = 2;"));
    assert_eq!(all_pull(&mut world, &pilots).len(), 1);
    world.submit("bob", &sweep(9, ""));
    // The first is the lead, or has the seat: a backlog is for the lead only.
    for pilot in pilots {
        let lead = !world.state.pilot(pilot).unwrap().tasks.is_empty();
        let holding = held(&world, pilot);
        let want = Some(world.wish(pilot, 3));
        let granted = world.sync(pilot, Vec::new(), &holding, want).granted();
        assert_eq!(granted.len(), if lead { 4 } else { 1 });
    }
}

/// A gang that runs on three of four nodes: its pilots, the lead's place, and the attempt.
fn running() -> (World, Vec<PilotId>, PilotId, (TaskId, Attempt)) {
    let mut world = world(4);
    world.submit("alice", &sweep(1, THREE_HOSTS));
    let pilots = world.together("wide", 4, 4);
    let (lead, attempt) = all_pull(&mut world, &pilots)[0];
    world.start(lead, attempt);
    let seats = world.row(attempt.0).seats.clone();
    (world, seats, lead, attempt)
}

#[test]
fn usage_counts_the_cores_of_all_nodes() {
    let (mut world, seats, lead, attempt) = running();
    world.pass(10);
    world.ask(Command::Tick).unwrap();
    world.end(lead, attempt, exit(0));
    assert_eq!(world.rows.usage[&attempt].cores, 6);
    let used = world.rows.shares.values().next().unwrap();
    assert_eq!(used.core_ms, 60_000);
    assert_eq!(free(&world, &seats), [4, 4]);
}

#[test]
fn a_lost_node_ends_the_attempt_and_its_lead_is_told() {
    let (mut world, seats, lead, (task, attempt)) = running();
    // The lead waits for an answer.
    assert!(world.pull(lead, &[(task, attempt)]).is_empty());
    world.observe(
        seats[0],
        Observation::Ended {
            detail: "NODE_FAIL".into(),
        },
    );
    world.state.check().unwrap();
    let row = world.row(task).clone();
    assert_eq!((row.state, row.losses), (TaskState::Waiting, 1));
    let Some(AttemptEnd::PilotLost { reason }) = row.last_end else {
        panic!("{:?}", row.last_end);
    };
    insta::assert_snapshot!(
        reason,
        @"pilot p1 on node1, one of its 3 nodes, lost: it is over in the batch system: NODE_FAIL"
    );
    let served = world.serve();
    assert_eq!(served[&lead].orders, [(task, attempt, Order::WriteOff)]);
    assert_eq!(free(&world, &[seats[1]]), [4], "its other node is free");
    // Three nodes are left: it runs again, as another attempt.
    let rest: Vec<PilotId> = world.state.pilots_live().map(|it| it.id).collect();
    assert_eq!(rest.len(), 3);
    let again = all_pull(&mut world, &rest);
    assert_eq!(again[0].1, (task, Attempt(2)));
}

#[test]
fn a_node_that_leaves_in_good_order_costs_no_loss() {
    let (mut world, seats, lead, (task, attempt)) = running();
    let reason = "the pilot's allocation ends".to_owned();
    let pilot = seats[0];
    world.ask(Command::Goodbye { pilot, reason }).unwrap();
    assert_eq!(world.row(task).losses, 0);
    assert_eq!(world.row(task).state, TaskState::Waiting);
    let synced = world.sync(lead, Vec::new(), &[(task, attempt)], None);
    assert_eq!(synced.orders, [(task, attempt, Order::WriteOff)]);
}

#[test]
fn a_lead_that_did_not_hear_it_is_told_again() {
    let (mut world, seats, lead, (task, attempt)) = running();
    world.kill(seats[1]).unwrap();
    // What we end ourselves does not count against the task.
    assert_eq!(world.row(task).losses, 0);
    world.reload();
    let synced = world.sync(lead, Vec::new(), &[(task, attempt)], None);
    assert_eq!(synced.orders, [(task, attempt, Order::WriteOff)]);
    let late = world.end(lead, (task, attempt), exit(0));
    assert_eq!(late.orders, [(task, attempt, Order::WriteOff)]);
    assert_eq!(world.row(task).state, TaskState::Waiting);
}

#[test]
fn losses_are_counted_until_the_task_fails() {
    let mut world = world(3);
    world.settings.losses_max = 1;
    world.reload();
    let job = world.submit("alice", &sweep(1, THREE_HOSTS));
    for state in [TaskState::Waiting, TaskState::Failed] {
        let pilots = world.together("wide", 4, 3);
        let (lead, attempt) = all_pull(&mut world, &pilots)[0];
        world.start(lead, attempt);
        let seat = world.row(attempt.0).seats[0];
        world.observe(
            seat,
            Observation::Ended {
                detail: "NODE_FAIL".into(),
            },
        );
        assert_eq!(world.state_of(job, 0), state);
        for pilot in pilots.iter().filter(|pilot| **pilot != seat) {
            world.kill(*pilot).unwrap();
        }
    }
}

#[test]
fn a_lost_lead_frees_the_other_nodes() {
    let (mut world, seats, lead, (task, _)) = running();
    world.observe(
        lead,
        Observation::Ended {
            detail: "NODE_FAIL".into(),
        },
    );
    assert_eq!(world.row(task).losses, 1);
    assert_eq!(free(&world, &seats), [4, 4]);
    world.state.check().unwrap();
}

#[test]
fn seats_come_back_after_a_restart() {
    let (mut world, seats, lead, attempt) = running();
    world.reload();
    world.state.check().unwrap();
    let explained = explain(&world.state, attempt.0, world.now).unwrap();
    insta::assert_snapshot!(
        explained.summary,
        @"It runs with pilot p3 and 2 more at lyon/wide."
    );
    assert_eq!(free(&world, &seats), [2, 2]);
    assert_eq!(world.state.pilot(seats[0]).unwrap().seats, [attempt.0]);
    // A grant whose reply was lost names the same hosts.
    let want = Some(world.wish(lead, 0));
    let again = world.sync(lead, Vec::new(), &[], want);
    let hosts: Vec<&str> = again.grants[0].hosts.iter().map(|it| &*it.name).collect();
    assert_eq!(hosts, ["node3", "node1", "node2"]);
    world.end(lead, attempt, exit(0));
    assert_eq!(world.rows.usage[&attempt].cores, 6);
}

#[test]
fn a_node_with_a_seat_stays_until_the_gang_is_over() {
    let (mut world, seats, lead, attempt) = running();
    let pilot = seats[0];
    world.ask(Command::DrainPilot { pilot }).unwrap();
    let synced = world.sync(pilot, Vec::new(), &[], None);
    assert!(synced.drain);
    assert_eq!(synced.stay, Some(true));
    world.end(lead, attempt, exit(0));
    let synced = world.sync(pilot, Vec::new(), &[], None);
    assert_eq!(synced.stay, Some(false));
    // One that waits for an answer is told at once, and not twice.
    let pilot = seats[1];
    let mut want = world.wish(pilot, 0);
    want.staying = true;
    let synced = world.sync(pilot, Vec::new(), &[], Some(want));
    assert_eq!(synced.stay, Some(false));
    let want = Some(world.wish(pilot, 0));
    assert_eq!(world.sync(pilot, Vec::new(), &[], want).stay, None);
}

#[test]
fn a_cancelled_gang_is_stopped_by_its_lead_and_frees_its_nodes() {
    let (mut world, seats, lead, (task, attempt)) = running();
    world.change(TaskVerb::Cancel, Selection::Tasks(vec![task]), "alice");
    let synced = world.sync(lead, Vec::new(), &[(task, attempt)], None);
    assert_eq!(synced.orders, [(task, attempt, Order::Cancel)]);
    assert_eq!(free(&world, &seats), [2, 2], "until it has stopped");
    world.end(lead, (task, attempt), AttemptEnd::Cancelled);
    assert_eq!(world.row(task).state, TaskState::Cancelled);
    assert_eq!(free(&world, &seats), [4, 4]);
}

#[test]
fn whole_nodes_go_to_a_gang_that_asks_for_them() {
    let mut world = world(3);
    let mut site = site(&["wide"]);
    site.ces[0].shape = PilotShape {
        cores: 4,
        nodes: 3,
        whole_node: true,
        walltime_s: HOUR_S,
        ..PilotShape::default()
    };
    world.describe(site);
    let pilots = world.planned_together("wide", 4, 3);
    for (pilot, cores) in pilots.iter().zip([4, 6, 8]) {
        world.register(*pilot, "nonce", cores).unwrap();
    }
    world.submit("bob", &sweep(1, ""));
    let busy = world.pull_one(pilots[2]);
    let job = world.submit("alice", &sweep(1, "WholeNodes = true; HostNumber = 3;"));
    assert!(all_pull(&mut world, &pilots).is_empty());
    world.end(pilots[2], busy, exit(0));
    let (lead, attempt) = all_pull(&mut world, &pilots)[0];
    assert_eq!(free(&world, &pilots), [0, 0, 0]);
    world.reload();
    assert_eq!(free(&world, &pilots), [0, 0, 0]);
    world.start(lead, attempt);
    world.end(lead, attempt, exit(0));
    assert_eq!(
        world.rows.usage[&(TaskId::new(job, 0), Attempt(1))].cores,
        18
    );
}

#[test]
fn a_gang_makes_one_allocation_and_several_share_it() {
    let mut world = world(4);
    // Each node holds two parts.
    world.submit("alice", &sweep(2, THREE_HOSTS));
    assert_eq!(world.plan().orders.len(), 1);
    assert_eq!(world.plan().orders[0].nodes, 4);
    world.submit("alice", &sweep(1, THREE_HOSTS));
    assert_eq!(world.plan().orders.len(), 2);
    let pilots = world.carry_out();
    assert_eq!(pilots.len(), 8);
    assert!(world.plan().orders.is_empty());
}

/// Two pilots of four have no work: the allocation is needed for all that.
#[test]
fn an_allocation_with_a_gang_is_not_called_back() {
    let mut world = world(4);
    world.submit("alice", &sweep(1, "CpuNumber = 2; HostNumber = 2;"));
    let pilots = world.carry_out();
    for pilot in &pilots {
        let batch_id = "1".to_owned();
        world.observe(pilot.id, Observation::Submitted { batch_id });
    }
    world.ask(Command::Tick).unwrap();
    world.pass(100);
    world.ask(Command::Tick).unwrap();
    assert!(world.plan().recalls.is_empty());
}

#[test]
fn an_allocation_for_a_gang_is_kept_for_it_until_it_runs() {
    let mut world = world(4);
    let job = world.submit("alice", &sweep(1, THREE_HOSTS));
    let pilots: Vec<PilotId> = world.carry_out().iter().map(|it| it.id).collect();
    world.submit("bob", &sweep(40, ""));
    for (pilot, n) in pilots.iter().zip(1..) {
        world
            .register_on(*pilot, "nonce", 4, &format!("node{n}"))
            .unwrap();
    }
    // Bob's tasks get the node that the gang has no use for, and not the others.
    assert!(all_pull(&mut world, &pilots[..1]).is_empty());
    assert_eq!(world.pull(pilots[3], &[]).len(), 4);
    assert!(all_pull(&mut world, &pilots[..2]).is_empty());
    let mine = world.pull(pilots[2], &[]);
    assert_eq!(mine[0].0, TaskId::new(job, 0));
    assert_eq!(mine.len(), 1 + 2, "what it leaves is bob's");
    assert_eq!(all_pull(&mut world, &pilots).len(), 4);
}

#[test]
fn an_allocation_that_cannot_hold_its_gang_any_more_is_for_all() {
    let mut world = world(3);
    world.submit("alice", &sweep(1, THREE_HOSTS));
    let pilots: Vec<PilotId> = world.carry_out().iter().map(|it| it.id).collect();
    world.submit("bob", &sweep(40, ""));
    world.register_on(pilots[0], "nonce", 4, "node1").unwrap();
    world.register_on(pilots[1], "nonce", 4, "node2").unwrap();
    let mut want = world.wish(pilots[0], 0);
    want.staying = true;
    let synced = world.sync(pilots[0], Vec::new(), &[], Some(want));
    assert!(synced.grants.is_empty() && synced.stay.is_none());
    // The third never calls home.
    let refused = Observation::Ended {
        detail: "NODE_FAIL".into(),
    };
    world.observe(pilots[2], refused);
    assert_eq!(world.pull(pilots[0], &[]).len(), 4);
    // Another allocation is asked for.
    let orders = world.plan().orders;
    assert!(orders.iter().any(|it| it.nodes == 3));
}

#[test]
fn a_limit_on_cores_counts_those_of_all_nodes() {
    let mut world = world(3);
    let pilots = world.together("wide", 4, 3);
    let policy = Policy {
        kind: PolicyKind::Fifo,
        limits: vec![Limit {
            user: Some(Who::Each),
            running_cores_max: Some(8),
            ..Limit::default()
        }],
        ..Policy::default()
    };
    world.set_policy(policy);
    world.submit("alice", &sweep(2, THREE_HOSTS));
    assert_eq!(
        all_pull(&mut world, &pilots).len(),
        1,
        "the second needs 6 more"
    );
    world.state.check().unwrap();
}

/// The cores of a gang on a node are no room there: others give way elsewhere.
#[test]
fn a_seat_is_no_room_for_an_urgent_task() {
    let mut world = world(2);
    let mut policy = Policy {
        kind: PolicyKind::Fifo,
        qos: vec![Qos {
            tier: 1,
            ..serde_json::from_str(r#"{"name": "urgent"}"#).unwrap()
        }],
        ..Policy::default()
    };
    policy.preemption.enabled = true;
    world.set_policy(policy);
    world.submit("alice", &sweep(1, "CpuNumber = 8; HostNumber = 2;"));
    let gang = world.together("wide", 4, 2);
    let (lead, attempt) = all_pull(&mut world, &gang)[0];
    world.start(lead, attempt);
    world.submit("alice", &sweep(4, "Preemptible = true;"));
    let other = world.pilot("wide", 4);
    for attempt in all_pull(&mut world, &[other]) {
        world.start(other, attempt.1);
    }
    world.submit("bob", &sweep(1, "QoS = \"urgent\";"));
    world.pass(61);
    world.ask(Command::Tick).unwrap();
    let orders = world.sync(other, Vec::new(), &[], None).orders;
    assert!(
        matches!(orders[..], [(_, _, Order::GiveWay { .. })]),
        "{orders:?}"
    );
}

#[test]
fn two_gangs_that_want_the_same_nodes_do_not_block_each_other() {
    let mut world = world(3);
    world.submit("alice", &sweep(3, "CpuNumber = 9; HostNumber = 3;"));
    world.submit("bob", &sweep(3, "CpuNumber = 8; HostNumber = 2;"));
    let pilots = world.together("wide", 4, 3);
    let mut over = 0;
    for _ in 0..20 {
        for (lead, attempt) in all_pull(&mut world, &pilots) {
            world.state.check().unwrap();
            world.end(lead, attempt, exit(0));
            over += 1;
        }
    }
    assert_eq!(over, 6);
    let ended = world.rows.events.iter();
    let ended = ended.filter(|it| matches!(it.kind, EventKind::AttemptEnded { .. }));
    assert_eq!(ended.count(), 6);
    let active = world.state.pilots_live();
    assert!(active.into_iter().all(|it| it.state == PilotState::Active));
}
