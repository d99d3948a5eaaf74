//! Which of the waiting tasks is to be served next.
//!
//! First those that have waited for too long, the oldest first; then by the tiers of their
//! qualities of service; then as the policy's kind has it. Between the tasks of one account its
//! own `Priority` decides, then the order of submission.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use fairway_model::{TaskId, Timestamp, UserName};

use super::class::{Place, number};
use super::{Class, ClassId, Queue, Waiter};
use crate::shares::{AccountId, Arrangement, Shares};

/// An account whose tasks of a class may be next.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) id: ClassId,
    pub(crate) class: &'a Class,
    pub(crate) account: AccountId,
    pub(crate) user: &'a UserName,
}

/// The task to serve next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) task: TaskId,
    pub(crate) class: ClassId,
    pub(crate) account: AccountId,
}

/// What is asked for, with the answers given so far: classes are asked once.
struct Ask<'a, W, M> {
    queue: &'a Queue,
    wanted: W,
    may: M,
    /// By slot.
    known: Vec<Option<bool>>,
}

impl<'a, W, M> Ask<'a, W, M>
where
    W: Fn(ClassId, &Class) -> bool,
    M: Fn(&Candidate<'_>) -> bool,
{
    fn wants(&mut self, id: ClassId) -> bool {
        let Some(class) = self.queue.classes.get(&id) else {
            return false;
        };
        let known = &mut self.known[class.slot];
        *known.get_or_insert_with(|| (self.wanted)(id, class))
    }

    fn candidate(&mut self, id: ClassId, account: AccountId) -> Option<&'a Waiter> {
        if !self.wants(id) {
            return None;
        }
        let class = self.queue.classes.get(&id)?;
        let waiter = class.waiters.get(&account)?;
        let candidate = Candidate {
            id,
            class,
            account,
            user: &waiter.user,
        };
        (self.may)(&candidate).then_some(waiter)
    }

    /// The account's own choice among its tasks.
    fn best_of(&mut self, account: AccountId, tier: Option<i32>) -> Option<Choice> {
        let classes = self.queue.of_account.get(&account)?;
        let mut best: Option<((Reverse<u8>, TaskId), ClassId)> = None;
        for &id in classes {
            let class = self.queue.classes.get(&id)?;
            if tier.is_some_and(|tier| tier != class.tier) {
                continue;
            }
            let Some(waiter) = self.candidate(id, account) else {
                continue;
            };
            let Some((task, _)) = waiter.head() else {
                continue;
            };
            let rank = (Reverse(class.needs.priority), task);
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, id));
            }
        }
        best.map(|((_, task), class)| Choice {
            task,
            class,
            account,
        })
    }

    /// The first of a class by its own order.
    fn first_of(&mut self, id: ClassId, until: i64) -> Option<Place> {
        let class = self.queue.classes.get(&id)?;
        let mut places = class.order.iter().take_while(|place| place.rank <= until);
        places
            .find(|place| self.candidate(id, place.account).is_some())
            .copied()
    }

    /// The first of all classes that `rank` has something to say of.
    fn first_by<R: PartialOrd>(
        &mut self,
        rank: impl Fn(&Class) -> Option<R>,
        compare: impl Fn(&Class, &Place) -> f64,
        until: i64,
    ) -> Option<(ClassId, Place)> {
        let mut best: Option<((R, f64, TaskId), ClassId, Place)> = None;
        let queue = self.queue;
        for (id, class) in queue.active() {
            let first = class.order.first().filter(|place| place.rank <= until);
            let Some((rank, first)) = rank(class).zip(first) else {
                continue;
            };
            // Nothing in a class goes before its first: most classes are passed over by that.
            let bound = (rank, compare(class, first), first.task);
            if best.as_ref().is_some_and(|(other, ..)| bound >= *other) || !self.wants(id) {
                continue;
            }
            let Some(place) = self.first_of(id, until) else {
                continue;
            };
            let found = (bound.0, compare(class, &place), place.task);
            if best.as_ref().is_none_or(|(other, ..)| found < *other) {
                best = Some((found, id, place));
            }
        }
        best.map(|(_, id, place)| (id, place))
    }
}

