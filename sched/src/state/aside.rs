//! Nodes that are set aside: what the [latch](crate::latch) learns, and what follows from it.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_model::{
    AttemptEnd, CeId, EventKind, JobId, PilotEnd, PilotId, PilotState, TaskId, TaskState,
    Timestamp, UserName,
};

use super::attempts::Measured;
use super::{State, refused};
use crate::command::{Change, Refused, RefusedKind, Reply};
use crate::latch::{Admission, Blame, Failed, News, NodeId, Unheard};
use crate::matching::LivePilot;

/// A pilot that is over within so many seconds of its first call, with nothing done, is a
/// failure of its node.
const PILOT_FAST_S: u64 = 60;

/// What the end of an attempt says of its node.
enum Sign {
    Good,
    Bad,
    None,
}

impl State {
    /// A pilot has called home from a node: from one that is set aside it gets nothing.
    pub(super) fn arrive(&mut self, pilot: PilotId, now: Timestamp) {
        let Some(live) = self.pilots.get_mut(&pilot) else {
            return;
        };
        let Some(host) = &live.pilot.host else {
            return;
        };
        let node = self.latch.join(&live.pilot.ce, host, pilot);
        live.node = Some(node);
        if let Some(evidence) = self.latch.evidence(node) {
            let reason = format!("its node is set aside: {evidence}");
            self.drain(pilot, &reason, now);
        }
    }

    /// A pilot is over.
    pub(super) fn depart(&mut self, live: &LivePilot, end: &PilotEnd, now: Timestamp) {
        let (Some(node), Some(started_at)) = (live.node, live.pilot.started_at) else {
            return;
        };
        let id = live.pilot.id;
        self.latch.leave(node, id);
        let failed = match end {
            PilotEnd::Lost { .. } => !live.proven,
            // One that was told to leave did well.
            PilotEnd::Done { .. } => {
                let element = self.elements.get(&live.pilot.ce);
                live.pilot.state == PilotState::Active
                    && !live.useful
                    && element.is_some_and(|element| element.has_work(&self.queue))
            }
            PilotEnd::Cancelled { .. } | PilotEnd::Refused { .. } => false,
        };
        if failed && now.since(started_at) <= Duration::from_secs(PILOT_FAST_S) {
            let (_, news) = self
                .latch
                .failed(node, Failed::Pilot(id), Unheard::default, now);
            self.take_news(news, now);
        }
    }

    /// Notes what the end of an attempt says of its node; gives back why the node is to blame, if
    /// it is.
    pub(super) fn blame_node(
        &mut self,
        pilot: PilotId,
        task: TaskId,
        end: &AttemptEnd,
        measured: Option<Measured>,
        now: Timestamp,
    ) -> Option<String> {
        let node = self.pilots.get(&pilot)?.node?;
        // What its owner stops says nothing.
        if self.state_of(task) == Some(TaskState::Cancelling) {
            return None;
        }
        match self.sign(end, measured) {
            Sign::None => None,
            Sign::Good => {
                self.survived(pilot, node, task.job, now);
                None
            }
            Sign::Bad => {
                let owner = self.jobs.get(&task.job)?.job.owner.clone();
                let pilots = &self.pilots;
                let unheard = || unheard(pilots.values(), task.job);
                let what = Failed::Task(task, owner);
                let (blame, news) = self.latch.failed(node, what, unheard, now);
                let host = self.latch.name(node).map_or("?", |(_, host)| host);
                let excuse = match blame {
                    Blame::Own => None,
                    Blame::Node(evidence) => {
                        Some(format!("node {host} is under suspicion: {evidence}"))
                    }
                };
                self.take_news(news, now);
                excuse
            }
        }
    }

    fn sign(&self, end: &AttemptEnd, measured: Option<Measured>) -> Sign {
        // What the server ends itself is not measured, and no sign either.
        let Some(measured) = measured else {
            return Sign::None;
        };
        let fast = self.latch.is_fast(Duration::from_millis(measured.wall_ms));
        match end {
            AttemptEnd::Exited { code: 0 } => Sign::Good,
            AttemptEnd::Exited { .. } | AttemptEnd::Signaled { .. } if fast => Sign::Bad,
            AttemptEnd::Exited { .. }
            | AttemptEnd::Signaled { .. }
            | AttemptEnd::WalltimeExceeded { .. }
            | AttemptEnd::MemoryExceeded { .. }
                if !fast =>
            {
                Sign::Good
            }
            AttemptEnd::NotStarted { .. } => Sign::Bad,
            _ => Sign::None,
        }
    }

    fn survived(&mut self, pilot: PilotId, node: NodeId, job: JobId, now: Timestamp) {
        if let Some(live) = self.pilots.get_mut(&pilot) {
            live.proven = true;
        }
        let news = self.latch.survived(node, job, now);
        self.take_news(news, now);
    }

