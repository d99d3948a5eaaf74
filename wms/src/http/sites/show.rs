//! `GET /v1/sites/{site}`

use axum::Json;
use axum::extract::State;
use fairway_api::public::SiteView;
use fairway_model::{AdapterSettings, SiteName};

use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures, view};

/// Shows one site with what is known of its CEs.
#[utoipa::path(
    get, path = "/v1/sites/{site}", tag = "sites", operation_id = "show_site",
    params(("site" = SiteName, Path, description = "Which site")),
    responses((status = OK, body = SiteView), Failures),
)]
pub(super) async fn show(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(name): Path<SiteName>,
) -> Result<Json<SiteView>, Failure> {
    let site = name.clone();
    let its_admin = who.administers(&name);
    let found = app
        .engine
        .look(move |state, _| state.site(&site).map(|site| view::site(state, site, &who)))
        .await?;
    let mut found = found.ok_or_else(|| Failure::not_found(format_args!("site {name}")))?;
    if its_admin && matches!(found.site.adapter, AdapterSettings::Agent(_)) {
        found.agent = app.agents.view(&name);
    }
    Ok(Json(found))
}
