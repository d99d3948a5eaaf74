//! What will come of the queue, seen in copies of the state: when a task will start, and what
//! becomes of all under another policy. The engine only makes the copy; the rest happens beside
//! it, one at a time, with bounded work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_model::{Policy, TaskId, Timestamp, UserName};
use fairway_sched::State;
use fairway_sim::{
    Forecast, ForecastOptions, Outcome, ProjectionOptions, RuntimeGuess, SimError, forecast,
    open_tasks, project,
};
use tokio::sync::{Mutex, Semaphore};

use crate::engine::{Engine, EngineError};
use crate::store::{Store, StoreError};

/// A forecast is told again for so long.
const FRESH: Duration = Duration::from_secs(30);
/// Most work of each run of a forecast: some seconds at worst.
const FORECAST_WORK_MAX: u64 = 30_000;
/// Most work of all runs of a simulation: it has to be answered before the request is given up.
const SIMULATION_WORK_MAX: u64 = 400_000;
/// The engine stands still while the state is copied: with more at work than that no copy is
/// made for anybody's curiosity.
const PILOTS_MAX: usize = 5_000;
const TASKS_AT_WORK_MAX: u64 = 100_000;
/// With more tasks that are not over, a queue is not played out.
const TASKS_MAX: u64 = 200_000;
/// The runtimes of so many users are looked up, those who use most tasks first.
const USERS_MAX: usize = 50;
/// So many of their last attempts count.
const ATTEMPTS_MAX: u64 = 1000;
/// Fewer attempts tell nothing.
const ATTEMPTS_MIN: usize = 5;

/// Why nothing is told of the future.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unforeseen {
    /// Somebody else's is being made.
    #[error("another one is being made: ask again in some seconds")]
    Busy,
    /// It would take too long.
    #[error("{0}")]
    TooMuch(String),
    /// A policy is not to be simulated.
    #[error(transparent)]
    Policy(#[from] SimError),
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of the server.
    #[error("{0}")]
    Failed(String),
}

/// A forecast with the moment when it was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) at: Timestamp,
    pub(crate) forecast: Forecast,
}

/// Forecasts that were made lately.
type Known = BTreeMap<TaskId, (Instant, Made)>;

/// Looks ahead, for one at a time.
#[derive(Clone)]
pub(crate) struct Foresight {
    turn: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
}

impl Default for Foresight {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            known: Arc::default(),
        }
    }
}

impl Foresight {
    /// When a task will start.
    ///
    /// # Errors
    /// Why that is not told now.
    pub(crate) async fn forecast(
        &self,
        engine: &Engine,
        store: &Store,
        task: TaskId,
    ) -> Result<Made, Unforeseen> {
        if let Some(made) = self.made_lately(task).await {
            return Ok(made);
        }
        let turn = self.turn.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Unforeseen::Busy)?;
        let (state, at) = copy(engine).await?;
        let options = ForecastOptions {
            work_max: FORECAST_WORK_MAX,
            runtimes: runtimes(store, &state).await?,
            ..ForecastOptions::default()
        };
        let forecast = tokio::task::spawn_blocking(move || {
            // Who goes away leaves the work, which nobody else may begin meanwhile.
            let _turn = turn;
            forecast(state, task, at, &options)
        });
        let forecast = forecast
            .await
            .map_err(|it| Unforeseen::Failed(it.to_string()))?;
        let made = Made { at, forecast };
        let mut known = self.known.lock().await;
        known.retain(|_, (since, _)| since.elapsed() < FRESH);
        known.insert(task, (Instant::now(), made.clone()));
        Ok(made)
    }

    async fn made_lately(&self, task: TaskId) -> Option<Made> {
        let known = self.known.lock().await;
        let (since, made) = known.get(&task)?;
        (since.elapsed() < FRESH).then(|| made.clone())
    }

    /// Lets the queue play out under the policy in force, which is told of as `now`, and under
    /// others. Gives back the moment that all begin at and how many tasks were not over then.
    ///
    /// # Errors
    /// Why that is not told now.
    pub(crate) async fn simulate(
        &self,
        engine: &Engine,
        store: &Store,
        policies: Vec<(String, Policy)>,
        (horizon_s, seed): (u64, u64),
    ) -> Result<(Timestamp, u64, Vec<Outcome>), Unforeseen> {
        let turn = self.turn.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Unforeseen::Busy)?;
        let (state, at) = copy(engine).await?;
        let tasks = open_tasks(&state);
        if tasks > TASKS_MAX {
            return Err(Unforeseen::TooMuch(format!(
                "{tasks} tasks are not over: more than {TASKS_MAX} are not played out"
            )));
        }
        let options = ProjectionOptions {
            horizon_s,
            work_max: SIMULATION_WORK_MAX / (policies.len() as u64 + 1),
            seed,
            runtimes: runtimes(store, &state).await?,
            ..ProjectionOptions::default()
        };
        let runs = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut outcomes = vec![project(state.clone(), "now", None, at, &options)?];
            for (name, policy) in policies {
                let tried = project(state.clone(), &name, Some(policy), at, &options)?;
                outcomes.push(tried);
            }
            Ok::<_, SimError>(outcomes)
        });
        let outcomes = runs
            .await
            .map_err(|it| Unforeseen::Failed(it.to_string()))??;
        Ok((at, tasks, outcomes))
    }
}

