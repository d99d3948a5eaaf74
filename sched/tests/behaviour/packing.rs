//! Pilots packed by all that tasks may ask for: ranges of cores, whole nodes, custom resources,
//! tags, memory, GPUs and time.

use std::collections::BTreeMap;

use fairway_model::event::TaskVerb;
use fairway_model::policy::{Limit, Who};
use fairway_model::{Attempt, CustomResources, PilotId, PilotShape, Policy, PolicyKind, TaskId};
use fairway_sched::Command;
use fairway_sched::command::Selection;
use fairway_sched::explain::explain;

use crate::world::{HOUR_S, World, exit, site, sweep};

fn eight_cores() -> World {
    World::described(|ce| ce.shape.cores = 8)
}

fn whole_nodes() -> World {
    World::described(|ce| {
        ce.shape = PilotShape {
            cores: 16,
            whole_node: true,
            walltime_s: HOUR_S,
            ..PilotShape::default()
        };
    })
}

fn fpgas(n: u32) -> CustomResources {
    [("fpga".to_owned(), n)].into_iter().collect()
}

/// The cores that each task of a pilot was given.
fn given(world: &World, pilot: PilotId) -> BTreeMap<TaskId, u32> {
    let tasks = world.rows.tasks.values();
    let own = tasks.filter(|task| task.state.is_live() && task.pilot == Some(pilot));
    own.map(|task| (task.id, task.cores)).collect()
}

