//! Requests of the server, carried out on the batch system.

use std::sync::Arc;

use fairway_api::agent as wire;
use fairway_api::agent::{Call, Fault, FaultKind, Outcome, SubmitJob, Submitted};
use fairway_model::{Ce, CeId, CeName, CeState, Timestamp};
use fairway_site_adapters::{AdapterError, BatchJob, BatchState, BatchSystem, PilotJob};

use crate::description::{Description, require_ours};

/// The batch system with what the site's file says of it.
pub(crate) struct Executor {
    pub(crate) description: Description,
    pub(crate) system: Arc<dyn BatchSystem>,
}

impl Executor {
    /// Does what is asked for.
    pub(crate) async fn execute(&self, call: Call) -> Outcome {
        match call {
            Call::Submit { jobs } => Outcome::Submitted {
                results: self.submit(jobs).await,
            },
            Call::Poll { name_prefix, known } => {
                if let Err(error) = require_ours("beginning of names", &name_prefix) {
                    return failed(error);
                }
                match self.system.poll(&name_prefix, &known).await {
                    Ok(jobs) => Outcome::Jobs {
                        jobs: jobs.into_iter().map(batch_job).collect(),
                    },
                    Err(error) => failed(error),
                }
            }
            Call::Cancel { batch_ids } => match self.system.cancel(&batch_ids).await {
                Ok(()) => Outcome::Cancelled,
                Err(error) => failed(error),
            },
            Call::Publish { ces, now } => match self.publish(&ces, now).await {
                Ok(states) => Outcome::Published { states },
                Err(error) => failed(error),
            },
        }
    }

    /// Submits what the file allows; one result for each job, in order.
    async fn submit(&self, jobs: Vec<SubmitJob>) -> Vec<Submitted> {
        let allowed: Vec<Result<PilotJob, AdapterError>> = jobs
            .into_iter()
            .map(|job| self.description.job(job))
            .collect();
        let submitted: Vec<PilotJob> = allowed.iter().flatten().cloned().collect();
        let results = if submitted.is_empty() {
            Vec::new()
        } else {
            self.system.submit(&submitted).await
        };
        let mut results = results.into_iter();
        let result_of = |allowed: Result<PilotJob, AdapterError>| {
            allowed.and_then(|job| {
                let result = results.next().unwrap_or_else(|| {
                    Err(AdapterError::Unexpected(
                        "the adapter told of fewer submissions than were made".to_owned(),
                    ))
                });
                match &result {
                    Ok(batch_id) => tracing::info!(pilot = %job.pilot, ce = %job.ce.name, batch_id, "pilot submitted"),
                    Err(error) => tracing::warn!(pilot = %job.pilot, ce = %job.ce.name, %error, "pilot not submitted"),
                }
                result
            })
        };
        let told = allowed.into_iter().map(result_of);
        told.map(|result| match result {
            Ok(batch_id) => Submitted::BatchId(batch_id),
            Err(error) => Submitted::Fault(fault(error)),
        })
        .collect()
    }

    /// What the CEs publish; one that the file does not have is unreachable.
    async fn publish(
        &self,
        names: &[CeName],
        now: Timestamp,
    ) -> Result<Vec<CeState>, AdapterError> {
        let known: Vec<Ce> = names
            .iter()
            .filter_map(|name| self.description.ce(name).cloned())
            .collect();
        let mut states = self.system.publish(&known, now).await?.into_iter();
        let site = self.description.site();
        Ok(names
            .iter()
            .filter_map(|name| match self.description.ce(name) {
                Some(_) => states.next(),
                None => {
                    let id = CeId {
                        site: site.name.clone(),
                        ce: name.clone(),
                    };
                    let reason = "the site's agent does not have it in its file".to_owned();
                    Some(CeState::unreachable(id, site.adapter.kind(), now, reason))
                }
            })
            .collect())
    }
}

/// The outcome of what could not be done.
pub(crate) fn failed(error: AdapterError) -> Outcome {
    Outcome::Failed {
        fault: fault(error),
    }
}

fn fault(error: AdapterError) -> Fault {
    let (kind, text) = match error {
        AdapterError::Refused(text) => (FaultKind::Refused, text),
        AdapterError::Unreachable(text) => (FaultKind::Unreachable, text),
        AdapterError::Unexpected(text) => (FaultKind::Unexpected, text),
    };
    Fault { kind, text }
}

fn batch_job(job: BatchJob) -> wire::BatchJob {
    wire::BatchJob {
        batch_id: job.batch_id,
        name: job.name,
        state: match job.state {
            BatchState::Queued { reason } => wire::BatchState::Queued { reason },
            BatchState::Running => wire::BatchState::Running,
            BatchState::Ended { detail } => wire::BatchState::Ended { detail },
        },
    }
}
