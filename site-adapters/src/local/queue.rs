//! The queue of local jobs: strictly first come, first served over the cores.
//! [`Queue::observe`] learns what happened since, [`Queue::advance`] acts on it.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Child;
use tracing::warn;

use super::folder::{Folder, Spec};
use super::machine;
use super::process::Process;
use crate::{AdapterError, BatchJob, BatchState, PilotJob, require_plain};

/// A job that is over is told of for so long after it was first told of.
const ENDED_KEPT: Duration = Duration::from_secs(600);
/// So many jobs that are over and told of are kept at most.
const ENDED_KEPT_MAX: usize = 500;

/// All local jobs.
pub(super) struct Queue {
    root: PathBuf,
    cores: u32,
    kill_grace: Duration,
    /// By place in the queue.
    jobs: BTreeMap<u64, Job>,
}

struct Job {
    spec: Spec,
    folder: Folder,
    phase: Phase,
    /// When it was first told that the job is over.
    told: Option<Instant>,
}

enum Phase {
    Queued,
    Running {
        process: Process,
        since: Instant,
        /// When and why it was told to end.
        cancel: Option<(Instant, String)>,
    },
    Ended {
        detail: String,
    },
}

/// A job that was just started, for somebody to wait for.
pub(super) struct Started {
    pub(super) name: String,
    pub(super) child: Child,
}

/// How busy the machine is with our jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) cores_total: u32,
    pub(super) cores_used: u32,
    pub(super) running: u32,
    pub(super) waiting: u32,
}

