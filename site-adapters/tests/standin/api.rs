//! The HTTP side: lists, watches, makes and deletes, with the checks of a real API server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::status::{self, Refusal};
use super::store::{Kind, name};
use super::{Mishap, NAMESPACE, Shared, cluster};

const USER: &str = "system:serviceaccount:grid-pilots:wms";

type Params = BTreeMap<String, String>;

/// Serves on the listener until the runtime is shut down.
pub(super) fn serve(shared: Arc<Shared>, listener: TcpListener) -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let app = Router::new().fallback(answer).with_state(shared);
        axum::serve(listener, app).await
    });
    runtime
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(params): Query<Params>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if let Err(refusal) = authenticate(&shared, &headers) {
        return refused(refusal);
    }
    let path: Vec<&str> = uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let (kind, object) = match path[..] {
        ["version"] => return reply(200, &version()),
        ["api", "v1", "namespaces", name] => return namespace(name),
        ["api", "v1", "nodes"] => (Kind::Node, None),
        ["api", "v1", "pods"] => (Kind::Pod, None),
        ["apis", "scheduling.k8s.io", "v1", "priorityclasses", name] => (Kind::Class, Some(name)),
        [
            "apis",
            "batch",
            "v1",
            "namespaces",
            space,
            "jobs",
            ref rest @ ..,
        ] => {
            if space != NAMESPACE && method == Method::POST {
                return refused(status::no_namespace(space));
            }
            (Kind::Job, rest.first().copied())
        }
        ["api", "v1", "namespaces", _, resource, ref rest @ ..] => {
            let kind = match resource {
                "pods" => Kind::Pod,
                "secrets" => Kind::Secret,
                "events" => Kind::Event,
                "resourcequotas" => Kind::Quota,
                "limitranges" => Kind::Range,
                _ => return no_page(),
            };
            (kind, rest.first().copied())
        }
        _ => return no_page(),
    };
    let is_wide = path.len() == 3 && path[0] == "api";
    if is_wide && !shared.settings.sees_cluster {
        return refused(status::forbidden(USER, "list", kind.resource()));
    }
    match (method.as_str(), object) {
        ("GET", Some(name)) => match shared.store().get(kind, name) {
            Some(object) => reply(200, object),
            None => refused(status::not_found(kind, name)),
        },
        ("GET", None) if params.get("watch").is_some_and(|watch| watch == "true") => {
            watch(shared.clone(), kind, params)
        }
        ("GET", None) => list(&shared, kind, &params, &headers),
        ("POST", None) => make(&shared, kind, &params, &body).await,
        ("DELETE", Some(name)) => delete(&shared, kind, name, &body),
        _ => no_page(),
    }
}

fn authenticate(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return Err(status::forbidden("system:anonymous", "list", "jobs"));
    };
    let wanted = format!("Bearer {}", shared.token.lock().unwrap());
    if given.as_bytes() == wanted.as_bytes() {
        Ok(())
    } else {
        Err(status::unauthorized())
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "", "compiler": "gc",
        "gitTreeState": "clean", "buildDate": "2026-08-21T00:00:00Z", "goVersion": "go1.26.3",
        "platform": "linux/amd64",
    })
}

