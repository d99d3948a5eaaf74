//! `POST /v1/pilot/goodbye`: a pilot ends.

use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::pilot::GoodbyeRequest;
use fairway_sched::Command;

use crate::auth::PilotSession;
use crate::http::extract::Json;
use crate::http::{App, Failure, Failures};

const REASON_CHARS_MAX: usize = 500;

/// Ends a pilot's session; tasks that it still has are queued again.
#[utoipa::path(
    post, path = "/v1/pilot/goodbye", tag = "pilot protocol", operation_id = "pilot_goodbye",
    request_body = GoodbyeRequest,
    responses((status = NO_CONTENT, description = "It is over"), Failures),
)]
pub(super) async fn goodbye(
    State(app): State<App>,
    PilotSession(pilot): PilotSession,
    Json(request): Json<GoodbyeRequest>,
) -> Result<StatusCode, Failure> {
    let reason = request.reason.chars().take(REASON_CHARS_MAX).collect();
    let said = app.engine.ask(Command::Goodbye { pilot, reason }).await;
    app.auth.forget_pilot(pilot);
    said?;
    Ok(StatusCode::NO_CONTENT)
}
