//! `/v1/tokens`: who may speak to the server. For operators.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::public::{TokenCreated, TokenRequest, TokenView};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path};
use super::{App, Failure, Failures, operators_only};
use crate::auth::{self, Authenticated};
use crate::engine::wall_clock;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// Lists all tokens, newest first, without their secrets.
#[utoipa::path(
    get, path = "/v1/tokens", tag = "tokens", operation_id = "list_tokens",
    responses((status = OK, body = Vec<TokenView>), Failures),
)]
async fn list(
    State(app): State<App>,
    Authenticated(who): Authenticated,
) -> Result<Answer<Vec<TokenView>>, Failure> {
    operators_only(&who, "see tokens")?;
    Ok(Answer(
        app.store
            .tokens()
            .await?
            .into_iter()
            .map(auth::view)
            .collect(),
    ))
}

/// Creates a token. The answer is the only place where it is ever shown.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", operation_id = "create_token",
    request_body = TokenRequest,
    responses((status = CREATED, body = TokenCreated), Failures),
)]
async fn create(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, Answer<TokenCreated>), Failure> {
    operators_only(&who, "create tokens")?;
    let created = auth::create_token(&app.store, request, wall_clock()).await?;
    Ok((StatusCode::CREATED, Answer(created)))
}

/// Revokes a token.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    params(("id" = String, Path, description = "The token's public part")),
    responses((status = NO_CONTENT, description = "It is revoked"), Failures),
)]
async fn revoke(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    operators_only(&who, "revoke tokens")?;
    let known = app.store.revoke_token(&id, wall_clock()).await?;
    app.auth.forget_token(&id);
    if known {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::not_found("token with this id"))
    }
}
