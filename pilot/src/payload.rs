//! Starting payloads, and ending them with all that they started.
//!
//! All payloads are children of one thread, the *launcher*, which also looks after
//! their folders: an `exec` from a file system that hangs then stops the
//! launcher but not the heartbeat. A payload leads a process group of its own. The
//! pilot's session has no terminal, so a payload has none either.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use fairway_api::pilot::Lease;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::folders::{Folder, Folders, STDERR, STDOUT, TMP};
use crate::hosts;
use crate::machine::Key;
use crate::sandbox;
use crate::wait::{self, Ended};

/// A payload that was started.
#[derive(Debug)]
pub(crate) struct Launched {
    /// Its first process, which leads its process group.
    pub(crate) pid: Pid,
    /// When it was started.
    pub(crate) at: Instant,
    /// Where it runs; to be given back to the launcher when it is over.
    pub(crate) folder: Folder,
    /// Its standard output, opened by the pilot itself: whatever the payload does to
    /// the name, this remains the file that it was given.
    pub(crate) stdout: File,
    /// Its standard error; `None` if it goes to the same file as the output.
    pub(crate) stderr: Option<File>,
}

/// Work for the launcher.
pub(crate) enum Job {
    /// Start the payload of a lease in the folder that its inputs are in, if it has any.
    Launch(Arc<Lease>, Option<Folder>),
    /// Take back the folder of a payload that is over.
    GiveBack(Folder),
}

/// Variables that every payload gets, taken from the pilot's own environment once.
#[derive(Clone, Debug)]
pub(crate) struct BaseEnvironment {
    own: Vec<(&'static str, String)>,
    /// Only for those that have several nodes.
    batch: Vec<(&'static str, String)>,
}

impl BaseEnvironment {
    /// `PATH`, `HOME`, `LANG` and `USER`, and nothing else of what the batch system set, but for
    /// those who must reach other nodes by its own means.
    pub(crate) fn from_own() -> Self {
        let own = |name: &'static str, otherwise: &str| {
            (
                name,
                std::env::var(name).unwrap_or_else(|_| otherwise.to_owned()),
            )
        };
        let mut base = vec![
            own("PATH", "/usr/local/bin:/usr/bin:/bin"),
            own("LANG", "C.UTF-8"),
            own("USER", "nobody"),
        ];
        base.extend(std::env::var("HOME").ok().map(|home| ("HOME", home)));
        let set = |name: &'static str| Some((name, std::env::var(name).ok()?));
        Self {
            own: base,
            batch: hosts::BATCH_VARIABLES.into_iter().filter_map(set).collect(),
        }
    }

    fn apply(&self, command: &mut Command, lease: &Lease, folder: &Path) {
        let Lease {
            task,
            attempt,
            payload,
        } = lease;
        command
            .env_clear()
            .env("HOME", folder)
            .envs(self.own.iter().cloned());
        if !payload.hosts.is_empty() {
            command.envs(self.batch.iter().cloned());
        }
        command
            .env("TMPDIR", folder.join(TMP))
            .env("FAIRWAY_TASK", task.to_string())
            .env("FAIRWAY_JOB", task.job.to_string())
            .env("FAIRWAY_INDEX", task.index.to_string())
            .env("FAIRWAY_ATTEMPT", attempt.to_string())
            .env("FAIRWAY_CORES", payload.resources.cores.to_string())
            .env(
                "FAIRWAY_MEMORY_MIB",
                payload.resources.memory_mib.to_string(),
            )
            .env(
                "OMP_NUM_THREADS",
                payload.resources.cores.max(1).to_string(),
            );
        hosts::set(command, folder, &payload.hosts);
        command.envs(
            payload
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        );
    }

    fn path<'a>(&'a self, lease: &'a Lease) -> &'a str {
        // The last setting of a variable is the one that counts.
        let own = lease
            .payload
            .environment
            .iter()
            .rev()
            .find(|(name, _)| name == "PATH");
        own.map_or(&self.own[0].1, |(_, value)| value)
    }
}

/// `Command` starts a process the fast way (`posix_spawn`, without copying the pilot's page
/// tables) only if this function is there to change the folder. Its own reference is weak
/// and does not bring the function into a static binary; this one does.
#[cfg(target_env = "gnu")]
#[used]
static CHANGES_FOLDER_IN_SPAWN: unsafe extern "C" fn(
    *mut libc::posix_spawn_file_actions_t,
    *const libc::c_char,
) -> libc::c_int = libc::posix_spawn_file_actions_addchdir_np;

/// Runs the launcher's thread until `jobs` is closed. `launched` is called with the
/// outcome of each start; an error is a text for the user.
pub(crate) fn launcher(
    base: &BaseEnvironment,
    mut folders: Folders,
    jobs: &mpsc::Receiver<Job>,
    launched: impl Fn(Key, Result<Launched, String>),
) {
    for job in jobs {
        match job {
            Job::Launch(lease, staged) => {
                let outcome = launch(base, &mut folders, &lease, staged);
                launched(Key::from(&*lease), outcome);
            }
            Job::GiveBack(folder) => folders.give_back(folder),
        }
    }
}

fn launch(
    base: &BaseEnvironment,
    folders: &mut Folders,
    lease: &Lease,
    staged: Option<Folder>,
) -> Result<Launched, String> {
    let usual = |name: &Option<String>, usual| name.as_deref().is_none_or(|name| name == usual);
    let plain = staged.is_none()
        && lease.payload.hosts.is_empty()
        && usual(&lease.payload.stdout, STDOUT)
        && usual(&lease.payload.stderr, STDERR);
    let cannot = |e: io::Error| format!("its folder cannot be made: {e}");
    let mut folder = match staged {
        Some(folder) => folder,
        None => folders.take(plain).map_err(cannot)?,
    };
    let streams = hosts::write(folder.path(), &lease.payload.hosts)
        .map_err(|e| format!("the list of its nodes cannot be written: {e}"))
        .and_then(|()| Streams::open(lease, folder.path()));
    if plain {
        folder.remember();
    }
    match streams.and_then(|streams| spawn(base, lease, folder.path(), streams)) {
        Ok((pid, at, Streams { stdout, stderr })) => Ok(Launched {
            pid,
            at,
            folder,
            stdout,
            stderr,
        }),
        Err(reason) => {
            folders.give_back(folder);
            Err(reason)
        }
    }
}

/// A payload's standard output, and its standard error if that is another file.
struct Streams {
    stdout: File,
    stderr: Option<File>,
}

impl Streams {
    fn open(lease: &Lease, folder: &Path) -> Result<Self, String> {
        let stdout = lease.payload.stdout.as_deref().unwrap_or(STDOUT);
        let stderr = lease.payload.stderr.as_deref().unwrap_or(STDERR);
        let apart = stderr != stdout;
        Ok(Self {
            stdout: open_stream(folder, stdout)?,
            stderr: apart.then(|| open_stream(folder, stderr)).transpose()?,
        })
    }
}

fn spawn(
    base: &BaseEnvironment,
    lease: &Lease,
    folder: &Path,
    streams: Streams,
) -> Result<(Pid, Instant, Streams), String> {
    let payload = &lease.payload;
    let cannot = |what: &str| {
        let what = what.to_owned();
        move |e: io::Error| format!("{what}: {e}")
    };
    let program = find_program(&payload.executable, folder, base.path(lease))?;
    let mut command = Command::new(program);
    command
        .args(&payload.arguments)
        .current_dir(folder)
        .process_group(0);
    base.apply(&mut command, lease, folder);
    let copy = |file: &File| file.try_clone().map(Stdio::from);
    let Streams { stdout, stderr } = &streams;
    command
        .stdin(match &payload.stdin {
            Some(name) => Stdio::from(open_stdin(folder, name)?),
            None => Stdio::null(),
        })
        .stdout(copy(stdout).map_err(cannot("its standard output cannot be opened"))?)
        .stderr(
            copy(stderr.as_ref().unwrap_or(stdout))
                .map_err(cannot("its standard error cannot be opened"))?,
        );
    let at = Instant::now();
    // The child is collected by its pid, not through this handle: see `try_end`.
    let child = command
        .spawn()
        .map_err(|e| format!("`{}` cannot be run: {e}", payload.executable))?;
    Ok((Pid::from_child(&child), at, streams))
}

fn open_stream(folder: &Path, name: &str) -> Result<File, String> {
    let path = sandbox::inside(folder, name)?;
    // Appending: both streams may share one file, and a payload that truncates it
    // does not leave a hole.
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| format!("`{name}` cannot be written: {e}"))
}

