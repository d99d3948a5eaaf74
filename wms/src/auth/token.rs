//! The form of tokens, and how new ones are made.

use std::time::Duration;

use fairway_api::public::{TokenCreated, TokenRequest, TokenView};
use fairway_model::{PilotId, Principal, Role, Timestamp};

use super::secret::{new_key, new_secret, sha256_hex};
use crate::store::{Store, StoreError, StoredToken};

/// How a user token begins.
pub(super) const USER_PREFIX: &str = "fwu_";
/// How a pilot's session token begins.
pub(super) const SESSION_PREFIX: &str = "fwp_";

const VALID_DEFAULT: Duration = Duration::from_secs(90 * 86_400);
const VALID_MAX: Duration = Duration::from_secs(5 * 366 * 86_400);

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// What was asked for makes no sense; the text is for the one who asked.
    #[error("{0}")]
    Invalid(String),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a user token and adds it to the store. The reply is the only place where it is shown.
///
/// # Errors
/// See [`TokenError`].
pub async fn create_token(
    store: &Store,
    request: TokenRequest,
    now: Timestamp,
) -> Result<TokenCreated, TokenError> {
    check(&request)?;
    let id = new_key();
    let token = format!("{USER_PREFIX}{id}_{}", new_secret());
    let valid = request.valid_s.map_or(VALID_DEFAULT, Duration::from_secs);
    let stored = StoredToken {
        id,
        hash: sha256_hex(&token),
        principal: Principal {
            name: request.name,
            group: request.group,
            role: request.role,
            sites: request.sites,
        },
        created_at: now,
        expires_at: now.plus(valid),
        revoked_at: None,
    };
    store.add_token(&stored).await?;
    Ok(TokenCreated {
        token,
        view: view(stored),
    })
}

fn check(request: &TokenRequest) -> Result<(), TokenError> {
    let invalid = |text: String| Err(TokenError::Invalid(text));
    if let Some(valid_s) = request.valid_s
        && !(1..=VALID_MAX.as_secs()).contains(&valid_s)
    {
        return invalid(format!(
            "valid_s must be 1 to {} (five years), not {valid_s}",
            VALID_MAX.as_secs()
        ));
    }
    match (request.role, request.sites.is_empty()) {
        (Role::SiteAdmin, true) => {
            invalid("a site admin's token must name at least one site".into())
        }
        (Role::User | Role::Operator, false) => invalid(format!(
            "`sites` is for site admins; the role here is {}",
            request.role.name()
        )),
        _ => Ok(()),
    }
}

/// What may be shown of a token.
pub(crate) fn view(token: StoredToken) -> TokenView {
    let StoredToken {
        id,
        hash: _,
        principal,
        created_at,
        expires_at,
        revoked_at,
    } = token;
    let Principal {
        name,
        group,
        role,
        sites,
    } = principal;
    TokenView {
        id,
        name,
        group,
        role,
        sites,
        created_at,
        expires_at,
        revoked_at,
    }
}

/// A new session token for `pilot`.
pub(crate) fn new_session(pilot: PilotId) -> String {
    format!("{SESSION_PREFIX}{}_{}", pilot.0, new_secret())
}

/// The id in a user token.
pub(super) fn user_token_id(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(USER_PREFIX)?.split_once('_')?;
    let well_formed = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    (well_formed(id) && well_formed(secret)).then_some(id)
}

/// The pilot that a session token is of.
pub(super) fn session_pilot(token: &str) -> Option<PilotId> {
    let (number, _) = token.strip_prefix(SESSION_PREFIX)?.split_once('_')?;
    format!("p{number}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_holder() {
        assert_eq!(user_token_id("fwu_ab12_cd34"), Some("ab12"));
        for text in [
            "",
            "fwu_",
            "fwu_ab",
            "fwu__x",
            "fwu_ab_",
            "fwp_1_x",
            "fwu_a b_x",
            "fwu_ab_x_y",
        ] {
            assert_eq!(user_token_id(text), None, "{text}");
        }
        let session = new_session(PilotId(7));
        assert_eq!(session_pilot(&session), Some(PilotId(7)));
        assert_eq!(session_pilot("fwp_-1_x"), None);
    }
}
