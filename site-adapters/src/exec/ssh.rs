//! Runs commands on another machine over SSH: the system's own `ssh` with the user's
//! `ssh_config`, one connection that all commands share.
//!
//! - The other machine's key must be known; nobody is asked, and nothing is accepted on sight.
//! - A connection that broke is made again by the next command. What became of the command that
//!   it broke under is not known.
//! - `ssh` says 255 both for a lost connection and for a command that ended so, and batch systems
//!   do end so. Therefore the other side writes the exit code as the last line of standard error;
//!   without that line there was no end that is known of.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fairway_model::SshSettings;
use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder, Stdio};
use tokio::sync::{Mutex, Semaphore};

use super::{ExecError, Invocation, Output, Runner, talk};
use crate::AdapterError;
use crate::script::quote;

/// Time for making a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);
/// An idle connection asks the other side so often whether it is still there.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// A connection that nobody uses any more (a server that was killed leaves one) ends after that.
const IDLE_TIME_MAX: usize = 600;
/// Commands at a time; `sshd` allows 10 on one connection by default.
const COMMANDS_AT_ONCE: usize = 8;
/// Before the exit code on the last line of standard error.
const EXIT_MARK: &str = "fairway-exit ";

/// A machine that is reached over SSH.
pub(super) struct OverSsh {
    settings: SshSettings,
    time_limit: Duration,
    session: Mutex<Option<Arc<Session>>>,
    turns: Semaphore,
}

impl OverSsh {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// `Refused` if the host's name could be taken for an option.
    pub(super) fn new(settings: &SshSettings, time_limit: Duration) -> Result<Self, AdapterError> {
        let host = &settings.host;
        if host.is_empty() || host.starts_with('-') || !host.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AdapterError::Refused(format!(
                "ssh.host must be a host's name, user@host, or a name from ssh_config, not {host:?}"
            )));
        }
        Ok(Self {
            settings: settings.clone(),
            time_limit,
            session: Mutex::default(),
            turns: Semaphore::new(COMMANDS_AT_ONCE),
        })
    }

    /// The connection, made if there is none.
    async fn session(&self) -> Result<Arc<Session>, openssh::Error> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(session.clone());
        }
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(CONNECT_TIME_MAX)
            .server_alive_interval(ALIVE_EVERY)
            .control_persist(ControlPersist::IdleFor(
                IDLE_TIME_MAX
                    .try_into()
                    .unwrap_or(std::num::NonZeroUsize::MIN),
            ))
            .control_directory(std::env::temp_dir());
        if let Some(config) = &self.settings.config {
            builder.config_file(config);
        }
        let connected = Arc::new(builder.connect(&self.settings.host).await?);
        *session = Some(connected.clone());
        Ok(connected)
    }

    /// Lets go of a connection that did not serve, so that the next command makes a new one.
    async fn forget(&self, broken: &Arc<Session>) {
        let mut session = self.session.lock().await;
        if session
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(kept, broken))
        {
            *session = None;
        }
    }

    async fn run_connected(
        &self,
        session: &Arc<Session>,
        invocation: &Invocation,
    ) -> Result<Answer, openssh::Error> {
        let mut child = session
            .command("sh")
            .arg("-c")
            .arg(remote_script(invocation))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await?;
        let (stdin, stdout, stderr) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        let said = talk(invocation, stdin, stdout, stderr)
            .await
            .map_err(openssh::Error::ChildIo)?;
        child.wait().await?;
        Ok(said)
    }

    fn cannot(&self, program: &str, why: &openssh::Error) -> ExecError {
        let mut reason = format!("over SSH to {}: {why}", self.settings.host);
        let mut source = std::error::Error::source(why);
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        ExecError::Start {
            program: program.to_owned(),
            reason,
        }
    }
}

/// Standard output, whether that was all of it, and standard error.
type Answer = (String, bool, String);

