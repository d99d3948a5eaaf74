//! `GET /v1/tasks/{task}/stdout` and `…/stderr`: as they are, their tail, or
//! followed as an event stream while they grow.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fairway_api::ProblemCode;
use fairway_api::public::{LogQuery, TaskView};
use fairway_model::{Attempt, TaskId, TaskState};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::visible;
use crate::auth::Authenticated;
use crate::engine::Engine;
use crate::files::{Files, FilesError, LogId, LogKind};
use crate::http::extract::{Path, Query};
use crate::http::{App, Failure, Failures};
use crate::store::{Store, StoreError};

/// Two looks at the followed task are at least so far apart, however much happens elsewhere.
const LOOK_GAP: Duration = Duration::from_millis(500);
/// Events made ahead of the follower.
const EVENTS_AHEAD: usize = 4;

/// Gives what a task wrote to its standard output.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/stdout", tag = "tasks", operation_id = "task_stdout",
    params(("task" = TaskId, Path, description = "Which task"), LogQuery),
    responses(
        (status = OK, content((Vec<u8> = "text/plain"), (String = "text/event-stream"))),
        Failures,
    ),
)]
pub(super) async fn stdout(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(task): Path<TaskId>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    let view = visible(&app, &who, task).await?;
    answer(app, view, LogKind::Stdout, query).await
}

/// Gives what a task wrote to its standard error.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/stderr", tag = "tasks", operation_id = "task_stderr",
    params(("task" = TaskId, Path, description = "Which task"), LogQuery),
    responses(
        (status = OK, content((Vec<u8> = "text/plain"), (String = "text/event-stream"))),
        Failures,
    ),
)]
pub(super) async fn stderr(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(task): Path<TaskId>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    let view = visible(&app, &who, task).await?;
    answer(app, view, LogKind::Stderr, query).await
}

async fn answer(
    app: App,
    view: TaskView,
    kind: LogKind,
    query: LogQuery,
) -> Result<Response, Failure> {
    if let Some(attempt) = query.attempt
        && !(Attempt(1)..=view.attempt).contains(&attempt)
    {
        return Err(Failure::new(
            ProblemCode::NotFound,
            format!(
                "task {} has had {} attempts; there is no attempt {attempt}",
                view.id, view.attempt
            ),
        ));
    }
    let place = app.stream_place()?;
    let attempt = query.attempt.unwrap_or(view.attempt);
    let log = LogId {
        task: view.id,
        attempt,
        kind,
    };
    let extent = app.files.log_extent(log, query.tail).await?;
    if query.follow {
        let follower = Follower {
            files: app.files,
            store: app.store,
            engine: app.engine,
            log,
            position: extent.start,
            only_this_attempt: query.attempt.is_some(),
            undecoded: Vec::new(),
        };
        let events = follower.events().inspect(move |_| {
            // Held until the last event is sent.
            let _held = &place;
        });
        return Ok(Sse::new(events)
            .keep_alive(KeepAlive::default())
            .into_response());
    }
    let bytes = extent.end - extent.start;
    let content = read_range(app.files, log, extent).inspect(move |_| {
        // Held until the last byte is sent.
        let _held = &place;
    });
    let mut response = Response::new(Body::from_stream(content));
    let headers = response.headers_mut();
    // Payloads may write anything; the bytes are sent as they were written.
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CONTENT_LENGTH, bytes.into());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// The bytes of a log from `range.start` to `range.end`, which are there already.
fn read_range(
    files: Files,
    log: LogId,
    range: std::ops::Range<u64>,
) -> impl Stream<Item = Result<Bytes, FilesError>> {
    stream::try_unfold((files, range.start), move |(files, position)| async move {
        if position >= range.end {
            return Ok(None);
        }
        let mut part = files.read_log(log, position).await?;
        if part.bytes.is_empty() {
            return Err(FilesError::Storage(
                "a log became shorter while it was sent".into(),
            ));
        }
        // What was written since the length was told belongs to the next request.
        part.bytes
            .truncate(usize::try_from(range.end - position).unwrap_or(usize::MAX));
        let end = position + part.bytes.len() as u64;
        Ok(Some((Bytes::from(part.bytes), (files, end))))
    })
}

/// Someone who reads a log as it grows. It goes on from attempt to attempt, if no certain one
/// was asked for, and ends when the task is over.
struct Follower {
    files: Files,
    store: Store,
    engine: Engine,
    log: LogId,
    position: u64,
    only_this_attempt: bool,
    /// The beginning of a character whose end has not been written yet.
    undecoded: Vec<u8>,
}

/// The follower went away.
struct Gone;

