//! A server for tests: it speaks the pilot protocol to one pilot, keeps its books in
//! memory, and can be away. And the pilot itself, as a process.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "shared by tests and benchmark, each of which uses a part; a panic is how both fail"
)]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path as FilePath;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use fairway_api::pilot::*;
use fairway_api::{Problem, ProblemCode};
use fairway_model::{Attempt, AttemptEnd, JobId, Order, PilotId, Resources, TaskId};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;

pub const SECRET: &str = "one-time-secret-7f3a";
pub const TOKEN: &str = "fwp_1_session-token-91bc";
/// What the server holds a long poll for.
const POLL: Duration = Duration::from_secs(2);
/// Nothing in these tests takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

type Key = (TaskId, Attempt);

#[derive(Default)]
pub struct Books {
    pub queue: VecDeque<Lease>,
    /// Leases that are live, and the round that granted them.
    pub live: BTreeMap<Key, (Lease, u64)>,
    pub reports: Vec<Report>,
    /// How many of the reports are of an end.
    pub reports_of_ends: u32,
    pub orders: Vec<AttemptOrder>,
    pub drain: bool,
    pub inputs: BTreeMap<String, Vec<u8>>,
    pub input_fetches: u32,
    pub streams: BTreeMap<(Key, String), Vec<u8>>,
    /// Most that is kept of a stream; 0 is no limit.
    pub stream_max: usize,
    /// Replies to this many chunks are lost after they were kept.
    pub lose_chunk_replies: u32,
    pub outputs: BTreeMap<Key, Vec<u8>>,
    pub refuse_outputs: bool,
    /// Replies to this many syncs are lost after they took effect.
    pub lose_replies: u32,
    pub away: bool,
    pub ended_session: bool,
    pub capacity: Resources,
    pub round: u64,
    pub syncs: u32,
    pub registrations: Vec<RegisterRequest>,
    pub goodbye: Option<String>,
}

impl Books {
    pub fn end_of(&self, task: u32) -> Option<(AttemptEnd, Used)> {
        self.reports.iter().find_map(|report| match &report.what {
            ReportKind::Ended { end, used } if report.task.index == task => {
                Some((end.clone(), *used))
            }
            _ => None,
        })
    }

    pub fn has_started(&self, task: u32) -> bool {
        let started = |report: &Report| {
            report.task.index == task && matches!(report.what, ReportKind::Started)
        };
        self.reports.iter().any(started)
    }

    pub fn stream(&self, task: u32, stream: &str) -> String {
        let found = self
            .streams
            .iter()
            .find(|((key, name), _)| key.0.index == task && name == stream);
        found
            .map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }
}

#[derive(Clone)]
pub struct StandIn {
    books: Arc<Mutex<Books>>,
    changed: watch::Sender<u64>,
    pub url: String,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let me = Self {
            books: Arc::default(),
            changed: watch::channel(0).0,
            url,
        };
        let app = Router::new()
            .route("/v1/pilot/register", post(register))
            .route("/v1/pilot/sync", post(sync))
            .route("/v1/pilot/goodbye", post(goodbye))
            .route("/v1/pilot/tasks/{task}/{attempt}/input/{name}", get(input))
            .route("/v1/pilot/tasks/{task}/{attempt}/output", put(output))
            .route("/v1/pilot/tasks/{task}/{attempt}/{stream}", put(stream))
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(me.clone(), gate))
            .with_state(me.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        me
    }

    pub fn look(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// Changes the books and wakes whoever waits for that.
    pub fn change<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        let outcome = change(&mut self.look());
        self.changed.send_modify(|version| *version += 1);
        outcome
    }

    /// Waits until `found` finds something in the books.
    pub async fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Books) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(value) = found(&self.look()) {
                    return value;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(value) => value,
            Err(_) => {
                let books = self.look();
                let last = &books.reports[books.reports.len().saturating_sub(5)..];
                panic!("{what} did not happen; last reports: {last:?}")
            }
        }
    }

    pub async fn wait_until(&self, what: &str, mut holds: impl FnMut(&Books) -> bool) {
        self.wait_for(what, |books| holds(books).then_some(()))
            .await;
    }

    pub async fn end_of(&self, task: u32) -> (AttemptEnd, Used) {
        self.wait_for("the task's end", |books| books.end_of(task))
            .await
    }

    pub fn submit(&self, lease: Lease) {
        self.change(|books| books.queue.push_back(lease));
    }

    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            server: self.url.clone(),
            ca_pem: None,
            pilot: PilotId(1),
            ce: "here/local".parse().unwrap(),
            secret: SECRET.to_owned(),
            resources: Resources {
                cores: 2,
                memory_mib: 0,
                gpus: 0,
            },
            whole_node: false,
            walltime_s: 3600,
            work_dir: None,
            idle_s: 3600,
        }
    }
}

