//! A typed client of the public protocol.
//!
//! A [`Client`] is made from [`ClientSettings`] and has one method for each path
//! and verb; they are grouped by noun into the files of this folder. What a
//! method returns is what the server said, or a [`ClientError`].
//!
//! What failed before it reached the server is repeated a few times. What may
//! have reached the server, or what the server gave up (`503`), is repeated only
//! if that is harmless: reads, changes that ask for a state, and submissions,
//! which carry an `Idempotency-Key`.

mod agent;
mod download;
mod error;
mod jobs;
mod operations;
mod policy;
mod sites;
mod sse;
mod submit;
mod tasks;
mod transport;

#[cfg(test)]
mod tests;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Url};

pub use download::Download;
pub use error::ClientError;
pub use policy::Versioned;
pub use sse::{Check, Follow, LogEvent};
pub use submit::{InputFile, Submission};
pub use tasks::LogStream;

/// Where the server is, and who speaks to it.
#[derive(Clone, Default)]
pub struct ClientSettings {
    /// Base URL, e.g. `https://wms.example.org:8470`.
    pub server: String,
    /// The bearer token; only health and the API's description can be read without one.
    pub token: Option<String>,
    /// Certificates to trust instead of the machine's, in PEM.
    pub ca_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for ClientSettings {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSettings")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// A client of one server, with one token. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Ends in `/v1/`; paths are joined to it.
    base: Url,
    /// As the user wrote it, for messages.
    server: String,
}

impl Client {
    /// A client; does not speak to the server yet.
    ///
    /// # Errors
    /// [`ClientError::Settings`]: the URL, the token or the certificates cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let base = base_url(&settings.server)?;
        if settings.token.is_some() && base.scheme() == "http" && !is_loopback(&base) {
            return Err(ClientError::Settings(format!(
                "{} is not https: the token would cross the network in clear",
                settings.server
            )));
        }
        // Whoever embeds this client may have chosen a provider already; theirs stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("fairway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(transport::CONNECT_TIMEOUT)
            .default_headers(headers(settings.token.as_deref())?)
            // The token is for this server only.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        if let Some(pem) = &settings.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| unusable("the CA certificates", &error))?;
            if certificates.is_empty() {
                return Err(ClientError::Settings(
                    "the CA file holds no certificate in PEM".into(),
                ));
            }
            http = http.tls_certs_only(certificates);
        }
        Ok(Self {
            http: http
                .build()
                .map_err(|error| unusable("the TLS settings", &error))?,
            base,
            server: settings.server.clone(),
        })
    }
}

fn unusable(what: &str, error: &reqwest::Error) -> ClientError {
    ClientError::Settings(format!(
        "{what} cannot be used: {}",
        error::with_causes(error)
    ))
}

fn base_url(server: &str) -> Result<Url, ClientError> {
    let refused = |why: &str| {
        ClientError::Settings(format!(
            "`{server}` is not a server's URL ({why}); write e.g. https://wms.example.org:8470"
        ))
    };
    let mut url = Url::parse(server).map_err(|error| refused(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("it must begin with https:// or http://"));
    }
    let path = format!("{}/v1/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn headers(token: Option<&str>) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            ClientError::Settings("the token holds characters that no token has".into())
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}
