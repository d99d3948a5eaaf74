//! Black holes: a farm of nodes, some of which fail everything at once.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_model::{
    Attempt, AttemptEnd, EventKind, JobId, PilotEnd, PilotId, PolicyKind, TaskId, TaskState,
};
use fairway_sched::command::{AttemptNews, AttemptReport, Observation};
use fairway_sched::{Command, RefusedKind};
use proptest::prelude::*;

use crate::world::{World, ce, exit, sweep, user};

const CE: &str = "lyon/long";

/// How a task behaves where nothing is wrong.
type Behaviour = Box<dyn Fn(&World, TaskId) -> (AttemptEnd, u64)>;

struct Node {
    pilot: Option<PilotId>,
    bad: bool,
    drained: bool,
    /// With the second in which each ends.
    running: BTreeMap<(TaskId, Attempt), (u64, AttemptEnd, u64)>,
}

/// Nodes of one CE, each with a pilot as long as the server will have one there.
struct Farm {
    world: World,
    nodes: Vec<Node>,
    cores: u32,
    second: u64,
    behaviour: Behaviour,
}

fn well(seconds: u64) -> Behaviour {
    Box::new(move |_, _| (exit(0), seconds))
}

impl Farm {
    fn new(bad: &[bool], cores: u32, behaviour: Behaviour) -> Self {
        let mut world = World::new(PolicyKind::Fairshare, &["long"]);
        let mut site = world.state.site(&"lyon".parse().unwrap()).unwrap().clone();
        site.ces[0].shape.cores = cores;
        let by = user("admin");
        let site = Box::new(site);
        world.ask(Command::PutSite { site, by }).unwrap();
        let node = |bad: &bool| Node {
            pilot: None,
            bad: *bad,
            drained: false,
            running: BTreeMap::new(),
        };
        Self {
            world,
            nodes: bad.iter().map(node).collect(),
            cores,
            second: 0,
            behaviour,
        }
    }

    fn host(place: usize) -> String {
        format!("node{place}")
    }

    /// A second passes. A bad node syncs five times in it.
    fn step(&mut self) {
        self.second += 1;
        self.world.pass(1);
        // All that are missing are asked for before the first of them calls home.
        let asked: Vec<Option<PilotId>> = (0..self.nodes.len())
            .map(|place| self.order(place))
            .collect();
        for (place, pilot) in asked.into_iter().enumerate() {
            if let Some(pilot) = pilot {
                let host = Self::host(place);
                self.world
                    .register_on(pilot, "nonce", self.cores, &host)
                    .unwrap();
                self.nodes[place].pilot = Some(pilot);
                self.nodes[place].drained = false;
            }
            for _ in 0..if self.nodes[place].bad { 5 } else { 1 } {
                self.visit(place);
            }
        }
        self.world.ask(Command::Tick).unwrap();
        if self.second.is_multiple_of(16) {
            self.world.state.check().unwrap();
        }
    }

    /// Asks for a pilot that is to run on the node, if that has none and may have one.
    fn order(&mut self, place: usize) -> Option<PilotId> {
        let aside = self.aside().contains(&Self::host(place));
        let missing = self.nodes[place].pilot.is_none() && !aside && self.world.state.waiting() > 0;
        missing.then(|| self.world.planned("long", self.cores))
    }

    fn visit(&mut self, place: usize) {
        let Some(pilot) = self.nodes[place].pilot else {
            return;
        };
        let node = &mut self.nodes[place];
        let over =
            |(_, (at, ..)): &(&(TaskId, Attempt), &mut (u64, AttemptEnd, u64))| *at <= self.second;
        let reports: Vec<AttemptReport> = node
            .running
            .iter_mut()
            .filter(over)
            .map(|((task, attempt), (_, end, took))| AttemptReport {
                task: *task,
                attempt: *attempt,
                what: AttemptNews::Ended {
                    end: end.clone(),
                    wall_ms: *took * 1000,
                    cpu_ms: 0,
                    memory_peak_kib: 0,
                },
            })
            .collect();
        node.running.retain(|_, (at, ..)| *at > self.second);
        let holding: Vec<_> = node.running.keys().copied().collect();
        let want = Some(self.world.wish(pilot, 0));
        let mut synced = self.world.sync(pilot, reports, &holding, want);
        if synced.grants.is_empty() && !synced.drain {
            synced = self.world.serve().remove(&pilot).unwrap_or_default();
        }
        let granted = synced.granted();
        let news = granted.iter().map(|(task, attempt)| AttemptReport {
            task: *task,
            attempt: *attempt,
            what: AttemptNews::Started,
        });
        let news: Vec<_> = news.collect();
        let node = &mut self.nodes[place];
        for (task, attempt) in granted {
            let (end, took) = if node.bad {
                (exit(127), 0)
            } else {
                (self.behaviour)(&self.world, task)
            };
            node.running
                .insert((task, attempt), (self.second + took, end, took));
        }
        node.drained |= synced.drain;
        if !news.is_empty() {
            let holding: Vec<_> = node.running.keys().copied().collect();
            self.world.sync(pilot, news, &holding, None);
        }
        let node = &mut self.nodes[place];
        if node.drained && node.running.is_empty() {
            let reason = "drained".to_owned();
            node.pilot = None;
            self.world.ask(Command::Goodbye { pilot, reason }).unwrap();
        }
    }

