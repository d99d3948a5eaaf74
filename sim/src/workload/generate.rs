//! Workloads that are made up: streams of jobs, each with its users, its rhythm and its sizes.

use fairway_model::Timestamp;
use serde::Deserialize;

use super::specs::{Shape, Specs, round_walltime};
use super::{Names, SimJob, Workload};
use crate::SimError;
use crate::numbers::{Distribution, Rng};

/// Most tasks that one file may ask for.
const TASKS_MAX: u64 = 20_000_000;

/// A generator file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// The streams; their jobs mingle.
    #[serde(default, rename = "stream")]
    streams: Vec<Stream>,
}

/// Jobs of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    /// Its users are called `name1`, `name2` …, or `name` if there is one.
    name: String,
    /// How many users it has.
    #[serde(default = "one")]
    users: u32,
    /// How unequal they are: user `i` submits in proportion to `1 / i^skew` (Zipf's law);
    /// whole or half numbers.
    #[serde(default)]
    skew: f64,
    /// The group that they submit for.
    #[serde(default)]
    group: Option<String>,
    /// How many tasks it makes in all.
    tasks: u64,
    /// How many of them a job has on average; the number is geometric, as that of throws of a
    /// coin is. 1: each task is a job.
    #[serde(default = "one_f")]
    tasks_per_job: f64,
    /// When the jobs come.
    arrivals: Arrivals,
    /// How long a task runs.
    runtime: Distribution,
    /// How many cores a task has: pairs of a number and a weight.
    #[serde(default = "one_core")]
    cores: Vec<(u32, f64)>,
    /// Memory of a task in MiB; 0: it asks for none.
    #[serde(default)]
    memory_mib: u64,
    /// GPUs of a task.
    #[serde(default)]
    gpus: u32,
    /// A job asks for so many times the runtime of its longest task, rounded up to what people
    /// write.
    #[serde(default = "twice")]
    walltime_factor: f64,
    /// `RetryCount`.
    #[serde(default)]
    retries: u32,
}

const fn one() -> u32 {
    1
}

const fn one_f() -> f64 {
    1.0
}

const fn twice() -> f64 {
    2.0
}

fn one_core() -> Vec<(u32, f64)> {
    vec![(1, 1.0)]
}

/// What a file without streams is told.
const NO_STREAM: &str = "it has no `[[stream]]`; write one as

[[stream]]
name = \"anna\"
tasks = 100
arrivals = { kind = \"poisson\", load = 0.9 }
runtime = { kind = \"exponential\", mean_s = 600 }";

/// When the jobs of a stream come.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[serde(
    expecting = "`{ kind = \"at-once\" }`, `{ kind = \"poisson\", load = 0.9 }` or `{ kind = \"bursts\", every_s = 3600, jobs = 50 }`"
)]
enum Arrivals {
    /// All at one moment.
    AtOnce {
        /// Seconds from the beginning.
        #[serde(default)]
        from_s: f64,
    },
    /// Each independent of the others (Poisson), over so long that the stream alone keeps this
    /// part of all cores busy.
    Poisson {
        /// 1 is saturation; more, and the queue grows.
        load: f64,
        /// Seconds from the beginning.
        #[serde(default)]
        from_s: f64,
    },
    /// In bursts, one user at a time.
    Bursts {
        /// Mean time between two bursts; they are independent of each other.
        every_s: f64,
        /// Jobs of a burst.
        jobs: u32,
        /// Seconds from the beginning.
        #[serde(default)]
        from_s: f64,
    },
}

/// A job before it has its moment.
struct Draft {
    user: usize,
    shape: Shape,
    runtimes_ms: Vec<u64>,
}

impl Draft {
    fn core_ms(&self) -> f64 {
        let sum: u64 = self.runtimes_ms.iter().sum();
        sum as f64 * f64::from(self.shape.cores)
    }
}

