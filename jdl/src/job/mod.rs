//! An ad as a job description: reading it with the leniency of the old systems,
//! checking it, and making its tasks.
//!
//! - [`read`]: the steps from a text to a job; [`dialect`]: whose manners it follows;
//! - [`attributes`]: every known attribute, in one table; [`remarks`]: on names that are not;
//! - [`schema`]: the JSON Schema made from it, and the check against it;
//! - [`compound`]: nodes, what they share and who waits for whom;
//! - [`depends`]: what a job waits for;
//! - [`description`]: one ad that makes tasks, checked; [`variation`] and [`fields`]:
//!   what they differ in;
//! - [`checks`]: what attributes have to do with each other;
//! - [`json`]: an ad as JSON and back;
//! - [`size`]: how large an expression is;
//! - [`lower`]: what each attribute is worth; [`parameters`]: values and placeholders;
//! - [`values`], [`task`], [`sandbox`] and [`needs`]: what a pilot and what a site must know.
//!
//! A description stays one value however many tasks it has: a task is made when
//! it is asked for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use fairway_model::{CustomResources, Resources, TaskId, Timestamp};
use indexmap::IndexSet;

use crate::diagnostic::Report;
use crate::{Ad, Diagnostic, Expr};
use description::Description;

mod attributes;
mod checks;
mod compound;
mod decode;
mod depends;
mod description;
mod dialect;
mod fields;
pub mod json;
mod lower;
mod moment;
mod needs;
mod parameters;
mod read;
mod remarks;
mod sandbox;
mod schema;
mod size;
mod task;
mod values;
mod variation;
mod words;

pub use attributes::{Attribute, Kind, Status, attribute, attributes_reference};
pub use checks::is_published;
pub use compound::{EDGES_MAX, NODES_MAX, inline_files, node_files};
pub use decode::decode;
pub use depends::{
    Condition, DEPENDENCIES_MAX, Dependency, Depends, Join, Named, Part, with_depends,
};
pub use dialect::Dialect;
pub use parameters::TASKS_MAX;
pub use schema::schema;

/// Most attributes of one description.
pub const ATTRIBUTES_MAX: usize = 10_000;

/// Most different needs of the tasks of one job.
pub const KINDS_MAX: usize = 1000;

/// Most different input files of one job.
pub const INPUTS_MAX: usize = 100_000;

/// How a text is read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Whose manners the text follows; `None`: as its attributes and placeholders tell.
    pub dialect: Option<Dialect>,
    /// Whether nothing is forgiven: what would be a warning is an error.
    pub strict: bool,
    /// What is done with a node whose description is in a file.
    pub missing_files: MissingFiles,
}

/// What is done with a node whose description is in a file, and was not put in for its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingFiles {
    /// It is an error: what the node runs is not known.
    #[default]
    Refuse,
    /// It counts as one job, with a warning; its task is a stand-in that cannot be run.
    Count,
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
    /// How the dialect was seen.
    evidence: String,
    name: String,
    ad: Ad,
    /// One, or one for each node.
    descriptions: Vec<Description>,
    nodes: Vec<JobNode>,
    depends: Option<Depends>,
    task_count: u32,
    uniform: bool,
    kinds: OnceLock<Kinds>,
}

/// What the tasks of a job need, each once.
#[derive(Clone, Debug)]
pub struct Kinds {
    all: Vec<(Arc<Needs>, u32)>,
    /// The place in `all` of each task; empty if there is only one.
    of: Vec<u32>,
}

impl Kinds {
    const fn none() -> Self {
        Self {
            all: Vec::new(),
            of: Vec::new(),
        }
    }

    /// The different needs in the order of their first tasks, each with the number of tasks.
    pub fn all(&self) -> &[(Arc<Needs>, u32)] {
        &self.all
    }

    /// The place in [`all`](Self::all) of what a task needs.
    pub fn of(&self, index: u32) -> usize {
        self.of
            .get(index as usize)
            .map_or(0, |place| *place as usize)
    }
}

