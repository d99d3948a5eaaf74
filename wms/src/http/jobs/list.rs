//! `GET /v1/jobs`

use axum::Json;
use axum::extract::State;
use fairway_api::public::{JobView, JobsQuery, Page};

use crate::auth::Authenticated;
use crate::http::extract::Query;
use crate::http::{App, Failure, Failures, owner_limit};

/// Lists jobs, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    params(JobsQuery),
    responses((status = OK, body = Page<JobView>), Failures),
)]
pub(super) async fn list(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Query(query): Query<JobsQuery>,
) -> Result<Json<Page<JobView>>, Failure> {
    Ok(Json(app.store.jobs(&query, owner_limit(&who)).await?))
}
