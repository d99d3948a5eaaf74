//! What a pilot decides: what it holds, what to start and stop, what to say to the
//! server and when, and when to end. It does no I/O and reads no clock: the driver
//! tells what happened and when, and carries out the [`Step`]s that come of it.

mod sleep;
mod talk;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairway_api::pilot::{AttemptOrder, Lease, Report, ReportKind, SyncReply, SyncRequest, Used};
use fairway_model::{Attempt, AttemptEnd, Order, Resources, TaskId};

use self::sleep::Sleep;

/// Between SIGTERM and SIGKILL for a payload that is stopped.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// The same when the pilot itself must leave: batch systems grant little more.
pub const LEAVE_GRACE: Duration = Duration::from_secs(2);
/// All that a pilot that must leave takes for it.
pub const LEAVE_TIME: Duration = Duration::from_secs(4);
/// Part of [`LEAVE_TIME`] kept for the last report and the goodbye.
const LAST_WORDS: Duration = Duration::from_millis(1000);
/// A task that could not be started for so long is handed back: another pilot may be free.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ended attempts that are remembered, so that a late copy of a lease does not run again.
const REMEMBERED_MAX: usize = 4096;

/// Time since the start of the pilot.
pub type Moment = Duration;

/// One attempt at one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
}

impl fmt::Display for Key {
    /// `12.0-1`: also the name of its folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.task, self.attempt)
    }
}

impl From<&Lease> for Key {
    fn from(lease: &Lease) -> Self {
        Self {
            task: lease.task,
            attempt: lease.attempt,
        }
    }
}

/// The frame in which a pilot decides.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What it may use.
    pub capacity: Resources,
    /// When its allocation ends.
    pub ends_at: Moment,
    /// How long before that it begins to hand back.
    pub tidy_up: Duration,
    /// It ends after so long without work.
    pub idle: Duration,
    /// The server must hear of it at least this often.
    pub heartbeat: Duration,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the folder, fetch the inputs, then tell [`Machine::staged`].
    Stage(Arc<Lease>),
    /// Start the payload, then tell [`Machine::started`] and later [`Machine::exited`].
    Start(Key),
    /// Put the payload's whole tree to sleep (SIGSTOP).
    Suspend(Key),
    /// Let the payload's whole tree go on (SIGCONT).
    Resume(Key),
    /// Ask the payload's whole tree to end (SIGTERM), which it can only if it does not sleep.
    Terminate(Key),
    /// End the payload's whole tree (SIGKILL).
    Kill(Key),
    /// Bring logs, and outputs if so told, to the server; then tell [`Machine::delivered`].
    Deliver {
        /// Of which attempt.
        key: Key,
        /// Whether output files are wanted too.
        outputs: bool,
    },
    /// Stop all work for the attempt and remove its folder.
    Drop(Key),
}

/// A sync to send. Its outcome goes to [`Machine::synced`] or [`Machine::sync_failed`].
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// To be given back with the outcome.
    pub id: u64,
    /// What to send.
    pub request: SyncRequest,
}

/// Why a payload is being stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Cancelled,
    Walltime {
        limit_s: u64,
    },
    Memory {
        limit_mib: u64,
        used_mib: u64,
    },
    HandBack {
        reason: String,
    },
    /// Others need the room. That it ended well nevertheless is what is reported then.
    GiveWay,
    /// The server has written the attempt off: nothing is reported.
    Stale,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Inputs are on their way.
    Staging,
    /// Ready since then; resources are not free yet.
    Waiting { since: Moment },
    /// Asked to start at that moment.
    Starting { since: Moment },
    /// Runs; to be killed at that moment if it is being stopped.
    Running {
        /// When its start was ordered: since then it has its slot.
        ordered: Moment,
        since: Moment,
        kill_at: Option<Moment>,
        sleep: Sleep,
    },
    /// The payload is over; its logs and outputs are on their way.
    Delivering { end: AttemptEnd, used: Used },
    /// The end is among the reports.
    Over,
}

#[derive(Debug)]
struct Held {
    lease: Arc<Lease>,
    stage: Stage,
    cause: Option<Cause>,
}

/// Whether the pilot works, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Working,
    /// Takes no more; ends when all that it holds is done.
    Draining {
        reason: String,
    },
    /// Hands back what it holds and is gone by that moment.
    Leaving {
        reason: String,
        by: Moment,
    },
}

