//! Accounting: one record for each ended attempt.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Attempt, AttemptEnd, CeId, GroupName, PilotId, TaskId, Timestamp, UserName};

/// What one ended attempt used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRecord {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// Who it ran for.
    pub user: UserName,
    /// The group it ran for.
    pub group: Option<GroupName>,
    /// Where it ran.
    pub ce: CeId,
    /// Under which pilot.
    pub pilot: PilotId,
    /// Cores that it was given.
    pub cores: u32,
    /// When it was given to the pilot.
    pub leased_at: Timestamp,
    /// When its payload started, if it did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// From the payload's start to its end, in milliseconds.
    pub wall_ms: u64,
    /// Processor time of the whole process tree, in milliseconds.
    pub cpu_ms: u64,
    /// Peak memory of the whole process tree, in KiB.
    pub memory_peak_kib: u64,
    /// How it ended.
    pub end: AttemptEnd,
}
