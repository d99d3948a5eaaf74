//! What would follow from another policy for what waits and runs now.
//!
//! A [`Rehearsal`] is a copy of all that the order of service depends on: books, queue and what
//! runs. It is cheap to make (tasks wait in ranges) and works out the effects away from where
//! decisions are made. Time stands still in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_model::{GroupName, Policy, SiteName, TaskId, Timestamp, UserName};

use crate::bounds::{Bounds, Subject};
use crate::queue::{ClassId, Queue};
use crate::shares::{AccountId, Charge, Shares, Used};
use crate::state::State;

/// So many entries of each list are told; the others are counted.
const TOLD_MAX: usize = 50;

/// So many tasks that would be served next are told.
const NEXT_MAX: usize = 20;

/// Parts of everything that differ by less are the same.
const DUE_MIN: f64 = 1e-6;

/// A user in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Who.
    pub user: UserName,
    /// In which group.
    pub group: Option<GroupName>,
}

/// An account whose place in the order of service changes.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceChange {
    /// Whose.
    pub owner: Owner,
    /// Tasks in the queue.
    pub waiting: u64,
    /// Place from 1, among those of whom something may be started.
    pub before: Option<u32>,
    /// The same under the other policy.
    pub after: Option<u32>,
}

/// A share or an account whose due part of everything changes.
#[derive(Clone, Debug, PartialEq)]
pub struct DueChange {
    /// Its place in the tree of shares by names; under the other policy, if it is there then.
    pub path: String,
    /// What part of everything it is to get, 0 to 1; `None` if it is not in the tree.
    pub before: Option<f64>,
    /// The same under the other policy.
    pub after: Option<f64>,
}

/// An account of which bounds keep back more tasks, or fewer.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldChange {
    /// Whose tasks.
    pub owner: Owner,
    /// Tasks in the queue.
    pub waiting: u64,
    /// How many of them are kept back although there may be room.
    pub before: u64,
    /// The same under the other policy.
    pub after: u64,
    /// The bound that keeps most of them back; the present one if none does then.
    pub clause: &'static str,
    /// The values on both sides.
    pub because: String,
}

/// A task that would be served next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextTask {
    /// Which.
    pub task: TaskId,
    /// Whose.
    pub owner: Owner,
}

/// What would follow from another policy. Lists are cut; the numbers say what is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyEffects {
    /// Tasks in the queue.
    pub waiting: u64,
    /// By the place under the other policy; those without one last.
    pub places: Vec<PlaceChange>,
    /// How many more there are.
    pub places_left_out: usize,
    /// The largest differences first.
    pub dues: Vec<DueChange>,
    /// How many more there are.
    pub dues_left_out: usize,
    /// The largest differences first.
    pub held: Vec<HeldChange>,
    /// How many more there are.
    pub held_left_out: usize,
    /// The tasks that would be served next, as if each were given a core that can run anything.
    pub next_before: Vec<NextTask>,
    /// The same under the other policy.
    pub next_after: Vec<NextTask>,
}

/// A task with a live attempt.
#[derive(Clone, Debug)]
struct LiveTask {
    account: AccountId,
    class: ClassId,
    site: SiteName,
    cores: u32,
}

/// A copy of all that the order of service depends on.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    shares: Shares,
    queue: Queue,
    bounds: Bounds,
    live: Vec<LiveTask>,
}

/// What an account's tasks are kept back by.
#[derive(Clone, Debug, Default)]
struct Held {
    tasks: u64,
    /// The most that one bound keeps back.
    most: u64,
    clause: &'static str,
    because: String,
}

/// How things stand under one policy.
struct Scene {
    places: BTreeMap<AccountId, u32>,
    /// By path: accounts by their users' names, and what is above them.
    dues: BTreeMap<String, f64>,
    held: BTreeMap<AccountId, Held>,
    next: Vec<NextTask>,
}

impl State {
    /// A copy to rehearse with.
    pub fn rehearsal(&self) -> Rehearsal {
        let live = self.pilots.values().flat_map(|live| {
            let site = &live.pilot.ce.site;
            live.leases.iter().filter_map(move |lease| {
                Some(LiveTask {
                    account: lease.account,
                    class: self.jobs.get(&lease.task.job)?.class_of(lease.task.index),
                    site: site.clone(),
                    cores: lease.all.cores,
                })
            })
        });
        Rehearsal {
            live: live.collect(),
            shares: self.shares.clone(),
            queue: self.queue.clone(),
            bounds: self.bounds.clone(),
        }
    }

