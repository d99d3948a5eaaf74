//! The single writer: one loop that drains a bounded inbox, stamps one `now`,
//! applies commands to the state, commits their changes together, and only then
//! replies. If a commit fails, the memory is dropped and loaded from the store
//! again: there is no rollback.

mod parking;

use std::time::{Duration, SystemTime};

use fairway_model::Timestamp;
use fairway_sched::{Change, Command, Refused, Reply, Settings, State};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::store::{Store, StoreError};
use parking::Parking;

/// Why a command was not answered with a reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The decision was no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store did not take the change; it did not happen, or is not known to have happened.
    #[error("the store does not accept changes: {0}")]
    Store(String),
    /// Too many commands wait; try again later.
    #[error("the server is overloaded")]
    Overloaded,
    /// The engine has stopped.
    #[error("the server is shutting down")]
    Stopped,
}

type Answer = oneshot::Sender<Result<Reply, EngineError>>;
type Look = Box<dyn FnOnce(&State, Timestamp) + Send>;

enum Request {
    Ask {
        command: Command,
        answer: Answer,
    },
    Sync {
        command: Command,
        wait: Duration,
        answer: Answer,
    },
    Look(Look),
}

/// The way to the engine; cheap to clone. The engine ends when the last of them is gone.
#[derive(Clone)]
pub struct Engine {
    inbox: mpsc::Sender<Request>,
    commits: watch::Receiver<u64>,
}

impl Engine {
    /// Loads the state from the store, which this server must [lead](Store::lead), and starts
    /// the loop. The handle ends with the loop: with `Ok` when every [`Engine`] is gone, with an
    /// error when this server may no longer write.
    ///
    /// # Errors
    /// If the state cannot be loaded.
    pub async fn start(
        store: Store,
        settings: Settings,
        limits: EngineLimits,
    ) -> Result<(Self, tokio::task::JoinHandle<Result<(), StoreError>>), StoreError> {
        let now = wall_clock();
        let state = State::load(store.load().await?, settings.clone(), now);
        let (inbox, requests) = mpsc::channel(limits.inbox_max);
        let (committed, commits) = watch::channel(0);
        let worker = Loop {
            store,
            settings,
            limits,
            requests,
            committed,
            now,
            parking: Parking::default(),
        };
        Ok((Self { inbox, commits }, tokio::spawn(worker.run(state))))
    }

    /// Has a command carried out. Returns after its changes are durable.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn ask(&self, command: Command) -> Result<Reply, EngineError> {
        let (answer, reply) = oneshot::channel();
        self.send(Request::Ask { command, answer })?;
        reply.await.map_err(|_| EngineError::Stopped)?
    }

    /// As [`ask`](Self::ask) for a `Command::Sync` whose wish for work may wait: if nothing can
    /// be granted, the answer comes when something can, when a newer wish of the same pilot
    /// arrives, when the pilot gets an order, or after `wait` — whichever is first.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn sync(&self, command: Command, wait: Duration) -> Result<Reply, EngineError> {
        let (answer, reply) = oneshot::channel();
        self.send(Request::Sync {
            command,
            wait,
            answer,
        })?;
        reply.await.map_err(|_| EngineError::Stopped)?
    }

    /// Looks at the state between two batches. `look` must be quick: nothing else happens meanwhile.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] or [`EngineError::Overloaded`].
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State, Timestamp) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, seen) = oneshot::channel();
        self.send(Request::Look(Box::new(move |state, now| {
            // Whoever asked may have gone away meanwhile.
            let _ = answer.send(look(state, now));
        })))?;
        seen.await.map_err(|_| EngineError::Stopped)
    }

    /// Counts the commits: changes whenever something durable has changed.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    fn send(&self, request: Request) -> Result<(), EngineError> {
        self.inbox.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => EngineError::Stopped,
        })
    }
}

/// How much the engine takes on at a time.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Requests that share one transaction at most.
    pub batch_max: usize,
    /// Requests that may wait for one.
    pub inbox_max: usize,
}

/// How often parked wishes are looked through for those that have waited enough.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How often the state is told that time has passed, in sweeps.
const SWEEPS_PER_TICK: u32 = 4;
/// Longest pause between two attempts to load the state after the store failed.
const RELOAD_PAUSE_MAX: Duration = Duration::from_secs(5);

struct Loop {
    store: Store,
    settings: Settings,
    limits: EngineLimits,
    requests: mpsc::Receiver<Request>,
    committed: watch::Sender<u64>,
    now: Timestamp,
    parking: Parking,
}

/// What a batch has come to before it is durable.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    answers: Vec<(Answer, Result<Reply, EngineError>)>,
    looks: Vec<Look>,
}

