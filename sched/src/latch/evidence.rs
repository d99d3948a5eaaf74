//! Whose fault it is: what the other nodes say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::{JobId, Timestamp, UserName};

use super::{Failed, Latch, NodeId, SUSPICIOUS, Unheard, recent};

/// So long after the first failure of a row it is waited for what other nodes have to say.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is held against a node.
pub(super) struct Suspicion {
    pub(super) evidence: String,
    /// It is enough to set it aside.
    pub(super) aside: bool,
}

/// The failures in the row of a node that count.
#[derive(Default)]
struct Row<'a> {
    /// Of jobs that do well elsewhere.
    well: Vec<Failed>,
    /// Of jobs that nothing is known of elsewhere, and of pilots.
    open: Vec<Failed>,
    users: BTreeSet<&'a UserName>,
    pilots: usize,
}

/// Voices for and against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Voices {
    well: u32,
    badly: u32,
}

impl Voices {
    fn count(voices: impl Iterator<Item = bool>) -> Self {
        voices.fold(Self::default(), |sum, well| Self {
            well: sum.well + u32::from(well),
            badly: sum.badly + u32::from(!well),
        })
    }

    fn all(self) -> u32 {
        self.well + self.badly
    }

    pub(super) fn carried(self) -> bool {
        self.well > self.badly
    }

    pub(super) fn silent(self) -> bool {
        self.all() == 0
    }
}

impl Latch {
    /// Whether the node itself is so doubtful that a failure there proves nothing.
    pub(super) fn is_doubtful(&self, id: NodeId, now: Timestamp) -> bool {
        self.nodes.get(&id).is_some_and(|node| {
            node.aside.is_some() || node.row.len() >= SUSPICIOUS && self.against(id, now).is_some()
        })
    }

    /// Whether the last failure in the node's row is to be held against the node.
    pub(super) fn judge(
        &self,
        id: NodeId,
        what: &Failed,
        unheard: impl FnOnce() -> Unheard,
        now: Timestamp,
    ) -> Option<Suspicion> {
        let node = self.nodes.get(&id)?;
        if let Some(aside) = &node.aside {
            return Some(Suspicion {
                evidence: aside.evidence.clone(),
                aside: aside.probed,
            });
        }
        if node.row.len() < SUSPICIOUS {
            return None;
        }
        let Some((evidence, counted)) = self.against(id, now) else {
            let Failed::Task(task, _) = what else {
                return None;
            };
            return self
                .is_pending(id, task.job, unheard, now)
                .then(|| Suspicion {
                    evidence: "other nodes are yet to show how they do".into(),
                    aside: false,
                });
        };
        if !counted.contains(what) {
            return None;
        }
        let things: BTreeSet<_> = counted.iter().map(thing).collect();
        Some(Suspicion {
            evidence,
            aside: counted.len() >= self.in_a_row && things.len() >= SUSPICIOUS,
        })
    }

    /// Whether others may yet speak for the job, or for their node if nothing is known of the
    /// job: more than have spoken against it.
    fn is_pending(
        &self,
        id: NodeId,
        job: JobId,
        unheard: impl FnOnce() -> Unheard,
        now: Timestamp,
    ) -> bool {
        let young = self
            .nodes
            .get(&id)
            .is_some_and(|node| now.since(node.row_since) <= PATIENCE);
        let voices = self.elsewhere(job, id, now);
        // A broken job soon gets here with every task.
        if !young && voices.badly as usize * 2 > self.nodes.len() {
            return false;
        }
        let Unheard {
            job: own,
            any,
            expected,
        } = unheard();
        let silent = |node: &NodeId| *node != id && !self.seen.contains_key(&(job, *node));
        if own.into_iter().filter(silent).count() > voices.badly as usize {
            return true;
        }
        let others = any.into_iter().filter(|node| *node != id).count();
        young && voices.silent() && others + expected > self.others(id, now).badly as usize
    }

    /// What speaks against a node, and the failures in its row that count; `None` if nothing
    /// can be said.
    fn against(&self, id: NodeId, now: Timestamp) -> Option<(String, Vec<Failed>)> {
        let node = self.nodes.get(&id)?;
        let mut row = Row::default();
        let mut voices = BTreeMap::new();
        for failure in node.row.iter().filter(|failure| recent(failure.at, now)) {
            let Failed::Task(task, user) = &failure.what else {
                row.pilots += 1;
                row.open.push(failure.what.clone());
                continue;
            };
            let voices = *voices
                .entry(task.job)
                .or_insert_with(|| self.elsewhere(task.job, id, now));
            if failure.convicts || voices.carried() {
                row.well.push(failure.what.clone());
            } else if voices.silent() {
                row.open.push(failure.what.clone());
            } else {
                continue;
            }
            row.users.insert(user);
        }
        let others = self.others(id, now);
        if others.carried() && (row.users.len() > 1 || row.pilots >= SUSPICIOUS) {
            let mut counted = row.well;
            counted.extend(row.open);
            let (good, all) = (others.well, others.all());
            let evidence = format!(
                "{} failures at once in a row here, while {good} of {all} other nodes do well",
                counted.len()
            );
            return Some((evidence, counted));
        }
        if row.well.len() < SUSPICIOUS {
            return None;
        }
        let n = row.well.len();
        let known = voices.into_iter().find(|(_, voices)| voices.carried());
        let evidence = match known {
            Some((job, voices)) => format!(
                "{n} failures at once in a row here, while job {job} does well on {} of {} other \
                 nodes",
                voices.well,
                voices.all()
            ),
            None => format!(
                "{n} failures at once in a row here, while the same jobs did well on other nodes"
            ),
        };
        Some((evidence, row.well))
    }

    /// What the other nodes saw of a job.
    pub(super) fn elsewhere(&self, job: JobId, here: NodeId, now: Timestamp) -> Voices {
        let range = (job, NodeId(0))..=(job, NodeId(u32::MAX));
        let seen = self.seen.range(range);
        let fresh = seen.filter(|((_, id), (_, at))| *id != here && recent(*at, now));
        Voices::count(fresh.map(|(_, (well, _))| *well))
    }

    /// What the other nodes saw of anything. Those that are set aside speak against.
    fn others(&self, here: NodeId, now: Timestamp) -> Voices {
        let others = self.nodes.iter().filter(|(id, _)| **id != here);
        let voices = others.filter_map(|(_, node)| match (&node.aside, node.last) {
            (Some(_), _) => Some(false),
            (None, Some((well, at))) if recent(at, now) => Some(well),
            _ => None,
        });
        Voices::count(voices)
    }
}

/// Attempts of one task are one thing.
fn thing(what: &Failed) -> (bool, u64, u32) {
    match what {
        Failed::Task(task, _) => (true, task.job.0, task.index),
        Failed::Pilot(pilot) => (false, pilot.0, 0),
    }
}