impl Follower {
    fn events(mut self) -> impl Stream<Item = Result<Event, Infallible>> {
        let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
        tokio::spawn(async move {
            let run = self.run(&sender);
            tokio::select! {
                // Either it is told to the end, or nobody listens any more.
                _ = run => {}
                () = sender.closed() => {}
            }
        });
        stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|event| (Ok(event), receiver))
        })
    }

    async fn run(&mut self, sender: &mpsc::Sender<Event>) -> Result<(), Gone> {
        let mut commits = self.engine.commits();
        loop {
            let mut grown = self.files.follow_log(self.log);
            commits.mark_unchanged();
            // The state first, the log second: a log is complete before its attempt ends.
            let standing = self.standing().await;
            self.send_what_is_there(sender).await?;
            match standing {
                Ok(Standing::Live) => {}
                Ok(Standing::Next(attempt)) => {
                    self.log.attempt = attempt;
                    self.position = 0;
                    self.undecoded.clear();
                    continue;
                }
                Ok(Standing::Over(state)) => {
                    self.flush(sender).await?;
                    return send(sender, "end", state.name()).await;
                }
                // The client sees a stream without an end, and may ask again.
                Err(error) => {
                    tracing::warn!(%error, task = %self.log.task, "a log is followed no further");
                    return Err(Gone);
                }
            }
            tokio::select! {
                _ = grown.changed() => {}
                changed = pause_then_change(&mut commits) => if !changed { return Err(Gone) },
            }
        }
    }

    async fn standing(&self) -> Result<Standing, StoreError> {
        let Some(view) = self.store.task_view(self.log.task).await? else {
            return Ok(Standing::Over(TaskState::Cancelled));
        };
        let over = if self.only_this_attempt {
            view.attempt != self.log.attempt || !view.state.is_live()
        } else {
            view.state.is_final()
        };
        Ok(
            if !self.only_this_attempt && view.attempt != self.log.attempt {
                Standing::Next(view.attempt)
            } else if over {
                Standing::Over(view.state)
            } else {
                Standing::Live
            },
        )
    }

    async fn send_what_is_there(&mut self, sender: &mpsc::Sender<Event>) -> Result<(), Gone> {
        loop {
            let part = match self.files.read_log(self.log, self.position).await {
                Ok(part) if part.bytes.is_empty() => return Ok(()),
                Ok(part) => part,
                Err(error) => {
                    tracing::warn!(%error, task = %self.log.task, "a log is followed no further");
                    return Err(Gone);
                }
            };
            self.position = part.end;
            self.undecoded.extend_from_slice(&part.bytes);
            let text = take_text(&mut self.undecoded);
            if !text.is_empty() {
                send(sender, "chunk", &text).await?;
            }
        }
    }

    async fn flush(&mut self, sender: &mpsc::Sender<Event>) -> Result<(), Gone> {
        let rest = std::mem::take(&mut self.undecoded);
        if rest.is_empty() {
            return Ok(());
        }
        send(sender, "chunk", &String::from_utf8_lossy(&rest)).await
    }
}

/// How the followed attempt stands.
enum Standing {
    /// There may come more.
    Live,
    /// There is another attempt.
    Next(Attempt),
    /// There comes no more; the task is in this state.
    Over(TaskState),
}

/// Waits for something durable to change, but not less than [`LOOK_GAP`]. False if the
/// engine has stopped.
async fn pause_then_change(commits: &mut tokio::sync::watch::Receiver<u64>) -> bool {
    tokio::time::sleep(LOOK_GAP).await;
    commits.changed().await.is_ok()
}

async fn send(sender: &mpsc::Sender<Event>, name: &str, text: &str) -> Result<(), Gone> {
    // JSON keeps line ends apart from those of the event stream.
    let data = serde_json::Value::from(text).to_string();
    sender
        .send(Event::default().event(name).data(data))
        .await
        .map_err(|_| Gone)
}

/// Takes all whole characters out of `bytes`; a beginning of one stays. What is no UTF-8 is
/// shown as U+FFFD: who needs the bytes gets them without `follow`.
fn take_text(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut used = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        used += chunk.valid().len();
        let at_the_end = used + chunk.invalid().len() == bytes.len();
        if chunk.invalid().is_empty() || (at_the_end && may_go_on(chunk.invalid())) {
            continue;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        used += chunk.invalid().len();
    }
    bytes.drain(..used);
    text
}

/// Whether bytes at the end are the beginning of a character rather than no character.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_torn() {
        let mut bytes = "aé€".as_bytes().to_vec();
        let last = bytes.pop().unwrap();
        assert_eq!(take_text(&mut bytes), "aé");
        bytes.push(last);
        assert_eq!(take_text(&mut bytes), "€");
        assert!(bytes.is_empty());
    }

    #[test]
    fn what_is_no_text_is_marked() {
        let mut bytes = vec![b'a', 0xff, b'b', 0xff];
        assert_eq!(take_text(&mut bytes), "a\u{fffd}b\u{fffd}");
        assert!(bytes.is_empty());
    }
}
