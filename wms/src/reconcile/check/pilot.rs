//! The last step: a pilot that starts, calls home and ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairway_api::public::{CheckOutcome, CheckStage};
use fairway_model::{Ce, CeId, Pilot, PilotEnd, PilotId, PilotState, Resources};
use fairway_sched::command::Observation;
use fairway_sched::{Command, RefusedKind, Reply};
use fairway_site_adapters::BatchState;
use tokio::time::MissedTickBehavior;

use super::super::{Connection, Shared, supply};
use super::{Check, Finding};
use crate::auth::{new_secret, sha256_hex};
use crate::engine::EngineError;

/// How often the batch system is asked where the pilot's job is.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Two looks at the state are at least so far apart, however much happens elsewhere.
const LOOK_GAP: Duration = Duration::from_millis(200);
/// How long a pilot that has called home, or whose job is over, may take until the state knows
/// of its end.
const END_MAX: Duration = Duration::from_secs(60);

impl Check {
    /// Sends a pilot to the CE, and watches it until it is over.
    pub(super) async fn pilot(&mut self, connection: &Connection, ce: &Ce, wait: Duration) {
        let begun = Instant::now();
        let finding = match self.send_pilot(ce).await {
            Ok(pilot) => {
                let finding = self.watch(connection, ce, &pilot, begun, wait).await;
                // Whatever came of it.
                end(&self.shared, pilot.id).await;
                finding
            }
            Err(finding) => finding,
        };
        self.tell(CheckStage::Pilot, Some(&ce.name), begun, finding)
            .await;
    }

    /// Has a probe noted and submitted, as pilots are.
    async fn send_pilot(&self, ce: &Ce) -> Result<Pilot, Finding> {
        let site = &self.order.site.name;
        let secret = new_secret();
        let command = Command::ProbePilot {
            ce: CeId {
                site: site.clone(),
                ce: ce.name.clone(),
            },
            hash: sha256_hex(&secret),
            by: self.order.by.clone(),
        };
        let pilot = match self.shared.around.engine.ask(command).await {
            Ok(Reply::Planned(mut pilots)) => pilots.pop(),
            Ok(_) => None,
            Err(EngineError::Refused(refused)) if refused.kind == RefusedKind::Conflict => {
                return Err(Finding::skipped(refused.reason));
            }
            Err(error) => {
                return Err(Finding::failed(error.to_string(), "try again in a moment"));
            }
        };
        let pilot = pilot.ok_or_else(|| Finding::skipped("no pilot was planned"))?;
        let promised = supply::Promised {
            secret,
            reserve_at: None,
            warm: false,
        };
        let allocation = vec![(pilot.clone(), promised)];
        let allocations = BTreeMap::from([(pilot.allocation, allocation)]);
        supply::submit(self.shared.clone(), site.clone(), allocations).await;
        Ok(pilot)
    }

    /// Looks after a pilot until it is over, has not called home for too long, or nobody wants
    /// to know any more.
    async fn watch(
        &mut self,
        connection: &Connection,
        ce: &Ce,
        pilot: &Pilot,
        begun: Instant,
        wait: Duration,
    ) -> Finding {
        let mut commits = self.shared.around.engine.commits();
        let mut asks = tokio::time::interval(ASK_EVERY);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deadline = tokio::time::Instant::now() + wait;
        let mut told = String::new();
        let mut called = None;
        loop {
            commits.mark_unchanged();
            let seen = match look(&self.shared, pilot.id).await {
                Ok(Some(seen)) => seen,
                Ok(None) => return self.over(pilot, called).await,
                Err(error) => return Finding::failed(error.to_string(), "try again in a moment"),
            };
            if called.is_none() && seen.started_at.is_some() {
                called = Some(begun.elapsed());
                deadline = tokio::time::Instant::now() + END_MAX;
            }
            let now = tokio::select! {
                changed = commits.changed() => match changed {
                    Ok(()) => {
                        tokio::time::sleep(LOOK_GAP).await;
                        continue;
                    }
                    Err(_) => return stopped(),
                },
                () = self.stop.cancelled() => return stopped(),
                () = self.events.closed() => return Finding::skipped("nobody waits for it"),
                () = tokio::time::sleep_until(deadline) => return late(&seen, ce, wait, &told),
                _ = asks.tick() => whereabouts(&self.shared, connection, &seen).await,
            };
            if let Some(now) = now
                && now != told
            {
                told.clone_from(&now);
                let step = Finding {
                    outcome: CheckOutcome::UnderWay,
                    found: now,
                    remedy: None,
                };
                self.tell(CheckStage::Pilot, Some(&ce.name), begun, step)
                    .await;
            }
        }
    }

