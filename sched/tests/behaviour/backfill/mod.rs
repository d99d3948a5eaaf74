//! Room is kept for tasks that do not fit yet, and holes are used.

mod random;

use std::collections::BTreeMap;

use crate::world::{World, ce, ended, exit, report, site, sweep, user};
use fairway_model::policy::Backfill;
use fairway_model::{Attempt, JobId, PilotId, Policy, PolicyKind, Resources, TaskId, Timestamp};
use fairway_sched::explain::explain;
use fairway_sched::{Command, Reservation};

/// A site whose tasks end when they should, and that passes the time from one end to the next.
struct Machine {
    world: World,
    pilots: Vec<PilotId>,
    /// What runs: when it ends, by pilot and attempt.
    running: BTreeMap<(PilotId, (TaskId, Attempt)), Timestamp>,
    /// How long the tasks of a job run.
    lasts_s: BTreeMap<JobId, u64>,
    /// When each task began and ended, in seconds since the beginning.
    history: BTreeMap<TaskId, (u64, u64)>,
    begin: Timestamp,
}

fn set_mode(world: &mut World, kind: PolicyKind, mode: Backfill) {
    let mut policy = Policy {
        kind,
        ..Policy::default()
    };
    policy.backfill.mode = mode;
    world.set_policy(policy);
}

impl Machine {
    fn new(kind: PolicyKind, mode: Backfill, pilots: &[u32]) -> Self {
        let mut world = World::new(kind, &["short"]);
        set_mode(&mut world, kind, mode);
        Self {
            pilots: pilots.iter().map(|n| world.pilot("short", *n)).collect(),
            running: BTreeMap::new(),
            lasts_s: BTreeMap::new(),
            history: BTreeMap::new(),
            begin: world.now,
            world,
        }
    }

    /// Submits one task that asks for so many cores and, if it is not 0, a walltime, and runs for
    /// `lasts_s`.
    fn submit(&mut self, owner: &str, cores: u32, walltime_s: u64, lasts_s: u64) -> TaskId {
        let walltime = match walltime_s {
            0 => String::new(),
            s => format!("WallTime = {s};"),
        };
        let jdl = sweep(1, &format!("CpuNumber = {cores}; {walltime}"));
        let job = self.world.submit(owner, &jdl);
        self.lasts_s.insert(job, lasts_s);
        TaskId::new(job, 0)
    }

    fn seconds(&self) -> u64 {
        self.world.now.since(self.begin).as_secs()
    }

    fn held(&self, pilot: PilotId) -> Vec<(TaskId, Attempt)> {
        let own = self.running.keys().filter(|(of, _)| *of == pilot);
        own.map(|(_, attempt)| *attempt).collect()
    }

    fn note(&mut self, pilot: PilotId, granted: Vec<(TaskId, Attempt)>) {
        for attempt in granted {
            self.world.start(pilot, attempt);
            let lasts_s = self.lasts_s[&attempt.0.job];
            let end = self.world.now.plus(std::time::Duration::from_secs(lasts_s));
            self.running.insert((pilot, attempt), end);
            let now = self.seconds();
            self.history.insert(attempt.0, (now, now + lasts_s));
        }
    }

    /// Every pilot asks for work in turn, and waits for an answer if it gets none.
    fn ask_all(&mut self) {
        for pilot in self.pilots.clone() {
            let held = self.held(pilot);
            let granted = self.world.pull(pilot, &held);
            self.note(pilot, granted);
        }
        let served = self.world.serve();
        for (pilot, synced) in served {
            self.note(pilot, synced.granted());
        }
    }

    /// Passes the time to the next end. Whether anything ran.
    fn next_end(&mut self) -> bool {
        let Some(next) = self.running.values().min().copied() else {
            return false;
        };
        self.world.now = next;
        let over: Vec<_> = self
            .running
            .iter()
            .filter(|(_, end)| **end == next)
            .collect();
        let over: Vec<_> = over.into_iter().map(|(key, _)| *key).collect();
        for (pilot, attempt) in over {
            self.running.remove(&(pilot, attempt));
            let what = report(attempt, ended(exit(0)));
            self.world.sync(pilot, vec![what], &[], None);
        }
        true
    }

