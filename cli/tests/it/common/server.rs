//! A server of its own process, in a folder of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use fairway_api::client::{Client, ClientSettings};
use fairway_api::public::{ModeChange, PilotView, PilotsQuery, TokenCreated};
use fairway_model::{PilotState, SiteMode};
use rustix::process::Signal;
use tempfile::TempDir;

use super::cli::{self, FAIRWAY, Ran};
use super::{process, until, until_true};

/// Ports below those that the kernel gives to outgoing connections: a server that is started
/// again must find its port free, and nobody may connect to themselves meanwhile.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 12_000).unwrap();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (first + step) % u16::try_from(PORTS.len()).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What a server is to be like.
pub(crate) struct Setup {
    folder: TempDir,
    config: toml::Table,
    /// Put before each command that touches the server's state.
    within: Vec<String>,
    ca_file: Option<PathBuf>,
}

impl Setup {
    /// A server without sites, which looks at everything often.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("fairway-it-")
            .tempdir()
            .unwrap();
        for name in ["home", "tmp", "state"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let setup = Self {
            folder,
            config: toml::Table::new(),
            within: Vec::new(),
            ca_file: None,
        };
        let state_dir = setup.folder().join("state").display().to_string();
        setup
            .set("state_dir", state_dir)
            .set("http.listen", format!("127.0.0.1:{}", free_port()))
            .set("pilots.program", vec![FAIRWAY, "pilot-agent"])
            .set("pilots.idle_s", 2)
            .set("pilots.look_every_s", 1)
            .set("pilots.plan_every_s", 1)
    }

    /// A setting, by the path that the reference gives it.
    pub(crate) fn set(mut self, path: &str, value: impl Into<toml::Value>) -> Self {
        let mut table = &mut self.config;
        let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
        for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
            let inner = table
                .entry(parent)
                .or_insert_with(|| toml::Table::new().into());
            table = inner.as_table_mut().unwrap();
        }
        table.insert(name.into(), value.into());
        self
    }

    /// A site, described in TOML.
    pub(crate) fn site(mut self, description: &str) -> Self {
        let site: toml::Table = description.parse().unwrap();
        let sites = self
            .config
            .entry("sites")
            .or_insert_with(|| toml::Value::Array(Vec::new()));
        sites.as_array_mut().unwrap().push(site.into());
        self
    }

    /// This machine as the site `here`, with at most so many pilots of so many cores each. They
    /// are processes only: there may be more cores than the machine has.
    pub(crate) fn local(self, pilots: u32, cores: u32) -> Self {
        let all = pilots * cores;
        self.site(&format!(
            "name = \"here\"\n\
             adapter = {{ kind = \"local\", cores = {all} }}\n\
             [[ces]]\n\
             name = \"queue\"\n\
             shape = {{ cores = {cores}, memory_mib = 0, walltime_s = 3600 }}\n\
             limits = {{ pilots_max = {pilots}, queued_max = {pilots} }}\n"
        ))
    }

    /// Has the server run by `prefix`, which must become the program that its arguments name.
    pub(crate) fn within(mut self, prefix: Vec<String>) -> Self {
        self.within = prefix;
        self
    }

    /// Has clients trust the certificates in this file, and use https.
    pub(crate) fn trusting(mut self, ca_file: PathBuf) -> Self {
        self.ca_file = Some(ca_file);
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn write_config(&self) {
        let text = toml::to_string(&self.config).unwrap();
        std::fs::write(self.folder().join("fairway.toml"), text).unwrap();
    }

    fn place(&self) -> Place {
        let listen = self.config["http"]["listen"].as_str().unwrap();
        let scheme = if self.ca_file.is_some() {
            "https"
        } else {
            "http"
        };
        Place {
            folder: self.folder().to_owned(),
            url: format!("{scheme}://{listen}"),
            ca_file: self.ca_file.clone(),
            within: self.within.clone(),
        }
    }

    /// Runs the server to its end, for settings that it refuses.
    pub(crate) async fn refused(&self) -> Ran {
        self.write_config();
        cli::run(self.place().server_command(&["serve"])).await
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(self) -> Fairway {
        self.write_config();
        let place = Arc::new(self.place());
        let operator = place.user("boss", &["--role", "operator"]).await;
        let mut fairway = Fairway {
            operator,
            place,
            child: None,
            folder: self.folder,
        };
        fairway.start_again().await;
        fairway
    }
}

/// How to reach a server.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    url: String,
    ca_file: Option<PathBuf>,
    within: Vec<String>,
}

