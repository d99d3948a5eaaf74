//! The machine's processes, as `/proc` shows them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process that runs.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// Its arguments, each followed by a blank.
    pub(crate) command: String,
    args: usize,
    /// Empty if it may not be read.
    pub(crate) environment: String,
}

impl Process {
    pub(crate) fn is_pilot(&self) -> bool {
        // Not the shell that started it, whose arguments end likewise.
        self.args == 2 && self.command.ends_with(" pilot-agent ")
    }
}

/// All processes that can be looked at, with their folders.
fn all() -> Vec<(Process, PathBuf)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let read = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let text = |name: &str| {
            let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let stat = text("stat");
        // The name in brackets may hold anything; state and parent follow.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let (command, environment) = (text("cmdline"), text("environ"));
        let args = command.matches('\0').count();
        Some((
            Process {
                pid,
                parent,
                command: command.replace('\0', " "),
                args,
                environment: environment.replace('\0', " "),
            },
            folder,
        ))
    };
    entries.filter_map(read).collect()
}

/// The processes that belong to a test's folder: by their own folder, command line or
/// environment, or as children of others. The pilot proper hides the former from all but root.
pub(crate) fn of(folder: &Path) -> Vec<Process> {
    let name = folder.to_str().unwrap();
    let named = |(process, cwd): &(Process, PathBuf)| {
        cwd.starts_with(folder)
            || process.command.contains(name)
            || process.environment.contains(name)
    };
    let (mut ours, mut others): (Vec<_>, Vec<_>) = all().into_iter().partition(named);
    let mut next = 0;
    while next < ours.len() {
        let parent = ours[next].0.pid;
        ours.extend(others.extract_if(.., |(process, _)| process.parent == parent));
        next += 1;
    }
    ours.into_iter().map(|(process, _)| process).collect()
}

/// A pilot: two processes of the same program.
#[derive(Debug)]
pub(crate) struct Pilot {
    /// Outlives the pilot proper, so that payloads cannot.
    pub(crate) guard: Process,
    /// The pilot proper, child of its guard and parent of the payloads.
    pub(crate) inner: Process,
}

/// The pilots that belong to a test's folder.
pub(crate) fn pilots(folder: &Path) -> Vec<Pilot> {
    let (guards, inner): (Vec<_>, Vec<_>) = {
        let all: Vec<_> = of(folder).into_iter().filter(Process::is_pilot).collect();
        let pids: Vec<_> = all.iter().map(|pilot| pilot.pid).collect();
        all.into_iter()
            .partition(|pilot| !pids.contains(&pilot.parent))
    };
    let pair = |guard: Process| {
        let inner = inner
            .iter()
            .find(|inner| inner.parent == guard.pid)?
            .clone();
        Some(Pilot { guard, inner })
    };
    guards.into_iter().filter_map(pair).collect()
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(pid: i32, signal: Signal) {
    // It may just have ended.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Whether the process runs.
pub(crate) fn is_alive(pid: i32) -> bool {
    all().iter().any(|(process, _)| process.pid == pid)
}

/// Kills all that belongs to a test's folder. Some may start others meanwhile, so it looks again
/// until nothing is left.
pub(crate) fn end_all(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = of(folder);
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for process in left {
            signal(process.pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