    fn run(&mut self) {
        self.ask_all();
        while self.next_end() {
            self.ask_all();
        }
        self.world.state.check().unwrap();
    }

    fn reservations(&self) -> Vec<Reservation> {
        self.world.state.reservations(self.world.now)
    }

    fn explained(&self, task: TaskId) -> String {
        explain(&self.world.state, task, self.world.now)
            .unwrap()
            .summary
    }
}

/// The example in Maui's documentation, in tens of seconds: ten processors; in the order of
/// priority Job2 (4 for 30), Job3 (4 for 20), Job1 (6 for 10) and Job4 (1, here for `last`).
fn maui(mode: Backfill, last: u64) -> Vec<(u64, u64)> {
    let mut machine = Machine::new(PolicyKind::Fifo, mode, &[10]);
    let jobs = [(4, 30), (4, 20), (6, 10), (1, last)];
    let jobs = jobs.map(|(n, units)| machine.submit("alice", n, units * 10, units * 10));
    machine.run();
    let of = |task| machine.history[task];
    jobs.iter().map(of).map(|(a, b)| (a / 10, b / 10)).collect()
}

/// Which part of ten processors is used until all is done, in percent.
fn utilisation(schedule: &[(u64, u64)]) -> u64 {
    let nodes = [4, 4, 6, 1];
    let used: u64 = schedule
        .iter()
        .zip(nodes)
        .map(|((a, b), n)| (b - a) * n)
        .sum();
    let span = schedule.iter().map(|(_, end)| end).max().unwrap();
    used * 100 / (span * 10)
}

#[test]
fn mauis_example_is_scheduled_as_maui_does_it() {
    for mode in [Backfill::Easy, Backfill::Conservative] {
        let schedule = maui(mode, 10);
        // Job4 uses the hole; Job1 starts at 20, as it would without Job4. In strict order Job4
        // would follow Job1, at 30, and 67 % be used until 40.
        assert_eq!(schedule, [(0, 30), (0, 20), (20, 30), (0, 10)]);
        assert_eq!(utilisation(&schedule), 90);
        // One that takes longer would delay Job1, and has to wait.
        let schedule = maui(mode, 21);
        assert_eq!(schedule, [(0, 30), (0, 20), (20, 30), (30, 51)]);
        // To the very moment.
        assert_eq!(maui(mode, 20)[3], (0, 20));
    }
    // Whatever fits goes ahead, and Job1 waits for it.
    let schedule = maui(Backfill::Off, 21);
    assert_eq!(schedule, [(0, 30), (0, 20), (21, 31), (0, 21)]);
}

#[test]
fn what_is_not_needed_then_may_be_taken_for_long() {
    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[10]);
    machine.submit("alice", 8, 100, 100);
    let wide = machine.submit("alice", 9, 100, 100);
    // One core is left beside the wide task: one long task may have it, a second may not.
    let long = machine.submit("bob", 1, 2000, 2000);
    let longer = machine.submit("bob", 1, 2001, 2001);
    let endless = machine.submit("bob", 1, 0, 50);
    machine.run();
    assert_eq!(machine.history[&wide].0, 100);
    assert_eq!(machine.history[&long].0, 0);
    assert_eq!(machine.history[&longer].0, 200);
    assert_eq!(
        machine.history[&endless].0, 200,
        "nobody knows that it is short"
    );
}

#[test]
fn memory_and_gpus_are_kept_as_cores_are() {
    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[4]);
    // 16,000 MiB in all.
    let submit = |machine: &mut Machine, memory: u32, walltime_s: u64| {
        let jdl = sweep(1, &format!("Memory = {memory}; WallTime = {walltime_s};"));
        let job = machine.world.submit("alice", &jdl);
        machine.lasts_s.insert(job, walltime_s);
        TaskId::new(job, 0)
    };
    submit(&mut machine, 9000, 100);
    let wide = submit(&mut machine, 10_000, 100);
    let beside = submit(&mut machine, 6000, 300);
    let in_the_way = submit(&mut machine, 1000, 300);
    machine.run();
    assert_eq!(machine.history[&wide].0, 100);
    assert_eq!(machine.history[&beside].0, 0);
    assert_eq!(machine.history[&in_the_way].0, 200);
}

