//! `POST /v1/tasks/cancel|hold|release|retry|suspend|resume` and `POST /v1/tasks/{task}/{verb}`

use axum::Json as Answer;
use axum::extract::State;
use fairway_api::ProblemCode;
use fairway_api::public::{TaskLeft, TasksChange, TasksChanged};
use fairway_model::{Principal, TaskId, TaskVerb};
use fairway_sched::command::{RefusedKind, Selection};
use fairway_sched::{Command, Reply};

use super::visible;
use crate::auth::Authenticated;
use crate::engine::EngineError;
use crate::http::extract::{Json, Path};
use crate::http::{App, Failure, Failures};

/// Most tasks to change at a time.
const TASKS_MAX: usize = 10_000;
/// So many tasks at most that are not there are told.
const LEFT_MAX: usize = 100;
/// So often at most is the store read for one retry.
const RETRY_READS_MAX: u32 = 3;

/// Cancels many tasks at once.
#[utoipa::path(
    post, path = "/v1/tasks/cancel", tag = "tasks", operation_id = "cancel_tasks",
    request_body = TasksChange,
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn cancel_many(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(change): Json<TasksChange>,
) -> Result<Answer<TasksChanged>, Failure> {
    change_many(&app, who, TaskVerb::Cancel, change).await
}

/// Holds many tasks at once.
#[utoipa::path(
    post, path = "/v1/tasks/hold", tag = "tasks", operation_id = "hold_tasks",
    request_body = TasksChange,
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn hold_many(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(change): Json<TasksChange>,
) -> Result<Answer<TasksChanged>, Failure> {
    change_many(&app, who, TaskVerb::Hold, change).await
}

/// Releases many held tasks at once.
#[utoipa::path(
    post, path = "/v1/tasks/release", tag = "tasks", operation_id = "release_tasks",
    request_body = TasksChange,
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn release_many(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(change): Json<TasksChange>,
) -> Result<Answer<TasksChanged>, Failure> {
    change_many(&app, who, TaskVerb::Release, change).await
}

/// Queues many failed or cancelled tasks again.
#[utoipa::path(
    post, path = "/v1/tasks/retry", tag = "tasks", operation_id = "retry_tasks",
    request_body = TasksChange,
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn retry_many(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(change): Json<TasksChange>,
) -> Result<Answer<TasksChanged>, Failure> {
    change_many(&app, who, TaskVerb::Retry, change).await
}

/// Puts many running tasks to sleep that say `Suspendable`.
#[utoipa::path(
    post, path = "/v1/tasks/suspend", tag = "tasks", operation_id = "suspend_tasks",
    request_body = TasksChange,
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn suspend_many(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(change): Json<TasksChange>,
) -> Result<Answer<TasksChanged>, Failure> {
    change_many(&app, who, TaskVerb::Suspend, change).await
}

/// Lets many suspended tasks go on, as soon as there is room for them.
#[utoipa::path(
    post, path = "/v1/tasks/resume", tag = "tasks", operation_id = "resume_tasks",
    request_body = TasksChange,
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn resume_many(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Json(change): Json<TasksChange>,
) -> Result<Answer<TasksChanged>, Failure> {
    change_many(&app, who, TaskVerb::Resume, change).await
}

async fn change_many(
    app: &App,
    who: Principal,
    verb: TaskVerb,
    TasksChange { tasks }: TasksChange,
) -> Result<Answer<TasksChanged>, Failure> {
    if tasks.is_empty() || tasks.len() > TASKS_MAX {
        return Err(Failure::bad_request(format!(
            "1 to {TASKS_MAX} tasks can be changed at a time; these are {}",
            tasks.len()
        )));
    }
    let (theirs, missing) = split_visible(app, &who, tasks).await?;
    let mut changed = change_tasks(app, who, verb, Selection::Tasks(theirs)).await?;
    changed.left.extend(missing);
    Ok(Answer(changed))
}

/// The tasks that are there and whose jobs `who` may see, and an answer for each of the others:
/// there is no such task. The engine could not tell for jobs that are over, since it forgets
/// their owners.
async fn split_visible(
    app: &App,
    who: &Principal,
    tasks: Vec<TaskId>,
) -> Result<(Vec<TaskId>, Vec<TaskLeft>), Failure> {
    let jobs = tasks.iter().map(|task| task.job).collect();
    let owners = app.store.job_owners(&jobs).await?;
    let (theirs, missing): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| {
        owners
            .get(&task.job)
            .is_some_and(|(owner, tasks)| task.index < *tasks && who.may_touch(owner))
    });
    let missing = missing.into_iter().take(LEFT_MAX).map(|task| TaskLeft {
        task,
        because: "there is no such task".to_owned(),
        missing: true,
    });
    Ok((theirs, missing.collect()))
}

/// Cancels, holds, releases, retries, suspends or resumes one task. That it is not in a state for it is a conflict.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/{verb}", tag = "tasks", operation_id = "change_task",
    params(
        ("task" = TaskId, Path, description = "Which task"),
        ("verb" = TaskVerb, Path, description = "What to do"),
    ),
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn change_one(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path((task, verb)): Path<(TaskId, TaskVerb)>,
) -> Result<Answer<TasksChanged>, Failure> {
    visible(&app, &who, task).await?;
    let changed = change_tasks(&app, who, verb, Selection::Tasks(vec![task])).await?;
    match changed.left.first() {
        Some(left) if changed.changed == 0 => {
            Err(Failure::new(ProblemCode::Conflict, left.because.clone()))
        }
        _ => Ok(Answer(changed)),
    }
}

/// Has the engine change tasks.
pub(in crate::http) async fn change_tasks(
    app: &App,
    by: Principal,
    verb: TaskVerb,
    tasks: Selection,
) -> Result<TasksChanged, Failure> {
    let reply = if verb == TaskVerb::Retry {
        retry(app, by, tasks).await?
    } else {
        app.engine
            .ask(Command::ChangeTasks { verb, tasks, by })
            .await?
    };
    match reply {
        Reply::TasksChanged { changed, left } => {
            let left = left.into_iter().map(|(task, because)| TaskLeft {
                task,
                because,
                missing: false,
            });
            Ok(TasksChanged {
                changed,
                left: left.collect(),
            })
        }
        other => Err(Failure::internal(format!(
            "a change of tasks was answered by {other:?}"
        ))),
    }
}

/// Queues ended tasks again. They are no longer in the engine's memory, so they are brought to
/// it from the store: one retry after the other, for what was read must still be true when the
/// engine hears of it, and nothing but a retry changes an ended task. Only their job may come to
/// its end in between, and is then read once more.
async fn retry(app: &App, by: Principal, tasks: Selection) -> Result<Reply, Failure> {
    let _one_at_a_time = app.retries.lock().await;
    let mut reads_left = RETRY_READS_MAX;
    loop {
        let ended = app.store.ended(&tasks).await?;
        reads_left -= 1;
        let command = Command::Retry {
            tasks: tasks.clone(),
            by: by.clone(),
            ended,
        };
        match app.engine.ask(command).await {
            Err(EngineError::Refused(refused))
                if refused.kind == RefusedKind::Conflict && reads_left > 0 => {}
            outcome => return Ok(outcome?),
        }
    }
}