    /// Goes on until all tasks are over.
    fn run(&mut self, most_s: u64) {
        for _ in 0..most_s {
            self.step();
            if self.world.state.waiting() + self.world.state.live() == 0 {
                return;
            }
        }
        panic!("not over after {most_s} s");
    }

    fn failed(&self, job: JobId) -> usize {
        let tasks = self.world.rows.tasks_of(job);
        tasks.filter(|task| task.state == TaskState::Failed).count()
    }

    /// What was said of nodes, in order.
    fn told(&self) -> Vec<String> {
        let events = self.world.rows.events.iter();
        events
            .filter_map(|event| match &event.kind {
                EventKind::NodeSetAside { host, .. } => Some(format!("{host} aside")),
                EventKind::NodeProbed { host, .. } => Some(format!("{host} probed")),
                EventKind::NodeReleased { host, .. } => Some(format!("{host} released")),
                _ => None,
            })
            .collect()
    }

    /// What became of the attempts of the first task that failed.
    fn story(&self) -> Vec<String> {
        let failed = |task: &&fairway_model::Task| task.state == TaskState::Failed;
        let Some(task) = self.world.rows.tasks.values().find(failed) else {
            return Vec::new();
        };
        let events = self.world.rows.events.iter();
        events
            .filter_map(|event| match &event.kind {
                EventKind::AttemptEnded {
                    task: id, because, ..
                } if *id == task.id => Some(format!("{} {id} {because}", event.at)),
                _ => None,
            })
            .collect()
    }

    fn aside(&self) -> Vec<String> {
        let aside = self.world.state.set_aside(&ce(CE));
        aside.into_iter().map(|node| node.host).collect()
    }
}

/// One of eight is bad.
fn one_bad() -> Vec<bool> {
    (0..8).map(|place| place == 3).collect()
}

#[test]
fn a_black_hole_swallows_next_to_nothing() {
    for (cores, seconds) in [(1, 30), (1, 1), (16, 300)] {
        let mut farm = Farm::new(&one_bad(), cores, well(seconds));
        let job = farm.world.submit("alice", &sweep(1000, ""));
        farm.run(20_000);
        let failed = farm.failed(job);
        assert!(
            failed < 10,
            "{failed} failed with {cores} cores, {seconds} s each"
        );
        let told = farm.told();
        assert_eq!(told[0], "node3 aside");
        assert!(
            told.iter().all(|told| told.starts_with("node3 ")),
            "{told:?}"
        );
    }
}

#[test]
fn the_evidence_is_in_the_ledger() {
    let mut farm = Farm::new(&one_bad(), 1, well(30));
    farm.world.submit("alice", &sweep(100, ""));
    farm.run(2000);
    let told = farm
        .world
        .rows
        .events
        .iter()
        .find_map(|event| match &event.kind {
            EventKind::NodeSetAside {
                ce, host, evidence, ..
            } => Some(format!("{host} of {ce}: {evidence}")),
            _ => None,
        });
    insta::assert_snapshot!(told.unwrap());
    let because = farm
        .world
        .rows
        .events
        .iter()
        .find_map(|event| match &event.kind {
            EventKind::AttemptEnded {
                because,
                state: TaskState::Waiting,
                ..
            } => Some(because.clone()),
            _ => None,
        });
    insta::assert_snapshot!(because.unwrap());
}

#[test]
fn a_lone_user_with_broken_tasks_sets_nothing_aside() {
    for cores in [1, 8] {
        let broken: Behaviour = Box::new(|_, _| (exit(1), 0));
        let mut farm = Farm::new(&[false; 8], cores, broken);
        let job = farm.world.submit("bob", &sweep(1000, ""));
        farm.run(400);
        assert_eq!(farm.failed(job), 1000);
        assert_eq!(farm.told(), Vec::<String>::new());
    }
}

/// Tasks of `bob` fail at once, all others do well.
fn bob_is_broken(seconds: u64) -> Behaviour {
    Box::new(move |world, task| {
        let owner = &world.rows.jobs[&task.job].0.owner;
        match owner.as_str() {
            "bob" => (exit(1), 0),
            _ => (exit(0), seconds),
        }
    })
}

