//! The waiting accounts in the order of service: the tree of shares, cut down to where somebody
//! waits. At each node the children stand by their keys; a charge moves an account and what is
//! above it, whatever the number of classes and of other accounts.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClassId, Stand};
use crate::shares::{AccountId, Key, NodeId, ROOT, Shares};

/// A node below which somebody waits, or did.
#[derive(Clone, Debug, Default)]
struct Node {
    /// The node that it stands under.
    above: Option<NodeId>,
    /// Its place there; `None` if nobody waits at it or below.
    key: Option<Key>,
    children: BTreeSet<(Key, NodeId)>,
    /// The classes in which somebody waits at it or below, and how many accounts do.
    classes: BTreeMap<ClassId, u32>,
    /// Of users.
    account: Option<AccountId>,
}

/// The accounts with waiting tasks, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    nodes: Vec<Node>,
    /// Whether accounts are served by it: it is empty otherwise.
    used: bool,
}

impl Order {
    /// With nobody in it yet.
    fn new(used: bool) -> Self {
        let nodes = Vec::new();
        Self { nodes, used }
    }

    /// With those that wait, each with the classes in which it does. Much faster than one by one.
    pub(super) fn of<'a>(
        used: bool,
        shares: &Shares,
        waiting: impl Iterator<Item = (&'a AccountId, &'a BTreeSet<ClassId>)>,
    ) -> Self {
        let mut order = Self::new(used);
        if !used {
            return order;
        }
        for (account, classes) in waiting {
            let node = order.at(shares.books(*account).node);
            node.account = Some(*account);
            node.classes = classes.iter().map(|class| (*class, 1)).collect();
        }
        let mut children: BTreeMap<NodeId, Vec<(Key, NodeId)>> = BTreeMap::new();
        // A node comes after those above it: backwards, each is complete when its turn comes.
        for at in (0..order.nodes.len()).rev() {
            let id = NodeId(u32::try_from(at).unwrap_or(u32::MAX));
            let Some(above) = shares
                .above(id)
                .filter(|_| !order.nodes[at].classes.is_empty())
            else {
                continue;
            };
            debug_assert!(above < id);
            let key = shares.key(id);
            let (before, from) = order.nodes.split_at_mut(at);
            let (node, to) = (&mut from[0], &mut before[above.at()]);
            (node.key, node.above) = (Some(key), Some(above));
            for (class, accounts) in &node.classes {
                *to.classes.entry(*class).or_default() += accounts;
            }
            children.entry(above).or_default().push((key, id));
        }
        for (above, children) in children {
            order.at(above).children = children.into_iter().collect();
        }
        order
    }

    fn at(&mut self, id: NodeId) -> &mut Node {
        if self.nodes.len() <= id.at() {
            self.nodes.resize_with(id.at() + 1, Node::default);
        }
        &mut self.nodes[id.at()]
    }

    fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.at())
    }

    /// An account has begun to wait in a class.
    pub(super) fn add(&mut self, shares: &Shares, account: AccountId, class: ClassId) {
        if !self.used {
            return;
        }
        let mut id = shares.books(account).node;
        self.at(id).account = Some(account);
        loop {
            *self.at(id).classes.entry(class).or_default() += 1;
            self.place(shares, id);
            match shares.above(id) {
                Some(above) => id = above,
                None => return,
            }
        }
    }

    /// An account does not wait in a class any more.
    pub(super) fn remove(&mut self, shares: &Shares, account: AccountId, class: ClassId) {
        if !self.used {
            return;
        }
        let mut id = shares.books(account).node;
        loop {
            let node = self.at(id);
            if let Some(waiting) = node.classes.get_mut(&class) {
                *waiting -= 1;
                if *waiting == 0 {
                    node.classes.remove(&class);
                }
            }
            self.place(shares, id);
            match shares.above(id) {
                Some(above) => id = above,
                None => return,
            }
        }
    }

    /// An account's standing has changed, and with it that of all above.
    pub(super) fn rekey(&mut self, shares: &Shares, account: AccountId) {
        if !self.used {
            return;
        }
        let mut id = shares.books(account).node;
        while let Some(above) = shares.above(id) {
            self.place(shares, id);
            id = above;
        }
    }

    /// Puts a node where it belongs under the one above.
    fn place(&mut self, shares: &Shares, id: NodeId) {
        let Some(above) = shares.above(id) else {
            return;
        };
        let node = self.at(id);
        let before = node.key;
        let after = (!node.classes.is_empty()).then(|| shares.key(id));
        if before == after {
            return;
        }
        node.key = after;
        node.above = Some(above);
        let siblings = &mut self.at(above).children;
        if let Some(key) = before {
            siblings.remove(&(key, id));
        }
        if let Some(key) = after {
            siblings.insert((key, id));
        }
    }

    /// The first account, from the top of the tree down, that `take` makes something of. A node
    /// is passed over if none of its classes is `wanted`.
    pub(super) fn first<T>(
        &self,
        wanted: &mut impl FnMut(ClassId) -> bool,
        take: &mut impl FnMut(AccountId) -> Option<T>,
    ) -> Option<T> {
        self.first_below(ROOT, wanted, take)
    }

    fn first_below<T>(
        &self,
        id: NodeId,
        wanted: &mut impl FnMut(ClassId) -> bool,
        take: &mut impl FnMut(AccountId) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(id)?;
        if !node.classes.keys().any(|class| wanted(*class)) {
            return None;
        }
        if let Some(account) = node.account {
            return take(account);
        }
        let mut children = node.children.iter();
        children.find_map(|(_, child)| self.first_below(*child, wanted, take))
    }

    /// Where an account stands: at the first node from the top down that others stand beside.
    /// `None` if nobody else waits.
    pub(super) fn stand(&self, shares: &Shares, account: AccountId) -> Option<Stand> {
        let mut stand = None;
        let mut first = true;
        let mut node = shares.books(account).node;
        while let Some(above) = shares.above(node) {
            let siblings = &self.get(above)?.children;
            first &= siblings.first().is_some_and(|(_, it)| *it == node);
            if siblings.len() > 1 {
                let level = self.get(node)?.key?.level();
                stand = Some(Stand {
                    node,
                    level,
                    of: siblings.len(),
                    first: true,
                });
            }
            node = above;
        }
        stand.map(|stand| Stand { first, ..stand })
    }

    /// Compares what is kept with what follows from `waiting`: who waits in which classes.
    pub(super) fn check(
        &self,
        shares: &Shares,
        waiting: &BTreeMap<AccountId, BTreeSet<ClassId>>,
    ) -> Result<(), String> {
        let mut again = Self::new(self.used);
        for (account, classes) in waiting {
            for class in classes {
                again.add(shares, *account, *class);
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let counted = again.nodes.get(at).cloned().unwrap_or_default();
            let same = node.key == counted.key
                && node.children == counted.children
                && node.classes == counted.classes;
            if !same {
                let id = NodeId(u32::try_from(at).unwrap_or(u32::MAX));
                let path = shares.path(id);
                return Err(format!("`{path}` stands wrong: {node:?}, not {counted:?}"));
            }
        }
        Ok(())
    }
}
