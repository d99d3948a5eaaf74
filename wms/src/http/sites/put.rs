//! `POST /v1/sites` and `PUT /v1/sites/{site}`

use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::ProblemCode;
use fairway_model::{Site, SiteName};
use fairway_sched::Command;

use super::{admins_only, present, sound, within_rights};
use crate::auth::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::{App, Failure, Failures};

/// Registers a site.
#[utoipa::path(
    post, path = "/v1/sites", tag = "sites", operation_id = "add_site",
    request_body = Site,
    responses((status = CREATED, description = "It is registered"), Failures),
)]
pub(super) async fn add(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(site): Json<Site>,
) -> Result<StatusCode, Failure> {
    admins_only(&who, &site.name)?;
    sound(&site)?;
    let present = present(&app, &site.name).await?;
    within_rights(&app, &who, &site, present.as_ref())?;
    if present.is_some() {
        return Err(Failure::new(
            ProblemCode::Conflict,
            format!("there is a site {} already; change it with PUT", site.name),
        ));
    }
    app.engine
        .ask(Command::PutSite {
            site: Box::new(site),
            by: who.name,
        })
        .await?;
    Ok(StatusCode::CREATED)
}

/// Registers a site or replaces its description.
#[utoipa::path(
    put, path = "/v1/sites/{site}", tag = "sites", operation_id = "put_site",
    params(("site" = SiteName, Path, description = "Which site")),
    request_body = Site,
    responses((status = NO_CONTENT, description = "This is its description now"), Failures),
)]
pub(super) async fn put(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(name): Path<SiteName>,
    Json(site): Json<Site>,
) -> Result<StatusCode, Failure> {
    if site.name != name {
        return Err(Failure::new(
            ProblemCode::InvalidSite,
            format!(
                "the path is that of {name}, the description that of {}; a site keeps its name",
                site.name
            ),
        ));
    }
    admins_only(&who, &name)?;
    sound(&site)?;
    let present = present(&app, &name).await?;
    within_rights(&app, &who, &site, present.as_ref())?;
    app.engine
        .ask(Command::PutSite {
            site: Box::new(site),
            by: who.name,
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
