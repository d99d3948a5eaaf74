//! Batch systems behind one small trait. An adapter submits, reports and
//! cancels; it decides nothing.

mod exec;
mod kubernetes;
mod local;
mod oar;
mod pbs;
mod script;
mod secret;
mod slurm;

pub use kubernetes::pending;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fairway_model::{AdapterSettings, Ce, CeState, PilotId, Resources, SiteName, Timestamp};

/// A pilot to submit: everything that the batch job is rendered from.
#[derive(Clone)]
pub struct PilotJob {
    /// Which pilot.
    pub pilot: PilotId,
    /// Where to.
    pub ce: Ce,
    /// The job's name in the batch system; by it a lost submission is found again.
    pub name: String,
    /// What to ask for, on each node.
    pub resources: Resources,
    /// How many nodes. The program is started once on each, with the same standard input and
    /// `FAIRWAY_NODE` in its environment: 0, 1 … in any order, if there are several.
    pub nodes: u32,
    /// The account at the site to run under; the adapter's own if not set.
    pub run_as: Option<String>,
    /// Ask for an advance reservation that begins then, where the batch system gives them to
    /// users; refused elsewhere.
    pub reserve_at: Option<Timestamp>,
    /// Worker nodes that have been set aside and are not to be used, where the batch system
    /// can be told so; elsewhere it is of no effect.
    pub avoid: Vec<String>,
    /// The walltime to ask for, in seconds.
    pub walltime_s: u64,
    /// Path of the pilot program on the worker node, and its arguments.
    pub program: Vec<String>,
    /// What the program reads on its standard input: the bootstrap document. Holds a
    /// secret: must not reach a command line, an environment or a log.
    pub stdin: String,
}

impl std::fmt::Debug for PilotJob {
    /// Without the bootstrap document, which holds a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PilotJob")
            .field("pilot", &self.pilot)
            .field("ce", &self.ce.name)
            .field("name", &self.name)
            .field("resources", &self.resources)
            .field("nodes", &self.nodes)
            .field("run_as", &self.run_as)
            .field("walltime_s", &self.walltime_s)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// Where a job of ours is in the batch system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// In the queue, with the batch system's reason.
    Queued {
        /// Why it waits, in the batch system's words.
        reason: String,
    },
    /// Running.
    Running,
    /// Over, with what the batch system says of it.
    Ended {
        /// State, exit code, reason.
        detail: String,
    },
}

/// A job of ours in the batch system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchJob {
    /// The batch system's id.
    pub batch_id: String,
    /// Its name, as given at submission.
    pub name: String,
    /// Where it is.
    pub state: BatchState,
}

/// Why an adapter could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The batch system answered and would not: a bad queue, time, size or account.
    #[error("the batch system refused: {0}")]
    Refused(String),
    /// The batch system did not answer, or could not. Nothing is known of what it did.
    #[error("the batch system cannot be reached: {0}")]
    Unreachable(String),
    /// It answered something that the adapter does not understand.
    #[error("unexpected answer of the batch system: {0}")]
    Unexpected(String),
}

/// One site's batch system.
#[async_trait]
pub trait BatchSystem: Send + Sync {
    /// Submits pilots; one result for each, in order. After `Unreachable` the job may or may not
    /// be there: look it up by name before anything else is done about it.
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>>;

    /// All jobs whose name begins with `name_prefix`, in as few calls as the batch system allows.
    /// `known` are batch ids that must be told of, also if they are over: an id that is in
    /// neither the queue nor the accounting of the batch system is left out of the answer.
    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError>;

    /// Ends jobs. Those that are over already, or unknown, are no error.
    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError>;

    /// What each of `ces` publishes now, in their order. A queue that does not exist is
    /// `Closed` with the reason.
    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError>;
}

/// The adapter for a site. `state_dir` is a folder of the server's for what an adapter must
/// remember over a restart; each site needs one of its own.
pub fn connect(
    site: &SiteName,
    settings: &AdapterSettings,
    state_dir: &Path,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    match settings {
        AdapterSettings::Local(settings) => Ok(Arc::new(local::Local::open(
            site.clone(),
            settings.cores,
            &state_dir.join("local"),
        )?)),
        AdapterSettings::Slurm(settings) => slurm::open(site.clone(), settings, state_dir),
        AdapterSettings::Pbs(settings) => pbs::open(site.clone(), settings),
        AdapterSettings::Oar(settings) => oar::open(site.clone(), settings),
        AdapterSettings::Kubernetes(settings) => kubernetes::open(site.clone(), settings),
        AdapterSettings::Agent(_) => Err(AdapterError::Unreachable(
            "it is reached by its agent only".to_owned(),
        )),
    }
}

/// Whether `text` may name a job, queue, account or quality of service: 1 to 128 ASCII letters,
/// digits or `._-@+:`, not beginning with `-` or `.`. Such a text is no option, no path and no
/// shell syntax, whatever it is pasted into.
fn is_plain(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-@+:".contains(&byte))
}

/// Refuses a text that [`is_plain`] does not hold for; `what` names it in the message.
fn require_plain(what: &str, text: &str) -> Result<(), AdapterError> {
    if is_plain(text) {
        return Ok(());
    }
    Err(AdapterError::Refused(format!(
        "{what} {text:?} may hold only letters, digits and . _ - @ + : (at most 128, and not \
         begin with - or .)"
    )))
}
