//! An ad as a job description.

use std::sync::Arc;

use fairway_model::{Resources, TaskId};

use crate::{Ad, Diagnostic, Expr};

/// Whose manners a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// gLite WMS.
    Glite,
    /// DIRAC.
    Dirac,
}

/// A name in an InputSandbox, as the author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputName {
    /// As written: a path, relative to the JDL file or absolute.
    pub path: String,
    /// Its name in the task's folder: one path component.
    pub name: String,
}

/// A checked job description, ready to be expanded into tasks.
#[derive(Clone, Debug)]
pub struct JobSpec;

impl JobSpec {
    /// Reads and checks a JDL text. The second value holds the warnings.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn read(_text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        todo!()
    }

    /// Whose manners the text follows.
    pub fn dialect(&self) -> Dialect {
        todo!()
    }

    /// The job's name: `JobName`, or the executable's base name.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// How many tasks the job expands to; at least 1.
    pub fn task_count(&self) -> u32 {
        todo!()
    }

    /// Every file that some task's InputSandbox names and that must come with the
    /// submission, each once.
    pub fn inputs(&self) -> Vec<InputName> {
        todo!()
    }

    /// The task `id.index` with all parameters filled in.
    pub fn task(&self, _id: TaskId) -> TaskSpec {
        todo!()
    }

    /// What the task `index` needs of a site. Equal for all tasks if [`uniform`](Self::uniform).
    pub fn needs(&self, _index: u32) -> Arc<Needs> {
        todo!()
    }

    /// Whether all tasks have the same needs: no parameter occurs in what they are made from.
    pub fn uniform(&self) -> bool {
        todo!()
    }
}

/// What a task needs of a site. Tasks with equal keys form one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The needs in canonical form: equal exactly if the needs are.
    pub key: String,
    /// Cores, memory, GPUs.
    pub resources: Resources,
    /// Longest time that the task may run, in seconds.
    pub walltime_s: Option<u64>,
    /// The attributes that Requirements and Rank refer to, for `my.` and unscoped names.
    pub ad: Ad,
    /// `Requirements`, if there are any.
    pub requirements: Option<Expr>,
    /// `Rank`, if there is one.
    pub rank: Option<Expr>,
    /// Retries allowed after the payload started (`RetryCount`).
    pub retries_deep: u32,
    /// Retries allowed before the payload started (`ShallowRetryCount`).
    pub retries_shallow: u32,
}

/// A task with all parameters filled in: what its pilot needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// A file of the input sandbox, an absolute path, or a name on the search path.
    pub executable: String,
    /// Its arguments, split as a shell would (quotes and backslashes, no expansion).
    pub arguments: Vec<String>,
    /// Variables set for it.
    pub environment: Vec<(String, String)>,
    /// File that is its standard input.
    pub stdin: Option<String>,
    /// File in its folder that its standard output goes to.
    pub stdout: Option<String>,
    /// File in its folder that its standard error goes to.
    pub stderr: Option<String>,
    /// Files of its input sandbox.
    pub inputs: Vec<InputName>,
    /// Names or patterns (`*`, `?`) of its output sandbox.
    pub outputs: Vec<String>,
    /// What it needs.
    pub needs: Arc<Needs>,
}
