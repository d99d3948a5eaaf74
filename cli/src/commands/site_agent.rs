//! `fairway site agent`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fairway_site_agent::{Agent, AgentError};
use fairway_wms::config::LogConfig;
use fairway_wms::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::connect::Connect;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::screen;

/// Serve a site that lets nobody in, from its own front end
///
/// Calls the server, publishes the site's state there and submits the pilots that the server asks
/// for. The server needs no way into the site. Registers the site, or changes its description,
/// before anything else; the token must be that of one of the site's admins. Runs until it gets
/// SIGTERM or SIGINT; SIGHUP makes it read the file again.
#[derive(Debug, clap::Args)]
pub(super) struct SiteAgent {
    /// Description in TOML, as for `fairway site add`; its adapter is the way in which the agent
    /// itself reaches the batch system
    file: PathBuf,
    /// Folder for what an adapter must remember [default: the first of $STATE_DIRECTORY,
    /// $XDG_STATE_HOME/fairway/site-agent and ~/.local/state/fairway/site-agent that is set]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// What is logged: `info`, `fairway_site_agent=debug,info` …
    #[arg(
        long,
        value_name = "FILTER",
        env = "FAIRWAY_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    log: String,
    #[command(flatten)]
    connect: Connect,
}

impl SiteAgent {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let log = LogConfig {
            filter: self.log,
            ..LogConfig::default()
        };
        telemetry::init(&log).map_err(Failure::Refused)?;
        let mut interrupts = Interrupts::listen()?;
        let site = super::site::read(&self.file)?;
        let state_dir = self.state_dir.or_else(state_dir).ok_or_else(|| {
            Failure::Usage("no folder for the agent's state: give --state-dir DIR".into())
        })?;
        let name = site.name.clone();
        let connect = fairway_site_agent::adapters(state_dir);
        let agent = Agent::new(self.connect.client()?, site, connect)?;
        screen::write(&format!("Fairway's agent serves the site {name}\n"))?;

        let (descriptions, news) = mpsc::channel(1);
        let reading = tokio::spawn(read_again(self.file, descriptions)?);
        let again = Arc::new(Notify::new());
        let stopped = Arc::clone(&again);
        let outcome = agent.run(
            async move {
                interrupts.next().await;
                // Whoever asks twice does not want to wait for requests that are under way.
                tokio::spawn(async move {
                    interrupts.next().await;
                    stopped.notify_one();
                });
            },
            news,
        );
        let outcome = tokio::select! {
            outcome = outcome => outcome.map_err(Failure::from),
            () = again.notified() => Err(Failure::Interrupted),
        };
        reading.abort();
        outcome
    }
}

/// Reads the file at each SIGHUP, and passes on what it says if it can be read.
fn read_again(
    file: PathBuf,
    descriptions: mpsc::Sender<fairway_model::Site>,
) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut hangup = signal(SignalKind::hangup())
        .map_err(|error| Failure::Local(format!("cannot listen for signals: {error}")))?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            match super::site::read(&file) {
                Ok(site) => {
                    if descriptions.send(site).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the site's description is left as it was");
                }
            }
        }
    })
}

fn state_dir() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let of_user = || {
        let folder =
            absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
        Some(folder.join(Path::new("fairway/site-agent")))
    };
    absolute("STATE_DIRECTORY").or_else(of_user)
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Description(text) => Self::Refused(text),
            AgentError::Adapter(error) => Self::Local(error.to_string()),
            AgentError::Refused(error) => error.into(),
        }
    }
}
