//! The pilot: the agent that runs inside a batch allocation, pulls tasks from the
//! server and runs them as payloads. It needs nothing on the worker node but outbound
//! HTTPS, and knows nothing of the server but the protocol of [`fairway_api::pilot`].
//!
//! The way through: [`read_bootstrap`] takes the document of this node; [`run`] starts a
//! `guard`, which starts the pilot proper; `probe` finds what it may use; `driver` connects the
//! deciding [`machine`] with `client` (the server), `payload` (processes), `folders` and
//! `sandbox` (files), `logs` and `spool` (what goes back), and `meter` (what payloads use).

mod bootstrap;
mod client;
mod driver;
mod folders;
mod guard;
mod hosts;
mod logs;
pub mod machine;
mod meter;
mod payload;
mod probe;
mod sandbox;
mod spool;
mod wait;

use fairway_api::pilot::Bootstrap;

pub use bootstrap::read_bootstrap;

/// How a pilot is run.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Options {}

/// Why a pilot ended otherwise than by itself, by order, or with its allocation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PilotError {
    /// The bootstrap document cannot be read.
    #[error("the bootstrap document cannot be read: {0}")]
    Bootstrap(String),
    /// The server's address or certificate cannot be used.
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// The server does not want this pilot.
    #[error("the server refused this pilot: {0}")]
    Refused(String),
    /// The server could not be reached for as long as the pilot may be without work.
    #[error("the server could not be reached: {0}")]
    Unreachable(String),
    /// The server ended the session.
    #[error("the server ended this pilot's session: {0}")]
    SessionOver(String),
    /// Something on this machine failed.
    #[error("the pilot cannot work on this machine: {0}")]
    Machine(String),
    /// The inner pilot ended with that exit code, and has told why.
    #[error("the pilot ended with exit code {0}")]
    Inner(u8),
}

impl PilotError {
    /// The exit code of a pilot that ends so. 0 is a pilot that ended by itself, by
    /// order, by a signal, or with its allocation.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Bootstrap(_) | Self::Client(_) => 2,
            Self::Refused(_) => 3,
            Self::Unreachable(_) => 4,
            Self::SessionOver(_) => 5,
            Self::Machine(_) => 6,
            Self::Inner(code) => *code,
        }
    }
}

/// Whether this process was started by [`run`]: then its bootstrap document is on standard
/// input, wherever the first process had it from.
pub fn is_inner() -> bool {
    guard::is_inner()
}

/// Sends the pilot's own log to standard error, at the level in `FAIRWAY_LOG` (`info` if
/// that is not set).
pub fn init_log() {
    use tracing_subscriber::filter::LevelFilter;
    let level = std::env::var("FAIRWAY_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .init();
}

/// Works until there is no more work, the server or a signal says so, or the allocation
/// ends.
///
/// It starts the running program a second time, with the same arguments and with the
/// bootstrap document on standard input: the program must come here again with what it
/// reads from there. It is to be awaited on the main thread, by a program that has no
/// other children.
pub async fn run(bootstrap: Bootstrap, _options: Options) -> Result<(), PilotError> {
    if guard::is_inner() {
        guard::become_inner()?;
        driver::work(bootstrap).await
    } else {
        guard::guard(&bootstrap).await
    }
}
