//! `fairway site release`

use fairway_api::public::NodeRelease;
use fairway_model::CeId;

use crate::connect::Connect;
use crate::exit::Failure;

/// Give a node tasks again that was set aside because work failed there at once
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Release {
    /// Its CE, such as lyon/short
    #[arg(value_name = "SITE/CE")]
    ce: CeId,
    /// Its name, as `fairway site why` tells it
    node: String,
    #[command(flatten)]
    connect: Connect,
}

impl Release {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let CeId { site, ce } = self.ce;
        let host = self.node;
        let client = self.connect.client()?;
        Ok(client
            .release_node(&site, &NodeRelease { ce, host })
            .await?)
    }
}
