//! The whole server, put together: store, engine, reconcilers, HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fairway_api::public::{TokenCreated, TokenRequest};
use fairway_model::{Site, SiteName, UserName};
use fairway_sched::{Command, Settings};
use hyper_util::rt::TokioTimer;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::auth::{self, Auth, TokenError};
use crate::config::{Config, ConfigError, TlsConfig};
use crate::engine::{Engine, EngineError, EngineLimits, wall_clock};
use crate::files::Files;
use crate::http::{self, App, Limits, SiteDesk};
use crate::reconcile::agents::Agents;
use crate::reconcile::{Reconcilers, Surroundings};
use crate::store::{Store, StoreError};

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state folder cannot be used.
    #[error("the state folder {path}: {reason}. Make it writable, or set `state_dir`")]
    StateDir {
        /// The folder.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine stopped while the server was starting.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {reason}. Set `http.listen` to another address")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// Certificate or key cannot be used.
    #[error("http.tls: {0}")]
    Tls(String),
}

/// A running server.
pub struct Server {
    url: String,
    store: Store,
    engine: Engine,
    reconcilers: Reconcilers,
    engine_loop: JoinHandle<Result<(), StoreError>>,
    listener: JoinHandle<()>,
    /// Runs for as long as the server does.
    tls_reload: Option<AbortOnDropHandle<()>>,
    handle: axum_server::Handle<SocketAddr>,
}

/// How long requests in flight may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How long a client may take for the headers of a request, and be silent between two.
const HEADERS_MAX: Duration = Duration::from_secs(60);
/// How often certificate and key are looked at for a change.
const TLS_LOOK_EVERY: Duration = Duration::from_secs(10);

impl Server {
    /// Starts everything. The server runs when this returns.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, ServerError> {
        config.check()?;
        // Another part of the same program may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        prepare_state_dir(&config.state_dir)?;
        let store = Store::open(&config.database_url()).await?;
        store.lead().await?;
        let files = Files::open(&config.state_dir).map_err(|error| ServerError::StateDir {
            path: config.state_dir.display().to_string(),
            reason: error.to_string(),
        })?;
        let (engine, engine_loop) = Engine::start(
            store.clone(),
            sched_settings(&config),
            engine_limits(&config),
        )
        .await?;
        bring_in_line(&store, &engine, &config).await?;

        let listener = bind(config.http.listen)?;
        let url = local_url(&config, &listener)?;
        let agents = Agents::default();
        let around = surroundings(
            &config,
            &url,
            &store,
            &engine,
            files.clone(),
            agents.clone(),
        );
        let reconcilers = Reconcilers::new(around.await?);
        let app = App::new(
            engine.clone(),
            store.clone(),
            files,
            Auth::new(store.clone(), engine.clone()),
            agents,
            limits(&config),
            SiteDesk {
                sites_dir: config.sites_dir.clone(),
                checks: reconcilers.checks(),
            },
        );
        let handle = axum_server::Handle::new();
        let (listener, tls_reload) =
            listen(&config, listener, handle.clone(), http::router(app)).await?;
        reconcilers.start();
        tracing::info!(url, version = env!("CARGO_PKG_VERSION"), "Fairway serves");
        Ok(Self {
            url,
            store,
            engine,
            reconcilers,
            engine_loop,
            listener,
            tls_reload,
            handle,
        })
    }

    /// Base URL by which this machine reaches the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The way to the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Creates a token.
    ///
    /// # Errors
    /// If it makes no sense, or the store does not take it.
    pub async fn mint_token(&self, request: TokenRequest) -> Result<TokenCreated, TokenError> {
        auth::create_token(&self.store, request, wall_clock()).await
    }

    /// Returns when the server can no longer work: another one has taken over its store.
    pub async fn failed(&mut self) -> StoreError {
        match (&mut self.engine_loop).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => StoreError::Database("the engine has stopped".into()),
            Err(error) => StoreError::Database(format!("the engine failed: {error}")),
        }
    }

    /// Ends all pilots: first they are told to finish, then, after `grace`, their batch jobs are
    /// ended. Returns when none is left, or says how many could not be ended.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn end_pilots(&self, grace: Duration) -> Result<usize, EngineError> {
        let pilots = self.live_pilots().await?;
        for (pilot, _, _) in &pilots {
            self.engine
                .ask(Command::DrainPilot { pilot: *pilot })
                .await?;
        }
        if self.wait_for_no_pilots(grace).await? {
            return Ok(0);
        }
        let mut jobs: BTreeMap<SiteName, Vec<String>> = BTreeMap::new();
        for (pilot, site, batch_id) in self.live_pilots().await? {
            let end = fairway_model::PilotEnd::Cancelled {
                reason: "the server ends".into(),
            };
            self.engine.ask(Command::EndPilot { pilot, end }).await?;
            jobs.entry(site).or_default().extend(batch_id);
        }
        self.reconcilers.cancel_jobs(jobs).await;
        Ok(self.live_pilots().await?.len())
    }

    async fn live_pilots(
        &self,
    ) -> Result<Vec<(fairway_model::PilotId, SiteName, Option<String>)>, EngineError> {
        self.engine
            .look(|state, _| {
                let pilots = state.pilots_live();
                pilots
                    .map(|it| (it.id, it.ce.site.clone(), it.batch_id.clone()))
                    .collect()
            })
            .await
    }

    /// Waits until no pilot is left; false if that takes longer than `patience`.
    async fn wait_for_no_pilots(&self, patience: Duration) -> Result<bool, EngineError> {
        let mut commits = self.engine.commits();
        let until = tokio::time::Instant::now() + patience;
        loop {
            commits.mark_unchanged();
            if self.live_pilots().await?.is_empty() {
                return Ok(true);
            }
            match tokio::time::timeout_at(until, commits.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(EngineError::Stopped),
                Err(_) => return Ok(false),
            }
        }
    }

    /// Stops everything: no new request, the ones in flight end, then the rest. Pilots go on and
    /// find the server again when it is back.
    pub async fn stop(self) {
        self.reconcilers.stop().await;
        self.handle.graceful_shutdown(Some(STOP_GRACE));
        if let Err(error) = self.listener.await {
            tracing::error!(%error, "the listener failed");
        }
        drop((self.tls_reload, self.reconcilers, self.engine));
        // The loop ends with the last handle to it; a request that hangs may still have one.
        let mut engine_loop = self.engine_loop;
        // One that has failed is over already, and was awaited where that was noticed.
        if !engine_loop.is_finished()
            && tokio::time::timeout(STOP_GRACE, &mut engine_loop)
                .await
                .is_err()
        {
            engine_loop.abort();
        }
        self.store.close().await;
    }
}

