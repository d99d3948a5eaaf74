//! What becomes of all that waits: the live state plays out under the policy in force, or under
//! another one, and the same is measured as of any other run. Nothing new is submitted.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_model::{CeId, PilotId, PilotState, Policy, TaskId, Timestamp, UserName};
use fairway_sched::{Change, Command, State};

use crate::SimError;
use crate::live::{self, Guess, Outset, RUNS, RuntimeGuess};
use crate::record::Recorder;
use crate::record::metrics::{Outcome, Targets};
use crate::run::finish;
use crate::world::{Scenario, SimPilot};

/// Which of the assumptions of a forecast is made: what is likely.
const LIKELY: usize = 1;

/// How far a projection goes, and what is assumed.
#[derive(Clone, Debug)]
pub struct ProjectionOptions {
    /// So many seconds ahead at most.
    pub horizon_s: u64,
    /// Most work, as in a [forecast](crate::ForecastOptions::work_max).
    pub work_max: u64,
    /// What chance begins with.
    pub seed: u64,
    /// How long tasks run, by user; half of their walltime for those who are not named.
    pub runtimes: BTreeMap<UserName, RuntimeGuess>,
    /// Pilots leave after so many seconds without work.
    pub pilot_idle_s: u64,
}

impl Default for ProjectionOptions {
    /// A day.
    fn default() -> Self {
        Self {
            horizon_s: 86_400,
            work_max: 1_000_000,
            seed: 1,
            runtimes: BTreeMap::new(),
            pilot_idle_s: 120,
        }
    }
}

/// How many tasks of a state are not over: what a projection has to play out.
pub fn open_tasks(state: &State) -> u64 {
    state.jobs_open().map(|(_, open)| open).sum()
}

/// Lets a state play out under a policy, that in force if none is given, and measures it. `state`
/// is a copy of the live one; it is consumed. Users' shares are held against what the policy in
/// force gives them, whichever is tried. The same state, moment and options give the same outcome.
///
/// # Errors
/// If the scheduler does not take the policy.
pub fn project(
    mut state: State,
    name: &str,
    policy: Option<Policy>,
    now: Timestamp,
    options: &ProjectionOptions,
) -> Result<Outcome, SimError> {
    let targets = targets(&state, now)?;
    if let Some(policy) = policy {
        let text = |reason: String| SimError::Text {
            what: "policy",
            reason,
        };
        policy.check().map_err(|wrong| text(wrong.join("\n")))?;
        let by: UserName = "simulator"
            .parse()
            .map_err(|error| text(format!("{error}")))?;
        let applied = state.apply(
            Command::SetPolicy {
                policy,
                by,
                because: None,
                from: None,
            },
            now,
        );
        applied.reply.map_err(|refused| text(refused.reason))?;
    }
    let guess = Guess {
        run: LIKELY,
        luck: RUNS[LIKELY],
        runtimes: &options.runtimes,
    };
    let scenario = Projected::new(&state, guess, now);
    let outset = Outset {
        guess,
        until: now.plus(Duration::from_secs(options.horizon_s)),
        work_max: options.work_max,
        pilot_idle_s: options.pilot_idle_s,
        seed: options.seed,
    };
    let mut world = live::world(state, scenario, now, outset);
    for (id, pilot) in &world.pilots {
        if pilot.phase != crate::world::Phase::Queued {
            world.scenario.recorder.pilot_runs(*id, pilot);
        }
    }
    let stopped = world.run();
    Ok(finish(&mut world, stopped, name, &targets, |scenario| {
        &mut scenario.recorder
    }))
}

/// What part of everything each user is to get under the policy in force.
fn targets(state: &State, now: Timestamp) -> Result<Targets, SimError> {
    let mut due: BTreeMap<UserName, f64> = BTreeMap::new();
    for standing in state.shares(now) {
        *due.entry(standing.user).or_default() += standing.due;
    }
    Targets::new(due).map_err(|reason| SimError::Text {
        what: "policy",
        reason,
    })
}

/// What is measured.
struct Projected<'a> {
    guess: Guess<'a>,
    recorder: Recorder,
    open: u64,
}

impl<'a> Projected<'a> {
    fn new(state: &State, guess: Guess<'a>, now: Timestamp) -> Self {
        // What is known of a CE is its cores, not its nodes: it is measured as one.
        let sites: Vec<(u32, u32)> = cores(state).into_iter().map(|cores| (1, cores)).collect();
        let mut recorder = Recorder::new(now, &sites);
        let mut open = 0;
        for (job, tasks) in state.jobs_open() {
            recorder.adopt(job, tasks);
            open += tasks;
        }
        for task in live_tasks(state) {
            recorder.has_begun(task);
        }
        Self {
            guess,
            recorder,
            open,
        }
    }
}

/// The cores of each CE: those that it publishes, or those that our pilots there have.
fn cores(state: &State) -> Vec<u32> {
    let mut all = Vec::new();
    for site in state.sites() {
        for ce in &site.ces {
            let id = CeId {
                site: site.name.clone(),
                ce: ce.name.clone(),
            };
            let ours = state.pilots_live().filter(|it| {
                it.ce == id && !matches!(it.state, PilotState::Planned | PilotState::Queued)
            });
            let ours: u32 = ours.map(|pilot| pilot.resources.cores).sum();
            let published = state.published(&id).and_then(|it| it.cores_total);
            all.push(published.unwrap_or(0).max(ours));
        }
    }
    all
}

/// Tasks that pilots have.
fn live_tasks(state: &State) -> impl Iterator<Item = TaskId> {
    let pilots = state.pilots_live().filter_map(|it| state.pilot(it.id));
    pilots.flat_map(|view| view.tasks)
}

impl Scenario for Projected<'_> {
    fn runtime_ms(&mut self, state: &State, task: TaskId) -> u64 {
        self.guess.runtime_ms(state, task)
    }

    fn heard(&mut self, change: &Change, now: Timestamp) {
        let over = match change {
            Change::Task(task) if task.state.is_final() => 1,
            Change::TaskRange {
                from, to, state, ..
            } if state.is_final() => u64::from(to - from),
            _ => 0,
        };
        self.open = self.open.saturating_sub(over);
        self.recorder.heard(change, now);
    }

    fn pilot_runs(&mut self, id: PilotId, pilot: &SimPilot, _: Timestamp) {
        self.recorder.pilot_runs(id, pilot);
    }

    fn pilot_over(&mut self, _: PilotId, pilot: &SimPilot, now: Timestamp) {
        self.recorder.pilot_over(pilot, now);
    }

    fn is_over(&self) -> bool {
        self.open == 0
    }
}
