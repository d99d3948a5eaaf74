//! `GET /v1/sites/{site}/glue2`

mod render;

use axum::Json;
use axum::extract::State;
use fairway_model::SiteName;

use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures, view};

/// Shows what a site publishes in the terms of GLUE 2 (GFD.147): its ComputingService, with
/// endpoint, shares, manager and execution environments.
#[utoipa::path(
    get, path = "/v1/sites/{site}/glue2", tag = "sites", operation_id = "site_glue2",
    params(("site" = SiteName, Path, description = "Which site")),
    responses((status = OK, body = Object), Failures),
)]
pub(super) async fn glue2(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(name): Path<SiteName>,
) -> Result<Json<serde_json::Value>, Failure> {
    let site = name.clone();
    let found = app
        .engine
        .look(move |state, now| {
            let site = state.site(&site)?;
            Some((view::site(state, site, &who, now), now))
        })
        .await?;
    let (view, now) = found.ok_or_else(|| Failure::not_found(format_args!("site {name}")))?;
    let url = app.desk.checks.server_url();
    Ok(Json(render::document(&view, url, now)))
}
