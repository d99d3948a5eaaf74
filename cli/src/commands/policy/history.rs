//! `fairway policy history`

use fairway_api::public::PolicyHistoryQuery;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// List the changes of the policy, the latest first: who, when, why, and what differed
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl History {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let query = PolicyHistoryQuery {
            limit: Some(self.limit),
            ..PolicyHistoryQuery::default()
        };
        let page = self.connect.client()?.policy_history(&query).await?;
        self.format
            .show(&page, || render::policy::history(&page.items))
    }
}
