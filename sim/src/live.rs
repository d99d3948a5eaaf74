//! A world that goes on from a live state, made of what is known: production's own code decides,
//! and only how long things take is assumed.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{CeId, CeState, Pilot, PilotId, PilotState, Task, TaskId, Timestamp, UserName};
use fairway_sched::command::{AttemptNews, AttemptReport};
use fairway_sched::{Settings, State};

use crate::clusters::{Faults, PilotSupply};
use crate::world::{Batch, Delay, Machines, Phase, Place, Rules, Scenario, SimPilot, World};

/// So coarse is time in a forecast, in milliseconds: each costs as much as there are pilots.
const TICK_MS: u64 = 60_000;
const LOOK_MS: u64 = 300_000;

/// From the start of a pilot to its first call.
const START_MS: u64 = 5_000;

/// A wish of this number is newer than all that a pilot has made so far.
const ROUND: u64 = 1 << 40;

/// Of a task that does not say how long it may run, in seconds.
const WALLTIME_UNKNOWN_S: u64 = 3600;

/// How a world is assumed to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Luck {
    /// Part of their walltime that tasks run.
    of_walltime: f64,
    /// How much longer or shorter than expected pilots wait.
    of_delay: f64,
    /// What a pilot waits where nothing is known of that, in milliseconds.
    delay_unknown_ms: u64,
    /// Whether cores come free that others use now.
    others_leave: bool,
}

pub(crate) const RUNS: [Luck; 3] = [
    Luck {
        of_walltime: 0.2,
        of_delay: 0.5,
        delay_unknown_ms: 0,
        others_leave: true,
    },
    Luck {
        of_walltime: 0.5,
        of_delay: 1.0,
        delay_unknown_ms: 600_000,
        others_leave: true,
    },
    Luck {
        of_walltime: 1.0,
        of_delay: 2.0,
        delay_unknown_ms: 3_600_000,
        others_leave: false,
    },
];

/// How long tasks of a user run, as far as it was seen, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeGuess {
    /// With luck: the 10th percentile, say.
    pub short_s: u64,
    /// As is likely: the median.
    pub likely_s: u64,
    /// Without luck: the 90th percentile.
    pub long_s: u64,
}

impl RuntimeGuess {
    fn of(self, run: usize) -> u64 {
        [self.short_s, self.likely_s, self.long_s][run.min(2)]
    }
}

/// How far a world goes on, and what is assumed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outset<'a> {
    pub(crate) guess: Guess<'a>,
    pub(crate) until: Timestamp,
    pub(crate) work_max: u64,
    pub(crate) pilot_idle_s: u64,
    pub(crate) seed: u64,
}

/// A world that goes on from a state.
pub(crate) fn world<S: Scenario>(
    mut state: State,
    scenario: S,
    now: Timestamp,
    outset: Outset<'_>,
) -> World<S> {
    let settings = Settings {
        // Nobody speaks but when there is something to say.
        pilot_silence_max_s: u64::from(u32::MAX),
        look_every_s: LOOK_MS / 1000,
        published_age_max_s: state.settings().published_age_max_s.max(LOOK_MS / 500),
        ..state.settings().clone()
    };
    state.assume(settings);
    let places = places(&state, outset.guess.luck, outset.pilot_idle_s);
    let rules = Rules {
        seed: outset.seed,
        supply: PilotSupply::Batch,
        tick_ms: TICK_MS,
        look_ms: LOOK_MS,
        plan_ms: TICK_MS,
        until: outset.until,
        patience_ms: u64::MAX,
        events_max: outset.work_max,
        doze: true,
    };
    let mut world = World::new(state, scenario, places, rules, now);
    take_over(&mut world, outset.guess);
    world
}

