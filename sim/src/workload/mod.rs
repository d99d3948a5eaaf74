//! What users submit and when: read from a trace, from a folder of descriptions, or made up.

mod generate;
mod jdl;
mod specs;
mod swf;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use fairway_jdl::JobSpec;
use fairway_model::{GroupName, Timestamp, UserName};

use crate::SimError;

pub use generate::Generator;
pub use jdl::{JdlOptions, RuntimeSource};

/// One submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimJob {
    /// When it is submitted.
    pub(crate) at: Timestamp,
    /// By whom: a place in [`Workload::users`].
    pub(crate) user: u32,
    /// For which group: a place in [`Workload::groups`].
    pub(crate) group: Option<u32>,
    /// What: a place in [`Workload::specs`].
    pub(crate) spec: u32,
    /// Where the runtimes of its tasks begin in [`Workload::runtimes_ms`].
    pub(crate) first: usize,
}

/// All that is submitted in a simulation, in order of time.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    pub(crate) users: Vec<UserName>,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) specs: Vec<Arc<JobSpec>>,
    pub(crate) jobs: Vec<SimJob>,
    /// How long each task runs on a core of speed 1.
    pub(crate) runtimes_ms: Vec<u64>,
    /// What was noticed while it was read, in sentences.
    pub remarks: Vec<String>,
}

impl Workload {
    /// Reads a trace in the Standard Workload Format, plain or compressed with gzip. The text is
    /// read row by row; what is kept of a row is a few numbers.
    ///
    /// # Errors
    /// If it cannot be read, or no row of it can be used.
    pub fn from_swf(input: impl BufRead) -> Result<Self, SimError> {
        swf::read(input)
    }

    /// Reads job descriptions: their texts, each with the name that it is told of by.
    ///
    /// # Errors
    /// If one of them is no valid description, or a task's runtime cannot be told.
    pub fn from_jdl(texts: &[(String, String)], options: &JdlOptions) -> Result<Self, SimError> {
        jdl::read(texts, options)
    }

    /// Makes up what the text of a generator file says. `cores`: all cores of the clusters, for
    /// what is said as a part of them.
    ///
    /// # Errors
    /// What is wrong in the text, and what to write.
    pub fn generated(text: &str, cores: u64, seed: u64) -> Result<Self, SimError> {
        Generator::read(text)?.make(cores, seed)
    }

    /// Reads a workload from a path: a folder is one of JDL files, `*.toml` a generator file,
    /// `*.jdl` a description, and everything else a trace.
    ///
    /// # Errors
    /// As those of the others, with the path and as what it was read; and if the file cannot be
    /// read.
    pub fn open(
        path: &Path,
        cores: u64,
        seed: u64,
        options: &JdlOptions,
    ) -> Result<Self, SimError> {
        let kind = Kind::of(path);
        let read = || match kind {
            Kind::Folder => Self::from_jdl(&jdl::texts(path)?, options),
            Kind::Description => Self::from_jdl(&[jdl::text(path)?], options),
            Kind::Generator => {
                let text = std::fs::read_to_string(path).map_err(|it| unreadable(path, it))?;
                Self::generated(&text, cores, seed)
            }
            Kind::Trace => {
                let file = std::fs::File::open(path).map_err(|it| unreadable(path, it))?;
                Self::from_swf(std::io::BufReader::new(file))
            }
        };
        read().map_err(|error| kind.name(path, error))
    }

    /// How many jobs there are.
    pub fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> usize {
        self.runtimes_ms.len()
    }

    /// The users, in the order of appearance.
    pub fn users(&self) -> &[UserName] {
        &self.users
    }

    /// How many tasks each user has, by the cores that a task asks for.
    pub fn sizes(&self) -> BTreeMap<(UserName, u32), u64> {
        let mut sizes = BTreeMap::new();
        for job in &self.jobs {
            let user = self.users.get(job.user as usize);
            let Some((user, spec)) = user.zip(self.specs.get(job.spec as usize)) else {
                continue;
            };
            for index in 0..spec.task_count() {
                let size = (user.clone(), spec.needs(index).resources.cores);
                *sizes.entry(size).or_default() += 1;
            }
        }
        sizes
    }

    /// Core-seconds of all tasks together.
    pub fn core_seconds(&self) -> f64 {
        let of_job = |job: &SimJob| {
            let Some(spec) = self.specs.get(job.spec as usize) else {
                return 0.0;
            };
            let runtimes = &self.runtimes_ms[job.first..];
            let of_task = |(index, &ms): (u32, &u64)| {
                ms as f64 / 1000.0 * f64::from(spec.needs(index).resources.cores)
            };
            (0..spec.task_count()).zip(runtimes).map(of_task).sum()
        };
        self.jobs.iter().map(of_job).sum()
    }

    /// Brings the jobs in order of time. Jobs of one moment stay in the order of the source.
    fn in_order(mut self) -> Self {
        self.jobs.sort_by_key(|job| job.at);
        self
    }
}

/// As what a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    Generator,
    Description,
    Trace,
}

impl Kind {
    fn of(path: &Path) -> Self {
        match path.extension().and_then(|it| it.to_str()) {
            _ if path.is_dir() => Self::Folder,
            Some("toml") => Self::Generator,
            Some("jdl") => Self::Description,
            _ => Self::Trace,
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Self::Folder => "a folder of job descriptions",
            Self::Generator => "a generator file, as its name ends in `.toml`",
            Self::Description => "a job description, as its name ends in `.jdl`",
            Self::Trace => "a trace in the Standard Workload Format",
        }
    }

    /// What is wrong with the workload at a path, with its name.
    fn name(self, path: &Path, error: SimError) -> SimError {
        let shown = path.display().to_string();
        match error {
            SimError::Text { reason, .. } => SimError::Workload {
                // A description is told of by its name already.
                reason: match reason.strip_prefix(&format!("{shown}: ")) {
                    Some(rest) => rest.to_owned(),
                    None => reason,
                },
                path: shown,
                kind: self.told(),
            },
            SimError::Read { error, .. } if self == Self::Trace => unreadable(path, error),
            other => other,
        }
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> SimError {
    SimError::Read {
        path: path.display().to_string(),
        error,
    }
}

/// Names that come again and again, each once, with their places.
#[derive(Debug)]
struct Names<T> {
    all: Vec<T>,
    places: BTreeMap<String, u32>,
}

impl<T: std::str::FromStr> Names<T> {
    fn new() -> Self {
        Self {
            all: Vec::new(),
            places: Default::default(),
        }
    }

    /// The place of a name; `None` if it cannot be one.
    fn place(&mut self, name: &str) -> Option<u32> {
        if let Some(&place) = self.places.get(name) {
            return Some(place);
        }
        let place = u32::try_from(self.all.len()).ok()?;
        self.all.push(name.parse().ok()?);
        self.places.insert(name.to_owned(), place);
        Some(place)
    }
}
