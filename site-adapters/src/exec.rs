//! Runs the commands of a batch system: a time limit, bounded output, a clean
//! environment. Where they run is the [`Runner`]'s business, so that the same
//! adapter can be driven on this machine and, in tests, from a recording.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use fairway_model::SshSettings;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;

use crate::AdapterError;

mod ssh;

use ssh::OverSsh;

/// Longest standard output that is read, in bytes: some hundred thousand jobs.
const STDOUT_BYTES_MAX: u64 = 64 << 20;
/// Longest standard error that is kept, in bytes; more is read and dropped.
const STDERR_BYTES_MAX: u64 = 64 << 10;
/// What a command gets to see of the server's own environment. Everything else stays out: batch
/// systems take options from variables (`SBATCH_PARTITION`, `SQUEUE_FORMAT` …) that would change
/// what a command means, and the server's may hold secrets.
const ENV_KEPT: [&str; 6] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LD_LIBRARY_PATH",
    "SLURM_CONF",
];

/// A command to run.
#[derive(Clone, Default)]
pub(crate) struct Invocation {
    /// Its name or path.
    pub(crate) program: String,
    /// Its arguments; readable by everybody on the machine, so never a secret.
    pub(crate) args: Vec<String>,
    /// Variables to set besides those kept from the server's environment.
    pub(crate) env: Vec<(String, String)>,
    /// What it reads on standard input; may hold a secret.
    pub(crate) stdin: String,
    /// Whom to run it as; the runner's own user if not set.
    pub(crate) run_as: Option<String>,
}

impl Invocation {
    /// The command line: as somebody else it goes through `sudo`, which gives it an environment
    /// of its own, so what is set for the command is set by `env` on the other side.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(user) = &self.run_as {
            words.extend(["sudo", "-n", "-u", user, "--", "env"].map(str::to_owned));
            words.extend(
                self.env
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            );
        }
        words.push(self.program.clone());
        words.extend(self.args.iter().cloned());
        words
    }
}

impl std::fmt::Debug for Invocation {
    /// Without standard input.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.program, self.args.join(" "))
    }
}

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Whether the command says that it succeeded.
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// What the command says went wrong: its standard error on one line, without the
    /// `program: error: ` before each sentence, or else its exit code.
    pub(crate) fn words(&self) -> String {
        const CHARS_MAX: usize = 600;
        let sentences: Vec<&str> = self
            .stderr
            .lines()
            .map(|line| line.split_once(": error: ").map_or(line, |(_, text)| text))
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        if sentences.is_empty() {
            return match self.code {
                Some(code) => format!("exit code {code} and no message"),
                None => "the command was ended by a signal".to_owned(),
            };
        }
        sentences.join("; ").chars().take(CHARS_MAX).collect()
    }
}

/// Why a command has no [`Output`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExecError {
    /// It could not be started.
    #[error("cannot run {program}: {reason}")]
    Start { program: String, reason: String },
    /// It did not end in time and was killed.
    #[error("{program} gave no answer within {} s", limit.as_secs())]
    Timeout { program: String, limit: Duration },
    /// It wrote more than is read.
    #[error("{program} answered more than {} MiB", STDOUT_BYTES_MAX >> 20)]
    TooLong { program: String },
    /// Its output could not be read.
    #[error("cannot read the answer of {program}: {reason}")]
    Read { program: String, reason: String },
}

/// Where commands run.
#[async_trait]
pub(crate) trait Runner: Send + Sync {
    /// Runs a command to its end.
    async fn run(&self, invocation: &Invocation) -> Result<Output, ExecError>;
}

/// What runs a site's commands: this machine, or another one over SSH. A command that takes
/// longer than `time_limit` is given up.
pub(crate) fn runner(
    ssh: Option<&SshSettings>,
    time_limit: Duration,
) -> Result<Box<dyn Runner>, AdapterError> {
    match ssh {
        None => Ok(Box::new(OnThisMachine { time_limit })),
        Some(ssh) => Ok(Box::new(OverSsh::new(ssh, time_limit)?)),
    }
}

/// Runs commands on this machine.
pub(crate) struct OnThisMachine {
    /// A command that takes longer is killed.
    pub(crate) time_limit: Duration,
}

#[async_trait]
impl Runner for OnThisMachine {
    async fn run(&self, invocation: &Invocation) -> Result<Output, ExecError> {
        let program = || invocation.program.clone();
        let kept = ENV_KEPT
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
        let mut words = invocation.words().into_iter();
        let mut child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .env_clear()
            .envs(kept)
            .env("LC_ALL", "C")
            .envs(invocation.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ExecError::Start {
                program: program(),
                reason: error.to_string(),
            })?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let work = async {
            let (stdout, whole, stderr) = talk(invocation, stdin, stdout, stderr).await?;
            Ok::<_, std::io::Error>((child.wait().await?, stdout, whole, stderr))
        };
        let (status, stdout, whole, stderr) = tokio::time::timeout(self.time_limit, work)
            .await
            .map_err(|_| ExecError::Timeout {
                program: program(),
                limit: self.time_limit,
            })?
            .map_err(|error| ExecError::Read {
                program: program(),
                reason: error.to_string(),
            })?;
        if !whole {
            return Err(ExecError::TooLong { program: program() });
        }
        Ok(Output {
            code: status.code(),
            stdout,
            stderr,
        })
    }
}

