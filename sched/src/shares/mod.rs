//! What everybody has used, and what follows for the order of service.
//!
//! Usage is counted by account (a user in a group) and interval, whatever the policy, so that a
//! change of policy finds the past. What counts of it is `Σ (i = 0 .. depth-1) decay^i · N_i`,
//! with intervals, depth and decay as the policy's kind has them; half-lives are cut into
//! intervals as well. From there each kind makes its own key (see [`Shares::key`]); the smallest
//! is served first.

mod maui;
mod refresh;
mod tree;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_jdl::Needs;
use fairway_model::policy::FairshareSettings;
use fairway_model::{GroupName, Policy, PolicyKind, Timestamp, UserName};

use self::maui::Maui;
use self::tree::{Live, Tree};
use self::usage::{Amounts, Carried, age, begin_of, length_ms, weights, windows};
use crate::command::{Change, Entity};

pub(crate) use self::tree::{AccountId, NodeId, ROOT};
pub use self::usage::Used;

/// The length of the intervals that usage is counted in under a policy, in seconds.
pub fn interval_s(policy: &Policy) -> u64 {
    windows(policy).duration_s
}

/// So many intervals are remembered: as many as the policy may ever ask for.
const INTERVALS_MAX: i64 = 1000;

/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A node's place among its siblings; the smallest is served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The bits of a float that is not negative: they are in the order of the floats.
    rank: u64,
    /// When it was served last: equals are served in turn.
    turn: u64,
}

impl Key {
    /// The number that decides.
    pub(crate) fn level(self) -> f64 {
        f64::from_bits(self.rank)
    }
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

/// Usage by the beginning of the interval.
type Intervals = BTreeMap<Timestamp, Used>;

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

/// Core-milliseconds, for budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    total_ms: u64,
    /// When the day of `today_ms` began.
    day: Timestamp,
    today_ms: u64,
}

/// Usage of something beside accounts: a quality of service, a queue.
#[derive(Clone, Debug, Default)]
struct Book {
    intervals: Intervals,
    past: Amounts,
    current: Used,
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

/// What a charge is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge<'a> {
    pub(crate) account: AccountId,
    pub(crate) needs: &'a Needs,
    pub(crate) used: Used,
}

fn day_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(DAY_MS) * DAY_MS)
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
            let above: Vec<NodeId> = self.tree.upward(account.node).collect();
            for node in above {
                let node = self.tree.node_mut(node);
                node.live.tasks += old.live.tasks;
                node.live.cores += old.live.cores;
                node.turn = node.turn.max(old.turn);
            }
        }
        self.recount();
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

    /// Forgets intervals that no policy can ask for, and counts anew what counts.
    pub(crate) fn recount(&mut self) {
        let reach = length_ms(&self.windows).saturating_mul(INTERVALS_MAX);
        let oldest = Timestamp(self.current.0.saturating_sub(reach));
        let count = |intervals: &mut Intervals| {
            if (intervals.first_key_value()).is_some_and(|(begin, _)| *begin < oldest) {
                *intervals = intervals.split_off(&oldest);
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
            let mut at = Some(account.node);
            while let Some(id) = at {
                let node = self.tree.node_mut(id);
                node.past.add_all(past);
                node.current = node.current.plus(current);
                at = node.parent;
            }
        }
        for book in self.qos.values_mut().chain(self.queues.values_mut()) {
            (book.past, book.current) = count(&mut book.intervals);
        }
        self.refresh();
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
        let mut at = Some(account.node);
        while let Some(id) = at {
            let node = self.tree.node_mut(id);
            node.current = node.current.plus(used);
            at = node.parent;
        }
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
        // What follows for others is looked up by and by.
        match self.policy.kind {
            PolicyKind::HalfLife => {
                let node = self.books(charge.account).node;
                self.accounts[charge.account.0 as usize].effective = self.effective(node);
            }
            PolicyKind::Maui => {
                let part = Maui::part_of(self, charge.account);
                self.maui.note(charge.account, part);
            }
            _ => {}
        }
        changes
    }

    /// Notes that the account was served just now.
    pub(crate) fn take_turn(&mut self, id: AccountId) {
        self.turns += 1;
        let turn = self.turns;
        let mut at = Some(self.books(id).node);
        while let Some(id) = at {
            let node = self.tree.node_mut(id);
            node.turn = turn;
            at = node.parent;
        }
    }

    /// Notes that the account has a live attempt more, or less.
    pub(crate) fn note_live(&mut self, id: AccountId, cores: u32, begins: bool) {
        let mut at = Some(self.books(id).node);
        while let Some(id) = at {
            let node = self.tree.node_mut(id);
            let Live { tasks, cores: sum } = &mut node.live;
            if begins {
                *tasks += 1;
                *sum += u64::from(cores);
            } else {
                debug_assert!(*tasks > 0);
                *tasks = tasks.saturating_sub(1);
                *sum = sum.saturating_sub(u64::from(cores));
            }
            at = node.parent;
        }
    }

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

    /// Whether a node is a user.
    pub(crate) fn is_user(&self, id: NodeId) -> bool {
        self.tree.is_user(id)
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
        self.worth(id) / self.tree.node(id).share
    }

    /// What counts of a node's usage: tasks or seconds.
    pub(crate) fn worth(&self, id: NodeId) -> f64 {
        self.tree.node(id).amounts().worth(&self.policy.usage)
    }

    /// Slurm's classic fair-share factor is `2^(-U/S)` with effective usage
    /// `U = own + (U_above - own)·S/S_siblings` and `S` the user's part of everything; this is
    /// `U/S`, so the smallest has the largest factor.
    fn effective(&self, id: NodeId) -> f64 {
        let path: Vec<NodeId> = self.tree.upward(id).collect();
        let mut used = 0.0;
        for (depth, &id) in path.iter().rev().enumerate() {
            let node = self.tree.node(id);
            let own = self.worth(id);
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

    /// The part of a task's priority that does not change while it waits; `None` if it is not to
    /// start because of a cap.
    pub(crate) fn priority(&self, account: AccountId, needs: &Needs) -> Option<f64> {
        self.maui.priority(self, account, needs)
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

    /// Compares what is kept twice. `live`: tasks and cores of each account.
    pub(crate) fn check(&self, live: &BTreeMap<AccountId, (u64, u64)>) -> Result<(), String> {
        let mut again = vec![(Amounts::default(), Used::default(), Live::default()); self.len()];
        // In the same order as when it was counted: sums of floats depend on it.
        for &id in self.ids.values() {
            let account = self.books(id);
            let intervals = &account.intervals;
            let (past, current) = counted(&self.windows, &self.weights, self.current, intervals);
            let (tasks, cores) = live.get(&id).copied().unwrap_or_default();
            for node in self.tree.upward(account.node) {
                let sums = &mut again[node.at()];
                sums.0.add_all(past);
                sums.1 = sums.1.plus(current);
                sums.2.tasks += tasks;
                sums.2.cores += cores;
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

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.tree.nodes().count()
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

#[cfg(test)]
mod tests;
