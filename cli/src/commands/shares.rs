//! `fairway shares`

use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// Show each user's share with the numbers that it came from, in the order of service
#[derive(Debug, clap::Args)]
pub(super) struct Shares {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Shares {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let shares = self.connect.client()?.shares().await?;
        self.format
            .show(&shares, || render::accounts::shares(&shares))
    }
}
