//! Calls of `slurmrestd`: the token read for each, a time limit, a bounded answer. Where they
//! go is the [`Transport`]'s business, so that recordings can stand in.

use std::time::Duration;

use async_trait::async_trait;
use fairway_model::{RestSettings, SecretRef, SiteName};
use reqwest::header::HeaderValue;
use serde_json::Value;
use tracing::warn;

use crate::{AdapterError, secret};

/// Longest time to find somebody at the address.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time for one call. Without a controller slurmrestd tries for about Slurm's
/// `MessageTimeout`, as the commands do.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest answer that is read, in bytes: Slurm 22.05 takes 4.5 kB to tell of a job.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

/// A call.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Begins with `/`.
    pub(super) path: String,
    /// May hold a secret.
    pub(super) body: Option<Value>,
}

impl std::fmt::Debug for Call {
    /// Without the body.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.method, self.path)
    }
}

impl Call {
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::Get,
            path,
            body: None,
        }
    }
}

/// What came back, whatever its status.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What brings calls to slurmrestd.
#[async_trait]
pub(super) trait Transport: Send + Sync {
    /// # Errors
    /// `Unreachable` if there is no answer.
    async fn call(&self, call: &Call) -> Result<Answer, AdapterError>;
}

/// The real thing.
pub(super) struct Http {
    http: reqwest::Client,
    base: String,
    user: HeaderValue,
    secret: SecretRef,
}

impl Http {
    /// # Errors
    /// `Refused` if the settings cannot be used.
    pub(super) fn new(
        site: &SiteName,
        settings: &RestSettings,
        user: &str,
    ) -> Result<Self, AdapterError> {
        let unusable = |what: &str, why: &dyn std::fmt::Display| {
            AdapterError::Refused(format!("{what} of site {site} cannot be used: {why}"))
        };
        let url = reqwest::Url::parse(&settings.url).map_err(|it| unusable("rest.url", &it))?;
        let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match url.scheme() {
            "https" => {}
            // Older slurmrestd cannot do otherwise, and many are behind a network of their own.
            "http" if !is_loopback => {
                warn!(%site, url = %settings.url, "the token crosses the network in clear");
            }
            "http" => {}
            other => return Err(unusable("rest.url", &format!("{other}: is not http"))),
        }
        let secret = settings
            .secret
            .clone()
            .ok_or_else(|| unusable("rest", &"it needs a secret, Slurm's JWT"))?;
        // Whoever embeds this may have chosen a provider already; theirs stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("fairway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(CALL_TIME_MAX)
            // The token is for this server only.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback {
            http = http.no_proxy();
        }
        if let Some(path) = &settings.ca {
            let pem = std::fs::read(path).map_err(|it| unusable("rest.ca", &it))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|it| unusable("rest.ca", &it))?;
            http = http.tls_certs_only(certificates);
        } else if url.scheme() == "http" {
            // Nothing to verify: do not load the machine's certificates.
            http = http.tls_certs_only([]);
        }
        Ok(Self {
            http: http.build().map_err(|it| unusable("rest", &it))?,
            base: settings.url.trim_end_matches('/').to_owned(),
            user: HeaderValue::from_str(user).map_err(|it| unusable("rest.user", &it))?,
            secret,
        })
    }
}

#[async_trait]
impl Transport for Http {
    async fn call(&self, call: &Call) -> Result<Answer, AdapterError> {
        let mut token = HeaderValue::from_str(&secret::read(&self.secret)?).map_err(|_| {
            AdapterError::Unreachable("the token is no text for a header".to_owned())
        })?;
        token.set_sensitive(true);
        let url = format!("{}{}", self.base, call.path);
        let request = match call.method {
            Method::Get => self.http.get(url),
            Method::Post => self.http.post(url),
            Method::Delete => self.http.delete(url),
        };
        let mut request = request
            .header("X-SLURM-USER-NAME", self.user.clone())
            .header("X-SLURM-USER-TOKEN", token);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let away = |error: reqwest::Error| AdapterError::Unreachable(with_causes(&error));
        let mut reply = request.send().await.map_err(away)?;
        let status = reply.status().as_u16();
        let mut body = Vec::new();
        while let Some(part) = reply.chunk().await.map_err(away)? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(AdapterError::Unexpected(format!(
                    "slurmrestd answered more than {} MiB",
                    ANSWER_BYTES_MAX >> 20
                )));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, body })
    }
}

/// An error with what it came from: alone it only says which URL failed.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