/// The sites as far as they are known.
fn places(state: &State, luck: Luck, pilot_idle_s: u64) -> Vec<Place> {
    let mut places = Vec::new();
    for site in state.sites() {
        for ce in &site.ces {
            let id = CeId {
                site: site.name.clone(),
                ce: ce.name.clone(),
            };
            let unknown =
                || CeState::unreachable(id.clone(), "", Timestamp(0), "not looked at".into());
            let face = state.published(&id).cloned().unwrap_or_else(unknown);
            places.push(Place {
                batch: Batch::with(id.clone(), pool(state, &id, &face, luck), face),
                speed: 1.0,
                delay: Delay::Expected {
                    factor: luck.of_delay,
                    unknown_ms: luck.delay_unknown_ms,
                },
                start_ms: START_MS,
                idle_ms: pilot_idle_s.saturating_mul(1000),
                faults: Faults::default(),
            });
        }
    }
    places
}

/// The cores that our pilots may have: those that we have and those that are free, or all.
fn pool(state: &State, ce: &CeId, face: &CeState, luck: Luck) -> Machines {
    let ours = state.pilots_live().filter(|pilot| {
        pilot.ce == *ce && !matches!(pilot.state, PilotState::Planned | PilotState::Queued)
    });
    let ours: u64 = ours.map(|pilot| u64::from(pilot.resources.cores)).sum();
    let free = face.cores_free.map(|free| ours + u64::from(free));
    let total = face
        .cores_total
        .map(u64::from)
        .filter(|_| luck.others_leave);
    match total.or(free) {
        Some(total) => Machines::Pool {
            total,
            free: Some(total),
        },
        None => Machines::Pool {
            total: u64::MAX,
            free: None,
        },
    }
}

/// What is assumed of runtimes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess<'a> {
    pub(crate) run: usize,
    pub(crate) luck: Luck,
    pub(crate) runtimes: &'a BTreeMap<UserName, RuntimeGuess>,
}

impl Guess<'_> {
    /// How long a task runs in all, in milliseconds.
    pub(crate) fn runtime_ms(&self, state: &State, task: TaskId) -> u64 {
        let owner = state.job_owner(task.job);
        if let Some(seen) = owner.and_then(|owner| self.runtimes.get(owner)) {
            return seen.of(self.run).saturating_mul(1000);
        }
        let needs = state.needs(task);
        let expected_s = needs.as_ref().and_then(|needs| needs.expected_s);
        if let Some(expected_s) = expected_s {
            // `ExpectedDuration` is an upper bound of what is usual.
            let part = self.luck.of_walltime.max(0.5);
            return (expected_s as f64 * 1000.0 * part) as u64;
        }
        (walltime_s(needs.as_deref()) as f64 * 1000.0 * self.luck.of_walltime) as u64
    }

    /// How much longer a task runs that has run for a while.
    fn left_ms(&self, state: &State, row: &Task, now: Timestamp) -> u64 {
        let ran = row.started_at.map(|at| now.since(at)).unwrap_or_default();
        let ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
        let left_ms = self.left_of(state, row.id, ran_ms);
        // With luck: of many that run, the first ends sooner than each is likely to.
        if self.run == 0 { left_ms / 2 } else { left_ms }
    }

    fn left_of(&self, state: &State, task: TaskId, ran_ms: u64) -> u64 {
        let all_ms = self.runtime_ms(state, task);
        if ran_ms < all_ms {
            return all_ms - ran_ms;
        }
        // Longer than was assumed: a part of what is left to the next of what was seen,
        let owner = state.job_owner(task.job);
        let seen = owner.and_then(|owner| self.runtimes.get(owner));
        let seen = seen.map(|seen| [seen.likely_s, seen.long_s]);
        let next_ms = seen.into_iter().flatten().map(|s| s.saturating_mul(1000));
        let part = |ms: u64| (ms as f64 * self.luck.of_walltime) as u64;
        if let Some(next_ms) = next_ms.into_iter().find(|ms| *ms > ran_ms) {
            return part(next_ms - ran_ms);
        }
        // or of what it still may; the longer it has run, the longer it goes on.
        let limit_ms = state.needs(task).and_then(|it| it.walltime_s);
        let limit_ms = limit_ms.map_or(ran_ms.saturating_mul(2), |s| s.saturating_mul(1000));
        part(limit_ms.saturating_sub(ran_ms).min(ran_ms))
    }
}

