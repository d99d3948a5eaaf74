//! Waiting tasks of one class that have found no place yet.

use std::collections::BTreeMap;

use fairway_model::{GroupName, PilotOwner, PilotSharing, Timestamp, UserName};

use crate::State;
use crate::bounds::{Bounds, Subject};
use crate::element::Element;
use crate::matching::serves;
use crate::queue::Class;
use crate::shares::AccountId;

/// Tasks of one class that have found no place yet.
#[derive(Clone)]
pub(super) struct Demand<'a> {
    /// In the order of service; `None` if it does not matter whose tasks they are.
    by_user: Option<Vec<(&'a UserName, u64)>>,
    group: Option<&'a GroupName>,
    total: u64,
}

/// Where demands are made from: who is served before whom, and what bounds leave of it.
pub(super) struct Demands<'a> {
    state: &'a State,
    now: Timestamp,
    /// What runs, and what the demands made so far would add.
    bounds: Bounds,
    /// Each account's place in the order of service; `None` if nothing depends on whose tasks
    /// they are.
    places: Option<BTreeMap<AccountId, usize>>,
}

impl<'a> Demands<'a> {
    pub(super) fn of(state: &'a State, now: Timestamp) -> Self {
        let open_to_all =
            |element: &Element| element.ce.pilots == PilotSharing::Shared && element.admits_all();
        // Caps of single accounts are known by who stands in the order.
        let alike = state.bounds.is_empty()
            && state.elements.values().all(open_to_all)
            && !state.shares.has_caps();
        let places = (!alike).then(|| {
            let accounts = state.queue.accounts_in_order(&state.shares, now);
            accounts.into_iter().zip(0..).collect()
        });
        Self {
            state,
            now,
            bounds: state.bounds.clone(),
            places,
        }
    }

    /// What of a class waits and may be started. To be asked for each class in the order of
    /// service, once: what bounds leave is given to the first.
    pub(super) fn demand(&mut self, class: &'a Class) -> Demand<'a> {
        let group = class.group.as_ref();
        let Some(places) = &self.places else {
            return Demand {
                by_user: None,
                group,
                total: class.waiting(),
            };
        };
        let waiters = class.waiters();
        let mut waiters: Vec<_> = waiters
            .filter_map(|(account, waiter)| Some((*places.get(&account)?, account, waiter)))
            .collect();
        waiters.sort_by_key(|(place, ..)| *place);
        let mut by_user = Vec::with_capacity(waiters.len());
        let mut total = 0_u64;
        for (_, account, waiter) in waiters {
            let subject = Subject {
                shares: &self.state.shares,
                account,
                needs: &class.needs,
                site: None,
            };
            let waiting = class.waiting_of(account);
            let tasks = self.bounds.take(subject, waiting, self.now);
            if tasks > 0 {
                by_user.push((&waiter.user, tasks));
                total += tasks;
            }
        }
        Demand {
            by_user: Some(by_user),
            group,
            total,
        }
    }
}

impl Demand<'_> {
    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn is_met(&self) -> bool {
        self.total == 0
    }

    /// How many may run at the CE, whosever pilots they need.
    pub(super) fn admitted(&self, element: &Element) -> u64 {
        let Some(by_user) = &self.by_user else {
            return self.total;
        };
        let admitted = by_user
            .iter()
            .filter(|(user, _)| element.admits(user, self.group));
        admitted.map(|(_, n)| n).sum()
    }

    /// How many may run with a pilot of `owner` at the CE.
    pub(super) fn at(&self, element: &Element, owner: &PilotOwner) -> u64 {
        if *owner == PilotOwner::Shared && element.admits_all() {
            return self.total;
        }
        let Some(by_user) = &self.by_user else {
            return self.total;
        };
        let admitted = by_user
            .iter()
            .filter(|(user, n)| *n > 0 && self.may(element, owner, user));
        admitted.map(|(_, n)| n).sum()
    }

    /// Takes `tasks` away that may run with a pilot of `owner` at the CE.
    pub(super) fn take(&mut self, element: &Element, owner: &PilotOwner, mut tasks: u64) {
        let group = self.group;
        let Some(by_user) = &mut self.by_user else {
            self.total = self.total.saturating_sub(tasks);
            return;
        };
        for (user, n) in by_user {
            if tasks == 0 {
                return;
            }
            if element.admits(user, group) && serves(owner, user, group) {
                let taken = tasks.min(*n);
                *n -= taken;
                tasks -= taken;
                self.total -= taken;
            }
        }
    }

    /// Whose pilots could take tasks at the CE, those first whose tasks are served first.
    pub(super) fn owners(&self, element: &Element) -> Vec<PilotOwner> {
        let Some(by_user) = &self.by_user else {
            let some = self.total > 0;
            return some.then_some(PilotOwner::Shared).into_iter().collect();
        };
        let admitted = by_user
            .iter()
            .filter(|(user, n)| *n > 0 && element.admits(user, self.group));
        let owners = admitted.filter_map(|(user, _)| element.owner_for(user, self.group).ok());
        match element.ce.pilots {
            PilotSharing::PerUser => owners.collect(),
            PilotSharing::Shared | PilotSharing::PerGroup => owners.take(1).collect(),
        }
    }

    fn may(&self, element: &Element, owner: &PilotOwner, user: &UserName) -> bool {
        element.admits(user, self.group) && serves(owner, user, self.group)
    }
}
