//! `GET /v1/jobs/{job}/output`

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use fairway_api::ProblemCode;
use fairway_model::JobId;

use super::visible;
use crate::auth::Authenticated;
use crate::files::FilesError;
use crate::http::extract::Path;
use crate::http::tasks::archive_response;
use crate::http::{App, Failure, Failures};

/// Gives the output sandboxes of all tasks of a job as one gzipped tar, each in a folder named
/// by the task's index.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/output", tag = "jobs", operation_id = "job_output",
    params(("job" = JobId, Path, description = "Which job")),
    responses((status = OK, body = Vec<u8>, content_type = "application/gzip"), Failures),
)]
pub(super) async fn output(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(job): Path<JobId>,
) -> Result<Response, Failure> {
    visible(&app, &who, job).await?;
    let place = app.stream_place()?;
    let archive = app
        .files
        .job_output(job)
        .await
        .map_err(|error| match error {
            FilesError::NotFound => Failure::new(
                ProblemCode::NotFound,
                format!("no task of job {job} has brought an output sandbox back (yet)"),
            ),
            other => other.into(),
        })?;
    let archive = futures::StreamExt::inspect(archive, move |_| {
        // Held until the last byte is sent.
        let _held = &place;
    });
    archive_response(&job.to_string(), None, Body::from_stream(archive))
}