fn prepare_state_dir(path: &Path) -> Result<(), ServerError> {
    let refuse = |error: std::io::Error| ServerError::StateDir {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    std::fs::create_dir_all(path).map_err(refuse)?;
    // Sandboxes and tokens' hashes are nobody else's business.
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(path, private).map_err(refuse)?;
    tempfile::tempfile_in(path).map(drop).map_err(refuse)
}

fn sched_settings(config: &Config) -> Settings {
    Settings {
        pilot_silence_max_s: config.pilots.silence_max_s,
        pilot_start_max_s: config.pilots.start_max_s,
        losses_max: config.sched.losses_max,
        remaining_min_s: config.pilots.remaining_min_s,
        grants_max: config.sched.grants_max,
        published_age_max_s: config.pilots.published_age_max_s,
        fast_fail_s: config.sched.fast_fail_s,
        fast_fails_max: config.sched.fast_fails_max,
        look_every_s: config.pilots.look_every_s,
        pilots_max: config.pilots.pilots_max,
        ramp_min: config.pilots.ramp_min,
        recall_after_s: config.pilots.recall_after_s,
        pilot_queued_max_s: config.pilots.queued_max_s,
    }
}

fn engine_limits(config: &Config) -> EngineLimits {
    EngineLimits {
        batch_max: config.store.batch_max,
        inbox_max: config.store.inbox_max,
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        concurrent_max: config.http.concurrent_max,
        poll: Duration::from_secs(config.http.poll_s),
        heartbeat_s: config.pilots.heartbeat_s(),
        input_files_max: config.sandbox.input_files_max,
        input_bytes_max: config.sandbox.input_bytes_max,
        output_bytes_max: config.sandbox.output_bytes_max,
        log_bytes_max: config.sandbox.log_bytes_max,
    }
}

async fn surroundings(
    config: &Config,
    url: &str,
    store: &Store,
    engine: &Engine,
    files: Files,
    agents: Agents,
) -> Result<Surroundings, ServerError> {
    let ca_pem = match config.http.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| ServerError::Tls(format!("ca: {}: {error}", path.display())))?,
        ),
        None => None,
    };
    Ok(Surroundings {
        engine: engine.clone(),
        store: store.clone(),
        files,
        agents,
        state_dir: config.state_dir.clone(),
        name_prefix: format!("fw-{}-", store.instance().await?),
        server_url: config
            .http
            .public_url
            .clone()
            .unwrap_or_else(|| url.to_owned()),
        ca_pem,
        pilot_program: config.pilots.program.clone(),
        pilot_idle_s: config.pilots.idle_s,
        look_every: Duration::from_secs(config.pilots.look_every_s),
        plan_every: Duration::from_secs(config.pilots.plan_every_s),
        bebida: config.bebida.clone(),
    })
}

