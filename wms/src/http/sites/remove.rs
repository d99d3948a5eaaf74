//! `DELETE /v1/sites/{site}`

use axum::extract::State;
use axum::http::StatusCode;
use fairway_model::SiteName;
use fairway_sched::Command;

use super::admins_only;
use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures};

/// Removes a site: its pilots that have not called home are over, the others drain.
#[utoipa::path(
    delete, path = "/v1/sites/{site}", tag = "sites", operation_id = "remove_site",
    params(("site" = SiteName, Path, description = "Which site")),
    responses((status = NO_CONTENT, description = "It is removed"), Failures),
)]
pub(super) async fn remove(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(site): Path<SiteName>,
) -> Result<StatusCode, Failure> {
    admins_only(&who, &site)?;
    app.engine
        .ask(Command::RemoveSite { site, by: who.name })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