impl Queue {
    /// Finds the jobs of an earlier server again, or begins anew.
    pub(super) fn open(root: &Path, cores: u32, kill_grace: Duration) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        // Jobs run in folders of their own, where a relative path would mean something else.
        let root = root.canonicalize()?;
        let mut jobs = BTreeMap::new();
        for folder in Folder::list(&root)? {
            let spec = match folder.spec() {
                Ok(spec) => spec,
                Err(error) => {
                    warn!(?folder, %error, "a folder among the local jobs is none");
                    continue;
                }
            };
            let job = Job {
                phase: Phase::recall(&folder)?,
                folder,
                spec,
                told: None,
            };
            jobs.insert(job.spec.place, job);
        }
        Ok(Self {
            root,
            cores,
            kill_grace,
            jobs,
        })
    }

    /// Time between SIGTERM and SIGKILL.
    pub(super) fn kill_grace(&self) -> Duration {
        self.kill_grace
    }

    /// Puts a job into the queue; its name is its id.
    pub(super) fn submit(&mut self, job: &PilotJob) -> Result<String, AdapterError> {
        self.check(job)?;
        let spec = Spec {
            place: self.jobs.last_key_value().map_or(1, |(place, _)| place + 1),
            name: job.name.clone(),
            cores: job.resources.cores.max(1),
            walltime_s: job.walltime_s,
            program: job.program.clone(),
        };
        let folder = Folder::create(&self.root, &spec, &job.stdin)
            .map_err(|error| super::unreachable(&error))?;
        let job = Job {
            spec,
            folder,
            phase: Phase::Queued,
            told: None,
        };
        let id = job.spec.name.clone();
        self.jobs.insert(job.spec.place, job);
        Ok(id)
    }

    /// Refuses what could never run.
    fn check(&self, job: &PilotJob) -> Result<(), AdapterError> {
        require_plain("job name", &job.name)?;
        let refuse = |reason: String| Err(AdapterError::Refused(reason));
        let asked = job.resources;
        if job.program.is_empty() {
            return refuse("no pilot program is set".to_owned());
        }
        if asked.cores > self.cores {
            return refuse(format!(
                "{} cores asked for, {} given away here",
                asked.cores, self.cores
            ));
        }
        if let Some(memory_mib) = machine::memory_mib().filter(|have| asked.memory_mib > *have) {
            return refuse(format!(
                "{} MiB of memory asked for, this machine has {memory_mib}",
                asked.memory_mib
            ));
        }
        if asked.gpus > 0 {
            return refuse("the local adapter gives no GPUs".to_owned());
        }
        if self.jobs.values().any(|other| other.spec.name == job.name) {
            return refuse(format!("there is a job named {} already", job.name));
        }
        Ok(())
    }

    /// Learns which running jobs are over. Fails if the folder is not there: then nothing can be
    /// told of the jobs, least of all that they are gone.
    pub(super) fn observe(&mut self) -> io::Result<()> {
        std::fs::metadata(&self.root)?;
        for job in self.jobs.values_mut() {
            job.phase.observe(&job.folder)?;
        }
        Ok(())
    }

    /// Tells of all jobs whose name begins with `name_prefix`.
    pub(super) fn report(&mut self, name_prefix: &str) -> Vec<BatchJob> {
        let cores_busy = self.load().cores_used;
        let mut told = Vec::new();
        for job in self.jobs.values_mut() {
            if !job.spec.name.starts_with(name_prefix) {
                continue;
            }
            let state = match &job.phase {
                Phase::Queued => BatchState::Queued {
                    reason: format!(
                        "waiting for {} of {} cores, {cores_busy} are taken",
                        job.spec.cores, self.cores
                    ),
                },
                Phase::Running { .. } => BatchState::Running,
                Phase::Ended { detail } => {
                    job.told.get_or_insert_with(Instant::now);
                    BatchState::Ended {
                        detail: detail.clone(),
                    }
                }
            };
            told.push(BatchJob {
                batch_id: job.spec.name.clone(),
                name: job.spec.name.clone(),
                state,
            });
        }
        told
    }

    /// Tells a job to end; whether there is one to be waited for.
    pub(super) fn cancel(&mut self, id: &str) -> io::Result<bool> {
        let job = self.jobs.values_mut().find(|job| job.spec.name == id);
        job.map_or(Ok(false), |job| job.end("cancelled"))
    }

    /// How busy the machine is with our jobs.
    pub(super) fn load(&self) -> Load {
        let mut load = Load {
            cores_total: self.cores,
            cores_used: 0,
            running: 0,
            waiting: 0,
        };
        for job in self.jobs.values() {
            match job.phase {
                Phase::Queued => load.waiting += 1,
                Phase::Running { .. } => {
                    load.running += 1;
                    load.cores_used += job.spec.cores;
                }
                Phase::Ended { .. } => {}
            }
        }
        load
    }

    /// Acts on what is known: ends jobs that are over their walltime, kills those deaf to it,
    /// starts those that now fit, forgets those that were over long ago.
    pub(super) fn advance(&mut self) -> Vec<Started> {
        for job in self.jobs.values_mut() {
            if let Err(error) = job.enforce(self.kill_grace) {
                warn!(job = job.spec.name, %error, "cannot end a local job");
            }
        }
        self.forget();
        self.start()
    }

    fn start(&mut self) -> Vec<Started> {
        let mut free = self.cores.saturating_sub(self.load().cores_used);
        let mut started = Vec::new();
        let queued = self
            .jobs
            .values_mut()
            .filter(|job| matches!(job.phase, Phase::Queued));
        for job in queued {
            // The first that does not fit keeps its place: a small job never delays a big one.
            let Some(left) = free.checked_sub(job.spec.cores) else {
                break;
            };
            match job.folder.start(&job.spec.program) {
                Ok((process, child)) => {
                    free = left;
                    job.phase = Phase::Running {
                        process,
                        since: Instant::now(),
                        cancel: None,
                    };
                    started.push(Started {
                        name: job.spec.name.clone(),
                        child,
                    });
                }
                Err(error) => job.fail_to_start(&error),
            }
        }
        started
    }

    fn forget(&mut self) {
        let told: Vec<(u64, Instant)> = self
            .jobs
            .iter()
            .filter_map(|(&place, job)| Some((place, job.told?)))
            .collect();
        let too_many = told.len().saturating_sub(ENDED_KEPT_MAX);
        for (index, (place, at)) in told.into_iter().enumerate() {
            if index >= too_many && at.elapsed() < ENDED_KEPT {
                continue;
            }
            let Some(job) = self.jobs.remove(&place) else {
                continue;
            };
            if let Err(error) = job.folder.remove() {
                warn!(job = job.spec.name, %error, "cannot remove the folder of a local job");
            }
        }
    }
}

