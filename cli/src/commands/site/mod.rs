//! `fairway site`

mod check;
mod maintenance;
pub(super) mod read;
mod release;
mod why;

use std::path::PathBuf;

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

/// Register, try, show, drain and remove sites
#[derive(Debug, clap::Subcommand)]
pub(super) enum Site {
    Add(Add),
    Check(check::Check),
    List(List),
    Show(Show),
    Why(why::Why),
    /// Let the pilots there finish the tasks that they have, and send no more
    Drain(Mode),
    /// Send no more pilots there
    Close(Mode),
    /// Send pilots there again
    Open(Mode),
    Maintenance(maintenance::Maintenance),
    Release(release::Release),
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
    /// Show what it publishes in the terms of GLUE 2, as JSON
    #[arg(long, conflicts_with = "json")]
    glue2: bool,
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
            Self::Check(check) => check.run().await,
            Self::List(list) => {
                let sites = list.connect.client()?.sites().await?;
                list.format.show(&sites, || render::sites::list(&sites))
            }
            Self::Show(show) => show.run().await,
            Self::Why(why) => why.run().await,
            Self::Drain(mode) => mode.run(SiteMode::Draining).await,
            Self::Close(mode) => mode.run(SiteMode::Closed).await,
            Self::Open(mode) => mode.run(SiteMode::Open).await,
            Self::Agent(agent) => agent.run().await,
            Self::Maintenance(maintenance) => maintenance.run().await,
            Self::Release(release) => release.run().await,
            Self::Remove(remove) => Ok(remove.connect.client()?.remove_site(&remove.site).await?),
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let site = read::site(&self.file)?;
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
        ))?;
        screen::remark(&format!("try it with: fairway site check {}", site.name));
        Ok(())
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        if self.glue2 {
            return screen::write_json(&client.site_glue2(&self.site).await?);
        }
        let site = client.site(&self.site).await?;
        self.format.show(&site, || render::sites::one(&site, now()))
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