    /// What a pilot that is over shows. `called` is when it called home.
    async fn over(&self, pilot: &Pilot, called: Option<Duration>) -> Finding {
        let id = pilot.id;
        let view = match self.shared.around.store.pilot_view(id).await {
            Ok(Some(view)) => view,
            Ok(None) => return Finding::skipped(format!("pilot {id} is not known any more")),
            Err(error) => return Finding::failed(error.to_string(), "try again in a moment"),
        };
        // It may have called home and left between two looks.
        let called = called.or_else(|| Some(view.started_at?.since(view.planned_at)));
        match (called, &view.end) {
            (Some(after), Some(PilotEnd::Done { .. })) => {
                let host = view.host.as_deref().unwrap_or("its node");
                found(id, host, after, pilot.resources, view.resources)
            }
            (Some(_), end) => Finding::failed(
                format!(
                    "pilot {id} called home, but did not end in good order: {}",
                    words(end)
                ),
                "see its log in the site's adapter.work_dir on the worker node",
            ),
            (None, Some(PilotEnd::Refused { reason })) => Finding::failed(
                format!("pilot {id} was not accepted: {reason}"),
                "mend what the batch system complains of: queue, account, shape, options",
            ),
            (None, Some(PilotEnd::Cancelled { reason })) => {
                Finding::skipped(format!("pilot {id} was ended by somebody else: {reason}"))
            }
            (None, end) => Finding::failed(
                format!("pilot {id} ended without calling home: {}", words(end)),
                never_called(&self.shared),
            ),
        }
    }
}

/// Ends the pilot, if it is not over, and then its job; should that fail, it is found to be an
/// orphan later.
async fn end(shared: &Shared, pilot: PilotId) {
    let Ok(Some(known)) = look(shared, pilot).await else {
        return;
    };
    let end = PilotEnd::Cancelled {
        reason: "the site has been tried".into(),
    };
    // If it is not noted, the plan of pilots calls it back when it is old enough.
    let noted = shared.around.engine.ask(Command::EndPilot { pilot, end });
    if noted.await.is_ok()
        && let Some(batch_id) = known.batch_id
    {
        supply::cancel(shared, &known.ce.site, &[batch_id]).await;
    }
}

fn found(id: PilotId, host: &str, after: Duration, asked: Resources, has: Resources) -> Finding {
    let found = format!(
        "pilot {id} started on {host}, called home after {} s with {} cores and {} MiB, and ended",
        after.as_secs(),
        has.cores,
        has.memory_mib
    );
    if has.cores < asked.cores || has.memory_mib < asked.memory_mib {
        return Finding::remark(
            found,
            format!(
                "it asked for {} cores and {} MiB: see what the batch system gives to its jobs",
                asked.cores, asked.memory_mib
            ),
        );
    }
    Finding::ok(found)
}

fn words(end: &Option<PilotEnd>) -> String {
    end.as_ref()
        .map_or_else(|| "not known how".to_owned(), ToString::to_string)
}

fn never_called(shared: &Shared) -> String {
    format!(
        "see its log in adapter.work_dir on the worker node: is the pilot program there \
         (ces.pilot_program), and can the node reach {}?",
        shared.around.server_url
    )
}

fn stopped() -> Finding {
    Finding::failed("the server is being stopped", "try again when it is back")
}

/// A pilot that has not done its part in time.
fn late(pilot: &Pilot, ce: &Ce, wait: Duration, told: &str) -> Finding {
    let id = pilot.id;
    if pilot.started_at.is_some() {
        return Finding::failed(
            format!(
                "pilot {id} called home, but did not end within {} s",
                END_MAX.as_secs()
            ),
            "its job was cancelled; see its log in adapter.work_dir on the worker node",
        );
    }
    let told = if told.is_empty() {
        String::new()
    } else {
        format!(" ({told})")
    };
    let found = format!(
        "pilot {id} did not call home within {} s{told}",
        wait.as_secs()
    );
    match pilot.state {
        PilotState::Starting => Finding::failed(
            found,
            "its job ran: is the pilot program on the node, and does the node reach the server?",
        ),
        _ => Finding::remark(
            found,
            format!(
                "its job was cancelled. If {} is only busy, give it more time with --wait",
                ce.queue()
            ),
        ),
    }
}

async fn look(shared: &Shared, pilot: PilotId) -> Result<Option<Pilot>, EngineError> {
    shared
        .around
        .engine
        .look(move |state, _| state.pilot(pilot).map(|view| view.pilot))
        .await
}

/// Where the pilot's job is, in words; nothing if that is not known. A job that is over is news
/// to the state, unless its pilot has told that itself.
async fn whereabouts(shared: &Shared, connection: &Connection, pilot: &Pilot) -> Option<String> {
    let id = pilot.id;
    if pilot.started_at.is_some() {
        return Some(format!("pilot {id} has called home and is to end"));
    }
    let known: Vec<String> = pilot.batch_id.iter().cloned().collect();
    let jobs = connection
        .poll(&shared.around.name_prefix, &known)
        .await
        .ok()?;
    let name = shared.job_name(pilot.allocation);
    let job = jobs.into_iter().find(|job| job.name == name)?;
    let batch_id = &job.batch_id;
    match job.state {
        BatchState::Queued { reason } if reason.is_empty() => {
            Some(format!("job {batch_id} of pilot {id} waits in the queue"))
        }
        BatchState::Queued { reason } => Some(format!(
            "job {batch_id} of pilot {id} waits in the queue: {reason}"
        )),
        BatchState::Running => Some(format!("job {batch_id} of pilot {id} runs")),
        BatchState::Ended { detail } => {
            let news = Command::ObservePilots(vec![(id, Observation::Ended { detail })]);
            // Should it not be noted, the next look brings it.
            let _ = shared.around.engine.ask(news).await;
            None
        }
    }
}
