//! The append-only ledger of what happened. An event is written in the same
//! transaction as the state that it led to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Attempt, AttemptEnd, CeId, JobId, PilotEnd, PilotId, TaskId, Timestamp, UserName};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place in the ledger; strictly growing.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. Serialized with an `event` tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A job was accepted, and with it all its tasks.
    JobSubmitted {
        /// Which job.
        job: JobId,
        /// How many tasks it has.
        tasks: u32,
        /// Who submitted it.
        by: UserName,
    },
    /// A task was given to a pilot.
    TaskLeased {
        /// Which task.
        task: TaskId,
        /// Which try.
        attempt: Attempt,
        /// To which pilot.
        pilot: PilotId,
        /// Where that pilot is.
        ce: CeId,
        /// By which rule it was its turn, in a sentence; `None` in ledgers of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// A task's payload started.
    TaskStarted {
        /// Which task.
        task: TaskId,
        /// Which try.
        attempt: Attempt,
    },
    /// An attempt ended; the task is over or goes back to the queue.
    AttemptEnded {
        /// Which task.
        task: TaskId,
        /// Which try.
        attempt: Attempt,
        /// How the attempt ended.
        end: AttemptEnd,
        /// Where this left the task.
        state: crate::TaskState,
        /// Why, in a sentence for the user.
        because: String,
    },
    /// A running task was told to make room for another.
    TaskGivesWay {
        /// Which task.
        task: TaskId,
        /// Which try.
        attempt: Attempt,
        /// For which task.
        to: TaskId,
        /// How: it ends and goes back to the queue, or sleeps.
        how: crate::GivesWay,
        /// Why, in a sentence for the user.
        because: String,
    },
    /// A payload was put to sleep, so that others have its cores.
    TaskSuspended {
        /// Which task.
        task: TaskId,
        /// Which try.
        attempt: Attempt,
    },
    /// A payload that slept goes on.
    TaskResumed {
        /// Which task.
        task: TaskId,
        /// Which try.
        attempt: Attempt,
    },
    /// A person's word changed a task: cancel, hold, release, retry, suspend or resume.
    TaskChanged {
        /// Which task.
        task: TaskId,
        /// What was asked for.
        verb: TaskVerb,
        /// Where this left the task.
        state: crate::TaskState,
        /// Who asked.
        by: UserName,
    },
    /// A person's word changed a row of tasks that no attempt was ever begun for.
    TasksChanged {
        /// Which job.
        job: JobId,
        /// The index of the first task.
        from: u32,
        /// One past the index of the last task.
        to: u32,
        /// What was asked for.
        verb: TaskVerb,
        /// Where this left the tasks.
        state: crate::TaskState,
        /// Who asked.
        by: UserName,
    },
    /// What other tasks of the job came to moved a row of tasks that depend on them.
    TasksMoved {
        /// Which job.
        job: JobId,
        /// The index of the first task.
        from: u32,
        /// One past the index of the last task.
        to: u32,
        /// Where this left the tasks.
        state: crate::TaskState,
        /// Why, in a sentence for the user.
        because: String,
    },
    /// A pilot was decided upon.
    PilotPlanned {
        /// Which pilot.
        pilot: PilotId,
        /// Where it is to go.
        ce: CeId,
        /// Why.
        because: String,
    },
    /// A pilot went from one state to another.
    PilotChanged {
        /// Which pilot.
        pilot: PilotId,
        /// Where it is now.
        state: crate::PilotState,
        /// What is known about it: batch id, host, reason.
        detail: String,
    },
    /// A pilot is over.
    PilotEnded {
        /// Which pilot.
        pilot: PilotId,
        /// Why.
        end: PilotEnd,
    },
    /// A node on which work fails at once gets no tasks for a while.
    NodeSetAside {
        /// Where it is.
        ce: CeId,
        /// Its name.
        host: String,
        /// What speaks against it, in a sentence.
        evidence: String,
        /// When it is probed.
        until: Timestamp,
    },
    /// A node that was set aside gets one task at a time.
    NodeProbed {
        /// Where it is.
        ce: CeId,
        /// Its name.
        host: String,
    },
    /// A node that was set aside gets tasks again.
    NodeReleased {
        /// Where it is.
        ce: CeId,
        /// Its name.
        host: String,
        /// Why.
        because: String,
    },
    /// A site was registered, changed or removed.
    SiteChanged {
        /// Which site.
        site: crate::SiteName,
        /// What was done.
        what: String,
        /// Who did it.
        by: UserName,
    },
    /// The policy was changed.
    PolicyChanged {
        /// What it is now, as JSON.
        policy: String,
        /// Who changed it.
        by: UserName,
        /// Why, as they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
}

/// What a person can ask for a task.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TaskVerb {
    /// Stop it for good.
    Cancel,
    /// Keep it out of the queue.
    Hold,
    /// Let it into the queue again.
    Release,
    /// Queue it again after it failed or was cancelled, with its retries restored.
    Retry,
    /// Let its payload sleep, if it says that it can, until it is resumed.
    Suspend,
    /// Let its payload go on as soon as there is room.
    Resume,
}

impl TaskVerb {
    /// All verbs.
    pub const ALL: [Self; 6] = [
        Self::Cancel,
        Self::Hold,
        Self::Release,
        Self::Retry,
        Self::Suspend,
        Self::Resume,
    ];

    /// The name used on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Retry => "retry",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }
}

impl EventKind {
    /// The task that this is about, if it is about one.
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::TaskLeased { task, .. }
            | Self::TaskStarted { task, .. }
            | Self::AttemptEnded { task, .. }
            | Self::TaskGivesWay { task, .. }
            | Self::TaskSuspended { task, .. }
            | Self::TaskResumed { task, .. }
            | Self::TaskChanged { task, .. } => Some(*task),
            _ => None,
        }
    }

    /// The job that this is about as a whole or in a range of its tasks, if it is about one.
    pub const fn job(&self) -> Option<JobId> {
        match self {
            Self::JobSubmitted { job, .. }
            | Self::TasksChanged { job, .. }
            | Self::TasksMoved { job, .. } => Some(*job),
            _ => None,
        }
    }

    /// The pilot that this is about, if it is about one.
    pub const fn pilot(&self) -> Option<PilotId> {
        match self {
            Self::TaskLeased { pilot, .. }
            | Self::PilotPlanned { pilot, .. }
            | Self::PilotChanged { pilot, .. }
            | Self::PilotEnded { pilot, .. } => Some(*pilot),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_changed_without_a_reason_as_it_was_written_before_there_were_any() {
        let old = r#"{"event":"policy-changed","policy":"{}","by":"op"}"#;
        let event: EventKind = serde_json::from_str(old).unwrap();
        // The ledger is searched by how bodies begin.
        assert_eq!(serde_json::to_string(&event).unwrap(), old);
    }
}