fn cores(world: &World, pilot: PilotId) -> Vec<u32> {
    given(world, pilot).into_values().collect()
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

const RANGE: &str = "MinNumberOfProcessors = 2; MaxNumberOfProcessors = 6;";

#[test]
fn a_task_with_a_range_gets_the_cores_that_are_free() {
    let mut world = eight_cores();
    world.submit("alice", &sweep(3, RANGE));
    let pilot = world.pilot("short", 9);
    assert_eq!(world.pull(pilot, &[]).len(), 2);
    assert_eq!(cores(&world, pilot), [6, 3]);
    assert_eq!(world.state.pilot(pilot).unwrap().free.cores, 0);
}

#[test]
fn a_range_needs_its_minimum_and_takes_no_more_than_its_maximum() {
    let mut world = eight_cores();
    world.submit("alice", &sweep(7, ""));
    world.submit("bob", &sweep(1, RANGE));
    let pilot = world.pilot("short", 8);
    let held = world.pull(pilot, &[]);
    assert_eq!(held.len(), 7, "one core is left, and two are needed");
    world.end(pilot, held[0], exit(0));
    world.pull(pilot, &held[1..]);
    assert_eq!(cores(&world, pilot), [1, 1, 1, 1, 1, 1, 2]);
}

#[test]
fn what_a_range_was_given_is_told_accounted_and_comes_back() {
    let mut world = eight_cores();
    world.submit("alice", &sweep(1, RANGE));
    let pilot = world.pilot("short", 5);
    let want = Some(world.wish(pilot, 0));
    let synced = world.sync(pilot, Vec::new(), &[], want);
    assert_eq!(synced.grants[0].resources.cores, 5);
    let attempt = synced.granted()[0];
    world.reload();
    assert_eq!(world.state.pilot(pilot).unwrap().free.cores, 0);
    // It is sent again as it was.
    let want = Some(world.wish(pilot, 0));
    let again = world.sync(pilot, Vec::new(), &[], want);
    assert_eq!(again.grants[0].resources.cores, 5);
    world.start(pilot, attempt);
    world.pass(10);
    world.ask(Command::Tick).unwrap();
    world.end(pilot, attempt, exit(0));
    let usage = &world.rows.usage[&attempt];
    assert_eq!(usage.cores, 5);
    let used = world.rows.shares.values().next().unwrap();
    assert_eq!(used.core_ms, 50_000);
}

#[test]
fn a_range_that_waits_at_a_pilot_has_its_minimum() {
    let mut world = eight_cores();
    world.submit("alice", &sweep(2, RANGE));
    let pilot = world.pilot("short", 6);
    let want = Some(world.wish(pilot, 1));
    let synced = world.sync(pilot, Vec::new(), &[], want);
    let given: Vec<u32> = synced.grants.iter().map(|it| it.resources.cores).collect();
    assert_eq!(given, [6, 2]);
}

/// Bounds a user's running cores.
fn bound_cores(world: &mut World, max: u64) {
    let policy = Policy {
        kind: PolicyKind::Fifo,
        limits: vec![Limit {
            user: Some(Who::Each),
            running_cores_max: Some(max),
            ..Limit::default()
        }],
        ..Policy::default()
    };
    world.set_policy(policy);
}

#[test]
fn a_range_is_not_given_more_than_a_limit_leaves() {
    let mut world = eight_cores();
    bound_cores(&mut world, 7);
    world.submit(
        "alice",
        &sweep(3, "MinNumberOfProcessors = 2; MaxNumberOfProcessors = 4;"),
    );
    let pilot = world.pilot("short", 16);
    world.pull(pilot, &[]);
    assert_eq!(cores(&world, pilot), [4, 3]);
}

#[test]
fn ranges_are_planned_as_they_are_served() {
    let mut world = eight_cores();
    world.publish("short", |state| state.cores_free = Some(64));
    world.submit("alice", &sweep(5, RANGE));
    // Six cores for one, and two for another.
    let pilots = world.carry_out();
    assert_eq!(pilots.len(), 3);
    assert!(world.plan().orders.is_empty());
    let mut served = 0;
    for pilot in pilots {
        world.register(pilot.id, "nonce", 8).unwrap();
        served += world.pull(pilot.id, &[]).len();
    }
    assert_eq!(served, 5);
}

#[test]
fn a_whole_node_is_for_one_task() {
    let mut world = whole_nodes();
    world.submit(
        "alice",
        &sweep(2, "WholeNode = true; NumberOfProcessors = 4;"),
    );
    world.submit("bob", &sweep(2, ""));
    let pilots = world.carry_out();
    assert_eq!(
        pilots.len(),
        3,
        "one for each whole-node task, one for both others"
    );
    let first = pilots[0].id;
    world.register(first, "nonce", 20).unwrap();
    let held = world.pull(first, &[]);
    assert_eq!(held.len(), 1);
    assert_eq!(cores(&world, first), [20], "all that it has");
    assert_eq!(world.state.pilot(first).unwrap().free.memory_mib, 0);
    world.reload();
    assert_eq!(world.state.pilot(first).unwrap().free.cores, 0);
    // One that is not empty is none, nor is a place behind others.
    let second = pilots[1].id;
    world.register(second, "nonce", 20).unwrap();
    world.change(TaskVerb::Hold, Selection::Job(held[0].0.job), "alice");
    let want = Some(world.wish(second, 4));
    let bobs = world.sync(second, Vec::new(), &[], want).granted();
    assert_eq!(bobs.len(), 2);
    world.change(TaskVerb::Release, Selection::Job(held[0].0.job), "alice");
    let want = Some(world.wish(second, 4));
    assert!(
        world
            .sync(second, Vec::new(), &bobs, want)
            .granted()
            .is_empty()
    );
    // Once it is empty it is one.
    world.end(second, bobs[0], exit(0));
    world.end(second, bobs[1], exit(0));
    assert_eq!(world.pull(second, &[]).len(), 1);
}

#[test]
fn a_ce_that_shares_its_nodes_refuses_whole_node_tasks() {
    let mut world = eight_cores();
    let job = world.submit("alice", &sweep(1, "WholeNodes = true;"));
    assert!(world.plan().orders.is_empty());
    let pilot = world.pilot("short", 8);
    assert!(world.pull(pilot, &[]).is_empty());
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(job, 0)),
        @"whole_node: pilots here share their nodes with others, needed whole nodes"
    );
}

