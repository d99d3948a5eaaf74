//! A pilot's life, from the decision to ask for it to its end.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CeId, CustomResources, GroupName, PilotId, Resources, Timestamp, UserName};

/// Where a pilot is in its life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PilotState {
    /// Decided upon; the batch system has not confirmed it yet. If the reply was
    /// lost, it may be in there: it is looked up by name, never submitted twice.
    Planned,
    /// In the batch system's queue.
    Queued,
    /// The batch system says that it runs; it has not called home yet.
    Starting,
    /// It called home and takes tasks.
    Active,
    /// It finishes the tasks that it has and takes no more.
    Draining,
    /// It is over.
    Ended,
}

impl PilotState {
    /// All states, in the order of a pilot's life.
    pub const ALL: [Self; 6] = [
        Self::Planned,
        Self::Queued,
        Self::Starting,
        Self::Active,
        Self::Draining,
        Self::Ended,
    ];

    /// The name used on the wire, in the store and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Ended => "ended",
        }
    }

    /// The state with that [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the pilot has not called home yet, and may still do so.
    pub const fn is_expected(self) -> bool {
        matches!(self, Self::Planned | Self::Queued | Self::Starting)
    }
}

/// Why a pilot is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum PilotEnd {
    /// It said goodbye.
    Done {
        /// Why it left: no work, drained, end of its allocation, preempted …
        reason: String,
    },
    /// The batch system would not have it.
    Refused {
        /// The batch system's own words.
        reason: String,
    },
    /// It was cancelled on our side: no work left for it, or an operator's word.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// It ended in the batch system without a goodbye, or was not heard of any more.
    Lost {
        /// What is known.
        reason: String,
    },
}

impl std::fmt::Display for PilotEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done { reason } => write!(f, "done: {reason}"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Cancelled { reason } => write!(f, "cancelled: {reason}"),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
        }
    }
}

/// Whose tasks a pilot may run.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PilotOwner {
    /// Everybody's who may use the CE.
    #[default]
    Shared,
    /// One user's.
    User(UserName),
    /// One group's.
    Group(GroupName),
    /// Nobody's: it only shows that pilots start here and call home. It ends as soon as it has.
    Probe,
}

/// A pilot as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pilot {
    /// Which pilot.
    pub id: PilotId,
    /// Where it was sent.
    pub ce: CeId,
    /// Whose tasks it may run.
    pub owner: PilotOwner,
    /// The first pilot of the allocation that it shares with others, one on each node; it is
    /// that one's name that the batch job has. Itself if it is alone.
    pub allocation: PilotId,
    /// Where it is in its life.
    pub state: PilotState,
    /// When it entered that state.
    pub since: Timestamp,
    /// When it was decided upon.
    pub planned_at: Timestamp,
    /// The batch system's id for it, once known.
    pub batch_id: Option<String>,
    /// What was asked for; once it has called home, what it found.
    pub resources: Resources,
    /// What its node has beside, by its CE's description when it was asked for.
    pub custom: CustomResources,
    /// Whether it was asked for with a node for itself.
    pub whole_node: bool,
    /// The walltime that was asked for, in seconds.
    pub walltime_s: u64,
    /// SHA-256 (hex) of the secret that it shows once, when it first calls home.
    pub bootstrap_hash: String,
    /// SHA-256 (hex) of the session token that it was given for the secret.
    pub session_hash: Option<String>,
    /// SHA-256 (hex) of the nonce that it first called home with: the same pilot may
    /// repeat a call whose reply was lost, nobody else can use the secret again.
    pub nonce_hash: Option<String>,
    /// The worker node that it found itself on.
    pub host: Option<String>,
    /// When it called home.
    pub started_at: Option<Timestamp>,
    /// When its allocation ends, as it reported.
    pub ends_at: Option<Timestamp>,
    /// Why it is over.
    pub end: Option<PilotEnd>,
}
