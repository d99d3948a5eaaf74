//! `POST /v1/sites/{site}/check`

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use fairway_api::public::{CheckEnd, CheckEvent, CheckQuery, CheckStep};
use fairway_model::SiteName;
use futures::stream;

use super::{admins_only, registered};
use crate::auth::Authenticated;
use crate::http::extract::{Path, Query};
use crate::http::{App, Failure, Failures};
use crate::reconcile::CheckOrder;

const WAIT_S: u64 = 300;
const WAIT_S_MAX: u64 = 3600;

/// Tries a site: is it reached, are its queues there, does a pilot start and call home? Each
/// step is told when it is known, as an event `step`; the event `end` is the last. Whoever
/// closes the connection ends it. Nothing is left behind.
#[utoipa::path(
    post, path = "/v1/sites/{site}/check", tag = "sites", operation_id = "check_site",
    params(("site" = SiteName, Path, description = "Which site"), CheckQuery),
    responses(
        (
            status = OK,
            description = "Events `step` and `end`, with a CheckStep or CheckEnd as their data",
            content((CheckStep = "text/event-stream"), (CheckEnd = "text/event-stream; end")),
        ),
        Failures,
    ),
)]
pub(super) async fn check(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(name): Path<SiteName>,
    Query(query): Query<CheckQuery>,
) -> Result<Response, Failure> {
    admins_only(&who, &name)?;
    let wait_s = query.wait_s.unwrap_or(WAIT_S);
    if !(1..=WAIT_S_MAX).contains(&wait_s) {
        return Err(Failure::bad_request(format!(
            "wait_s must be from 1 to {WAIT_S_MAX}"
        )));
    }
    let site = registered(&app, &name).await?;
    if let Some(ce) = &query.ce
        && !site.ces.iter().any(|known| known.name == *ce)
    {
        return Err(Failure::not_found(format_args!("CE {name}/{ce}")));
    }
    let place = app.stream_place()?;
    let events = app.desk.checks.begin(CheckOrder {
        site,
        ce: query.ce,
        wait: query
            .pilot
            .unwrap_or(true)
            .then(|| Duration::from_secs(wait_s)),
        by: who.name,
    });
    // The place is held until the last event is sent.
    let events = stream::unfold((events, place), async |(mut events, place)| {
        let event = events.recv().await?;
        Some((Ok::<_, Infallible>(written(&event)), (events, place)))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

fn written(event: &CheckEvent) -> Event {
    let (name, data) = match event {
        CheckEvent::Step(step) => ("step", serde_json::to_string(step)),
        CheckEvent::End(end) => ("end", serde_json::to_string(end)),
    };
    // Texts and numbers are always JSON.
    Event::default().event(name).data(data.unwrap_or_default())
}
