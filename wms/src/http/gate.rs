//! What every request passes through: a name for the log, the limits, and the
//! manners of refusing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fairway_api::ProblemCode;
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use super::Failure;
use crate::auth::new_key;

/// The header that tells under which name the log knows a request.
const REQUEST_ID: &str = "x-request-id";

/// How long a refused body is read on, so that the client reads the refusal before the
/// connection ends.
const LINGER: Duration = Duration::from_secs(5);
/// How many refused bodies are read on at the same time.
const LINGERING_MAX: usize = 64;

/// Gives a request a name, which the log carries and the client is told, and logs its end.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let id = new_key();
    let span = tracing::info_span!(
        "request",
        id,
        method = %request.method(),
        path = request.uri().path(),
    );
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| {
        tracing::debug!(status = response.status().as_u16(), elapsed = ?begun.elapsed(), "answered");
    });
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// How many requests the server works on at a time.
#[derive(Clone)]
pub(super) struct Door {
    requests: Arc<Semaphore>,
    lingering: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(requests_max: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests_max)),
            lingering: Arc::new(Semaphore::new(LINGERING_MAX)),
        }
    }
}

/// Lets a request in if there is room.
pub(super) async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let Ok(_place) = door.requests.try_acquire() else {
        return Failure::new(
            ProblemCode::Overloaded,
            "the server works on as many requests as it may; try again in a moment",
        )
        .into_response();
    };
    let waits_for_leave = request.headers().contains_key(header::EXPECT);
    let packed = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let request = request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        let content = Some(body.into_data_stream());
        Body::from_stream(Lingering {
            content,
            waits_for_leave,
            places: door.lingering.clone(),
        })
    });
    if packed {
        return Failure::new(
            ProblemCode::UnsupportedMediaType,
            "bodies are read as they are: send it without Content-Encoding",
        )
        .into_response();
    }
    next.run(request).await
}

/// What the requests to a group of paths may take.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of the body.
    pub(super) body_bytes_max: u64,
    /// From the end of the headers to the answer's beginning.
    pub(super) time_max: Duration,
}

/// Refuses a body that says that it is too large before any of it is read (others are cut
/// off by the body limit of the path), and ends what takes too long.
pub(super) async fn bound(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bounds.body_bytes_max) {
        return Failure::too_large("the body", bounds.body_bytes_max).into_response();
    }
    match tokio::time::timeout(bounds.time_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::new(
            ProblemCode::Timeout,
            format!(
                "not done within {} s, and given up",
                bounds.time_max.as_secs()
            ),
        )
        .into_response(),
    }
}

/// A body that is read on for a while when nobody wants it any more. A connection that is
/// closed on unread data is reset, and the client may never see why it was refused.
struct Lingering {
    content: Option<BodyDataStream>,
    /// The client sends nothing before it is told to go on.
    waits_for_leave: bool,
    places: Arc<Semaphore>,
}

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waits_for_leave = false;
        let Some(content) = &mut self.content else {
            return Poll::Ready(None);
        };
        let polled = content.poll_next_unpin(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.content = None;
        }
        polled
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.waits_for_leave {
            return;
        }
        if let Some(content) = self.content.take()
            && let Ok(place) = self.places.clone().try_acquire_owned()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(read_on(content, place));
        }
    }
}

async fn read_on(mut content: BodyDataStream, _place: OwnedSemaphorePermit) {
    let drained = async { while let Some(Ok(_)) = content.next().await {} };
    // Whether the body ended or the time did, there is nothing left to do.
    let _ = tokio::time::timeout(LINGER, drained).await;
}
