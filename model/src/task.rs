//! A task's life. It has at most one live attempt at a time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Attempt, PilotId, TaskId, Timestamp};

/// Where a task is in its life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// Waits for other tasks of its job to succeed, or for what its job depends on.
    Blocked,
    /// In the queue.
    Waiting,
    /// Kept out of the queue until its owner releases it.
    Held,
    /// Given to a pilot; its payload has not started yet.
    Leased,
    /// Its payload runs.
    Running,
    /// To be stopped: the pilot has been or will be told; the attempt is still live.
    Cancelling,
    /// Its payload exited with 0.
    Succeeded,
    /// It ended otherwise and has no retries left.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It will not run, because what it depends on did not come about.
    Skipped,
}

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 10] = [
        Self::Blocked,
        Self::Waiting,
        Self::Held,
        Self::Leased,
        Self::Running,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// The name used on the wire, in the store and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// The state with that [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether an attempt is live in this state.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Leased | Self::Running | Self::Cancelling)
    }

    /// Whether nothing more happens to a task in this state, unless it is retried by hand.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped
        )
    }

    /// Whether a task may go from this state to `next`. A final state is left
    /// only when a user retries by hand the task or, if it was skipped, the task of its job that
    /// it depends on.
    pub const fn may_become(self, next: Self) -> bool {
        use TaskState::{
            Blocked, Cancelled, Cancelling, Failed, Held, Leased, Running, Skipped, Succeeded,
            Waiting,
        };
        matches!(
            (self, next),
            (Blocked, Waiting | Held | Cancelled | Skipped)
                | (Waiting, Held | Leased | Cancelled)
                | (Held, Blocked | Waiting | Cancelled | Skipped)
                | (
                    Leased,
                    Running | Waiting | Held | Cancelling | Succeeded | Failed
                )
                | (Running, Waiting | Held | Cancelling | Succeeded | Failed)
                | (Cancelling, Cancelled | Succeeded | Failed)
                | (Failed | Cancelled, Waiting)
                | (Cancelled | Skipped, Blocked)
        )
    }
}

/// How an attempt ended. Serialized with a `how` tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// The payload ended by itself; 0 is success.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// The payload was ended by a signal that Fairway did not send.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// The payload ran past the walltime that it had asked for and was stopped.
    WalltimeExceeded {
        /// What it had asked for, in seconds.
        limit_s: u64,
    },
    /// The payload's process tree used more memory than it had asked for and was stopped.
    MemoryExceeded {
        /// What it had asked for, in MiB.
        limit_mib: u64,
        /// What was seen, in MiB.
        used_mib: u64,
    },
    /// The payload never started: an input could not be fetched or the program not be run.
    NotStarted {
        /// What went wrong, for the user.
        reason: String,
    },
    /// The payload ended well, but its outputs could not be brought back.
    OutputLost {
        /// What went wrong, for the user.
        reason: String,
    },
    /// The pilot gave the task back unharmed (drain, preemption, end of the allocation).
    HandedBack {
        /// Why, for the user.
        reason: String,
    },
    /// Stopped because its owner cancelled it.
    Cancelled,
    /// The pilot was not heard of any more. Only the server says this, never a pilot.
    PilotLost {
        /// What is known about it, for the user.
        reason: String,
    },
}

impl AttemptEnd {
    /// Whether the attempt is a success.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// The exit code, where there is one.
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { code } => Some(*code),
            _ => None,
        }
    }
}

impl std::fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited with {code}"),
            Self::Signaled { signal } => write!(f, "ended by signal {signal}"),
            Self::WalltimeExceeded { limit_s } => {
                write!(
                    f,
                    "stopped after the {limit_s} s of walltime that it asked for"
                )
            }
            Self::MemoryExceeded {
                limit_mib,
                used_mib,
            } => {
                write!(
                    f,
                    "stopped: it used {used_mib} MiB of memory and had asked for {limit_mib} MiB"
                )
            }
            Self::NotStarted { reason } => write!(f, "did not start: {reason}"),
            Self::OutputLost { reason } => write!(f, "outputs lost: {reason}"),
            Self::HandedBack { reason } => write!(f, "handed back: {reason}"),
            Self::Cancelled => write!(f, "cancelled"),
            Self::PilotLost { reason } => write!(f, "pilot lost: {reason}"),
        }
    }
}

