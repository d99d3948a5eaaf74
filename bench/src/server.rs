//! A server of its own process, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fairway_api::client::{Client, ClientSettings};
use fairway_api::public::{Health, ModeChange, PilotView, PilotsQuery, SubmitReply};
use fairway_model::{PilotState, SiteMode};
use tokio::process::{Child, Command};

pub(crate) struct Server {
    fairway: PathBuf,
    folder: tempfile::TempDir,
    url: String,
    token: String,
    pub(crate) http: reqwest::Client,
    child: Child,
}

/// The pilots of the server's local site. The cores are said, not counted: what the machine has
/// is not asked.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) pilots: u32,
    pub(crate) pilot_cores: u32,
}

/// A server that is not ready after so long is given up.
const READY_MAX: Duration = Duration::from_secs(120);

impl Server {
    /// Starts a server with one local site of that shape, whose pilots are what `program` says
    /// for the server's folder.
    pub(crate) async fn start(
        fairway: &Path,
        database: Option<&str>,
        shape: Shape,
        program: impl Fn(&Path) -> Vec<String>,
    ) -> anyhow::Result<Self> {
        let Shape {
            pilots,
            pilot_cores,
        } = shape;
        let folder = tempfile::Builder::new()
            .prefix("fairway-bench-")
            .tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let program = serde_json::to_string(&program(folder.path()))?;
        let store = database
            .map(|url| format!("url = \"{url}\"\n"))
            .unwrap_or_default();
        let config = format!(
            "state_dir = \"{folder}/state\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n\
             [store]\n{store}\
             [log]\nfilter = \"warn\"\n\
             [pilots]\nprogram = {program}\nlook_every_s = 1\nplan_every_s = 1\nidle_s = 5\n\
             [[sites]]\nname = \"bench\"\nadapter = {{ kind = \"local\", cores = {cores} }}\n\
             [[sites.ces]]\nname = \"local\"\n\
             shape = {{ cores = {pilot_cores}, memory_mib = 0, walltime_s = 3600 }}\n\
             limits = {{ pilots_max = {pilots}, queued_max = {pilots} }}\n",
            folder = folder.path().display(),
            cores = pilots * pilot_cores,
        );
        std::fs::write(folder.path().join("fairway.toml"), config)?;
        std::fs::create_dir(folder.path().join("caught"))?;
        let token = token(fairway, folder.path()).await?;
        let child = spawn(fairway, folder.path())?;
        let server = Self {
            fairway: fairway.to_owned(),
            folder,
            url: format!("http://127.0.0.1:{port}"),
            token,
            http: reqwest::Client::builder().no_proxy().build()?,
            child,
        };
        server.ready().await?;
        Ok(server)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client with the operator's token.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_of(self.token.clone())
    }

    /// A client with that token.
    pub(crate) fn client_of(&self, token: String) -> anyhow::Result<Client> {
        Ok(Client::new(&ClientSettings {
            server: self.url.clone(),
            token: Some(token),
            ca_pem: None,
        })?)
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) async fn submit(&self, jdl: &str) -> anyhow::Result<SubmitReply> {
        let request = self.http.post(self.at("/v1/jobs")).bearer_auth(&self.token);
        let reply = request
            .header("content-type", "application/jdl")
            .body(jdl.to_owned())
            .send()
            .await?;
        if !reply.status().is_success() {
            bail!("{}: {}", reply.status(), reply.text().await?);
        }
        Ok(reply.json().await?)
    }

    pub(crate) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
    ) -> anyhow::Result<T> {
        let request = self.http.get(self.at(path)).bearer_auth(&self.token);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Resident memory of the server's process.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kib.context("no VmRSS")?
            .trim()
            .parse()
            .context("VmRSS is no number")
    }

    /// Kills the server as a crash would and starts it again; how long that took until ready.
    pub(crate) async fn kill_and_restart(&mut self) -> anyhow::Result<Duration> {
        self.child.kill().await?;
        let began = Instant::now();
        self.child = spawn(&self.fairway, self.folder.path())?;
        self.ready().await?;
        Ok(began.elapsed())
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < READY_MAX {
            if let Ok(reply) = self.http.get(self.at("/v1/health/ready")).send().await
                && reply.status().is_success()
                && reply.json::<Health>().await.is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the server is not ready after {READY_MAX:?}")
    }

    /// Opens or closes its site.
    pub(crate) async fn set_mode(&self, mode: SiteMode) -> anyhow::Result<()> {
        let change = ModeChange { mode, ce: None };
        Ok(self.client()?.set_mode(&"bench".parse()?, &change).await?)
    }

    /// Its pilots that are not over.
    pub(crate) async fn live_pilots(&self) -> anyhow::Result<Vec<PilotView>> {
        let query = PilotsQuery {
            limit: Some(1000),
            ..PilotsQuery::default()
        };
        let mut pilots = self.client()?.pilots(&query).await?.items;
        pilots.retain(|it| it.state != PilotState::Ended);
        Ok(pilots)
    }

    /// Ends what its local site runs, and then the server: pilots outlive a server, for another one
    /// that goes on.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let operator = self.client()?;
        self.set_mode(SiteMode::Closed).await?;
        let began = Instant::now();
        loop {
            let pilots = self.live_pilots().await?;
            if pilots.is_empty() {
                break;
            }
            if began.elapsed() > READY_MAX {
                bail!("pilots do not end: {pilots:?}");
            }
            for pilot in pilots {
                // One that ended meanwhile cannot be killed.
                let _ = operator.kill_pilot(pilot.id).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

fn spawn(fairway: &Path, folder: &Path) -> anyhow::Result<Child> {
    Command::new(fairway)
        .args(["serve", "--config"])
        .arg(folder.join("fairway.toml"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", fairway.display()))
}

/// An operator's token, created where the server is not running yet.
async fn token(fairway: &Path, folder: &Path) -> anyhow::Result<String> {
    let output = Command::new(fairway)
        .args([
            "token", "create", "bench", "--role", "operator", "--json", "--config",
        ])
        .arg(folder.join("fairway.toml"))
        .stderr(Stdio::inherit())
        .output()
        .await?;
    let created: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`fairway token create` printed no JSON")?;
    Ok(created["token"].as_str().context("no token")?.to_owned())
}