fn open_stdin(folder: &Path, name: &str) -> Result<File, String> {
    let path = sandbox::inside(folder, name)?;
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| format!("its standard input `{name}` cannot be read: {e}"))
}

/// A file of the folder, an absolute path, or a name on the search path.
fn find_program(executable: &str, folder: &Path, path: &str) -> Result<PathBuf, String> {
    if executable.starts_with('/') {
        return Ok(executable.into());
    }
    let own = sandbox::inside(folder, executable)?;
    if own.is_file() {
        return Ok(own);
    }
    let on_path = (!executable.contains('/')).then(|| {
        let mut folders = path.split(':').filter(|folder| folder.starts_with('/'));
        folders.find_map(|folder| {
            let program = Path::new(folder).join(executable);
            rustix::fs::access(&program, rustix::fs::Access::EXEC_OK)
                .is_ok_and(|()| program.is_file())
                .then_some(program)
        })
    });
    on_path.flatten().ok_or_else(|| {
        format!("`{executable}` is neither in the input sandbox nor on the worker node's PATH")
    })
}

/// If the process has ended: ends what is left of its group, and collects it. The group
/// goes first, as long as the dead leader keeps its number from being used again.
pub(crate) fn try_end(pid: Pid) -> io::Result<Option<Ended>> {
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if rustix::process::waitid(WaitId::Pid(pid), peek)?.is_none() {
        return Ok(None);
    }
    signal_group(pid, Signal::KILL);
    wait::collect(pid)
}

/// Sends a signal to the group that `leader` leads.
pub(crate) fn signal_group(leader: Pid, signal: Signal) {
    // The one error that can occur is that nobody is left.
    if let Err(e) = rustix::process::kill_process_group(leader, signal) {
        tracing::trace!(%e, "nobody left in a payload's process group");
    }
}

/// Sends a signal to one process.
pub(crate) fn signal_process(pid: Pid, signal: Signal) {
    if let Err(e) = rustix::process::kill_process(pid, signal) {
        tracing::trace!(%e, "a process was gone before its signal");
    }
}
