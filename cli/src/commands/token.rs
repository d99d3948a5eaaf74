//! `fairway token`

use std::path::{Path, PathBuf};

use fairway_api::public::{TokenCreated, TokenRequest};
use fairway_model::{GroupName, Role, SiteName, UserName};
use fairway_wms::auth;
use fairway_wms::store::Store;

use super::now;
use crate::connect::Connect;
use crate::embedded;
use crate::exit::Failure;
use crate::names::one_of;
use crate::render;
use crate::screen::{self, Format};

const SECONDS_A_DAY: u64 = 86_400;

/// Create, list and revoke tokens (operators)
#[derive(Debug, clap::Subcommand)]
pub(super) enum Token {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Create a token; it is shown this once
///
/// With --config it goes straight into the store of the server with that configuration, running
/// or not: this is how the first operator gets a token.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Who it is for
    name: UserName,
    /// What they may do
    #[arg(long, default_value = "user",
          value_parser = one_of::<Role>(["user", "site-admin", "operator"]))]
    role: Role,
    /// The group that they submit for
    #[arg(long)]
    group: Option<GroupName>,
    /// For a site admin: a site; may be given several times
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<SiteName>,
    /// Valid for so many days
    #[arg(long, value_name = "N", default_value_t = 90)]
    days: u32,
    /// The server's configuration file: write to its store, on its machine, without a token
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// List tokens, without their secrets
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Revoke a token: it is refused from now on
#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// Its id, as listed
    id: String,
    #[command(flatten)]
    connect: Connect,
}

impl Token {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => {
                let tokens = list.connect.client()?.tokens().await?;
                list.format
                    .show(&tokens, || render::accounts::tokens(&tokens, now()))
            }
            Self::Revoke(revoke) => Ok(revoke.connect.client()?.revoke_token(&revoke.id).await?),
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let request = TokenRequest {
            name: self.name,
            group: self.group,
            role: self.role,
            sites: self.sites,
            valid_s: Some(u64::from(self.days) * SECONDS_A_DAY),
        };
        let created = match &self.config {
            Some(config) => create_in_store(config, request).await?,
            None => self.connect.client()?.create_token(&request).await?,
        };
        self.format
            .show(&created, || format!("{}\n", created.token))?;
        if !self.format.json {
            // Beside the token, so that `> file` holds nothing but it.
            screen::remark(&format!(
                "token {} for {}, valid until {}; keep it secret: it is not shown again",
                created.view.id, created.view.name, created.view.expires_at
            ));
        }
        Ok(())
    }
}

/// Creates a token in the store that a configuration names.
async fn create_in_store(config: &Path, request: TokenRequest) -> Result<TokenCreated, Failure> {
    let config = embedded::load_config(Some(config))?;
    embedded::make_state_dir(&config.state_dir)?;
    let store = Store::open(&config.database_url())
        .await
        .map_err(|error| Failure::Local(error.to_string()))?;
    let created = auth::create_token(&store, request, now())
        .await
        .map_err(|error| Failure::Refused(error.to_string()));
    store.close().await;
    created
}