#[test]
fn a_broken_job_beside_good_ones_sets_nothing_aside() {
    for seconds in [1, 30, 300] {
        let mut farm = Farm::new(&[false; 8], 2, bob_is_broken(seconds));
        let good = farm.world.submit("alice", &sweep(300, ""));
        let bad = farm.world.submit("bob", &sweep(1000, ""));
        farm.run(20_000);
        assert_eq!((farm.failed(good), farm.failed(bad)), (0, 1000));
        assert_eq!(farm.told(), Vec::<String>::new());
    }
}

#[test]
fn a_broken_job_that_is_over_convicts_nobody() {
    let behaviour: Behaviour = Box::new(|world, task| {
        let owner = &world.rows.jobs[&task.job].0.owner;
        let broken = owner.as_str() == "bob" || task.index == 6;
        if broken { (exit(1), 0) } else { (exit(0), 5) }
    });
    let mut farm = Farm::new(&[false; 8], 1, behaviour);
    farm.world.submit("bob", &sweep(200, ""));
    farm.run(200);
    let job = farm.world.submit("alice", &sweep(7, ""));
    farm.run(200);
    assert_eq!(farm.failed(job), 1);
    assert_eq!(farm.told(), Vec::<String>::new());
}

#[test]
fn a_sweep_that_is_broken_from_the_middle_on_leaves_nothing_aside() {
    for (cores, seconds) in [(1, 30), (4, 600)] {
        let second_half: Behaviour = Box::new(move |_, task| match task.index {
            ..500 => (exit(0), seconds),
            _ => (exit(1), 0),
        });
        let mut farm = Farm::new(&[false; 8], cores, second_half);
        let job = farm.world.submit("alice", &sweep(1000, ""));
        farm.run(20_000);
        assert_eq!(farm.failed(job), 500);
        assert_eq!(farm.aside(), Vec::<String>::new());
    }
}

#[test]
fn jobs_of_one_task_of_several_users_find_it_out_too() {
    let mut farm = Farm::new(&one_bad(), 1, well(30));
    let jobs: Vec<JobId> = (0..400)
        .map(|n| {
            let owner = ["alice", "bob", "carol"][n % 3];
            farm.world.submit(owner, &sweep(1, ""))
        })
        .collect();
    farm.run(5000);
    let failed: usize = jobs.iter().map(|job| farm.failed(*job)).sum();
    assert!(failed < 4, "{failed} failed");
    assert_eq!(farm.told()[0], "node3 aside");
}

#[test]
fn its_victims_keep_their_retries() {
    let mut farm = Farm::new(&one_bad(), 4, well(60));
    let job = farm.world.submit("alice", &sweep(500, "RetryCount = 2;"));
    farm.run(10_000);
    assert_eq!(farm.failed(job), 0, "{:#?}", farm.story());
    let retries: u32 = farm
        .world
        .rows
        .tasks_of(job)
        .map(|task| task.deep_failures)
        .sum();
    assert!(retries <= 1, "{retries} retries were used");
}

#[test]
fn it_is_probed_with_one_task_at_a_time_until_it_does_well() {
    let mut farm = Farm::new(&one_bad(), 4, well(60));
    farm.world.submit("alice", &sweep(100_000, ""));
    while farm.aside().is_empty() {
        farm.step();
    }
    let began = farm.second;
    while farm.told().len() < 3 {
        farm.step();
    }
    assert_eq!(farm.told(), ["node3 aside", "node3 probed", "node3 aside"]);
    let span = farm.second - began;
    assert!((600..610).contains(&span), "probed after {span} s");
    let until = farm.world.state.set_aside(&ce(CE))[0].until;
    let twice = until.since(farm.world.now);
    assert!(twice > Duration::from_secs(1190), "{twice:?}");
    farm.nodes[3].bad = false;
    while farm.told().len() < 4 {
        farm.step();
    }
    assert_eq!(farm.told()[3], "node3 probed");
    while farm.told().len() < 5 {
        farm.step();
        assert!(farm.nodes[3].running.len() <= 1 || farm.told().len() == 5);
    }
    assert_eq!(farm.told()[4], "node3 released");
    farm.step();
    farm.step();
    assert_eq!(farm.nodes[3].running.len(), 4);
}

#[test]
fn a_pilot_that_comes_from_there_is_sent_away() {
    let mut farm = Farm::new(&one_bad(), 1, well(30));
    farm.world.submit("alice", &sweep(1000, ""));
    while farm.aside().is_empty() {
        farm.step();
    }
    let pilot = farm.world.pilot_on("long", 1, "node3");
    let want = Some(farm.world.wish(pilot, 0));
    let synced = farm.world.sync(pilot, Vec::new(), &[], want);
    assert!(synced.drain && synced.grants.is_empty());
    // The node of the same name at another CE is another node.
    assert!(farm.world.state.set_aside(&ce("lyon/short")).is_empty());
}