impl Job {
    /// Tells the job to end; whether there is a process to be waited for.
    fn end(&mut self, reason: &str) -> io::Result<bool> {
        match &mut self.phase {
            Phase::Queued => {
                self.folder.set_cancel(reason)?;
                let words = "before it started";
                self.folder.set_exit(words)?;
                self.phase = Phase::Ended {
                    detail: format!("{reason}, {words}"),
                };
                Ok(false)
            }
            Phase::Running {
                process, cancel, ..
            } => {
                if cancel.is_none() {
                    // First noted, then done: the wrapper looks for it before it starts the job.
                    self.folder.set_cancel(reason)?;
                    *cancel = Some((Instant::now(), reason.to_owned()));
                    process.terminate();
                }
                Ok(true)
            }
            Phase::Ended { .. } => Ok(false),
        }
    }

    /// Holds a running job to its walltime, and to its end once it was told to.
    fn enforce(&mut self, kill_grace: Duration) -> io::Result<()> {
        let Phase::Running {
            process,
            since,
            cancel,
        } = &self.phase
        else {
            return Ok(());
        };
        match cancel {
            Some((at, _)) if at.elapsed() >= kill_grace => process.kill(),
            Some(_) => {}
            None if since.elapsed() > Duration::from_secs(self.spec.walltime_s) => {
                self.end("its walltime was over")?;
            }
            None => {}
        }
        Ok(())
    }

    fn fail_to_start(&mut self, error: &io::Error) {
        if let Ok(phase @ (Phase::Running { .. } | Phase::Ended { .. })) =
            Phase::recall(&self.folder)
        {
            // Somebody else was faster.
            self.phase = phase;
            return;
        }
        let words = format!("it could not be started: {error}");
        if let Err(error) = self.folder.set_exit(&words) {
            // Told for now; a later server would try to start it once more.
            warn!(job = self.spec.name, %error, "cannot note that a local job did not start");
        }
        self.phase = Phase::Ended { detail: words };
    }
}

impl Phase {
    /// What the folder of an earlier server's job tells.
    fn recall(folder: &Folder) -> io::Result<Self> {
        let cancel = folder.cancel()?;
        if let Some(exit) = folder.exit()? {
            return Self::ended(folder, cancel.map(|(reason, _)| reason), &exit);
        }
        let Some((process, age)) = folder.process()? else {
            return Ok(Self::Queued);
        };
        let mut phase = Self::Running {
            process,
            since: ago(age),
            cancel: cancel.map(|(reason, age)| (ago(age), reason)),
        };
        phase.observe(folder)?;
        Ok(phase)
    }

    /// Learns whether a queued job was taken by somebody else, and a running one is over.
    fn observe(&mut self, folder: &Folder) -> io::Result<()> {
        let (process, cancel) = match self {
            // When a site's settings change, the queue with the old ones lives on until its
            // jobs are over.
            Self::Queued => {
                *self = Self::recall(folder)?;
                return Ok(());
            }
            Self::Running {
                process, cancel, ..
            } => (process, cancel),
            Self::Ended { .. } => return Ok(()),
        };
        // In this order: a job that ends in between has written its exit code.
        let alive = process.is_alive();
        let exit = match folder.exit()? {
            Some(exit) => exit,
            None if alive => return Ok(()),
            None => match folder.process()? {
                // Not this server's wrapper has the job but one that an earlier server started.
                Some((other, _)) if other != *process && other.is_alive() => {
                    *process = other;
                    return Ok(());
                }
                _ => {
                    let words = "no exit code: it was killed, or the machine restarted";
                    folder.set_exit(words)?;
                    words.to_owned()
                }
            },
        };
        *self = Self::ended(folder, cancel.take().map(|(_, reason)| reason), &exit)?;
        Ok(())
    }

    /// Puts the end into words: why it was told to end, how it did, and if that was a failure of
    /// its own, the last it said.
    fn ended(folder: &Folder, cancel: Option<String>, exit: &str) -> io::Result<Self> {
        let mut words = Vec::from_iter(cancel);
        let failed = words.is_empty() && exit != "0";
        words.push(match exit.parse::<u8>() {
            Ok(code @ 129..) => format!("signal {}", code - 128),
            Ok(code) => format!("exit code {code}"),
            Err(_) => exit.to_owned(),
        });
        let mut detail = words.join(", ");
        let last_words = folder.last_words()?;
        if failed && !last_words.is_empty() {
            detail = format!("{detail}: {last_words}");
        }
        Ok(Self::Ended { detail })
    }
}

/// The moment `age` before now, or now if the clock does not reach so far back.
fn ago(age: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(age).unwrap_or(now)
}
