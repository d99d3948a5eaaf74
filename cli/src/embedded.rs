//! The server inside this program: its settings, and for `run` its whole life.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairway_api::client::{Client, ClientSettings};
use fairway_api::public::TokenRequest;
use fairway_model::{
    AdapterSettings, Ce, LocalSettings, PilotLimits, PilotShape, Role, Site, UserName,
};
use fairway_wms::config::{Config, ConfigError};
use fairway_wms::server::{Server, ServerError};

use crate::descendants;
use crate::exit::Failure;

/// How long pilots may take to end by themselves before they are ended.
const PILOTS_GRACE: Duration = Duration::from_secs(5);
/// Walltime of the local pilot, in seconds: no limit of its own. 10 years.
const WALLTIME_S: u64 = 10 * 366 * 86_400;
/// The token's validity, in seconds: longer than any run. 5 years is the most that there is.
const TOKEN_VALID_S: u64 = 5 * 365 * 86_400;

/// Reads and checks a configuration.
pub(crate) fn load_config(path: Option<&Path>) -> Result<Config, Failure> {
    Config::load(path).map_err(bad_config)
}

/// Reads a configuration of which values are still to be changed.
pub(crate) fn read_config(path: Option<&Path>) -> Result<Config, Failure> {
    Config::read(path).map_err(bad_config)
}

pub(crate) fn bad_config(error: ConfigError) -> Failure {
    Failure::Refused(format!(
        "the configuration is not valid\n{error}\n`fairway config reference` describes all settings"
    ))
}

pub(crate) fn not_started(error: ServerError) -> Failure {
    match error {
        ServerError::Config(error) => bad_config(error),
        error => Failure::Local(error.to_string()),
    }
}

/// Makes the state folder as the server itself would, for its owner alone.
pub(crate) fn make_state_dir(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Failure::file("make", path, &error))
}

/// A server for one run, with this machine as its only site.
pub(crate) struct Embedded {
    server: Server,
    client: Client,
    /// Removed with everything in it when this goes, unless the state is to be kept.
    _temporary: Option<tempfile::TempDir>,
}

impl Embedded {
    /// Starts it. With `keep_state` its state stays in that folder, and is found again there.
    pub(crate) async fn start(
        keep_state: Option<PathBuf>,
        cores: Option<u32>,
    ) -> Result<Self, Failure> {
        descendants::adopt()?;
        let (state_dir, temporary) = match keep_state {
            Some(folder) => (folder, None),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("fairway-")
                    .tempdir()
                    .map_err(|error| Failure::file("make", &std::env::temp_dir(), &error))?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let server = Server::start(settings(state_dir, cores)?)
            .await
            .map_err(not_started)?;
        let client = match client_of(&server).await {
            Ok(client) => client,
            Err(failure) => {
                server.stop().await;
                return Err(failure);
            }
        };
        Ok(Self {
            server,
            client,
            _temporary: temporary,
        })
    }

    /// A client with an operator's token.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the pilots and stops everything; nothing is left running.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        let ended = self.server.end_pilots(PILOTS_GRACE).await;
        self.server.stop().await;
        // Also a pilot that said goodbye has a moment to live; its state folder goes after it.
        let gone = descendants::gone(PILOTS_GRACE).await;
        match ended {
            Ok(0) if gone => Ok(()),
            Ok(_) => Err(Failure::Local(
                "a pilot could not be ended; look for processes named `fairway pilot-agent`".into(),
            )),
            Err(error) => Err(Failure::Local(format!("cannot end the pilots: {error}"))),
        }
    }
}

fn settings(state_dir: PathBuf, cores: Option<u32>) -> Result<Config, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::Local(format!("cannot find this program's file: {error}")))?;
    let mut config = Config {
        state_dir,
        sites: vec![this_machine(cores)?],
        ..Config::default()
    };
    config.http.listen.set_port(0);
    config.pilots.program = vec![program.display().to_string(), "pilot-agent".into()];
    // Somebody waits in front of the screen.
    config.pilots.look_every_s = 1;
    config.pilots.plan_every_s = 1;
    Ok(config)
}

/// This machine as a site: one pilot that has all its cores.
fn this_machine(cores: Option<u32>) -> Result<Site, Failure> {
    let cores = match cores {
        Some(cores) => cores,
        None => std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok())
            .unwrap_or(1),
    };
    let bad_name = |error: fairway_model::id::IdError| Failure::Local(error.to_string());
    let machine = Ce {
        shape: PilotShape {
            cores,
            walltime_s: WALLTIME_S,
            ..PilotShape::default()
        },
        limits: PilotLimits {
            pilots_max: 1,
            queued_max: 1,
            ..PilotLimits::default()
        },
        ..Ce::new("machine".parse().map_err(bad_name)?)
    };
    Ok(Site::new(
        "local".parse().map_err(bad_name)?,
        AdapterSettings::Local(LocalSettings { cores: Some(cores) }),
        vec![machine],
    ))
}

async fn client_of(server: &Server) -> Result<Client, Failure> {
    let request = TokenRequest {
        name: user_name()?,
        group: None,
        role: Role::Operator,
        sites: Vec::new(),
        valid_s: Some(TOKEN_VALID_S),
    };
    let created = server
        .mint_token(request)
        .await
        .map_err(|error| Failure::Local(error.to_string()))?;
    Ok(Client::new(&ClientSettings {
        server: server.url().to_owned(),
        token: Some(created.token),
        ca_pem: None,
    })?)
}

/// The user's own name, if it can be one here.
fn user_name() -> Result<UserName, Failure> {
    let own = std::env::var("USER")
        .ok()
        .and_then(|name| name.parse().ok());
    match own {
        Some(name) => Ok(name),
        None => "local"
            .parse()
            .map_err(|error: fairway_model::id::IdError| Failure::Local(error.to_string())),
    }
}
