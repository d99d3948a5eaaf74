//! A server without a socket, and what speaks to it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use fairway_api::pilot::{RegisterReply, RegisterRequest, SyncReply, SyncRequest, Want};
use fairway_api::public::TokenRequest;
use fairway_model::{
    CeId, CeState, CeStatus, PilotId, PilotOwner, Resources, Role, Site, SiteName, Timestamp,
    UserName,
};
use fairway_sched::provision::{PilotOrder, Purpose};
use fairway_sched::{Command, Reply as Decided, Settings};
use fairway_wms::auth::{Auth, create_token, sha256_hex};
use fairway_wms::engine::{Engine, EngineLimits, wall_clock};
use fairway_wms::files::Files;
use fairway_wms::http::{App, Limits, SiteDesk, router};
use fairway_wms::reconcile::agents::{Agents, Patience};
use fairway_wms::reconcile::{Reconcilers, Surroundings};
use fairway_wms::store::Store;
use serde::Serialize;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A server with a folder of its own.
pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) router: axum::Router,
    pub(crate) agents: Agents,
    folder: tempfile::TempDir,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    /// What a client sees of it, for snapshots.
    pub(crate) fn seen(&self) -> Value {
        let text = |name| self.headers.get(name).map(|it| it.to_str().unwrap());
        json!({
            "status": self.status.as_u16(),
            "type": text(header::CONTENT_TYPE),
            "body": if self.body.is_empty() { Value::Null } else { self.json() },
        })
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        concurrent_max: 100,
        poll: Duration::from_millis(200),
        heartbeat_s: 30,
        input_files_max: 3,
        input_bytes_max: 1000,
        output_bytes_max: 1000,
        log_bytes_max: 20,
    }
}

