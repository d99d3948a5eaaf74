//! OpenPBS, PBS Pro and TORQUE through their command line: `qsub`, `qstat`, `qdel`, `pbsnodes`.
//!
//! The two dialects share ids, arrays, scripts and the forms of text answers; what is asked and
//! what an answer means is in [`openpbs`] and [`torque`]. The bootstrap document of a pilot, which
//! holds a secret, is in the batch script only: the script is handed to `qsub` on standard input
//! and kept by the server where its owner alone can read it.

mod array;
mod failure;
mod id;
mod job;
mod limits;
mod openpbs;
mod render;
mod stanza;
mod torque;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairway_model::{Ce, CeId, CeState, CeStatus, PbsDialect, PbsSettings, SiteName, Timestamp};
use tracing::debug;

use crate::exec::{self, ExecError, Invocation, Output, Runner};
use crate::{AdapterError, BatchSystem, require_plain};

/// Longest time for one command. Every command of OpenPBS takes a privileged port, which then
/// rests for a minute; when there is none left a command hangs for that long and then succeeds.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(90);
/// Job ids in one command line: far from the limits of the kernel.
const IDS_PER_COMMAND: usize = 500;

/// The adapter of a site. Nothing is asked yet.
///
/// # Errors
/// `Refused` if a setting cannot be used.
pub(crate) fn open(
    site: SiteName,
    settings: &PbsSettings,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    let commands = Commands::new(site, settings)?;
    Ok(match settings.dialect {
        PbsDialect::Openpbs => Arc::new(openpbs::OpenPbs::new(commands)),
        PbsDialect::Torque => Arc::new(torque::Torque::new(commands)),
    })
}

/// How the commands of a site are run.
struct Commands {
    site: SiteName,
    bin_dir: Option<String>,
    env: Vec<(String, String)>,
    /// Folder on the worker nodes that pilots start in.
    work_dir: Option<String>,
    runner: Box<dyn Runner>,
}

impl Commands {
    fn new(site: SiteName, settings: &PbsSettings) -> Result<Self, AdapterError> {
        let PbsSettings {
            ssh,
            bin_dir,
            server,
            env,
            work_dir,
            ..
        } = settings;
        for (setting, path) in [("bin_dir", bin_dir), ("work_dir", work_dir)] {
            // PBS takes : and , in the paths of output files for separators, and TORQUE expands
            // what looks like a variable.
            if let Some(path) = path.as_deref().filter(|path| !render::is_plain_path(path)) {
                return Err(AdapterError::Refused(format!(
                    "{setting} of site {site} must be an absolute path of letters, digits and \
                     / . _ - + @ =, not {path:?}"
                )));
            }
        }
        if let Some(server) = server {
            require_plain("server", server)?;
        }
        Ok(Self {
            site,
            bin_dir: bin_dir.clone(),
            env: environment(server.as_deref(), env)?,
            work_dir: work_dir
                .as_ref()
                .map(|path| path.trim_end_matches('/').to_owned()),
            runner: exec::runner(ssh.as_ref(), COMMAND_TIME_MAX)?,
        })
    }

    async fn run(&self, program: &str, args: Vec<String>) -> Result<Output, AdapterError> {
        self.run_as(None, program, args, String::new()).await
    }

    async fn run_as(
        &self,
        run_as: Option<&str>,
        program: &str,
        args: Vec<String>,
        stdin: String,
    ) -> Result<Output, AdapterError> {
        self.invoke(Invocation {
            program: self.path(program),
            args,
            env: self.env.clone(),
            stdin,
            run_as: run_as.map(str::to_owned),
        })
        .await
    }

    /// Runs the shell of the machine itself.
    async fn shell(
        &self,
        run_as: Option<&str>,
        args: Vec<String>,
        stdin: String,
    ) -> Result<Output, AdapterError> {
        self.invoke(Invocation {
            program: "/bin/sh".to_owned(),
            args,
            env: self.env.clone(),
            stdin,
            run_as: run_as.map(str::to_owned),
        })
        .await
    }

    /// Where a command is.
    fn path(&self, program: &str) -> String {
        match &self.bin_dir {
            Some(folder) => format!("{folder}/{program}"),
            None => program.to_owned(),
        }
    }

