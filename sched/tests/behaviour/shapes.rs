//! Pilots of other shapes than one node for everybody: whole nodes, several nodes, GPUs, and
//! private ones.

use std::collections::BTreeMap;

use fairway_model::event::TaskVerb;
use fairway_model::{
    Ce, PilotId, PilotOwner, PilotShape, PilotSharing, PolicyKind, Resources, TaskId,
};
use fairway_sched::Command;
use fairway_sched::command::{Observation, Selection};
use fairway_sched::explain::explain;

use crate::world::{HOUR_S, World, exit, site, sweep, user};

fn shape(shape: PilotShape) -> impl Fn(&mut Ce) {
    move |ce| {
        ce.shape = PilotShape {
            walltime_s: HOUR_S,
            ..shape.clone()
        }
    }
}

/// Why the CE refuses a task, in one line for each reason.
fn refusals(world: &World, task: TaskId) -> String {
    let explained = explain(&world.state, task, world.now).unwrap();
    let refusals = explained.ces.iter().flat_map(|ce| &ce.refusals);
    let lines: Vec<String> = refusals
        .map(|refusal| format!("{}: {}", refusal.clause, refusal.because))
        .collect();
    lines.join("\n")
}

#[test]
fn one_task_gets_one_allocation_of_as_many_nodes_as_the_shape_has() {
    let mut world = World::described(shape(PilotShape {
        nodes: 4,
        ..PilotShape::default()
    }));
    world.publish("short", |state| state.nodes_free = Some(40));
    world.submit("alice", &sweep(1, ""));
    let pilots = world.carry_out();
    assert_eq!(pilots.len(), 4, "a pilot for each node");
    let first = pilots[0].id;
    assert!(pilots.iter().all(|pilot| pilot.allocation == first));
    // The other three nodes are for others.
    world.submit("bob", &sweep(3, ""));
    assert!(world.plan().orders.is_empty());
    world.submit("bob", &sweep(6, ""));
    assert_eq!(world.plan().orders.len(), 2);
}

#[test]
fn one_task_and_many_free_nodes_make_one_pilot() {
    let mut world = World::described(shape(PilotShape {
        whole_node: true,
        ..PilotShape::default()
    }));
    world.publish("short", |state| {
        state.nodes_free = Some(40);
        state.cores_free = Some(640);
    });
    world.submit("alice", &sweep(1, ""));
    assert_eq!(world.carry_out().len(), 1);
    assert!(world.plan().orders.is_empty());
}

#[test]
fn an_allocation_is_called_back_as_one() {
    let mut world = World::described(shape(PilotShape {
        nodes: 2,
        ..PilotShape::default()
    }));
    let job = world.submit("alice", &sweep(6, ""));
    let pilots: Vec<PilotId> = world.carry_out().iter().map(|pilot| pilot.id).collect();
    assert_eq!(pilots.len(), 6);
    for pilot in &pilots {
        let batch_id = format!("{}", pilot.0.div_ceil(2));
        world.observe(*pilot, Observation::Submitted { batch_id });
    }
    // Of the first one pilot has come; of the second one is needed; of the third none.
    world.register(pilots[0], "nonce", 1).unwrap();
    world.pull_one(pilots[0]);
    let over = [2, 3, 4, 5].map(|index| TaskId::new(job, index));
    world.change(TaskVerb::Cancel, Selection::Tasks(over.to_vec()), "alice");
    world.submit("bob", &sweep(1, ""));
    world.ask(Command::Tick).unwrap();
    world.pass(30);
    let recalled: Vec<_> = world.plan().recalls.into_iter().map(|(id, _)| id).collect();
    assert_eq!(recalled, [pilots[4], pilots[5]]);
}

#[test]
fn whole_nodes_are_planned_as_they_are_published_and_taken_as_they_are() {
    let mut world = World::described(shape(PilotShape {
        cores: 2,
        memory_mib: 1000,
        whole_node: true,
        ..PilotShape::default()
    }));
    world.submit("alice", &sweep(17, "Memory = 2000;"));
    let pilots = world.carry_out();
    assert_eq!(pilots.len(), 2, "16 on one node, 1 on another");
    let asked = Resources {
        cores: 2,
        memory_mib: 1000,
        gpus: 0,
    };
    assert_eq!(pilots[0].resources, asked, "no more is asked for than set");
    world.register(pilots[0].id, "nonce", 20).unwrap();
    assert_eq!(world.pull(pilots[0].id, &[]).len(), 17);
}

#[test]
fn gpus_are_asked_for_and_given_out() {
    let mut world = World::described(shape(PilotShape {
        cores: 8,
        gpus: 2,
        ..PilotShape::default()
    }));
    let job = world.submit("alice", &sweep(5, "GPUNumber = 1;"));
    let orders = world.plan().orders;
    assert_eq!(orders.len(), 3);
    assert_eq!(orders[0].resources.gpus, 2);
    let many = world.submit("alice", &sweep(50, "GPUNumber = 3;"));
    assert_eq!(
        world.plan().orders.len(),
        3,
        "what never fits makes no pilot"
    );
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(many, 0)),
        @"gpus: a pilot has 2 of the 3 GPUs needed"
    );
    assert_eq!(refusals(&world, TaskId::new(job, 0)), "");
}

