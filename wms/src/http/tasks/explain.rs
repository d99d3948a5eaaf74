//! `GET /v1/tasks/{task}/explain`

use axum::Json;
use axum::extract::State;
use fairway_api::public::{Explanation, TaskView};
use fairway_jdl::JobSpec;
use fairway_model::{TaskId, TaskState};

use super::visible;
use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures, view};

/// Tells why a task is where it is: which CEs refuse it by which clause, with the values on both
/// sides, and its place in the queue.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/explain", tag = "tasks", operation_id = "explain_task",
    params(("task" = TaskId, Path, description = "Which task")),
    responses((status = OK, body = Explanation), Failures),
)]
pub(super) async fn explain(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(task): Path<TaskId>,
) -> Result<Json<Explanation>, Failure> {
    let known = visible(&app, &who, task).await?;
    let explained = app
        .engine
        .look(move |state, now| view::explain(state, task, now))
        .await?;
    match explained {
        Some(explanation) => Ok(Json(explanation)),
        None => Ok(Json(over(&app, &known).await?)),
    }
}

/// The explanation of a task that the engine has let go of.
async fn over(app: &App, known: &TaskView) -> Result<Explanation, Failure> {
    let job = app.store.job(known.id.job).await?;
    let job = job.ok_or_else(|| Failure::not_found(format_args!("task {}", known.id)))?;
    let (spec, _) = tokio::task::spawn_blocking(move || JobSpec::read(&job.jdl))
        .await
        .map_err(Failure::internal)?
        .map_err(|_| Failure::internal("a JDL that was accepted is no longer understood"))?;
    let because = match known.state {
        TaskState::Skipped => app.store.last_move(known.id).await?,
        _ => None,
    };
    let needs = spec.needs(known.id.index);
    let alone = spec.depends().is_none();
    Ok(view::ended(known, &needs, because.as_deref(), alone))
}
