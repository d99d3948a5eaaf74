//! The books: what was used is entered by interval, counted when an interval begins, and restored
//! after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_jdl::Needs;
use fairway_model::policy::FairshareSettings;
use fairway_model::{GroupName, PolicyKind, Resources, Timestamp, UserName};

use super::maui::Maui;
use super::tree::Live;
use super::usage::{Amounts, age, begin_of};
use super::{Account, AccountId, Shares, Used};
use crate::command::{Change, Entity};

/// So many intervals are remembered: as many as the policy may ever ask for.
const INTERVALS_MAX: usize = 1000;

/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Usage by the beginning of the interval.
pub(super) type Intervals = BTreeMap<Timestamp, Used>;

/// Core-milliseconds, for budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    total_ms: u64,
    /// When the day of `today_ms` began.
    day: Timestamp,
    today_ms: u64,
}

/// Usage of something beside accounts: a quality of service, a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    intervals: Intervals,
    pub(super) past: Amounts,
    pub(super) current: Used,
}

/// What a charge is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge<'a> {
    pub(crate) account: AccountId,
    pub(crate) needs: &'a Needs,
    pub(crate) used: Used,
}

pub(super) fn day_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(DAY_MS) * DAY_MS)
}

impl Shares {
    /// Enters usage that was counted before a restart. [`recount`](Self::recount) is due then.
    pub(crate) fn restore(&mut self, entity: &Entity, begin: Timestamp, used: Used) {
        let intervals = match entity {
            Entity::Account { user, group } => {
                let id = self.account(user, group.as_ref());
                &mut self.accounts[id.0 as usize].intervals
            }
            Entity::Qos(name) => &mut self.qos.entry(name.clone()).or_default().intervals,
            Entity::Queue(name) => &mut self.queues.entry(name.clone()).or_default().intervals,
        };
        intervals.insert(begin, used);
    }

    /// Enters what was spent before a restart: in all, and on the day that began at `day`.
    pub(crate) fn restore_spent(
        &mut self,
        user: &UserName,
        group: Option<&GroupName>,
        total_ms: u64,
        (day, today_ms): (Timestamp, u64),
    ) {
        let id = self.account(user, group);
        self.accounts[id.0 as usize].spent = Spent {
            total_ms,
            day,
            today_ms,
        };
    }

    /// Begins a new interval if it is time; true if it was, and all standings may have changed.
    /// A clock that goes backwards does not bring an old interval back.
    pub(crate) fn rotate(&mut self, now: Timestamp) -> bool {
        self.today = self.today.max(day_of(now));
        let begin = begin_of(&self.windows, now);
        if begin <= self.current {
            return false;
        }
        self.current = begin;
        self.recount();
        true
    }

    /// Forgets the oldest intervals where there are too many, and counts anew what counts. How many
    /// there are does not depend on the policy in force: what one with short intervals does not
    /// look at may count under the next one, as it does after a restart.
    pub(crate) fn recount(&mut self) {
        let count = |intervals: &mut Intervals| {
            while intervals.len() > INTERVALS_MAX {
                intervals.pop_first();
            }
            counted(&self.windows, &self.weights, self.current, intervals)
        };
        for node in self.tree.nodes_mut() {
            node.past = Amounts::default();
            node.current = Used::default();
        }
        // In the order of names, so that sums are the same after a restart.
        for id in self.ids.values() {
            let account = &mut self.accounts[id.0 as usize];
            let (past, current) = count(&mut account.intervals);
            self.tree.change_upward(account.node, |node| {
                node.past.add_all(past);
                node.current = node.current.plus(current);
            });
        }
        for book in self.qos.values_mut().chain(self.queues.values_mut()) {
            (book.past, book.current) = count(&mut book.intervals);
        }
        self.refresh();
    }

    /// Charges in the current interval. The rows to make durable come back.
    pub(crate) fn charge(&mut self, charge: Charge<'_>) -> Vec<Change> {
        let (needs, current, today) = (charge.needs, self.current, self.today);
        let qos = needs.qos.as_ref();
        let known = qos.and_then(|name| self.policy.qos_named(name));
        let factor = known.map_or(1.0, |qos| qos.usage_factor);
        let account = &mut self.accounts[charge.account.0 as usize];
        let used = match qos {
            Some(name) if factor != 1.0 => {
                let key = (name.clone(), needs.queue.clone());
                let carried = account.carried.entry(key).or_default();
                charge.used.times(factor, carried)
            }
            _ => charge.used,
        };
        let mut changes = Vec::with_capacity(2);
        let entity = Entity::Account {
            user: account.user.clone(),
            group: account.group.clone(),
        };
        changes.push(enter(&mut account.intervals, entity, current, used));
        if used.core_ms > 0 {
            changes.push(account.spend(today, used.core_ms));
        }
        self.tree.change_upward(account.node, |node| {
            node.current = node.current.plus(used);
        });
        let named = [
            (qos, &mut self.qos, Entity::Qos as fn(Arc<str>) -> Entity),
            (needs.queue.as_ref(), &mut self.queues, Entity::Queue),
        ];
        for (name, books, entity) in named {
            let Some(name) = name else { continue };
            let book = books.entry(name.clone()).or_default();
            book.current = book.current.plus(used);
            changes.push(enter(
                &mut book.intervals,
                entity(name.clone()),
                current,
                used,
            ));
        }
        self.follow(charge.account);
        changes
    }

