//! How a request travels: deadlines, repetition, and what its answer means.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::with_causes;
use super::{Client, ClientError};
use crate::Problem;

/// How long a connection may take to be made.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an ordinary request may take, answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a stream may be silent. The server's event streams send a comment more often than this.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often a request is sent at most.
const TRIES_MAX: u32 = 5;
/// Pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause that a server may ask for with `Retry-After`.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How much of a foreign answer is read, and how much of it is shown.
const FOREIGN_BYTES_MAX: usize = 64 * 1024;
const EXCERPT_CHARS: usize = 200;

/// Whether a request may be sent again after it may have reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or is recognised by the server when it comes twice.
    Harmless,
    /// It would be done twice.
    OnlyUnsent,
}

impl Client {
    /// A request to `path`, a list of segments that are escaped one by one.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.get_with(path, &()).await
    }

    pub(super) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path).query(query);
        let response = self.send(request, Repeat::Harmless).await?;
        self.decode(response).await
    }

    /// Sends a request whose body can be sent again, with the ordinary deadline.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        repeat: Repeat,
    ) -> Result<Response, ClientError> {
        let request = request.timeout(REQUEST_TIMEOUT);
        self.send_with(repeat, || {
            std::future::ready(request.try_clone().ok_or_else(|| {
                ClientError::Settings("a request's body cannot be sent again".into())
            }))
        })
        .await
    }

    /// Sends a request a single time, with the ordinary deadline: who calls has its own idea of
    /// when to call again.
    pub(super) async fn send_once(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        match request.timeout(REQUEST_TIMEOUT).send().await {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => Err(self.refusal(response).await),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Sends what `build` makes, again and again if need be. The answer is a success.
    pub(super) async fn send_with<Built>(
        &self,
        repeat: Repeat,
        // Not an `AsyncFn`: of those the compiler cannot tell yet that they are `Send`.
        build: impl Fn() -> Built,
    ) -> Result<Response, ClientError>
    where
        Built: Future<Output = Result<RequestBuilder, ClientError>>,
    {
        let mut pause = FIRST_PAUSE;
        for tries_left in (0..TRIES_MAX).rev() {
            let wait = match build().await?.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response)
                    if response.status() == StatusCode::SERVICE_UNAVAILABLE
                        && repeat == Repeat::Harmless
                        && tries_left > 0 =>
                {
                    retry_after(&response).unwrap_or(pause).min(PAUSE_MAX)
                }
                Ok(response) => return Err(self.refusal(response).await),
                Err(error) => {
                    let repeatable = error.is_connect()
                        || (repeat == Repeat::Harmless
                            && !error.is_builder()
                            && !error.is_timeout());
                    if !repeatable || tries_left == 0 {
                        return Err(self.unreachable(&error));
                    }
                    pause
                }
            };
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        Err(ClientError::Unreachable {
            server: self.server.clone(),
            reason: format!("no answer after {TRIES_MAX} tries"),
        })
    }

    /// The body of a success as a value.
    pub(super) async fn decode<T: DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<T, ClientError> {
        let status = response.status().as_u16();
        let body = response
            .bytes()
            .await
            .map_err(|error| ClientError::Interrupted(with_causes(&error)))?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Foreign {
            server: self.server.clone(),
            status,
            excerpt: error.to_string(),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let reason = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            // Its causes alone: its own text only repeats the URL.
            std::error::Error::source(error).map_or_else(|| error.to_string(), with_causes)
        };
        ClientError::Unreachable {
            server: self.server.clone(),
            reason,
        }
    }

    /// What a status that is no success means.
    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let media_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = match read_at_most(response, FOREIGN_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return ClientError::Interrupted(with_causes(&error)),
        };
        if media_type.starts_with("application/problem+json")
            && let Ok(problem) = serde_json::from_slice::<Problem>(&body)
        {
            return ClientError::Problem(Box::new(problem));
        }
        ClientError::Foreign {
            server: self.server.clone(),
            status,
            excerpt: String::from_utf8_lossy(&body)
                .chars()
                .filter(|c| !c.is_control())
                .take(EXCERPT_CHARS)
                .collect(),
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

async fn read_at_most(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = bytes_max - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == bytes_max {
            break;
        }
    }
    Ok(body)
}
