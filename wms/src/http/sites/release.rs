//! `POST /v1/sites/{site}/release`

use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::public::NodeRelease;
use fairway_model::{CeId, SiteName};
use fairway_sched::Command;

use super::admins_only;
use crate::auth::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::{App, Failure, Failures};

/// Gives a node tasks again that was set aside because work failed there at once.
#[utoipa::path(
    post, path = "/v1/sites/{site}/release", tag = "sites", operation_id = "release_node",
    params(("site" = SiteName, Path, description = "Which site")),
    request_body = NodeRelease,
    responses((status = NO_CONTENT, description = "It gets tasks again"), Failures),
)]
pub(super) async fn release(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(site): Path<SiteName>,
    Json(NodeRelease { ce, host }): Json<NodeRelease>,
) -> Result<StatusCode, Failure> {
    admins_only(&who, &site)?;
    let ce = CeId { site, ce };
    let by = who.name;
    app.engine
        .ask(Command::ReleaseNode { ce, host, by })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
