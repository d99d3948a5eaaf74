//! Waiting tasks of one class that have found no place yet.

use fairway_model::{GroupName, PilotOwner, PilotSharing, UserName};

use crate::element::Element;
use crate::matching::serves;
use crate::queue::Class;

/// Tasks of one class that have found no place yet.
#[derive(Clone)]
pub(super) struct Demand<'a> {
    /// In the order of service.
    by_user: Vec<(&'a UserName, u64)>,
    group: Option<&'a GroupName>,
    total: u64,
}

impl<'a> Demand<'a> {
    pub(super) fn of(class: &'a Class) -> Self {
        let users = class.in_order();
        Self {
            by_user: users
                .map(|(_, user, _)| (user, class.waiting_of(user)))
                .collect(),
            group: class.group.as_ref(),
            total: class.waiting(),
        }
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn is_met(&self) -> bool {
        self.total == 0
    }

    /// How many may run at the CE, whosever pilots they need.
    pub(super) fn admitted(&self, element: &Element) -> u64 {
        let admitted = self
            .by_user
            .iter()
            .filter(|(user, _)| element.admits(user, self.group));
        admitted.map(|(_, n)| n).sum()
    }

    /// How many may run with a pilot of `owner` at the CE.
    pub(super) fn at(&self, element: &Element, owner: &PilotOwner) -> u64 {
        if *owner == PilotOwner::Shared && element.admits_all() {
            return self.total;
        }
        let admitted = self
            .by_user
            .iter()
            .filter(|(user, n)| *n > 0 && self.may(element, owner, user));
        admitted.map(|(_, n)| n).sum()
    }

    /// Takes `tasks` away that may run with a pilot of `owner` at the CE.
    pub(super) fn take(&mut self, element: &Element, owner: &PilotOwner, mut tasks: u64) {
        let group = self.group;
        for (user, n) in &mut self.by_user {
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
        let admitted = self
            .by_user
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
