//! The waiting tasks. Tasks that need the same and are submitted for the same group form
//! a class; within a class every account has a queue in the order of submission.
//!
//! Two orders are kept. Accounts stand in the tree of shares ([`order`]); in each class they also
//! stand by their first tasks, for policies that go by task and for those that have waited too
//! long. A match looks at classes and accounts, never at tasks.

mod class;
mod next;
mod order;
mod stand;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{GroupName, JobId, Resources, Timestamp, UserName};

pub(crate) use self::class::{Class, Waiter};
pub(crate) use self::next::{Candidate, Choice};
use self::order::Order;
pub(crate) use self::stand::Stand;
use crate::shares::{AccountId, Arrangement, Shares};

/// Which class. Numbers are given in the order of appearance and mean nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassId(u32);

/// All waiting tasks.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    classes: BTreeMap<ClassId, Class>,
    by_needs: BTreeMap<(Arc<str>, Option<GroupName>), ClassId>,
    /// Classes with waiting tasks.
    active: BTreeSet<ClassId>,
    /// The classes in which an account has waiting tasks.
    of_account: BTreeMap<AccountId, BTreeSet<ClassId>>,
    /// The accounts of a user that have waiting tasks.
    of_user: BTreeMap<UserName, BTreeSet<AccountId>>,
    order: Order,
    arrangement: Arrangement,
    /// The tiers of classes with waiting tasks, and how many classes are in each.
    tiers: BTreeMap<i32, usize>,
    /// What classes with waiting tasks ask for, and how many classes ask for it. There are few
    /// different demands: whether a pilot can take anything is told without a look at classes.
    demands: BTreeMap<Resources, usize>,
    /// Accounts of which nothing is to be started.
    barred: BTreeSet<AccountId>,
    /// See [`Policy::wait_max_s`](fairway_model::Policy::wait_max_s).
    wait_max: Option<Duration>,
    /// Whether somebody has waited for longer; looked up now and then.
    overdue: bool,
    /// Slots of classes without waiting tasks.
    free_slots: Vec<usize>,
    slots: usize,
    next: u32,
    waiting: u64,
}

impl Queue {
    /// An empty queue under the policy in force.
    pub(crate) fn new(shares: &Shares) -> Self {
        let mut queue = Self {
            classes: BTreeMap::new(),
            by_needs: BTreeMap::new(),
            active: BTreeSet::new(),
            of_account: BTreeMap::new(),
            of_user: BTreeMap::new(),
            order: Order::default(),
            arrangement: shares.arrangement(),
            tiers: BTreeMap::new(),
            demands: BTreeMap::new(),
            barred: BTreeSet::new(),
            wait_max: None,
            overdue: false,
            free_slots: Vec::new(),
            slots: 0,
            next: 0,
            waiting: 0,
        };
        queue.rearrange(shares);
        queue
    }

    /// The class of `needs` and `group`, with `tasks` members more. The second value tells
    /// whether it is a new class.
    pub(crate) fn join(
        &mut self,
        shares: &Shares,
        needs: &Arc<Needs>,
        group: Option<&GroupName>,
        tasks: u64,
    ) -> (ClassId, bool) {
        let key = (Arc::from(needs.key.as_str()), group.cloned());
        let known = self.by_needs.get(&key).copied();
        let id = known.unwrap_or_else(|| {
            let id = ClassId(self.next);
            self.next += 1;
            self.by_needs.insert(key, id);
            let class = Class {
                needs: Arc::clone(needs),
                group: group.cloned(),
                tier: tier(shares, needs),
                members: 0,
                waiting: 0,
                waiters: BTreeMap::new(),
                order: BTreeSet::new(),
                slot: 0,
            };
            self.classes.insert(id, class);
            id
        });
        if let Some(class) = self.classes.get_mut(&id) {
            class.members += tasks;
        }
        (id, known.is_none())
    }

    /// Takes `tasks` members out of a class. True if the class is gone.
    pub(crate) fn leave(&mut self, id: ClassId, tasks: u64) -> bool {
        let Some(class) = self.classes.get_mut(&id) else {
            return false;
        };
        class.members = class.members.saturating_sub(tasks);
        if class.members > 0 {
            return false;
        }
        let key = (Arc::from(class.needs.key.as_str()), class.group.clone());
        self.by_needs.remove(&key);
        self.classes.remove(&id);
        true
    }

    /// Puts tasks of a job into the queue: rows in order, each the first and one past the last,
    /// that came there at the same moment.
    pub(crate) fn insert(
        &mut self,
        shares: &Shares,
        id: ClassId,
        account: AccountId,
        (job, since): (JobId, Timestamp),
        rows: &[(u32, u32)],
    ) {
        let Some(class) = self.classes.get_mut(&id) else {
            debug_assert!(false, "a task waits in a class that is not there");
            return;
        };
        let len = class::count(rows);
        let wakes = class.waiting == 0;
        if wakes {
            class.slot = self.free_slots.pop().unwrap_or_else(|| {
                self.slots += 1;
                self.slots - 1
            });
            self.active.insert(id);
            *self.tiers.entry(class.tier).or_default() += 1;
            *self.demands.entry(class.needs.resources).or_default() += 1;
        }
        let user = &shares.books(account).user;
        let begins = !class.waiters.contains_key(&account);
        let new = || Waiter::new(user.clone());
        let waiter = class.waiters.entry(account).or_insert_with(new);
        waiter.add(job, rows, since);
        class.waiting += len;
        self.waiting += len;
        let barred = self.barred.contains(&account);
        class.place(shares, account, barred);
        if begins {
            self.of_account.entry(account).or_default().insert(id);
            self.of_user
                .entry(user.clone())
                .or_default()
                .insert(account);
            if !barred {
                self.order.add(shares, account, id);
            }
        }
    }

