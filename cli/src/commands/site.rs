//! `fairway site`

use std::path::{Path, PathBuf};

use fairway_api::client::Client;
use fairway_api::public::ModeChange;
use fairway_model::{SiteMode, SiteName};

use super::now;
use super::site_agent::SiteAgent;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::SiteOrCe;
use crate::render;
use crate::screen::{self, Format};

/// Register, show, drain and remove sites
#[derive(Debug, clap::Subcommand)]
pub(super) enum Site {
    Add(Add),
    List(List),
    Show(Show),
    /// Let the pilots there finish the tasks that they have, and send no more
    Drain(Mode),
    /// Send no more pilots there
    Close(Mode),
    /// Send pilots there again
    Open(Mode),
    Remove(Remove),
    Agent(Box<SiteAgent>),
}

/// Register a site
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Description in TOML: what a table of `sites` in the server's configuration holds
    file: PathBuf,
    /// Replace the description of a site that is registered already
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    connect: Connect,
}

/// List sites with their CEs and what these publish
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Show all that is known of a site
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Which site
    site: SiteName,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
pub(super) struct Mode {
    /// A site such as lyon, or one of its CEs such as lyon/short
    #[arg(value_name = "SITE[/CE]")]
    subject: SiteOrCe,
    #[command(flatten)]
    connect: Connect,
}

/// Remove a site
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Which site
    site: SiteName,
    #[command(flatten)]
    connect: Connect,
}

impl Site {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run().await,
            Self::List(list) => {
                let sites = list.connect.client()?.sites().await?;
                list.format.show(&sites, || render::sites::list(&sites))
            }
            Self::Show(show) => {
                let site = show.connect.client()?.site(&show.site).await?;
                show.format.show(&site, || render::sites::one(&site, now()))
            }
            Self::Drain(mode) => mode.run(SiteMode::Draining).await,
            Self::Close(mode) => mode.run(SiteMode::Closed).await,
            Self::Open(mode) => mode.run(SiteMode::Open).await,
            Self::Agent(agent) => agent.run().await,
            Self::Remove(remove) => Ok(remove.connect.client()?.remove_site(&remove.site).await?),
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let site = read(&self.file)?;
        let client: Client = self.connect.client()?;
        if self.replace {
            client.put_site(&site).await?;
        } else {
            client.add_site(&site).await?;
        }
        screen::write(&format!(
            "site {} with {}\n",
            site.name,
            render::words::count(site.ces.len() as u64, "CE")
        ))
    }
}

impl Mode {
    async fn run(self, mode: SiteMode) -> Result<(), Failure> {
        let change = ModeChange {
            mode,
            ce: self.subject.ce,
        };
        let client = self.connect.client()?;
        Ok(client.set_mode(&self.subject.site, &change).await?)
    }
}

/// The site that a file describes.
pub(super) fn read(path: &Path) -> Result<fairway_model::Site, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    toml::from_str(&text).map_err(|error| {
        Failure::Refused(format!(
            "{} is not a site's description\n{error}",
            path.display()
        ))
    })
}
