//! Who speaks, as arguments of handlers.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use fairway_model::{PilotId, Principal};

use super::AuthError;
use crate::engine::wall_clock;
use crate::http::{App, Failure};

/// The person or program behind the request's user token.
#[derive(Clone, Debug)]
pub struct Authenticated(pub Principal);

/// The pilot behind the request's session token.
#[derive(Clone, Copy, Debug)]
pub struct PilotSession(pub PilotId);

impl FromRequestParts<App> for Authenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Ok(Self(app.auth.user(bearer(parts)?, wall_clock()).await?))
    }
}

impl FromRequestParts<App> for PilotSession {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Ok(Self(app.auth.pilot(bearer(parts)?).await?))
    }
}

fn bearer(parts: &Parts) -> Result<&str, AuthError> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(AuthError::Missing)?;
    // The scheme's name ignores case (RFC 9110, 11.1).
    let token = header.to_str().ok().and_then(|text| text.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(AuthError::Malformed("fw")),
    }
}
