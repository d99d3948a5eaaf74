//! Sites that are served by agents: the server's side by hand, and with a real agent over HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use fairway_api::agent::{
    AgentReply, AgentRequest, Call, ExchangeReply, ExchangeRequest, Outcome, Submitted,
};
use fairway_api::client::{Client, ClientSettings};
use fairway_model::{
    Ce, CeId, CeState, CeStatus, Resources, Role, Site, SiteMode, SiteName, Timestamp,
};
use fairway_sched::Command;
use fairway_site_adapters::{AdapterError, BatchJob, BatchState, BatchSystem, PilotJob};
use fairway_site_agent::{Agent, AgentError};
use fairway_wms::engine::wall_clock;
use fairway_wms::http::Limits;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::bed::{Bed, limits, lyon, site_name, steady};

const EXCHANGE: &str = "/v1/agent/lyon/exchange";

/// The site `lyon`, served by an agent.
async fn add_agent_site(bed: &Bed) {
    let site: Site = serde_json::from_value(json!({
        "name": "lyon", "adapter": {"kind": "agent"}, "ces": [{"name": "short"}],
    }))
    .unwrap();
    let command = Command::PutSite {
        site: Box::new(site),
        by: "op".parse().unwrap(),
    };
    bed.engine.ask(command).await.unwrap();
}

fn exchange(session: &str, round: u64) -> ExchangeRequest {
    ExchangeRequest {
        session: session.to_owned(),
        round,
        version: "0".to_owned(),
        host: "fe1".to_owned(),
        holding: Vec::new(),
        replies: Vec::new(),
        wait_s: 0,
        leaving: false,
    }
}

/// An agent whose every exchange is made by the test.
struct ByHand<'a> {
    bed: &'a Bed,
    token: String,
}

impl<'a> ByHand<'a> {
    async fn new(bed: &'a Bed) -> Self {
        add_agent_site(bed).await;
        let token = bed.token("carol", Role::SiteAdmin).await;
        Self { bed, token }
    }

    async fn says(&self, exchange: &ExchangeRequest) -> crate::bed::Reply {
        self.bed.json("POST", &self.token, EXCHANGE, exchange).await
    }

    async fn hears(&self, exchange: &ExchangeRequest) -> Vec<AgentRequest> {
        let reply = self.says(exchange).await.expect(200).json();
        let reply: ExchangeReply = serde_json::from_value(reply).unwrap();
        reply.requests
    }

    /// Exchanges without a word until there is a request.
    async fn gets(&self, session: &str, round: u64) -> AgentRequest {
        let mut waiting = exchange(session, round);
        waiting.wait_s = 1;
        for _ in 0..100 {
            if let [request] = self.hears(&waiting).await.as_slice() {
                return request.clone();
            }
        }
        panic!("no request comes");
    }

    /// The server asks for an end of job `7`.
    fn asked_to_cancel(&self) -> JoinHandle<Result<(), AdapterError>> {
        let lyon = self.bed.agents.connect(&site_name());
        tokio::spawn(async move { lyon.cancel(&["7".to_owned()]).await })
    }
}

fn cancelled(id: &str) -> AgentReply {
    AgentReply {
        id: id.to_owned(),
        outcome: Outcome::Cancelled,
    }
}

#[track_caller]
fn unreachable<T: std::fmt::Debug>(result: Result<T, AdapterError>, word: &str) {
    let told = matches!(&result, Err(AdapterError::Unreachable(text)) if text.contains(word));
    assert!(told, "{word}: {result:?}");
}

#[tokio::test]
async fn a_site_whose_agent_never_called_is_unreachable() {
    let bed = Bed::start().await;
    let lyon = bed.agents.connect(&site_name());
    unreachable(lyon.poll("fw-", &[]).await, "has not called");
    let jobs = [job("fw-1-p1"), job("fw-1-p2")];
    let results = lyon.submit(&jobs).await;
    assert_eq!(results.len(), 2);
    for result in results {
        unreachable(result, "has not called");
    }
}