    /// Takes tasks of a job, which all wait, out of the queue: rows in order, each the first and
    /// one past the last.
    pub(crate) fn remove(
        &mut self,
        shares: &Shares,
        id: ClassId,
        account: AccountId,
        (job, rows): (JobId, &[(u32, u32)]),
    ) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        let Some(waiter) = class.waiters.get_mut(&account) else {
            return;
        };
        let before = waiter.len();
        waiter.take(job, rows);
        let len = before - waiter.len();
        class.waiting -= len;
        self.waiting -= len;
        let barred = self.barred.contains(&account);
        if waiter.len() > 0 {
            class.place(shares, account, barred);
            return;
        }
        if let Some(place) = waiter.place.take() {
            class.order.remove(&place);
        }
        let user = waiter.user.clone();
        class.waiters.remove(&account);
        if class.waiting == 0 {
            self.active.remove(&id);
            self.free_slots.push(class.slot);
            one_less(&mut self.tiers, class.tier);
            one_less(&mut self.demands, class.needs.resources);
        }
        if !barred {
            self.order.remove(shares, account, id);
        }
        let Some(classes) = self.of_account.get_mut(&account) else {
            return;
        };
        classes.remove(&id);
        if classes.is_empty() {
            self.of_account.remove(&account);
            if let Some(accounts) = self.of_user.get_mut(&user) {
                accounts.remove(&account);
                if accounts.is_empty() {
                    self.of_user.remove(&user);
                }
            }
        }
    }

    /// Notes that a task of an account in a class was given out.
    pub(crate) fn note_served(
        &mut self,
        shares: &Shares,
        id: ClassId,
        account: AccountId,
        now: Timestamp,
    ) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        if let Some(waiter) = class.waiters.get_mut(&account) {
            waiter.served_at = Some(now);
            let barred = self.barred.contains(&account);
            class.place(shares, account, barred);
        }
    }

    /// An account's standing has changed, and with it that of all above: also of one that does
    /// not wait itself, since others of its group may.
    pub(crate) fn rekey(&mut self, shares: &Shares, account: AccountId) {
        self.order.rekey(shares, account);
        if self.arrangement != Arrangement::Priority {
            return;
        }
        let barred = self.barred.contains(&account);
        for id in self.of_account.get(&account).into_iter().flatten() {
            if let Some(class) = self.classes.get_mut(id) {
                class.place(shares, account, barred);
            }
        }
    }

    /// The standings of all may have changed.
    pub(crate) fn rekey_all(&mut self, shares: &Shares) {
        if self.arrangement == Arrangement::Priority {
            for class in self.classes.values_mut() {
                class.place_all(shares, &self.barred);
            }
            return;
        }
        for account in self.of_account.keys() {
            if !self.barred.contains(account) {
                self.order.rekey(shares, *account);
            }
        }
    }

    /// The policy has changed: puts everything in its place anew.
    pub(crate) fn rearrange(&mut self, shares: &Shares) {
        let before = std::mem::replace(&mut self.arrangement, shares.arrangement());
        // Priorities follow from the policy; all other places from how tasks are arranged alone.
        let stay = before == self.arrangement && before != Arrangement::Priority;
        let wait_max_s = shares.policy().wait_max_s;
        self.wait_max = wait_max_s
            .map(Duration::from_secs)
            .filter(|_| self.arrangement != Arrangement::Priority);
        self.overdue = false;
        self.tiers.clear();
        for class in self.classes.values_mut() {
            class.tier = tier(shares, &class.needs);
            if class.waiting > 0 {
                *self.tiers.entry(class.tier).or_default() += 1;
            }
            if !stay {
                class.place_all(shares, &self.barred);
            }
        }
        let open = self.of_account.iter();
        let open = open.filter(|(account, _)| !self.barred.contains(account));
        self.order = Order::of(self.arrangement == Arrangement::Tree, shares, open);
    }

    /// Lets nothing of an account be started, or lets it again.
    pub(crate) fn bar(&mut self, shares: &Shares, account: AccountId, barred: bool) {
        let changed = if barred {
            self.barred.insert(account)
        } else {
            self.barred.remove(&account)
        };
        if !changed {
            return;
        }
        for id in self.of_account.get(&account).into_iter().flatten() {
            let Some(class) = self.classes.get_mut(id) else {
                continue;
            };
            class.place(shares, account, barred);
            if barred {
                self.order.remove(shares, account, *id);
            } else {
                self.order.add(shares, account, *id);
            }
        }
    }

    /// Whether there is an account of which nothing is to be started.
    pub(crate) fn bars_any(&self) -> bool {
        !self.barred.is_empty()
    }

    /// Looks whether somebody has waited for longer than may be.
    pub(crate) fn note_overdue(&mut self, now: Timestamp) {
        self.overdue = self.wait_max.is_some_and(|max| {
            let mut oldest = self.active().filter_map(|(_, class)| class.order.first());
            oldest.any(|place| now.since(Timestamp(place.rank)) > max)
        });
    }

    /// A class.
    pub(crate) fn class(&self, id: ClassId) -> Option<&Class> {
        self.classes.get(&id)
    }

    /// All classes.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.classes.iter().map(|(&id, class)| (id, class))
    }

    /// The classes with waiting tasks.
    pub(crate) fn active(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        // To walk a tree costs less than to find most of its entries one by one.
        let most = self.active.len() * 4 >= self.classes.len();
        let walked = most.then(|| self.classes().filter(|(_, class)| class.waiting > 0));
        let find = |id: &ClassId| Some((*id, self.classes.get(id)?));
        let found = (!most).then(|| self.active.iter().filter_map(find));
        let found = found.into_iter().flatten();
        walked.into_iter().flatten().chain(found)
    }

    /// What classes with waiting tasks ask for, each once.
    pub(crate) fn demands(&self) -> impl Iterator<Item = Resources> {
        self.demands.keys().copied()
    }

    /// The accounts of a user that have waiting tasks.
    pub(crate) fn accounts_of(&self, user: &UserName) -> impl Iterator<Item = AccountId> {
        self.of_user.get(user).into_iter().flatten().copied()
    }

    /// The classes in which an account has waiting tasks.
    pub(crate) fn classes_of(&self, account: AccountId) -> impl Iterator<Item = (ClassId, &Class)> {
        let classes = self.of_account.get(&account).into_iter().flatten();
        classes.filter_map(|id| Some((*id, self.classes.get(id)?)))
    }

    /// How many tasks of an account wait, over all classes.
    pub(crate) fn waiting_of(&self, account: AccountId) -> u64 {
        let classes = self.classes_of(account);
        classes.map(|(_, class)| class.waiting_of(account)).sum()
    }

    /// How many tasks wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Compares what is kept twice. The error says what is wrong.
    pub(crate) fn check(&self, shares: &Shares) -> Result<(), String> {
        let (mut waiting, mut tiers, mut demands) = (0, BTreeMap::new(), BTreeMap::new());
        let mut open: BTreeMap<AccountId, BTreeSet<ClassId>> = BTreeMap::new();
        for (id, class) in &self.classes {
            let lens: u64 = class.waiters.values().map(Waiter::len).sum();
            if lens != class.waiting || self.active.contains(id) != (lens > 0) {
                return Err(format!("class {id:?} miscounts its {lens} waiting tasks"));
            }
            if lens > 0 {
                *tiers.entry(class.tier).or_default() += 1;
                *demands.entry(class.needs.resources).or_default() += 1;
            }
            let placed = class.waiters.values().filter_map(|waiter| waiter.place);
            if !placed.eq_by_order(&class.order) {
                return Err(format!("class {id:?} orders others than it has"));
            }
            for (account, waiter) in &class.waiters {
                if !waiter.is_sound() {
                    return Err(format!(
                        "class {id:?} miscounts the tasks of {}",
                        waiter.user
                    ));
                }
                let barred = self.barred.contains(account);
                let place = class.place_of(shares, *account).filter(|_| !barred);
                if place != waiter.place {
                    return Err(format!("class {id:?} has {} in an old place", waiter.user));
                }
                let known = self.of_account.get(account);
                let named = self.of_user.get(&waiter.user);
                if !known.is_some_and(|classes| classes.contains(id))
                    || !named.is_some_and(|accounts| accounts.contains(account))
                {
                    return Err(format!("{} is not known to wait in {id:?}", waiter.user));
                }
                if !barred {
                    open.entry(*account).or_default().insert(*id);
                }
            }
            waiting += lens;
        }
        if waiting != self.waiting || tiers != self.tiers {
            return Err(format!("{waiting} tasks wait, counted as {}", self.waiting));
        }
        if demands != self.demands {
            let known = &self.demands;
            return Err(format!("{demands:?} are asked for, counted as {known:?}"));
        }
        self.order.check(shares, &open)
    }
}

/// Counts one less.
fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// The tier of a class of tasks.
fn tier(shares: &Shares, needs: &Needs) -> i32 {
    let qos = needs.qos.as_ref();
    let qos = qos.and_then(|name| shares.policy().qos_named(name));
    qos.map_or(0, |qos| qos.tier)
}

/// Comparing places with the set that they stand in.
trait EqByOrder {
    fn eq_by_order(self, order: &BTreeSet<class::Place>) -> bool;
}

impl<I: Iterator<Item = class::Place>> EqByOrder for I {
    fn eq_by_order(self, order: &BTreeSet<class::Place>) -> bool {
        self.collect::<BTreeSet<_>>() == *order
    }
}