fn namespace(name: &str) -> Response {
    if name != NAMESPACE {
        return refused(status::no_namespace(name));
    }
    let object = json!({
        "kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    });
    reply(200, &object)
}

fn reply(code: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (code, kind, serde_json::to_vec(body).unwrap()).into_response()
}

fn refused((code, body): Refusal) -> Response {
    reply(code, &body)
}

fn no_page() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// Whether an object meets a selector, of labels or fields: `a=b,c!=d`.
fn meets(selector: Option<&String>, value: impl Fn(&str) -> Option<String>) -> bool {
    let terms = selector.map(String::as_str).unwrap_or_default();
    terms.split(',').filter(|t| !t.is_empty()).all(|term| {
        if let Some((key, other)) = term.split_once("!=") {
            return value(key).as_deref() != Some(other);
        }
        match term.split_once('=') {
            Some((key, wanted)) => value(key).as_deref() == Some(wanted.trim_start_matches('=')),
            None => value(term).is_some(),
        }
    })
}

fn is_selected(params: &Params, object: &Value) -> bool {
    let label = |key: &str| Some(object["metadata"]["labels"][key].as_str()?.to_owned());
    let field = |path: &str| {
        let place = format!("/{}", path.replace('.', "/"));
        Some(object.pointer(&place)?.as_str()?.to_owned())
    };
    meets(params.get("labelSelector"), label) && meets(params.get("fieldSelector"), field)
}

fn list(shared: &Shared, kind: Kind, params: &Params, headers: &HeaderMap) -> Response {
    let store = shared.store();
    let limit = params.get("limit").and_then(|limit| limit.parse().ok());
    let mut after = "";
    if let Some(token) = params.get("continue") {
        match token.split_once(' ') {
            Some((_, last)) => after = last,
            None => return refused(status::continue_expired()),
        }
    }
    let mut items = store
        .all(kind)
        .filter(|object| name(object) > after && is_selected(params, object));
    let page: Vec<Value> = items
        .by_ref()
        .take(limit.unwrap_or(usize::MAX))
        .cloned()
        .collect();
    let mut meta = json!({"resourceVersion": store.version().to_string()});
    if items.next().is_some() {
        let last = page.last().map(name).unwrap_or_default();
        meta["continue"] = format!("{} {last}", store.version()).into();
    }
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("as=PartialObjectMetadataList")) {
        let part = |object: &Value| {
            json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            })
        };
        let page: Vec<Value> = page.iter().map(part).collect();
        let (kind, version) = ("PartialObjectMetadataList", "meta.k8s.io/v1");
        return reply(
            200,
            &json!({"kind": kind, "apiVersion": version, "metadata": meta, "items": page}),
        );
    }
    reply(
        200,
        &json!({
            "kind": format!("{}List", kind.kind()),
            "apiVersion": kind.version(),
            "metadata": meta,
            "items": page,
        }),
    )
}