/// The state of a pilot.
#[derive(Debug)]
pub struct Machine {
    terms: Terms,
    phase: Phase,
    held: BTreeMap<Key, Held>,
    /// Those of `held` that have not been started, in the order in which they came.
    queue: VecDeque<Key>,
    free: Resources,
    /// Ended attempts, oldest first, and the same as a set.
    remembered: (VecDeque<Key>, HashSet<Key>),
    idle_since: Option<Moment>,
    /// Whether its node is part of a task that another pilot has, or is to be.
    staying: bool,
    steps: Vec<Step>,

    /// Reports that wait to be sent, in order, and since when the oldest waits.
    reports: Vec<Report>,
    reports_since: Moment,
    /// The sync that carries reports, when it left, and what it carries.
    carrier: Option<(u64, Moment, Vec<Report>)>,
    /// The sync with the open wish, and the backlog that it wished for.
    wish: Option<(u64, u32)>,
    /// A sync that is a mere heartbeat.
    beat: Option<u64>,
    next_id: u64,
    round: u64,
    last_sync: Moment,
    retry_at: Moment,

    /// Running means of payload duration and of a sync's round trip.
    payload_time: Option<Duration>,
    round_trip: Duration,
}

impl Machine {
    /// A pilot that has just registered.
    pub fn new(terms: Terms, now: Moment) -> Self {
        Self {
            terms,
            phase: Phase::Working,
            held: BTreeMap::new(),
            queue: VecDeque::new(),
            free: terms.capacity,
            remembered: (VecDeque::new(), HashSet::new()),
            idle_since: Some(now),
            staying: false,
            steps: Vec::new(),
            reports: Vec::new(),
            reports_since: now,
            carrier: None,
            wish: None,
            beat: None,
            next_id: 0,
            round: 0,
            last_sync: now,
            retry_at: now,
            payload_time: None,
            round_trip: Duration::ZERO,
        }
    }

    /// What is to be done since this was last asked.
    pub fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// The lease of an attempt that is held.
    pub fn lease(&self, key: Key) -> Option<&Arc<Lease>> {
        self.held.get(&key).map(|held| &held.lease)
    }

    // What the server says.

    /// A sync succeeded.
    pub fn synced(&mut self, now: Moment, id: u64, reply: SyncReply) {
        self.last_sync = now;
        self.retry_at = now;
        if let Some((_, sent_at, reports)) = self.carrier.take_if(|(carrier, ..)| *carrier == id) {
            self.round_trip = mean(Some(self.round_trip), now.saturating_sub(sent_at));
            for report in reports {
                if matches!(report.what, ReportKind::Ended { .. }) {
                    self.forget(Key {
                        task: report.task,
                        attempt: report.attempt,
                    });
                }
            }
        }
        self.wish.take_if(|(wish, _)| *wish == id);
        self.beat.take_if(|beat| *beat == id);
        // Orders come first: what is to be stopped may be among the leases as well.
        for order in reply.orders {
            self.obey(now, order);
        }
        self.staying = reply.stay.unwrap_or(self.staying);
        if reply.drain {
            self.drain(now, "the server asked it to finish");
        }
        for lease in reply.leases {
            self.accept(lease);
        }
        self.settle(now);
    }

    /// A sync failed for a reason that may pass; nothing is to be sent before `retry_at`.
    pub fn sync_failed(&mut self, now: Moment, id: u64, retry_at: Moment) {
        if let Some((_, _, mut reports)) = self.carrier.take_if(|(carrier, ..)| *carrier == id) {
            reports.retain(|r| {
                self.held.contains_key(&Key {
                    task: r.task,
                    attempt: r.attempt,
                })
            });
            reports.append(&mut self.reports);
            self.reports = reports;
        }
        self.wish.take_if(|(wish, _)| *wish == id);
        self.beat.take_if(|beat| *beat == id);
        self.retry_at = self.retry_at.max(retry_at);
        self.settle(now);
    }

