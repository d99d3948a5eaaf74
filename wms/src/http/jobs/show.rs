//! `GET /v1/jobs/{job}` and `GET /v1/jobs/{job}/jdl`

use axum::Json;
use axum::extract::State;
use fairway_api::public::JobView;
use fairway_model::JobId;

use super::visible;
use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures};

/// Shows one job.
#[utoipa::path(
    get, path = "/v1/jobs/{job}", tag = "jobs", operation_id = "show_job",
    params(("job" = JobId, Path, description = "Which job")),
    responses((status = OK, body = JobView), Failures),
)]
pub(super) async fn show(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(job): Path<JobId>,
) -> Result<Json<JobView>, Failure> {
    Ok(Json(visible(&app, &who, job).await?))
}

/// Gives a job's JDL as it was submitted.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/jdl", tag = "jobs", operation_id = "show_job_jdl",
    params(("job" = JobId, Path, description = "Which job")),
    responses((status = OK, body = String, content_type = "text/plain"), Failures),
)]
pub(super) async fn jdl(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(job): Path<JobId>,
) -> Result<String, Failure> {
    let found = app
        .store
        .job(job)
        .await?
        .filter(|found| who.may_touch(&found.owner));
    found
        .map(|found| found.jdl)
        .ok_or_else(|| Failure::not_found(format_args!("job {job}")))
}
