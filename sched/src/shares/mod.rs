//! What everybody has used, and what follows for the order of service.
//!
//! Usage is counted by account (a user in a group) and interval, whatever the policy, so that a
//! change of policy finds the past. What counts of it is `Σ (i = 0 .. depth-1) decay^i · N_i`,
//! with intervals, depth and decay as the policy's kind has them; half-lives are cut into
//! intervals as well. From there each kind makes its own key (see [`Shares::key`]); the smallest
//! is served first.
//!
//! `usage` is what is counted and how it loses weight, `books` where it is entered, `tree` who
//! stands where, and `order` what follows for the order of service, with `maui` for priorities.

mod books;
mod maui;
mod order;
mod refresh;
mod tree;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_model::policy::FairshareSettings;
use fairway_model::{GroupName, Policy, Timestamp, UserName};

use self::books::{Book, Intervals, Spent, day_of};
use self::maui::Maui;
use self::tree::Tree;
use self::usage::{Carried, begin_of, weights, windows};

pub(crate) use self::books::Charge;
pub(crate) use self::maui::OfClass;
pub(crate) use self::order::{Arrangement, Key};
pub(crate) use self::tree::{AccountId, Live, NodeId, ROOT};
pub use self::usage::{Used, interval_s};

/// The books of one user in one group.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: UserName,
    pub(crate) group: Option<GroupName>,
    pub(crate) node: NodeId,
    intervals: Intervals,
    spent: Spent,
    /// What rounding kept back where usage counts more or less than once, by quality of service
    /// and queue: each is counted by itself too.
    carried: BTreeMap<(Arc<str>, Option<Arc<str>>), Carried>,
    /// Of kinds that put all users in one order: what part of everything is theirs, and their
    /// effective usage. Both depend on others, and are computed anew now and then.
    due: f64,
    effective: f64,
}

/// All books.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    policy: Policy,
    windows: FairshareSettings,
    weights: Vec<f64>,
    /// Beginning of the current interval.
    current: Timestamp,
    /// Beginning of the current day.
    today: Timestamp,
    tree: Tree,
    accounts: Vec<Account>,
    ids: BTreeMap<(Option<GroupName>, UserName), AccountId>,
    of_user: BTreeMap<UserName, Vec<AccountId>>,
    qos: BTreeMap<Arc<str>, Book>,
    queues: BTreeMap<Arc<str>, Book>,
    maui: Maui,
    turns: u64,
}

impl Shares {
    /// Empty books under `policy`.
    pub(crate) fn new(policy: Policy, now: Timestamp) -> Self {
        let windows = windows(&policy);
        Self {
            weights: weights(&windows),
            current: begin_of(&windows, now),
            today: day_of(now),
            windows,
            tree: Tree::new(&policy),
            policy,
            accounts: Vec::new(),
            ids: BTreeMap::new(),
            of_user: BTreeMap::new(),
            qos: BTreeMap::new(),
            queues: BTreeMap::new(),
            maui: Maui::default(),
            turns: 0,
        }
    }

    /// The account of a user in a group; a new one if there is none yet.
    pub(crate) fn account(&mut self, user: &UserName, group: Option<&GroupName>) -> AccountId {
        let key = (group.cloned(), user.clone());
        if let Some(&known) = self.ids.get(&key) {
            return known;
        }
        let id = AccountId(u32::try_from(self.accounts.len()).unwrap_or(u32::MAX));
        self.accounts.push(Account {
            user: user.clone(),
            group: group.cloned(),
            node: self.tree.leaf(id, user, group),
            intervals: Intervals::new(),
            spent: Spent::default(),
            carried: BTreeMap::new(),
            due: 1.0,
            effective: 0.0,
        });
        let account = &mut self.accounts[id.0 as usize];
        account.due = self.tree.due(account.node);
        self.ids.insert(key, id);
        self.of_user.entry(user.clone()).or_default().push(id);
        id
    }

    /// The account of a user in a group, if there is one.
    pub(crate) fn find(&self, user: &UserName, group: Option<&GroupName>) -> Option<AccountId> {
        self.ids.get(&(group.cloned(), user.clone())).copied()
    }

    /// An account's books.
    pub(crate) fn books(&self, id: AccountId) -> &Account {
        &self.accounts[id.0 as usize]
    }

    /// All accounts by group and name.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.ids.values().copied()
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Puts another policy in force. All standings may have changed.
    pub(crate) fn set_policy(&mut self, policy: Policy, now: Timestamp) {
        let before = std::mem::replace(&mut self.tree, Tree::new(&policy));
        self.windows = windows(&policy);
        self.weights = weights(&self.windows);
        self.current = begin_of(&self.windows, now);
        self.policy = policy;
        // Every account goes to its new place, with what it has live and its turn.
        let ids: Vec<AccountId> = self.accounts().collect();
        for id in ids {
            let account = &mut self.accounts[id.0 as usize];
            let old = before.node(account.node);
            account.node = self.tree.leaf(id, &account.user, account.group.as_ref());
            self.tree.change_upward(account.node, |node| {
                node.live = node.live.plus(old.live);
                node.turn = node.turn.max(old.turn);
            });
        }
        self.recount();
    }

    /// Whether a node is a user.
    pub(crate) fn is_user(&self, id: NodeId) -> bool {
        self.tree.is_user(id)
    }

    /// A node's place in the tree by names.
    pub(crate) fn path(&self, id: NodeId) -> &Arc<str> {
        &self.tree.node(id).path
    }

    /// The nodes above an account's own, without the top.
    pub(crate) fn groups_of(&self, account: AccountId) -> impl Iterator<Item = NodeId> {
        let above = self.tree.upward(self.books(account).node).skip(1);
        above.filter(|id| *id != ROOT)
    }

    /// Whether an account stands in a share of the tree that is named by its path, or by its own
    /// name alone.
    pub(crate) fn is_in(&self, account: AccountId, name: &str) -> bool {
        self.groups_of(account).any(|id| {
            let path = self.path(id);
            &**path == name || path.rsplit('/').next() == Some(name)
        })
    }

    /// What part of everything the node is to get; 0 to 1.
    pub(crate) fn due(&self, id: NodeId) -> f64 {
        self.tree.due(id)
    }

    /// The top of the tree's usage that counts.
    pub(crate) fn worth_of_all(&self) -> f64 {
        self.worth(ROOT)
    }

    /// What a node has live: tasks and cores.
    pub(crate) fn live(&self, id: NodeId) -> (u64, u64) {
        let live = self.tree.node(id).live;
        (live.tasks, live.cores)
    }

    /// Every node of the tree but the top.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.tree.nodes().map(|(id, _)| id).skip(1)
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.tree.nodes().count()
    }
}

#[cfg(test)]
mod tests;