#[test]
fn easy_keeps_room_for_one_and_conservative_for_all() {
    let run = |mode| {
        let mut machine = Machine::new(PolicyKind::Fifo, mode, &[10]);
        machine.submit("alice", 6, 100, 100);
        machine.submit("alice", 2, 200, 200);
        let first = machine.submit("alice", 7, 100, 100);
        let second = machine.submit("alice", 10, 100, 100);
        // In the way of the second alone.
        let small = machine.submit("bob", 1, 300, 300);
        machine.ask_all();
        let kept: Vec<_> = machine.reservations().iter().map(|it| it.task).collect();
        assert_eq!(kept[0], first);
        machine.run();
        let starts = [first, second, small].map(|task| machine.history[&task].0);
        (kept.len(), starts)
    };
    assert_eq!(run(Backfill::Easy), (1, [100, 300, 0]));
    // That of the small one, too, follows those before it.
    assert_eq!(run(Backfill::Conservative), (3, [100, 200, 300]));
}

#[test]
fn room_is_kept_where_it_is_there_first() {
    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[4, 4, 2]);
    machine.submit("alice", 4, 500, 500);
    machine.submit("alice", 3, 200, 200);
    machine.ask_all();
    let wide = machine.submit("bob", 4, 100, 100);
    let at = |machine: &Machine, s| machine.begin.plus(std::time::Duration::from_secs(s));
    let expected = Reservation {
        ce: ce("lyon/short"),
        pilot: machine.pilots[1],
        task: wide,
        from: at(&machine, 200),
        resources: Resources {
            cores: 4,
            ..Resources::default()
        },
        cores_kept: 1,
    };
    assert_eq!(machine.reservations(), [expected]);
    // The small pilot is in nobody's way.
    let small = machine.submit("carol", 1, 1000, 1000);
    machine.ask_all();
    assert_eq!(machine.history[&small].0, 0);
    // What ends early moves the reservation.
    let first = machine.held(machine.pilots[0])[0];
    machine.world.end(machine.pilots[0], first, exit(0));
    machine.running.remove(&(machine.pilots[0], first));
    assert!(machine.reservations().is_empty(), "it fits now");
    machine.ask_all();
    assert_eq!(machine.history[&wide].0, 0);
}

#[test]
fn nothing_is_kept_for_what_would_start_too_late_or_nobody_knows_when() {
    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[4]);
    let mut policy = machine.world.state.policy().clone();
    policy.backfill.drain_max_s = 100;
    machine.world.set_policy(policy);
    machine.submit("alice", 2, 150, 150);
    machine.ask_all();
    let wide = machine.submit("bob", 4, 100, 100);
    let small = machine.submit("carol", 1, 1000, 40);
    assert!(machine.reservations().is_empty());
    machine.ask_all();
    assert_eq!(machine.history[&small].0, 0);
    machine.world.pass(60);
    assert!(
        machine.reservations().is_empty(),
        "the small one counts for its walltime"
    );
    machine.run();
    assert_eq!(machine.history[&wide].0, 150, "by chance");

    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[4]);
    machine.submit("alice", 2, 0, 150);
    machine.ask_all();
    machine.submit("bob", 4, 100, 100);
    assert!(machine.reservations().is_empty());
}

#[test]
fn what_waited_for_too_long_gets_its_cores_whatever_that_costs() {
    for kind in [PolicyKind::Fifo, PolicyKind::Fairshare, PolicyKind::Maui] {
        let mut machine = Machine::new(kind, Backfill::Easy, &[4]);
        let mut policy = machine.world.state.policy().clone();
        policy.backfill.drain_max_s = 100;
        policy.wait_max_s = Some(50);
        machine.world.set_policy(policy);
        machine.submit("alice", 2, 500, 500);
        machine.ask_all();
        let wide = machine.submit("bob", 4, 100, 100);
        machine.world.pass(50);
        assert!(machine.reservations().is_empty(), "not yet");
        machine.world.pass(1);
        let kept: Vec<_> = machine.reservations().iter().map(|it| it.task).collect();
        assert_eq!(kept, [wide], "{}", kind.name());
    }
}

