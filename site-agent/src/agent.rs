//! Keeps the exchange with the server going.
//!
//! At most two exchanges are under way: one that is held open until there are requests, and one
//! that brings replies and is answered at once. Requests are executed beside that, some at a
//! time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fairway_api::ProblemCode;
use fairway_api::agent::{AgentReply, AgentRequest, Call, ExchangeReply, ExchangeRequest};
use fairway_api::client::{Client, ClientError};
use fairway_model::Site;
use fairway_site_adapters::AdapterError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::description::Description;
use crate::execute::{Executor, failed};
use crate::ledger::Ledger;
use crate::{AgentError, Connect};

/// How long the server is asked to hold an exchange open.
const WAIT: Duration = Duration::from_secs(25);
/// Pause after an exchange that was held open and brought nothing, should it end at once.
const WAIT_GAP: Duration = Duration::from_millis(50);
/// Pause after a failed exchange; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Submissions at a time. They may take long; the rest does not wait for them.
const SUBMISSIONS_MAX: usize = 4;
/// Other requests at a time.
const OTHERS_MAX: usize = 4;
/// How long requests under way may take to end when the agent does.
const LEAVE_TIME: Duration = Duration::from_secs(20);
/// How long the server may take for the last replies.
const LAST_WORDS_TIME: Duration = Duration::from_secs(5);

/// A site's agent.
pub struct Agent {
    client: Client,
    connect: Connect,
    executor: Arc<Executor>,
    /// This run of the agent.
    session: String,
    round: u64,
    ledger: Ledger,
    registered: bool,
    /// Exchanges that failed in a row.
    failures: u32,
    /// No exchange is begun before.
    not_before: Instant,
    submissions: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

/// An exchange that is over.
struct Exchanged {
    /// It was to be held open.
    waiting: bool,
    /// The requests whose replies it brought.
    told: Vec<String>,
    result: Result<ExchangeReply, ClientError>,
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    exchanges: JoinSet<Exchanged>,
    waiting: bool,
    /// The server ends the exchange that waits, since a later one has told something.
    overtaken: bool,
    telling: bool,
    requests: JoinSet<AgentReply>,
}

impl Agent {
    /// An agent for the site that `site` describes, with its real adapter. Does not speak to
    /// the server yet.
    ///
    /// # Errors
    /// [`AgentError::Description`] and [`AgentError::Adapter`].
    pub fn new(client: Client, site: Site, connect: Connect) -> Result<Self, AgentError> {
        let description = Description::new(site)?;
        let system = connect(description.site())?;
        Ok(Self {
            client,
            connect,
            executor: Arc::new(Executor {
                description,
                system,
            }),
            session: format!("{:032x}", rand::random::<u128>()),
            round: 0,
            ledger: Ledger::default(),
            registered: false,
            failures: 0,
            not_before: Instant::now(),
            submissions: Arc::new(Semaphore::new(SUBMISSIONS_MAX)),
            others: Arc::new(Semaphore::new(OTHERS_MAX)),
        })
    }

    /// Serves until `stop`, or until the server refuses the agent. What comes through `news` is
    /// the site's description when that has changed.
    ///
    /// # Errors
    /// [`AgentError::Refused`].
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        mut news: mpsc::Receiver<Site>,
    ) -> Result<(), AgentError> {
        let mut under_way = UnderWay::default();
        tokio::pin!(stop);
        let outcome = loop {
            let step = self.step(&mut under_way, &mut news);
            let step = tokio::select! {
                () = &mut stop => break Ok(()),
                step = step => step,
            };
            if let Err(error) = step {
                break Err(error);
            }
        };
        self.leave(under_way, outcome.is_ok()).await;
        outcome
    }