    fn accept(&mut self, lease: Lease) {
        let key = Key::from(&lease);
        if self.held.contains_key(&key) || self.remembered.1.contains(&key) {
            return; // A copy of one that it has or had.
        }
        let lease = Arc::new(lease);
        let fits = self.terms.capacity.holds(lease.payload.resources);
        let held = Held {
            lease: Arc::clone(&lease),
            stage: Stage::Staging,
            cause: None,
        };
        self.held.insert(key, held);
        match &self.phase {
            Phase::Leaving { reason, .. } => {
                let end = AttemptEnd::HandedBack {
                    reason: reason.clone(),
                };
                self.report_end(key, end, Used::default());
            }
            _ if !fits => {
                let reason = "it asks for more than this pilot has".to_owned();
                self.report_end(key, AttemptEnd::NotStarted { reason }, Used::default());
            }
            _ => {
                self.queue.push_back(key);
                self.steps.push(Step::Stage(lease));
            }
        }
    }

    fn obey(&mut self, now: Moment, order: AttemptOrder) {
        let key = Key {
            task: order.task,
            attempt: order.attempt,
        };
        match order.what {
            Order::Cancel => self.stop(now, key, Cause::Cancelled, STOP_GRACE),
            Order::WriteOff => self.stop(now, key, Cause::Stale, STOP_GRACE),
            Order::GiveWay { grace_s } => {
                self.give_way(now, key, Duration::from_secs(grace_s));
            }
            Order::Suspend => self.suspend(now, key),
            Order::Resume => self.resume(key),
        }
    }

    /// Told again, this changes nothing: the payload has its grace from the first time.
    fn give_way(&mut self, now: Moment, key: Key, grace: Duration) {
        let is_stopped = |held: &Held| held.cause.is_some();
        if !self.held.get(&key).is_some_and(is_stopped) {
            self.stop(now, key, Cause::GiveWay, grace);
        }
    }

    /// Finish what is there, take no more, end. What sleeps is handed back: nobody knows when
    /// it could go on.
    fn drain(&mut self, now: Moment, reason: &str) {
        if self.phase == Phase::Working {
            self.phase = Phase::Draining {
                reason: reason.to_owned(),
            };
            self.hand_back_sleepers(now, reason);
        }
    }

    // What happens on this machine.

    /// Inputs are there, or cannot be had.
    pub fn staged(&mut self, now: Moment, key: Key, outcome: Result<(), String>) {
        let Some(held) = self
            .held
            .get_mut(&key)
            .filter(|held| held.stage == Stage::Staging)
        else {
            return; // Stopped meanwhile.
        };
        match outcome {
            Ok(()) => held.stage = Stage::Waiting { since: now },
            Err(reason) => {
                self.report_end(key, AttemptEnd::NotStarted { reason }, Used::default());
            }
        }
        self.settle(now);
    }

