//! Where requests to one site's agent wait, and its replies come in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use fairway_api::agent::{AgentRequest, AgentView, Call, ExchangeReply, ExchangeRequest, Outcome};
use fairway_model::Timestamp;
use fairway_site_adapters::AdapterError;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Patience, lock};
use crate::auth::new_key;
use crate::engine::wall_clock;

/// Requests of one site that are not answered yet, at most.
const OPEN_MAX: usize = 256;
/// Requests that one exchange brings, at most.
const GIVEN_MAX: usize = 32;
/// Sessions that are remembered to be over.
const ENDED_KEPT: usize = 64;

/// A run of an agent that is to end: a newer one has taken its place.
#[derive(Debug)]
pub struct SessionOver;

/// One site's desk.
pub(super) struct Desk {
    patience: Patience,
    book: Mutex<Book>,
    /// Rung when there may be something new for an exchange that is held open.
    changed: Notify,
}

struct Book {
    /// When the agent was last heard of; before that, when the desk was opened.
    heard: Instant,
    agent: Option<AgentView>,
    session: Option<Session>,
    /// The sessions before it, oldest first.
    ended: VecDeque<String>,
    /// Those that have not been given to the agent, in order.
    waiting: VecDeque<String>,
    /// All that are not answered.
    open: BTreeMap<String, Open>,
}

/// A run of the agent.
struct Session {
    id: String,
    /// Its latest exchange.
    round: u64,
}

/// A request that is not answered.
struct Open {
    call: Call,
    made: Instant,
    /// It is in the hands of the present session.
    given: bool,
    answer: oneshot::Sender<Result<Outcome, AdapterError>>,
}

/// What an exchange has to bring.
enum Found {
    /// Nothing yet.
    Nothing,
    Requests(Vec<AgentRequest>),
    /// A later exchange of the same session brings what there is.
    Outdated,
}

impl Desk {
    pub(super) fn new(patience: Patience) -> Self {
        let book = Book {
            heard: Instant::now(),
            agent: None,
            session: None,
            ended: VecDeque::new(),
            waiting: VecDeque::new(),
            open: BTreeMap::new(),
        };
        Self {
            patience,
            book: Mutex::new(book),
            changed: Notify::new(),
        }
    }

    pub(super) fn view(&self) -> Option<AgentView> {
        lock(&self.book).agent.clone()
    }

    /// Has the agent do something and waits for what becomes of it. If the caller goes away, so
    /// does the request, unless the agent has it already.
    pub(super) async fn ask(&self, call: Call) -> Result<Outcome, AdapterError> {
        let (id, mut answer) = self.post(call)?;
        let withdrawn = Withdrawn { desk: self, id };
        loop {
            let until = lock(&self.book).patience_ends(&withdrawn.id, &self.patience);
            match timeout_at(until, &mut answer).await {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(_)) => return Err(lock(&self.book).no_answer()),
                // It may have been fetched meanwhile, or the agent heard of.
                Err(_) => {
                    let book = lock(&self.book);
                    if book.patience_ends(&withdrawn.id, &self.patience) <= Instant::now() {
                        return Err(book.no_answer());
                    }
                }
            }
        }
    }

    fn post(
        &self,
        call: Call,
    ) -> Result<(String, oneshot::Receiver<Result<Outcome, AdapterError>>), AdapterError> {
        let mut book = lock(&self.book);
        if book.heard.elapsed() >= self.patience.silence {
            return Err(book.no_answer());
        }
        if book.open.len() >= OPEN_MAX {
            return Err(AdapterError::Unreachable(
                "too many requests wait for the site's agent".to_owned(),
            ));
        }
        let id = new_key();
        let (answer, receiver) = oneshot::channel();
        let open = Open {
            call,
            made: Instant::now(),
            given: false,
            answer,
        };
        book.open.insert(id.clone(), open);
        book.waiting.push_back(id.clone());
        drop(book);
        self.changed.notify_waiters();
        Ok((id, receiver))
    }

    /// See [`super::Agents::exchange`].
    pub(super) async fn exchange(
        &self,
        exchange: ExchangeRequest,
        wait_max: Duration,
    ) -> Result<ExchangeReply, SessionOver> {
        let wait = Duration::from_secs(exchange.wait_s).min(wait_max);
        let until = Instant::now() + wait.min(self.patience.silence / 2);
        let holding: BTreeSet<String> = exchange.holding.iter().cloned().collect();
        {
            let mut book = lock(&self.book);
            book.hear(&exchange)?;
            for reply in exchange.replies {
                book.settle(&reply.id, reply.outcome);
            }
            if exchange.leaving {
                book.end_session();
                return Ok(ExchangeReply::default());
            }
        }
        // The exchange before this one need not be held open any longer.
        self.changed.notify_waiters();
        let (session, round) = (exchange.session, exchange.round);
        loop {
            let changed = self.changed.notified();
            match lock(&self.book).find(&session, round, &holding, &self.patience)? {
                Found::Requests(requests) => return Ok(ExchangeReply { requests }),
                Found::Outdated => return Ok(ExchangeReply::default()),
                Found::Nothing => {}
            }
            if timeout_at(until, changed).await.is_err() {
                lock(&self.book).heard = Instant::now();
                return Ok(ExchangeReply::default());
            }
        }
    }
}

