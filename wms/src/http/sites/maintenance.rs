//! `PUT /v1/sites/{site}/maintenance`

use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::public::MaintenancePlan;
use fairway_model::SiteName;
use fairway_sched::Command;

use super::{admins_only, registered, sound};
use crate::auth::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::{App, Failure, Failures};

/// Says when a site is not to be used. Pilots that would still run then are not asked for.
#[utoipa::path(
    put, path = "/v1/sites/{site}/maintenance", tag = "sites", operation_id = "plan_maintenance",
    params(("site" = SiteName, Path, description = "Which site")),
    request_body = MaintenancePlan,
    responses((status = NO_CONTENT, description = "This is the plan now"), Failures),
)]
pub(super) async fn maintenance(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(name): Path<SiteName>,
    Json(MaintenancePlan { maintenance }): Json<MaintenancePlan>,
) -> Result<StatusCode, Failure> {
    admins_only(&who, &name)?;
    let mut site = registered(&app, &name).await?;
    site.maintenance.clone_from(&maintenance);
    sound(&site)?;
    app.engine
        .ask(Command::PlanMaintenance {
            site: name,
            maintenance,
            by: who.name,
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
