//! `/v1/agent`: what sites' agents say and are told; see `fairway_api::agent`.

mod exchange;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;

/// Apart from the others: an exchange may be held open, and carry the states of many jobs.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(exchange::exchange))
}
