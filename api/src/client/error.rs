//! Why a call did not give what it should.

use std::path::PathBuf;

use crate::Problem;

/// Why a call did not give what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A setting of the client cannot be used; the text says which and what to do.
    #[error("{0}")]
    Settings(String),
    /// A local file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The server could not be reached, or did not answer in time.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// Base URL of the server.
        server: String,
        /// What went wrong, innermost cause last.
        reason: String,
    },
    /// The server refused, and says why.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is not one of Fairway's: another program listens there, or a proxy is between.
    #[error("{server} gave an answer that is not Fairway's (HTTP status {status}): {excerpt}")]
    Foreign {
        /// Base URL of the server.
        server: String,
        /// The HTTP status.
        status: u16,
        /// How the answer begins, or why it cannot be read.
        excerpt: String,
    },
    /// The connection broke or fell silent in the middle of the answer.
    #[error("the answer broke off: {0}")]
    Interrupted(String),
}

impl ClientError {
    /// The problem that the server told, if it told one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

/// An error with all its causes, outermost first. The HTTP library's own texts
/// leave the cause out.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
