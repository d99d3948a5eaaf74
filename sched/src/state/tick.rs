//! Time passing: silent pilots are given up, running core-time is charged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::{PilotEnd, PilotId, PilotState, Timestamp, UserName};

use super::State;
use crate::command::Reply;
use crate::provision::{Layout, Verdict};
use crate::shares::Used;

impl State {
    pub(super) fn tick(&mut self, now: Timestamp) -> Reply {
        for (pilot, reason) in self.given_up(now) {
            self.end_pilot(pilot, PilotEnd::Lost { reason }, now);
        }
        self.charge_running(now);
        self.watch_nodes(now);
        self.watch_warm(now);
        // Time alone may have changed what is kept back.
        self.wishes_may_be_granted |= self.kept.is_any();
        self.watch_kept(now);
        let look_every_s = self.settings.look_every_s;
        for element in self.elements.values_mut() {
            let pilots = element.pilots.iter().filter_map(|id| self.pilots.get(id));
            let waits = pilots
                .filter(|live| live.pilot.state.is_expected())
                .map(|live| now.since(live.pilot.planned_at));
            let longest = waits.max().unwrap_or_default();
            element.note_waiting(longest);
            element.grow_stale(look_every_s, now);
            if element.outdated {
                element.judge_all(self.queue.classes());
            }
        }
        self.note_plan(now);
        Reply::Done
    }

    /// Notes which pilots nobody needs at the moment, and why CEs get none.
    fn note_plan(&mut self, now: Timestamp) {
        let layout = Layout::of(self, now);
        let verdicts: Vec<Verdict> = self
            .elements
            .values()
            .map(|element| layout.verdict(self, element, now))
            .collect();
        let unneeded: BTreeSet<PilotId> = layout.unneeded.into_iter().collect();
        for (id, live) in &mut self.pilots {
            let since = live.unneeded_since.unwrap_or(now);
            live.unneeded_since = unneeded.contains(id).then_some(since);
        }
        for (element, verdict) in self.elements.values_mut().zip(verdicts) {
            if verdict.pilots == 0 {
                let (kind, because) = (verdict.kind, &verdict.because);
                element.experience.note_nothing(kind, because, now);
            }
        }
    }

    /// Pilots that should have been heard of, with what is said of them.
    fn given_up(&self, now: Timestamp) -> Vec<(PilotId, String)> {
        let silence_max_s = self.settings.pilot_silence_max_s;
        let start_max_s = self.settings.pilot_start_max_s;
        let late = |since: Timestamp, max_s: u64| now.since(since) > Duration::from_secs(max_s);
        let reason_of = |live: &crate::matching::LivePilot| match live.pilot.state {
            PilotState::Starting if late(live.pilot.since, start_max_s) => Some(format!(
                "it has been running in the batch system for more than {start_max_s} s \
                 and has not called home"
            )),
            PilotState::Active | PilotState::Draining if late(live.heard_at, silence_max_s) => {
                Some(format!(
                    "it was not heard of for more than {silence_max_s} s"
                ))
            }
            _ => None,
        };
        self.pilots
            .iter()
            .filter_map(|(id, live)| Some((*id, reason_of(live)?)))
            .collect()
    }

    fn charge_running(&mut self, now: Timestamp) {
        let mut core_ms: BTreeMap<UserName, u64> = BTreeMap::new();
        for live in self.pilots.values_mut() {
            for lease in &mut live.leases {
                let Some(until) = lease.charged_until else {
                    continue;
                };
                let Some(job) = self.jobs.get(&lease.task.job) else {
                    continue;
                };
                let spent = super::attempts::core_ms(until, now, lease.resources.cores);
                if spent > 0 {
                    *core_ms.entry(job.job.owner.clone()).or_default() += spent;
                    lease.charged_until = Some(now);
                }
            }
        }
        for (user, core_ms) in core_ms {
            self.charge(
                &user,
                Used {
                    tasks_started: 0,
                    core_ms,
                },
            );
        }
    }

    /// Charges a user and finds their new place.
    pub(super) fn charge(&mut self, user: &UserName, used: Used) {
        let change = self.shares.charge(user, used);
        self.changes.push(change);
        self.queue.reorder(user, self.shares.standing(user));
    }
}
