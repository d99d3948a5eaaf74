//! `POST /v1/sites/{site}/nodes/{host}/release`

use axum::extract::State;
use axum::http::StatusCode;
use fairway_api::public::ReleaseQuery;
use fairway_model::{CeId, SiteName};
use fairway_sched::Command;

use super::{admins_only, registered};
use crate::auth::Authenticated;
use crate::http::extract::{Path, Query};
use crate::http::{App, Failure, Failures};

/// Gives a node tasks again that was set aside because work failed on it at once.
#[utoipa::path(
    post, path = "/v1/sites/{site}/nodes/{host}/release", tag = "sites",
    operation_id = "release_node",
    params(
        ("site" = SiteName, Path, description = "Which site"),
        ("host" = String, Path, description = "The node, by the name that its pilots tell"),
        ReleaseQuery,
    ),
    responses((status = NO_CONTENT, description = "It gets tasks again"), Failures),
)]
pub(super) async fn release(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path((name, host)): Path<(SiteName, String)>,
    Query(query): Query<ReleaseQuery>,
) -> Result<StatusCode, Failure> {
    admins_only(&who, &name)?;
    let site = registered(&app, &name).await?;
    let wanted = |ce: &CeId| query.ce.as_ref().is_none_or(|only| ce.ce == *only);
    let ces: Vec<CeId> = site
        .ces
        .into_iter()
        .map(|ce| CeId {
            site: name.clone(),
            ce: ce.name,
        })
        .filter(wanted)
        .collect();
    let node = host.clone();
    let aside: Vec<CeId> = app
        .engine
        .look(move |state, _| {
            let here = |ce: &CeId| state.set_aside(ce).iter().any(|it| it.host == node);
            ces.into_iter().filter(here).collect()
        })
        .await?;
    if aside.is_empty() {
        let what = format_args!("node {host} of {name} that is set aside");
        return Err(Failure::not_found(what));
    }
    for ce in aside {
        app.engine
            .ask(Command::ReleaseNode {
                ce,
                host: host.clone(),
                by: who.name.clone(),
            })
            .await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