#[test]
fn what_was_kept_is_given_out_when_it_is_wanted_no_more() {
    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[4]);
    machine.submit("alice", 2, 500, 500);
    machine.ask_all();
    let wide = machine.submit("bob", 4, 100, 100);
    let small = machine.submit("carol", 1, 1000, 1000);
    machine.ask_all();
    assert!(!machine.history.contains_key(&small));
    let selection = fairway_sched::command::Selection::Job(wide.job);
    machine
        .world
        .change(fairway_model::TaskVerb::Cancel, selection, "bob");
    let served = machine.world.serve();
    assert_eq!(served[&machine.pilots[0]].granted()[0].0, small);
}

#[test]
fn both_sides_can_read_why_and_what_it_costs() {
    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[8]);
    machine.submit("alice", 2, 1800, 1800);
    machine.ask_all();
    let wide = machine.submit("bob", 8, 600, 600);
    let small = machine.submit("carol", 4, 2000, 2000);
    machine.ask_all();
    machine.world.ask(Command::Tick).unwrap();
    for _ in 0..900 {
        machine.world.pass(1);
        machine.world.ask(Command::Tick).unwrap();
        machine.ask_all();
    }
    machine.world.publish("short", |_| {});
    insta::assert_snapshot!(
        format!("{}\n{}", machine.explained(wide), machine.explained(small)),
        @r"
    It is next in the queue; 1 of 1 CEs could run it, 1 pilot is at work. Cores are kept for it on pilot p1 at lyon/short: it starts there at 1970-01-01T10:30:00Z at the latest, 6 of its 8 are free now; keeping them has cost 1.0 core-hours so far.
    1 task is before it in the queue; 1 of 1 CEs could run it, 1 pilot is at work. bob comes before it: 2.0 came into the queue just before it. It would fit on pilot p1 at lyon/short and is kept back: the cores are kept for task 2.0, which comes before it and starts there at 1970-01-01T10:30:00Z at the latest; its walltime of 2000 s would delay that.
    "
    );
    // Six are free, and four of them wanted.
    let cost = machine.world.state.kept_idle_core_ms(&ce("lyon/short"));
    assert_eq!(cost, 4 * 900 * 1000);
    // Nobody wants them any more: nothing is lost.
    let selection = fairway_sched::command::Selection::Job(small.job);
    machine
        .world
        .change(fairway_model::TaskVerb::Cancel, selection, "carol");
    machine.world.pass(100);
    machine.world.ask(Command::Tick).unwrap();
    machine.world.pass(100);
    machine.world.ask(Command::Tick).unwrap();
    assert_eq!(
        machine.world.state.kept_idle_core_ms(&ce("lyon/short")),
        cost
    );
}

#[test]
fn private_pilots_are_kept_for_their_own() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let mut described = site(&["short"]);
    described.ces[0].pilots = fairway_model::PilotSharing::PerUser;
    world.describe(described);
    let owned = |name: &str| fairway_model::PilotOwner::User(user(name));
    let pilots = ["alice", "bob"].map(|name| {
        let pilot = world.planned_for("short", 4, owned(name));
        world.register(pilot, "nonce", 4).unwrap();
        pilot
    });
    for (name, pilot) in ["alice", "bob"].iter().zip(pilots) {
        world.submit(name, &sweep(1, "CpuNumber = 2; WallTime = 500;"));
        world.pull(pilot, &[]);
    }
    world.submit("alice", &sweep(1, "CpuNumber = 4; WallTime = 100;"));
    let kept = world.state.reservations(world.now);
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].pilot, pilots[0]);
    // What alice waits for is not in bob's way.
    for (name, pilot, expected) in [("alice", pilots[0], 0), ("bob", pilots[1], 1)] {
        world.submit(name, &sweep(1, "WallTime = 1000;"));
        let held: Vec<_> = {
            let tasks = world.state.pilot(pilot).unwrap().tasks;
            tasks.into_iter().map(|task| (task, Attempt(1))).collect()
        };
        assert_eq!(world.pull(pilot, &held).len(), expected, "{name}");
    }
}

