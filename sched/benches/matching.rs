//! What a match costs at a CE of 1,000 pilots with wide tasks that do not fit: `cargo bench -p
//! fairway-sched --bench matching`. A step is what a pilot does when a task ends: it reports that,
//! asks for work, and is given another task of one core.

#![expect(clippy::unwrap_used, reason = "a panic is how it fails")]

#[path = "../tests/behaviour/world.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod world;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fairway_model::policy::Backfill;
use fairway_model::{Attempt, PilotId, PolicyKind, TaskId};
use fairway_sched::command::PilotWant;
use fairway_sched::{Command, Reply};

use world::{HOUR_S, World, ended, exit, report, sweep, user};

const PILOTS: usize = 1000;
const CORES: u32 = 8;

/// Pilots that run seven tasks of one core each, and one that has ended.
struct Site {
    world: World,
    pilots: Vec<(PilotId, Vec<(TaskId, Attempt)>)>,
    next: usize,
    round: u64,
}

impl Site {
    fn new(mode: Backfill, blocked: u64) -> Self {
        let mut world = World::new(PolicyKind::Fairshare, &["short"]);
        let mut policy = world.state.policy().clone();
        policy.backfill.mode = mode;
        let by = user("admin");
        world.ask(Command::SetPolicy { policy, by }).unwrap();
        world.submit("alice", &sweep(1_000_000, "WallTime = 600;"));
        let mut pilots = Vec::new();
        for _ in 0..PILOTS {
            let pilot = world.pilot("short", CORES);
            pilots.push((pilot, world.pull(pilot, &[])));
            world.pass(1);
        }
        // Of another user, whose turn it is; each of a class of its own.
        for n in 0..blocked {
            world.submit(
                "bob",
                &sweep(1, &format!("CpuNumber = 8; WallTime = {};", 900 + n)),
            );
        }
        Self {
            world,
            pilots,
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
        let over = holding.remove(0);
        let applied = self.world.state.apply(
            Command::Sync {
                pilot: *pilot,
                reports: vec![report(over, ended(exit(0)))],
                holding: holding.clone(),
                want: Some(PilotWant {
                    round: self.round,
                    remaining_s: HOUR_S,
                    backlog: 0,
                }),
            },
            self.world.now,
        );
        let Ok(Reply::Synced { grants, .. }) = applied.reply else {
            panic!("a sync is answered");
        };
        holding.extend(grants.iter().map(|grant| (grant.task, grant.attempt)));
        // The one pilot that cores are kept on runs empty, and is then given a wide task.
        if holding.is_empty() {
            self.pilots.remove(place);
        }
    }
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