fn watch(shared: Arc<Shared>, kind: Kind, params: Params) -> Response {
    let number = |name: &str| params.get(name).and_then(|text| text.parse::<u64>().ok());
    let from = number("resourceVersion").unwrap_or(0);
    let until =
        tokio::time::Instant::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(1800));
    let wants_bookmarks = params
        .get("allowWatchBookmarks")
        .is_some_and(|b| b == "true");
    let changes = shared.changes.subscribe();
    let every = shared.settings.bookmark_every;
    let state = (shared, params, from, changes, false);
    let lines = futures::stream::unfold(state, move |state| async move {
        let (shared, params, mut seen, mut changes, is_over) = state;
        if is_over {
            return None;
        }
        loop {
            changes.borrow_and_update();
            let news = shared.store().after(kind, seen);
            let news = match news {
                Ok(news) => news,
                Err(kept) => {
                    let line = line(&status::expired_event(seen, kept));
                    return Some((line, (shared, params, seen, changes, true)));
                }
            };
            let mut lines = String::new();
            for change in news {
                seen = change.version;
                if is_selected(&params, &change.object) {
                    let event = json!({"type": change.event, "object": change.object});
                    lines.push_str(&line(&event));
                }
            }
            if !lines.is_empty() {
                return Some((lines, (shared, params, seen, changes, false)));
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(until) => return None,
                () = tokio::time::sleep(every), if wants_bookmarks => {
                    let version = shared.store().version();
                    let mark = json!({"type": "BOOKMARK", "object": {
                        "kind": kind.kind(), "apiVersion": kind.version(),
                        "metadata": {"resourceVersion": version.to_string()},
                    }});
                    return Some((line(&mark), (shared, params, version, changes, false)));
                }
            }
        }
    });
    let body = Body::from_stream(futures::StreamExt::map(lines, Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn line(event: &Value) -> String {
    format!("{event}\n")
}

async fn make(shared: &Shared, kind: Kind, params: &Params, body: &[u8]) -> Response {
    let mishap = {
        let mut mishaps = shared.mishaps.lock().unwrap();
        (!mishaps.is_empty()).then(|| mishaps.remove(0))
    };
    if mishap == Some(Mishap::Fail) {
        return refused(status::internal_error());
    }
    let made = make_object(shared, kind, params, body);
    shared.announce();
    if mishap == Some(Mishap::LoseAnswer) {
        // The connection ends in the middle of the answer.
        let cut = futures::stream::iter([Ok("{"), Err(std::io::Error::other("cut"))]);
        return (StatusCode::CREATED, Body::from_stream(cut)).into_response();
    }
    match made {
        Ok(object) => reply(201, &object),
        Err(refusal) => refused(refusal),
    }
}

fn make_object(
    shared: &Shared,
    kind: Kind,
    params: &Params,
    body: &[u8],
) -> Result<Value, Refusal> {
    let mut object: Value = serde_json::from_slice(body)
        .map_err(|error| status::bad_request(&format!("the object cannot be read: {error}")))?;
    let is_strict = params.get("fieldValidation").is_some_and(|v| v == "Strict");
    let unknown = match kind {
        Kind::Job => unknown_field::<k8s_openapi::api::batch::v1::Job>(&object),
        _ => unknown_field::<k8s_openapi::api::core::v1::Secret>(&object),
    };
    let cannot = |why: String| {
        let kind = kind.kind();
        let message = format!("{kind} in version \"v1\" cannot be handled as a {kind}: {why}");
        status::bad_request(&message)
    };
    match unknown.map_err(|why| cannot(format!("json: {why}")))? {
        Some(field) if is_strict => {
            return Err(cannot(format!(
                "strict decoding error: unknown field {field:?}"
            )));
        }
        _ => {}
    }
    let name = name(&object).to_owned();
    let mut store = shared.store();
    if kind == Kind::Job {
        let causes = cluster::wrong_with(&object);
        if !causes.is_empty() {
            return Err(status::invalid(&name, &causes));
        }
    }
    if store.get(kind, &name).is_some() {
        return Err(status::already_exists(kind, &name));
    }
    if kind == Kind::Job {
        cluster::admit_job(&store, &name)?;
        cluster::set_defaults(&mut object);
    }
    object["metadata"]["namespace"] = NAMESPACE.into();
    let made = store.put(kind, object);
    if kind == Kind::Job {
        return Ok(cluster::adopt(&mut store, made));
    }
    Ok(made)
}

/// A field that the type does not know: what is lost on the way through it.
fn unknown_field<T>(object: &Value) -> Result<Option<String>, String>
where
    T: serde::de::DeserializeOwned + serde::Serialize,
{
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let kept = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    Ok(lost(object, &kept, ""))
}

fn lost(given: &Value, kept: &Value, path: &str) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match kept.get(key) {
                Some(kept) => lost(value, kept, &path),
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(kept)) => {
            let pairs = given.iter().zip(kept).enumerate();
            pairs
                .map(|(index, (given, kept))| lost(given, kept, &format!("{path}[{index}]")))
                .find_map(|field| field)
        }
        _ => None,
    }
}

fn delete(shared: &Shared, kind: Kind, name: &str, body: &[u8]) -> Response {
    let options: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut store = shared.store();
    let Some(object) = store.get(kind, name) else {
        return refused(status::not_found(kind, name));
    };
    let uid = object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if let Some(asked) = options["preconditions"]["uid"].as_str()
        && asked != uid
    {
        return refused(status::uid_conflict(name, asked, &uid));
    }
    let policy = options["propagationPolicy"].as_str();
    let left = cluster::delete_job(&mut store, name, policy.unwrap_or("Orphan"));
    drop(store);
    shared.announce();
    match left {
        Some(object) => reply(200, &object),
        None => reply(
            200,
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {"name": name, "group": "batch", "kind": "jobs", "uid": uid},
            }),
        ),
    }
}
