//! `/v1/whoami`: who the server takes a token's holder for.

use axum::Json;
use fairway_model::Principal;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Failures};
use crate::auth::Authenticated;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Tells who the token is for and what it may do.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "tokens", operation_id = "whoami",
    responses((status = OK, body = Principal), Failures),
)]
async fn show(Authenticated(who): Authenticated) -> Json<Principal> {
    Json(who)
}
