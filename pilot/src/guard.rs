//! A second process that outlives the pilot proper, so that payloads cannot.
//!
//! The pilot starts itself again and stays behind as a *guard*. Both are subreapers:
//! should the inner pilot be killed, its payloads and all that they started, however
//! detached, become the guard's children, and it ends them. Should the guard be killed,
//! the kernel tells the inner pilot (SIGTERM), which hands back and ends. Only both
//! being killed at once leaves processes behind; batch systems do that to whole cgroups,
//! payloads included.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fairway_api::pilot::Bootstrap;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::{PilotError, meter, payload, wait};

/// Tells a process that it is the inner pilot, and whose: the guard's pid.
const MARK: &str = "FAIRWAY_PILOT_GUARD";
/// Killed processes are gone sooner than this; one that hangs in the kernel is not waited for.
const SWEEP_TIME: Duration = Duration::from_secs(2);
const SWEEP_PAUSE: Duration = Duration::from_millis(5);

fn own_failure(what: &'static str) -> impl Fn(std::io::Error) -> PilotError {
    move |error| PilotError::Machine(format!("{what}: {error}"))
}

/// Whether this process is the inner pilot.
pub(crate) fn is_inner() -> bool {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    parent.is_some() && std::env::var(MARK).ok() == parent
}

/// What the inner pilot does first: no terminal, adopts orphans, ends with its guard,
/// and lets nobody of the same user read its memory, where its token is.
pub(crate) fn become_inner() -> Result<(), PilotError> {
    use rustix::process as p;
    let checked = |what: &'static str| {
        move |e: rustix::io::Errno| PilotError::Machine(format!("{what}: {e}"))
    };
    p::setsid().map_err(checked("no session of its own"))?;
    adopt_orphans()?;
    p::set_parent_process_death_signal(Some(Signal::TERM)).map_err(checked("no death signal"))?;
    if !is_inner() {
        return Err(PilotError::Machine("its guard is gone".to_owned()));
    }
    p::set_dumpable_behavior(p::DumpableBehavior::NotDumpable).map_err(checked("still dumpable"))
}

/// Makes orphans among the descendants children of this process.
pub(crate) fn adopt_orphans() -> Result<(), PilotError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| PilotError::Machine(format!("cannot adopt orphans: {e}")))
}

/// Starts the inner pilot, passes signals on, and cleans up after it.
///
/// To be run on a thread that lives as long as the process: the kernel takes the end of
/// the thread that started the inner pilot for the end of the guard.
pub(crate) async fn guard(bootstrap: &Bootstrap) -> Result<(), PilotError> {
    adopt_orphans()?;
    let failed = own_failure("signals cannot be received");
    let mut ended = signal(SignalKind::child()).map_err(&failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(&failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(&failed)?;
    let inner = start_inner(bootstrap)?;
    let end = loop {
        tokio::select! {
            _ = ended.recv() => {
                let outcome = wait::collect(inner);
                if let Some(ended) = outcome.map_err(own_failure("the inner pilot is lost"))? {
                    break ended.end;
                }
            }
            _ = terminate.recv() => payload::signal_process(inner, Signal::TERM),
            _ = interrupt.recv() => payload::signal_process(inner, Signal::TERM),
        }
    };
    sweep().await;
    match end.exit_code() {
        Some(0) => Ok(()),
        Some(code) => Err(PilotError::Inner(u8::try_from(code).unwrap_or(u8::MAX))),
        None => Err(PilotError::Machine(format!("the inner pilot {end}"))),
    }
}

fn start_inner(bootstrap: &Bootstrap) -> Result<Pid, PilotError> {
    let failed = own_failure("the inner pilot cannot be started");
    let mut inner = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(MARK, std::process::id().to_string())
        .stdin(Stdio::piped())
        .spawn()
        .map_err(&failed)?;
    let json = serde_json::to_vec(bootstrap).map_err(|e| failed(e.into()))?;
    if let Some(mut stdin) = inner.stdin.take() {
        stdin.write_all(&json).map_err(&failed)?;
    }
    Ok(Pid::from_child(&inner))
}

/// Ends and collects all descendants of this process.
pub(crate) async fn sweep() {
    let deadline = Instant::now() + SWEEP_TIME;
    loop {
        let left = meter::descendants();
        for pid in &left.strays {
            payload::signal_process(*pid, Signal::KILL);
        }
        for (pid, _) in &left.dead {
            if let Err(e) = wait::collect(*pid) {
                tracing::debug!(%e, "a child was collected already");
            }
        }
        if left.strays.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            tracing::error!(processes = left.strays.len(), "some processes do not end");
            return;
        }
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
}
