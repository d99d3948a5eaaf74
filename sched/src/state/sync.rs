//! A pilot's heartbeat with its reports, and the answer to it.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway_model::{
    Attempt, AttemptEnd, Order, PilotId, PilotState, SiteMode, TaskId, TaskState, Timestamp,
};

use super::State;
use super::attempts::Measured;
use crate::command::{AttemptNews, AttemptReport, Grant, PilotWant, Refused, Reply};
use crate::matching::Wish;

/// What a sync is answered with.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) grants: Vec<Grant>,
    /// What is to be done with attempts that the pilot has.
    pub(super) what: Vec<(TaskId, Attempt, Order)>,
    pub(super) drain: bool,
    /// Whether it is to stay though it has no task; `None` where it knows.
    pub(super) stay: Option<bool>,
}

impl Orders {
    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.what.is_empty() && !self.drain && self.stay.is_none()
    }
}

impl From<Orders> for Reply {
    fn from(orders: Orders) -> Self {
        Self::Synced {
            grants: orders.grants,
            orders: orders.what,
            drain: orders.drain,
            stay: orders.stay,
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
            live.backlog = live.books().waiting.max(want.backlog as usize);
            self.close_wish(pilot);
        }

        let mut orders = Orders::default();
        let mut settled = BTreeSet::new();
        for report in reports {
            let attempt = (report.task, report.attempt);
            if !self.is_live(pilot, report.task, report.attempt) {
                if !settled.contains(&attempt) {
                    orders
                        .what
                        .push((report.task, report.attempt, Order::WriteOff));
                }
                settled.insert(attempt);
                continue;
            }
            if matches!(report.what, AttemptNews::Ended { .. }) {
                settled.insert(attempt);
            }
            self.report(pilot, report, now);
        }
        if !self.has_just(pilot, holding, &settled) {
            let leased = self.attempts_of(pilot);
            for &(task, attempt) in holding {
                let live = leased.binary_search(&(task, attempt)).is_ok();
                if !live && settled.insert((task, attempt)) {
                    orders.what.push((task, attempt, Order::WriteOff));
                }
            }
            if let Some(want) = want {
                orders.grants = self.missing_leases(pilot, holding, want.round, now);
            }
        }
        self.resume_sleepers(pilot, now);
        self.add_orders(pilot, want.map(|want| want.staying), &mut orders, now);
        self.add_give_way(pilot, &mut orders, now);
        if let Some(want) = want {
            self.answer_wish(pilot, want, &mut orders, now);
        }
        Ok(orders.into())
    }

    /// Whether the pilot has just the attempts that it is to have, beside those that are settled. It
    /// has most often: only if a message was lost is each looked for.
    fn has_just(
        &self,
        pilot: PilotId,
        holding: &[(TaskId, Attempt)],
        settled: &BTreeSet<(TaskId, Attempt)>,
    ) -> bool {
        let live = self.pilots.get(&pilot);
        let leases = live.into_iter().flat_map(|live| &live.leases);
        let leased = leases.map(|lease| (lease.task, lease.attempt));
        let held = holding.iter().filter(|it| !settled.contains(it)).copied();
        if leased.eq(held.clone()) {
            return true;
        }
        let mut held: Vec<_> = held.collect();
        held.sort_unstable();
        held == self.attempts_of(pilot)
    }

    /// The live attempts that a pilot has, sorted.
    fn attempts_of(&self, pilot: PilotId) -> Vec<(TaskId, Attempt)> {
        let live = self.pilots.get(&pilot);
        let leases = live.into_iter().flat_map(|live| &live.leases);
        let mut attempts: Vec<_> = leases.map(|lease| (lease.task, lease.attempt)).collect();
        attempts.sort_unstable();
        attempts
    }

    fn report(&mut self, pilot: PilotId, report: AttemptReport, now: Timestamp) {
        match report.what {
            AttemptNews::Started => self.attempt_started(pilot, report.task, now),
            AttemptNews::Suspended => self.attempt_suspended(pilot, report.task, now),
            AttemptNews::Resumed => self.attempt_resumed(pilot, report.task, now),
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
        let mut held = holding.to_vec();
        held.sort_unstable();
        let Some(live) = self.pilots.get_mut(&pilot) else {
            return Vec::new();
        };
        let mut missing = Vec::new();
        for lease in &mut live.leases {
            // A repeated wish has the round of its first sending: that reply is lost too.
            let known = held.binary_search(&(lease.task, lease.attempt)).is_ok();
            if lease.round <= round && !known {
                lease.round = round;
                missing.push((lease.task, lease.attempt));
            }
        }
        let mut grants = Vec::new();
        for (task, attempt) in missing {
            if self.state_of(task) == Some(TaskState::Cancelling) {
                self.end_attempt(pilot, task, AttemptEnd::Cancelled, None, now);
            } else {
                debug_assert!(self.is_live(pilot, task, attempt));
                grants.extend(self.told_grant(pilot, task));
            }
        }
        grants
    }

    pub(super) fn state_of(&self, task: TaskId) -> Option<TaskState> {
        let live = self.jobs.get(&task.job)?;
        Some(live.tasks.get(&task.index)?.state)
    }

    /// Adds what the pilot is to be told whether it wishes for work or not. `staying`: what it
    /// knows of whether it is to stay without a task.
    pub(super) fn add_orders(
        &mut self,
        pilot: PilotId,
        staying: Option<bool>,
        orders: &mut Orders,
        now: Timestamp,
    ) {
        let Some(live) = self.pilots.get_mut(&pilot) else {
            return;
        };
        for (task, attempt) in std::mem::take(&mut live.written_off) {
            let written_off = (task, attempt, Order::WriteOff);
            if !orders.what.contains(&written_off) {
                orders.what.push(written_off);
            }
        }
        let Some(live) = self.pilots.get(&pilot) else {
            return;
        };
        let stays = self.must_stay(live, now);
        orders.stay = (staying != Some(stays)).then_some(stays);
        let cancelling = live.leases.iter().filter(|lease| lease.cancelling);
        orders
            .what
            .extend(cancelling.map(|lease| (lease.task, lease.attempt, Order::Cancel)));
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
            staying: want.staying,
        };
        if !orders.drain {
            self.grant_to(pilot, wish, &mut orders.grants, now);
        }
        if orders.is_empty() && self.changes.is_empty() {
            self.open_wish(pilot, wish);
        }
    }
}