    /// What would follow from another policy, which was checked.
    pub fn what_if(&self, policy: &Policy, now: Timestamp) -> PolicyEffects {
        self.rehearsal().effects(policy, now)
    }
}

impl Rehearsal {
    /// What would follow from another policy, which was checked.
    pub fn effects(mut self, policy: &Policy, now: Timestamp) -> PolicyEffects {
        let before = self.scene(now);
        self.put_in_force(policy, now);
        let after = self.scene(now);
        let (places, places_left_out) = cut(self.places(&before, &after));
        let (dues, dues_left_out) = cut(dues(&before, &after));
        let (held, held_left_out) = cut(self.held_changes(&before, &after));
        PolicyEffects {
            waiting: self.queue.waiting(),
            places,
            places_left_out,
            dues,
            dues_left_out,
            held,
            held_left_out,
            next_before: before.next,
            next_after: after.next,
        }
    }

    /// As the state does it; a test holds the two against each other.
    fn put_in_force(&mut self, policy: &Policy, now: Timestamp) {
        if policy == self.shares.policy() {
            return;
        }
        self.shares.set_policy(policy.clone(), now);
        let running = self.live.iter().filter_map(|task| {
            let needs = &*self.queue.class(task.class)?.needs;
            Some((task.account, needs, &task.site, task.cores))
        });
        self.bounds = Bounds::counting(&self.shares, running);
        self.queue.rearrange(&self.shares);
        self.queue.note_overdue(now);
        self.bounds.note_spent(&self.shares);
        let accounts: Vec<AccountId> = self.shares.accounts().collect();
        for account in accounts {
            let barred = self.bounds.bars(&self.shares, account);
            self.queue.bar(&self.shares, account, barred);
        }
    }

    fn subject<'a>(&'a self, account: AccountId, class: &'a crate::queue::Class) -> Subject<'a> {
        Subject {
            shares: &self.shares,
            account,
            needs: &class.needs,
            site: None,
        }
    }

    fn scene(&self, now: Timestamp) -> Scene {
        let order = self.in_order(now);
        let mut places = BTreeMap::new();
        for (class, account) in &order {
            let Some(class) = self.queue.class(*class) else {
                continue;
            };
            if self.bounds.allow(self.subject(*account, class), now) {
                let place = u32::try_from(places.len() + 1).unwrap_or(u32::MAX);
                places.entry(*account).or_insert(place);
            }
        }
        let nodes = self.shares.all_nodes();
        let due = |id| (self.shares.path(id).to_string(), self.shares.due(id));
        Scene {
            places,
            dues: nodes.map(due).collect(),
            held: self.held(order, now),
            next: self.clone().next(now),
        }
    }

    /// Every account in every class, in the order of service of their first tasks.
    fn in_order(&self, now: Timestamp) -> Vec<(ClassId, AccountId)> {
        let mut order = Vec::new();
        self.queue.in_order(&self.shares, now, |class, account| {
            order.push((class, account))
        });
        order
    }

    /// What bounds keep back of each account, if what may start does so in the order of service.
    fn held(
        &self,
        mut order: Vec<(ClassId, AccountId)>,
        now: Timestamp,
    ) -> BTreeMap<AccountId, Held> {
        // Those of whom nothing may be started are not in the order.
        let open: BTreeSet<(ClassId, AccountId)> = order.iter().copied().collect();
        for (id, class) in self.queue.active() {
            let all = class.waiters().map(|(account, _)| (id, account));
            order.extend(all.filter(|place| !open.contains(place)));
        }
        let mut bounds = self.bounds.clone();
        let mut seen = BTreeSet::new();
        let mut held: BTreeMap<AccountId, Held> = BTreeMap::new();
        for (id, account) in order {
            let Some(class) = self.queue.class(id).filter(|_| seen.insert((id, account))) else {
                continue;
            };
            let waiting = class.waiting_of(account);
            let subject = self.subject(account, class);
            let (allowed, barrier) = if self.is_capped(account, &class.needs) {
                let because = "used more than a cap of the policy's targets lets them";
                (0, Some(("target", because.to_owned())))
            } else {
                let allowed = bounds.take(subject, waiting, now);
                (allowed, bounds.barrier(subject, now))
            };
            let Some((clause, because)) = barrier.filter(|_| allowed < waiting) else {
                continue;
            };
            let because = match allowed {
                0 => because,
                allowed => format!("once {allowed} more of them run, {because}"),
            };
            let kept = waiting - allowed;
            let sum = held.entry(account).or_default();
            sum.tasks += kept;
            if kept > sum.most {
                (sum.most, sum.clause, sum.because) = (kept, clause, because);
            }
        }
        held
    }

