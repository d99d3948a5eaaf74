//! The machine's processes, as `/proc` shows them.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process that runs.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) command: String,
    /// Empty if it may not be read.
    pub(crate) environment: String,
}

impl Process {
    pub(crate) fn is_pilot(&self) -> bool {
        self.command.ends_with("fairway pilot-agent ")
    }
}

/// All processes that can be looked at, with their folders.
fn all() -> Vec<(Process, std::path::PathBuf)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let read = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let text = |name: &str| {
            let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
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
        Some((Process { pid, parent, command, environment }, folder))
    };
    entries.filter_map(read).collect()
}

/// The processes that belong to a test's folder: by their own folder, command line or
/// environment.
pub(crate) fn of(folder: &Path) -> Vec<Process> {
    let name = folder.to_str().unwrap();
    let belongs = |(process, cwd): &(Process, std::path::PathBuf)| {
        cwd.starts_with(folder)
            || process.command.contains(name)
            || process.environment.contains(name)
    };
    all().into_iter().filter(belongs).map(|(process, _)| process).collect()
}

/// The pilots proper that belong to a test's folder: each is the child of its guard, which is
/// the same program.
pub(crate) fn inner_pilots(folder: &Path) -> Vec<Process> {
    let pilots: Vec<_> = of(folder).into_iter().filter(Process::is_pilot).collect();
    let guards: Vec<_> = pilots.iter().map(|pilot| pilot.pid).collect();
    pilots.into_iter().filter(|pilot| guards.contains(&pilot.parent)).collect()
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
