//! `POST /v1/pilot/register`: the one-time secret is exchanged for a session token.

use axum::Json as Answer;
use axum::extract::State;
use fairway_api::pilot::{RegisterReply, RegisterRequest};
use fairway_sched::Command;

use crate::auth::{new_session, sha256_hex};
use crate::http::extract::Json;
use crate::http::{App, Failure, Failures};

const NONCE_BYTES_MAX: usize = 256;
const HOST_BYTES_MAX: usize = 256;

/// Exchanges a pilot's one-time secret for a session token.
#[utoipa::path(
    post, path = "/v1/pilot/register", tag = "pilot protocol", operation_id = "pilot_register",
    security(()),
    request_body = RegisterRequest,
    responses((status = OK, body = RegisterReply), Failures),
)]
pub(super) async fn register(
    State(app): State<App>,
    Json(request): Json<RegisterRequest>,
) -> Result<Answer<RegisterReply>, Failure> {
    let RegisterRequest {
        pilot,
        secret,
        nonce,
        host,
        resources,
        remaining_s,
        version,
    } = request;
    if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX {
        return Err(Failure::bad_request(format!(
            "the nonce must have 1 to {NONCE_BYTES_MAX} bytes"
        )));
    }
    if host.len() > HOST_BYTES_MAX || host.contains(char::is_control) {
        return Err(Failure::bad_request("the host's name is not one"));
    }
    if resources.cores == 0 {
        return Err(Failure::bad_request("a pilot without a core is of no use"));
    }
    let token = new_session(pilot);
    let command = Command::RegisterPilot {
        pilot,
        bootstrap_hash: sha256_hex(&secret),
        nonce_hash: sha256_hex(&nonce),
        session_hash: sha256_hex(&token),
        host: host.clone(),
        resources,
        remaining_s,
    };
    app.engine.ask(command).await?;
    // A repeated call ends the session that the first one began.
    app.auth.forget_pilot(pilot);
    tracing::info!(%pilot, host, version, "a pilot called home");
    Ok(Answer(RegisterReply {
        token,
        heartbeat_s: app.limits.heartbeat_s,
        poll_s: app.limits.poll.as_secs(),
    }))
}