impl JobSpec {
    /// Reads and checks a JDL text. The second value holds the warnings.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn read(text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::read_with(text, &ReadOptions::default())
    }

    /// As [`read`](Self::read), in the way that the options say.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn read_with(
        text: &str,
        options: &ReadOptions,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut report = Report::new(options.strict);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match read::read(text, options, &mut report) {
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
        Self::read_bytes_with(bytes, &ReadOptions::default())
    }

    /// As [`read_bytes`](Self::read_bytes), in the way that the options say.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn read_bytes_with(
        bytes: &[u8],
        options: &ReadOptions,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (text, notices) = decode(bytes, options.strict)?;
        match Self::read_with(&text, options) {
            Ok((spec, warnings)) => Ok((spec, [notices, warnings].concat())),
            Err(diagnostics) => Err([notices, diagnostics].concat()),
        }
    }

    fn new(
        (dialect, evidence): (Dialect, String),
        name: String,
        ad: Ad,
        descriptions: Vec<Description>,
        nodes: Vec<JobNode>,
        depends: Option<Depends>,
    ) -> Self {
        let mut needs = descriptions.iter().map(Description::uniform_needs);
        let first = needs.next().flatten();
        let uniform = first.is_some_and(|first| {
            needs.all(|needs| needs.is_some_and(|needs| Arc::ptr_eq(first, needs)))
        });
        Self {
            dialect,
            evidence,
            name,
            ad,
            task_count: descriptions.iter().map(Description::task_count).sum(),
            uniform,
            kinds: OnceLock::new(),
            descriptions,
            nodes,
            depends,
        }
    }

    /// Whose manners the text follows.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How the dialect was seen, as a clause: ``it has `RetryCount` ``.
    pub fn dialect_evidence(&self) -> &str {
        &self.evidence
    }

    /// The job's name: `JobName`, or the executable's base name; of a compound job without one,
    /// what it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group that it is submitted for (`Account`), if it says so: of the job as a whole.
    pub fn account(&self) -> Option<String> {
        read::text_of(&self.ad, "Account")
    }

    /// The ad as it was written; texts that lacked their quotes have them.
    pub fn ad(&self) -> &Ad {
        &self.ad
    }

    /// How many tasks the job expands to; at least 1.
    pub fn task_count(&self) -> u32 {
        self.task_count
    }

    /// The nodes of a collection or DAG, in the order of their tasks; empty for a job that is
    /// not compound.
    pub fn nodes(&self) -> &[JobNode] {
        &self.nodes
    }

    /// The node, by place in [`nodes`](Self::nodes), that a task belongs to.
    pub fn node_of(&self, index: u32) -> Option<u32> {
        let after = self.nodes.partition_point(|node| node.tasks.start <= index);
        u32::try_from(after.checked_sub(1)?).ok()
    }

    /// The ad of a node, by place in [`nodes`](Self::nodes), with what it takes over from the
    /// ad around it. `None` if there is no such node.
    pub fn node_ad(&self, node: u32) -> Option<&Ad> {
        self.nodes.get(node as usize)?;
        self.descriptions.get(node as usize).map(Description::ad)
    }

    /// Whether some task must wait for others of the job.
    pub fn has_dependencies(&self) -> bool {
        self.nodes.iter().any(|node| !node.parents.is_empty())
    }

    /// What must become of other jobs before this one begins.
    pub fn depends(&self) -> Option<&Depends> {
        self.depends.as_ref()
    }

    /// Every file that some task's InputSandbox names and that must come with the
    /// submission, each once.
    pub fn inputs(&self) -> Vec<InputName> {
        let mut inputs = IndexSet::new();
        for description in &self.descriptions {
            description.inputs(&mut inputs);
        }
        inputs.into_iter().collect()
    }

    /// Every input of some task that cannot be had, each once: URIs and names of a catalogue,
    /// which nobody fetches, and folders and patterns. A job that names any cannot do what it
    /// should.
    pub fn remote_inputs(&self) -> Vec<String> {
        let mut inputs = IndexSet::new();
        for description in &self.descriptions {
            description.remote_inputs(&mut inputs);
        }
        inputs.into_iter().collect()
    }

    /// The task `id.index` with all parameters filled in.
    pub fn task(&self, id: TaskId) -> TaskSpec {
        let (description, index) = self.described(id.index);
        description.task(index, id)
    }

    /// What the task `index` needs of a site. Equal for all tasks if [`uniform`](Self::uniform).
    pub fn needs(&self, index: u32) -> Arc<Needs> {
        if let Some(kinds) = self.kinds.get() {
            return Arc::clone(&kinds.all[kinds.of(index)].0);
        }
        let (description, index) = self.described(index);
        description.needs(index)
    }

    /// What the tasks need, each once. Finding out costs as much as there are tasks if these
    /// differ; it is done once.
    pub fn kinds(&self) -> &Kinds {
        self.kinds
            .get_or_init(|| self.find_kinds(usize::MAX).unwrap_or_else(Kinds::none))
    }

    /// As [`kinds`](Self::kinds); `None` if there are more than `max`.
    pub fn kinds_within(&self, max: usize) -> Option<&Kinds> {
        if self.kinds.get().is_none() {
            // Another thread may have been faster.
            let _ = self.kinds.set(self.find_kinds(max)?);
        }
        self.kinds.get().filter(|kinds| kinds.all.len() <= max)
    }

    fn find_kinds(&self, max: usize) -> Option<Kinds> {
        let mut kinds = Kinds::none();
        if self.uniform {
            kinds.all.push((self.needs(0), self.task_count));
            return Some(kinds);
        }
        let mut places: HashMap<Arc<str>, u32> = HashMap::new();
        for index in 0..self.task_count {
            let (description, own) = self.described(index);
            let needs = description.needs(own);
            let place = match places.get(needs.key.as_str()) {
                Some(place) => *place,
                None if kinds.all.len() == max => return None,
                None => {
                    let place = u32::try_from(kinds.all.len()).unwrap_or(u32::MAX);
                    places.insert(needs.key.as_str().into(), place);
                    kinds.all.push((needs, 0));
                    place
                }
            };
            kinds.all[place as usize].1 += 1;
            kinds.of.push(place);
        }
        Some(kinds)
    }

    /// Whether all tasks have the same needs.
    pub fn uniform(&self) -> bool {
        self.uniform
    }

    /// The description that makes a task, and the task's number among those it makes.
    fn described(&self, index: u32) -> (&Description, u32) {
        let node = self.node_of(index).unwrap_or(0) as usize;
        let start = self.nodes.get(node).map_or(0, |node| node.tasks.start);
        (&self.descriptions[node], index - start)
    }
}

