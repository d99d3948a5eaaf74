//! The client against a small server that plays the part of Fairway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Multipart, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use fairway_model::{JobId, TaskId, TaskState, TaskVerb};

use super::*;
use crate::public::{JobsQuery, LogQuery, SubmitReply, TasksQuery};
use crate::{Problem, ProblemCode};

/// Serves `router` on a free port, and returns a client of it.
async fn client_of(router: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    client(&server)
}

fn client(server: &str) -> Client {
    Client::new(&ClientSettings {
        server: server.to_owned(),
        token: Some("fwu_1_secret".into()),
        ca_pem: None,
    })
    .unwrap()
}

fn problem(code: ProblemCode, detail: &str) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap();
    let body = serde_json::to_vec(&Problem::new(code, detail)).unwrap();
    let headers = [("content-type", "application/problem+json")];
    (status, headers, body).into_response()
}

fn job_json() -> serde_json::Value {
    serde_json::json!({
        "id": 12, "name": "sweep", "owner": "alice", "group": null, "submitted_at": 0,
        "tasks": 3, "states": {"succeeded": 2, "running": 1}, "ended_at": null,
    })
}

#[tokio::test]
async fn the_token_and_the_query_are_sent() {
    async fn list(headers: HeaderMap, RawQuery(query): RawQuery) -> axum::Json<serde_json::Value> {
        assert_eq!(headers["authorization"], "Bearer fwu_1_secret");
        assert_eq!(query.as_deref(), Some("state=active&limit=5"));
        axum::Json(serde_json::json!({"items": [job_json()], "next": "abc"}))
    }
    let client = client_of(Router::new().route("/v1/jobs", get(list))).await;
    let query = JobsQuery {
        state: Some("active".into()),
        limit: Some(5),
        ..JobsQuery::default()
    };
    let page = client.jobs(&query).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("abc"));
    assert_eq!(page.items[0].done(), 2);
}

#[tokio::test]
async fn a_problem_comes_back_typed() {
    let refuse = || async { problem(ProblemCode::NotFound, "there is no job 12") };
    let client = client_of(Router::new().route("/v1/jobs/12", get(refuse))).await;
    let error = client.job(JobId(12)).await.unwrap_err();
    let problem = error.problem().expect("a problem");
    assert_eq!(problem.code, ProblemCode::NotFound);
    assert_eq!(
        error.to_string(),
        "There is no such thing: there is no job 12"
    );
}

#[tokio::test]
async fn another_program_is_recognised() {
    let page = || async { (StatusCode::BAD_GATEWAY, "<html>gone</html>") };
    let client = client_of(Router::new().route("/v1/whoami", get(page))).await;
    let error = client.whoami().await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Foreign { status: 502, excerpt, .. } if excerpt == "<html>gone</html>"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let calls = Arc::new(AtomicU32::new(0));
    async fn busy(State(calls): State<Arc<AtomicU32>>) -> Response {
        if calls.fetch_add(1, Ordering::SeqCst) < 2 {
            let mut response = problem(ProblemCode::Overloaded, "too much to do");
            let value = HeaderValue::from_static("0");
            response.headers_mut().insert("retry-after", value);
            return response;
        }
        axum::Json(serde_json::json!({"changed": 1, "left": []})).into_response()
    }
    let router = Router::new()
        .route("/v1/jobs/12/cancel", post(busy))
        .with_state(calls.clone());
    let client = client_of(router).await;
    let changed = client
        .change_job(JobId(12), TaskVerb::Cancel)
        .await
        .unwrap();
    assert_eq!(changed.changed, 1);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    // The port was free a moment ago, and nobody else takes it on purpose.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&server).whoami().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(&server), "{error}");
}

/// What the stand-in saw of a submission.
type Parts = Vec<(String, Option<String>, Option<String>, Bytes)>;

