//! An agent against a server whose every word is the test's: what comes twice, late, or not at
//! all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fairway_api::agent::{AgentRequest, Call, ExchangeReply, ExchangeRequest, FaultKind, Outcome};
use fairway_api::client::{Client, ClientSettings};
use fairway_api::{Problem, ProblemCode};
use fairway_model::{Ce, CeState, Site, Timestamp};
use fairway_site_adapters::{AdapterError, BatchJob, BatchSystem, PilotJob};
use fairway_site_agent::{Agent, AgentError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// What takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server's side of the exchange, as the test wants it.
#[derive(Clone, Default)]
struct StandIn(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// What each further exchange is answered; nothing after that.
    answers: VecDeque<Answer>,
    heard: Vec<ExchangeRequest>,
}

enum Answer {
    Requests(Vec<AgentRequest>),
    /// As one that is lost on the way.
    Fails,
    Refused,
}

impl StandIn {
    fn look(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn will_answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.look().answers.extend(answers);
    }

    /// All replies with that id that were told, those of failed exchanges included.
    fn told(&self, id: &str) -> Vec<Outcome> {
        let script = self.look();
        let replies = script.heard.iter().flat_map(|heard| &heard.replies);
        replies
            .filter(|reply| reply.id == id)
            .map(|reply| reply.outcome.clone())
            .collect()
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let seen = async {
            loop {
                if let Some(seen) = look(self) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        seen.unwrap_or_else(|_| panic!("waited in vain until {what}"))
    }
}

async fn exchange(State(me): State<StandIn>, Json(heard): Json<ExchangeRequest>) -> Response {
    let answer = {
        let mut script = me.look();
        script.heard.push(heard);
        script.answers.pop_front()
    };
    let problem = |code| {
        let problem = Problem::new(code, "as the test wants it");
        let status = StatusCode::from_u16(problem.status).unwrap();
        let kind = [("content-type", "application/problem+json")];
        (status, kind, serde_json::to_string(&problem).unwrap()).into_response()
    };
    match answer {
        Some(Answer::Requests(requests)) => Json(ExchangeReply { requests }).into_response(),
        Some(Answer::Fails) => problem(ProblemCode::Internal),
        Some(Answer::Refused) => problem(ProblemCode::Conflict),
        None => Json(ExchangeReply::default()).into_response(),
    }
}

/// Counts what it is asked for.
#[derive(Default)]
struct Counting {
    cancelled: Mutex<Vec<String>>,
}

#[async_trait]
impl BatchSystem for Counting {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        vec![Err(AdapterError::Refused("not here".to_owned())); jobs.len()]
    }

    async fn poll(&self, _: &str, _: &[String]) -> Result<Vec<BatchJob>, AdapterError> {
        panic!("as an adapter with a fault would")
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        self.cancelled.lock().unwrap().extend_from_slice(batch_ids);
        Ok(())
    }

    async fn publish(&self, _: &[Ce], _: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        Ok(Vec::new())
    }
}

struct Bed {
    server: StandIn,
    system: Arc<Counting>,
    stop: oneshot::Sender<()>,
    agent: JoinHandle<Result<(), AgentError>>,
    _news: mpsc::Sender<Site>,
}

impl Bed {
    /// An agent of the site `lyon`, which the server knows already.
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let server = StandIn::default();
        server.will_answer(answers);
        let site: Site = toml::from_str(
            "name = \"lyon\"\nadapter = { kind = \"local\" }\n[[ces]]\nname = \"short\"\n",
        )
        .unwrap();
        let known = serde_json::json!({
            "name": "lyon", "adapter": {"kind": "agent", "batch_system": "local"},
            "ces": [{"name": "short"}], "states": [],
        });
        let router = Router::new()
            .route("/v1/agent/lyon/exchange", post(exchange))
            .route("/v1/sites/lyon", get(|| async move { Json(known) }))
            .with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let client = Client::new(&ClientSettings {
            server: url,
            token: Some("fwu_a_b".to_owned()),
            ca_pem: None,
        })
        .unwrap();
        let system = Arc::new(Counting::default());
        let connected: Arc<dyn BatchSystem> = system.clone();
        let agent = Agent::new(client, site, Box::new(move |_| Ok(connected.clone()))).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (news, described) = mpsc::channel(1);
        let agent = tokio::spawn(agent.run(async { drop(stopped.await) }, described));
        Self {
            server,
            system,
            stop,
            agent,
            _news: news,
        }
    }

    fn executed(&self) -> Vec<String> {
        self.system.cancelled.lock().unwrap().clone()
    }

    async fn stop(self) -> Result<(), AgentError> {
        // It may have ended by itself.
        let _ = self.stop.send(());
        self.agent.await.unwrap()
    }
}

fn cancel(id: &str, useful_ms: u64) -> AgentRequest {
    AgentRequest {
        id: id.to_owned(),
        useful_ms,
        call: Call::Cancel {
            batch_ids: vec![id.to_owned()],
        },
    }
}

#[tokio::test]
async fn a_request_that_comes_twice_is_executed_once() {
    let again = || Answer::Requests(vec![cancel("a", 60_000)]);
    let bed = Bed::start([again(), again(), again(), again()]).await;
    bed.server
        .until("the answer is told", |server| server.told("a").pop())
        .await;
    // Once more, when all is over.
    bed.server
        .will_answer([again(), Answer::Requests(vec![cancel("b", 60_000)])]);
    bed.server
        .until("the next answer is told", |server| server.told("b").pop())
        .await;
    assert_eq!(bed.executed(), ["a", "b"]);
    assert_eq!(bed.server.told("a"), [Outcome::Cancelled]);
    bed.stop().await.unwrap();
}

#[tokio::test]
async fn an_answer_is_told_until_it_is_heard() {
    let bed = Bed::start([
        Answer::Requests(vec![cancel("a", 60_000)]),
        // Whichever comes next, the exchange that waits or the one that tells.
        Answer::Fails,
        Answer::Fails,
        Answer::Fails,
    ])
    .await;
    bed.server
        .until("the answer is told to someone who hears", |server| {
            let script = server.look();
            (script.answers.is_empty() && script.heard.last()?.replies.is_empty()).then_some(())
        })
        .await;
    assert!(!bed.server.told("a").is_empty());
    assert_eq!(bed.executed(), ["a"]);
    bed.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_too_old_is_not_begun() {
    let bed = Bed::start([Answer::Requests(vec![cancel("late", 0)])]).await;
    let told = bed
        .server
        .until("the answer is told", |server| server.told("late").pop())
        .await;
    assert!(matches!(told, Outcome::Failed { fault } if fault.kind == FaultKind::Unreachable));
    assert!(bed.executed().is_empty());
    bed.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_that_fails_badly_is_answered_too() {
    let poll = AgentRequest {
        id: "poll".to_owned(),
        useful_ms: 60_000,
        call: Call::Poll {
            name_prefix: "fw-1-".to_owned(),
            known: Vec::new(),
        },
    };
    let bed = Bed::start([Answer::Requests(vec![poll])]).await;
    let told = bed
        .server
        .until("the answer is told", |server| server.told("poll").pop())
        .await;
    assert!(matches!(told, Outcome::Failed { fault } if fault.kind == FaultKind::Unreachable));
    bed.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_refused_ends() {
    let bed = Bed::start([Answer::Requests(Vec::new()), Answer::Refused]).await;
    let end = tokio::time::timeout(PATIENCE, bed.agent)
        .await
        .unwrap()
        .unwrap();
    let Err(AgentError::Refused(error)) = end else {
        panic!("{end:?}")
    };
    assert_eq!(error.problem().unwrap().code, ProblemCode::Conflict);
}

#[tokio::test]
async fn an_agent_that_ends_says_so_with_its_last_answers() {
    let bed = Bed::start([Answer::Requests(vec![cancel("a", 60_000)])]).await;
    let (server, system) = (bed.server.clone(), bed.system.clone());
    server
        .until("the request is executed", |_| {
            (!system.cancelled.lock().unwrap().is_empty()).then_some(())
        })
        .await;
    bed.stop().await.unwrap();
    assert!(!server.told("a").is_empty());
    let script = server.look();
    let last = script.heard.last().unwrap();
    assert!(last.leaving && last.holding.is_empty());
}