#[test]
fn what_the_batch_system_allows_one_job_bounds_an_allocation() {
    let mut world = World::described(shape(PilotShape {
        cores: 8,
        nodes: 4,
        ..PilotShape::default()
    }));
    world.publish("short", |state| state.job_nodes_max = Some(3));
    let job = world.submit("alice", &sweep(100, ""));
    assert_eq!(world.plan().orders[0].nodes, 3);
    world.publish("short", |state| state.job_cores_max = Some(16));
    assert_eq!(world.plan().orders[0].nodes, 2);
    world.publish("short", |state| state.job_cores_max = Some(4));
    assert!(world.plan().orders.is_empty());
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(job, 0)),
        @"job_cores_max: an allocation has 8 cores, one job may have 4"
    );
}

#[test]
fn private_pilots_are_asked_for_by_owner_and_take_no_others_tasks() {
    let mut world = World::described(|ce| {
        ce.pilots = PilotSharing::PerUser;
        ce.shape.cores = 4;
    });
    world.submit("alice", &sweep(5, ""));
    world.submit("bob", &sweep(1, ""));
    let pilots = world.carry_out();
    let mut owners: BTreeMap<PilotOwner, Vec<PilotId>> = BTreeMap::new();
    for pilot in pilots {
        owners.entry(pilot.owner).or_default().push(pilot.id);
    }
    let of = |name: &str| PilotOwner::User(user(name));
    assert_eq!(owners[&of("alice")].len(), 2);
    assert_eq!(owners[&of("bob")].len(), 1);
    let bobs = owners[&of("bob")][0];
    world.register(bobs, "nonce", 4).unwrap();
    assert_eq!(world.pull(bobs, &[]).len(), 1);
    // Its three free cores are nobody else's.
    world.submit("carol", &sweep(1, ""));
    assert_eq!(world.plan().orders[0].owner, of("carol"));
    assert_eq!(world.plan().orders.len(), 1);
    // Nor does one that waits for work get what is not its owner's.
    let attempt = world
        .rows
        .tasks
        .values()
        .find(|task| task.pilot == Some(bobs));
    let attempt = attempt.map(|task| (task.id, task.attempt)).unwrap();
    world.end(bobs, attempt, exit(0));
    assert!(world.pull(bobs, &[]).is_empty());
    assert!(world.serve().is_empty());
    world.submit("bob", &sweep(1, ""));
    assert_eq!(world.serve()[&bobs].grants.len(), 1);
}

#[test]
fn owners_get_private_pilots_in_turn() {
    let mut world = World::described(|ce| {
        ce.pilots = PilotSharing::PerUser;
        ce.limits.queued_max = 4;
        ce.limits.per_owner_max = Some(3);
    });
    world.submit("alice", &sweep(50, ""));
    world.submit("bob", &sweep(50, ""));
    let owners: Vec<_> = world.plan().orders.into_iter().map(|it| it.owner).collect();
    let of = |name: &str| PilotOwner::User(user(name));
    assert_eq!(owners, [of("alice"), of("bob"), of("alice"), of("bob")]);
    let mut site = site(&["short"]);
    site.ces[0].pilots = PilotSharing::PerUser;
    site.ces[0].limits.per_owner_max = Some(3);
    world.describe(site);
    assert_eq!(world.carry_out().len(), 6);
    assert!(world.plan().orders.is_empty());
}

#[test]
fn a_user_without_an_account_gets_no_private_pilot() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let mut site = site(&["short"]);
    site.ces[0].pilots = PilotSharing::PerUser;
    site.accounts = BTreeMap::from([(user("bob"), "grid-bob".to_owned())]);
    world.describe(site);
    let job = world.submit("alice", &sweep(1, ""));
    assert!(world.plan().orders.is_empty());
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(job, 0)),
        @"accounts: user alice has no account at site lyon, needed for pilots of their own"
    );
    world.submit("bob", &sweep(1, ""));
    assert_eq!(world.plan().orders.len(), 1);
}

#[test]
fn pilots_of_a_group_serve_its_members() {
    let mut world = World::described(|ce| {
        ce.pilots = PilotSharing::PerGroup;
        ce.shape.cores = 4;
    });
    let alone = world.submit("carol", &sweep(1, ""));
    assert!(world.plan().orders.is_empty());
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(alone, 0)),
        @"group: it is of no group, pilots here are of one group each"
    );
    for user in ["alice", "bob"] {
        world
            .submit_for(user, Some("biomed"), &sweep(2, ""), None)
            .unwrap();
    }
    let pilots = world.carry_out();
    assert_eq!(pilots.len(), 1);
    world.register(pilots[0].id, "nonce", 4).unwrap();
    assert_eq!(world.pull(pilots[0].id, &[]).len(), 4);
}
