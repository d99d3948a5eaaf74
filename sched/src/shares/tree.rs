//! The tree of shares: who is to get how much, and who stands where.
//!
//! A task's account is its user in the group that it is submitted for. Accounts are the leaves;
//! above them are their groups and whatever the operator put above these. What the policy does
//! not name stands where it is looked for, with a share of 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_model::{GroupName, Policy, Resources, UserName};

use super::usage::{Amounts, Used};

/// A user in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(pub(crate) u32);

/// A node of the tree; the root is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

/// The top of the tree.
pub(crate) const ROOT: NodeId = NodeId(0);

impl NodeId {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }
}

/// What has a live attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) tasks: u64,
    pub(crate) cores: u64,
    memory_mib: u64,
    gpus: u64,
}

impl Live {
    /// Of a task that has this.
    pub(crate) fn task(has: Resources) -> Self {
        Self {
            tasks: 1,
            cores: has.cores.into(),
            memory_mib: has.memory_mib,
            gpus: has.gpus.into(),
        }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            tasks: self.tasks.saturating_add(other.tasks),
            cores: self.cores.saturating_add(other.cores),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    /// Without what is part of it.
    pub(crate) fn minus(self, part: Self) -> Self {
        debug_assert!(self.tasks >= part.tasks && self.cores >= part.cores);
        Self {
            tasks: self.tasks.saturating_sub(part.tasks),
            cores: self.cores.saturating_sub(part.cores),
            memory_mib: self.memory_mib.saturating_sub(part.memory_mib),
            gpus: self.gpus.saturating_sub(part.gpus),
        }
    }

    /// What it uses in a second, on cores of benchmark 1.
    fn in_a_second(self) -> Used {
        let ms = |amount: u64| amount.saturating_mul(1000);
        Used {
            tasks_started: 0,
            core_ms: ms(self.cores),
            cpu_ms: ms(self.cores),
            normalised_ms: ms(self.cores),
            memory_gib_ms: ms(self.memory_mib) / 1024,
            gpu_ms: ms(self.gpus),
        }
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) parent: Option<NodeId>,
    /// By the names from the top down, with `/` between them; empty at the top.
    pub(crate) path: Arc<str>,
    pub(crate) share: f64,
    /// The shares of all children together.
    pub(crate) children: f64,
    /// What counts of usage before the current interval.
    pub(crate) past: Amounts,
    /// Usage in the current interval.
    pub(crate) current: Used,
    /// Number of the last service; larger is later, 0 is never.
    pub(crate) turn: u64,
    pub(crate) live: Live,
    /// The account that stands here; of users alone.
    pub(crate) account: Option<AccountId>,
    is_user: bool,
}

impl Node {
    fn new(parent: Option<NodeId>, path: Arc<str>, share: f64) -> Self {
        Self {
            parent,
            path,
            share,
            children: 0.0,
            past: Amounts::default(),
            current: Used::default(),
            turn: 0,
            live: Live::default(),
            account: None,
            is_user: false,
        }
    }

    /// All usage that counts.
    pub(crate) fn amounts(&self) -> Amounts {
        let mut all = self.past;
        all.add(self.current, 1.0);
        all
    }

    /// The same with a second in advance of what is live. What was given out counts at once, though
    /// it is charged for later: not all that is free at a moment goes to who is first then.
    pub(crate) fn amounts_ahead(&self) -> Amounts {
        let mut all = self.past;
        all.add(self.current.plus(self.live.in_a_second()), 1.0);
        all
    }
}

/// All nodes.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// Inner nodes by their own names; a group has its name once.
    groups: BTreeMap<Arc<str>, NodeId>,
    /// Users that the policy names, by the node above and their names.
    users: BTreeMap<(NodeId, Arc<str>), NodeId>,
}

impl Tree {
    /// The nodes that a policy names.
    pub(crate) fn new(policy: &Policy) -> Self {
        let mut tree = Self {
            nodes: vec![Node::new(None, "".into(), 1.0)],
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        let mut shares: Vec<_> = policy.shares.iter().collect();
        // Parents before children.
        shares.sort_by_key(|share| (share.path.names().count(), &share.path));
        let mut by_path: BTreeMap<&str, NodeId> = BTreeMap::new();
        for share in shares {
            let above = share.path.parent();
            // A policy was checked before it came here; what is left dangling goes to the top.
            let parent = above.and_then(|path| by_path.get(path)).copied();
            let parent = parent.unwrap_or(ROOT);
            let name = share.path.name();
            let id = if share.user {
                tree.user(parent, name, share.share)
            } else {
                tree.group(parent, name, share.share)
            };
            by_path.insert(share.path.as_str(), id);
        }
        tree
    }

    fn add(&mut self, parent: NodeId, name: &str, share: f64) -> NodeId {
        let above = &self.nodes[parent.at()];
        let path = if above.path.is_empty() {
            name.into()
        } else {
            format!("{}/{name}", above.path).into()
        };
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node::new(Some(parent), path, share));
        self.nodes[parent.at()].children += share;
        id
    }

