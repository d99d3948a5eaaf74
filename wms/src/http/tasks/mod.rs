//! `/v1/tasks`: the units of work, one by one or many at once.

mod change;
mod events;
mod explain;
mod list;
mod log;
mod output;
mod show;

use fairway_api::public::TaskView;
use fairway_model::{Principal, TaskId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Failure};

pub(super) use change::change_tasks;
pub(super) use output::archive_response;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(show::show))
        .routes(routes!(events::events))
        .routes(routes!(explain::explain))
        .routes(routes!(log::stdout))
        .routes(routes!(log::stderr))
        .routes(routes!(output::output))
        .routes(routes!(change::cancel_many))
        .routes(routes!(change::hold_many))
        .routes(routes!(change::release_many))
        .routes(routes!(change::retry_many))
        .routes(routes!(change::suspend_many))
        .routes(routes!(change::resume_many))
        .routes(routes!(change::change_one))
}

/// The task, if `who` may see it.
async fn visible(app: &App, who: &Principal, task: TaskId) -> Result<TaskView, Failure> {
    app.store
        .task_view(task)
        .await?
        .filter(|view| who.may_touch(&view.owner))
        .ok_or_else(|| Failure::not_found(format_args!("task {task}")))
}
