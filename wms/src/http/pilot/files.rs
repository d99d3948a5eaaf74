//! `/v1/pilot/tasks/{task}/{attempt}/…`: the files of an attempt.

use axum::Json as Answer;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use fairway_api::ProblemCode;
use fairway_api::pilot::{ChunkQuery, ChunkReply};
use fairway_model::{Attempt, TaskId};
use futures::StreamExt;

use super::lease::held;
use crate::auth::PilotSession;
use crate::files::{FileName, FilesError, LogId, LogKind};
use crate::http::extract::{Path, Query};
use crate::http::{App, Failure, Failures};

/// Gives a file of the task's input sandbox.
#[utoipa::path(
    get, path = "/v1/pilot/tasks/{task}/{attempt}/input/{name}",
    tag = "pilot protocol", operation_id = "pilot_input",
    params(
        ("task" = TaskId, Path, description = "Which task"),
        ("attempt" = Attempt, Path, description = "Which try"),
        ("name" = String, Path, description = "What the server calls the file: `stored_as`"),
    ),
    responses((status = OK, body = Vec<u8>, content_type = "application/octet-stream"), Failures),
)]
pub(super) async fn input(
    State(app): State<App>,
    PilotSession(pilot): PilotSession,
    Path((task, attempt, name)): Path<(TaskId, Attempt, String)>,
) -> Result<Response, Failure> {
    let name: FileName = name.parse()?;
    let missing = || {
        Failure::new(
            ProblemCode::NotFound,
            format!("the input sandbox of task {task} has no such file"),
        )
    };
    let sandbox = held(&app, pilot, task, attempt)
        .await?
        .ok_or_else(missing)?;
    let file = app
        .files
        .open_input(&sandbox, &name)
        .await
        .map_err(|error| match error {
            FilesError::NotFound => missing(),
            other => other.into(),
        })?;
    let mut response = Response::new(Body::from_stream(file.content));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_LENGTH, file.bytes.into());
    Ok(response)
}

/// Appends a chunk to the attempt's standard output. A chunk that came before is not added again.
#[utoipa::path(
    put, path = "/v1/pilot/tasks/{task}/{attempt}/stdout",
    tag = "pilot protocol", operation_id = "pilot_stdout",
    params(
        ("task" = TaskId, Path, description = "Which task"),
        ("attempt" = Attempt, Path, description = "Which try"),
        ChunkQuery,
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = OK, body = ChunkReply), Failures),
)]
pub(super) async fn stdout(
    State(app): State<App>,
    PilotSession(pilot): PilotSession,
    Path((task, attempt)): Path<(TaskId, Attempt)>,
    Query(at): Query<ChunkQuery>,
    chunk: Result<Bytes, BytesRejection>,
) -> Result<Answer<ChunkReply>, Failure> {
    held(&app, pilot, task, attempt).await?;
    append(
        &app,
        LogId {
            task,
            attempt,
            kind: LogKind::Stdout,
        },
        at.offset,
        chunk?,
    )
    .await
}

/// Appends a chunk to the attempt's standard error. A chunk that came before is not added again.
#[utoipa::path(
    put, path = "/v1/pilot/tasks/{task}/{attempt}/stderr",
    tag = "pilot protocol", operation_id = "pilot_stderr",
    params(
        ("task" = TaskId, Path, description = "Which task"),
        ("attempt" = Attempt, Path, description = "Which try"),
        ChunkQuery,
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = OK, body = ChunkReply), Failures),
)]
pub(super) async fn stderr(
    State(app): State<App>,
    PilotSession(pilot): PilotSession,
    Path((task, attempt)): Path<(TaskId, Attempt)>,
    Query(at): Query<ChunkQuery>,
    chunk: Result<Bytes, BytesRejection>,
) -> Result<Answer<ChunkReply>, Failure> {
    held(&app, pilot, task, attempt).await?;
    append(
        &app,
        LogId {
            task,
            attempt,
            kind: LogKind::Stderr,
        },
        at.offset,
        chunk?,
    )
    .await
}

async fn append(
    app: &App,
    log: LogId,
    offset: u64,
    chunk: Bytes,
) -> Result<Answer<ChunkReply>, Failure> {
    let bytes_max = app.limits.log_bytes_max;
    Ok(Answer(
        app.files.append_log(log, offset, chunk, bytes_max).await?,
    ))
}

/// Keeps the attempt's output sandbox: one gzipped tar.
#[utoipa::path(
    put, path = "/v1/pilot/tasks/{task}/{attempt}/output",
    tag = "pilot protocol", operation_id = "pilot_output",
    params(
        ("task" = TaskId, Path, description = "Which task"),
        ("attempt" = Attempt, Path, description = "Which try"),
    ),
    request_body(content = Vec<u8>, content_type = "application/gzip"),
    responses((status = NO_CONTENT, description = "It is kept"), Failures),
)]
pub(super) async fn output(
    State(app): State<App>,
    PilotSession(pilot): PilotSession,
    Path((task, attempt)): Path<(TaskId, Attempt)>,
    body: Body,
) -> Result<StatusCode, Failure> {
    held(&app, pilot, task, attempt).await?;
    let content = body
        .into_data_stream()
        .map(|chunk| chunk.map_err(|error| FilesError::Source(error.to_string())));
    app.files
        .put_output(task, attempt, content, app.limits.output_bytes_max)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
