//! `GET /v1/jobs/{job}/output`

use std::ops::Range;
use std::path::PathBuf;

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

/// Longest name of a folder, in bytes: what file systems allow.
const NAME_BYTES_MAX: usize = 255;

/// Gives the output sandboxes of all tasks of a job as one gzipped tar, each in a folder of its
/// own: named by the task's index, or, if the job is compound, by its node, and in that, if the
/// node has several tasks, by the task's number within the node, from 0.
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
    outputs(&app, job, 0..u32::MAX).await
}

/// The archive of some tasks of a job.
pub(super) async fn outputs(app: &App, job: JobId, tasks: Range<u32>) -> Result<Response, Failure> {
    let place = app.stream_place()?;
    let nodes = app.store.node_names(job).await?;
    let archive = app
        .files
        .job_output(job, tasks, move |index| folder(&nodes, index))
        .await
        .map_err(|error| match error {
            FilesError::NotFound => Failure::new(
                ProblemCode::NotFound,
                format!("no such task of job {job} has brought an output sandbox back (yet)"),
            ),
            other => other.into(),
        })?;
    let archive = futures::StreamExt::inspect(archive, move |_| {
        // Held until the last byte is sent.
        let _held = &place;
    });
    archive_response(&job.to_string(), None, Body::from_stream(archive))
}

/// The folder of a task's outputs in the archive of its job, whose nodes have these tasks.
fn folder(nodes: &[(Range<u32>, String)], index: u32) -> PathBuf {
    let after = nodes.partition_point(|(tasks, _)| tasks.start <= index);
    let Some((tasks, name)) = after.checked_sub(1).and_then(|place| nodes.get(place)) else {
        return index.to_string().into();
    };
    let is_plain = |name: &str| {
        let odd = |c: char| c == '/' || c == '\\' || c.is_control();
        !name.starts_with('.') && name.len() <= NAME_BYTES_MAX && !name.contains(odd)
    };
    let own = if is_plain(name) {
        PathBuf::from(name)
    } else {
        // A name that is no folder's gives way to the node's first task.
        PathBuf::from(tasks.start.to_string())
    };
    match tasks.len() {
        1 => own,
        _ => own.join((index - tasks.start).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_by_node() {
        let nodes = [
            (0..1, "first"),
            (1..4, "sweep"),
            (4..5, "../x"),
            (5..6, "last"),
        ];
        let nodes = nodes.map(|(tasks, name)| (tasks, name.to_owned()));
        let told = [0, 1, 3, 4, 5].map(|index| folder(&nodes, index).display().to_string());
        assert_eq!(told, ["first", "sweep/0", "sweep/2", "4", "last"]);
        assert_eq!(folder(&[], 7), PathBuf::from("7"));
    }
}
