//! `fairway serve`

use std::net::SocketAddr;
use std::path::PathBuf;

use fairway_wms::config::Config;
use fairway_wms::server::Server;
use fairway_wms::telemetry;

use crate::embedded;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::screen;

/// Run the server
///
/// Every setting also has an environment variable; `fairway config reference` lists them.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on, instead of the configured one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder of the server's state, instead of the configured one
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.settings()?;
        telemetry::init(&config.log).map_err(Failure::Refused)?;
        let mut interrupts = Interrupts::listen()?;
        let mut server = Server::start(config).await.map_err(embedded::not_started)?;
        screen::write(&format!("Fairway serves at {}\n", server.url()))?;
        let outcome = tokio::select! {
            () = interrupts.next() => Ok(()),
            error = server.failed() => Err(Failure::Local(error.to_string())),
        };
        server.stop().await;
        outcome
    }

    /// The configured settings with those of the command line in their place.
    fn settings(self) -> Result<Config, Failure> {
        let mut config = embedded::read_config(self.config.as_deref())?;
        if let Some(listen) = self.listen {
            config.http.listen = listen;
        }
        if let Some(state_dir) = self.state_dir {
            config.state_dir = state_dir;
        }
        config.check().map_err(embedded::bad_config)?;
        Ok(config)
    }
}
