//! Tasks that need the same, for the same group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_jdl::Needs;
use fairway_model::{GroupName, JobId, TaskId, Timestamp, UserName};

use super::{Candidate, ClassId};
use crate::ranges::Ranges;
use crate::shares::{AccountId, Arrangement, OfClass, Shares};

/// One account's place among the tasks of a class that go by task and not by account; the
/// smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// When the account's first task came into the queue, or since when it was not served; or its
    /// priority, the other way round.
    pub(super) rank: i64,
    pub(super) task: TaskId,
    pub(super) account: AccountId,
}

/// One account's waiting tasks in one class, in the order of submission, each with when it came
/// into the queue.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) user: UserName,
    jobs: BTreeMap<JobId, Ranges<Timestamp>>,
    len: u64,
    /// The first of them, and when it came into the queue.
    head: Option<(TaskId, Timestamp)>,
    /// When it was served last, if since it began to wait.
    pub(super) served_at: Option<Timestamp>,
    /// `None` if nothing of the account is to be started.
    pub(super) place: Option<Place>,
}

impl Waiter {
    /// Since when it waits to be served: since its first task came into the queue, at `since`, or
    /// since it was served last. Where tasks go by arrival, who was served waits on with the next.
    fn waits_since(&self, shares: &Shares, since: Timestamp) -> Timestamp {
        // Who is served does not starve, however old the rest of their work is.
        let served_at = self.served_at;
        let served_at = served_at.filter(|_| shares.arrangement() == Arrangement::Tree);
        served_at.map_or(since, |at| at.max(since))
    }

    /// One of whom nothing waits yet.
    pub(super) fn new(user: UserName) -> Self {
        Self {
            user,
            jobs: BTreeMap::new(),
            len: 0,
            head: None,
            served_at: None,
            place: None,
        }
    }

    /// The first task, and when it came into the queue.
    pub(super) fn head(&self) -> Option<(TaskId, Timestamp)> {
        self.head
    }

    /// How many tasks wait.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds tasks of a job, which came into the queue at `since`: rows in order, each the first and
    /// one past the last.
    pub(super) fn add(&mut self, job: JobId, rows: &[(u32, u32)], since: Timestamp) {
        self.jobs.entry(job).or_default().extend(rows, since);
        self.len += count(rows);
        self.head = self.first();
    }

    /// Takes tasks of a job away, which all wait.
    pub(super) fn take(&mut self, job: JobId, rows: &[(u32, u32)]) {
        let Some(ranges) = self.jobs.get_mut(&job) else {
            return;
        };
        let len = count(rows);
        if rows.len() > 1 && ranges.count_below(u32::MAX) == len {
            // Much faster than one by one.
            *ranges = Ranges::default();
        }
        for &(from, to) in rows {
            for (from, to, _) in ranges.within(from, to) {
                ranges.take(from, to);
            }
        }
        if ranges.is_empty() {
            self.jobs.remove(&job);
        }
        self.len -= len;
        self.head = self.first();
    }

    fn first(&self) -> Option<(TaskId, Timestamp)> {
        let (&job, ranges) = self.jobs.first_key_value()?;
        let (from, _, since) = ranges.iter().next()?;
        Some((TaskId::new(job, from), since))
    }

    /// Whether what is kept twice is the same.
    pub(super) fn is_sound(&self) -> bool {
        let lens = self.jobs.values().map(|it| it.count_below(u32::MAX));
        self.len > 0 && self.len == lens.sum::<u64>() && self.head == self.first()
    }
}

/// How many tasks these rows are.
pub(super) fn count(rows: &[(u32, u32)]) -> u64 {
    rows.iter().map(|(from, to)| u64::from(to - from)).sum()
}

/// Tasks that need the same, for the same group.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// What they need.
    pub(crate) needs: Arc<Needs>,
    /// The group that they are submitted for.
    pub(crate) group: Option<GroupName>,
    /// That of their quality of service.
    pub(super) tier: i32,
    /// Tasks of live jobs in this class, whatever their state; the class goes with the last.
    pub(super) members: u64,
    pub(super) waiting: u64,
    pub(super) waiters: BTreeMap<AccountId, Waiter>,
    pub(super) order: BTreeSet<Place>,
    /// Its place in tables of classes with waiting tasks, while it has some.
    pub(super) slot: usize,
}