    fn group(&mut self, parent: NodeId, name: &str, share: f64) -> NodeId {
        if let Some(&known) = self.groups.get(name) {
            return known;
        }
        let id = self.add(parent, name, share);
        self.groups.insert(name.into(), id);
        id
    }

    fn user(&mut self, parent: NodeId, name: &str, share: f64) -> NodeId {
        let key = (parent, Arc::from(name));
        if let Some(&known) = self.users.get(&key) {
            return known;
        }
        let id = self.add_user(parent, name, share);
        self.users.insert(key, id);
        id
    }

    fn add_user(&mut self, parent: NodeId, name: &str, share: f64) -> NodeId {
        let id = self.add(parent, name, share);
        self.nodes[id.at()].is_user = true;
        id
    }

    /// The node of an account, which is asked for once: the one that the policy names, or a new one.
    pub(crate) fn leaf(
        &mut self,
        account: AccountId,
        user: &UserName,
        group: Option<&GroupName>,
    ) -> NodeId {
        let parent = group.map_or(ROOT, |group| self.group(ROOT, group.as_str(), 1.0));
        let known = if self.users.is_empty() {
            None
        } else {
            let key = (parent, Arc::from(user.as_str()));
            self.users.get(&key).copied()
        };
        let id = known.unwrap_or_else(|| self.add_user(parent, user.as_str(), 1.0));
        self.nodes[id.at()].account = Some(account);
        id
    }

    /// Whether a node is a user.
    pub(crate) fn is_user(&self, id: NodeId) -> bool {
        self.node(id).is_user
    }

    /// The account that stands at a node, if it is a user's that has one.
    pub(crate) fn account_at(&self, id: NodeId) -> Option<AccountId> {
        self.node(id).account
    }

    /// A node.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.at()]
    }

    /// A node, to change it.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.at()]
    }

    /// All nodes, to change them.
    pub(crate) fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut()
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The node itself and those above it, up to the top.
    pub(crate) fn upward(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(id), |id| self.node(*id).parent)
    }

    /// Changes the node itself and those above it, up to the top.
    pub(crate) fn change_upward(&mut self, id: NodeId, mut change: impl FnMut(&mut Node)) {
        let mut at = Some(id);
        while let Some(id) = at {
            let node = self.node_mut(id);
            change(node);
            at = node.parent;
        }
    }

    /// What part of everything the node is to get if all of its siblings, and those of the nodes
    /// above, want theirs; 0 to 1.
    pub(crate) fn due(&self, id: NodeId) -> f64 {
        self.upward(id).fold(1.0, |due, id| {
            let node = self.node(id);
            match node.parent {
                Some(parent) => due * node.share / self.node(parent).children,
                None => due,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_model::policy::Share;

    fn share(path: &str, share: f64) -> Share {
        Share {
            path: path.into(),
            share,
            user: false,
        }
    }

    #[test]
    fn what_is_not_named_stands_where_it_is_looked_for() {
        let policy = Policy {
            shares: vec![
                share("physics", 3.0),
                share("physics/atlas", 2.0),
                share("physics/cms", 1.0),
                Share {
                    user: true,
                    ..share("physics/atlas/alice", 4.0)
                },
            ],
            ..Policy::default()
        };
        let mut tree = Tree::new(&policy);
        let name = |text: &str| text.parse::<UserName>().unwrap();
        let atlas: GroupName = "atlas".parse().unwrap();
        let bio: GroupName = "bio".parse().unwrap();
        let alice = tree.leaf(AccountId(0), &name("alice"), Some(&atlas));
        let bob = tree.leaf(AccountId(1), &name("bob"), Some(&atlas));
        let carol = tree.leaf(AccountId(2), &name("carol"), Some(&bio));
        let alone = tree.leaf(AccountId(3), &name("alice"), None);
        assert_eq!(&*tree.node(alice).path, "physics/atlas/alice");
        assert_eq!(&*tree.node(bob).path, "physics/atlas/bob");
        assert_eq!(&*tree.node(carol).path, "bio/carol");
        assert_eq!(&*tree.node(alone).path, "alice");
        // physics 3 of 5, atlas 2 of 3, alice 4 of 5.
        assert!((tree.due(alice) - 3.0 / 5.0 * 2.0 / 3.0 * 4.0 / 5.0).abs() < 1e-12);
        assert!((tree.due(carol) - 1.0 / 5.0).abs() < 1e-12);
    }
}
