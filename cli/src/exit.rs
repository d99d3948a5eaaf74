//! How a command ends: the exit codes, and the last words on stderr.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use fairway_api::client::ClientError;
use fairway_api::{Problem, ProblemCode};
use fairway_pilot::PilotError;

/// The exit codes, as the help tells them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done; for `run`, `watch` and `logs --follow`: everything succeeded
  1    the job or task did not succeed
  2    the command line is wrong
  3    refused: by the server, or the JDL or the configuration is not valid
  4    the server cannot be reached, or what answers is not Fairway
  5    something on this machine: a file, a folder, a setting
  130  interrupted";

/// Why a command does not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The work was done, and a job or task did not succeed.
    #[error("{0}")]
    Unsuccessful(String),
    /// The arguments contradict each other or something else in a way that clap cannot see.
    #[error("{0}")]
    Usage(String),
    /// The server refused, or an input was found wrong before it was sent.
    #[error("{0}")]
    Refused(String),
    /// The server cannot be reached or understood.
    #[error("{0}")]
    Unreachable(String),
    /// Something on this machine.
    #[error("{0}")]
    Local(String),
    /// The pilot that this program was ended otherwise than it should; its exit codes are its own.
    #[error(transparent)]
    Pilot(#[from] PilotError),
    /// Ctrl-C, or a request to end.
    #[error("interrupted")]
    Interrupted,
    /// Whoever read the output has closed it (`… | head`), and wants no more.
    #[error("the output was closed")]
    ReaderGone,
}

impl Failure {
    /// A file or folder that cannot be used, and what was to be done with it.
    pub(crate) fn file(verb: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Local(format!("cannot {verb} {}: {error}", path.display()))
    }

    fn code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Unsuccessful(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Unreachable(_) => 4,
            Self::Local(_) => 5,
            Self::Pilot(error) => error.exit_code(),
            Self::Interrupted => 130,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => Self::Refused(told(&problem)),
            ClientError::Settings(_) => Self::Usage(error.to_string()),
            ClientError::File { .. } => Self::Local(error.to_string()),
            ClientError::Unreachable { ref reason, .. } if reason.contains("certificate") => {
                Self::Unreachable(format!(
                    "{error}\nIf this is the right server, trust its certificate with --ca-file \
                     (FAIRWAY_CA_FILE)"
                ))
            }
            ClientError::Unreachable { .. } => Self::Unreachable(format!(
                "{error}\nIs it running, and is --server (FAIRWAY_SERVER) right?"
            )),
            ClientError::Foreign { .. } | ClientError::Interrupted(_) => {
                Self::Unreachable(error.to_string())
            }
        }
    }
}

/// Only writing to stdout gives a bare I/O error; files are named where they are used.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::Local(format!("cannot write to stdout: {error}"))
        }
    }
}

/// A problem as its reader needs it: the diagnostics if there are any, and what to do.
fn told(problem: &Problem) -> String {
    if !problem.diagnostics.is_empty() {
        let rendered: Vec<_> = problem
            .diagnostics
            .iter()
            .map(|it| it.rendered.trim_end())
            .collect();
        return rendered.join("\n\n");
    }
    let advice = match problem.code {
        ProblemCode::Unauthorized => {
            "\nGive a token with --token-file, FAIRWAY_TOKEN or ~/.config/fairway/token; \
             an operator makes one with `fairway token create`"
        }
        ProblemCode::Forbidden => {
            "\nAsk an operator of this server to do it, or for a token that may"
        }
        ProblemCode::PolicyChanged => {
            "\nSee `fairway policy history`; export the policy again and make the change there, or \
             give --force to import it all the same"
        }
        ProblemCode::Overloaded | ProblemCode::StoreUnavailable => "\nTry again in a minute",
        ProblemCode::Internal => "\nTell an operator of this server, with the time",
        _ => "",
    };
    format!("{problem}{advice}")
}

/// Says the last words and gives the exit code.
pub(crate) fn finish(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    if !matches!(failure, Failure::ReaderGone) {
        let style = anstyle::AnsiColor::Red.on_default().bold();
        // If stderr is closed too, the exit code has to do.
        let _ = writeln!(anstream::stderr(), "{style}error{style:#}: {failure}");
    }
    ExitCode::from(failure.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_error() {
        let failure = Failure::from(std::io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!(failure.code(), 0);
    }

    #[test]
    fn diagnostics_are_shown_as_the_server_rendered_them() {
        let mut problem = Problem::new(ProblemCode::InvalidJdl, "1 error");
        problem.diagnostics = vec![fairway_api::problem::Diagnostic {
            severity: "error".into(),
            message: "no Executable".into(),
            line: 1,
            column: 1,
            help: None,
            rendered: "error: no Executable\n --> 1:1\n".into(),
        }];
        let failure = Failure::from(ClientError::Problem(Box::new(problem)));
        assert_eq!(failure.to_string(), "error: no Executable\n --> 1:1");
        assert_eq!(failure.code(), 3);
    }

    #[test]
    fn a_refused_token_comes_with_advice() {
        let problem = Problem::new(ProblemCode::Unauthorized, "the token has expired");
        let failure = Failure::from(ClientError::Problem(Box::new(problem)));
        assert!(failure.to_string().contains("fairway token create"));
    }
}