    /// Computes anew what follows for an account from what it used and has live. What follows for
    /// others is looked up by and by.
    pub(crate) fn follow(&mut self, id: AccountId) {
        match self.policy.kind {
            PolicyKind::HalfLife => {
                let node = self.books(id).node;
                self.accounts[id.0 as usize].effective = self.effective(node);
            }
            PolicyKind::Maui => {
                let part = Maui::part_of(self, id);
                self.maui.note(id, part);
            }
            _ => {}
        }
    }

    /// Notes that the account has a live attempt more, or less, of a task that has this.
    pub(crate) fn note_live(&mut self, id: AccountId, has: Resources, begins: bool) {
        let node = self.books(id).node;
        let task = Live::task(has);
        self.tree.change_upward(node, |node| {
            node.live = if begins {
                node.live.plus(task)
            } else {
                node.live.minus(task)
            };
        });
    }

    /// Core-milliseconds that an account has spent: today, and in all.
    pub(crate) fn spent(&self, id: AccountId) -> (u64, u64) {
        let spent = self.books(id).spent;
        let today_ms = if spent.day == self.today {
            spent.today_ms
        } else {
            0
        };
        (today_ms, spent.total_ms)
    }

    /// When the current interval began.
    pub(crate) fn current(&self) -> Timestamp {
        self.current
    }

    /// The intervals that count for an account and in which something was used, the current one
    /// first: beginning, usage and weight.
    pub(crate) fn intervals(&self, id: AccountId) -> Vec<(Timestamp, Used, f64)> {
        let intervals = self.books(id).intervals.iter().rev();
        let weighed = intervals.map_while(|(&begin, &used)| {
            let age = age(&self.windows, self.current, begin);
            Some((begin, used, *self.weights.get(age)?))
        });
        weighed.collect()
    }

    /// Compares what is kept twice. `live`: what each account has live.
    pub(crate) fn check(&self, live: &BTreeMap<AccountId, Live>) -> Result<(), String> {
        let mut again = vec![(Amounts::default(), Used::default(), Live::default()); self.len()];
        // In the same order as when it was counted: sums of floats depend on it.
        for &id in self.ids.values() {
            let account = self.books(id);
            let intervals = &account.intervals;
            let (past, current) = counted(&self.windows, &self.weights, self.current, intervals);
            let live = live.get(&id).copied().unwrap_or_default();
            for node in self.tree.upward(account.node) {
                let sums = &mut again[node.at()];
                sums.0.add_all(past);
                sums.1 = sums.1.plus(current);
                sums.2 = sums.2.plus(live);
            }
        }
        for ((_, kept), (past, current, live)) in self.tree.nodes().zip(again) {
            if kept.current != current || kept.past != past {
                return Err(format!("usage of {} is miscounted", kept.path));
            }
            if kept.live != live {
                let has = kept.live;
                return Err(format!("{} has {live:?}, counted as {has:?}", kept.path));
            }
        }
        Ok(())
    }
}

impl Account {
    /// Adds to what was spent. The row to make durable comes back.
    fn spend(&mut self, today: Timestamp, core_ms: u64) -> Change {
        let spent = &mut self.spent;
        if spent.day != today {
            spent.day = today;
            spent.today_ms = 0;
        }
        spent.today_ms = spent.today_ms.saturating_add(core_ms);
        spent.total_ms = spent.total_ms.saturating_add(core_ms);
        Change::Spent {
            user: self.user.clone(),
            group: self.group.clone(),
            day: today,
            core_ms: spent.today_ms,
        }
    }
}

/// Adds usage to the current interval. The row to make durable comes back.
fn enter(intervals: &mut Intervals, entity: Entity, interval: Timestamp, used: Used) -> Change {
    let sum = intervals.entry(interval).or_default();
    *sum = sum.plus(used);
    Change::Share {
        entity,
        interval,
        used: *sum,
    }
}

/// What counts of past intervals, and what was used in the current one.
fn counted(
    windows: &FairshareSettings,
    weights: &[f64],
    current: Timestamp,
    intervals: &Intervals,
) -> (Amounts, Used) {
    let (mut past, mut now) = (Amounts::default(), Used::default());
    for (&begin, &used) in intervals.iter().rev() {
        match age(windows, current, begin) {
            0 => now = now.plus(used),
            age => match weights.get(age) {
                Some(&weight) => past.add(used, weight),
                None => break,
            },
        }
    }
    (past, now)
}