/// Writes a command's input and reads its output until it closes both streams: standard output,
/// whether that is all of it, and standard error.
async fn talk(
    invocation: &Invocation,
    stdin: Option<impl AsyncWrite + Unpin>,
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
) -> std::io::Result<(String, bool, String)> {
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that refuses early closes its input; its message says why.
            drop(stdin.write_all(invocation.stdin.as_bytes()).await);
        }
    };
    let read = async {
        tokio::try_join!(
            read_bounded(stdout, STDOUT_BYTES_MAX),
            read_bounded(stderr, STDERR_BYTES_MAX)
        )
    };
    let ((), streams) = tokio::join!(feed, read);
    let ((stdout, whole), (stderr, _)) = streams?;
    Ok((stdout, whole, stderr))
}

/// Reads a stream to its end, keeps at most `bytes_max`, and tells whether that was all of it.
async fn read_bounded(
    stream: Option<impl AsyncRead + Unpin>,
    bytes_max: u64,
) -> std::io::Result<(String, bool)> {
    let Some(mut stream) = stream else {
        return Ok((String::new(), true));
    };
    let mut kept = Vec::new();
    (&mut stream).take(bytes_max).read_to_end(&mut kept).await?;
    let dropped = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok((String::from_utf8_lossy(&kept).into_owned(), dropped == 0))
}

/// Answers commands from a recording, and remembers what was asked for.
#[cfg(test)]
pub(crate) mod recording {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::{ExecError, Invocation, Output, Runner, async_trait};

    type Answer = (&'static str, Result<Output, ExecError>);

    /// Answers in the order given for each program; a command with none left is a panic.
    #[derive(Default)]
    pub(crate) struct Recording {
        answers: Mutex<VecDeque<Answer>>,
        asked: Mutex<Vec<Invocation>>,
    }

    impl Recording {
        pub(crate) fn new(answers: Vec<Answer>) -> Self {
            Self {
                answers: Mutex::new(answers.into()),
                asked: Mutex::default(),
            }
        }

        /// The commands that were run so far.
        pub(crate) fn asked(&self) -> Vec<Invocation> {
            self.asked.lock().unwrap().clone()
        }
    }

    #[async_trait]
    impl Runner for std::sync::Arc<Recording> {
        async fn run(&self, invocation: &Invocation) -> Result<Output, ExecError> {
            self.asked.lock().unwrap().push(invocation.clone());
            let mut answers = self.answers.lock().unwrap();
            let index = answers
                .iter()
                .position(|(program, _)| *program == invocation.program)
                .unwrap_or_else(|| panic!("no recorded answer for {invocation:?}"));
            answers.remove(index).unwrap().1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            ..Invocation::default()
        }
    }

    async fn run(invocation: Invocation) -> Result<Output, ExecError> {
        OnThisMachine {
            time_limit: Duration::from_secs(20),
        }
        .run(&invocation)
        .await
    }

    #[tokio::test]
    async fn hands_over_input_and_takes_output_and_exit_code() {
        let mut invocation = shell("cat; echo \"$GIVEN\" >&2; exit 3");
        invocation.stdin = "x".repeat(1 << 20);
        invocation.env = vec![("GIVEN".into(), "words".into())];
        let output = run(invocation).await.unwrap();
        assert_eq!(output.code, Some(3));
        assert_eq!(output.stdout.len(), 1 << 20);
        assert_eq!(output.words(), "words");
    }

    #[tokio::test]
    async fn input_that_nobody_reads_is_no_error() {
        let mut invocation = shell("exec 0<&-; echo done");
        invocation.stdin = "x".repeat(1 << 20);
        assert_eq!(run(invocation).await.unwrap().stdout, "done\n");
    }

    #[tokio::test]
    async fn the_environment_is_clean() {
        let output = run(shell("env")).await.unwrap();
        assert!(output.stdout.contains("LC_ALL=C"));
        assert!(!output.stdout.contains("CARGO"), "{}", output.stdout);
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed() {
        let limited = OnThisMachine {
            time_limit: Duration::from_millis(50),
        };
        let error = limited.run(&shell("exec sleep 600")).await.unwrap_err();
        assert!(matches!(error, ExecError::Timeout { .. }));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = run(Invocation {
            program: "/no/such/sbatch".into(),
            ..Invocation::default()
        })
        .await
        .unwrap_err();
        assert!(error.to_string().contains("/no/such/sbatch"), "{error}");
    }
}
