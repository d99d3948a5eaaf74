//! The order of service: how each kind makes keys and priorities of what was used.

use fairway_jdl::Needs;
use fairway_model::PolicyKind;

use super::maui::{self, Maui, OfClass};
use super::tree::ROOT;
use super::{Account, AccountId, NodeId, Shares};

/// A node's place among its siblings; the smallest is served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The bits of a float that is not negative: they are in the order of the floats.
    rank: u64,
    /// When it was served last: equals are served in turn.
    turn: u64,
}

/// How accounts are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// Tasks by when they came into the queue, whosever they are.
    Arrival,
    /// Tasks by their priority, whosever they are.
    Priority,
    /// By the keys of nodes, from the top of the tree down.
    Tree,
}

impl Key {
    /// The number that decides.
    pub(crate) fn level(self) -> f64 {
        f64::from_bits(self.rank)
    }
}

impl Shares {
    /// How the policy puts accounts in order.
    pub(crate) fn arrangement(&self) -> Arrangement {
        match self.policy.kind {
            PolicyKind::Fifo => Arrangement::Arrival,
            PolicyKind::Maui => Arrangement::Priority,
            _ => Arrangement::Tree,
        }
    }

    /// The node that a node stands under in the order of service: that of the tree, or the top
    /// where all users stand in one order.
    pub(crate) fn above(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.tree.node(id).parent?;
        Some(match self.policy.kind {
            PolicyKind::Fairshare | PolicyKind::FairTree => parent,
            // A user under their group, a group at the top.
            PolicyKind::RoundRobinGroups if self.is_user(id) => parent,
            _ => ROOT,
        })
    }

    /// A node's place among its siblings in the order of service.
    pub(crate) fn key(&self, id: NodeId) -> Key {
        let node = self.tree.node(id);
        let rank = match self.policy.kind {
            PolicyKind::Fifo
            | PolicyKind::Maui
            | PolicyKind::RoundRobin
            | PolicyKind::RoundRobinGroups => 0.0,
            PolicyKind::Fairshare | PolicyKind::FairTree => self.level(id),
            PolicyKind::HalfLife => {
                let account = self.tree.account_at(id).map(|id| self.books(id));
                account.map_or(0.0, |account| account.effective)
            }
            PolicyKind::UserPriority => {
                let account = self.tree.account_at(id).map(|id| self.books(id));
                account.map_or(0.0, |account| self.effective_priority(account))
            }
        };
        Key {
            // -0.0 would come after all others.
            rank: (rank + 0.0).to_bits(),
            turn: node.turn,
        }
    }

    /// What a node used for the size of its share. Among siblings the smallest is furthest below
    /// what it is to get: FS for its share, and Slurm's Fair Tree, whose level factor is the
    /// inverse.
    pub(crate) fn level(&self, id: NodeId) -> f64 {
        self.reckoned(id) / self.tree.node(id).share
    }

    /// What counts of a node's usage: tasks or seconds.
    pub(crate) fn worth(&self, id: NodeId) -> f64 {
        self.tree.node(id).amounts().worth(&self.policy.usage)
    }

    /// The same when a node is put in order: what is live counts for a second in advance.
    fn reckoned(&self, id: NodeId) -> f64 {
        let amounts = self.tree.node(id).amounts_ahead();
        amounts.worth(&self.policy.usage)
    }

    /// Computes anew what depends on what others used. All standings may have changed.
    pub(crate) fn refresh(&mut self) {
        match self.policy.kind {
            PolicyKind::HalfLife | PolicyKind::UserPriority => {
                for at in 0..self.accounts.len() {
                    let node = self.accounts[at].node;
                    self.accounts[at].due = self.tree.due(node);
                    self.accounts[at].effective = self.effective(node);
                }
            }
            PolicyKind::Maui => self.maui = Maui::of(self),
            _ => {}
        }
    }

    /// Whether standings depend on what others used, so that they are out of date by and by.
    pub(crate) fn grows_stale(&self) -> bool {
        matches!(
            self.policy.kind,
            PolicyKind::HalfLife | PolicyKind::UserPriority | PolicyKind::Maui
        )
    }

    /// Slurm's classic fair-share factor is `2^(-U/S)` with effective usage
    /// `U = own + (U_above - own)·S/S_siblings` and `S` the user's part of everything; this is
    /// `U/S`, so the smallest has the largest factor.
    pub(super) fn effective(&self, id: NodeId) -> f64 {
        let path: Vec<NodeId> = self.tree.upward(id).collect();
        let mut used = 0.0;
        for (depth, &id) in path.iter().rev().enumerate() {
            let node = self.tree.node(id);
            let own = self.reckoned(id);
            used = match node.parent {
                // The top, and what is directly below it, used what it used.
                None => own,
                Some(_) if depth == 1 => own,
                Some(parent) => own + (used - own) * node.share / self.tree.node(parent).children,
            };
        }
        used / self.tree.due(id)
    }

    /// HTCondor's effective user priority as it will be a step from now, were the user to get one
    /// core more: cores in use, averaged with a half-life, for the user's part of everything. With
    /// `U` core-seconds that count, the average is `U·ln 2/half-life`.
    ///
    /// A user's slice is what makes this the same for all. Slices that are simply inverse to
    /// effective priorities settle where what a user has is in proportion to the square root of
    /// their part: with `cores ∝ part/average` and `average = cores`, `cores² ∝ part`.
    fn effective_priority(&self, account: &Account) -> f64 {
        let node = self.tree.node(account.node);
        let half_life_s = self.policy.half_life.half_life_s as f64;
        let average = node.amounts().core_s() * std::f64::consts::LN_2 / half_life_s;
        let live = node.live.cores as f64 + 1.0;
        let kept = self.windows.decay_rate;
        (kept * average + (1.0 - kept) * live) / account.due
    }

    /// Notes that the account was served just now.
    pub(crate) fn take_turn(&mut self, id: AccountId) {
        self.turns += 1;
        let turn = self.turns;
        let node = self.books(id).node;
        self.tree.change_upward(node, |node| node.turn = turn);
    }

    /// The part of a task's priority that does not change while it waits; `None` if it is not to
    /// start because of a cap.
    pub(crate) fn priority(&self, account: AccountId, needs: &Needs) -> Option<f64> {
        self.priority_in(account, &self.priority_of_class(needs))
    }

    /// What the priorities of all tasks that need this have in common.
    pub(crate) fn priority_of_class(&self, needs: &Needs) -> OfClass {
        self.maui.of_class(self, needs)
    }

    /// As [`priority`](Self::priority), with what is the same for its class.
    pub(crate) fn priority_in(&self, account: AccountId, of_class: &OfClass) -> Option<f64> {
        self.maui.priority(self, account, of_class)
    }

    /// What a task's priority is made of; see [`priority`](Self::priority).
    pub(crate) fn priority_parts(&self, account: AccountId, needs: &Needs) -> maui::Parts {
        self.maui.parts(self, account, needs)
    }

    /// By how much a waiting task's priority grows in a millisecond.
    pub(crate) fn priority_per_ms(&self, needs: &Needs) -> f64 {
        maui::per_ms(&self.policy.maui, needs)
    }

    /// Whether targets may keep accounts from being served.
    pub(crate) fn has_caps(&self) -> bool {
        self.policy.kind == PolicyKind::Maui && self.maui.has_caps()
    }
}
