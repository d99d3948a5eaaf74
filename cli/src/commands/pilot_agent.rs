//! `fairway pilot-agent`: this program as a pilot, which the server inside
//! `fairway run` starts. Worker nodes get `fairway-pilot`, which is smaller.

use crate::exit::Failure;

/// Be a pilot: its bootstrap document comes on standard input
#[derive(Debug, clap::Args)]
pub(super) struct PilotAgent {}

impl PilotAgent {
    pub(super) async fn run(self) -> Result<(), Failure> {
        fairway_pilot::init_log();
        let bootstrap = fairway_pilot::read_bootstrap(std::io::stdin())?;
        Ok(fairway_pilot::run(bootstrap, fairway_pilot::Options::default()).await?)
    }
}
