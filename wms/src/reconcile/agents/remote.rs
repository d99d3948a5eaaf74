//! A site's batch system as its agent tells of it.
//!
//! What comes back is as good as the agent: it is checked that it is about what was asked for,
//! so that one site's agent can say nothing about another site.

use std::sync::Arc;

use async_trait::async_trait;
use fairway_api::agent as wire;
use fairway_api::agent::{Call, Fault, FaultKind, Outcome, SubmitJob, Submitted};
use fairway_model::{Ce, CeState, SiteName, Timestamp};
use fairway_site_adapters::{AdapterError, BatchJob, BatchState, BatchSystem, PilotJob};

use super::desk::Desk;

pub(super) struct Remote {
    site: SiteName,
    desk: Arc<Desk>,
}

impl Remote {
    pub(super) fn new(site: SiteName, desk: Arc<Desk>) -> Self {
        Self { site, desk }
    }

    /// Whether `states` are of `ces`, one for each and in order.
    fn are_of(&self, states: &[CeState], ces: &[Ce]) -> bool {
        states.len() == ces.len()
            && states
                .iter()
                .zip(ces)
                .all(|(state, ce)| state.ce.site == self.site && state.ce.ce == ce.name)
    }
}

#[async_trait]
impl BatchSystem for Remote {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let call = Call::Submit {
            jobs: jobs.iter().map(submit_job).collect(),
        };
        let error = match self.desk.ask(call).await {
            Ok(Outcome::Submitted { results }) if results.len() == jobs.len() => {
                return results.into_iter().map(submitted).collect();
            }
            Ok(other) => not_an_answer(other),
            Err(error) => error,
        };
        vec![Err(error); jobs.len()]
    }

    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let call = Call::Poll {
            name_prefix: name_prefix.to_owned(),
            known: known.to_vec(),
        };
        match self.desk.ask(call).await? {
            Outcome::Jobs { jobs } => Ok(jobs.into_iter().map(batch_job).collect()),
            other => Err(not_an_answer(other)),
        }
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let call = Call::Cancel {
            batch_ids: batch_ids.to_vec(),
        };
        match self.desk.ask(call).await? {
            Outcome::Cancelled => Ok(()),
            other => Err(not_an_answer(other)),
        }
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        let call = Call::Publish {
            ces: ces.iter().map(|ce| ce.name.clone()).collect(),
            now,
        };
        match self.desk.ask(call).await? {
            Outcome::Published { mut states } if self.are_of(&states, ces) => {
                for state in &mut states {
                    // Moments are stamped here: the agent's clock may be wrong.
                    state.observed_at = now;
                }
                Ok(states)
            }
            other => Err(not_an_answer(other)),
        }
    }
}

fn submit_job(job: &PilotJob) -> SubmitJob {
    SubmitJob {
        pilot: job.pilot,
        ce: job.ce.name.clone(),
        name: job.name.clone(),
        resources: job.resources,
        nodes: job.nodes,
        run_as: job.run_as.clone(),
        reserve_at: job.reserve_at,
        avoid: job.avoid.clone(),
        walltime_s: job.walltime_s,
        program: job.program.clone(),
        stdin: job.stdin.clone(),
    }
}

fn submitted(result: Submitted) -> Result<String, AdapterError> {
    match result {
        Submitted::BatchId(batch_id) => Ok(batch_id),
        Submitted::Fault(fault) => Err(error(fault)),
    }
}

fn batch_job(job: wire::BatchJob) -> BatchJob {
    BatchJob {
        batch_id: job.batch_id,
        name: job.name,
        state: match job.state {
            wire::BatchState::Queued { reason } => BatchState::Queued { reason },
            wire::BatchState::Running => BatchState::Running,
            wire::BatchState::Ended { detail } => BatchState::Ended { detail },
        },
    }
}

fn error(Fault { kind, text }: Fault) -> AdapterError {
    match kind {
        FaultKind::Refused => AdapterError::Refused(text),
        FaultKind::Unreachable => AdapterError::Unreachable(text),
        FaultKind::Unexpected => AdapterError::Unexpected(text),
    }
}

/// The error in an outcome that is none of those that answer the call.
fn not_an_answer(outcome: Outcome) -> AdapterError {
    match outcome {
        Outcome::Failed { fault } => error(fault),
        _ => AdapterError::Unexpected(
            "the site's agent did not answer what it was asked for".to_owned(),
        ),
    }
}
