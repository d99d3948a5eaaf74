//! `/v1/pilot`: what pilots say and are told; see `fairway_api::pilot`.

mod files;
mod goodbye;
mod lease;
mod register;
mod sync;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;

pub(super) use lease::LeaseBook;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register::register))
        .routes(routes!(goodbye::goodbye))
        .routes(routes!(files::input))
        .routes(routes!(files::stdout))
        .routes(routes!(files::stderr))
}

/// Apart from the others: a sync may be held open.
pub(super) fn poll_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sync::sync))
}

/// Apart from the others: an archive is larger, and takes longer.
pub(super) fn output_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(files::output))
}
