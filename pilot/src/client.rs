//! The pilot's side of the protocol: one call a method, each with a time limit, and
//! what a failure means. Whether and when to try again is decided by the callers,
//! with [`Backoff`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fairway_api::pilot::{
    Bootstrap, ChunkReply, GoodbyeRequest, RegisterReply, RegisterRequest, SyncReply, SyncRequest,
};
use fairway_api::{Problem, ProblemCode};
use rand::Rng;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

use crate::machine::Key;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For calls that the server answers at once.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What a long poll may take beyond the time that the server holds it.
const POLL_SLACK: Duration = Duration::from_secs(15);
/// Longest silence within a transfer.
const SILENCE: Duration = Duration::from_secs(60);
/// Transfers slower than this many bytes a second are given up.
const SLOWEST: u64 = 16 * 1024;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server cannot be reached or cannot serve now. The same call may succeed later.
    #[error("{reason}")]
    Away {
        reason: String,
        /// The server's own word on when to come again.
        retry_after: Option<Duration>,
    },
    /// The server refuses this call; it would do so again.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// A file on this machine cannot be read or written.
    #[error("{0}")]
    Local(String),
    /// The session is over: the pilot is to stop its payloads and end.
    #[error("{0}")]
    SessionOver(String),
}

impl CallError {
    fn away(reason: impl Into<String>) -> Self {
        Self::Away {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// The whole chain of causes: reqwest's own text does not name the last one.
    fn from_reqwest(error: &reqwest::Error) -> Self {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            reason = format!("{reason}: {inner}");
            cause = inner.source();
        }
        Self::away(reason)
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
#[error("the server's address or certificate cannot be used: {0}")]
pub struct ClientError(String);

/// A connection to the server; copies share it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    token: Option<HeaderValue>,
    poll: Duration,
}

impl Client {
    pub(crate) fn new(bootstrap: &Bootstrap) -> Result<Self, ClientError> {
        let fail = |e: reqwest::Error| ClientError(e.to_string());
        // A second call in one process finds the provider installed: that is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("fairway-pilot/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &bootstrap.ca_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(fail)?;
            builder = builder.tls_certs_only(roots);
        } else if bootstrap.server.starts_with("http://") {
            // Nothing to verify: do not load the machine's certificates.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            http: builder.build().map_err(fail)?,
            base: format!("{}/v1/pilot", bootstrap.server.trim_end_matches('/')).into(),
            token: None,
            poll: Duration::ZERO,
        })
    }

    /// Exchanges the one-time secret for a session: a client with its token.
    pub(crate) async fn register(
        &self,
        request: &RegisterRequest,
    ) -> Result<(Self, RegisterReply), CallError> {
        let call = self
            .http
            .post(format!("{}/register", self.base))
            .json(request);
        let reply: RegisterReply = json(self.send(call.timeout(CALL_TIMEOUT)).await?).await?;
        let mut token = HeaderValue::from_str(&format!("Bearer {}", reply.token))
            .map_err(|_| CallError::away("the server sent an unusable token"))?;
        token.set_sensitive(true);
        // The poll's length is the server's word; a day is more than any sane one.
        let poll = Duration::from_secs(reply.poll_s.min(86_400));
        let client = Self {
            token: Some(token),
            poll,
            ..self.clone()
        };
        Ok((client, reply))
    }

    pub(crate) async fn sync(&self, request: &SyncRequest) -> Result<SyncReply, CallError> {
        let held = if request.want.is_some() {
            self.poll
        } else {
            Duration::ZERO
        };
        let call = self.http.post(format!("{}/sync", self.base)).json(request);
        json(
            self.send(call.timeout(CALL_TIMEOUT.max(held + POLL_SLACK)))
                .await?,
        )
        .await
    }

    pub(crate) async fn goodbye(&self, reason: &str, within: Duration) -> Result<(), CallError> {
        let request = GoodbyeRequest {
            reason: reason.to_owned(),
            started_at: None,
        };
        let call = self
            .http
            .post(format!("{}/goodbye", self.base))
            .json(&request);
        self.send(call.timeout(within)).await.map(drop)
    }