/// Registers the sites of the settings, and sets the policy if the store has none.
async fn bring_in_line(store: &Store, engine: &Engine, config: &Config) -> Result<(), ServerError> {
    let by: UserName = "configuration".parse().map_err(|error| {
        ServerError::Config(ConfigError::Unreadable(format!("internal name: {error}")))
    })?;
    let known: Vec<Site> = engine
        .look(|state, _| state.sites().cloned().collect())
        .await?;
    for site in &config.sites {
        let same = known.iter().any(|it| same_description(it, site));
        if !same {
            let site = keep_modes(site, &known);
            engine
                .ask(Command::PutSite {
                    site: Box::new(site),
                    by: by.clone(),
                })
                .await?;
        }
    }
    match store.policy().await? {
        None => {
            engine
                .ask(Command::SetPolicy {
                    policy: config.policy.clone(),
                    by,
                    because: None,
                    from: None,
                })
                .await?;
        }
        Some(policy) if policy != config.policy => {
            tracing::info!(
                ?policy,
                "the policy set at run time is in force, not the configured one"
            );
        }
        Some(_) => {}
    }
    Ok(())
}

/// Whether two descriptions differ in nothing but what admins switch at run time.
fn same_description(known: &Site, configured: &Site) -> bool {
    *known == keep_modes(configured, std::slice::from_ref(known))
}

/// The configured description with the modes that were set at run time, and with the
/// maintenance planned then if the settings plan none.
fn keep_modes(configured: &Site, known: &[Site]) -> Site {
    let mut site = configured.clone();
    if let Some(known) = known.iter().find(|it| it.name == site.name) {
        site.mode = known.mode;
        if site.maintenance.is_empty() {
            site.maintenance.clone_from(&known.maintenance);
        }
        for ce in &mut site.ces {
            if let Some(known) = known.ces.iter().find(|it| it.name == ce.name) {
                ce.mode = known.mode;
            }
        }
    }
    site
}

fn bind(listen: SocketAddr) -> Result<std::net::TcpListener, ServerError> {
    let refuse = |error: std::io::Error| ServerError::Listen {
        listen,
        reason: error.to_string(),
    };
    let listener = std::net::TcpListener::bind(listen).map_err(refuse)?;
    listener.set_nonblocking(true).map_err(refuse)?;
    Ok(listener)
}

fn local_url(config: &Config, listener: &std::net::TcpListener) -> Result<String, ServerError> {
    let address = listener.local_addr().map_err(|error| ServerError::Listen {
        listen: config.http.listen,
        reason: error.to_string(),
    })?;
    let scheme = if config.http.tls.is_some() {
        "https"
    } else {
        "http"
    };
    Ok(format!("{scheme}://{address}"))
}

async fn listen(
    config: &Config,
    listener: std::net::TcpListener,
    handle: axum_server::Handle<SocketAddr>,
    router: axum::Router,
) -> Result<(JoinHandle<()>, Option<AbortOnDropHandle<()>>), ServerError> {
    let listen = config.http.listen;
    let service = router.into_make_service();
    let failed = move |error: std::io::Error| ServerError::Listen {
        listen,
        reason: error.to_string(),
    };
    let mut tls_reload = None;
    let work = match &config.http.tls {
        Some(tls) => {
            let rustls = read_tls(tls).await?;
            let reload = tokio::spawn(reload_tls(tls.clone(), rustls.clone()));
            tls_reload = Some(AbortOnDropHandle::new(reload));
            let mut server = axum_server::from_tcp_rustls(listener, rustls).map_err(failed)?;
            limit_patience(server.http_builder());
            tokio::spawn(server.handle(handle).serve(service))
        }
        None => {
            let acceptor = axum_server::accept::NoDelayAcceptor::new();
            let mut server = axum_server::from_tcp(listener)
                .map_err(failed)?
                .acceptor(acceptor);
            limit_patience(server.http_builder());
            tokio::spawn(server.handle(handle).serve(service))
        }
    };
    let listener = tokio::spawn(async move {
        match work.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the listener failed"),
            Err(error) => tracing::error!(%error, "the listener failed"),
        }
    });
    Ok((listener, tls_reload))
}

/// Closes connections on which nothing is asked, or only ever half of something.
fn limit_patience<E>(builder: &mut hyper_util::server::conn::auto::Builder<E>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADERS_MAX);
}

async fn read_tls(tls: &TlsConfig) -> Result<axum_server::tls_rustls::RustlsConfig, ServerError> {
    axum_server::tls_rustls::RustlsConfig::from_pem_file(&tls.cert, &tls.key)
        .await
        .map_err(|error| {
            ServerError::Tls(format!(
                "{} or {}: {error}",
                tls.cert.display(),
                tls.key.display()
            ))
        })
}

/// Reads certificate and key again when one of them changes. A pair that cannot be used is
/// told in the log, and the old one stays in force.
async fn reload_tls(tls: TlsConfig, rustls: axum_server::tls_rustls::RustlsConfig) {
    let changed_at =
        || [&tls.cert, &tls.key].map(|it| it.metadata().and_then(|it| it.modified()).ok());
    let mut seen = changed_at();
    loop {
        tokio::time::sleep(TLS_LOOK_EVERY).await;
        let now = changed_at();
        if now == seen {
            continue;
        }
        seen = now;
        match rustls.reload_from_pem_file(&tls.cert, &tls.key).await {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!(%error, "the new certificate cannot be used"),
        }
    }
}