#[async_trait]
impl Runner for OverSsh {
    async fn run(&self, invocation: &Invocation) -> Result<Output, ExecError> {
        let program = &invocation.program;
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let session = tokio::time::timeout(CONNECT_TIME_MAX * 2, self.session())
            .await
            .map_err(|_| ExecError::Timeout {
                program: format!("ssh {}", self.settings.host),
                limit: CONNECT_TIME_MAX * 2,
            })?
            .map_err(|error| self.cannot(program, &error))?;
        let work = self.run_connected(&session, invocation);
        let result = match tokio::time::timeout(self.time_limit, work).await {
            Ok(Ok((stdout, whole, stderr))) => {
                if !whole {
                    return Err(ExecError::TooLong {
                        program: program.clone(),
                    });
                }
                match split_exit(&stderr) {
                    Some((stderr, code)) => {
                        return Ok(Output {
                            code: Some(code),
                            stdout,
                            stderr: stderr.to_owned(),
                        });
                    }
                    None => Err(self.cannot(program, &openssh::Error::Disconnected)),
                }
            }
            Ok(Err(error)) => Err(self.cannot(program, &error)),
            // The command may go on over there. If the connection is dead, it is not found out
            // by the next command once more.
            Err(_) => Err(ExecError::Timeout {
                program: program.clone(),
                limit: self.time_limit,
            }),
        };
        self.forget(&session).await;
        result
    }
}

/// What the other machine's shell is to run: the command in a clean locale with the variables
/// that are set for it, and then the word about its end.
fn remote_script(invocation: &Invocation) -> String {
    let mut words = vec!["env".to_owned(), "LC_ALL=C".to_owned()];
    words.extend(
        invocation
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    words.extend(invocation.words());
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    // A command that leaves its last line open does not swallow the mark.
    format!("{}; printf '\\n{EXIT_MARK}%s\\n' $? >&2", words.join(" "))
}

/// Standard error without the last line, and the exit code that stands there.
fn split_exit(stderr: &str) -> Option<(&str, i32)> {
    let (before, last) = stderr
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or(("", stderr.trim()));
    let code = last.strip_prefix(EXIT_MARK)?.trim().parse().ok()?;
    Some((before.trim_end_matches('\n'), code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str) -> SshSettings {
        SshSettings {
            host: host.into(),
            config: None,
        }
    }

    #[test]
    fn a_host_is_no_option() {
        for host in ["-oProxyCommand=touch x", "", "a b", "a\n"] {
            assert!(
                OverSsh::new(&settings(host), Duration::ZERO).is_err(),
                "{host:?}"
            );
        }
        for host in ["lyon", "fairway@login.lyon.example", "ssh://a@b:22"] {
            assert!(
                OverSsh::new(&settings(host), Duration::ZERO).is_ok(),
                "{host:?}"
            );
        }
    }

    #[test]
    fn the_command_is_one_line_of_words() {
        let invocation = Invocation {
            program: "/usr/bin/sbatch".into(),
            args: vec!["--comment=it's; $HOME".into()],
            env: vec![("SLURM_CONF".into(), "/etc/a b".into())],
            ..Invocation::default()
        };
        assert_eq!(
            remote_script(&invocation),
            "'env' 'LC_ALL=C' 'SLURM_CONF=/etc/a b' '/usr/bin/sbatch' \
             '--comment=it'\\''s; $HOME'; printf '\\nfairway-exit %s\\n' $? >&2"
        );
    }

    #[test]
    fn the_end_is_told_on_the_last_line() {
        assert_eq!(split_exit("\nfairway-exit 0\n"), Some(("", 0)));
        assert_eq!(split_exit("bad\n\nfairway-exit 255\n"), Some(("bad", 255)));
        assert_eq!(
            split_exit("half a li\nfairway-exit 1\n"),
            Some(("half a li", 1))
        );
        assert_eq!(split_exit("mux: master is gone\n"), None);
        assert_eq!(split_exit(""), None);
    }

    #[tokio::test]
    async fn a_host_that_nobody_knows_is_told_of() {
        let ssh = OverSsh::new(
            &settings("ssh://nobody@127.0.0.1:1"),
            Duration::from_secs(20),
        );
        let invocation = Invocation {
            program: "true".into(),
            ..Invocation::default()
        };
        let error = ssh.unwrap().run(&invocation).await.unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("127.0.0.1") && told.contains("refused"),
            "{told}"
        );
    }
}