    fn is_capped(&self, account: AccountId, needs: &fairway_jdl::Needs) -> bool {
        self.shares.has_caps() && self.shares.priority(account, needs).is_none()
    }

    /// The tasks that are served next.
    fn next(mut self, now: Timestamp) -> Vec<NextTask> {
        let mut next = Vec::new();
        while next.len() < NEXT_MAX {
            let choice = self.queue.first(
                &self.shares,
                now,
                |_, _| true,
                |it| self.bounds.allow(self.subject(it.account, it.class), now),
            );
            let Some(choice) = choice else { break };
            let Some(class) = self.queue.class(choice.class) else {
                break;
            };
            let needs = Arc::clone(&class.needs);
            let (task, account) = (choice.task, choice.account);
            next.push(NextTask {
                task,
                owner: self.owner(account),
            });
            let row = [(task.index, task.index + 1)];
            self.queue
                .remove(&self.shares, choice.class, account, (task.job, &row));
            self.serve(account, &needs);
        }
        next
    }

    /// Counts one task more that is served.
    fn serve(&mut self, account: AccountId, needs: &Arc<fairway_jdl::Needs>) {
        let has = needs.resources.times(needs.hosts);
        self.shares.take_turn(account);
        self.shares.note_live(account, has, true);
        let subject = Subject {
            shares: &self.shares,
            account,
            needs,
            site: None,
        };
        self.bounds.note(subject, has.cores, true);
        self.shares.charge(Charge {
            account,
            needs,
            used: Used::tasks(1),
        });
        self.queue.rekey(&self.shares, account);
    }

    fn owner(&self, account: AccountId) -> Owner {
        let books = self.shares.books(account);
        Owner {
            user: books.user.clone(),
            group: books.group.clone(),
        }
    }

    fn places(&self, before: &Scene, after: &Scene) -> Vec<PlaceChange> {
        let all: BTreeSet<AccountId> = (before.places.keys())
            .chain(after.places.keys())
            .copied()
            .collect();
        let change = |account: AccountId| PlaceChange {
            owner: self.owner(account),
            waiting: self.queue.waiting_of(account),
            before: before.places.get(&account).copied(),
            after: after.places.get(&account).copied(),
        };
        let mut changes: Vec<PlaceChange> = all.into_iter().map(change).collect();
        changes.retain(|it| it.before != it.after);
        changes.sort_by_key(|it| (it.after.unwrap_or(u32::MAX), it.before));
        changes
    }

    fn held_changes(&self, before: &Scene, after: &Scene) -> Vec<HeldChange> {
        let all: BTreeSet<AccountId> = (before.held.keys())
            .chain(after.held.keys())
            .copied()
            .collect();
        let nothing = Held::default();
        let change = |account: AccountId| {
            let was = before.held.get(&account).unwrap_or(&nothing);
            let is = after.held.get(&account).unwrap_or(&nothing);
            let told = if is.tasks > 0 { is } else { was };
            HeldChange {
                owner: self.owner(account),
                waiting: self.queue.waiting_of(account),
                before: was.tasks,
                after: is.tasks,
                clause: told.clause,
                because: told.because.clone(),
            }
        };
        let mut changes: Vec<HeldChange> = all.into_iter().map(change).collect();
        changes.retain(|it| it.before != it.after);
        changes.sort_by_key(|it| std::cmp::Reverse(it.before.abs_diff(it.after)));
        changes
    }
}

fn dues(before: &Scene, after: &Scene) -> Vec<DueChange> {
    let paths: BTreeSet<&String> = before.dues.keys().chain(after.dues.keys()).collect();
    let change = |path: &String| DueChange {
        path: path.clone(),
        before: before.dues.get(path).copied(),
        after: after.dues.get(path).copied(),
    };
    let by = |it: &DueChange| (it.before.unwrap_or(0.0) - it.after.unwrap_or(0.0)).abs();
    let mut changes: Vec<DueChange> = paths.into_iter().map(change).collect();
    changes.retain(|it| by(it) > DUE_MIN || it.before.is_some() != it.after.is_some());
    changes.sort_by(|a, b| by(b).total_cmp(&by(a)));
    changes
}

fn cut<T>(mut list: Vec<T>) -> (Vec<T>, usize) {
    let more = list.len().saturating_sub(TOLD_MAX);
    list.truncate(TOLD_MAX);
    (list, more)
}
