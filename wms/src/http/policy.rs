//! `/v1/policy`: who is served next, and within which bounds. Everybody may read it: an order
//! that nobody can check is not a fair one.

use axum::Json as Answer;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fairway_api::public::{
    DueChange, HeldChange, NextTask, Page, PlaceChange, PolicyChange, PolicyDiff,
    PolicyHistoryQuery, PolicyReason,
};
use fairway_api::{Problem, ProblemCode};
use fairway_model::{EventKind, Policy};
use fairway_sched::Command;
use fairway_sched::what_if::{self, PolicyEffects};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Query, media_type};
use super::{App, Failure, Failures, operators_only};
use crate::auth::{Authenticated, sha256_hex};
use crate::store::PolicyEvent;

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 1000;

/// So many digits of the hash make a version.
const VERSION_DIGITS: usize = 32;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show, set))
        .routes(routes!(diff))
        .routes(routes!(history))
}

/// Shows the policy in force. Its version is in the `ETag`.
#[utoipa::path(
    get, path = "/v1/policy", tag = "policy", operation_id = "show_policy",
    responses(
        (status = OK, body = Policy, headers(("ETag", description = "Its version"))),
        Failures,
    ),
)]
async fn show(State(app): State<App>, _who: Authenticated) -> Result<Response, Failure> {
    let policy = in_force(&app).await?;
    Ok((tag(&policy)?, Answer(policy)).into_response())
}

/// Puts another policy in force, from the next decision on.
///
/// The body is the whole policy as JSON, or as TOML (`application/toml`); what it does not name is
/// as usual. With `If-Match` the change is made only if the policy in force still has that version.
#[utoipa::path(
    put, path = "/v1/policy", tag = "policy", operation_id = "set_policy",
    params(
        PolicyReason,
        ("If-Match" = Option<String>, Header,
         description = "The version that the change was made from"),
    ),
    request_body(content((Policy = "application/json"), (String = "application/toml"))),
    responses(
        (status = NO_CONTENT, description = "It is in force",
         headers(("ETag", description = "Its version"))),
        Failures,
    ),
)]
async fn set(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Query(reason): Query<PolicyReason>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    operators_only(&who, "change the policy")?;
    let because = because(reason)?;
    let policy = read(&headers, body).await?;
    let tag = tag(&policy)?;
    let from = match versions_asked(&headers) {
        None => None,
        Some(asked) => {
            let current = in_force(&app).await?;
            // Who repeats a request whose answer was lost has the policy in force already.
            if current != policy && !asked.is_met_by(&version(&current)?) {
                return Err(Failure::new(
                    ProblemCode::PolicyChanged,
                    "the policy in force is not the one that this change was made from; look at \
                     what was changed (`fairway policy history`), and make the change anew",
                ));
            }
            Some(Box::new(current))
        }
    };
    app.engine
        .ask(Command::SetPolicy {
            policy,
            by: who.name,
            because,
            from,
        })
        .await?;
    Ok((StatusCode::NO_CONTENT, tag).into_response())
}

/// Tells what would follow if a policy were put in force now. Nothing is changed.
///
/// For operators: it tells of everybody's tasks.
#[utoipa::path(
    post, path = "/v1/policy/diff", tag = "policy", operation_id = "diff_policy",
    request_body(content((Policy = "application/json"), (String = "application/toml"))),
    responses((status = OK, body = PolicyDiff), Failures),
)]
async fn diff(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer<PolicyDiff>, Failure> {
    operators_only(&who, "try a policy on the queue")?;
    let policy = read(&headers, body).await?;
    // Each copies the queue: one at a time.
    let turn = app.rehearsals.clone().lock_owned().await;
    let copy = |state: &fairway_sched::State, now| (state.policy().clone(), state.rehearsal(), now);
    let (current, rehearsal, now) = app.engine.look(copy).await?;
    let rehearse = move || {
        let effects = rehearsal.effects(&policy, now);
        drop(turn);
        (current.changes(&policy), version(&current), effects)
    };
    let (changes, version, effects) = tokio::task::spawn_blocking(rehearse)
        .await
        .map_err(Failure::internal)?;
    Ok(Answer(PolicyDiff {
        version: version?,
        changes,
        ..view(effects)
    }))
}

/// Lists the changes of the policy, the latest first: who made them, when, why, and what differed.
#[utoipa::path(
    get, path = "/v1/policy/history", tag = "policy", operation_id = "list_policy_changes",
    params(PolicyHistoryQuery),
    responses((status = OK, body = Page<PolicyChange>), Failures),
)]
async fn history(
    State(app): State<App>,
    _who: Authenticated,
    Query(query): Query<PolicyHistoryQuery>,
) -> Result<Answer<Page<PolicyChange>>, Failure> {
    let page = app.store.policy_events(&query).await?;
    Ok(Answer(Page {
        items: page.items.into_iter().filter_map(change).collect(),
        next: page.next,
    }))
}

