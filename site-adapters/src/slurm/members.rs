//! Members of arrays that were cancelled before they started: Slurm forgets them at once, in the
//! controller and in the accounting, so that they would look lost. What is remembered here is
//! lost with a restart; then they do.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{BatchJob, BatchState};

/// The members that were seen last, by their ids.
#[derive(Default)]
pub(super) struct Members(Mutex<HashMap<String, Member>>);

struct Member {
    name: String,
    cancelled: bool,
}

impl Members {
    fn look(&self) -> MutexGuard<'_, HashMap<String, Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a poll found out. What is over, or not asked for any more, is dropped.
    pub(super) fn note(&self, jobs: &[BatchJob], known: &[String]) {
        let known: HashSet<&str> = known.iter().map(String::as_str).collect();
        let mut members = self.look();
        members.retain(|id, member| member.cancelled && known.contains(id.as_str()));
        for job in jobs.iter().filter(|job| job.batch_id.contains('_')) {
            if !matches!(job.state, BatchState::Ended { .. }) {
                let member = members.entry(job.batch_id.clone());
                member.or_insert_with(|| Member {
                    name: job.name.clone(),
                    cancelled: false,
                });
            }
        }
    }

    /// Takes in that these were cancelled, by us and with success.
    pub(super) fn note_cancelled(&self, ids: &[&str]) {
        let mut members = self.look();
        for id in ids {
            if let Some(member) = members.get_mut(*id) {
                member.cancelled = true;
            }
        }
    }

    /// Those of the `missing` that were cancelled, unless they are `told` of already.
    pub(super) fn gone(&self, missing: &BTreeSet<&str>, told: &[BatchJob]) -> Vec<BatchJob> {
        let told: HashSet<&str> = told.iter().map(|job| job.batch_id.as_str()).collect();
        let members = self.look();
        let cancelled = missing.iter().filter(|id| !told.contains(*id));
        cancelled
            .filter_map(|id| {
                let member = members.get(*id).filter(|member| member.cancelled)?;
                Some(BatchJob {
                    batch_id: (*id).to_owned(),
                    name: member.name.clone(),
                    state: BatchState::Ended {
                        detail: "CANCELLED".to_owned(),
                    },
                })
            })
            .collect()
    }
}
