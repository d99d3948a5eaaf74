//! A pilot's heartbeat with its reports, and the answer to it.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_model::{
    Attempt, AttemptEnd, PilotId, PilotState, SiteMode, TaskId, TaskState, Timestamp,
};

use super::State;
use super::attempts::Measured;
use crate::command::{AttemptNews, AttemptReport, Grant, PilotWant, Refused, Reply};
use crate::matching::Wish;

/// What a sync is answered with.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) grants: Vec<Grant>,
    /// `true`: written off, no report is wanted.
    pub(super) stop: Vec<(TaskId, Attempt, bool)>,
    pub(super) drain: bool,
}

impl Orders {
    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.stop.is_empty() && !self.drain
    }
}

impl From<Orders> for Reply {
    fn from(orders: Orders) -> Self {
        Self::Synced {
            grants: orders.grants,
            stop: orders.stop,
            drain: orders.drain,
        }
    }
}

impl State {
    pub(super) fn sync(
        &mut self,
        pilot: PilotId,
        reports: Vec<AttemptReport>,
        holding: &[(TaskId, Attempt)],
        want: Option<PilotWant>,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        let live = self.live_pilot(pilot)?;
        live.heard_at = now;
        // An older wish that comes late is over; it neither opens nor closes anything.
        let want = want.filter(|want| want.round >= live.round);
        if let Some(want) = want {
            live.round = want.round;
            live.backlog = live.books().1.max(want.backlog as usize);
            self.close_wish(pilot);
        }

        let mut orders = Orders::default();
        let mut settled = BTreeSet::new();
        for report in reports {
            let attempt = (report.task, report.attempt);
            if !self.is_live(pilot, report.task, report.attempt) {
                if !settled.contains(&attempt) {
                    orders.stop.push((report.task, report.attempt, true));
                }
                settled.insert(attempt);
                continue;
            }
            if matches!(report.what, AttemptNews::Ended { .. }) {
                settled.insert(attempt);
            }
            self.report(pilot, report, now);
        }
        for &(task, attempt) in holding {
            if !self.is_live(pilot, task, attempt) && settled.insert((task, attempt)) {
                orders.stop.push((task, attempt, true));
            }
        }
        if let Some(want) = want {
            orders.grants = self.missing_leases(pilot, holding, want.round, now);
        }
        self.add_orders(pilot, &mut orders);
        if let Some(want) = want {
            self.answer_wish(pilot, want, &mut orders, now);
        }
        Ok(orders.into())
    }

    fn report(&mut self, pilot: PilotId, report: AttemptReport, now: Timestamp) {
        match report.what {
            AttemptNews::Started => self.attempt_started(pilot, report.task, now),
            AttemptNews::Ended {
                end,
                wall_ms,
                cpu_ms,
                memory_peak_kib,
            } => {
                let measured = Measured {
                    wall_ms,
                    cpu_ms,
                    memory_peak_kib,
                };
                self.end_attempt(pilot, report.task, end, Some(measured), now);
            }
        }
    }

    /// Leases that the pilot does not know of, though it makes a wish again: the reply that
    /// brought them was lost. They are sent again; those to be stopped are over.
    fn missing_leases(
        &mut self,
        pilot: PilotId,
        holding: &[(TaskId, Attempt)],
        round: u64,
        now: Timestamp,
    ) -> Vec<Grant> {
        let held: BTreeSet<_> = holding.iter().copied().collect();
        let Some(live) = self.pilots.get_mut(&pilot) else {
            return Vec::new();
        };
        let mut missing = Vec::new();
        for lease in &mut live.leases {
            // A repeated wish has the round of its first sending: that reply is lost too.
            if lease.round <= round && !held.contains(&(lease.task, lease.attempt)) {
                lease.round = round;
                missing.push((lease.task, lease.attempt));
            }
        }
        let mut grants = Vec::new();
        for (task, attempt) in missing {
            if self.state_of(task) == Some(TaskState::Cancelling) {
                self.end_attempt(pilot, task, AttemptEnd::Cancelled, None, now);
            } else if let Some(live) = self.jobs.get(&task.job) {
                grants.push(Grant {
                    task,
                    attempt,
                    spec: live.spec.clone(),
                    sandbox: live.job.sandbox.clone(),
                });
            }
        }
        grants
    }

    pub(super) fn state_of(&self, task: TaskId) -> Option<TaskState> {
        let live = self.jobs.get(&task.job)?;
        Some(live.tasks.get(&task.index)?.state)
    }

    /// Adds what the pilot is to be told whether it wishes for work or not.
    pub(super) fn add_orders(&mut self, pilot: PilotId, orders: &mut Orders) {
        let Some(live) = self.pilots.get(&pilot) else {
            return;
        };
        let cancelling = live
            .leases
            .iter()
            .filter(|lease| self.state_of(lease.task) == Some(TaskState::Cancelling));
        orders
            .stop
            .extend(cancelling.map(|lease| (lease.task, lease.attempt, false)));
        let mode = self.elements.get(&live.pilot.ce).map(|e| e.mode());
        orders.drain =
            live.pilot.state == PilotState::Draining || mode.is_none_or(|m| m != SiteMode::Open);
    }

    /// Grants what can be granted. If there is nothing at all to tell or to make durable, the
    /// wish stays open: then, and only then, its sync is a long poll.
    fn answer_wish(
        &mut self,
        pilot: PilotId,
        want: PilotWant,
        orders: &mut Orders,
        now: Timestamp,
    ) {
        let until = now.plus(Duration::from_secs(want.remaining_s));
        if let Some(live) = self.pilots.get_mut(&pilot) {
            live.until = Some(until);
            self.rooms.touch(pilot);
        }
        let element = self.pilots.get(&pilot);
        let element = element.and_then(|live| self.elements.get(&live.pilot.ce));
        let wish = Wish {
            until: element.map_or(until, |element| element.usable_until(until, now)),
            backlog: want.backlog,
        };
        if !orders.drain {
            self.grant_to(pilot, wish, &mut orders.grants, now);
        }
        if orders.is_empty() && self.changes.is_empty() {
            self.open_wish(pilot, wish);
        }
    }
}