    /// Does what is next. Can be given up at any moment.
    async fn step(
        &mut self,
        under_way: &mut UnderWay,
        news: &mut mpsc::Receiver<Site>,
    ) -> Result<(), AgentError> {
        let may_call = self.not_before <= Instant::now();
        if may_call && !self.registered {
            let registered = self.register().await;
            return self.judge(registered, "the site is registered").map(drop);
        }
        if may_call {
            self.begin_exchanges(under_way);
        }
        tokio::select! {
            Some(exchanged) = under_way.exchanges.join_next() => {
                if let Ok(exchanged) = exchanged {
                    self.hear(exchanged, under_way)?;
                }
            }
            Some(reply) = under_way.requests.join_next() => {
                if let Ok(reply) = reply {
                    self.ledger.finish(reply);
                }
            }
            Some(site) = news.recv() => self.describe_anew(site),
            () = sleep_until(self.not_before), if !may_call => {}
        }
        Ok(())
    }

    fn begin_exchanges(&mut self, under_way: &mut UnderWay) {
        if !under_way.telling && self.ledger.has_replies() {
            under_way.telling = true;
            under_way.overtaken = under_way.waiting;
            let exchange = self.exchange(Duration::ZERO);
            self.begin(exchange, under_way);
        }
        if !under_way.waiting && !under_way.telling {
            under_way.waiting = true;
            under_way.overtaken = false;
            let exchange = self.exchange(WAIT);
            self.begin(exchange, under_way);
        }
    }

    /// The next exchange: one that waits brings no replies.
    fn exchange(&mut self, wait: Duration) -> ExchangeRequest {
        self.round += 1;
        let replies = if wait.is_zero() {
            self.ledger.replies()
        } else {
            Vec::new()
        };
        ExchangeRequest {
            session: self.session.clone(),
            round: self.round,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host(),
            holding: self.ledger.holding(&replies),
            replies,
            wait_s: wait.as_secs(),
            leaving: false,
        }
    }

    fn begin(&self, exchange: ExchangeRequest, under_way: &mut UnderWay) {
        let client = self.client.clone();
        let site = self.executor.description.site().name.clone();
        under_way.exchanges.spawn(async move {
            Exchanged {
                waiting: exchange.wait_s > 0,
                told: exchange
                    .replies
                    .iter()
                    .map(|reply| reply.id.clone())
                    .collect(),
                result: client.exchange(&site, &exchange).await,
            }
        });
    }

    fn hear(&mut self, exchanged: Exchanged, under_way: &mut UnderWay) -> Result<(), AgentError> {
        if exchanged.waiting {
            under_way.waiting = false;
        } else {
            under_way.telling = false;
        }
        let Some(reply) = self.judge(exchanged.result, "the server is heard again")? else {
            return Ok(());
        };
        self.ledger.told(&exchanged.told);
        if exchanged.waiting && reply.requests.is_empty() && !under_way.overtaken {
            self.not_before = Instant::now() + WAIT_GAP;
        }
        for request in reply.requests {
            if self.ledger.admit(&request.id) {
                let work = self.execute(request);
                under_way.requests.spawn(work);
            }
        }
        Ok(())
    }

