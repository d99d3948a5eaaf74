//! The REST API and the pilots' protocol: `<noun>/<verb>.rs`, or `<noun>.rs` where
//! the verbs are small.
//!
//! A handler reads its request, asks who speaks ([`crate::auth`]), has the engine
//! or the store do the work, and answers with the types of `fairway_api`. Nothing
//! is decided here. Whatever goes wrong ends as a [`Failure`], which is a problem
//! document. Every request passes through [`gate`] first.

mod agent;
mod events;
mod extract;
mod failure;
mod gate;
mod health;
mod jobs;
mod pilot;
mod pilots;
mod policy;
mod shares;
mod simulate;
mod sites;
mod tasks;
mod tokens;
mod usage;
mod view;
mod whoami;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use fairway_api::agent::EXCHANGE_BYTES_MAX;
use fairway_api::{Problem, ProblemCode};
use fairway_model::{Principal, UserName};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::auth::Auth;
use crate::engine::Engine;
use crate::files::Files;
use crate::foresight::Foresight;
use crate::reconcile::Checks;
use crate::reconcile::agents::Agents;
use crate::store::Store;

pub use failure::Failure;
use gate::{Bounds, Door};

/// Longest JDL text, in bytes.
pub const JDL_BYTES_MAX: u64 = 4 << 20;
/// Longest body of a request that carries no files, in bytes.
const BODY_BYTES_MAX: u64 = 4 << 20;
/// What the parts' headers of a multipart submission may add to their contents, in bytes.
const MULTIPART_BYTES_EXTRA: u64 = 1 << 20;
/// Longest time that a request without files may take.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time that a request with files may take.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(3600);
/// How many logs and archives may be sent at the same time.
const STREAMS_MAX: usize = 1000;

/// How much the API takes on.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests in flight at most, long polls of pilots included.
    pub concurrent_max: usize,
    /// Longest that a pilot's wish for work is held open.
    pub poll: Duration,
    /// Pilots are told to be heard of at least so often, in seconds.
    pub heartbeat_s: u64,
    /// Files of a job's input sandbox at most.
    pub input_files_max: usize,
    /// Bytes of a job's input sandbox at most, all files together.
    pub input_bytes_max: u64,
    /// Bytes of one task's output archive at most.
    pub output_bytes_max: u64,
    /// Bytes kept of one attempt's stdout, and as many of its stderr.
    pub log_bytes_max: u64,
}

/// What the handlers need for sites.
#[derive(Clone)]
pub struct SiteDesk {
    /// Folder with a folder for each site, in which the site's admins may name files.
    pub sites_dir: std::path::PathBuf,
    /// Tries sites.
    pub checks: Checks,
}

/// What the handlers work with; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) files: Files,
    pub(crate) auth: Auth,
    pub(crate) agents: Agents,
    pub(crate) limits: Arc<Limits>,
    pub(crate) desk: Arc<SiteDesk>,
    leases: pilot::LeaseBook,
    /// One retry at a time; see `tasks::change`.
    retries: Arc<tokio::sync::Mutex<()>>,
    /// One at a time; see `policy::diff`.
    rehearsals: Arc<tokio::sync::Mutex<()>>,
    streams: Arc<Semaphore>,
    foresight: Foresight,
}

impl App {
    /// Puts the parts together.
    pub fn new(
        engine: Engine,
        store: Store,
        files: Files,
        auth: Auth,
        agents: Agents,
        limits: Limits,
        desk: SiteDesk,
    ) -> Self {
        Self {
            engine,
            store,
            files,
            auth,
            agents,
            limits: Arc::new(limits),
            desk: Arc::new(desk),
            leases: pilot::LeaseBook::default(),
            retries: Arc::default(),
            rehearsals: Arc::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            foresight: Foresight::default(),
        }
    }

    /// A place among those to whom logs and archives are being sent.
    fn stream_place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Failure> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            Failure::new(
                ProblemCode::Overloaded,
                "too many logs and archives are being sent; try again in a moment",
            )
        })
    }
}

