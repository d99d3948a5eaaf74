//! Who stands where in the order of service, for those who ask why.

use fairway_model::Timestamp;

use super::{Class, Queue};
use crate::shares::{AccountId, Arrangement, NodeId, Shares};

/// An account's place where it first has others beside it, from the top of the tree down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stand {
    /// The node there that is the account's, or above it.
    pub(crate) node: NodeId,
    /// The number that puts it in its place; the smallest comes first.
    pub(crate) level: f64,
    /// How many stand there, itself with them.
    pub(crate) of: usize,
    /// Whether the account is the first of all.
    pub(crate) first: bool,
}

impl Queue {
    /// Where an account with waiting tasks stands; `None` if nobody else waits, or where tasks
    /// are in one order, whosever they are.
    pub(crate) fn stand(&self, shares: &Shares, account: AccountId) -> Option<Stand> {
        match self.arrangement {
            Arrangement::Tree => self.order.stand(shares, account),
            Arrangement::Arrival | Arrangement::Priority => None,
        }
    }

    /// The longest that tasks are to wait, in seconds, while some have waited for longer.
    pub(crate) fn overdue_max_s(&self) -> Option<u64> {
        let max = self.wait_max.filter(|_| self.overdue);
        max.map(|max| max.as_secs())
    }

    /// Whether tasks that came into the queue then have waited for too long.
    pub(crate) fn is_overdue(&self, since: Timestamp, now: Timestamp) -> bool {
        let max = self.wait_max.filter(|_| self.overdue);
        max.is_some_and(|max| now.since(since) > max)
    }

    /// The tier of a class, if tasks of lower ones wait and tiers are of account.
    pub(crate) fn raises(&self, class: &Class) -> Option<i32> {
        let counts = self.arrangement != Arrangement::Priority;
        let (lowest, _) = self.tiers.first_key_value().filter(|_| counts)?;
        (class.tier() > *lowest).then_some(class.tier())
    }
}
