//! `/v1/usage`: what was used, summed up.

use axum::Json;
use axum::extract::State;
use fairway_api::public::{UsageQuery, UsageView};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Query;
use super::{App, Failure, Failures, owner_limit};
use crate::auth::Authenticated;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sum))
}

/// Sums up the usage of ended attempts.
#[utoipa::path(
    get, path = "/v1/usage", tag = "usage", operation_id = "sum_usage",
    params(UsageQuery),
    responses((status = OK, body = Vec<UsageView>), Failures),
)]
async fn sum(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Vec<UsageView>>, Failure> {
    Ok(Json(app.store.usage(&query, owner_limit(&who)).await?))
}
