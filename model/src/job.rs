//! A job: what a user submitted in one go.

use serde::{Deserialize, Serialize};

use crate::{GroupName, JobId, Timestamp, UserName};

/// A submitted job. What its tasks are is told by its description, which the
/// `jdl` crate reads; this is what the system itself notes about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which job.
    pub id: JobId,
    /// Its name, for people; may be empty.
    pub name: String,
    /// Who submitted it.
    pub owner: UserName,
    /// The group it is submitted for.
    pub group: Option<GroupName>,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// The JDL text as submitted.
    pub jdl: String,
    /// How many tasks it expands to.
    pub task_count: u32,
    /// Key of the folder that holds its input sandbox, if it has one.
    pub sandbox: Option<String>,
}
