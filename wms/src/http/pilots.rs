//! `/v1/pilots`: the agents in the batch systems. For operators, and for site
//! admins as far as their sites go.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::ProblemCode;
use fairway_api::public::{Page, PilotView, PilotsQuery};
use fairway_model::{PilotEnd, PilotId, Principal, Role};
use fairway_sched::Command;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Path, Query};
use super::{App, Failure, Failures};
use crate::auth::Authenticated;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(drain))
        .routes(routes!(kill))
}

/// Lists pilots, newest first.
#[utoipa::path(
    get, path = "/v1/pilots", tag = "pilots", operation_id = "list_pilots",
    params(PilotsQuery),
    responses((status = OK, body = Page<PilotView>), Failures),
)]
async fn list(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Query(mut query): Query<PilotsQuery>,
) -> Result<Json<Page<PilotView>>, Failure> {
    let site = match (&query.site, who.sites.as_slice()) {
        (None, _) if who.is_operator() => None,
        (None, [only]) if who.role == Role::SiteAdmin => Some(only.clone()),
        (None, _) if who.role == Role::SiteAdmin => {
            return Err(Failure::bad_request(
                "say which of your sites, e.g. `?site=lyon`",
            ));
        }
        (Some(site), _) if who.administers(site) => Some(site.clone()),
        _ => return Err(not_theirs(&who)),
    };
    query.site = site;
    Ok(Json(app.store.pilots(&query).await?))
}

/// Shows one pilot.
#[utoipa::path(
    get, path = "/v1/pilots/{pilot}", tag = "pilots", operation_id = "show_pilot",
    params(("pilot" = PilotId, Path, description = "Which pilot")),
    responses((status = OK, body = PilotView), Failures),
)]
async fn show(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(pilot): Path<PilotId>,
) -> Result<Json<PilotView>, Failure> {
    Ok(Json(theirs(&app, &who, pilot).await?))
}

/// Has a pilot finish what it has, take no more, and end.
#[utoipa::path(
    post, path = "/v1/pilots/{pilot}/drain", tag = "pilots", operation_id = "drain_pilot",
    params(("pilot" = PilotId, Path, description = "Which pilot")),
    responses((status = NO_CONTENT, description = "It drains"), Failures),
)]
async fn drain(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(pilot): Path<PilotId>,
) -> Result<StatusCode, Failure> {
    theirs(&app, &who, pilot).await?;
    app.engine.ask(Command::DrainPilot { pilot }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a pilot at once; its tasks are queued again.
#[utoipa::path(
    post, path = "/v1/pilots/{pilot}/kill", tag = "pilots", operation_id = "kill_pilot",
    params(("pilot" = PilotId, Path, description = "Which pilot")),
    responses((status = NO_CONTENT, description = "It is over"), Failures),
)]
async fn kill(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(pilot): Path<PilotId>,
) -> Result<StatusCode, Failure> {
    theirs(&app, &who, pilot).await?;
    let end = PilotEnd::Cancelled {
        reason: format!("killed by {}", who.name),
    };
    app.engine.ask(Command::EndPilot { pilot, end }).await?;
    app.auth.forget_pilot(pilot);
    Ok(StatusCode::NO_CONTENT)
}

/// The pilot, if `who` is responsible for it.
async fn theirs(app: &App, who: &Principal, pilot: PilotId) -> Result<PilotView, Failure> {
    if who.role == Role::User {
        return Err(not_theirs(who));
    }
    app.store
        .pilot_view(pilot)
        .await?
        .filter(|view| who.administers(&view.ce.site))
        .ok_or_else(|| Failure::not_found(format_args!("pilot {pilot}")))
}

fn not_theirs(who: &Principal) -> Failure {
    let role = who.role.name();
    Failure::new(
        ProblemCode::Forbidden,
        format!(
            "pilots are for operators and the admins of their site; this token's role is {role}"
        ),
    )
}
