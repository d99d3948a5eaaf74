//! `/v1/policy`: who is served next.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::ProblemCode;
use fairway_model::Policy;
use fairway_sched::Command;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::{App, Failure, Failures, operators_only};
use crate::auth::Authenticated;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, set))
}

/// Shows the policy in force.
#[utoipa::path(
    get, path = "/v1/policy", tag = "policy", operation_id = "show_policy",
    responses((status = OK, body = Policy), Failures),
)]
async fn show(State(app): State<App>, _who: Authenticated) -> Result<Answer<Policy>, Failure> {
    Ok(Answer(
        app.engine.look(|state, _| state.policy().clone()).await?,
    ))
}

/// Puts another policy in force, from the next decision on.
#[utoipa::path(
    put, path = "/v1/policy", tag = "policy", operation_id = "set_policy",
    request_body = Policy,
    responses((status = NO_CONTENT, description = "It is in force"), Failures),
)]
async fn set(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(policy): Json<Policy>,
) -> Result<StatusCode, Failure> {
    operators_only(&who, "change the policy")?;
    policy
        .check()
        .map_err(|wrong| Failure::new(ProblemCode::InvalidPolicy, wrong.join("\n")))?;
    app.engine
        .ask(Command::SetPolicy {
            policy,
            by: who.name,
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