/// What a task needs of a site. Tasks with equal keys form one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The needs in canonical form: equal exactly if the needs are.
    pub key: String,
    /// Cores, memory, GPUs, on each host; of cores the fewest.
    pub resources: Resources,
    /// Most cores that it may be given, where it is on one host; not less than the fewest
    /// (`MaxNumberOfProcessors`).
    pub cores_max: u32,
    /// On how many hosts it runs at the same time; at least 1 (`HostNumber`).
    pub hosts: u32,
    /// Whether it must have its hosts for itself, and gets all that they have (`WholeNodes`).
    pub whole_node: bool,
    /// What it takes of the site's own resources, on each host (`CustomResources`).
    pub custom: CustomResources,
    /// Longest time that the task may run, in seconds.
    pub walltime_s: Option<u64>,
    /// When the task should have ended (`Deadline`).
    pub deadline: Option<Timestamp>,
    /// How long the task is expected to take at most, in seconds (`ExpectedDuration`); not more
    /// than its walltime.
    pub expected_s: Option<u64>,
    /// Whether the task must start at once (`TimeCritical`).
    pub time_critical: bool,
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
    /// Which of its owner's tasks go first, the largest number (`Priority`).
    pub priority: u8,
    /// The quality of service that it asks for (`QoS`).
    pub qos: Option<Arc<str>>,
    /// The queue that it names (`QueueName`).
    pub queue: Option<Arc<str>>,
    /// The software tags that it asks for (`Tags`), in order, each once.
    pub tags: Arc<[Arc<str>]>,
    /// Whether it may be stopped and queued again in favour of others (`Preemptible`).
    pub preemptible: bool,
    /// Whether, if it gives way, it is put to sleep rather than stopped (`Suspendable`).
    pub suspendable: bool,
}

impl Needs {
    /// Of a task that says nothing; DIRAC's default.
    pub const PRIORITY_DEFAULT: u8 = 1;

    /// The fewest cores that it has on all its hosts together.
    pub fn cores_all(&self) -> u32 {
        self.resources.cores.saturating_mul(self.hosts)
    }
}

/// A task with all parameters filled in: what its pilot needs to know. What tasks have in
/// common they share.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// A file of the input sandbox, an absolute path, or a name on the search path.
    pub executable: Arc<str>,
    /// Its arguments, split as a shell would (quotes and backslashes, no expansion).
    pub arguments: Vec<Arc<str>>,
    /// Variables set for it.
    pub environment: Vec<(Arc<str>, Arc<str>)>,
    /// File that is its standard input.
    pub stdin: Option<Arc<str>>,
    /// File in its folder that its standard output goes to.
    pub stdout: Option<Arc<str>>,
    /// File in its folder that its standard error goes to.
    pub stderr: Option<Arc<str>>,
    /// Files of its input sandbox.
    pub inputs: Arc<[InputName]>,
    /// Names or patterns (`*`, `?`) of its output sandbox.
    pub outputs: Vec<Arc<str>>,
    /// What it needs.
    pub needs: Arc<Needs>,
}