#[test]
fn custom_resources_are_counted_on_each_pilot() {
    let mut world = World::described(|ce| {
        ce.shape.cores = 8;
        ce.shape.custom = fpgas(2);
    });
    world.publish("short", |state| state.cores_free = Some(64));
    world.submit("alice", &sweep(5, "CustomResources = [ FPGA = 1 ];"));
    let pilots = world.carry_out();
    assert_eq!(pilots.len(), 3, "two tasks on each");
    assert_eq!(pilots[0].custom, fpgas(2));
    let pilot = pilots[0].id;
    world.register(pilot, "nonce", 8).unwrap();
    let held = world.pull(pilot, &[]);
    assert_eq!(held.len(), 2);
    // What it was asked for with it has, whatever the CE is said to have later.
    let mut site = site(&["short"]);
    site.ces[0].shape.custom = fpgas(1);
    world.describe(site);
    world.state.check().unwrap();
    world.reload();
    assert!(world.pull(pilot, &held).is_empty());
    world.end(pilot, held[0], exit(0));
    assert_eq!(world.pull(pilot, &held[1..]).len(), 1);
}

#[test]
fn a_ce_without_a_custom_resource_refuses_with_both_sides() {
    let mut world = World::described(|ce| ce.shape.custom = fpgas(2));
    let more = "CustomResources = [ fpga = 3; licence_x = 1 ];";
    let job = world.submit("alice", &sweep(1, more));
    assert!(world.plan().orders.is_empty());
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(job, 0)),
        @r"
    custom: a pilot has 2 of the 3 fpga needed
    custom: a pilot has 0 of the 1 licence_x needed
    "
    );
}

#[test]
fn a_ce_may_admit_only_tasks_that_name_its_tags() {
    let mut world = World::described(|ce| {
        ce.tags = vec!["python3".into()];
        ce.tags_required = vec!["GPU".into(), "bigmem".into()];
    });
    let plain = world.submit("alice", &sweep(1, ""));
    let half = world.submit("alice", &sweep(1, "Tags = { \"gpu\", \"python3\" };"));
    assert!(world.plan().orders.is_empty());
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(plain, 0)),
        @"tags: it names the tags none, needed GPU, bigmem"
    );
    insta::assert_snapshot!(
        refusals(&world, TaskId::new(half, 0)),
        @"tags: it names the tags gpu, python3, needed GPU, bigmem"
    );
    // The required ones are published, so that who names them finds them.
    let job = world.submit("alice", &sweep(1, "Tags = { \"gpu\", \"bigmem\" };"));
    assert_eq!(world.plan().orders.len(), 1);
    let pilot = world.pilot("short", 4);
    assert_eq!(world.pull(pilot, &[]), [(TaskId::new(job, 0), Attempt(1))]);
}

#[test]
fn a_pilot_takes_what_its_scarcest_resource_holds() {
    for (more, fit) in [
        ("Memory = 4000;", 8),
        ("Memory = 8000;", 4),
        ("Memory = 8001;", 3),
        ("CpuNumber = 3;", 2),
        ("CpuNumber = 3; Memory = 20000;", 1),
        ("WallTime = 3600;", 8),
        ("WallTime = 3601;", 0),
        ("GPUNumber = 1;", 0),
    ] {
        let mut world = eight_cores();
        world.submit("alice", &sweep(10, more));
        // It has 4000 MiB for each core, no GPU, and an hour left.
        let pilot = world.pilot("short", 8);
        assert_eq!(world.pull(pilot, &[]).len(), fit, "{more}");
    }
}

#[test]
fn different_tasks_share_a_pilot_until_it_is_full() {
    let mut world = eight_cores();
    world.submit("alice", &sweep(1, "CpuNumber = 4; Memory = 20000;"));
    world.submit("bob", &sweep(1, "CpuNumber = 2; Memory = 13000;"));
    world.submit("carol", &sweep(1, "CpuNumber = 2; Memory = 12000;"));
    world.submit("dave", &sweep(9, ""));
    let pilot = world.pilot("short", 8);
    let held = world.pull(pilot, &[]);
    // 32000 MiB: bob's does not fit beside alice's, carol's does, and two of dave's.
    let owners: Vec<String> = world.served();
    assert_eq!(owners, ["alice", "carol", "dave", "dave"]);
    assert_eq!(held.len(), 4);
    let free = world.state.pilot(pilot).unwrap().free;
    assert_eq!((free.cores, free.memory_mib), (0, 0));
}
