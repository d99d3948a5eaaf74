//! `/v1/events`: the ledger of what happened.

use axum::Json;
use axum::extract::State;
use fairway_api::public::{EventsQuery, Page};
use fairway_model::Event;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Query;
use super::{App, Failure, Failures, operators_only, owner_limit};
use crate::auth::Authenticated;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Lists what happened, oldest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(EventsQuery),
    responses((status = OK, body = Page<Event>), Failures),
)]
async fn list(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Page<Event>>, Failure> {
    if query.pilot.is_some() {
        operators_only(&who, "ask for a pilot's events")?;
    }
    Ok(Json(app.store.events(&query, owner_limit(&who)).await?))
}
