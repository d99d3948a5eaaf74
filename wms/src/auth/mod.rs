//! Tokens, and who may do what.
//!
//! Two kinds of bearer tokens exist. People and their programs hold
//! `fwu_<id>_<secret>`, kept by the store as a hash and looked up by the id. A
//! pilot holds `fwp_<number>_<secret>` for as long as it lives; its hash is part
//! of the engine's state. A secret is 32 random bytes; hashes are compared in
//! constant time; no text made here contains a secret.
//!
//! What a [`Principal`] may do is told by its own methods; the handlers ask them.

mod extract;
mod secret;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fairway_model::{PilotId, Principal, Timestamp};

use crate::engine::{Engine, EngineError};
use crate::store::{Store, StoreError, StoredToken};

pub use extract::{Authenticated, PilotSession};
pub(crate) use secret::{hex, new_key};
pub use secret::{new_secret, same_hash, sha256_hex};
pub use token::{TokenError, create_token};
pub(crate) use token::{new_session, view};

/// How long a token read from the store is believed: a revocation through another
/// program takes effect within this time, one through this server at once.
const TOKEN_FRESH: Duration = Duration::from_secs(5);

/// Most tokens, and most pilot sessions, kept in memory.
const CACHED_MAX: usize = 20_000;

/// Why someone was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No token came with the request.
    #[error("this needs a token: send it in the header `Authorization: Bearer fwu_…`")]
    Missing,
    /// What came is not a token.
    #[error(
        "the Authorization header holds no token that is understood here: `Bearer {0}…` is expected"
    )]
    Malformed(&'static str),
    /// There is no such token, or its secret is wrong.
    #[error("this token is unknown here: it was mistyped, or belongs to another server")]
    Unknown,
    /// It has expired.
    #[error("this token expired on {0}: ask an operator for a new one")]
    Expired(Timestamp),
    /// It was revoked.
    #[error("this token was revoked on {0}: ask an operator for a new one")]
    Revoked(Timestamp),
    /// The pilot is over, or never was.
    #[error("pilot {0} is over or unknown: stop the payloads and end")]
    PilotEnded(PilotId),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine could not be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The door: knows who holds which token. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    store: Store,
    engine: Engine,
    tokens: Mutex<HashMap<String, (Instant, StoredToken)>>,
    /// Hashes of the session tokens of pilots that were heard of.
    sessions: Mutex<HashMap<PilotId, String>>,
}

impl Auth {
    /// A door to this store and this engine.
    pub fn new(store: Store, engine: Engine) -> Self {
        Self(Arc::new(Inner {
            store,
            engine,
            tokens: Mutex::default(),
            sessions: Mutex::default(),
        }))
    }

    /// Who holds this user token at `now`.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn user(&self, token: &str, now: Timestamp) -> Result<Principal, AuthError> {
        let id = token::user_token_id(token).ok_or(AuthError::Malformed(token::USER_PREFIX))?;
        let kept = self.stored_token(id).await?.ok_or(AuthError::Unknown)?;
        if !same_hash(&sha256_hex(token), &kept.hash) {
            return Err(AuthError::Unknown);
        }
        if let Some(revoked_at) = kept.revoked_at {
            return Err(AuthError::Revoked(revoked_at));
        }
        if kept.expires_at <= now {
            return Err(AuthError::Expired(kept.expires_at));
        }
        Ok(kept.principal)
    }

    async fn stored_token(&self, id: &str) -> Result<Option<StoredToken>, StoreError> {
        if let Some((read_at, token)) = lock(&self.0.tokens).get(id)
            && read_at.elapsed() < TOKEN_FRESH
        {
            return Ok(Some(token.clone()));
        }
        let found = self.0.store.token(id).await?;
        let mut tokens = lock(&self.0.tokens);
        if tokens.len() >= CACHED_MAX {
            tokens.clear();
        }
        // Unknown ids are not kept: anyone could fill the memory with them.
        match &found {
            Some(token) => tokens.insert(id.to_owned(), (Instant::now(), token.clone())),
            None => tokens.remove(id),
        };
        Ok(found)
    }

    /// Forgets what is known of a user token: it was revoked.
    pub fn forget_token(&self, id: &str) {
        lock(&self.0.tokens).remove(id);
    }

    /// Which pilot holds this session token.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn pilot(&self, token: &str) -> Result<PilotId, AuthError> {
        let pilot =
            token::session_pilot(token).ok_or(AuthError::Malformed(token::SESSION_PREFIX))?;
        let hash = sha256_hex(token);
        let known = lock(&self.0.sessions).get(&pilot).cloned();
        if known.is_some_and(|known| same_hash(&known, &hash)) {
            return Ok(pilot);
        }
        let known = self
            .0
            .engine
            .look(move |state, _| state.pilot(pilot).map(|it| it.pilot.session_hash))
            .await?
            .ok_or(AuthError::PilotEnded(pilot))?
            .ok_or(AuthError::Unknown)?;
        if !same_hash(&known, &hash) {
            return Err(AuthError::Unknown);
        }
        let mut sessions = lock(&self.0.sessions);
        if sessions.len() >= CACHED_MAX {
            sessions.clear();
        }
        sessions.insert(pilot, hash);
        Ok(pilot)
    }

    /// Forgets the session of a pilot: it is over, or has registered again.
    pub fn forget_pilot(&self, pilot: PilotId) {
        lock(&self.0.sessions).remove(&pilot);
    }
}

/// The guard of a cache, which is sound even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
