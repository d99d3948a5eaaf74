//! What a match costs at a CE of 1,000 pilots with wide tasks that do not fit: `cargo bench -p
//! fairway-sched --bench matching`. A step is what a pilot does when a task ends: it reports that,
//! asks for work, and is given another task of one core.

#![expect(clippy::unwrap_used, reason = "a panic is how it fails")]

#[path = "../tests/behaviour/world/mod.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod world;

use std::collections::{BTreeMap, VecDeque};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fairway_model::policy::Backfill;
use fairway_model::{Attempt, JobId, PilotId, PolicyKind, TaskId};
use fairway_sched::command::PilotWant;
use fairway_sched::{Command, Reply};

use world::{HOUR_S, World, ended, exit, report, site, sweep};

const PILOTS: usize = 1000;
const CORES: u32 = 8;

/// Pilots that run seven tasks of one core each, and one that has ended.
struct Site {
    world: World,
    pilots: Vec<(PilotId, VecDeque<(TaskId, Attempt)>)>,
    wide: BTreeMap<JobId, u64>,
    next: usize,
    round: u64,
}

impl Site {
    fn new(mode: Backfill, blocked: u64) -> Self {
        let mut world = World::new(PolicyKind::Fairshare, &["short"]);
        let mut policy = world.state.policy().clone();
        policy.backfill.mode = mode;
        world.set_policy(policy);
        let mut described = site(&["short"]);
        let limits = &mut described.ces[0].limits;
        (limits.pilots_max, limits.queued_max) = (2000, 2000);
        world.describe(described);
        world.submit("alice", &sweep(1_000_000, "WallTime = 600;"));
        let mut pilots = Vec::new();
        for _ in 0..PILOTS {
            let pilot = world.pilot("short", CORES);
            pilots.push((pilot, world.pull(pilot, &[]).into()));
            world.pass(1);
        }
        let wide = (0..blocked)
            .map(|n| (submit_wide(&mut world, n), n))
            .collect();
        Self {
            world,
            pilots,
            wide,
            next: 0,
            round: 1_000_000,
        }
    }

    /// One pilot's task ends, and it asks for another.
    fn step(&mut self) {
        let place = self.next % PILOTS;
        self.next += 1;
        self.round += 1;
        let (pilot, holding) = &mut self.pilots[place];
        let over = holding.pop_front();
        let applied = self.world.state.apply(
            Command::Sync {
                pilot: *pilot,
                reports: over
                    .map(|over| report(over, ended(exit(0))))
                    .into_iter()
                    .collect(),
                holding: holding.iter().copied().collect(),
                want: Some(PilotWant {
                    round: self.round,
                    remaining_s: HOUR_S,
                    backlog: 0,
                    staying: false,
                }),
            },
            self.world.now,
        );
        let Ok(Reply::Synced { grants, .. }) = applied.reply else {
            panic!("a sync is answered");
        };
        holding.extend(grants.iter().map(|grant| (grant.task, grant.attempt)));
        // One that cores were kept for makes room for the next of its kind.
        for grant in grants {
            if let Some(n) = self.wide.remove(&grant.task.job) {
                let job = submit_wide(&mut self.world, n);
                self.wide.insert(job, n);
            }
        }
    }
}

/// A task that does not fit, of a user whose turn it is; each number is a class of its own.
fn submit_wide(world: &mut World, n: u64) -> JobId {
    let walltime_s = 900 + n;
    world.submit(
        "bob",
        &sweep(1, &format!("CpuNumber = {CORES}; WallTime = {walltime_s};")),
    )
}

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("match at 1000 pilots");
    for mode in [Backfill::Off, Backfill::Easy, Backfill::Conservative] {
        for blocked in [0, 1, 100] {
            let name = BenchmarkId::new(format!("{mode:?}"), format!("{blocked} blocked"));
            let mut site = Site::new(mode, blocked);
            group.bench_function(name, |b| b.iter(|| site.step()));
        }
    }
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