#[test]
fn an_operator_can_release_it() {
    let mut farm = Farm::new(&one_bad(), 1, well(30));
    farm.world.submit("alice", &sweep(1000, ""));
    while farm.aside().is_empty() {
        farm.step();
    }
    let release = |host: &str| Command::ReleaseNode {
        ce: ce(CE),
        host: host.into(),
        by: user("root"),
    };
    let refused = farm.world.ask(release("node4")).unwrap_err();
    assert_eq!(refused.kind, RefusedKind::NotFound);
    farm.world.ask(release("node3")).unwrap();
    assert_eq!(farm.aside(), Vec::<String>::new());
    assert_eq!(farm.told(), ["node3 aside", "node3 released"]);
    assert!(farm.world.ask(release("node3")).is_err());
}

#[test]
fn pilots_that_die_at_once_set_their_node_aside() {
    let mut farm = Farm::new(&[false; 4], 1, well(30));
    farm.world.submit("alice", &sweep(1000, ""));
    for _ in 0..40 {
        farm.step();
    }
    for _ in 0..5 {
        let pilot = farm.world.pilot_on("long", 1, "rotten");
        farm.world.pass(1);
        let detail = "FAILED".into();
        farm.world.observe(pilot, Observation::Ended { detail });
    }
    assert_eq!(farm.aside(), ["rotten"]);
    // Those that are called back say nothing.
    for _ in 0..5 {
        let pilot = farm.world.pilot_on("long", 1, "fine");
        let reason = "no work".into();
        let end = PilotEnd::Cancelled { reason };
        farm.world.ask(Command::EndPilot { pilot, end }).unwrap();
    }
    assert_eq!(farm.aside(), ["rotten"]);
}

#[test]
fn a_ce_whose_nodes_are_all_set_aside_backs_off() {
    let mut farm = Farm::new(&[false; 8], 1, well(30));
    farm.world.submit("alice", &sweep(1000, ""));
    // Nodes of another CE speak against the only one that is known here.
    let mut site = farm
        .world
        .state
        .site(&"lyon".parse().unwrap())
        .unwrap()
        .clone();
    site.ces
        .push(fairway_model::Ce::new("rotten".parse().unwrap()));
    let (site, by) = (Box::new(site), user("admin"));
    farm.world.ask(Command::PutSite { site, by }).unwrap();
    farm.world.publish("rotten", |_| {});
    for _ in 0..40 {
        farm.step();
    }
    let rotten = ce("lyon/rotten");
    let pilot = farm.world.pilot_on("rotten", 1, "node1");
    while farm.world.state.set_aside(&rotten).is_empty() {
        farm.world.pass(1);
        farm.world.ask(Command::Tick).unwrap();
        let want = Some(farm.world.wish(pilot, 0));
        let granted = farm.world.sync(pilot, Vec::new(), &[], want).granted();
        for attempt in granted {
            farm.world.end(pilot, attempt, exit(1));
        }
    }
    let (until, because) = farm
        .world
        .state
        .backing_off(&rotten, farm.world.now)
        .unwrap();
    assert_eq!(until, farm.world.state.set_aside(&rotten)[0].until);
    assert_eq!(because, "every node that is known there is set aside");
    assert!(
        farm.world
            .state
            .backing_off(&ce(CE), farm.world.now)
            .is_none()
    );
}

#[test]
fn what_all_nodes_have_in_common_sets_at_most_half_of_them_aside() {
    let mut farm = Farm::new(&[false; 8], 2, well(5));
    let job = farm.world.submit("alice", &sweep(2000, ""));
    farm.world.submit("bob", &sweep(2000, ""));
    for _ in 0..60 {
        farm.step();
    }
    farm.nodes.iter_mut().for_each(|node| node.bad = true);
    farm.run(2000);
    assert!(farm.failed(job) > 0);
    assert!(farm.aside().len() <= 4, "{:?}", farm.aside());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn bad_nodes_are_named_and_good_ones_are_not(
        bad in 0..8_usize,
        cores in 1..9_u32,
        seconds in 1..20_u64,
        broken in 0..150_u32,
    ) {
        let nodes: Vec<bool> = (0..8).map(|place| place == bad).collect();
        let mut farm = Farm::new(&nodes, cores, bob_is_broken(seconds));
        let good = farm.world.submit("alice", &sweep(300, ""));
        if broken > 0 {
            farm.world.submit("bob", &sweep(broken, ""));
        }
        farm.run(40_000);
        let failed = farm.failed(good);
        prop_assert!(failed < 3, "{failed} failed: {:#?}", farm.story());
        let name = Farm::host(bad);
        let told = farm.told();
        // In a few seconds nobody can tell.
        let aside = told.contains(&format!("{name} aside"));
        prop_assert!(aside || farm.second < 60, "{told:?}");
        prop_assert!(farm.aside().iter().all(|host| *host == name), "{told:?}");
    }
}