    /// Fetches an input file into `to`, at most `bytes` of it and one more; `each` sees
    /// every piece.
    pub(crate) async fn input(
        &self,
        key: Key,
        name: &str,
        bytes: u64,
        to: &mut tokio::fs::File,
        mut each: impl FnMut(&[u8]),
    ) -> Result<u64, CallError> {
        let mut url = reqwest::Url::parse(&self.task_url(key, "input"))
            .map_err(|e| CallError::away(e.to_string()))?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(name);
        }
        let call = self.http.get(url).timeout(transfer_time(bytes));
        let mut response = self.send(call).await?;
        let mut received = 0;
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|e| CallError::from_reqwest(&e))?
        {
            received += piece.len() as u64;
            each(&piece);
            let written = to.write_all(&piece).await;
            written.map_err(|e| CallError::Local(format!("the file cannot be written: {e}")))?;
            if received > bytes {
                break;
            }
        }
        Ok(received)
    }

    /// Sends a chunk of `stdout` or `stderr`.
    pub(crate) async fn chunk(
        &self,
        key: Key,
        stream: &str,
        offset: u64,
        chunk: Vec<u8>,
    ) -> Result<ChunkReply, CallError> {
        let call = self
            .http
            .put(self.task_url(key, stream))
            .query(&[("offset", offset)]);
        let call = call
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(chunk);
        json(self.send(call.timeout(SILENCE)).await?).await
    }

    /// Sends the outputs, a gzipped tar.
    pub(crate) async fn output(&self, key: Key, archive: &Path) -> Result<(), CallError> {
        let local =
            |e: std::io::Error| CallError::Local(format!("the outputs cannot be read: {e}"));
        let file = tokio::fs::File::open(archive).await.map_err(local)?;
        let bytes = file.metadata().await.map_err(local)?.len();
        let stream = tokio_util::io::ReaderStream::with_capacity(file, 64 * 1024);
        let call = self
            .http
            .put(self.task_url(key, "output"))
            .header(CONTENT_TYPE, "application/gzip")
            .header(CONTENT_LENGTH, bytes)
            .body(reqwest::Body::wrap_stream(stream))
            .timeout(transfer_time(bytes));
        self.send(call).await.map(drop)
    }

    fn task_url(&self, key: Key, what: &str) -> String {
        format!("{}/tasks/{}/{}/{what}", self.base, key.task, key.attempt)
    }

    async fn send(&self, mut call: RequestBuilder) -> Result<Response, CallError> {
        if let Some(token) = &self.token {
            call = call.header(AUTHORIZATION, token.clone());
        }
        let response = call
            .send()
            .await
            .map_err(|e| CallError::from_reqwest(&e.without_url()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(failure(response).await)
    }
}

/// What an answer that is not a success means.
async fn failure(response: Response) -> CallError {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| {
        let seconds: u64 = value.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds.min(3600)))
    });
    let problem = body(response)
        .await
        .ok()
        .and_then(|b| serde_json::from_slice::<Problem>(&b).ok());
    let Some(problem) = problem else {
        // Not the server's own word: something between, which may pass.
        return CallError::Away {
            reason: format!("HTTP status {status}"),
            retry_after,
        };
    };
    match problem.code {
        ProblemCode::PilotEnded | ProblemCode::Unauthorized => {
            CallError::SessionOver(problem.to_string())
        }
        _ if status.is_server_error() || status.as_u16() == 429 => CallError::Away {
            reason: problem.to_string(),
            retry_after,
        },
        _ => CallError::Refused(Box::new(problem)),
    }
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, CallError> {
    serde_json::from_slice(&body(response).await?)
        .map_err(|e| CallError::away(format!("the answer cannot be read: {e}")))
}

async fn body(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|e| CallError::from_reqwest(&e))?
    {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(CallError::away("the answer is too long"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn transfer_time(bytes: u64) -> Duration {
    SILENCE + Duration::from_secs(bytes / SLOWEST)
}

/// Growing pauses between tries, with jitter, so that many pilots do not come back at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);

    /// The pause after one more failure: a random part (at least half) of a span that
    /// doubles each time; never shorter than the server asked for.
    pub(crate) fn next(&mut self, error: &CallError) -> Duration {
        let span = Self::FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        let asked = match error {
            CallError::Away { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        asked + span.mul_f64(rand::rng().random_range(0.5..1.0))
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Repeats a call for as long as the server is away.
pub(crate) async fn persist<T, F>(what: &str, mut call: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match call().await {
            Err(error @ CallError::Away { .. }) => {
                let pause = backoff.next(&error);
                tracing::warn!(%error, retry_in_ms = pause.as_millis() as u64, "{what} failed");
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let away = CallError::away("gone");
        let mut backoff = Backoff::default();
        assert!(backoff.next(&away) < Duration::from_millis(200));
        for _ in 0..40 {
            backoff.next(&away);
        }
        let long = backoff.next(&away);
        assert!(long >= Duration::from_secs(15) && long <= Duration::from_secs(30));
        let asked = CallError::Away {
            reason: String::new(),
            retry_after: Some(Duration::from_secs(60)),
        };
        assert!(backoff.next(&asked) >= Duration::from_secs(60));
    }
}