    /// What follows from what the server said, or did not: its answer; or that it is called
    /// again later; or that the agent is to end.
    fn judge<T>(
        &mut self,
        result: Result<T, ClientError>,
        good_news: &str,
    ) -> Result<Option<T>, AgentError> {
        match result {
            Ok(answer) => {
                if self.failures > 0 {
                    tracing::info!("{good_news}");
                    self.failures = 0;
                }
                Ok(Some(answer))
            }
            Err(error) if is_final(&error) => Err(AgentError::Refused(error)),
            Err(error) => {
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(16));
                // Many agents lose a server at the same moment, and need not come back at one.
                let pause = pause.min(PAUSE_MAX).mul_f64(rand::random_range(0.5..=1.0));
                self.failures += 1;
                self.not_before = Instant::now() + pause;
                tracing::warn!(%error, ?pause, "no word from the server; trying again");
                Ok(None)
            }
        }
    }

    /// Tells the server of the site, if it does not know it so already.
    async fn register(&mut self) -> Result<(), ClientError> {
        let description = &self.executor.description;
        let name = &description.site().name;
        let known = match self.client.site(name).await {
            Ok(view) => Some(view.site),
            Err(error) if code(&error) == Some(ProblemCode::NotFound) => None,
            Err(error) => return Err(error),
        };
        let site = description.registration(known.as_ref());
        if known.as_ref() != Some(&site) {
            self.client.put_site(&site).await?;
            tracing::info!(site = %name, ces = site.ces.len(), "the site is registered");
        }
        self.registered = true;
        Ok(())
    }

    /// Goes on with another description, if it can be used.
    fn describe_anew(&mut self, site: Site) {
        let present = &self.executor;
        if site.name != present.description.site().name {
            tracing::error!(site = %site.name, "the file describes another site; start another agent for it");
            return;
        }
        let anew = Description::new(site).and_then(|description| {
            // What is connected already stays so: some adapters have a state of their own.
            let system = if description.site().adapter == present.description.site().adapter {
                Arc::clone(&present.system)
            } else {
                (self.connect)(description.site())?
            };
            Ok(Executor {
                description,
                system,
            })
        });
        match anew {
            Ok(executor) => {
                tracing::info!("the site's description was read again");
                self.executor = Arc::new(executor);
                self.registered = false;
            }
            Err(error) => tracing::error!(%error, "the site's description is left as it was"),
        }
    }

    /// Executes a request when its turn comes, unless that is too late.
    fn execute(&self, request: AgentRequest) -> impl Future<Output = AgentReply> + use<> {
        let executor = Arc::clone(&self.executor);
        let AgentRequest {
            id,
            useful_ms,
            call,
        } = request;
        let turns = match call {
            Call::Submit { .. } => Arc::clone(&self.submissions),
            Call::Poll { .. } | Call::Cancel { .. } | Call::Publish { .. } => {
                Arc::clone(&self.others)
            }
        };
        let useful_until = Instant::now() + Duration::from_millis(useful_ms);
        async move {
            let turn = turns.acquire_owned().await;
            if turn.is_err() || Instant::now() >= useful_until {
                tracing::warn!(id, "a request came too late and is not executed");
                let late = "the site's agent got to it too late, and has not begun it".to_owned();
                let outcome = failed(AdapterError::Unreachable(late));
                return AgentReply { id, outcome };
            }
            let work = tokio::spawn(async move { executor.execute(call).await });
            let outcome = work.await.unwrap_or_else(|error| {
                tracing::error!(id, %error, "a request failed");
                failed(AdapterError::Unreachable(
                    "the site's agent failed".to_owned(),
                ))
            });
            AgentReply { id, outcome }
        }
    }

    /// Lets requests under way come to their end, and tells the server of them.
    async fn leave(&mut self, mut under_way: UnderWay, tell: bool) {
        under_way.exchanges.abort_all();
        let finished = async {
            while let Some(reply) = under_way.requests.join_next().await {
                if let Ok(reply) = reply {
                    self.ledger.finish(reply);
                }
            }
        };
        if timeout(LEAVE_TIME, finished).await.is_err() {
            tracing::warn!("some requests are not over yet; what they did will be found by name");
        }
        if !tell || !self.registered {
            return;
        }
        let mut exchange = self.exchange(Duration::ZERO);
        exchange.leaving = true;
        let site = &self.executor.description.site().name;
        match timeout(LAST_WORDS_TIME, self.client.exchange(site, &exchange)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the server was not told that the agent ends"),
            Err(_) => tracing::warn!("the server was not told that the agent ends"),
        }
    }
}

/// Whether the server would say the same again. What it may do next time, or what is only
/// between here and there, is no reason to end.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Settings(_) | ClientError::File { .. } => true,
        ClientError::Problem(problem) => (400..500).contains(&problem.status),
        ClientError::Unreachable { .. }
        | ClientError::Foreign { .. }
        | ClientError::Interrupted(_) => false,
    }
}

fn code(error: &ClientError) -> Option<ProblemCode> {
    error.problem().map(|problem| problem.code)
}

/// The machine's name.
fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
