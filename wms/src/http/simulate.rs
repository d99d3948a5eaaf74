//! `/v1/simulate`: what would become of the queue.

use axum::Json as Answer;
use axum::extract::State;
use fairway_api::ProblemCode;
use fairway_api::public::{SimulateReply, SimulateRequest};
use fairway_model::Policy;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::{App, Failure, Failures, operators_only};
use crate::auth::Authenticated;
use crate::foresight::Unforeseen;

/// Policies beside that in force.
const POLICIES_MAX: usize = 8;
const HORIZON_MAX_S: u64 = 30 * 86_400;
const DAY_S: u64 = 86_400;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(simulate))
}

/// Lets the present queue play out under the policy in force, and under each one given. Nothing
/// is changed by it.
#[utoipa::path(
    post, path = "/v1/simulate", tag = "policy", operation_id = "simulate",
    request_body = SimulateRequest,
    responses((status = OK, body = SimulateReply), Failures),
)]
async fn simulate(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(request): Json<SimulateRequest>,
) -> Result<Answer<SimulateReply>, Failure> {
    operators_only(&who, "simulate the queue, which shows everybody's work")?;
    let horizon_s = request.horizon_s.unwrap_or(DAY_S);
    let seed = request.seed.unwrap_or(1);
    check(&request, horizon_s)?;
    let policies = request.policies.into_iter();
    let policies: Vec<(String, Policy)> = policies.map(|it| (it.name, it.policy)).collect();
    let (from, tasks, outcomes) = app
        .foresight
        .simulate(&app.engine, &app.store, policies, (horizon_s, seed))
        .await
        .map_err(failure)?;
    let outcomes: Result<Vec<_>, _> = outcomes.iter().map(serde_json::to_value).collect();
    Ok(Answer(SimulateReply {
        from,
        tasks,
        seed,
        outcomes: outcomes.map_err(Failure::internal)?,
    }))
}

fn check(request: &SimulateRequest, horizon_s: u64) -> Result<(), Failure> {
    if request.policies.len() > POLICIES_MAX {
        return Err(Failure::bad_request(format!(
            "{} policies are too many: at most {POLICIES_MAX}",
            request.policies.len()
        )));
    }
    if !(1..=HORIZON_MAX_S).contains(&horizon_s) {
        return Err(Failure::bad_request(format!(
            "horizon_s is {horizon_s}: from 1 to {HORIZON_MAX_S} s"
        )));
    }
    for named in &request.policies {
        named.policy.check().map_err(|wrong| {
            let wrong = format!("{}: {}", named.name, wrong.join("\n"));
            Failure::new(ProblemCode::InvalidPolicy, wrong)
        })?;
    }
    Ok(())
}

fn failure(unforeseen: Unforeseen) -> Failure {
    match unforeseen {
        Unforeseen::Busy => Failure::new(ProblemCode::Overloaded, unforeseen.to_string()),
        Unforeseen::TooMuch(why) => Failure::new(ProblemCode::TooLarge, why),
        Unforeseen::Policy(error) => Failure::new(ProblemCode::InvalidPolicy, error.to_string()),
        Unforeseen::Engine(error) => error.into(),
        Unforeseen::Store(error) => error.into(),
        Unforeseen::Failed(why) => Failure::internal(why),
    }
}