/// A copy of the state, if it is not too large to be copied.
async fn copy(engine: &Engine) -> Result<(State, Timestamp), Unforeseen> {
    let copied = engine
        .look(|state, now| {
            let pilots = state.pilots_live().count();
            let live = state.live();
            let small = pilots <= PILOTS_MAX && live <= TASKS_AT_WORK_MAX;
            small
                .then(|| (Box::new(state.clone()), now))
                .ok_or((pilots, live))
        })
        .await?;
    match copied {
        Ok((state, now)) => Ok((*state, now)),
        Err((pilots, live)) => Err(Unforeseen::TooMuch(format!(
            "{pilots} pilots and {live} tasks are at work: more than {PILOTS_MAX} and \
             {TASKS_AT_WORK_MAX} are not played out"
        ))),
    }
}

/// How long the tasks of those run who have work, as far as it was seen.
async fn runtimes(
    store: &Store,
    state: &State,
) -> Result<BTreeMap<UserName, RuntimeGuess>, StoreError> {
    let mut open: BTreeMap<UserName, u64> = BTreeMap::new();
    for (job, tasks) in state.jobs_open() {
        *open.entry(job.owner.clone()).or_default() += tasks;
    }
    let mut users: Vec<(UserName, u64)> = open.into_iter().collect();
    users.sort_by_key(|(_, tasks)| std::cmp::Reverse(*tasks));
    users.truncate(USERS_MAX);
    let mut runtimes = BTreeMap::new();
    for (user, _) in users {
        let walls = store.last_runtimes(&user, ATTEMPTS_MAX).await?;
        if let Some(guess) = guess(walls) {
            runtimes.insert(user, guess);
        }
    }
    Ok(runtimes)
}

/// The 10th, 50th and 90th percentile of runtimes in milliseconds, by nearest rank.
fn guess(mut walls_ms: Vec<u64>) -> Option<RuntimeGuess> {
    if walls_ms.len() < ATTEMPTS_MIN {
        return None;
    }
    walls_ms.sort_unstable();
    let at = |percent: usize| {
        let rank = (walls_ms.len() * percent).div_ceil(100);
        walls_ms[rank.saturating_sub(1)].div_ceil(1000)
    };
    Some(RuntimeGuess {
        short_s: at(10),
        likely_s: at(50),
        long_s: at(90),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_runtimes_that_were_seen() {
        let seen = guess((1..=10).map(|it| it * 1000).collect()).unwrap();
        assert_eq!((seen.short_s, seen.likely_s, seen.long_s), (1, 5, 9));
        assert_eq!(guess(vec![1000; 4]), None);
    }
}
