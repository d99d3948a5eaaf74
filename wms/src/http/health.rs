//! `/v1/health`: whether the server lives, and whether it can work. Open to everybody.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::ProblemCode;
use fairway_api::public::Health;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Failure, Failures, view};

/// Who asks whether the server is ready wants to know soon: the store itself would wait longer for
/// a database that is away.
const PING_MAX: Duration = Duration::from_secs(3);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// Answers as long as the process serves requests at all.
#[utoipa::path(
    get, path = "/v1/health/live", tag = "health", operation_id = "health_live",
    security(()),
    responses((status = NO_CONTENT, description = "It lives"), Failures),
)]
async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Answers if the store takes changes and the engine decides.
#[utoipa::path(
    get, path = "/v1/health/ready", tag = "health", operation_id = "health_ready",
    security(()),
    responses((status = OK, body = Health), Failures),
)]
async fn ready(State(app): State<App>) -> Result<Json<Health>, Failure> {
    let ping = tokio::time::timeout(PING_MAX, app.store.ping());
    ping.await.map_err(|_| {
        Failure::new(
            ProblemCode::StoreUnavailable,
            "the server's database has not answered in time",
        )
    })??;
    let load = app.engine.look(|state, _| view::load(state)).await?;
    Ok(Json(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        waiting: load.waiting,
        live: load.live,
        pilots: load.pilots,
    }))
}
