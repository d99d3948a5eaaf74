//! `/v1/jobs/{job}/nodes`: the parts of a compound job.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use fairway_api::public::{NodeView, NodesQuery, Page, TasksChanged};
use fairway_model::{JobId, Principal, TaskVerb};
use fairway_sched::command::Selection;

use super::output::outputs;
use super::visible;
use crate::auth::Authenticated;
use crate::http::extract::{Path, Query};
use crate::http::tasks::change_tasks;
use crate::http::{App, Failure, Failures};

/// The node, if `who` may see its job.
async fn node(app: &App, who: &Principal, job: JobId, name: &str) -> Result<NodeView, Failure> {
    visible(app, who, job).await?;
    let found = app.store.node_view(job, name).await?;
    found.ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        Failure::not_found(format_args!("node `{name}` of job {job}"))
    })
}

/// Lists the nodes of a compound job in their order; there are none of other jobs.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/nodes", tag = "jobs", operation_id = "list_nodes",
    params(("job" = JobId, Path, description = "Which job"), NodesQuery),
    responses((status = OK, body = Page<NodeView>), Failures),
)]
pub(super) async fn list(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(job): Path<JobId>,
    Query(query): Query<NodesQuery>,
) -> Result<Json<Page<NodeView>>, Failure> {
    visible(&app, &who, job).await?;
    Ok(Json(app.store.nodes(job, &query).await?))
}

/// Shows one node of a compound job.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/nodes/{node}", tag = "jobs", operation_id = "show_node",
    params(
        ("job" = JobId, Path, description = "Which job"),
        ("node" = String, Path, description = "The node's name"),
    ),
    responses((status = OK, body = NodeView), Failures),
)]
pub(super) async fn show(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path((job, name)): Path<(JobId, String)>,
) -> Result<Json<NodeView>, Failure> {
    Ok(Json(node(&app, &who, job, &name).await?))
}

/// Gives the output sandboxes of all tasks of a node as one gzipped tar, in folders as in that
/// of the whole job.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/nodes/{node}/output", tag = "jobs", operation_id = "node_output",
    params(
        ("job" = JobId, Path, description = "Which job"),
        ("node" = String, Path, description = "The node's name"),
    ),
    responses((status = OK, body = Vec<u8>, content_type = "application/gzip"), Failures),
)]
pub(super) async fn output(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path((job, name)): Path<(JobId, String)>,
) -> Result<Response, Failure> {
    let node = node(&app, &who, job, &name).await?;
    outputs(&app, job, node.first..node.first + node.tasks).await
}

/// Cancels, holds, releases or retries all tasks of a node for which that makes sense.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/nodes/{node}/{verb}", tag = "jobs", operation_id = "change_node",
    params(
        ("job" = JobId, Path, description = "Which job"),
        ("node" = String, Path, description = "The node's name"),
        ("verb" = TaskVerb, Path, description = "What to do"),
    ),
    responses((status = OK, body = TasksChanged), Failures),
)]
pub(super) async fn change(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path((job, name, verb)): Path<(JobId, String, TaskVerb)>,
) -> Result<Json<TasksChanged>, Failure> {
    let node = node(&app, &who, job, &name).await?;
    let tasks = Selection::Row(job, node.first, node.first + node.tasks);
    Ok(Json(change_tasks(&app, who, verb, tasks).await?))
}
