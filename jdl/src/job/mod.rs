//! An ad as a job description: reading it with the leniency of the old systems,
//! checking it, and making its tasks.
//!
//! - [`attributes`]: every known attribute, in one table;
//! - [`schema`]: the JSON Schema made from it, and the check against it;
//! - [`lower`]: an ad as JSON; [`parameters`]: what the tasks differ in;
//! - [`task`] and [`needs`]: what a pilot and what a site must know.
//!
//! A description stays one value however many tasks it has: a task is made when
//! it is asked for.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use fairway_model::{Resources, TaskId};
use indexmap::IndexSet;
use serde_json::{Map, Value as Json};

use crate::diagnostic::Report;
use crate::{Ad, Diagnostic, Expr};
use attributes::Attribute;
use parameters::{Bindings, Parameters};

mod attributes;
mod lower;
mod needs;
mod parameters;
mod read;
mod schema;
mod task;
mod words;

pub use parameters::TASKS_MAX;
pub use schema::schema;

/// Most attributes of one description.
pub const ATTRIBUTES_MAX: usize = 10_000;

/// Most different input files of one job.
pub const INPUTS_MAX: usize = 100_000;

/// Whose manners a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// gLite WMS.
    Glite,
    /// DIRAC.
    Dirac,
}

/// A name in an InputSandbox, as the author wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InputName {
    /// As written: a path, relative to the JDL file or absolute.
    pub path: String,
    /// Its name in the task's folder: one path component.
    pub name: String,
}

/// One job of a compound job: a stretch of its tasks, with its place in the order of
/// execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobNode {
    /// Its name, unique in the job.
    pub name: Arc<str>,
    /// Its tasks: one, or several if it is parametric; never none.
    pub tasks: Range<u32>,
    /// The nodes, by place in [`JobSpec::nodes`], all of whose tasks must succeed before any
    /// of its own starts; sorted, each once.
    pub parents: Box<[u32]>,
    /// The nodes that have this one among their parents; sorted, each once.
    pub children: Box<[u32]>,
}

/// A checked job description, ready to be expanded into tasks.
#[derive(Clone, Debug)]
pub struct JobSpec {
    dialect: Dialect,
    name: String,
    ad: Ad,
    /// The known attributes of the first task, without the parameters' values.
    lowered: Map<String, Json>,
    parameters: Option<Parameters>,
    /// Names (in lower case) of the attributes that hold placeholders.
    marked: BTreeSet<String>,
    /// Known attributes that differ from task to task.
    varying: Vec<&'static Attribute>,
    /// The needs, if they are those of all tasks.
    needs: Option<Arc<Needs>>,
}

impl JobSpec {
    /// Reads and checks a JDL text. The second value holds the warnings.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn read(text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut report = Report::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match read::read(text, &mut report) {
            Some(spec) if !report.has_errors() => Ok((spec, report.into_diagnostics(text))),
            _ => Err(report.into_diagnostics(text)),
        }
    }

    /// As [`read`](Self::read), from bytes of which nothing is known: UTF-8, or
    /// Latin-1 (with a warning). Binary data is refused.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn read_bytes(bytes: &[u8]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut report = Report::default();
        let Some(text) = read::decode(bytes, &mut report) else {
            return Err(report.into_diagnostics(""));
        };
        let notices = report.into_diagnostics(&text);
        match Self::read(&text) {
            Ok((spec, warnings)) => Ok((spec, [notices, warnings].concat())),
            Err(diagnostics) => Err([notices, diagnostics].concat()),
        }
    }

    /// Whose manners the text follows.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The job's name: `JobName`, or the executable's base name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many tasks the job expands to; at least 1.
    pub fn task_count(&self) -> u32 {
        self.parameters.as_ref().map_or(1, Parameters::count)
    }

    /// The nodes of a collection or DAG, in the order of their tasks; empty for a job that is
    /// not compound.
    pub fn nodes(&self) -> &[JobNode] {
        &[]
    }

    /// The node, by place in [`nodes`](Self::nodes), that a task belongs to.
    pub fn node_of(&self, index: u32) -> Option<u32> {
        let after = self
            .nodes()
            .partition_point(|node| node.tasks.start <= index);
        u32::try_from(after.checked_sub(1)?).ok()
    }

    /// Whether some task must wait for others of the job.
    pub fn has_dependencies(&self) -> bool {
        self.nodes().iter().any(|node| !node.parents.is_empty())
    }

    /// Every file that some task's InputSandbox names and that must come with the
    /// submission, each once.
    pub fn inputs(&self) -> Vec<InputName> {
        let mut inputs = IndexSet::new();
        let varies = self
            .varying
            .iter()
            .any(|attribute| attribute.name.starts_with("InputSandbox"));
        let tasks = if varies { self.task_count() } else { 1 };
        for index in 0..tasks {
            let mut report = Report::default();
            inputs.extend(self.with_task(index, None, &mut report, |builder, _| builder.inputs()));
            if inputs.len() > INPUTS_MAX {
                break;
            }
        }
        inputs.into_iter().collect()
    }

    /// The task `id.index` with all parameters filled in.
    pub fn task(&self, id: TaskId) -> TaskSpec {
        let needs = self.needs(id.index);
        // What could be wrong with it was told when the text was read.
        let mut report = Report::default();
        self.with_task(id.index, Some(id), &mut report, |builder, bindings| {
            builder.task(needs, bindings.parameter_value())
        })
    }

    /// What the task `index` needs of a site. Equal for all tasks if [`uniform`](Self::uniform).
    pub fn needs(&self, index: u32) -> Arc<Needs> {
        if let Some(needs) = &self.needs {
            return Arc::clone(needs);
        }
        let mut report = Report::default();
        Arc::new(self.with_task(index, None, &mut report, |builder, _| builder.needs()))
    }

    /// Whether all tasks have the same needs: no parameter occurs in what they are made from.
    pub fn uniform(&self) -> bool {
        self.needs.is_some()
    }

    /// Does something with the attributes of one task.
    fn with_task<T>(
        &self,
        index: u32,
        id: Option<TaskId>,
        report: &mut Report,
        f: impl FnOnce(&mut task::Builder<'_>, &Bindings) -> T,
    ) -> T {
        let id = id.map(|id| id.to_string());
        let bindings = match &self.parameters {
            Some(parameters) => parameters.bindings(index, id),
            None => Bindings::plain(self.dialect, id),
        };
        if self.varying.is_empty() {
            let mut builder = task::Builder {
                lowered: &self.lowered,
                varied: Map::new(),
                ad: &self.ad,
                report,
            };
            return f(&mut builder, &bindings);
        }
        let mut ad = self.ad.clone();
        for name in &self.marked {
            if let Some(expr) = self.ad.get(name) {
                ad.replace(name, bindings.fill(expr));
            }
        }
        let mut varied = Map::new();
        for attribute in &self.varying {
            if let Some(expr) = ad.get(attribute.name) {
                let json = lower::attribute_value(attribute, expr, &ad, report);
                varied.insert(attribute.name.to_owned(), json);
            }
        }
        let mut builder = task::Builder {
            lowered: &self.lowered,
            varied,
            ad: &ad,
            report,
        };
        f(&mut builder, &bindings)
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
