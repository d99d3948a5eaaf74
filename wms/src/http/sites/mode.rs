//! `POST /v1/sites/{site}/mode`

use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::public::ModeChange;
use fairway_model::SiteName;
use fairway_sched::Command;

use super::admins_only;
use crate::auth::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::{App, Failure, Failures};

/// Opens, drains or closes a site or one of its CEs.
#[utoipa::path(
    post, path = "/v1/sites/{site}/mode", tag = "sites", operation_id = "set_site_mode",
    params(("site" = SiteName, Path, description = "Which site")),
    request_body = ModeChange,
    responses((status = NO_CONTENT, description = "It is in this mode now"), Failures),
)]
pub(super) async fn mode(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(site): Path<SiteName>,
    Json(ModeChange { mode, ce }): Json<ModeChange>,
) -> Result<StatusCode, Failure> {
    admins_only(&who, &site)?;
    app.engine
        .ask(Command::SetMode {
            site,
            ce,
            mode,
            by: who.name,
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
