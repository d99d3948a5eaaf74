//! Starts, recognises and signals the processes of local jobs.
//!
//! A process is known by its id together with the moment it started: an id is
//! given again to somebody else, the pair is not, so a stranger is never taken
//! for a job or signalled.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

/// Runs the program that its arguments name, and notes the exit code. Standard input is open
/// already, so the file with the secret goes first of all. The hard link both claims the job and
/// records who has it (`22` is the field of the start): should a server die between starting this
/// and learning of it, the copy that the next server starts finds the link and leaves. Signals to
/// the group reach the program; the shell only has to survive them to write the exit code.
const WRAPPER: &str = r#"
folder=$1; shift
trap : HUP INT TERM
read -r x x x x x x x x x x x x x x x x x x x x x started x </proc/$$/stat
echo "$$ $started" >"$folder/process.$$" && ln "$folder/process.$$" "$folder/process" 2>/dev/null || exit 75
rm -f "$folder/stdin" "$folder/process.$$"
[ -e "$folder/cancel" ] || "$@"
echo $? >"$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"
"#;

/// What a job gets to see of the server's environment, which may hold secrets.
const ENV_KEPT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TZ"];

/// A process, told from all that had its id before or will have it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pid: Pid,
    /// Clock ticks from the machine's boot to its start.
    started: u64,
}

/// What `/proc/PID/stat` tells.
struct Stat {
    state: char,
    session: i32,
    started: u64,
}

impl Stat {
    /// Reads the line: id, name in brackets (which may hold anything), state, parent, group,
    /// session … and the start as the 22nd field.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            session: fields.nth(2)?.parse().ok()?,
            started: fields.nth(15)?.parse().ok()?,
        })
    }

    /// Whether it is more than the memory of a process that nobody has waited for.
    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    fn read(pid: Pid) -> Option<Self> {
        let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
        Self::parse(&fs::read_to_string(path).ok()?)
    }
}

impl Process {
    /// Starts the wrapper around `program` in a session of its own, with the job's folder as its
    /// place, `stdin` as its input and `log` as its output.
    pub(super) fn start(
        folder: &Path,
        program: &[String],
        stdin: File,
        log: File,
    ) -> io::Result<(Self, Child)> {
        let kept = ENV_KEPT
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
        let child = Command::new("setsid")
            .args(["/bin/sh", "-c", WRAPPER, "fairway-job"])
            .arg(folder)
            .args(program)
            .env_clear()
            .envs(kept)
            .current_dir(folder)
            .stdin(stdin)
            .stderr(log.try_clone()?)
            .stdout(Stdio::from(log))
            .spawn()?;
        // `setsid` becomes the shell, so the child's id is the shell's, its session's and its
        // group's. As a child it is in /proc until somebody waits for it, even if it is over.
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let process = pid.and_then(|pid| {
            Some(Self {
                pid,
                started: Stat::read(pid)?.started,
            })
        });
        match process {
            Some(process) => Ok((process, child)),
            None => Err(io::Error::other("the kernel does not know the new process")),
        }
    }

    /// The process that the wrapper recorded: id and start.
    pub(super) fn parse(record: &str) -> Option<Self> {
        let (pid, started) = record.trim().split_once(' ')?;
        Some(Self {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            started: started.parse().ok()?,
        })
    }

    /// Whether it still runs. A process that is over and waits to be reaped does not.
    pub(super) fn is_alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && stat.is_alive())
    }

    /// Asks the job to end: SIGTERM to its process group.
    pub(super) fn terminate(self) {
        // In its first moments the process has no group of its own yet.
        if self.is_alive() && kill_process_group(self.pid, Signal::TERM).is_err() {
            // It may just have ended, which is what was wanted.
            let _ = kill_process(self.pid, Signal::TERM);
        }
    }

    /// Ends the job: SIGKILL to every process of its session, whatever its group.
    pub(super) fn kill(self) {
        const ROUNDS_MAX: usize = 10;
        // As long as one of its processes lives, nobody else can have a session of that number.
        if !self.is_alive() {
            return;
        }
        // The leader first, which would start what comes after its child; then all others, and
        // again those that they started meanwhile.
        let mut doomed = vec![self.pid];
        for _ in 0..ROUNDS_MAX {
            for pid in doomed {
                // It may just have ended, which is what is wanted.
                let _ = kill_process(pid, Signal::KILL);
            }
            doomed = self.session();
            if doomed.is_empty() {
                return;
            }
        }
    }

    /// The processes of its session that still run.
    fn session(self) -> Vec<Pid> {
        let session = self.pid.as_raw_nonzero().get();
        let is_member = |pid: &Pid| {
            Stat::read(*pid).is_some_and(|stat| stat.session == session && stat.is_alive())
        };
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .filter(is_member)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat_lines_of_processes_with_odd_names() {
        let line = "41 (a) Z (b c) S 1 2 3 4 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 987654 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.session, stat.started), ('S', 3, 987_654));
        assert!(Stat::parse("41 (a) S 1").is_none());
    }

    #[test]
    fn an_id_that_was_given_again_is_somebody_else() {
        let pid = rustix::process::getpid();
        let started = Stat::read(pid).unwrap().started;
        assert!(Process { pid, started }.is_alive());
        let earlier = Process {
            pid,
            started: started - 1,
        };
        assert!(!earlier.is_alive());
    }
}
