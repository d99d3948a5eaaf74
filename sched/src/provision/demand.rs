//! Waiting tasks that have found no place yet.

use fairway_model::UserName;

use crate::element::Element;
use crate::queue::Class;

/// Tasks of one class that have found no place yet.
pub(super) struct Demand {
    by_user: Vec<(UserName, u64)>,
}

impl Demand {
    pub(super) fn of(class: &Class) -> Self {
        let users = class.users().map(|(user, n)| (user.clone(), n));
        Self {
            by_user: users.collect(),
        }
    }

    pub(super) fn is_met(&self) -> bool {
        self.by_user.iter().all(|(_, n)| *n == 0)
    }

    /// How many may run at the CE.
    pub(super) fn at(&self, element: &Element, class: &Class) -> u64 {
        let admitted = self
            .by_user
            .iter()
            .filter(|(user, _)| element.admits(user, class.group.as_ref()));
        admitted.map(|(_, n)| n).sum()
    }

    /// Takes `tasks` away that may run at the CE.
    pub(super) fn take(&mut self, element: &Element, class: &Class, mut tasks: u64) {
        for (user, n) in &mut self.by_user {
            if element.admits(user, class.group.as_ref()) {
                let taken = tasks.min(*n);
                *n -= taken;
                tasks -= taken;
            }
        }
    }
}
