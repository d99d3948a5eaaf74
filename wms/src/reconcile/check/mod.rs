//! Tries a site, end to end: description, connection, version, and for each CE its queue, its
//! limits, and a pilot that starts, calls home and ends. Whatever comes of it, nothing is left
//! behind: a probe that did not start in time, or that nobody waits for any more, is ended.

mod limits;
mod pilot;
mod remedy;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_api::public::{CheckEnd, CheckEvent, CheckOutcome, CheckStage, CheckStep};
use fairway_model::{Ce, CeName, CeState, CeStatus, Site, UserName};
use fairway_sched::Command;
use fairway_site_adapters::AdapterError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Connection, Shared};
use crate::engine::wall_clock;
use crate::site_rules;

/// The batch system must have answered within this.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Events made ahead of whoever reads them.
const EVENTS_AHEAD: usize = 16;

/// What is to be tried, and for whom.
#[derive(Clone, Debug)]
pub struct CheckOrder {
    /// The site, as it is registered.
    pub site: Site,
    /// Only this CE.
    pub ce: Option<CeName>,
    /// How long a pilot may take to call home; `None` sends none.
    pub wait: Option<Duration>,
    /// Who asks.
    pub by: UserName,
}

/// Tries sites; cheap to clone.
#[derive(Clone)]
pub struct Checks {
    pub(super) shared: Arc<Shared>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Checks {
    /// Base URL of the server, as pilots reach it.
    pub fn server_url(&self) -> &str {
        &self.shared.around.server_url
    }

    /// Begins to try a site. It ends, and cleans up, when whoever reads the events goes away.
    pub fn begin(&self, order: CheckOrder) -> mpsc::Receiver<CheckEvent> {
        let (events, reader) = mpsc::channel(EVENTS_AHEAD);
        let check = Check {
            shared: self.shared.clone(),
            stop: self.stop.clone(),
            order,
            events,
            end: CheckEnd {
                failed: 0,
                remarks: 0,
            },
        };
        self.tasks.spawn(check.run());
        reader
    }
}

struct Check {
    shared: Arc<Shared>,
    stop: CancellationToken,
    order: CheckOrder,
    events: mpsc::Sender<CheckEvent>,
    end: CheckEnd,
}

/// What a step found.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    outcome: CheckOutcome,
    found: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(found: impl Into<String>) -> Self {
        Self {
            outcome: CheckOutcome::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn remark(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            outcome: CheckOutcome::Remark,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn failed(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            outcome: CheckOutcome::Failed,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn skipped(found: impl Into<String>) -> Self {
        Self {
            outcome: CheckOutcome::Skipped,
            found: found.into(),
            remedy: None,
        }
    }
}

impl Check {
    async fn run(mut self) {
        let begun = Instant::now();
        self.tell(
            CheckStage::Description,
            None,
            begun,
            description(&self.order.site),
        )
        .await;
        self.batch_system().await;
        // Whoever asked may have gone away meanwhile.
        let _ = self.events.send(CheckEvent::End(self.end)).await;
    }

    async fn tell(
        &mut self,
        stage: CheckStage,
        ce: Option<&CeName>,
        begun: Instant,
        finding: Finding,
    ) {
        match finding.outcome {
            CheckOutcome::Failed => self.end.failed += 1,
            CheckOutcome::Remark => self.end.remarks += 1,
            CheckOutcome::UnderWay | CheckOutcome::Ok | CheckOutcome::Skipped => {}
        }
        let step = CheckStep {
            stage,
            ce: ce.cloned(),
            outcome: finding.outcome,
            found: finding.found,
            remedy: finding.remedy,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        // Whoever asked may have gone away: the pilots' step looks out for that.
        let _ = self.events.send(CheckEvent::Step(step)).await;
    }

    async fn batch_system(&mut self) {
        let site = self.order.site.clone();
        let wanted = |ce: &&Ce| self.order.ce.as_ref().is_none_or(|name| ce.name == *name);
        let ces: Vec<Ce> = site.ces.iter().filter(wanted).cloned().collect();
        let begun = Instant::now();
        let (connection, states) = match reach(&self.shared, &site, &ces).await {
            Ok(reached) => reached,
            Err(error) => {
                let remedy = remedy::connection(&site, &error);
                let finding = Finding::failed(error.to_string(), remedy);
                self.tell(CheckStage::Connection, None, begun, finding)
                    .await;
                let finding = Finding::skipped("the rest, as the batch system was not reached");
                self.tell(CheckStage::Queue, None, Instant::now(), finding)
                    .await;
                return;
            }
        };
        let finding = Finding::ok("the batch system was reached and tells its state");
        self.tell(CheckStage::Connection, None, begun, finding)
            .await;
        // It is news to the state as well. Should it not be noted, the next look brings it.
        let _ = self
            .shared
            .around
            .engine
            .ask(Command::Publish(states.clone()))
            .await;
        if let Some(state) = states.first() {
            self.tell(CheckStage::Version, None, Instant::now(), version(state))
                .await;
        }
        for (ce, state) in ces.iter().zip(&states) {
            self.compute_element(&connection, ce, state).await;
        }
    }

    async fn compute_element(&mut self, connection: &Connection, ce: &Ce, state: &CeState) {
        let name = Some(&ce.name);
        let begun = Instant::now();
        let queue = queue(ce, state);
        let takes_jobs = queue.outcome != CheckOutcome::Failed;
        self.tell(CheckStage::Queue, name, begun, queue).await;
        if !takes_jobs {
            let finding = Finding::skipped("not sent, as the queue would not take it");
            self.tell(CheckStage::Pilot, name, begun, finding).await;
            return;
        }
        for finding in limits::findings(ce, state) {
            self.tell(CheckStage::Limits, name, begun, finding).await;
        }
        if let Some(wait) = self.order.wait {
            self.pilot(connection, ce, wait).await;
        }
    }
}

fn description(site: &Site) -> Finding {
    let faults = site_rules::faults(site);
    if faults.is_empty() {
        return Finding::ok("it makes sense");
    }
    Finding::failed(
        faults.join("; "),
        "mend the description and replace it: fairway site add --replace FILE",
    )
}

/// The connection, and what the CEs publish now, in their order.
async fn reach(
    shared: &Shared,
    site: &Site,
    ces: &[Ce],
) -> Result<(Connection, Vec<CeState>), AdapterError> {
    let connection = shared.sites.connect(site)?;
    let answer = connection.publish(ces, wall_clock());
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(states) => Ok((connection, states?)),
        Err(_) => Err(AdapterError::Unreachable(format!(
            "no answer within {} s",
            ANSWER_MAX.as_secs()
        ))),
    }
}

fn version(state: &CeState) -> Finding {
    match (state.lrms.0.as_str(), state.lrms.1.as_str()) {
        (kind, "") => Finding::ok(format!("{kind}, which does not tell its version")),
        (kind, version) => Finding::ok(format!("{kind} {version}")),
    }
}

fn queue(ce: &Ce, state: &CeState) -> Finding {
    let queue = ce.queue();
    let reason = state.reason.as_deref();
    let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
    match state.status {
        CeStatus::Production => Finding::ok(format!("{queue} is in production")),
        CeStatus::Draining => Finding::failed(
            format!("{queue} runs what it has and takes no more{reason}"),
            format!("open {queue} in the batch system, or name another in ces.queue"),
        ),
        CeStatus::Closed => Finding::failed(
            format!("{queue} takes no jobs{reason}"),
            format!("open {queue} in the batch system, or name one that is there in ces.queue"),
        ),
        CeStatus::Unreachable => Finding::failed(
            format!("nothing is known of {queue}{reason}"),
            "see whether the batch system itself is well",
        ),
    }
}
