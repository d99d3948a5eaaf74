//! Connects the [`Machine`] with the world: tells it what happens, and does what it
//! decides. One task owns all state; whatever takes time runs beside it and reports
//! back through one channel.

mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as jobs};
use std::time::{Duration, Instant};

use fairway_api::pilot::{Bootstrap, Lease, RegisterRequest, SyncReply, Used};
use fairway_model::AttemptEnd;
use rand::Rng;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::client::{Backoff, CallError, Client};
use crate::folders::{Folder, Folders};
use crate::logs::Logs;
use crate::machine::{Key, Machine, Moment, Step, Terms};
use crate::meter::{Account, Census};
use crate::payload::{self, BaseEnvironment, Job, Launched};
use crate::sandbox::{self, Cache, StageError};
use crate::spool::{self, Outputs};
use crate::{PilotError, guard, probe};

/// News that may wait to be taken in; beyond that, those who bring them wait.
const NEWS_MAX: usize = 1024;
/// Between looks at running payloads.
const CENSUS_PAUSE: Duration = Duration::from_millis(500);
/// Between looks at growing logs.
const LOG_PAUSE: Duration = Duration::from_secs(1);
/// For the goodbye, if there is time.
const GOODBYE_TIME: Duration = Duration::from_secs(5);
const HASTY_GOODBYE_TIME: Duration = Duration::from_millis(800);
/// Part of the walltime kept for tidying up: a twentieth, within these bounds.
const TIDY_UP_MIN: Duration = Duration::from_secs(5);
const TIDY_UP_MAX: Duration = Duration::from_secs(60);

/// What those who work beside the driver tell it.
enum News {
    Staged(Key, Result<(), String>),
    Launched(Key, Result<Launched, String>),
    /// An end that was held back for a while.
    Ended(Key, AttemptEnd, Used),
    Flushed(Key, Logs),
    Delivered(Key, Option<String>),
    Synced(u64, Result<SyncReply, CallError>),
    SessionOver(String),
}

/// What the driver keeps of one attempt.
struct Work {
    /// Not here before there is one, nor while the launcher has it.
    folder: Option<Folder>,
    running: Option<Running>,
    /// Not here while they are being sent.
    logs: Option<Logs>,
    /// To be delivered once the logs are back: the outer `Option` is whether, the inner what.
    waiting: Option<Option<Outputs>>,
    /// Work beside the driver, to be stopped with the attempt.
    task: Option<AbortHandle>,
    account: Account,
}

#[derive(Clone, Copy)]
struct Running {
    pid: Pid,
    at: Instant,
    memory_limit_mib: u64,
    /// Whether the pilot has sent it a signal to end it.
    signalled: bool,
    /// Since when it sleeps, and for how long it slept before.
    asleep: Option<Instant>,
    slept: Duration,
}

struct Driver {
    client: Client,
    machine: Machine,
    start: Instant,
    work: BTreeMap<Key, Work>,
    /// First processes of running payloads.
    roots: BTreeMap<i32, Key>,
    /// Payloads that the launcher was asked to start and has not told of.
    starting: BTreeSet<Key>,
    census: Census,
    census_at: Option<Moment>,
    logs_at: Moment,
    backoff: Backoff,
    cache: Arc<Cache>,
    folder: PathBuf,
    /// Never long: at most two jobs for each attempt that is held.
    launcher: jobs::Sender<Job>,
    news: mpsc::Sender<News>,
    session_over: Option<String>,
}