impl Generator {
    /// Reads the text of a generator file.
    ///
    /// # Errors
    /// What is wrong in it, and what to write.
    pub fn read(text: &str) -> Result<Self, SimError> {
        let refuse = |reason: String| SimError::Text {
            what: "generator file",
            reason,
        };
        let generator: Self = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if generator.streams.is_empty() {
            return Err(refuse(NO_STREAM.into()));
        }
        for stream in &generator.streams {
            let named = |reason| refuse(format!("stream `{}`: {reason}", stream.name));
            stream.check().map_err(named)?;
        }
        let tasks: u64 = generator.streams.iter().map(|it| it.tasks).sum();
        if tasks > TASKS_MAX {
            return Err(refuse(format!("{tasks} tasks are more than {TASKS_MAX}")));
        }
        Ok(generator)
    }

    /// Makes the workload; `cores` are all cores of the clusters.
    ///
    /// # Errors
    /// If a description that follows from the numbers is not valid.
    pub fn make(&self, cores: u64, seed: u64) -> Result<Workload, SimError> {
        let mut making = Making {
            workload: Workload::default(),
            users: Names::new(),
            groups: Names::new(),
            specs: Specs::default(),
        };
        for (place, stream) in (0..).zip(&self.streams) {
            making.add(stream, cores, Rng::keyed(seed, &[place]))?;
        }
        let workload = Workload {
            users: making.users.all,
            groups: making.groups.all,
            specs: making.specs.all,
            ..making.workload
        };
        Ok(workload.in_order())
    }
}

impl Stream {
    fn check(&self) -> Result<(), String> {
        if self
            .user_name(0)
            .parse::<fairway_model::UserName>()
            .is_err()
        {
            return Err("`name` must be letters, digits, `.`, `_` or `-`".into());
        }
        if let Some(group) = &self.group {
            let read = group.parse::<fairway_model::GroupName>();
            read.map_err(|error| format!("`group`: {error}"))?;
        }
        if !(1..=100_000).contains(&self.users) {
            return Err(format!("`users` must be 1 to 100000, not {}", self.users));
        }
        if self.tasks == 0 {
            return Err("`tasks` must be at least 1".into());
        }
        if !(1.0..=1e6).contains(&self.tasks_per_job) {
            let given = self.tasks_per_job;
            return Err(format!(
                "`tasks_per_job` must be 1 to a million, not {given}"
            ));
        }
        if !(0.0..=10.0).contains(&self.skew) || (self.skew * 2.0).fract() != 0.0 {
            let given = self.skew;
            return Err(format!(
                "`skew` must be 0, 0.5, 1 and so on up to 10, not {given}"
            ));
        }
        if !(1.0..=1000.0).contains(&self.walltime_factor) {
            let given = self.walltime_factor;
            return Err(format!("`walltime_factor` must be 1 to 1000, not {given}"));
        }
        let sound = |&(cores, weight): &(u32, f64)| cores > 0 && weight > 0.0 && weight < 1e9;
        if self.cores.is_empty() || !self.cores.iter().all(sound) {
            return Err(
                "`cores` must be pairs of a number and a weight, both more than 0: \
                        `[[1, 0.8], [8, 0.2]]`"
                    .into(),
            );
        }
        self.arrivals.check()?;
        self.runtime
            .check()
            .map_err(|reason| format!("`runtime`: {reason}"))
    }

    fn user_name(&self, place: usize) -> String {
        match self.users {
            1 => self.name.clone(),
            _ => format!("{}{}", self.name, place + 1),
        }
    }

    /// One job with at most `left` tasks.
    fn draft(&self, user: usize, left: u64, rng: &mut Rng) -> Draft {
        let tasks = self.task_count(rng).min(left);
        let weights: Vec<f64> = self.cores.iter().map(|&(_, weight)| weight).collect();
        let cores = self.cores[rng.pick(&weights)].0;
        let runtimes_ms: Vec<u64> = (0..tasks).map(|_| self.runtime.draw_ms(rng)).collect();
        let longest_s = runtimes_ms.iter().max().map_or(0, |ms| ms.div_ceil(1000));
        let asked_s = (longest_s as f64 * self.walltime_factor).ceil() as u64;
        let shape = Shape {
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            cores,
            memory_mib: self.memory_mib,
            gpus: self.gpus,
            walltime_s: round_walltime(asked_s.max(1)),
            retries: self.retries,
        };
        Draft {
            user,
            shape,
            runtimes_ms,
        }
    }

