//! `fairway site release`

use fairway_api::public::ReleaseQuery;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::SiteOrCe;

/// Give a node tasks again that was set aside because work failed on it at once
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Release {
    /// A site such as lyon, or one of its CEs such as lyon/short
    #[arg(value_name = "SITE[/CE]")]
    subject: SiteOrCe,
    /// The node, as `fairway site why` names it
    host: String,
    #[command(flatten)]
    connect: Connect,
}

impl Release {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let SiteOrCe { site, ce } = self.subject;
        let client = self.connect.client()?;
        let query = ReleaseQuery { ce };
        Ok(client.release_node(&site, &self.host, &query).await?)
    }
}
