//! The database.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite:///path/to/file` or `postgres://user:password@host/database`; a SQLite file in
    /// the state folder if not set. A URL with a password belongs in the environment.
    pub url: Option<String>,
    /// Commands that share one transaction at most.
    pub batch_max: usize,
    /// Commands that may wait for a transaction; more get 503.
    pub inbox_max: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: None,
            batch_max: 512,
            inbox_max: 10_000,
        }
    }
}

impl StoreConfig {
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        if let Some(url) = &self.url
            && !["sqlite:", "postgres:", "postgresql:"]
                .iter()
                .any(|it| url.starts_with(it))
        {
            // The URL itself may hold a password and is not repeated.
            wrong.push("store.url must begin with sqlite: or postgres:".into());
        }
        if self.batch_max == 0 || self.inbox_max == 0 {
            wrong.push("store.batch_max and store.inbox_max must be at least 1".into());
        }
    }
}
