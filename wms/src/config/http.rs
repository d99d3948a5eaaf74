//! Where the server listens, and how.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the server listens, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    #[schema(value_type = String)]
    pub listen: SocketAddr,
    /// Base URL by which pilots reach the server, e.g. `https://wms.example.org:8470`; the
    /// listening address if not set.
    pub public_url: Option<String>,
    /// Certificate and key. Without them the server listens on loopback only.
    pub tls: Option<TlsConfig>,
    /// Requests in flight at most; more get 503. Long polls of pilots count.
    pub concurrent_max: usize,
    /// Longest that a pilot's wish for work is held open, in seconds.
    pub poll_s: u64,
}

/// Certificate and key, in PEM. Both are read again when they change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// File of the certificate chain.
    #[schema(value_type = String)]
    pub cert: PathBuf,
    /// File of the private key.
    #[schema(value_type = String)]
    pub key: PathBuf,
    /// File of the certificate authority that pilots are to trust; the worker node's own
    /// store if not set.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub ca: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8470)),
            public_url: None,
            tls: None,
            concurrent_max: 10_000,
            poll_s: 25,
        }
    }
}

impl HttpConfig {
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            wrong.push(format!(
                "http.listen: {} is not on loopback: tokens would cross the network in clear. \
                 Set http.tls.cert and http.tls.key, or listen on 127.0.0.1",
                self.listen
            ));
        }
        if self.concurrent_max == 0 {
            wrong.push("http.concurrent_max must be at least 1".into());
        }
        if !(1..=300).contains(&self.poll_s) {
            wrong.push(format!("http.poll_s must be 1 to 300, not {}", self.poll_s));
        }
        if let Some(url) = &self.public_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            wrong.push(format!(
                "http.public_url: `{url}` must begin with https:// or http://"
            ));
        }
    }
}
