//! `fairway pilot`

use fairway_api::public::PilotsQuery;
use fairway_model::{PilotId, SiteName};

use super::now;
use super::status::collect;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// List, show, drain and kill pilots
#[derive(Debug, clap::Subcommand)]
pub(super) enum Pilot {
    List(List),
    Show(Show),
    /// Let a pilot finish the tasks that it has, and end
    Drain(One),
    /// End a pilot at once; its tasks go back to the queue
    Kill(One),
}

/// List pilots, newest first
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only at this site
    #[arg(long)]
    site: Option<SiteName>,
    /// Only in these states, separated by commas: planned, queued, starting, active, draining,
    /// ended
    #[arg(
        long,
        default_value = "planned,queued,starting,active,draining",
        hide_default_value = true
    )]
    state: String,
    /// How many to show at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Show all that is known of a pilot
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// A pilot such as p42
    pilot: PilotId,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// A pilot such as p42
    pilot: PilotId,
    #[command(flatten)]
    connect: Connect,
}

impl Pilot {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => {
                let pilot = show.connect.client()?.pilot(show.pilot).await?;
                show.format
                    .show(&pilot, || render::sites::pilot(&pilot, now()))
            }
            Self::Drain(one) => Ok(one.connect.client()?.drain_pilot(one.pilot).await?),
            Self::Kill(one) => Ok(one.connect.client()?.kill_pilot(one.pilot).await?),
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let pilots = collect(self.limit, async |cursor, limit| {
            let query = PilotsQuery {
                site: self.site.clone(),
                state: Some(self.state.clone()),
                cursor,
                limit: Some(limit),
            };
            client.pilots(&query).await
        })
        .await?;
        self.format
            .show(&pilots, || render::sites::pilots(&pilots, now()))
    }
}
