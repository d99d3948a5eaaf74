//! What a pilot can be told about an attempt that it has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be done with a live attempt. Serialized with an `order` tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Stop it: its owner cancelled the task.
    Cancel,
    /// Stop and forget it without a report: it is not the live attempt (any more).
    WriteOff,
    /// Ask it to end, stop it when the grace is over, and give the task back: others need the
    /// room. What ends with 0 within the grace has succeeded.
    GiveWay {
        /// From SIGTERM to SIGKILL, in seconds.
        grace_s: u64,
    },
    /// Let it sleep (SIGSTOP), so that its cores are free for others; it keeps its memory.
    Suspend,
    /// Let it go on (SIGCONT) as soon as its cores are free.
    Resume,
}
