//! `/v1/jobs`: what users submit.

mod change;
mod list;
mod nodes;
mod output;
mod show;
mod submit;

use fairway_api::public::JobView;
use fairway_model::{JobId, Principal};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Failure};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(show::show))
        .routes(routes!(show::jdl))
        .routes(routes!(output::output))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show))
        .routes(routes!(nodes::output))
        .routes(routes!(nodes::change))
        .routes(routes!(change::change))
}

/// Apart from the others: it takes larger bodies, and longer.
pub(super) fn submission_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(submit::submit))
}

/// The job, if `who` may see it.
pub(super) async fn visible(app: &App, who: &Principal, job: JobId) -> Result<JobView, Failure> {
    app.store
        .job_view(job)
        .await?
        .filter(|view| who.may_touch(&view.owner))
        .ok_or_else(|| Failure::not_found(format_args!("job {job}")))
}