/// The pilot proper, from registration to goodbye.
pub(crate) async fn work(bootstrap: Bootstrap) -> Result<(), PilotError> {
    let start = Instant::now();
    let failed = |e: std::io::Error| PilotError::Machine(e.to_string());
    let ended = signal(SignalKind::child()).map_err(failed)?;
    let mut stop = StopSignals::new().map_err(failed)?;
    let probe::Allocation {
        resources: capacity,
        remaining: lifetime,
        host,
    } = probe::allocation(&bootstrap);
    let folder = work_folder(&bootstrap)
        .map_err(|e| PilotError::Machine(format!("the work folder cannot be made: {e}")))?;
    let request = RegisterRequest {
        pilot: bootstrap.pilot,
        secret: bootstrap.secret.clone(),
        nonce: format!("{:032x}", rand::rng().random::<u128>()),
        host,
        resources: capacity,
        remaining_s: lifetime.as_secs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let idle = Duration::from_secs(bootstrap.idle_s);
    let client = Client::new(&bootstrap)?;
    let registered = tokio::select! {
        registered = register(&client, request, idle.min(lifetime)) => registered?,
        signal = stop.recv() => {
            tracing::info!(signal, "ended before it was registered");
            return Ok(());
        }
    };
    let (client, heartbeat) = registered;
    tracing::info!(pilot = %bootstrap.pilot, ?capacity, "registered");
    let terms = Terms {
        capacity,
        ends_at: lifetime,
        tidy_up: (lifetime / 20).clamp(TIDY_UP_MIN, TIDY_UP_MAX),
        idle,
        heartbeat,
    };
    let (news, inbox) = mpsc::channel(NEWS_MAX);
    let mut driver = Driver {
        client,
        machine: Machine::new(terms, start.elapsed()),
        start,
        work: BTreeMap::new(),
        roots: BTreeMap::new(),
        starting: BTreeSet::new(),
        census: Census::default(),
        census_at: None,
        logs_at: Moment::ZERO,
        backoff: Backoff::default(),
        cache: Arc::new(Cache::new(folder.path().join("cache")).map_err(failed)?),
        folder: folder.path().to_owned(),
        launcher: start_launcher(folder.path(), news.clone()).map_err(failed)?,
        news,
        session_over: None,
    };
    let reason = driver.run(inbox, ended, stop).await;
    // Nothing is left behind: no process, then no file.
    guard::sweep().await;
    driver.end(&reason, folder).await
}

/// Where payloads' folders are made; removed when dropped.
fn work_folder(bootstrap: &Bootstrap) -> std::io::Result<tempfile::TempDir> {
    let prefix = format!("fairway-{}-", bootstrap.pilot);
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(&prefix);
    match &bootstrap.work_dir {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            builder.tempdir_in(std::path::absolute(folder)?)
        }
        None => builder.tempdir(),
    }
}

/// Registers, for as long as that may take; the session's client and its heartbeat.
async fn register(
    client: &Client,
    request: RegisterRequest,
    within: Duration,
) -> Result<(Client, Duration), PilotError> {
    let start = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        match client.register(&request).await {
            Ok((client, reply)) => {
                return Ok((client, Duration::from_secs(reply.heartbeat_s.max(1))));
            }
            Err(error @ CallError::Away { .. }) => {
                let pause = backoff.next(&error);
                if start.elapsed() + pause > within {
                    return Err(PilotError::Unreachable(error.to_string()));
                }
                tracing::warn!(%error, retry_in_ms = pause.as_millis() as u64, "not registered yet");
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(PilotError::Refused(error.to_string())),
        }
    }
}

fn start_launcher(folder: &Path, news: mpsc::Sender<News>) -> std::io::Result<jobs::Sender<Job>> {
    let (sender, receiver) = jobs::channel();
    let base = BaseEnvironment::from_own();
    let folders = Folders::new(folder.to_owned());
    std::thread::Builder::new()
        .name("launcher".to_owned())
        .spawn(move || {
            payload::launcher(&base, folders, &receiver, |key, outcome| {
                // If the driver is gone, so is the need to tell.
                let _ = news.blocking_send(News::Launched(key, outcome));
            });
        })?;
    Ok(sender)
}