/// The whole API as a service.
pub fn router(app: App) -> Router {
    let (routes, document) = routes(&app.limits).split_for_parts();
    let document = document_text(&document);
    let door = Door::new(app.limits.concurrent_max);
    routes
        .route(
            "/v1/openapi.json",
            get(|| async { ([(header::CONTENT_TYPE, "application/json")], document) }),
        )
        .fallback(|| async {
            Failure::new(
                ProblemCode::NotFound,
                "there is no such path; /v1/openapi.json tells which there are",
            )
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(
                ProblemCode::MethodNotAllowed,
                "this path is there, but not with this method; /v1/openapi.json tells which are",
            )
        })
        .layer(from_fn_with_state(door, gate::admit))
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(from_fn(gate::name))
        .with_state(app)
}

/// The API's description (OpenAPI 3.1).
pub fn openapi() -> utoipa::openapi::OpenApi {
    // The limits change no path and no type.
    let limits = Limits {
        concurrent_max: 1,
        poll: Duration::ZERO,
        heartbeat_s: 0,
        input_files_max: 0,
        input_bytes_max: 0,
        output_bytes_max: 0,
        log_bytes_max: 0,
    };
    routes(&limits).split_for_parts().1
}

fn document_text(document: &utoipa::openapi::OpenApi) -> String {
    document.to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the OpenAPI document cannot be written");
        "{}".to_owned()
    })
}

fn routes(limits: &Limits) -> OpenApiRouter<App> {
    let ordinary = Bounds {
        body_bytes_max: BODY_BYTES_MAX,
        time_max: TIME_MAX,
    };
    let submissions = Bounds {
        body_bytes_max: JDL_BYTES_MAX + limits.input_bytes_max + MULTIPART_BYTES_EXTRA,
        time_max: UPLOAD_TIME_MAX,
    };
    let outputs = Bounds {
        body_bytes_max: limits.output_bytes_max,
        time_max: UPLOAD_TIME_MAX,
    };
    let polls = Bounds {
        body_bytes_max: BODY_BYTES_MAX,
        time_max: limits.poll + TIME_MAX,
    };
    let exchanges = Bounds {
        body_bytes_max: EXCHANGE_BYTES_MAX,
        time_max: limits.poll + TIME_MAX,
    };
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(bounded(
            OpenApiRouter::new()
                .merge(jobs::routes())
                .merge(tasks::routes())
                .merge(events::routes())
                .merge(sites::routes())
                .merge(pilots::routes())
                .merge(shares::routes())
                .merge(policy::routes())
                .merge(simulate::routes())
                .merge(usage::routes())
                .merge(tokens::routes())
                .merge(whoami::routes())
                .merge(health::routes())
                .merge(pilot::routes()),
            ordinary,
        ))
        .merge(bounded(jobs::submission_routes(), submissions))
        .merge(bounded(pilot::output_routes(), outputs))
        .merge(bounded(pilot::poll_routes(), polls))
        .merge(bounded(agent::routes(), exchanges))
}

fn bounded(routes: OpenApiRouter<App>, bounds: Bounds) -> OpenApiRouter<App> {
    let body_bytes_max = usize::try_from(bounds.body_bytes_max).unwrap_or(usize::MAX);
    routes
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(from_fn_with_state(bounds, gate::bound))
}

fn on_panic(panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    axum::response::IntoResponse::into_response(Failure::internal(format!("panic: {text}")))
}

/// Whose jobs a list is limited to: everybody but operators sees only their own.
fn owner_limit(who: &Principal) -> Option<&UserName> {
    (!who.is_operator()).then_some(&who.name)
}

/// Refuses everybody but operators.
fn operators_only(who: &Principal, what: &str) -> Result<(), Failure> {
    if who.is_operator() {
        Ok(())
    } else {
        Err(Failure::new(
            ProblemCode::Forbidden,
            format!(
                "only operators may {what}; this token's role is {}",
                who.role.name()
            ),
        ))
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fairway",
        description = "Grid workload management with pilot jobs: the public API, the pilots' \
                       protocol under `/v1/pilot`, and that of sites' agents under `/v1/agent`.",
    ),
    components(schemas(Problem)),
    modifiers(&BearerTokens),
    security(("token" = [])),
)]
struct Document;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", scheme);
    }
}

/// In the API's description: whatever goes wrong is told by a problem document.
struct Failures;

impl IntoResponses for Failures {
    fn responses() -> std::collections::BTreeMap<String, RefOr<Response>> {
        let response = ResponseBuilder::new()
            .description("What went wrong, and what to do about it")
            .content(
                failure::PROBLEM_JSON,
                Content::new(Some(Ref::from_schema_name("Problem"))),
            )
            .build();
        [("default".to_owned(), RefOr::T(response))].into()
    }
}
