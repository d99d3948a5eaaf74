//! When will a task start? The live state goes on in a world that is made of what is known:
//! production's own code decides, and only how long things take is assumed, once with luck, once
//! as is likely, and once without luck.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_model::{TaskId, TaskState, Timestamp, UserName};
use fairway_sched::{Change, State};

use crate::live::{self, Guess, Luck, Outset, RUNS, RuntimeGuess};
use crate::world::{Scenario, Stopped};

/// How far a forecast looks.
#[derive(Clone, Debug)]
pub struct ForecastOptions {
    /// So many seconds ahead at most.
    pub horizon_s: u64,
    /// Most work of each of the three runs: an event counts 1, a look at everything as much as
    /// there are pilots in eighths.
    pub work_max: u64,
    /// How long tasks run, by user; a part of their walltime for those who are not named.
    pub runtimes: BTreeMap<UserName, RuntimeGuess>,
    /// Pilots leave after so many seconds without work.
    pub pilot_idle_s: u64,
}

impl Default for ForecastOptions {
    /// 7 days. Where pilots have 32 tasks each an event costs some 50 µs, so that no run takes
    /// longer than some 3 s.
    fn default() -> Self {
        Self {
            horizon_s: 7 * 86_400,
            work_max: 60_000,
            runtimes: BTreeMap::new(),
            pilot_idle_s: 120,
        }
    }
}

/// When a task will start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// With luck.
    pub earliest: Option<Timestamp>,
    /// As is likely.
    pub likely: Option<Timestamp>,
    /// Without luck; `None`: not within the horizon, or nobody can say.
    pub latest: Option<Timestamp>,
    /// How far was looked.
    pub horizon: Timestamp,
    /// How many runs were made.
    pub runs: u32,
    /// Why nothing is said of what is likely, in a sentence.
    pub why_none: Option<String>,
}

/// Tells when a task will start. `state` is a copy of the live one; it is consumed. The same
/// state, moment and options give the same forecast.
pub fn forecast(state: State, task: TaskId, now: Timestamp, options: &ForecastOptions) -> Forecast {
    let horizon = now.plus(Duration::from_secs(options.horizon_s));
    let mut forecast = Forecast {
        earliest: None,
        likely: None,
        latest: None,
        horizon,
        runs: 0,
        why_none: not_waiting(&state, task),
    };
    if forecast.why_none.is_some() {
        return forecast;
    }
    let mut starts = [None; RUNS.len()];
    for (run, luck) in RUNS.into_iter().enumerate() {
        let (outlook, stopped) = one_run(&state, task, now, options, (run, luck));
        starts[run] = outlook.started;
        forecast.runs += 1;
        if run == 1 && outlook.started.is_none() {
            forecast.why_none = Some(why(&outlook, stopped, options));
        }
    }
    let [lucky, likely, unlucky] = starts;
    forecast.likely = likely;
    // Less luck can be good for one task: others may be hit harder.
    forecast.earliest = starts.into_iter().flatten().min().or(lucky);
    let last = starts.into_iter().flatten().max();
    forecast.latest = unlucky.and(likely).and(last);
    forecast
}

fn not_waiting(state: &State, task: TaskId) -> Option<String> {
    let Some(row) = state.task(task) else {
        return Some("it is over, or there is no such task".into());
    };
    if state.sites().next().is_none() {
        return Some("no site is registered".into());
    }
    match row.state {
        TaskState::Waiting | TaskState::Blocked => None,
        TaskState::Held => Some("it is held: it starts after it is released".into()),
        TaskState::Leased | TaskState::Running | TaskState::Cancelling => {
            Some("a pilot has it already".into())
        }
        other => Some(format!("it is {}", other.name())),
    }
}

/// Why a task did not start in a run.
fn why(outlook: &Outlook<'_>, stopped: Stopped, options: &ForecastOptions) -> String {
    match stopped {
        // It waits for something to fail, say.
        _ if outlook.over => "if nothing fails, it is over without having started".into(),
        Stopped::Late => format!("it does not start within {} s", options.horizon_s),
        Stopped::Exhausted => "more happens before it starts than is looked at".into(),
        Stopped::Done | Stopped::Stuck => {
            "no pilot comes that it may run on, as things are now".into()
        }
    }
}

/// One run: what became of the task.
fn one_run<'a>(
    state: &State,
    task: TaskId,
    now: Timestamp,
    options: &'a ForecastOptions,
    (run, luck): (usize, Luck),
) -> (Outlook<'a>, Stopped) {
    let guess = Guess {
        run,
        luck,
        runtimes: &options.runtimes,
    };
    let outlook = Outlook {
        task,
        started: None,
        over: false,
        guess,
    };
    let outset = Outset {
        guess,
        until: now.plus(Duration::from_secs(options.horizon_s)),
        work_max: options.work_max,
        pilot_idle_s: options.pilot_idle_s,
        seed: 0,
    };
    let mut world = live::world(state.clone(), outlook, now, outset);
    let stopped = world.run();
    (world.scenario, stopped)
}

/// Looks for the start of one task.
struct Outlook<'a> {
    task: TaskId,
    started: Option<Timestamp>,
    over: bool,
    guess: Guess<'a>,
}

impl Scenario for Outlook<'_> {
    fn runtime_ms(&mut self, state: &State, task: TaskId) -> u64 {
        self.guess.runtime_ms(state, task)
    }

    fn heard(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Task(task) if task.id == self.task => {
                if task.state == TaskState::Running {
                    self.started = self.started.or(Some(now));
                }
                self.over |= task.state.is_final();
            }
            Change::TaskRange {
                job,
                from,
                to,
                state,
                ..
            } if *job == self.task.job && (*from..*to).contains(&self.task.index) => {
                self.over |= state.is_final();
            }
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.started.is_some() || self.over
    }
}