    /// The payload runs, or could not be started.
    pub fn started(&mut self, now: Moment, key: Key, outcome: Result<(), String>) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let Stage::Starting { since: ordered } = held.stage else {
            return;
        };
        match outcome {
            Ok(()) => {
                held.stage = Stage::Running {
                    ordered,
                    since: now,
                    kill_at: None,
                    sleep: Sleep::default(),
                };
                if let Some(cause) = held.cause.take() {
                    let grace = if matches!(cause, Cause::HandBack { .. }) {
                        LEAVE_GRACE
                    } else {
                        STOP_GRACE
                    };
                    self.stop(now, key, cause, grace);
                } else {
                    self.report(key, ReportKind::Started);
                }
            }
            Err(reason) => {
                self.give_back_resources(key);
                self.over(key, AttemptEnd::NotStarted { reason }, Used::default());
            }
        }
        self.settle(now);
    }

    /// The payload ended: `end` as the operating system tells it.
    pub fn exited(&mut self, now: Moment, key: Key, end: AttemptEnd, used: Used) {
        let Some(held) = self.held.get(&key) else {
            return;
        };
        let Stage::Running { ordered, sleep, .. } = held.stage else {
            return;
        };
        self.payload_time = Some(mean(self.payload_time, sleep.awake(ordered, now)));
        self.give_back_resources(key);
        self.over(key, end, used);
        self.settle(now);
    }

    /// The payload's tree uses more memory than it asked for.
    pub fn over_memory(&mut self, now: Moment, key: Key, used_mib: u64) {
        let Some(held) = self.held.get(&key) else {
            return;
        };
        let limit_mib = held.lease.payload.resources.memory_mib;
        self.stop(
            now,
            key,
            Cause::Memory {
                limit_mib,
                used_mib,
            },
            STOP_GRACE,
        );
        self.settle(now);
    }

    /// Logs and outputs are at the server, or it refuses the outputs for that reason.
    pub fn delivered(&mut self, now: Moment, key: Key, lost: Option<String>) {
        let Some(held) = self.held.get(&key) else {
            return;
        };
        let Stage::Delivering { end, used } = &held.stage else {
            return;
        };
        let end = match lost {
            Some(reason) if end.is_success() => AttemptEnd::OutputLost { reason },
            _ => end.clone(),
        };
        let used = *used;
        self.report_end(key, end, used);
        self.settle(now);
    }

    /// The pilot must go: hand back what it holds.
    pub fn leave(&mut self, now: Moment, reason: &str) {
        if matches!(self.phase, Phase::Leaving { .. }) {
            return;
        }
        self.phase = Phase::Leaving {
            reason: reason.to_owned(),
            by: now + LEAVE_TIME,
        };
        for key in self.held.keys().copied().collect::<Vec<_>>() {
            self.stop(
                now,
                key,
                Cause::HandBack {
                    reason: reason.to_owned(),
                },
                LEAVE_GRACE,
            );
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Moment) {
        for key in self.held.keys().copied().collect::<Vec<_>>() {
            self.tick_attempt(now, key);
        }
        if !matches!(self.phase, Phase::Leaving { .. }) && now >= self.leave_at() {
            self.leave(now, "the pilot's allocation ends");
        }
        let idle = self
            .idle_since
            .is_some_and(|since| now >= since + self.terms.idle);
        if idle {
            let reason = format!("there was no work for {} s", self.terms.idle.as_secs());
            self.drain(now, &reason);
        }
        self.settle(now);
    }

    fn tick_attempt(&mut self, now: Moment, key: Key) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        match &mut held.stage {
            Stage::Running { kill_at, .. } if kill_at.is_some_and(|at| now >= at) => {
                // Asked for again after a while, should the tree grow faster than it is killed.
                *kill_at = Some(now + LEAVE_GRACE);
                self.steps.push(Step::Kill(key));
            }
            Stage::Running {
                since,
                kill_at: None,
                sleep,
                ..
            } => {
                if let Some(limit_s) = held.lease.payload.walltime_s
                    && sleep
                        .over_at(*since, limit_s)
                        .is_some_and(|over_at| now >= over_at)
                {
                    self.stop(now, key, Cause::Walltime { limit_s }, STOP_GRACE);
                }
            }
            Stage::Waiting { since } if now >= *since + PATIENCE => {
                let reason = "it waited for other tasks on the same pilot".to_owned();
                self.stop(now, key, Cause::HandBack { reason }, STOP_GRACE);
            }
            Stage::Delivering { .. } => {
                if let Phase::Leaving { reason, by } = &self.phase
                    && now + LAST_WORDS >= *by
                {
                    let end = AttemptEnd::HandedBack {
                        reason: reason.clone(),
                    };
                    self.report_end(key, end, Used::default());
                }
            }
            _ => {}
        }
    }

    // Changes of one attempt.

    fn stop(&mut self, now: Moment, key: Key, cause: Cause, grace: Duration) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        match &mut held.stage {
            Stage::Staging | Stage::Waiting { .. } => {
                self.queue.retain(|queued| *queued != key);
                self.held
                    .entry(key)
                    .and_modify(|held| held.cause = Some(cause));
                self.over(key, AttemptEnd::Cancelled, Used::default());
            }
            Stage::Starting { .. } => held.cause = Some(cause),
            Stage::Running { kill_at, sleep, .. } => {
                let at = now + grace;
                *kill_at = Some(kill_at.map_or(at, |already| already.min(at)));
                let slept = sleep.end(now);
                // The first reason stands, unless nobody wants to hear it any more.
                if held.cause.is_none() || cause == Cause::Stale {
                    held.cause = Some(cause);
                }
                self.steps.push(Step::Terminate(key));
                if slept {
                    self.steps.push(Step::Resume(key));
                }
            }
            Stage::Delivering { .. } | Stage::Over => {
                if cause == Cause::Stale {
                    self.forget(key);
                }
            }
        }
    }

    /// The attempt came to an end; why it was stopped outweighs how its process ended.
    fn over(&mut self, key: Key, end: AttemptEnd, used: Used) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let (end, outputs) = match held.cause.take() {
            None => (end, true),
            Some(Cause::Cancelled) => (AttemptEnd::Cancelled, false),
            Some(Cause::Walltime { limit_s }) => (AttemptEnd::WalltimeExceeded { limit_s }, true),
            Some(Cause::Memory {
                limit_mib,
                used_mib,
            }) => (
                AttemptEnd::MemoryExceeded {
                    limit_mib,
                    used_mib,
                },
                true,
            ),
            Some(Cause::HandBack { reason }) => (AttemptEnd::HandedBack { reason }, false),
            Some(Cause::GiveWay) if end.is_success() => (end, true),
            Some(Cause::GiveWay) => {
                let reason = "it gave way to others".to_owned();
                (AttemptEnd::HandedBack { reason }, false)
            }
            Some(Cause::Stale) => return self.forget(key),
        };
        if matches!(held.stage, Stage::Running { .. }) {
            held.stage = Stage::Delivering { end, used };
            self.steps.push(Step::Deliver { key, outputs });
        } else {
            self.report_end(key, end, used);
        }
    }

    fn give_back_resources(&mut self, key: Key) {
        if let Some(held) = self.held.get(&key) {
            self.free = self.free.plus(held.takes());
        }
    }

    fn report(&mut self, key: Key, what: ReportKind) {
        self.reports.push(Report {
            task: key.task,
            attempt: key.attempt,
            what,
        });
    }

    fn report_end(&mut self, key: Key, end: AttemptEnd, used: Used) {
        if let Some(held) = self.held.get_mut(&key) {
            held.stage = Stage::Over;
            self.queue.retain(|queued| *queued != key);
            self.report(key, ReportKind::Ended { end, used });
        }
    }

    fn forget(&mut self, key: Key) {
        if self.held.remove(&key).is_none() {
            return;
        }
        self.reports
            .retain(|r| (r.task, r.attempt) != (key.task, key.attempt));
        self.steps.push(Step::Drop(key));
        let (order, set) = &mut self.remembered;
        order.push_back(key);
        set.insert(key);
        if order.len() > REMEMBERED_MAX
            && let Some(oldest) = order.pop_front()
        {
            set.remove(&oldest);
        }
    }

    /// After each event: start what can be started, and note since when nothing is there.
    fn settle(&mut self, now: Moment) {
        self.wake(now);
        let mut place = 0;
        while let Some(key) = self.queue.get(place).copied() {
            let Some(held) = self.held.get_mut(&key) else {
                self.queue.remove(place);
                continue;
            };
            if !matches!(held.stage, Stage::Waiting { .. }) {
                place += 1;
                continue;
            }
            // The first that is ready and does not fit keeps its place: the small
            // ones behind it would otherwise keep it waiting for ever.
            let Some(free) = self.free.minus(held.lease.payload.resources) else {
                break;
            };
            self.free = free;
            held.stage = Stage::Starting { since: now };
            self.queue.remove(place);
            self.steps.push(Step::Start(key));
        }
        if self.reports.is_empty() {
            self.reports_since = Moment::MAX;
        } else {
            self.reports_since = self.reports_since.min(now);
        }
        self.idle_since = match self.idle_since {
            _ if !self.held.is_empty() || self.staying => None,
            None => Some(now),
            since => since,
        };
    }

    /// Why the pilot is done, once it is.
    pub fn over_because(&self, now: Moment) -> Option<&str> {
        let done = self.held.is_empty();
        match &self.phase {
            Phase::Working => None,
            Phase::Draining { reason } => (done && !self.staying).then_some(reason),
            Phase::Leaving { reason, by } => (done || now >= *by).then_some(reason),
        }
    }

    /// Whether the pilot is on its way out and has no time to wait for anything.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    fn leave_at(&self) -> Moment {
        self.terms.ends_at.saturating_sub(self.terms.tidy_up)
    }
}

/// The running mean with a new value, which counts one fifth.
fn mean(before: Option<Duration>, value: Duration) -> Duration {
    before.map_or(value, |before| (before * 4 + value) / 5)
}

#[cfg(test)]
mod tests;