#[tokio::test]
async fn a_request_is_answered() {
    let bed = Bed::start().await;
    let agent = ByHand::new(&bed).await;
    let asked = agent.asked_to_cancel();
    let request = agent.gets("a", 1).await;
    assert!(matches!(&request.call, Call::Cancel { batch_ids } if batch_ids == &["7"]));
    assert!(request.useful_ms <= 500);
    let mut reply = exchange("a", 2);
    reply.replies.push(cancelled(&request.id));
    assert!(agent.hears(&reply).await.is_empty());
    asked.await.unwrap().unwrap();
    // Its repetition finds nobody, and does no harm.
    assert!(agent.hears(&reply).await.is_empty());
}

#[tokio::test]
async fn a_request_that_was_lost_on_the_way_is_given_again() {
    let bed = Bed::start().await;
    let agent = ByHand::new(&bed).await;
    let asked = agent.asked_to_cancel();
    let request = agent.gets("a", 1).await;
    let again = agent.hears(&exchange("a", 2)).await;
    assert_eq!(again[0].id, request.id);
    let mut holding = exchange("a", 3);
    holding.holding.push(request.id.clone());
    assert!(agent.hears(&holding).await.is_empty());
    let mut reply = exchange("a", 4);
    reply.replies.push(cancelled(&request.id));
    assert!(agent.hears(&reply).await.is_empty());
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_later_exchange_ends_one_that_is_held_open() {
    let bed = Bed::with(Limits {
        poll: Duration::from_secs(20),
        ..limits()
    })
    .await;
    let agent = ByHand::new(&bed).await;
    let mut held_open = exchange("a", 1);
    held_open.wait_s = 20;
    let began = std::time::Instant::now();
    let (held, _) = tokio::join!(agent.hears(&held_open), async {
        // It is heard of once it is held open.
        while bed.agents.view(&site_name()).is_none() {
            tokio::task::yield_now().await;
        }
        agent.hears(&exchange("a", 2)).await
    });
    assert!(held.is_empty());
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn an_agent_that_dies_in_the_middle_is_given_up() {
    let bed = Bed::start().await;
    let agent = ByHand::new(&bed).await;
    let asked = agent.asked_to_cancel();
    agent.gets("a", 1).await;
    unreachable(asked.await.unwrap(), "fe1, which was last heard of 1 s ago");
    // Nobody is waited for any more.
    let lyon = bed.agents.connect(&site_name());
    unreachable(lyon.cancel(&[]).await, "last heard of");
}

#[tokio::test]
async fn two_agents_never_get_the_same_request() {
    let bed = Bed::start().await;
    let agent = ByHand::new(&bed).await;
    let first = agent.asked_to_cancel();
    let request = agent.gets("old", 1).await;
    assert!(agent.hears(&exchange("new", 1)).await.is_empty());
    unreachable(first.await.unwrap(), "ended before it answered");
    // The old one has done it all the same, and says so too late.
    let mut late = exchange("old", 2);
    late.replies.push(cancelled(&request.id));
    let refused = agent.says(&late).await.expect(409);
    insta::assert_json_snapshot!("agent_replaced", refused.seen());

    let second = agent.asked_to_cancel();
    let request = agent.gets("new", 2).await;
    agent.says(&exchange("old", 3)).await.expect(409);
    let mut reply = exchange("new", 3);
    reply.replies.push(cancelled(&request.id));
    agent.hears(&reply).await;
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_that_leaves_takes_nothing_along() {
    let bed = Bed::start().await;
    let agent = ByHand::new(&bed).await;
    let asked = agent.asked_to_cancel();
    let mut leaving = exchange("a", 1);
    leaving.leaving = true;
    assert!(agent.hears(&leaving).await.is_empty());
    // The next run of the agent finds the request.
    let request = agent.gets("b", 1).await;
    let mut reply = exchange("b", 2);
    reply.replies.push(cancelled(&request.id));
    agent.hears(&reply).await;
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_speaks_for_its_own_site_only() {
    let bed = Bed::start().await;
    let agent = ByHand::new(&bed).await;
    let lyon = bed.agents.connect(&site_name());
    let ces = [Ce::new("short".parse().unwrap())];
    let asked = tokio::spawn(async move { lyon.publish(&ces, wall_clock()).await });
    let request = agent.gets("a", 1).await;
    let elsewhere: CeId = "paris/short".parse().unwrap();
    let mut reply = exchange("a", 2);
    reply.replies.push(AgentReply {
        id: request.id,
        outcome: Outcome::Published {
            states: vec![CeState::unreachable(
                elsewhere,
                "x",
                Timestamp(0),
                String::new(),
            )],
        },
    });
    agent.hears(&reply).await;
    let result = asked.await.unwrap();
    assert!(
        matches!(result, Err(AdapterError::Unexpected(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn an_answer_with_too_few_submissions_is_not_understood() {
    let bed = Bed::start().await;
    let agent = ByHand::new(&bed).await;
    let lyon = bed.agents.connect(&site_name());
    let asked = tokio::spawn(async move { lyon.submit(&[job("fw-1"), job("fw-2")]).await });
    let request = agent.gets("a", 1).await;
    let mut reply = exchange("a", 2);
    reply.replies.push(AgentReply {
        id: request.id,
        outcome: Outcome::Submitted {
            results: vec![Submitted::BatchId("1".to_owned())],
        },
    });
    agent.hears(&reply).await;
    for result in asked.await.unwrap() {
        assert!(
            matches!(result, Err(AdapterError::Unexpected(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn only_the_site_s_admins_send_agents() {
    let bed = Bed::start().await;
    add_agent_site(&bed).await;
    let user = bed.user("alice").await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let first = exchange("a", 1);
    let send = async |token: &str, path: &str| bed.json("POST", token, path, &first).await;
    send("", EXCHANGE).await.expect(401);
    let refused = send(&user, EXCHANGE).await.expect(403);
    insta::assert_json_snapshot!("agent_of_a_user", refused.seen());
    send(&admin, "/v1/agent/paris/exchange").await.expect(403);
    send(&admin, EXCHANGE).await.expect(200);

    // The host is for the site's admins only.
    let shown = bed.get(&admin, "/v1/sites/lyon").await.expect(200);
    steady().bind(|| insta::assert_json_snapshot!("agent_site", shown.json()["agent"], {".heard_at" => "[time]"}));
    let shown = bed.get(&user, "/v1/sites/lyon").await.expect(200);
    assert!(!shown.text().contains("fe1"), "{}", shown.text());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let bed = Bed::start().await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let operator = bed.token("op", Role::Operator).await;
    let first = exchange("a", 1);
    bed.json("POST", &operator, EXCHANGE, &first)
        .await
        .expect(404);
    bed.json("POST", &operator, "/v1/sites", &lyon())
        .await
        .expect(201);
    let refused = bed.json("POST", &admin, EXCHANGE, &first).await.expect(409);
    insta::assert_json_snapshot!("agent_of_another_adapter", refused.seen());
    add_agent_site(&bed).await;
    bed.json("POST", &admin, EXCHANGE, &exchange("", 1))
        .await
        .expect(400);
    let long = exchange(&"x".repeat(17 << 20), 1);
    bed.json("POST", &admin, EXCHANGE, &long).await.expect(413);
    assert!(bed.agents.view(&site_name()).is_none());
}

/// A batch system of the test's own.
#[derive(Default)]
struct Fake {
    submitted: Mutex<Vec<PilotJob>>,
    cancelled: Mutex<Vec<String>>,
    /// Submissions that may end now.
    may_submit: Option<Arc<Semaphore>>,
}

#[async_trait]
impl BatchSystem for Fake {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        if let Some(may_submit) = &self.may_submit {
            may_submit.acquire().await.unwrap().forget();
        }
        let mut submitted = self.submitted.lock().unwrap();
        jobs.iter()
            .map(|job| {
                submitted.push(job.clone());
                Ok(submitted.len().to_string())
            })
            .collect()
    }

    async fn poll(&self, prefix: &str, _: &[String]) -> Result<Vec<BatchJob>, AdapterError> {
        let submitted = self.submitted.lock().unwrap();
        let jobs = submitted.iter().zip(1..);
        Ok(jobs
            .filter(|(job, _)| job.name.starts_with(prefix))
            .map(|(job, number)| BatchJob {
                batch_id: number.to_string(),
                name: job.name.clone(),
                state: BatchState::Queued {
                    reason: "Priority".to_owned(),
                },
            })
            .collect())
    }

    async fn cancel(&self, ids: &[String]) -> Result<(), AdapterError> {
        self.cancelled.lock().unwrap().extend_from_slice(ids);
        Ok(())
    }

    async fn publish(&self, ces: &[Ce], _: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        let state = |ce: &Ce| CeState {
            status: CeStatus::Production,
            reason: None,
            // By a clock that is wrong.
            ..CeState::unreachable(
                CeId {
                    site: site_name(),
                    ce: ce.name.clone(),
                },
                "fake",
                Timestamp(0),
                String::new(),
            )
        };
        Ok(ces.iter().map(state).collect())
    }
}

/// A real agent over a fake batch system.
struct Running {
    stop: oneshot::Sender<()>,
    news: mpsc::Sender<Site>,
    work: JoinHandle<Result<(), AgentError>>,
}

impl Running {
    fn start(url: &str, token: &str, fake: &Arc<Fake>) -> Self {
        let client = Client::new(&ClientSettings {
            server: url.to_owned(),
            token: Some(token.to_owned()),
            ca_pem: None,
        })
        .unwrap();
        let system: Arc<dyn BatchSystem> = fake.clone();
        let agent = Agent::new(client, lyon(), Box::new(move |_| Ok(system.clone()))).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (news, described) = mpsc::channel(1);
        let work = tokio::spawn(agent.run(async { drop(stopped.await) }, described));
        Self { stop, news, work }
    }

    async fn stop(self) -> Result<(), AgentError> {
        // It may have ended by itself.
        let _ = self.stop.send(());
        self.work.await.unwrap()
    }
}

/// The server on a socket.
async fn listen(bed: &Bed) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = bed.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn job(name: &str) -> PilotJob {
    PilotJob {
        pilot: "p1".parse().unwrap(),
        ce: Ce::new("short".parse().unwrap()),
        name: name.to_owned(),
        resources: Resources::default(),
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 60,
        program: vec!["/opt/pilot".to_owned()],
        stdin: "{\"secret\": \"hush\"}".to_owned(),
    }
}

/// Waits until the agent has called.
async fn heard(bed: &Bed) {
    let site: SiteName = site_name();
    while bed.agents.view(&site).is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_agent_serves_its_site() {
    let bed = Bed::start().await;
    let (url, admin) = (
        listen(&bed).await,
        bed.token("carol", Role::SiteAdmin).await,
    );
    let fake = Arc::new(Fake::default());
    let agent = Running::start(&url, &admin, &fake);
    heard(&bed).await;

    // It has registered the site, and said nothing of how the site is used.
    let registered = bed.get(&admin, "/v1/sites/lyon").await.expect(200).json();
    assert_eq!(
        registered["adapter"],
        json!({"kind": "agent", "batch_system": "slurm"})
    );
    assert_eq!(registered["ces"][0]["account"], json!(null));

    let lyon_there = bed.agents.connect(&site_name());
    let mut elsewhere = job("fw-1-p2");
    elsewhere.ce = Ce::new("other".parse().unwrap());
    let results = lyon_there
        .submit(&[elsewhere, job("fw-1-p1"), job("backup")])
        .await;
    assert!(matches!(&results[0], Err(AdapterError::Refused(text)) if text.contains("other")));
    assert_eq!(results[1], Ok("1".to_owned()));
    assert!(matches!(&results[2], Err(AdapterError::Refused(_))));
    {
        let submitted = fake.submitted.lock().unwrap();
        assert_eq!(submitted.len(), 1);
        assert_eq!(submitted[0].stdin, job("").stdin);
        // The account is the one in the agent's file.
        assert_eq!(submitted[0].ce.account.as_deref(), Some("grid"));
    }
    let jobs = lyon_there.poll("fw-1-", &[]).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].batch_id.as_str()), (1, "1"));
    let everybodys = lyon_there.poll("", &[]).await;
    assert!(matches!(everybodys, Err(AdapterError::Refused(_))));
    lyon_there.cancel(&["1".to_owned()]).await.unwrap();
    assert_eq!(*fake.cancelled.lock().unwrap(), ["1"]);
    let ces = ["other", "short"].map(|name| Ce::new(name.parse().unwrap()));
    let now = wall_clock();
    let states = lyon_there.publish(&ces, now).await.unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|it| (it.status, it.observed_at))
        .collect();
    assert_eq!(
        seen,
        [(CeStatus::Unreachable, now), (CeStatus::Production, now)]
    );
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_slow_submission_holds_nothing_else_up_and_is_finished_by_an_agent_that_ends() {
    let bed = Bed::start().await;
    let (url, admin) = (
        listen(&bed).await,
        bed.token("carol", Role::SiteAdmin).await,
    );
    let may_submit = Arc::new(Semaphore::new(0));
    let fake = Arc::new(Fake {
        may_submit: Some(may_submit.clone()),
        ..Fake::default()
    });
    let agent = Running::start(&url, &admin, &fake);
    heard(&bed).await;
    let lyon_there = bed.agents.connect(&site_name());
    let submitting = {
        let lyon_there = lyon_there.clone();
        tokio::spawn(async move { lyon_there.submit(&[job("fw-1-p1")]).await })
    };
    // Longer than an agent may be silent: it is heard of although the request is not answered.
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert!(lyon_there.poll("fw-1-", &[]).await.unwrap().is_empty());
    }
    let stopping = tokio::spawn(agent.stop());
    may_submit.add_permits(1);
    stopping.await.unwrap().unwrap();
    assert_eq!(submitting.await.unwrap(), [Ok("1".to_owned())]);
}

#[tokio::test]
async fn a_newer_agent_takes_over() {
    let bed = Bed::start().await;
    let (url, admin) = (
        listen(&bed).await,
        bed.token("carol", Role::SiteAdmin).await,
    );
    let (old, new) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    let first = Running::start(&url, &admin, &old);
    heard(&bed).await;
    let second = Running::start(&url, &admin, &new);
    let end = first.work.await.unwrap();
    let told =
        matches!(&end, Err(AgentError::Refused(error)) if error.to_string().contains("taken over"));
    assert!(told, "{end:?}");
    let lyon_there = bed.agents.connect(&site_name());
    assert!(lyon_there.submit(&[job("fw-1-p1")]).await[0].is_ok());
    assert_eq!(new.submitted.lock().unwrap().len(), 1);
    assert!(old.submitted.lock().unwrap().is_empty());
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_description_that_changes_is_registered_again_and_modes_stay() {
    let bed = Bed::start().await;
    let (url, admin) = (
        listen(&bed).await,
        bed.token("carol", Role::SiteAdmin).await,
    );
    let agent = Running::start(&url, &admin, &Arc::default());
    heard(&bed).await;
    let mode = json!({"mode": "draining", "ce": "short"});
    bed.json("POST", &admin, "/v1/sites/lyon/mode", &mode)
        .await
        .expect(204);
    let mut site = lyon();
    site.ces.push(Ce::new("long".parse().unwrap()));
    agent.news.send(site).await.unwrap();
    let registered = loop {
        let reply = bed.get(&admin, "/v1/sites/lyon").await.expect(200).json();
        if reply["ces"].as_array().unwrap().len() == 2 {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let modes: Vec<SiteMode> = ["short", "long"]
        .iter()
        .zip(registered["ces"].as_array().unwrap())
        .map(|(name, ce)| {
            assert_eq!(ce["name"], *name);
            serde_json::from_value(ce["mode"].clone()).unwrap()
        })
        .collect();
    assert_eq!(modes, [SiteMode::Draining, SiteMode::Open]);
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_with_a_foreign_token_ends() {
    let bed = Bed::start().await;
    let url = listen(&bed).await;
    let user = bed.user("alice").await;
    let agent = Running::start(&url, &user, &Arc::default());
    let end = agent.work.await.unwrap();
    let Err(AgentError::Refused(error)) = end else {
        panic!("{end:?}")
    };
    let problem = error.problem().unwrap();
    assert_eq!(problem.status, StatusCode::FORBIDDEN.as_u16());
}