/// Takes a request back when nobody waits for it any more.
struct Withdrawn<'a> {
    desk: &'a Desk,
    id: String,
}

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        let mut book = lock(&self.desk.book);
        book.open.remove(&self.id);
        book.waiting.retain(|id| *id != self.id);
    }
}

impl Book {
    /// Notes who calls. A session that is not known is a new run of the agent.
    fn hear(&mut self, exchange: &ExchangeRequest) -> Result<(), SessionOver> {
        if self.ended.contains(&exchange.session) {
            return Err(SessionOver);
        }
        match &mut self.session {
            Some(session) if session.id == exchange.session => {
                session.round = session.round.max(exchange.round);
            }
            _ => {
                self.end_session();
                self.session = Some(Session {
                    id: exchange.session.clone(),
                    round: exchange.round,
                });
            }
        }
        self.heard = Instant::now();
        self.agent = Some(AgentView {
            heard_at: wall_clock(),
            version: exchange.version.clone(),
            host: exchange.host.clone(),
        });
        Ok(())
    }

    /// The session is over: what it holds is given to nobody else.
    fn end_session(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        if self.ended.len() >= ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(session.id);
        let held = self.open.extract_if(.., |_, open| open.given);
        for (_, open) in held {
            let lost = "the site's agent ended before it answered".to_owned();
            // Whoever asked may be gone.
            let _ = open.answer.send(Err(AdapterError::Unreachable(lost)));
        }
    }

    /// Passes an answer on. That to a request that nobody waits for any more is dropped.
    fn settle(&mut self, id: &str, outcome: Outcome) {
        if let Some(open) = self.open.remove(id) {
            self.waiting.retain(|waiting| waiting != id);
            // Whoever asked may be gone.
            let _ = open.answer.send(Ok(outcome));
        }
    }

    /// What there is for an exchange of this session and round by an agent that holds `holding`.
    fn find(
        &mut self,
        session: &str,
        round: u64,
        holding: &BTreeSet<String>,
        patience: &Patience,
    ) -> Result<Found, SessionOver> {
        match &self.session {
            Some(present) if present.id != session => return Err(SessionOver),
            Some(present) if present.round > round => return Ok(Found::Outdated),
            Some(_) => {}
            None => return Ok(Found::Outdated),
        }
        let lost = self
            .open
            .iter()
            .filter(|(id, open)| open.given && !holding.contains(*id));
        let mut due: Vec<String> = lost.map(|(id, _)| id.clone()).take(GIVEN_MAX).collect();
        let room = GIVEN_MAX.saturating_sub(due.len()).min(self.waiting.len());
        due.extend(self.waiting.drain(..room));
        let now = Instant::now();
        let requests: Vec<AgentRequest> = due
            .into_iter()
            .filter_map(|id| {
                let open = self.open.get_mut(&id)?;
                open.given = true;
                Some(AgentRequest {
                    id,
                    useful_ms: millis((open.made + patience.fetch).duration_since(now)),
                    call: open.call.clone(),
                })
            })
            .collect();
        Ok(if requests.is_empty() {
            Found::Nothing
        } else {
            Found::Requests(requests)
        })
    }

    /// When an answer to the request is not waited for any longer.
    fn patience_ends(&self, id: &str, patience: &Patience) -> Instant {
        match self.open.get(id) {
            Some(open) if open.given => {
                (open.made + patience.answer).min(self.heard + patience.silence)
            }
            Some(open) => open.made + patience.fetch,
            // It has just been answered.
            None => Instant::now() + patience.fetch,
        }
    }

    /// Why a request has no answer.
    fn no_answer(&self) -> AdapterError {
        AdapterError::Unreachable(match &self.agent {
            Some(agent) => format!(
                "no answer from the site's agent on {}, which was last heard of {} ago",
                agent.host,
                span(wall_clock(), agent.heard_at)
            ),
            None => "the site's agent has not called since the server started".to_owned(),
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A time that has passed, for people.
fn span(now: Timestamp, then: Timestamp) -> String {
    match now.since(then).as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
