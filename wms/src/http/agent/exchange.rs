//! `POST /v1/agent/{site}/exchange`: replies and requests.

use axum::Json as Answer;
use axum::extract::State;
use fairway_api::ProblemCode;
use fairway_api::agent::{ExchangeReply, ExchangeRequest};
use fairway_model::{AdapterSettings, Principal, SiteName};

use crate::auth::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::{App, Failure, Failures};
use crate::reconcile::agents::SessionOver;

/// Longest text with which an agent may name itself, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Brings an agent's replies, and gives it new requests. Held open while there are none.
#[utoipa::path(
    post, path = "/v1/agent/{site}/exchange", tag = "site agents", operation_id = "agent_exchange",
    params(("site" = SiteName, Path, description = "Which site's agent calls")),
    request_body = ExchangeRequest,
    responses((status = OK, body = ExchangeReply), Failures),
)]
pub(super) async fn exchange(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(site): Path<SiteName>,
    Json(exchange): Json<ExchangeRequest>,
) -> Result<Answer<ExchangeReply>, Failure> {
    for_its_agent(&who, &site)?;
    served_by_agent(&app, &site).await?;
    for (name, text) in [
        ("session", &exchange.session),
        ("version", &exchange.version),
        ("host", &exchange.host),
    ] {
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(char::is_control) {
            return Err(Failure::bad_request(format!(
                "{name} must be 1 to {NAME_BYTES_MAX} bytes without control characters"
            )));
        }
    }
    match app.agents.exchange(&site, exchange, app.limits.poll).await {
        Ok(reply) => Ok(Answer(reply)),
        Err(SessionOver) => Err(Failure::new(
            ProblemCode::Conflict,
            format!(
                "another run of an agent of the site {site} has taken over; this one is to end"
            ),
        )),
    }
}

/// Refuses everybody but operators and the site's admins.
fn for_its_agent(who: &Principal, site: &SiteName) -> Result<(), Failure> {
    if who.administers(site) {
        return Ok(());
    }
    Err(Failure::new(
        ProblemCode::Forbidden,
        format!("an agent of the site {site} needs the token of one of its admins"),
    ))
}

/// Refuses if nobody will ask this site's agent for anything.
async fn served_by_agent(app: &App, site: &SiteName) -> Result<(), Failure> {
    let name = site.clone();
    let by_agent = app
        .engine
        .look(move |state, _| {
            let site = state.site(&name)?;
            Some(matches!(site.adapter, AdapterSettings::Agent(_)))
        })
        .await?;
    match by_agent {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(
            ProblemCode::Conflict,
            format!("the site {site} is not served by an agent; its adapter is another"),
        )),
        None => Err(Failure::not_found(format_args!("site {site}"))),
    }
}
