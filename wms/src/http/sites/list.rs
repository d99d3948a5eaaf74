//! `GET /v1/sites`

use axum::Json;
use axum::extract::State;
use fairway_api::public::SiteView;

use crate::auth::Authenticated;
use crate::http::{App, Failure, Failures, view};

/// Lists all sites with what is known of their CEs.
#[utoipa::path(
    get, path = "/v1/sites", tag = "sites", operation_id = "list_sites",
    responses((status = OK, body = Vec<SiteView>), Failures),
)]
pub(super) async fn list(
    State(app): State<App>,
    Authenticated(who): Authenticated,
) -> Result<Json<Vec<SiteView>>, Failure> {
    let sites = app
        .engine
        .look(move |state, now| view::sites(state, &who, now))
        .await?;
    Ok(Json(sites))
}