fn walltime_s(needs: Option<&Needs>) -> u64 {
    needs
        .and_then(|needs| needs.walltime_s)
        .unwrap_or(WALLTIME_UNKNOWN_S)
}

/// Has the pilots of the state play on in the world.
fn take_over(world: &mut World<impl Scenario>, guess: Guess<'_>) {
    let known: Vec<Pilot> = world.state.pilots_live().cloned().collect();
    let mut talks = Vec::new();
    for pilot in &known {
        let Some(place) = world.place_of(&pilot.ce) else {
            continue;
        };
        let walltime_ms = pilot.walltime_s.saturating_mul(1000);
        let resources = match pilot.state {
            state if state.is_expected() => world.found(place, pilot.resources),
            _ => pilot.resources,
        };
        let mut sim = SimPilot::new(place, pilot.allocation, resources, walltime_ms);
        sim.round = ROUND;
        match pilot.state {
            PilotState::Planned | PilotState::Queued => {
                world.pilots.insert(pilot.id, sim);
            }
            PilotState::Starting => {
                sim.phase = Phase::Starting;
                sim.ends_at = pilot.since.plus(Duration::from_millis(walltime_ms));
                world.adopt(pilot.id, sim);
                world.call_soon(pilot.id);
            }
            PilotState::Active | PilotState::Draining => {
                sim.phase = Phase::Active;
                sim.leaving = pilot.state == PilotState::Draining;
                let untold = world.now.plus(Duration::from_millis(walltime_ms));
                sim.ends_at = pilot.ends_at.unwrap_or(untold);
                world.adopt(pilot.id, sim);
                talks.push((pilot.id, take_over_tasks(world, pilot.id, guess)));
            }
            PilotState::Ended => {}
        }
    }
    expect(world, &known, guess.luck);
    for (pilot, reports) in talks {
        world.talk(pilot, reports);
    }
}

/// Has a pilot's tasks run on; gives back what there is to report of them.
fn take_over_tasks(
    world: &mut World<impl Scenario>,
    pilot: PilotId,
    guess: Guess<'_>,
) -> Vec<AttemptReport> {
    let Some(view) = world.state.pilot(pilot) else {
        return Vec::new();
    };
    let mut free = view.pilot.resources;
    let mut behind_ms = 0;
    let mut reports = Vec::new();
    for task in view.tasks {
        let (Some(row), Some(needs)) = (world.state.task(task), world.state.needs(task)) else {
            continue;
        };
        let mut left_ms = guess.left_ms(&world.state, &row, world.now);
        match free.minus(needs.resources) {
            Some(rest) => free = rest,
            // It waits at the pilot for others.
            None => {
                left_ms = left_ms.saturating_add(behind_ms);
                behind_ms = left_ms;
            }
        }
        behind_ms = behind_ms.max(left_ms);
        world.resume(pilot, (task, row.attempt), needs.resources, left_ms);
        if row.started_at.is_none() {
            reports.push(AttemptReport {
                task,
                attempt: row.attempt,
                what: AttemptNews::Started,
            });
        }
    }
    reports
}

/// Pilots that wait in a batch system: they come after what is left of the wait that is expected.
fn expect(world: &mut World<impl Scenario>, known: &[Pilot], luck: Luck) {
    let mut waiting: BTreeMap<PilotId, (u32, Timestamp)> = BTreeMap::new();
    let queued = known
        .iter()
        .filter(|it| matches!(it.state, PilotState::Planned | PilotState::Queued));
    for pilot in queued {
        let entry = waiting.entry(pilot.allocation);
        entry.or_insert((0, pilot.planned_at)).0 += 1;
    }
    for (first, (nodes, since)) in waiting {
        let Some(place) = world.pilots.get(&first).map(|it| it.place) else {
            continue;
        };
        let delay_ms = match world.expected_ms(place) {
            Some(expected_ms) => (expected_ms as f64 * luck.of_delay) as u64,
            None => luck.delay_unknown_ms,
        };
        let waited = u64::try_from(world.now.since(since).as_millis()).unwrap_or(u64::MAX);
        world.expect(place, first, nodes, delay_ms.saturating_sub(waited));
    }
}