impl Loop {
    async fn run(mut self, mut state: State) -> Result<(), StoreError> {
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweeps_until_tick = SWEEPS_PER_TICK;
        let mut requests = Vec::with_capacity(self.limits.batch_max);
        loop {
            let mut batch = Batch::default();
            tokio::select! {
                count = self.requests.recv_many(&mut requests, self.limits.batch_max) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.stamp();
                    for request in requests.drain(..) {
                        self.take(&mut state, request, &mut batch);
                    }
                }
                _ = sweeps.tick() => {
                    self.stamp();
                    self.sweep(&mut state, &mut batch);
                    sweeps_until_tick -= 1;
                    if sweeps_until_tick == 0 {
                        sweeps_until_tick = SWEEPS_PER_TICK;
                        batch.changes.extend(state.apply(Command::Tick, self.now).changes);
                    }
                }
            }
            self.serve(&mut state, &mut batch);
            match self.commit(&batch.changes).await {
                Ok(()) => batch.answer(&state, self.now),
                Err(StoreError::Superseded) => {
                    batch.fail(&EngineError::Stopped);
                    return Err(StoreError::Superseded);
                }
                Err(error) => {
                    tracing::error!(%error, "a commit failed; loading the state again");
                    let error = EngineError::Store(error.to_string());
                    batch.fail(&error);
                    self.parking.fail(&error);
                    match self.reload().await? {
                        Some(loaded) => state = loaded,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// Reads the clock once for a batch. Time never runs backwards for the state.
    fn stamp(&mut self) {
        self.now = self.now.max(wall_clock());
    }

    fn take(&mut self, state: &mut State, request: Request, batch: &mut Batch) {
        match request {
            Request::Ask { command, answer } => {
                let applied = state.apply(command, self.now);
                batch.changes.extend(applied.changes);
                batch
                    .answers
                    .push((answer, applied.reply.map_err(EngineError::from)));
            }
            Request::Sync {
                command,
                wait,
                answer,
            } => {
                let wish = parking::wish(&command);
                let applied = state.apply(command, self.now);
                let quiet = applied.changes.is_empty() && parking::is_empty(&applied.reply);
                batch.changes.extend(applied.changes);
                let Some(pilot) = wish else {
                    batch
                        .answers
                        .push((answer, applied.reply.map_err(EngineError::from)));
                    return;
                };
                // The newer wish ends the older one, whose answer is then empty.
                batch.answers.extend(self.parking.leave(pilot));
                if quiet && !wait.is_zero() {
                    self.parking.park(pilot, answer, wait);
                    return;
                }
                if quiet {
                    // The state left the wish open, but nobody waits.
                    let closed = state.apply(Command::CloseWant { pilot }, self.now);
                    batch.changes.extend(closed.changes);
                }
                batch
                    .answers
                    .push((answer, applied.reply.map_err(EngineError::from)));
            }
            Request::Look(look) => batch.looks.push(look),
        }
    }

    /// Ends the wishes that have waited enough, or whose pilot has gone away.
    fn sweep(&mut self, state: &mut State, batch: &mut Batch) {
        for (pilot, answer) in self.parking.due() {
            let applied = state.apply(Command::CloseWant { pilot }, self.now);
            batch.changes.extend(applied.changes);
            batch.answers.push((answer, Ok(parking::empty())));
        }
    }

    /// Gives what there is to the pilots whose wishes are parked, and hands out orders.
    fn serve(&mut self, state: &mut State, batch: &mut Batch) {
        if self.parking.is_empty() {
            return;
        }
        let applied = state.apply(Command::Serve, self.now);
        batch.changes.extend(applied.changes);
        if let Ok(Reply::Served(served)) = applied.reply {
            for (pilot, reply) in served {
                let parked = self.parking.leave(pilot);
                batch
                    .answers
                    .extend(parked.map(|(answer, _)| (answer, Ok(reply))));
            }
        }
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.store.commit(changes).await?;
        self.committed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Loads the state again, trying until it works; meanwhile every request is answered with the
    /// reason. `None` when every [`Engine`] is gone.
    async fn reload(&mut self) -> Result<Option<State>, StoreError> {
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.store.load().await {
                Ok(snapshot) => {
                    self.stamp();
                    tracing::info!("the state is loaded again");
                    return Ok(Some(State::load(snapshot, self.settings.clone(), self.now)));
                }
                Err(StoreError::Superseded) => return Err(StoreError::Superseded),
                Err(error) => EngineError::Store(error.to_string()),
            };
            tracing::error!(%error, "the state cannot be loaded; trying again");
            let until = tokio::time::Instant::now() + pause;
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
            while let Ok(request) = tokio::time::timeout_at(until, self.requests.recv()).await {
                match request {
                    Some(Request::Ask { answer, .. } | Request::Sync { answer, .. }) => {
                        let _ = answer.send(Err(error.clone()));
                    }
                    // Dropping a look tells its asker that there is nothing to see.
                    Some(Request::Look(_)) => {}
                    None => return Ok(None),
                }
            }
        }
    }
}

impl Batch {
    /// All of it is durable: let everybody know. Those who asked may have gone away meanwhile.
    fn answer(self, state: &State, now: Timestamp) {
        for (answer, reply) in self.answers {
            let _ = answer.send(reply);
        }
        for look in self.looks {
            look(state, now);
        }
    }

    /// Nothing of it is durable.
    fn fail(self, error: &EngineError) {
        for (answer, _) in self.answers {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

/// The moment by the machine's clock.
pub fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |span| span.as_millis());
    Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
}
