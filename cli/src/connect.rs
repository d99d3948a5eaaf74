//! Which server to speak to, and as whom.

use std::path::{Path, PathBuf};

use fairway_api::client::{Client, ClientSettings};

use crate::exit::Failure;

/// Arguments of every command that speaks to a server. Flatten it last: its
/// heading would hold for what comes after.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connect {
    /// Base URL of the server, e.g. https://wms.example.org:8470
    #[arg(
        long,
        value_name = "URL",
        env = "FAIRWAY_SERVER",
        hide_env_values = true
    )]
    server: Option<String>,
    /// File that holds the token; otherwise the variable FAIRWAY_TOKEN, then
    /// ~/.config/fairway/token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates to trust instead of the machine's, in PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "FAIRWAY_CA_FILE",
        hide_env_values = true
    )]
    ca_file: Option<PathBuf>,
}

impl Connect {
    /// A client of that server.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let server = self.server.clone().ok_or_else(|| {
            Failure::Usage(
                "no server is set: give --server URL or set FAIRWAY_SERVER, e.g. \
                 https://wms.example.org:8470\n\
                 To run a job on this machine without a server: fairway run FILE.jdl"
                    .into(),
            )
        })?;
        let ca_pem = match &self.ca_file {
            Some(path) => {
                Some(std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?)
            }
            None => None,
        };
        Ok(Client::new(&ClientSettings {
            server,
            token: self.token()?,
            ca_pem,
        })?)
    }

    /// The token: from the file named, else the environment, else the user's own file.
    fn token(&self) -> Result<Option<String>, Failure> {
        if let Some(path) = &self.token_file {
            return read_token(path).map(Some);
        }
        if let Ok(token) = std::env::var("FAIRWAY_TOKEN")
            && !token.trim().is_empty()
        {
            return Ok(Some(token.trim().to_owned()));
        }
        match default_token_file() {
            Some(path) if path.exists() => read_token(&path).map(Some),
            _ => Ok(None),
        }
    }
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::Local(format!("{} holds no token", path.display())));
    }
    Ok(token.to_owned())
}

fn default_token_file() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("fairway/token"))
}