/// How a task gave way to others or was suspended by hand, and what holds of its live attempt
/// because of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preemption {
    /// How often it was told to give way to others.
    pub times: u32,
    /// When it was told last.
    pub at: Option<Timestamp>,
    /// What the live attempt is to do; `None` if it is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<GivesWay>,
    /// Whether it sleeps by a person's word, until that person says otherwise.
    #[serde(default)]
    pub by_hand: bool,
    /// Since when the payload of the live attempt sleeps, as its pilot told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<Timestamp>,
    /// When the payload of the live attempt went on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Timestamp>,
    /// How long the payload of the live attempt slept before that, in milliseconds.
    #[serde(default)]
    pub suspended_ms: u64,
}

/// How a live attempt gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GivesWay {
    /// It ends, and the task goes back to the queue.
    Stops,
    /// It sleeps until there is room again.
    Sleeps,
}

impl Preemption {
    /// The same once the live attempt is over.
    #[must_use]
    pub const fn after_attempt(self) -> Self {
        Self {
            order: None,
            by_hand: false,
            suspended_at: None,
            resumed_at: None,
            suspended_ms: 0,
            ..self
        }
    }
}

/// A task as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Which task.
    pub id: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// When it entered that state.
    pub since: Timestamp,
    /// How many attempts were begun; the live one, if any, has this number.
    pub attempt: Attempt,
    /// The pilot of the live attempt, or of the last one.
    pub pilot: Option<PilotId>,
    /// Cores that the live or last attempt was given, on each node that it runs on; 0 if there was
    /// none.
    pub cores: u32,
    /// The other pilots, of the same allocation, whose nodes the live or last attempt runs on too.
    pub seats: Vec<PilotId>,
    /// When the live or last attempt was leased.
    pub leased_at: Option<Timestamp>,
    /// When the live or last attempt's payload started.
    pub started_at: Option<Timestamp>,
    /// Attempts that failed after the payload had started (counts against `RetryCount`).
    pub deep_failures: u32,
    /// Attempts that failed before the payload had started (counts against `ShallowRetryCount`).
    pub shallow_failures: u32,
    /// Attempts that were lost with their pilot (counts against the operator's limit).
    pub losses: u32,
    /// To be held, not queued, when the live attempt comes back.
    pub hold_on_return: bool,
    /// How the last ended attempt ended.
    pub last_end: Option<AttemptEnd>,
    /// How it gave way to others, if it ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemption: Option<Preemption>,
}

impl Task {
    /// A task that has just entered the queue.
    pub const fn new(id: TaskId, now: Timestamp) -> Self {
        Self {
            id,
            state: TaskState::Waiting,
            since: now,
            attempt: Attempt(0),
            pilot: None,
            cores: 0,
            seats: Vec::new(),
            leased_at: None,
            started_at: None,
            deep_failures: 0,
            shallow_failures: 0,
            losses: 0,
            hold_on_return: false,
            last_end: None,
            preemption: None,
        }
    }

    /// How the live attempt is to give way, if it is.
    pub fn gives_way(&self) -> Option<GivesWay> {
        self.preemption?.order
    }

    /// For how long the payload of the live attempt has slept until `now`, in milliseconds.
    pub fn slept_ms(&self, now: Timestamp) -> u64 {
        self.preemption.map_or(0, |it| {
            let sleeps = it.suspended_at.map_or(0, |at| now.since(at).as_millis());
            let sleeps = u64::try_from(sleeps).unwrap_or(u64::MAX);
            it.suspended_ms.saturating_add(sleeps)
        })
    }

    /// Since when the payload sleeps, if it does.
    pub fn suspended_since(&self) -> Option<Timestamp> {
        self.preemption?.suspended_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_name(state.name()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }

    #[test]
    fn success_is_never_left() {
        for next in TaskState::ALL {
            assert!(!TaskState::Succeeded.may_become(next), "{next:?}");
        }
    }
}