/// A task that runs `script` in a shell.
pub fn shell(index: u32, script: &str) -> Lease {
    lease(index, "/bin/sh", &["-c", script])
}

pub fn lease(index: u32, executable: &str, arguments: &[&str]) -> Lease {
    Lease {
        task: TaskId::new(JobId(1), index),
        attempt: Attempt(1),
        payload: Payload {
            executable: executable.to_owned(),
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            resources: Resources {
                cores: 1,
                memory_mib: 0,
                gpus: 0,
            },
            ..Payload::default()
        },
    }
}

/// A running pilot; killed when dropped, so that a failing test leaves nothing behind.
pub struct Pilot {
    pub child: Child,
}

impl Pilot {
    /// A pilot in a job of Slurm.
    pub async fn start(bootstrap: &Bootstrap) -> Self {
        let document = serde_json::to_vec(bootstrap).unwrap();
        Self::start_with(&document, &[("SLURM_JOB_ID", "77")]).await
    }

    /// A pilot with this on its standard input and these variables set.
    pub async fn start_with(document: &[u8], variables: &[(&str, &str)]) -> Self {
        let program = FilePath::new(env!("CARGO_BIN_EXE_fairway-pilot"));
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .env("BATCH_SECRET", "of-the-batch-system")
            .envs(variables.iter().copied())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(document).await.unwrap();
        Self { child }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().unwrap().try_into().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its exit code.
    pub async fn end(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("the pilot did not end").unwrap().code()
    }
}

fn refuse(code: ProblemCode, detail: &str) -> Response {
    problem(Problem::new(code, detail))
}

fn problem(problem: Problem) -> Response {
    (StatusCode::from_u16(problem.status).unwrap(), Json(problem)).into_response()
}

async fn gate(
    State(me): State<StandIn>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let (away, over) = {
        let books = me.look();
        (books.away, books.ended_session)
    };
    if away {
        return (StatusCode::BAD_GATEWAY, "nobody there").into_response();
    }
    if over {
        return refuse(ProblemCode::PilotEnded, "written off");
    }
    let authorized = headers
        .get("authorization")
        .is_some_and(|value| *value == format!("Bearer {TOKEN}"));
    if !authorized && !request.uri().path().ends_with("/register") {
        return refuse(ProblemCode::Unauthorized, "no valid token");
    }
    next.run(request).await
}

async fn register(State(me): State<StandIn>, Json(request): Json<RegisterRequest>) -> Response {
    if request.secret != SECRET {
        return refuse(ProblemCode::Unauthorized, "the bootstrap secret is wrong");
    }
    me.change(|books| {
        books.capacity = request.resources;
        books.registrations.push(request);
    });
    let poll_s = POLL.as_secs();
    Json(RegisterReply {
        token: TOKEN.to_owned(),
        heartbeat_s: 10,
        poll_s,
    })
    .into_response()
}

async fn sync(State(me): State<StandIn>, Json(request): Json<SyncRequest>) -> Response {
    let mut changes = me.changed.subscribe();
    let mut reply = SyncReply::default();
    let reports = !request.reports.is_empty();
    let lost = me.change(|books| {
        books.syncs += 1;
        take_reports(books, &request.reports, &mut reply);
        if let Some(want) = request.want {
            books.round = books.round.max(want.round);
        }
        let lost = books.lose_replies > 0;
        books.lose_replies -= u32::from(lost);
        lost
    });
    let serve = async {
        loop {
            {
                let mut books = me.look();
                if let Some(want) = request.want {
                    grant(&mut books, &want, &request.holding, &mut reply);
                }
                reply.orders.append(&mut books.orders);
                reply.drain = books.drain;
                let newer = request.want.is_none_or(|want| want.round < books.round);
                let news = !reply.leases.is_empty() || !reply.orders.is_empty() || reply.drain;
                if reports || newer || news || books.away || books.ended_session {
                    return;
                }
            }
            changes.changed().await.unwrap();
        }
    };
    // A poll that times out is answered as well, with nothing.
    let _ = tokio::time::timeout(POLL, serve).await;
    if lost || me.look().away {
        return (StatusCode::BAD_GATEWAY, "the reply was lost").into_response();
    }
    Json(reply).into_response()
}

fn take_reports(books: &mut Books, reports: &[Report], reply: &mut SyncReply) {
    for report in reports {
        let key = (report.task, report.attempt);
        if !books.live.contains_key(&key) {
            let (task, attempt) = key;
            reply.orders.push(AttemptOrder {
                task,
                attempt,
                what: Order::WriteOff,
            });
            continue;
        }
        if matches!(report.what, ReportKind::Ended { .. }) {
            books.live.remove(&key);
            books.reports_of_ends += 1;
        }
        books.reports.push(report.clone());
    }
}

fn grant(books: &mut Books, want: &Want, holding: &[Key], reply: &mut SyncReply) {
    for (key, (lease, round)) in &books.live {
        if *round < want.round && !holding.contains(key) {
            reply.leases.push(lease.clone());
        }
    }
    let busy: u32 = books
        .live
        .values()
        .map(|(lease, _)| lease.payload.resources.cores)
        .sum();
    let mut free = i64::from(books.capacity.cores) - i64::from(busy) + i64::from(want.backlog);
    while free > 0 {
        let Some(lease) = books.queue.pop_front() else {
            return;
        };
        free -= i64::from(lease.payload.resources.cores);
        books
            .live
            .insert((lease.task, lease.attempt), (lease.clone(), want.round));
        reply.leases.push(lease);
    }
}

async fn goodbye(State(me): State<StandIn>, Json(request): Json<GoodbyeRequest>) -> StatusCode {
    me.change(|books| books.goodbye = Some(request.reason));
    StatusCode::NO_CONTENT
}

type TaskPath = (String, u32, String);

fn key(task: &str, attempt: u32) -> Key {
    (task.parse().unwrap(), Attempt(attempt))
}

async fn input(State(me): State<StandIn>, Path((_, _, name)): Path<TaskPath>) -> Response {
    let found = me.change(|books| {
        books.input_fetches += 1;
        books.inputs.get(&name).cloned()
    });
    match found {
        Some(bytes) => bytes.into_response(),
        None => refuse(ProblemCode::NotFound, "no such input"),
    }
}

async fn output(
    State(me): State<StandIn>,
    Path((task, attempt)): Path<(String, u32)>,
    body: Bytes,
) -> Response {
    me.change(|books| {
        if books.refuse_outputs {
            return refuse(ProblemCode::TooLarge, "more than is allowed");
        }
        books.outputs.insert(key(&task, attempt), body.to_vec());
        StatusCode::NO_CONTENT.into_response()
    })
}

#[derive(serde::Deserialize)]
struct Offset {
    offset: u64,
}

async fn stream(
    State(me): State<StandIn>,
    Path((task, attempt, name)): Path<TaskPath>,
    Query(Offset { offset }): Query<Offset>,
    body: Bytes,
) -> Response {
    me.change(|books| {
        let max = books.stream_max;
        let kept = books
            .streams
            .entry((key(&task, attempt), name))
            .or_default();
        if offset != kept.len() as u64 {
            let mut wrong = Problem::new(ProblemCode::WrongOffset, "not the next chunk");
            wrong.expected_offset = Some(kept.len() as u64);
            return problem(wrong);
        }
        kept.extend_from_slice(&body);
        if books.lose_chunk_replies > 0 {
            books.lose_chunk_replies -= 1;
            return (StatusCode::BAD_GATEWAY, "the reply was lost").into_response();
        }
        let full = max > 0 && kept.len() >= max;
        Json(ChunkReply {
            next_offset: kept.len() as u64,
            full,
        })
        .into_response()
    })
}