impl Bed {
    pub(crate) async fn start() -> Self {
        Self::with(limits()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("fairway.db").display());
        let store = Store::open(&url).await.unwrap();
        store.lead().await.unwrap();
        let engine_limits = EngineLimits {
            batch_max: 100,
            inbox_max: 1000,
        };
        let (engine, _) = Engine::start(store.clone(), Settings::default(), engine_limits)
            .await
            .unwrap();
        let files = Files::open(folder.path()).unwrap();
        let auth = Auth::new(store.clone(), engine.clone());
        // Agents that are away are given up soon.
        let agents = Agents::new(Patience {
            fetch: Duration::from_millis(500),
            answer: Duration::from_secs(60),
            silence: Duration::from_millis(1000),
        });
        // Not started: nothing happens at the sites but what a test asks for.
        let reconcilers = Reconcilers::new(Surroundings {
            engine: engine.clone(),
            store: store.clone(),
            files: files.clone(),
            state_dir: folder.path().to_owned(),
            agents: agents.clone(),
            bebida: Vec::new(),
            name_prefix: "fw-test-".into(),
            server_url: "https://wms.example.org:8470".into(),
            ca_pem: None,
            pilot_program: vec!["/bin/false".into()],
            pilot_idle_s: 60,
            look_every: Duration::from_secs(60),
            plan_every: Duration::from_secs(60),
        });
        let desk = SiteDesk {
            sites_dir: "/etc/fairway/sites".into(),
            checks: reconcilers.checks(),
        };
        let app = App::new(
            engine.clone(),
            store.clone(),
            files,
            auth,
            agents.clone(),
            limits,
            desk,
        );
        Self {
            store,
            engine,
            router: router(app),
            agents,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.send(request("GET", token, path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post(&self, token: &str, path: &str) -> Reply {
        self.send(request("POST", token, path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn json(
        &self,
        method: &str,
        token: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Reply {
        let request = request(method, token, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(body).unwrap().into());
        self.send(request.unwrap()).await
    }

    pub(crate) async fn submit(&self, token: &str, jdl: &str) -> Reply {
        let request = request("POST", token, "/v1/jobs")
            .header(header::CONTENT_TYPE, "application/jdl")
            .body(jdl.to_owned().into());
        self.send(request.unwrap()).await
    }

    pub(crate) async fn form(&self, token: &str, parts: &[Part<'_>]) -> Reply {
        let request = request("POST", token, "/v1/jobs")
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge")
            .body(form(parts).into());
        self.send(request.unwrap()).await
    }

    /// A token for `name`.
    pub(crate) async fn token(&self, name: &str, role: Role) -> String {
        let sites = if role == Role::SiteAdmin {
            vec!["lyon".parse().unwrap()]
        } else {
            vec![]
        };
        let request = TokenRequest {
            name: name.parse().unwrap(),
            group: Some("biomed".parse().unwrap()),
            role,
            sites,
            valid_s: None,
        };
        create_token(&self.store, request, wall_clock())
            .await
            .unwrap()
            .token
    }

    pub(crate) async fn user(&self, name: &str) -> String {
        self.token(name, Role::User).await
    }

    /// The site `lyon` with a CE `short` that is in production.
    pub(crate) async fn add_site(&self) {
        let by: UserName = "op".parse().unwrap();
        self.engine
            .ask(Command::PutSite {
                site: Box::new(lyon()),
                by,
            })
            .await
            .unwrap();
        self.engine
            .ask(Command::Publish(vec![in_production()]))
            .await
            .unwrap();
    }

    /// A pilot at `lyon/short` that has been planned and knows this secret.
    pub(crate) async fn plan_pilot(&self, secret: &str) -> PilotId {
        let order = PilotOrder {
            ce: ce(),
            resources: Resources {
                cores: 2,
                memory_mib: 4096,
                gpus: 0,
            },
            owner: PilotOwner::Shared,
            nodes: 1,
            reserve_at: None,
            purpose: Purpose::Any,
            walltime_s: 3600,
            because: "a test".into(),
        };
        let orders = vec![(order, vec![sha256_hex(secret)])];
        match self
            .engine
            .ask(Command::PlanPilots { orders })
            .await
            .unwrap()
        {
            Decided::Planned(pilots) => pilots[0].id,
            other => panic!("{other:?}"),
        }
    }

    /// A pilot that has called home.
    pub(crate) async fn pilot(&self) -> TestPilot<'_> {
        let id = self.plan_pilot("secret").await;
        let reply = self
            .json("POST", "", "/v1/pilot/register", &call(id, "secret"))
            .await;
        let reply: RegisterReply = serde_json::from_value(reply.expect(200).json()).unwrap();
        TestPilot {
            bed: self,
            id,
            token: reply.token,
            round: 0,
        }
    }
}

/// A pilot that does what it is told to.
pub(crate) struct TestPilot<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) id: PilotId,
    pub(crate) token: String,
    round: u64,
}

impl TestPilot<'_> {
    pub(crate) async fn sync(&mut self, request: &SyncRequest) -> Reply {
        self.bed
            .json("POST", &self.token, "/v1/pilot/sync", request)
            .await
    }

    /// Asks for work.
    pub(crate) async fn want(&mut self) -> SyncReply {
        self.round += 1;
        let want = Want {
            round: self.round,
            remaining_s: 3600,
            backlog: 0,
            staying: false,
        };
        let request = SyncRequest {
            want: Some(want),
            ..SyncRequest::default()
        };
        serde_json::from_value(self.sync(&request).await.expect(200).json()).unwrap()
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Body>) -> Reply {
        let path = format!("/v1/pilot/tasks/{path}");
        self.bed
            .send(
                request("PUT", &self.token, &path)
                    .body(body.into())
                    .unwrap(),
            )
            .await
    }
}

pub(crate) fn call(pilot: PilotId, secret: &str) -> RegisterRequest {
    RegisterRequest {
        pilot,
        secret: secret.into(),
        nonce: "nonce".into(),
        host: "node1".into(),
        resources: Resources {
            cores: 2,
            memory_mib: 4096,
            gpus: 0,
        },
        remaining_s: 3600,
        version: "0".into(),
    }
}

pub(crate) fn lyon() -> Site {
    serde_json::from_value(json!({
        "name": "lyon",
        "adapter": {"kind": "slurm", "conf": "/etc/slurm/slurm.conf"},
        "ces": [{"name": "short", "account": "grid", "shape": {"cores": 2, "walltime_s": 3600}}],
    }))
    .unwrap()
}

pub(crate) fn ce() -> CeId {
    "lyon/short".parse().unwrap()
}

fn in_production() -> CeState {
    CeState {
        status: CeStatus::Production,
        reason: None,
        cores_total: Some(8),
        cores_free: Some(8),
        ..CeState::unreachable(ce(), "slurm", wall_clock(), String::new())
    }
}

pub(crate) fn request(method: &str, token: &str, path: &str) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    if token.is_empty() {
        builder
    } else {
        builder.header(header::AUTHORIZATION, format!("Bearer {token}"))
    }
}

/// A part of a form: name, file name, content.
pub(crate) type Part<'a> = (&'a str, Option<&'a str>, &'a str);

pub(crate) fn form(parts: &[Part<'_>]) -> String {
    let mut body = String::new();
    for (name, file_name, content) in parts {
        let file_name = file_name
            .map(|it| format!("; filename=\"{it}\""))
            .unwrap_or_default();
        body += &format!(
            "--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n{content}\r\n"
        );
    }
    body + "--edge--\r\n"
}

/// Times, ids of tokens and the like differ from run to run.
pub(crate) fn steady() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    for name in [
        "at",
        "since",
        "submitted_at",
        "ended_at",
        "leased_at",
        "started_at",
        "created_at",
        "planned_at",
        "ends_at",
        "expires_at",
        "observed_at",
        "begins_at",
        "interval_begins_at",
        "made_at",
        "earliest",
        "likely",
        "latest",
        "horizon",
        "waited_s",
        "age_s",
        "CreationTime",
    ] {
        settings.add_redaction(
            &format!(".**.{name}"),
            insta::dynamic_redaction(|value, _| {
                if value.is_nil() {
                    value
                } else {
                    "[time]".into()
                }
            }),
        );
    }
    settings.add_redaction(
        ".**.what",
        insta::dynamic_redaction(|value, _| match value.as_str() {
            Some(text) => without_waits(text).into(),
            None => value,
        }),
    );
    settings
}

pub(crate) fn site_name() -> SiteName {
    "lyon".parse().unwrap()
}

pub(crate) fn long_ago() -> Timestamp {
    Timestamp::from_secs(1_000_000_000)
}

/// A sentence of a history without how long was waited.
fn without_waits(text: &str) -> String {
    let Some((before, after)) = text.split_once(" after ") else {
        return text.to_owned();
    };
    let rest = after.trim_start_matches(|it: char| it.is_ascii_digit());
    format!("{before} after [time]{rest}")
}
