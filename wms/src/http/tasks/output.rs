//! `GET /v1/tasks/{task}/output`

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use fairway_api::ProblemCode;
use fairway_model::TaskId;
use futures::StreamExt;

use super::visible;
use crate::auth::Authenticated;
use crate::files::FilesError;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures};

/// Gives a task's output sandbox as one gzipped tar.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/output", tag = "tasks", operation_id = "task_output",
    params(("task" = TaskId, Path, description = "Which task")),
    responses((status = OK, body = Vec<u8>, content_type = "application/gzip"), Failures),
)]
pub(super) async fn output(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(task): Path<TaskId>,
) -> Result<Response, Failure> {
    let view = visible(&app, &who, task).await?;
    let place = app.stream_place()?;
    let archive = app.files.output(task).await.map_err(|error| match error {
        FilesError::NotFound => Failure::new(
            ProblemCode::NotFound,
            format!(
                "task {task} has brought no output sandbox back; its state is {}",
                view.state.name()
            ),
        ),
        other => other.into(),
    })?;
    let content = archive.content.inspect(move |_| {
        // Held until the last byte is sent.
        let _held = &place;
    });
    archive_response(
        &task.to_string(),
        Some(archive.bytes),
        Body::from_stream(content),
    )
}

/// A gzipped tar to be saved as `<stem>.tar.gz`.
pub(in crate::http) fn archive_response(
    stem: &str,
    bytes: Option<u64>,
    body: Body,
) -> Result<Response, Failure> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/gzip"),
    );
    let disposition = format!("attachment; filename=\"{stem}.tar.gz\"");
    let disposition = HeaderValue::from_str(&disposition).map_err(Failure::internal)?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    if let Some(bytes) = bytes {
        headers.insert(header::CONTENT_LENGTH, bytes.into());
    }
    Ok(response)
}
