//! `GET /v1/tasks`

use axum::Json;
use axum::extract::State;
use fairway_api::public::{Page, TaskView, TasksQuery};

use crate::auth::Authenticated;
use crate::http::extract::Query;
use crate::http::{App, Failure, Failures, jobs, owner_limit};

/// Lists tasks.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks", operation_id = "list_tasks",
    params(TasksQuery),
    responses((status = OK, body = Page<TaskView>), Failures),
)]
pub(super) async fn list(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Query(query): Query<TasksQuery>,
) -> Result<Json<Page<TaskView>>, Failure> {
    if let (Some(job), Some(_)) = (query.job, &query.node) {
        // Whether there is such a node, is told of one's own jobs only.
        jobs::visible(&app, &who, job).await?;
    }
    Ok(Json(app.store.tasks(&query, owner_limit(&who)).await?))
}
