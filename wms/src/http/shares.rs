//! `/v1/shares`: each user's standing, with the numbers that it came from.

use axum::Json;
use axum::extract::State;
use fairway_api::public::SharesView;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Failure, Failures, view};
use crate::auth::Authenticated;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Shows all users in the order in which they would be served. Everybody may see it: an order
/// that nobody can check is not a fair one.
#[utoipa::path(
    get, path = "/v1/shares", tag = "policy", operation_id = "show_shares",
    responses((status = OK, body = SharesView), Failures),
)]
async fn show(State(app): State<App>, _who: Authenticated) -> Result<Json<SharesView>, Failure> {
    Ok(Json(app.engine.look(view::shares).await?))
}