    async fn invoke(&self, invocation: Invocation) -> Result<Output, AdapterError> {
        let result = self.runner.run(&invocation).await;
        debug!(site = %self.site, ?invocation, code = ?result.as_ref().ok().and_then(|o| o.code));
        result.map_err(|error| match error {
            ExecError::TooLong { .. } => AdapterError::Unexpected(error.to_string()),
            _ => AdapterError::Unreachable(error.to_string()),
        })
    }

    /// Runs `qdel` for ids that are plain, as many at a time as a command line holds. Those of
    /// somebody else (pilots that run under a user's own account) are ended as that user:
    /// `owners` is asked for once, and only if there are such. `told` reads the command's answer.
    async fn delete<O>(
        &self,
        ids: &[String],
        told: fn(&Output) -> Result<Vec<String>, AdapterError>,
        owners: O,
    ) -> Result<(), AdapterError>
    where
        O: AsyncFnOnce() -> Result<BTreeMap<String, String>, AdapterError>,
    {
        let ids: Vec<String> = ids.iter().filter(|id| id::is_job(id)).cloned().collect();
        let mut others = Vec::new();
        for ids in ids.chunks(IDS_PER_COMMAND) {
            let output = self.run("qdel", ids.to_vec()).await?;
            others.extend(told(&output)?);
        }
        if others.is_empty() {
            return Ok(());
        }
        let mut of_owner: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let owners = owners().await?;
        for id in others {
            // Who is not listed any more is over.
            if let Some(owner) = owners.get(&id) {
                require_plain("account", owner)?;
                of_owner.entry(owner.clone()).or_default().push(id);
            }
        }
        for (owner, ids) in of_owner {
            let output = self
                .run_as(Some(&owner), "qdel", ids, String::new())
                .await?;
            if let Some(id) = told(&output)?.first() {
                return Err(AdapterError::Refused(format!(
                    "job {id} of {owner}: {}",
                    failure::words(&output)
                )));
            }
        }
        Ok(())
    }

    /// A state to fill in for a CE.
    fn state(&self, ce: &Ce, lrms: &str, version: &str, now: Timestamp) -> CeState {
        let id = CeId {
            site: self.site.clone(),
            ce: ce.name.clone(),
        };
        let mut state = CeState::unreachable(id, lrms, now, String::new());
        version.clone_into(&mut state.lrms.1);
        state
    }
}

/// What is set for the commands: the site's own variables, and the server. OpenPBS knows it as
/// `PBS_SERVER`, TORQUE as `PBS_DEFAULT`.
fn environment(
    server: Option<&str>,
    own: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, AdapterError> {
    let mut env = Vec::new();
    for name in ["PBS_SERVER", "PBS_DEFAULT"] {
        env.extend(server.map(|server| (name.to_owned(), server.to_owned())));
    }
    for (name, value) in own {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || value.chars().any(char::is_control) {
            return Err(AdapterError::Refused(format!(
                "the variable {name:?} for the commands has no proper name or value"
            )));
        }
        env.push((name.clone(), value.clone()));
    }
    Ok(env)
}

/// Closes a CE whose queue is not there.
fn close_absent(state: &mut CeState, queue: &str) {
    state.status = CeStatus::Closed;
    state.reason = Some(format!("there is no queue {queue:?}"));
}

/// Whether the batch system was found away by a submission: the next ones are not tried, because
/// each would take as long as the first to fail.
#[derive(Default)]
struct Away(AtomicBool);

impl Away {
    fn check(&self) -> Result<(), AdapterError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(AdapterError::Unreachable(
                "not tried, because a submission just before found nobody".to_owned(),
            ));
        }
        Ok(())
    }

    fn note<T>(&self, result: &Result<T, AdapterError>) {
        if matches!(result, Err(AdapterError::Unreachable(_))) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Options of a command.
fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What nobody understands, shortened for people to read.
fn unexpected(program: &str, answer: &str) -> AdapterError {
    const CHARS_MAX: usize = 200;
    let answer: String = answer.chars().take(CHARS_MAX).collect();
    AdapterError::Unexpected(format!("{program} answered {answer:?}"))
}