async fn in_force(app: &App) -> Result<Policy, Failure> {
    Ok(app.engine.look(|state, _| state.policy().clone()).await?)
}

/// The version of a policy: the same for the same policy, whenever it is in force.
fn version(policy: &Policy) -> Result<String, Failure> {
    let text = serde_json::to_string(policy).map_err(Failure::internal)?;
    Ok(version_of(&text))
}

fn version_of(text: &str) -> String {
    let mut version = sha256_hex(text);
    version.truncate(VERSION_DIGITS);
    version
}

fn tag(policy: &Policy) -> Result<[(header::HeaderName, String); 1], Failure> {
    Ok([(header::ETAG, format!("\"{}\"", version(policy)?))])
}

/// What `If-Match` asks for.
struct Versions(String);

impl Versions {
    fn is_met_by(&self, version: &str) -> bool {
        self.0.split(',').any(|asked| {
            let asked = asked.trim();
            asked == "*" || asked.trim_start_matches("W/").trim_matches('"') == version
        })
    }
}

fn versions_asked(headers: &HeaderMap) -> Option<Versions> {
    let value = headers.get(header::IF_MATCH)?;
    // What is no text is no version of ours.
    Some(Versions(value.to_str().unwrap_or_default().to_owned()))
}

fn because(reason: PolicyReason) -> Result<Option<String>, Failure> {
    let because = reason.because.map(|it| it.trim().to_owned());
    let because = because.filter(|it| !it.is_empty());
    match because.as_ref().map(|it| it.chars().count()) {
        Some(chars) if chars > REASON_CHARS_MAX => Err(Failure::bad_request(format!(
            "because may have at most {REASON_CHARS_MAX} characters, not {chars}"
        ))),
        _ => Ok(because),
    }
}

/// Reads a policy from a body, with all of its mistakes.
async fn read(headers: &HeaderMap, body: Bytes) -> Result<Policy, Failure> {
    if !matches!(
        media_type(headers).as_str(),
        "application/json" | "application/toml"
    ) {
        return Err(Failure::new(
            ProblemCode::UnsupportedMediaType,
            "send the policy as application/json or application/toml",
        ));
    }
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| Failure::bad_request("the policy is not text in UTF-8"))?;
    // A long text takes its time: not where other requests wait for theirs.
    let read = tokio::task::spawn_blocking(move || Policy::read(&text));
    read.await.map_err(Failure::internal)?.map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Problem {
            mistakes,
            ..Problem::new(ProblemCode::InvalidPolicy, told.join("\n"))
        }
        .into()
    })
}

/// The effects in the words of the public protocol.
fn view(effects: PolicyEffects) -> PolicyDiff {
    let next = |task: what_if::NextTask| NextTask {
        task: task.task,
        user: task.owner.user,
        group: task.owner.group,
    };
    let place = |it: what_if::PlaceChange| PlaceChange {
        user: it.owner.user,
        group: it.owner.group,
        waiting: it.waiting,
        before: it.before,
        after: it.after,
    };
    let due = |it: what_if::DueChange| DueChange {
        path: it.path,
        before: it.before,
        after: it.after,
    };
    let held = |it: what_if::HeldChange| HeldChange {
        user: it.owner.user,
        group: it.owner.group,
        waiting: it.waiting,
        before: it.before,
        after: it.after,
        clause: it.clause.to_owned(),
        because: it.because,
    };
    PolicyDiff {
        version: String::new(),
        changes: Vec::new(),
        waiting: effects.waiting,
        places: effects.places.into_iter().map(place).collect(),
        places_left_out: effects.places_left_out as u64,
        dues: effects.dues.into_iter().map(due).collect(),
        dues_left_out: effects.dues_left_out as u64,
        held: effects.held.into_iter().map(held).collect(),
        held_left_out: effects.held_left_out as u64,
        next_before: effects.next_before.into_iter().map(next).collect(),
        next_after: effects.next_after.into_iter().map(next).collect(),
    }
}

/// A change as it is told. A policy of a version of Fairway that is not understood any more is
/// told without what differed.
fn change(event: PolicyEvent) -> Option<PolicyChange> {
    let EventKind::PolicyChanged {
        policy: text,
        by,
        because,
    } = event.event.kind
    else {
        return None;
    };
    let read = |text: &str| serde_json::from_str::<Policy>(text).ok();
    let before = match &event.before {
        Some(before) => read(before),
        None => Some(Policy::default()),
    };
    let changes = before
        .zip(read(&text))
        .map(|(before, after)| before.changes(&after));
    Some(PolicyChange {
        seq: event.event.seq,
        at: event.event.at,
        by,
        because,
        version: version_of(&text),
        changes: changes.unwrap_or_default(),
    })
}
