//! What a pilot decides: what it holds, what to start and stop, what to say to the
//! server and when, and when to end. It does no I/O and reads no clock: the driver
//! tells what happened and when, and carries out the [`Step`]s that come of it.
//!
//! Here is what a pilot holds, what it starts next and when it ends; `hear` is what the server
//! says, `talk` what is said to it, `attempt` what becomes of one attempt and `sleep` what
//! of payloads that sleep for others.

mod attempt;
mod hear;
mod sleep;
mod talk;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairway_api::pilot::{Lease, Report, SyncRequest, Used};
use fairway_model::{Attempt, AttemptEnd, Resources, TaskId};

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