impl Queue {
    /// The task to be served next among the classes that are `wanted` and the candidates that
    /// `may`. Whether a class is wanted is asked once, and only if it matters.
    pub(crate) fn first(
        &self,
        shares: &Shares,
        now: Timestamp,
        wanted: impl Fn(ClassId, &Class) -> bool,
        may: impl Fn(&Candidate<'_>) -> bool,
    ) -> Option<Choice> {
        let mut ask = Ask {
            queue: self,
            wanted,
            may,
            known: vec![None; self.slots],
        };
        if let Some(choice) = self.first_overdue(&mut ask, now) {
            return Some(choice);
        }
        match self.arrangement {
            Arrangement::Tree => {
                let mut tiers = self.tiers.keys().rev();
                tiers.find_map(|tier| self.first_in_tree(&mut ask, *tier))
            }
            Arrangement::Arrival => {
                let by_arrival = |_: &Class, place: &Place| place.rank as f64;
                let tier = |class: &Class| Some(Reverse(class.tier));
                let (id, place) = ask.first_by(tier, by_arrival, i64::MAX)?;
                let tier = self.classes.get(&id)?.tier;
                ask.best_of(place.account, Some(tier))
            }
            Arrangement::Priority => {
                let by_priority = |class: &Class, place: &Place| {
                    let then = -number(place.rank);
                    -(then + shares.priority_per_ms(&class.needs) * now.0 as f64)
                };
                let (_, place) = ask.first_by(|_| Some(()), by_priority, i64::MAX)?;
                ask.best_of(place.account, None)
            }
        }
    }

    fn first_in_tree<W, M>(&self, ask: &mut Ask<'_, W, M>, tier: i32) -> Option<Choice>
    where
        W: Fn(ClassId, &Class) -> bool,
        M: Fn(&Candidate<'_>) -> bool,
    {
        let only = self.tiers.len() == 1;
        let ask = std::cell::RefCell::new(ask);
        let mut wanted = |id: ClassId| {
            let in_tier = only
                || self
                    .classes
                    .get(&id)
                    .is_some_and(|class| class.tier == tier);
            in_tier && ask.borrow_mut().wants(id)
        };
        let mut take = |account| ask.borrow_mut().best_of(account, (!only).then_some(tier));
        self.order.first(&mut wanted, &mut take)
    }

    /// The task that has waited longest, if that is for too long.
    fn first_overdue<W, M>(&self, ask: &mut Ask<'_, W, M>, now: Timestamp) -> Option<Choice>
    where
        W: Fn(ClassId, &Class) -> bool,
        M: Fn(&Candidate<'_>) -> bool,
    {
        if !self.overdue {
            return None;
        }
        let max_ms = i64::try_from(self.wait_max?.as_millis()).unwrap_or(i64::MAX);
        let until = now.0.saturating_sub(max_ms).saturating_sub(1);
        let by_arrival = |_: &Class, place: &Place| place.rank as f64;
        let (class, place) = ask.first_by(|_| Some(()), by_arrival, until)?;
        Some(Choice {
            task: place.task,
            class,
            account: place.account,
        })
    }

    /// Accounts with waiting tasks that may be started, in the order in which they would be
    /// served if everything fitted everywhere.
    pub(crate) fn accounts_in_order(&self, shares: &Shares, now: Timestamp) -> Vec<AccountId> {
        let mut accounts = Vec::new();
        let mut seen: BTreeSet<AccountId> = BTreeSet::new();
        let mut note = |account| {
            if seen.insert(account) {
                accounts.push(account);
            }
        };
        self.in_order(shares, now, |_, account| note(account));
        accounts
    }

    /// Classes with tasks that may be started, the one with the task to be served next first.
    pub(crate) fn classes_in_order(&self, shares: &Shares, now: Timestamp) -> Vec<ClassId> {
        let mut seen: BTreeSet<ClassId> = BTreeSet::new();
        let mut classes: Vec<ClassId> = Vec::new();
        let mut note = |class| {
            if seen.insert(class) {
                classes.push(class);
            }
            seen.len()
        };
        for (id, _) in self.overdue_places(now) {
            note(id);
        }
        if self.arrangement != Arrangement::Tree {
            // Nothing in a class comes before its first.
            for (id, _) in self.places_by(shares, now, 1) {
                note(id);
            }
            return classes;
        }
        let startable = self.active().filter(|(_, class)| !class.order.is_empty());
        let all = startable.count();
        for tier in self.tiers.keys().rev() {
            let mut each = |account| {
                let own = self.own_order(account, *tier).into_iter();
                let known = own.map(|(id, _)| note(id)).last();
                // Whoever comes after that adds nothing.
                (known == Some(all)).then_some(())
            };
            if self.order.first(&mut |_| true, &mut each).is_some() {
                break;
            }
        }
        classes
    }

    /// Every account in every class with tasks that may be started, in the order of service of
    /// their first tasks.
    pub(crate) fn places_in_order(
        &self,
        shares: &Shares,
        now: Timestamp,
    ) -> Vec<(ClassId, AccountId)> {
        let mut places = Vec::new();
        self.in_order(shares, now, |class, account| places.push((class, account)));
        places
    }

    /// Shows every account in every class, in the order of service of their first tasks.
    pub(crate) fn in_order(
        &self,
        shares: &Shares,
        now: Timestamp,
        mut show: impl FnMut(ClassId, AccountId),
    ) {
        for (id, place) in self.overdue_places(now) {
            show(id, place.account);
        }
        if self.arrangement == Arrangement::Tree {
            for tier in self.tiers.keys().rev() {
                let mut each = |account| {
                    for (id, _) in self.own_order(account, *tier) {
                        show(id, account);
                    }
                    None::<()>
                };
                self.order.first(&mut |_| true, &mut each);
            }
            return;
        }
        for (id, account) in self.places_by(shares, now, usize::MAX) {
            show(id, account);
        }
    }

    /// Where tasks go in one order, whosever they are: the first accounts of each class, `each` of
    /// them at most, in the order of service of their first tasks.
    fn places_by(
        &self,
        shares: &Shares,
        now: Timestamp,
        each: usize,
    ) -> impl Iterator<Item = (ClassId, AccountId)> {
        let mut places: Vec<(Reverse<i32>, f64, Place, ClassId)> = Vec::new();
        for (id, class) in self.active() {
            let (tier, per_ms) = match self.arrangement {
                Arrangement::Priority => (0, shares.priority_per_ms(&class.needs)),
                _ => (class.tier, 0.0),
            };
            places.extend(class.order.iter().take(each).map(|place| {
                let rank = match self.arrangement {
                    Arrangement::Priority => number(place.rank) - per_ms * now.0 as f64,
                    _ => place.rank as f64,
                };
                (Reverse(tier), rank, *place, id)
            }));
        }
        places.sort_by(|a, b| {
            (a.0.cmp(&b.0))
                .then_with(|| a.1.total_cmp(&b.1))
                .then_with(|| a.2.cmp(&b.2))
        });
        let places = places.into_iter();
        places.map(|(_, _, place, id)| (id, place.account))
    }

    fn overdue_places(&self, now: Timestamp) -> Vec<(ClassId, Place)> {
        let Some(max) = self.wait_max.filter(|_| self.overdue) else {
            return Vec::new();
        };
        let late = |place: &&Place| now.since(Timestamp(place.rank)) > max;
        let all = self.active().flat_map(|(id, class)| {
            let late = class.order.iter().take_while(late);
            late.map(move |place| (id, *place))
        });
        let mut places: Vec<(ClassId, Place)> = all.collect();
        places.sort_by_key(|(_, place)| *place);
        places
    }

    /// The classes of a tier in which an account waits, in its own order.
    fn own_order(&self, account: AccountId, tier: i32) -> Vec<(ClassId, TaskId)> {
        let classes = self.classes_of(account);
        let mut own: Vec<_> = classes
            .filter(|(_, class)| class.tier == tier)
            .filter_map(|(id, class)| {
                let (task, _) = class.waiters.get(&account)?.head()?;
                Some((Reverse(class.needs.priority), task, id))
            })
            .collect();
        own.sort_unstable();
        own.into_iter().map(|(_, task, id)| (id, task)).collect()
    }
}
