//! `GET /v1/tasks/{task}/events`

use axum::Json;
use axum::extract::State;
use fairway_api::public::{EventsQuery, Page};
use fairway_model::{Event, TaskId};

use super::visible;
use crate::auth::Authenticated;
use crate::http::extract::{Path, Query};
use crate::http::{App, Failure, Failures, owner_limit};

/// Which part of a task's history to list.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
    /// How many to a page: 1 to 1000, 100 if not set.
    limit: Option<u32>,
}

/// Lists what happened to a task, oldest first, beginning with its job's submission.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/events", tag = "tasks", operation_id = "list_task_events",
    params(("task" = TaskId, Path, description = "Which task"), HistoryQuery),
    responses((status = OK, body = Page<Event>), Failures),
)]
pub(super) async fn events(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(task): Path<TaskId>,
    Query(HistoryQuery { cursor, limit }): Query<HistoryQuery>,
) -> Result<Json<Page<Event>>, Failure> {
    visible(&app, &who, task).await?;
    let query = EventsQuery {
        task: Some(task),
        cursor,
        limit,
        ..EventsQuery::default()
    };
    Ok(Json(app.store.events(&query, owner_limit(&who)).await?))
}
