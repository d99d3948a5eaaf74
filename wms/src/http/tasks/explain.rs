//! `GET /v1/tasks/{task}/explain`

use axum::Json;
use axum::extract::State;
use fairway_api::public::{ExplainQuery, Explanation, TaskView};
use fairway_jdl::JobSpec;
use fairway_model::{TaskId, TaskState};

use super::visible;
use crate::auth::Authenticated;
use crate::foresight::Unforeseen;
use crate::http::extract::{Path, Query};
use crate::http::{App, Failure, Failures, view};

/// So many of its last events are told.
const EVENTS_MAX: u64 = 100;

/// Tells why a task is where it is: which CEs refuse it by which clause, with the values on both
/// sides, its place in the queue, when it is likely to start, and what became of it so far.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/explain", tag = "tasks", operation_id = "explain_task",
    params(("task" = TaskId, Path, description = "Which task"), ExplainQuery),
    responses((status = OK, body = Explanation), Failures),
)]
pub(super) async fn explain(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(task): Path<TaskId>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<Explanation>, Failure> {
    let known = visible(&app, &who, task).await?;
    let explained = app
        .engine
        .look(move |state, now| view::explain(state, task, now))
        .await?;
    let mut explanation = match explained {
        Some(explanation) => explanation,
        None => over(&app, &known).await?,
    };
    explanation.history = view::history(task, &app.store.last_events(task, EVENTS_MAX).await?);
    let unstarted = matches!(
        explanation.state,
        TaskState::Waiting | TaskState::Blocked | TaskState::Held
    );
    if unstarted && query.forecast.unwrap_or(true) {
        look_ahead(&app, &mut explanation).await;
    }
    Ok(Json(explanation))
}

/// Adds when the task will start, or why that is not told: the rest stands without it.
async fn look_ahead(app: &App, explanation: &mut Explanation) {
    let task = explanation.task;
    match app.foresight.forecast(&app.engine, &app.store, task).await {
        Ok(made) => explanation.forecast = Some(view::forecast(made)),
        Err(error @ (Unforeseen::Busy | Unforeseen::TooMuch(_))) => {
            explanation.no_forecast = Some(error.to_string());
        }
        Err(error) => {
            tracing::warn!(%error, %task, "a forecast failed");
            explanation.no_forecast = Some("it cannot be made now".to_owned());
        }
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
