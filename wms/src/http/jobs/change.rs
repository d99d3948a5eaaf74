//! `POST /v1/jobs/{job}/{verb}`

use axum::Json;
use axum::extract::State;
use fairway_api::public::TasksChanged;
use fairway_model::{JobId, TaskVerb};
use fairway_sched::command::Selection;

use super::visible;
use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::tasks::change_tasks;
use crate::http::{App, Failure, Failures};

/// Cancels, holds, releases, retries, suspends or resumes all tasks of a job for which that makes sense.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/{verb}", tag = "jobs", operation_id = "change_job",
    params(
        ("job" = JobId, Path, description = "Which job"),
        ("verb" = TaskVerb, Path, description = "What to do"),
    ),
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn change(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path((job, verb)): Path<(JobId, TaskVerb)>,
) -> Result<Json<TasksChanged>, Failure> {
    visible(&app, &who, job).await?;
    Ok(Json(
        change_tasks(&app, who, verb, Selection::Job(job)).await?,
    ))
}