/// The signals that tell the pilot to leave.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl Driver {
    fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// Works until the machine says that it is over, and why.
    async fn run(
        &mut self,
        mut inbox: mpsc::Receiver<News>,
        mut ended: tokio::signal::unix::Signal,
        mut stop: StopSignals,
    ) -> String {
        loop {
            self.act();
            if let Some(reason) = &self.session_over {
                return reason.clone();
            }
            let now = self.now();
            if let Some(reason) = self.machine.over_because(now) {
                return reason.to_owned();
            }
            let wake = self.next_moment(now);
            tokio::select! {
                news = inbox.recv() => {
                    // More may have come at the same time.
                    let mut next = news;
                    while let Some(news) = next {
                        self.take_in(news);
                        next = inbox.try_recv().ok();
                    }
                }
                _ = ended.recv() => self.collect_ended(),
                signal = stop.recv() => {
                    let reason = format!("the pilot was told to end ({signal})");
                    self.machine.leave(self.now(), &reason);
                }
                () = tokio::time::sleep_until((self.start + wake).into()) => self.tick(),
            }
        }
    }

    /// Tidies up after [`run`](Self::run).
    async fn end(&mut self, reason: &str, folder: tempfile::TempDir) -> Result<(), PilotError> {
        for work in self.work.values_mut() {
            if let Some(task) = work.task.take() {
                task.abort();
            }
        }
        let leaving = self.machine.is_leaving();
        if self.session_over.is_none() {
            let within = if leaving {
                HASTY_GOODBYE_TIME
            } else {
                GOODBYE_TIME
            };
            if let Err(error) = self.client.goodbye(reason, within).await {
                tracing::warn!(%error, "the server did not hear the goodbye");
            }
        }
        let folder_name = folder.path().display().to_string();
        if let Err(error) = folder.close() {
            tracing::warn!(%error, folder_name, "the work folder cannot be removed");
        }
        match &self.session_over {
            Some(reason) => Err(PilotError::SessionOver(reason.clone())),
            None => {
                tracing::info!(reason, "ended");
                Ok(())
            }
        }
    }

    fn next_moment(&self, now: Moment) -> Moment {
        let mut next = self.machine.next_moment(now);
        if let Some(census_at) = self.census_at {
            next = next.min(census_at);
        }
        if !self.roots.is_empty() {
            next = next.min(self.logs_at);
        }
        next
    }

    fn tick(&mut self) {
        let now = self.now();
        if self.census_at.is_some_and(|at| now >= at) {
            self.take_census();
        }
        if now >= self.logs_at {
            self.logs_at = now + LOG_PAUSE;
            let keys: Vec<Key> = self.roots.values().copied().collect();
            for key in keys {
                self.flush_logs(key);
            }
        }
        self.machine.tick(now);
    }

    /// Does what the machine wants, until it wants no more.
    fn act(&mut self) {
        loop {
            let steps = self.machine.take_steps();
            if steps.is_empty() {
                break;
            }
            for step in steps {
                self.step(step);
            }
        }
        while let Some(outgoing) = self.machine.next_sync(self.now()) {
            let (client, news) = (self.client.clone(), self.news.clone());
            tokio::spawn(async move {
                let outcome = client.sync(&outgoing.request).await;
                tell(&news, News::Synced(outgoing.id, outcome)).await;
            });
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Stage(lease) => self.stage(lease),
            Step::Start(key) => self.start(key),
            Step::Suspend(key) => self.suspend_tree(key),
            Step::Resume(key) => self.resume_tree(key),
            Step::Terminate(key) => self.signal_tree(key, Signal::TERM),
            Step::Kill(key) => self.signal_tree(key, Signal::KILL),
            Step::Deliver { key, outputs } => self.deliver(key, outputs),
            Step::Drop(key) => {
                if let Some(work) = self.work.remove(&key) {
                    if let Some(task) = work.task {
                        task.abort();
                    }
                    if let Some(mut folder) = work.folder {
                        if work.running.is_some() {
                            folder.forget();
                        }
                        self.give_back(folder);
                    }
                }
            }
        }
    }

    fn stage(&mut self, lease: Arc<Lease>) {
        let key = Key::from(&*lease);
        let mut work = Work {
            folder: None,
            running: None,
            logs: None,
            waiting: None,
            task: None,
            account: Account::default(),
        };
        let fetches = !lease.payload.inputs.is_empty();
        if fetches {
            let folder = self.folder.join(key.to_string());
            work.folder = Some(Folder::once(folder.clone()));
            let (client, news) = (self.client.clone(), self.news.clone());
            let cache = Arc::clone(&self.cache);
            let task = tokio::spawn(async move {
                let outcome = match sandbox::stage(&client, &cache, &lease, &folder).await {
                    Ok(()) => News::Staged(key, Ok(())),
                    Err(StageError::Failed(reason)) => News::Staged(key, Err(reason)),
                    Err(StageError::SessionOver(reason)) => News::SessionOver(reason),
                };
                tell(&news, outcome).await;
            });
            work.task = Some(task.abort_handle());
        }
        self.work.insert(key, work);
        if !fetches {
            // The launcher finds a folder.
            self.machine.staged(self.now(), key, Ok(()));
        }
    }

    fn start(&mut self, key: Key) {
        let (Some(work), Some(lease)) = (self.work.get_mut(&key), self.machine.lease(key)) else {
            return;
        };
        let job = Job::Launch(Arc::clone(lease), work.folder.take());
        self.starting.insert(key);
        if self.launcher.send(job).is_err() {
            self.machine.started(
                self.now(),
                key,
                Err("the pilot's launcher failed".to_owned()),
            );
        }
    }

    fn give_back(&self, folder: Folder) {
        if self.launcher.send(Job::GiveBack(folder)).is_err() {
            tracing::debug!("the launcher is gone; the folder goes with the work folder");
        }
    }

    fn take_in(&mut self, news: News) {
        let now = self.now();
        match news {
            News::Staged(key, outcome) => self.machine.staged(now, key, outcome),
            News::Launched(key, outcome) => self.launched(key, outcome),
            News::Ended(key, end, used) => self.machine.exited(now, key, end, used),
            News::Flushed(key, logs) => self.flushed(key, logs),
            News::Delivered(key, lost) => self.machine.delivered(now, key, lost),
            News::SessionOver(reason) => self.session_over = Some(reason),
            News::Synced(id, Ok(reply)) => {
                self.backoff.reset();
                self.machine.synced(now, id, reply);
            }
            News::Synced(_, Err(CallError::SessionOver(reason))) => {
                self.session_over = Some(reason);
            }
            News::Synced(id, Err(error)) => {
                let pause = self.backoff.next(&error);
                tracing::warn!(%error, retry_in_ms = pause.as_millis() as u64, "sync failed");
                self.machine.sync_failed(now, id, now + pause);
            }
        }
    }

    fn launched(&mut self, key: Key, outcome: Result<Launched, String>) {
        let now = self.now();
        self.starting.remove(&key);
        let mut launched = match outcome {
            Ok(launched) => launched,
            Err(reason) => return self.machine.started(now, key, Err(reason)),
        };
        let lease = self.machine.lease(key).cloned();
        let (Some(work), Some(lease)) = (self.work.get_mut(&key), lease) else {
            // Forgotten while it started: the server does not want it any more.
            payload::signal_group(launched.pid, Signal::KILL);
            launched.folder.forget();
            return self.give_back(launched.folder);
        };
        work.folder = Some(launched.folder);
        work.logs = Some(Logs::new(launched.stdout, launched.stderr));
        work.running = Some(Running {
            pid: launched.pid,
            at: launched.at,
            memory_limit_mib: lease.payload.resources.memory_mib,
            signalled: false,
            asleep: None,
            slept: Duration::ZERO,
        });
        self.roots.insert(launched.pid.as_raw_nonzero().get(), key);
        self.census_at.get_or_insert(now + CENSUS_PAUSE);
        self.machine.started(now, key, Ok(()));
        // It may have ended before its pid was known here.
        self.collect(launched.pid, key);
    }

    /// Sends what a running payload wrote since the last time.
    fn flush_logs(&mut self, key: Key) {
        let Some(work) = self.work.get_mut(&key) else {
            return;
        };
        let Some(mut logs) = work.logs.take_if(|logs| logs.grew()) else {
            return;
        };
        let (client, news) = (self.client.clone(), self.news.clone());
        let task = tokio::spawn(async move {
            let news_item = match logs.flush(&client, key).await {
                Err(CallError::SessionOver(reason)) => News::SessionOver(reason),
                _ => News::Flushed(key, logs),
            };
            tell(&news, news_item).await;
        });
        work.task = Some(task.abort_handle());
    }

    fn flushed(&mut self, key: Key, logs: Logs) {
        let Some(work) = self.work.get_mut(&key) else {
            return;
        };
        work.logs = Some(logs);
        if let Some(outputs) = work.waiting.take() {
            self.deliver_now(key, outputs);
        }
    }

    fn deliver(&mut self, key: Key, outputs: bool) {
        let lease = self.machine.lease(key).cloned();
        let (Some(work), Some(lease)) = (self.work.get_mut(&key), lease) else {
            return;
        };
        let patterns = &lease.payload.outputs;
        let folder = work.folder.as_ref().map(|folder| folder.path().to_owned());
        let outputs = folder
            .filter(|_| outputs && !patterns.is_empty())
            .map(|folder| Outputs {
                folder,
                patterns: patterns.clone(),
            });
        if work.logs.is_some() {
            self.deliver_now(key, outputs);
        } else {
            work.waiting = Some(outputs);
        }
    }

    fn deliver_now(&mut self, key: Key, outputs: Option<Outputs>) {
        let Some(work) = self.work.get_mut(&key) else {
            return;
        };
        let Some(logs) = work.logs.take() else { return };
        if outputs.is_none() && !logs.grew() {
            return self.machine.delivered(self.now(), key, None);
        }
        let (client, news) = (self.client.clone(), self.news.clone());
        let task = tokio::spawn(async move {
            let news_item = match spool::deliver(&client, key, logs, outputs).await {
                Ok(lost) => News::Delivered(key, lost),
                Err(CallError::SessionOver(reason)) => News::SessionOver(reason),
                Err(error) => News::Delivered(key, Some(error.to_string())),
            };
            tell(&news, news_item).await;
        });
        work.task = Some(task.abort_handle());
    }
}

/// Tells the driver; if it is gone, nobody needs to know.
async fn tell(news: &mpsc::Sender<News>, item: News) {
    let _ = news.send(item).await;
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