impl Place {
    /// A command that works on the server's state, by its configuration.
    fn server_command(&self, args: &[&str]) -> std::process::Command {
        let mut words = self.within.iter().map(String::as_str).chain([FAIRWAY]);
        let mut command = cli::command(words.next().unwrap(), &self.folder);
        // `within` may have gone to another folder.
        let config = self.folder.join("fairway.toml");
        command.args(words).args(args).arg("--config").arg(config);
        command
    }

    async fn user(self: &Arc<Self>, name: &str, options: &[&str]) -> User {
        let create = ["token", "create", name, "--json"];
        let created = cli::run(self.server_command(&[&create, options].concat())).await;
        let created: TokenCreated = created.json();
        self.holder(created)
    }

    fn holder(self: &Arc<Self>, created: TokenCreated) -> User {
        let ca_pem = self
            .ca_file
            .as_ref()
            .map(|file| std::fs::read(file).unwrap());
        let settings = ClientSettings {
            server: self.url.clone(),
            token: Some(created.token.clone()),
            ca_pem,
        };
        User {
            client: Client::new(&settings).unwrap(),
            token: created.token,
            id: created.view.id,
            place: Arc::clone(self),
        }
    }
}

/// A person with a token.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) client: Client,
    pub(crate) token: String,
    /// The token's public part.
    pub(crate) id: String,
    place: Arc<Place>,
}

impl User {
    /// This person's command line, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = cli::command(FAIRWAY, &self.place.folder);
        command
            .args(args)
            .env("FAIRWAY_SERVER", &self.place.url)
            .env("FAIRWAY_TOKEN", &self.token);
        if let Some(file) = &self.place.ca_file {
            command.env("FAIRWAY_CA_FILE", file);
        }
        command
    }

    /// Runs `fairway` with these arguments.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        cli::run(self.command(args)).await
    }

    /// The same place with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }
}

/// A server of its own process. It ends with this value, and with it all that it started.
pub(crate) struct Fairway {
    pub(crate) operator: User,
    place: Arc<Place>,
    child: Option<Child>,
    /// Removed last.
    folder: TempDir,
}

impl Fairway {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> &str {
        &self.place.url
    }

    /// Someone with the token of a user, made on the server's machine.
    pub(crate) async fn user(&self, name: &str) -> User {
        self.place.user(name, &[]).await
    }

    /// Someone with a token that was created over the API.
    pub(crate) fn holder(&self, created: TokenCreated) -> User {
        self.place.holder(created)
    }

    /// A program for payloads.
    pub(crate) fn script(&self, name: &str, lines: &str) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.folder().join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&path)
            .unwrap();
        file.write_all(format!("#!/bin/sh\nset -eu\n{lines}\n").as_bytes())
            .unwrap();
        path
    }

    /// The id of the server's process.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// Ends the server as a crash would: `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends the server as an operator would, and waits for it.
    pub(crate) async fn stop(&mut self) {
        process::signal(self.pid(), Signal::TERM);
        let child = self.child.as_mut().unwrap();
        let status = until("the server has stopped", async || child.try_wait().unwrap()).await;
        assert!(status.success(), "{status}");
        self.child = None;
    }

    /// Starts the server that was killed or stopped, and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.child.is_none());
        let mut options = std::fs::OpenOptions::new();
        let log = options.create(true).append(true).open(self.log()).unwrap();
        let mut command = self.place.server_command(&["serve"]);
        command.stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let client = self.operator.client.clone();
        until_true("the server is ready", async || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the server has ended: {ended:?}");
            client
                .health()
                .await
                .is_ok_and(|health| health.status == "ok")
        })
        .await;
    }

    /// The server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    /// Opens, drains or closes the site `here`.
    pub(crate) async fn set_mode(&self, mode: SiteMode) {
        let change = ModeChange { mode, ce: None };
        self.operator
            .client
            .set_mode(&"here".parse().unwrap(), &change)
            .await
            .unwrap();
    }

    /// All pilots, those that are over included.
    pub(crate) async fn pilots(&self) -> Vec<PilotView> {
        let query = PilotsQuery {
            limit: Some(1000),
            ..PilotsQuery::default()
        };
        self.operator.client.pilots(&query).await.unwrap().items
    }

    /// The pilots that are not over.
    pub(crate) async fn live_pilots(&self) -> Vec<PilotView> {
        let mut pilots = self.pilots().await;
        pilots.retain(|pilot| pilot.state != PilotState::Ended);
        pilots
    }
}

impl Drop for Fairway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which is told by the test.
            let _ = child.kill();
            let _ = child.wait();
        }
        process::end_all(self.folder.path());
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            println!("the end of the server's log:\n{}", tail.join("\n"));
        }
    }
}
