//! `GET /v1/tasks/{task}`

use axum::Json;
use axum::extract::State;
use fairway_api::public::TaskView;
use fairway_model::TaskId;

use super::visible;
use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures};

/// Shows one task.
#[utoipa::path(
    get, path = "/v1/tasks/{task}", tag = "tasks", operation_id = "show_task",
    params(("task" = TaskId, Path, description = "Which task")),
    responses((status = OK, body = TaskView), Failures),
)]
pub(super) async fn show(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(task): Path<TaskId>,
) -> Result<Json<TaskView>, Failure> {
    Ok(Json(visible(&app, &who, task).await?))
}