impl Class {
    /// How many of its tasks wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The accounts with waiting tasks.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = (AccountId, &Waiter)> {
        self.waiters.iter().map(|(&id, waiter)| (id, waiter))
    }

    /// How many tasks of an account wait.
    pub(crate) fn waiting_of(&self, account: AccountId) -> u64 {
        self.waiters.get(&account).map_or(0, |waiter| waiter.len)
    }

    /// How many tasks of an account come before `task`.
    pub(crate) fn ahead_of(&self, account: AccountId, task: TaskId) -> u64 {
        let Some(queue) = self.waiters.get(&account) else {
            return 0;
        };
        let whole: u64 = queue
            .jobs
            .range(..task.job)
            .map(|(_, ranges)| ranges.count_below(u32::MAX))
            .sum();
        let own = queue.jobs.get(&task.job);
        whole + own.map_or(0, |ranges| ranges.count_below(task.index))
    }

    /// See [`Waiter::waits_since`].
    pub(crate) fn waits_since(&self, shares: &Shares, account: AccountId) -> Option<Timestamp> {
        let waiter = self.waiters.get(&account)?;
        let (_, since) = waiter.head()?;
        Some(waiter.waits_since(shares, since))
    }

    /// When a task that waits came into the queue.
    pub(crate) fn since_of(&self, account: AccountId, task: TaskId) -> Option<Timestamp> {
        let ranges = self.waiters.get(&account)?.jobs.get(&task.job)?;
        ranges.get(task.index).map(|(_, _, since)| since)
    }

    /// That of its quality of service.
    pub(crate) fn tier(&self) -> i32 {
        self.tier
    }

    /// The first tasks of an account that wait, at most `most`, each with when it came into the
    /// queue.
    pub(crate) fn first_of(&self, account: AccountId, most: usize) -> Vec<(TaskId, Timestamp)> {
        let jobs = self.waiters.get(&account).into_iter();
        let stretches = jobs
            .flat_map(|waiter| &waiter.jobs)
            .flat_map(|(job, ranges)| {
                let ranges = ranges.iter();
                ranges.map(|(from, to, since)| (*job, from, to, since))
            });
        stretches
            .flat_map(|(job, from, to, since)| {
                (from..to).map(move |index| (TaskId::new(job, index), since))
            })
            .take(most)
            .collect()
    }

    /// An account that waits, as a candidate to be served.
    pub(crate) fn candidate(&self, id: ClassId, account: AccountId) -> Option<Candidate<'_>> {
        let waiter = self.waiters.get(&account)?;
        Some(Candidate {
            id,
            class: self,
            account,
            user: &waiter.user,
        })
    }

    /// Whether any account that waits may be served.
    pub(crate) fn may_any(&self, id: ClassId, may: impl Fn(&Candidate<'_>) -> bool) -> bool {
        let mut accounts = self.order.iter().map(|place| place.account);
        accounts.any(|account| self.candidate(id, account).is_some_and(|it| may(&it)))
    }

    /// Finds the place of an account anew; `barred` if nothing of it is to be started.
    pub(super) fn place(&mut self, shares: &Shares, account: AccountId, barred: bool) {
        let place = self.place_of(shares, account).filter(|_| !barred);
        let Some(waiter) = self.waiters.get_mut(&account) else {
            return;
        };
        if waiter.place == place {
            return;
        }
        if let Some(before) = waiter.place {
            self.order.remove(&before);
        }
        waiter.place = place;
        self.order.extend(place);
    }

    /// Finds the places of all anew, save those of whom nothing is to be started.
    pub(super) fn place_all(&mut self, shares: &Shares, barred: &BTreeSet<AccountId>) {
        let of_class = self.of_class(shares);
        let mut moved = Vec::new();
        for (&account, waiter) in &mut self.waiters {
            let open = !barred.contains(&account);
            let place = place_of(shares, of_class.as_ref(), account, waiter).filter(|_| open);
            if place != waiter.place {
                moved.push((std::mem::replace(&mut waiter.place, place), place));
            }
        }
        if moved.len() > self.waiters.len() / 8 {
            // Much faster than one by one.
            let places = self.waiters.values().filter_map(|waiter| waiter.place);
            self.order = places.collect();
            return;
        }
        for before in moved.iter().filter_map(|(before, _)| before.as_ref()) {
            self.order.remove(before);
        }
        self.order
            .extend(moved.into_iter().filter_map(|(_, after)| after));
    }

    /// Where an account is to stand.
    pub(super) fn place_of(&self, shares: &Shares, account: AccountId) -> Option<Place> {
        let waiter = self.waiters.get(&account)?;
        place_of(shares, self.of_class(shares).as_ref(), account, waiter)
    }

    /// What is the same for all of its tasks, where they go by their priorities.
    fn of_class(&self, shares: &Shares) -> Option<OfClass> {
        let by_priority = shares.arrangement() == Arrangement::Priority;
        by_priority.then(|| shares.priority_of_class(&self.needs))
    }
}

/// Where an account is to stand; `of_class` where tasks go by their priorities.
fn place_of(
    shares: &Shares,
    of_class: Option<&OfClass>,
    account: AccountId,
    waiter: &Waiter,
) -> Option<Place> {
    let (task, since) = waiter.head()?;
    let rank = match of_class {
        None => waiter.waits_since(shares, since).0,
        Some(of_class) => {
            let fixed = shares.priority_in(account, of_class)?;
            // What it was at the epoch: the same for all that grow as fast.
            let then = fixed - of_class.per_ms * since.0 as f64;
            ordered(-then)
        }
    };
    Some(Place {
        rank,
        task,
        account,
    })
}

/// Floats as integers in the same order.
fn ordered(number: f64) -> i64 {
    let bits = (number + 0.0).to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// The float that [`ordered`] made the integer of.
pub(super) fn number(ordered: i64) -> f64 {
    let bits = if ordered < 0 {
        ordered ^ i64::MAX
    } else {
        ordered
    };
    f64::from_bits(bits.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_in_the_order_of_the_floats() {
        let floats = [-1e300, -2.5, -1e-300, 0.0, 1e-300, 2.5, 1e300];
        let integers: Vec<i64> = floats.iter().map(|float| ordered(*float)).collect();
        assert!(integers.is_sorted(), "{integers:?}");
        assert_eq!(ordered(-0.0), ordered(0.0));
        for float in floats {
            assert_eq!(number(ordered(float)).to_bits(), float.to_bits());
        }
    }
}
