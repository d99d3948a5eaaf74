//! Time passing: silent pilots are given up, running core-time is charged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use fairway_model::{CeId, PilotEnd, PilotId, PilotState, Timestamp};

use fairway_jdl::Needs;

use super::State;
use super::attempts::running;
use crate::command::Reply;
use crate::element::Element;
use crate::matching::LivePilot;
use crate::provision::Layout;
use crate::queue::ClassId;
use crate::shares::{AccountId, Charge, Used};

/// How often standings that depend on what others used are computed anew; Maui does so at each
/// of its iterations, which are 30 s apart by default.
const REFRESH: Duration = Duration::from_secs(10);

/// Of so many accounts at each tick until it is done for all.
const REFRESHED_MAX: usize = 1_500;

/// So many pairs of a CE and a class are looked at in a second at most, to note who is not needed.
const PAIRS_A_SECOND: usize = 10_000;

/// It is noted at least so often.
const NOTE_EVERY_MAX: Duration = Duration::from_secs(15);

/// What runs is charged for at every tick, but for so many tasks at most, so that it takes a moment
/// and writes a few rows however many run: the others' turn is at the next ticks.
const CHARGED_MAX: usize = 1_500;

/// Each is charged for within so many ticks nevertheless.
const CHARGED_WITHIN: usize = 30;

impl State {
    pub(super) fn tick(&mut self, now: Timestamp) -> Reply {
        for (pilot, reason) in self.given_up(now) {
            self.end_pilot(pilot, PilotEnd::Lost { reason }, now);
        }
        self.charge_running(now);
        self.refresh_order(now);
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
        }
        let outdated = self.elements.values().filter(|element| element.outdated);
        let outdated: Vec<CeId> = outdated.map(|element| element.id.clone()).collect();
        for id in outdated {
            self.judge_element(&id);
        }
        self.judge_classes();
        let noted = now.since(self.noted_at);
        // Not while something else takes long.
        let busy = self.refresh_from.is_some() && noted < NOTE_EVERY_MAX;
        if noted >= self.note_every() && !busy {
            self.noted_at = now;
            self.note_plan(now);
        }
        self.watch_yielding(now);
        self.make_room(now);
        Reply::Done
    }

    /// How often it is noted who is not needed: at each tick, but less often where it takes long,
    /// which grows with CEs times classes. Nobody is called back for it before
    /// [`recall_after_s`](super::Settings::recall_after_s) is over anyway.
    fn note_every(&self) -> Duration {
        let pairs = self.elements.len() * self.queue.active().count();
        Duration::from_secs((pairs / PAIRS_A_SECOND) as u64).min(NOTE_EVERY_MAX)
    }

    /// Notes which pilots nobody needs at the moment, and why CEs get none.
    fn note_plan(&mut self, now: Timestamp) {
        let layout = Layout::of(self, now);
        let nothing: Vec<Option<(&'static str, String)>> = self
            .elements
            .values()
            .map(|element| layout.nothing(self, element, now))
            .collect();
        let unneeded: BTreeSet<PilotId> = layout.unneeded.into_iter().collect();
        for (id, live) in &mut self.pilots {
            let since = live.unneeded_since.unwrap_or(now);
            live.unneeded_since = unneeded.contains(id).then_some(since);
        }
        for (element, nothing) in self.elements.values_mut().zip(nothing) {
            if let Some((kind, because)) = nothing {
                element.experience.note_nothing(kind, &because, now);
            }
        }
    }

    /// Pilots that should have been heard of, with what is said of them.
    fn given_up(&self, now: Timestamp) -> Vec<(PilotId, String)> {
        let silence_max_s = self.settings.pilot_silence_max_s;
        let start_max_s = self.settings.pilot_start_max_s;
        let late = |since: Timestamp, max_s: u64| now.since(since) > Duration::from_secs(max_s);
        let reason_of = |live: &LivePilot| match live.pilot.state {
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

    /// The pilots whose tasks are to be charged for now: those whose turn was longest ago.
    fn next_to_charge(&mut self) -> Vec<PilotId> {
        let tasks = |live: &LivePilot| live.leases.len();
        let all: usize = self.pilots.values().map(tasks).sum();
        let most = CHARGED_MAX.max(all.div_ceil(CHARGED_WITHIN));
        let after = (Bound::Excluded(self.charged_to), Bound::Unbounded);
        let turns = self.pilots.range(after);
        let turns = turns.chain(self.pilots.range(..=self.charged_to));
        let mut left = most;
        let mut pilots = Vec::new();
        for (id, live) in turns.filter(|(_, live)| tasks(live) > 0) {
            pilots.push(*id);
            left = left.saturating_sub(tasks(live));
            if left == 0 {
                break;
            }
        }
        self.charged_to = pilots.last().copied().unwrap_or(self.charged_to);
        pilots
    }

    fn charge_running(&mut self, now: Timestamp) {
        let mut used: BTreeMap<(AccountId, ClassId), Used> = BTreeMap::new();
        for id in self.next_to_charge() {
            let Some(live) = self.pilots.get_mut(&id) else {
                continue;
            };
            let element = self.elements.get(&live.pilot.ce);
            let benchmark = element.map_or(1.0, Element::benchmark);
            for lease in &mut live.leases {
                let counts = |until: &Timestamp| *until < now && !lease.yielding.asleep;
                let Some(until) = lease.charged_until.filter(counts) else {
                    continue;
                };
                let ran = running(lease.all, benchmark, until, now);
                let sum = used.entry((lease.account, lease.class)).or_default();
                *sum = sum.plus(ran);
                lease.charged_until = Some(now);
            }
        }
        for ((account, class), used) in used {
            let needs = self.queue.class(class).map(|class| class.needs.clone());
            if let Some(needs) = needs {
                self.charge(account, &needs, used);
            }
        }
    }

    /// Charges an account, and finds its new place; also where nothing was used, since what it has
    /// live may have changed.
    pub(super) fn charge(&mut self, account: AccountId, needs: &Needs, used: Used) {
        if used == Used::default() {
            self.shares.follow(account);
        } else {
            let changes = self.shares.charge(Charge {
                account,
                needs,
                used,
            });
            self.changes.extend(changes);
        }
        self.queue.rekey(&self.shares, account);
    }

    /// Looks up what changes by time alone: budgets, who has waited for too long, and standings
    /// that depend on what others used.
    fn refresh_order(&mut self, now: Timestamp) {
        if self.bounds.note_spent(&self.shares) {
            self.wishes_may_be_granted = true;
        }
        self.queue.note_overdue(now);
        let due = now.since(self.refreshed_at) >= REFRESH && self.refresh_from.is_none();
        if due && self.shares.grows_stale() {
            self.refreshed_at = now;
            self.refresh_from = Some(0);
        }
        if let Some(first) = self.refresh_from.take() {
            self.refresh_some(first);
        }
    }

    /// Computes standings anew of some accounts; those after them are left to the next tick.
    fn refresh_some(&mut self, first: usize) {
        let (accounts, all) = self.shares.refresh_some(first, REFRESHED_MAX);
        if accounts.len() == REFRESHED_MAX {
            self.refresh_from = Some(first + accounts.len());
        }
        if all {
            self.queue.rekey_all(&self.shares);
        } else {
            for account in accounts {
                self.queue.rekey(&self.shares, account);
            }
        }
        // A cap may have been reached, or not any more.
        self.wishes_may_be_granted = true;
    }
}