    /// Time passes: attempts come of age, and nodes are probed.
    pub(super) fn watch_nodes(&mut self, now: Timestamp) {
        let mut grown = BTreeSet::new();
        for (id, live) in &mut self.pilots {
            let Some(node) = live.node else {
                continue;
            };
            for lease in &mut live.leases {
                let of_age = |since: &mut Timestamp| !self.latch.is_fast(now.since(*since));
                if lease.young_since.take_if(of_age).is_some() {
                    grown.insert((*id, node, lease.task.job));
                }
            }
        }
        for (pilot, node, job) in grown {
            self.survived(pilot, node, job, now);
        }
        let (news, freed) = self.latch.tick(now);
        self.take_news(news, now);
        self.wishes_may_be_granted |= freed;
    }

    pub(super) fn release_node(
        &mut self,
        ce: &CeId,
        host: &str,
        by: &UserName,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        let because = format!("by {by}'s word");
        let Some(news) = self.latch.release(ce, host, because) else {
            let reason = format!("no node `{host}` of {ce} is set aside");
            return Err(refused(RefusedKind::NotFound, reason));
        };
        self.take_news([news], now);
        Ok(Reply::Done)
    }

    fn take_news(&mut self, news: impl IntoIterator<Item = News>, now: Timestamp) {
        for news in news {
            let (News::SetAside { node, .. } | News::Probed { node } | News::Released { node, .. }) =
                &news;
            let node = *node;
            let Some((ce, host)) = self.latch.name(node) else {
                continue;
            };
            let (ce, host) = (ce.clone(), host.to_owned());
            let kind = match news {
                News::SetAside {
                    evidence,
                    until,
                    victims,
                    ..
                } => {
                    self.set_aside_node(node, &ce, &evidence, now);
                    for task in victims {
                        self.give_back_retry(task);
                    }
                    EventKind::NodeSetAside {
                        ce,
                        host,
                        evidence,
                        until,
                    }
                }
                News::Probed { .. } => EventKind::NodeProbed { ce, host },
                News::Released { because, .. } => {
                    if let Some(element) = self.elements.get_mut(&ce) {
                        element.experience.note_useful(false);
                    }
                    self.wishes_may_be_granted = true;
                    EventKind::NodeReleased { ce, host, because }
                }
            };
            self.event(kind, now);
        }
    }

    /// Its pilots take no more. If no node is left that is known, the CE gets no pilots for a
    /// while.
    fn set_aside_node(&mut self, node: NodeId, ce: &CeId, evidence: &str, now: Timestamp) {
        let pilots: Vec<PilotId> = self.latch.pilots(node).collect();
        for pilot in pilots {
            self.drain(pilot, &format!("its node is set aside: {evidence}"), now);
        }
        if let Some(until) = self.latch.all_aside(ce)
            && let Some(element) = self.elements.get_mut(ce)
        {
            let reason = "every node that is known there is set aside";
            element.experience.rest(until, reason.to_owned());
        }
    }

    /// A failure that cost the task a retry was its node's.
    fn give_back_retry(&mut self, task: TaskId) {
        let live = self.jobs.get_mut(&task.job);
        let Some(row) = live.and_then(|live| live.tasks.get_mut(&task.index)) else {
            return; // It is over.
        };
        if row.losses >= self.settings.losses_max {
            return;
        }
        let failures = match row.last_end {
            Some(AttemptEnd::NotStarted { .. }) => &mut row.shallow_failures,
            _ => &mut row.deep_failures,
        };
        if *failures > 0 {
            *failures -= 1;
            row.losses += 1;
            let row = row.clone();
            self.changes.push(Change::Task(row));
        }
    }

    /// Whether the node of a pilot may get a task.
    pub(crate) fn node_admits(&self, live: &LivePilot, now: Timestamp) -> bool {
        let Some(node) = live.node else {
            return true;
        };
        match self.latch.admission(node, now) {
            Admission::All => true,
            Admission::None => false,
            Admission::One => {
                let mut pilots = self.latch.pilots(node);
                let idle = |id: PilotId| {
                    let live = self.pilots.get(&id);
                    live.is_none_or(|live| live.leases.is_empty() && live.seats.is_empty())
                };
                pilots.all(idle)
            }
        }
    }
}

fn unheard<'a>(pilots: impl Iterator<Item = &'a LivePilot>, job: JobId) -> Unheard {
    let mut unheard = Unheard::default();
    for live in pilots {
        let Some(node) = live.node else {
            unheard.expected += 1;
            continue;
        };
        if live.leases.iter().any(|lease| lease.task.job == job) {
            unheard.job.insert(node);
        }
        if live.leases.iter().any(|lease| lease.young_since.is_some()) {
            unheard.any.insert(node);
        }
    }
    unheard
}