    fn task_count(&self, rng: &mut Rng) -> u64 {
        if self.tasks_per_job <= 1.0 {
            return 1;
        }
        // Geometric from 1 with this mean: how long until a throw of probability `1 / mean`. The
        // exponential, cut off, has as good as its mean.
        let drawn = (self.tasks_per_job - 0.5) * rng.exponential();
        (drawn.floor() as u64).saturating_add(1).min(1_000_000)
    }
}

impl Arrivals {
    fn check(&self) -> Result<(), String> {
        let (from_s, sound) = match *self {
            Self::AtOnce { from_s } => (from_s, true),
            Self::Poisson { load, from_s } => (from_s, load > 0.0 && load < 1e6),
            Self::Bursts {
                every_s,
                jobs,
                from_s,
            } => (from_s, every_s > 0.0 && every_s < 1e9 && jobs > 0),
        };
        if !sound || !(0.0..=1e10).contains(&from_s) {
            return Err(
                "`arrivals` must have a `load`, or `every_s` and `jobs`, of more than 0, \
                        and a `from_s` of 0 or more"
                    .into(),
            );
        }
        Ok(())
    }
}

struct Making {
    workload: Workload,
    users: Names<fairway_model::UserName>,
    groups: Names<fairway_model::GroupName>,
    specs: Specs,
}

impl Making {
    fn add(&mut self, stream: &Stream, cores: u64, mut rng: Rng) -> Result<(), SimError> {
        let heavy = |i: u32| 1.0 / power(f64::from(i), stream.skew);
        let weights: Vec<f64> = (1..=stream.users).map(heavy).collect();
        let burst = match stream.arrivals {
            Arrivals::Bursts { jobs, .. } => jobs as usize,
            _ => 1,
        };
        let mut drafts: Vec<Draft> = Vec::new();
        let mut left = stream.tasks;
        let mut user = 0;
        while left > 0 {
            if drafts.len().is_multiple_of(burst) {
                user = rng.pick(&weights);
            }
            let draft = stream.draft(user, left, &mut rng);
            left -= draft.runtimes_ms.len() as u64;
            drafts.push(draft);
        }
        let moments = moments(&stream.arrivals, &drafts, cores, &mut rng);
        for (draft, at) in drafts.into_iter().zip(moments) {
            let user = self.users.place(&stream.user_name(draft.user));
            let group = stream.group.as_ref().and_then(|it| self.groups.place(it));
            let job = SimJob {
                at,
                user: user.unwrap_or_default(),
                group,
                spec: self.specs.place(draft.shape)?,
                first: self.workload.runtimes_ms.len(),
            };
            self.workload.jobs.push(job);
            self.workload.runtimes_ms.extend(draft.runtimes_ms);
        }
        Ok(())
    }
}

/// When each of the jobs comes.
fn moments(arrivals: &Arrivals, drafts: &[Draft], cores: u64, rng: &mut Rng) -> Vec<Timestamp> {
    let moment = |ms: f64| Timestamp(ms.round() as i64);
    match *arrivals {
        Arrivals::AtOnce { from_s } => vec![moment(from_s * 1000.0); drafts.len()],
        Arrivals::Poisson { load, from_s } => {
            let work_ms: f64 = drafts.iter().map(Draft::core_ms).sum();
            let gap_ms = work_ms / (load * cores.max(1) as f64) / drafts.len().max(1) as f64;
            let mut at_ms = from_s * 1000.0;
            let mut next = |_| {
                at_ms += gap_ms * rng.exponential();
                moment(at_ms)
            };
            drafts.iter().map(&mut next).collect()
        }
        Arrivals::Bursts {
            every_s,
            jobs,
            from_s,
        } => {
            let mut at_ms = from_s * 1000.0;
            let mut all = Vec::with_capacity(drafts.len());
            for place in 0..drafts.len() {
                if place > 0 && place % jobs as usize == 0 {
                    at_ms += every_s * 1000.0 * rng.exponential();
                }
                all.push(moment(at_ms));
            }
            all
        }
    }
}

/// `base^exponent` of a positive base, the same on every machine for the exponents that people
/// write: whole and half ones.
fn power(base: f64, exponent: f64) -> f64 {
    let halves = (exponent * 2.0).round() as u32;
    let whole = (0..halves / 2).fold(1.0, |product, _| product * base);
    if halves % 2 == 1 {
        whole * base.sqrt()
    } else {
        whole
    }
}