#[test]
fn a_new_pilot_is_asked_for_where_cores_are_kept() {
    let mut machine = Machine::new(PolicyKind::Fifo, Backfill::Easy, &[4]);
    let mut described = site(&["short"]);
    described.ces[0].shape.cores = 4;
    machine.world.describe(described);
    machine.submit("alice", 2, 1000, 1000);
    machine.ask_all();
    let wide = machine.submit("bob", 4, 100, 100);
    machine.ask_all();
    assert_eq!(machine.reservations().len(), 1);
    let planned = machine.world.carry_out();
    assert_eq!(planned.len(), 1);
    assert_eq!(
        machine.reservations().len(),
        1,
        "nobody knows when it starts"
    );
    // It comes first: what was kept is given out again.
    let small = machine.submit("carol", 1, 2000, 2000);
    machine.world.register(planned[0].id, "nonce", 4).unwrap();
    machine.pilots.push(planned[0].id);
    machine.pilots.reverse();
    machine.ask_all();
    assert_eq!(machine.history[&wide].0, 0);
    assert_eq!(machine.history[&small].0, 0);
}

/// Two CEs; at the one that ranks higher a pilot has a task of two cores and is kept for one of four.
fn kept_at_the_better() -> (World, PilotId) {
    let mut world = World::new(PolicyKind::Fifo, &["better", "short"]);
    let mut described = site(&["better", "short"]);
    described.ces[0].limits.pilots_max = 1;
    world.describe(described);
    let pilot = world.pilot("better", 4);
    let better = "Requirements = other.GlueCEName == \"better\";";
    world.submit(
        "alice",
        &sweep(1, &format!("CpuNumber = 2; WallTime = 500; {better}")),
    );
    let running = world.pull(pilot, &[]);
    world.submit(
        "alice",
        &sweep(1, &format!("CpuNumber = 4; WallTime = 100; {better}")),
    );
    assert!(world.pull(pilot, &running).is_empty());
    (world, pilot)
}

const RANK_BETTER: &str = "WallTime = 1000; Rank = other.GlueCEName == \"better\" ? 2 : 1;";

#[test]
fn what_is_kept_at_a_better_ce_is_no_reason_to_wait_for_it() {
    let (mut world, kept) = kept_at_the_better();
    let other = world.pilot("short", 1);
    let job = world.submit("bob", &sweep(1, RANK_BETTER));
    assert!(world.serve().is_empty(), "the pilot that waits is kept");
    let granted = world.pull(other, &[]);
    assert_eq!(granted[0].0, TaskId::new(job, 0));
    assert_eq!(world.state.reservations(world.now)[0].pilot, kept);
}

#[test]
fn what_is_kept_is_no_room_when_pilots_are_planned() {
    let (mut world, _) = kept_at_the_better();
    assert!(world.plan().orders.is_empty(), "the CE is full");
    world.submit("bob", &sweep(1, RANK_BETTER));
    world.serve();
    let orders = world.plan().orders;
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].ce, ce("lyon/short"));
    // One that is out of the way in time has its place.
    world.submit("bob", &sweep(1, &RANK_BETTER.replace("1000", "400")));
    assert_eq!(world.plan().orders.len(), 1);
    assert_eq!(world.serve().len(), 1);
}

#[test]
fn a_stream_of_small_tasks_does_not_starve_a_wide_one() {
    for kind in PolicyKind::ALL {
        for mode in [Backfill::Easy, Backfill::Conservative] {
            let mut machine = Machine::new(kind, mode, &[32, 32]);
            let small = |machine: &mut Machine, n: u64| {
                let walltime_s = 300 + n % 7 * 50;
                machine.submit("alice", 1, walltime_s, walltime_s - n % 40);
            };
            for n in 0..64 {
                small(&mut machine, n);
            }
            machine.ask_all();
            let wide = machine.submit("bob", 32, 600, 600);
            let submitted = machine.seconds();
            let mut n = 64;
            while !machine.history.contains_key(&wide) {
                // There are always more of them.
                small(&mut machine, n);
                n += 1;
                assert!(n < 1000, "{kind:?} {mode:?} starves it");
                machine.next_end();
                machine.ask_all();
            }
            let waited = machine.history[&wide].0 - submitted;
            assert!(waited <= 600, "{kind:?} {mode:?} waited {waited} s");
        }
    }
}
