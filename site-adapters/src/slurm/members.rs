//! Members of arrays that were cancelled before they started: Slurm forgets them at once, in the
//! controller and often in the accounting, so that they would look lost. What is remembered here
//! is lost with a restart; then they do.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{BatchJob, BatchState};

/// How long a member is remembered that is not seen any more.
const TIME_MAX: Duration = Duration::from_secs(3600);

/// The members that were seen or cancelled lately, by their ids.
#[derive(Default)]
pub(super) struct Members(Mutex<HashMap<String, Member>>);

struct Member {
    name: String,
    cancelled: bool,
    seen: Instant,
}

impl Members {
    fn look(&self) -> MutexGuard<'_, HashMap<String, Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a poll found out.
    pub(super) fn note(&self, jobs: &[BatchJob]) {
        let now = Instant::now();
        let mut members = self.look();
        members.retain(|_, member| now.duration_since(member.seen) < TIME_MAX);
        for job in jobs.iter().filter(|job| job.batch_id.contains('_')) {
            if matches!(job.state, BatchState::Ended { .. }) {
                continue;
            }
            match members.get_mut(&job.batch_id) {
                Some(member) => member.seen = now,
                None => {
                    let member = Member {
                        name: job.name.clone(),
                        cancelled: false,
                        seen: now,
                    };
                    members.insert(job.batch_id.clone(), member);
                }
            }
        }
    }

    /// Takes in that these were cancelled, by us and with success.
    pub(super) fn note_cancelled(&self, ids: &[&str]) {
        let mut members = self.look();
        for id in ids {
            if let Some(member) = members.get_mut(*id) {
                member.cancelled = true;
                member.seen = Instant::now();
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