#[tokio::test]
async fn a_submission_carries_its_files_and_one_key() {
    type Seen = Arc<std::sync::Mutex<(Vec<String>, Parts)>>;
    async fn submit(State(seen): State<Seen>, headers: HeaderMap, mut form: Multipart) -> Response {
        let mut parts = Parts::new();
        while let Some(field) = form.next_field().await.unwrap() {
            parts.push((
                field.name().unwrap().to_owned(),
                field.file_name().map(str::to_owned),
                field.content_type().map(str::to_owned),
                field.bytes().await.unwrap(),
            ));
        }
        let mut seen = seen.lock().unwrap();
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        seen.0.push(key);
        seen.1 = parts;
        if seen.0.len() == 1 {
            return problem(ProblemCode::StoreUnavailable, "not now");
        }
        let reply = SubmitReply {
            job: JobId(7),
            tasks: 1,
            warnings: Vec::new(),
            repeated: false,
        };
        axum::Json(reply).into_response()
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("run.sh");
    let data = folder.path().join("data.txt");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::write(&data, "1 2 3").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let seen = Seen::default();
    let router = Router::new()
        .route("/v1/jobs", post(submit))
        .with_state(seen.clone());
    let client = client_of(router).await;

    let submission = Submission {
        jdl: "[Executable = \"run.sh\"]".into(),
        group: Some("biomed".parse().unwrap()),
        files: vec![
            InputFile {
                name: "run.sh".into(),
                path: script,
            },
            InputFile {
                name: "../in/data.txt".into(),
                path: data,
            },
        ],
    };
    let reply = client.submit(&submission).await.unwrap();

    assert_eq!(reply.job, JobId(7));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.0.len(), 2, "sent again after 503");
    assert_eq!(seen.0[0], seen.0[1], "with the same key");
    let part = |name: &str, file: Option<&str>, kind: Option<&str>, body: &'static str| {
        (
            name.to_owned(),
            file.map(str::to_owned),
            kind.map(str::to_owned),
            Bytes::from(body),
        )
    };
    let expected = vec![
        part(
            "jdl",
            None,
            Some("application/jdl"),
            "[Executable = \"run.sh\"]",
        ),
        part("group", None, None, "biomed"),
        part(
            "input",
            Some("run.sh"),
            Some("application/x-executable"),
            "#!/bin/sh\n",
        ),
        part(
            "input",
            Some("../in/data.txt"),
            Some("application/octet-stream"),
            "1 2 3",
        ),
    ];
    assert_eq!(seen.1, expected);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let client = client("http://127.0.0.1:9");
    let submission = Submission {
        files: vec![InputFile {
            name: "a".into(),
            path: "/nowhere/a".into(),
        }],
        ..Submission::default()
    };
    let error = client.submit(&submission).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/a"), "{error}");
}

#[tokio::test]
async fn a_log_is_followed_to_the_end() {
    async fn stream(RawQuery(query): RawQuery) -> Response {
        assert_eq!(query.as_deref(), Some("tail=2&follow=true"));
        let body = "event: chunk\ndata: \"hello\\n\"\n\nevent: end\ndata: succeeded\n\n";
        ([("content-type", "text/event-stream")], body).into_response()
    }
    let client = client_of(Router::new().route("/v1/tasks/12.0/stdout", get(stream))).await;
    let query = LogQuery {
        tail: Some(2),
        ..LogQuery::default()
    };
    let mut log = client
        .follow(TaskId::new(JobId(12), 0), LogStream::Stdout, &query)
        .await
        .unwrap();
    assert_eq!(
        log.next().await.unwrap(),
        Some(LogEvent::Chunk("hello\n".into()))
    );
    assert_eq!(
        log.next().await.unwrap(),
        Some(LogEvent::End(TaskState::Succeeded))
    );
    assert_eq!(log.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_task_query_names_its_job() {
    async fn list(RawQuery(query): RawQuery) -> axum::Json<serde_json::Value> {
        assert_eq!(query.as_deref(), Some("job=12&state=failed%2Ccancelled"));
        axum::Json(serde_json::json!({"items": []}))
    }
    let client = client_of(Router::new().route("/v1/tasks", get(list))).await;
    let query = TasksQuery {
        job: Some(JobId(12)),
        state: Some("failed,cancelled".into()),
        ..TasksQuery::default()
    };
    assert!(client.tasks(&query).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn an_id_stays_one_segment_of_the_path() {
    let gone = || async { StatusCode::NO_CONTENT };
    let client = client_of(Router::new().route("/v1/tokens/{id}", delete(gone))).await;
    client.revoke_token("../jobs/1 2?x").await.unwrap();
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refusal = |server: &str, ca_pem: Option<&str>| {
        let settings = ClientSettings {
            server: server.to_owned(),
            token: Some("fwu_1_secret".into()),
            ca_pem: ca_pem.map(|pem| pem.as_bytes().to_vec()),
        };
        Client::new(&settings).unwrap_err().to_string()
    };
    assert!(refusal("wms.example.org", None).contains("https://"));
    assert!(refusal("ftp://wms.example.org", None).contains("https://"));
    assert!(refusal("http://wms.example.org", None).contains("in clear"));
    assert!(refusal("https://wms.example.org", Some("nothing")).contains("PEM"));
}

#[test]
fn the_token_is_not_shown() {
    let settings = ClientSettings {
        server: "https://wms.example.org".into(),
        token: Some("fwu_1_secret".into()),
        ca_pem: None,
    };
    assert!(!format!("{settings:?}").contains("secret"));
    let client = Client::new(&settings).unwrap();
    assert!(!format!("{client:?}").contains("secret"));
}
