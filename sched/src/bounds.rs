//! Limits, budgets and pauses: what keeps tasks from being started although there is room.
//!
//! A limit counts what has a live attempt in its scope, for each user or group separately where
//! it says so. What is exceeded is never made worse, and never stopped for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_jdl::Needs;
use fairway_model::policy::{Budget, BudgetPeriod, Limit, Pause, Scope, Who};
use fairway_model::{Policy, SiteName, Timestamp, UserName};

use crate::shares::{AccountId, Shares};

/// A core-hour, in core-milliseconds.
const CORE_HOUR_MS: f64 = 3_600_000.0;

/// What a bound is held against: an account's tasks that need this, at a site if they are given
/// to a pilot.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) shares: &'a Shares,
    pub(crate) account: AccountId,
    pub(crate) needs: &'a Needs,
    pub(crate) site: Option<&'a SiteName>,
}

/// Whose count it is, where each is counted separately: a user, a group.
type Key = (Option<UserName>, Option<Arc<str>>);

/// How many tasks, and the cores of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    tasks: u64,
    cores: u64,
}

impl Amount {
    /// Of so many tasks that need this: the cores that they ask for.
    pub(crate) fn of(needs: &Needs, tasks: u64) -> Self {
        let each = u64::from(needs.resources.cores) * u64::from(needs.hosts);
        Self {
            tasks,
            cores: tasks.saturating_mul(each),
        }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            tasks: self.tasks.saturating_add(other.tasks),
            cores: self.cores.saturating_add(other.cores),
        }
    }
}

/// A limit with its counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted {
    limit: Limit,
    scope: Scope,
    running: BTreeMap<Key, Amount>,
}

/// All bounds of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    limits: Vec<Counted>,
    budgets: Vec<(Budget, Scope)>,
    pauses: Vec<(Pause, Scope)>,
    /// Those of the budgets that are used up, by place; looked up now and then.
    exhausted: BTreeSet<(usize, Key)>,
}

/// Why nothing is started: which bound, and the values on both sides.
pub(crate) type Barrier = (&'static str, String);

impl Subject<'_> {
    /// Whose count of a scope this is; `None` if it is not in it.
    fn key(&self, scope: &Scope) -> Option<Key> {
        let named = |asked: &Option<String>, name: Option<&Arc<str>>| {
            let Some(asked) = asked else { return true };
            name.is_some_and(|name| **name == **asked)
        };
        let tagged = scope.tag.as_ref().is_none_or(|tag| {
            let mut tags = self.needs.tags.iter();
            tags.any(|own| own.eq_ignore_ascii_case(tag))
        });
        let fits = tagged
            && named(&scope.qos, self.needs.qos.as_ref())
            && named(&scope.queue, self.needs.queue.as_ref());
        fits.then(|| owner_key(self.shares, self.account, scope))?
    }
}

/// Whose count of a scope an account's usage is, as far as its user and group tell.
fn owner_key(shares: &Shares, account: AccountId, scope: &Scope) -> Option<Key> {
    let books = shares.books(account);
    let user = match &scope.user {
        None => None,
        Some(Who::Each) => Some(books.user.clone()),
        Some(Who::One(name)) if name == books.user.as_str() => None,
        Some(Who::One(_)) => return None,
    };
    let group = match &scope.group {
        None => None,
        Some(Who::Each) => Some(books.group.as_ref()?.as_str().into()),
        Some(Who::One(name)) if shares.is_in(account, name) => None,
        Some(Who::One(_)) => return None,
    };
    Some((user, group))
}

impl Bounds {
    /// The bounds of a policy, with nothing running.
    pub(crate) fn new(policy: &Policy) -> Self {
        let limit = |limit: &Limit| Counted {
            scope: limit.scope(),
            limit: limit.clone(),
            running: BTreeMap::new(),
        };
        Self {
            limits: policy.limits.iter().map(limit).collect(),
            budgets: (policy.budgets.iter())
                .map(|budget| (budget.clone(), budget.scope()))
                .collect(),
            pauses: (policy.paused.iter())
                .map(|pause| (pause.clone(), pause.scope()))
                .collect(),
            exhausted: BTreeSet::new(),
        }
    }

    /// The bounds of the policy in force, with what runs: whose, what it needs, where, and its
    /// cores.
    pub(crate) fn counting<'a>(
        shares: &'a Shares,
        running: impl Iterator<Item = (AccountId, &'a Needs, &'a SiteName, u32)>,
    ) -> Self {
        let mut bounds = Self::new(shares.policy());
        if bounds.limits.is_empty() {
            return bounds;
        }
        for (account, needs, site, cores) in running {
            let subject = Subject {
                shares,
                account,
                needs,
                site: Some(site),
            };
            bounds.note(subject, cores, true);
        }
        bounds
    }

    /// Whether there are any that can keep a task from being started.
    pub(crate) fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.budgets.is_empty() && self.pauses.is_empty()
    }

    /// Notes that a task with so many cores was given to a pilot, or came back.
    pub(crate) fn note(&mut self, subject: Subject<'_>, cores: u32, begins: bool) {
        for counted in &mut self.limits {
            if counted.limit.site.is_some() && counted.limit.site.as_ref() != subject.site {
                continue;
            }
            let Some(key) = subject.key(&counted.scope) else {
                continue;
            };
            let running = counted.running.entry(key.clone()).or_default();
            if begins {
                running.tasks += 1;
                running.cores += u64::from(cores);
                continue;
            }
            debug_assert!(running.tasks > 0);
            running.tasks = running.tasks.saturating_sub(1);
            running.cores = running.cores.saturating_sub(u64::from(cores));
            if *running == Amount::default() {
                counted.running.remove(&key);
            }
        }
    }

    /// What keeps one more of these tasks from being started, the first of several.
    pub(crate) fn barrier(&self, subject: Subject<'_>, now: Timestamp) -> Option<Barrier> {
        self.pause(subject, now)
            .or_else(|| self.budget(subject))
            .or_else(|| self.limit(subject))
    }

    /// Whether one more of these tasks may be started.
    pub(crate) fn allow(&self, subject: Subject<'_>, now: Timestamp) -> bool {
        self.is_empty() || self.barrier(subject, now).is_none()
    }

    fn pause(&self, subject: Subject<'_>, now: Timestamp) -> Option<Barrier> {
        let in_force = |pause: &Pause| pause.until.is_none_or(|until| now < until);
        let (pause, scope) = (self.pauses.iter())
            .find(|(pause, scope)| in_force(pause) && subject.key(scope).is_some())?;
        let until = pause
            .until
            .map_or(String::new(), |at| format!(" until {at}"));
        let why = match pause.why.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        let because = format!("{} been paused{until}{why}", told(scope, &(None, None)));
        Some(("paused", because))
    }

    fn budget(&self, subject: Subject<'_>) -> Option<Barrier> {
        let mut all = self.budgets.iter().enumerate();
        all.find_map(|(place, (budget, scope))| {
            let key = subject.key(scope)?;
            let whose = told(scope, &key);
            self.exhausted.contains(&(place, key)).then(|| {
                let (every, again) = match budget.every {
                    BudgetPeriod::Day => (" a day", ", there are more at midnight UTC"),
                    BudgetPeriod::Total => ("", ""),
                };
                let hours = budget.core_hours;
                let because = format!("{whose} used up {hours} core-hours{every}{again}");
                ("budget", because)
            })
        })
    }

    fn limit(&self, subject: Subject<'_>) -> Option<Barrier> {
        self.limits.iter().find_map(|counted| {
            let limit = &counted.limit;
            if limit.site.is_some() && limit.site.as_ref() != subject.site {
                return None;
            }
            let maxima = (limit.running_tasks_max, limit.running_cores_max);
            if maxima == (None, None) {
                return None;
            }
            let key = subject.key(&counted.scope)?;
            let running = counted.running.get(&key).copied().unwrap_or_default();
            let whose = || {
                let at = limit.site.as_ref();
                let at = at.map_or(String::new(), |site| format!(" at {site}"));
                told(&counted.scope, &key) + &at
            };
            if let Some(max) = limit.running_tasks_max.filter(|max| running.tasks >= *max) {
                let because = format!("{} {} of {max} tasks running", whose(), running.tasks);
                return Some(("running_tasks_max", because));
            }
            let asked = u64::from(subject.needs.cores_all());
            let max = limit.running_cores_max?;
            (running.cores.saturating_add(asked) > max).then(|| {
                let cores = running.cores;
                let because = format!(
                    "{} {cores} of {max} cores running, needed {asked} more",
                    whose()
                );
                ("running_cores_max", because)
            })
        })
    }

    /// How many cores a task may be given by the limits on running ones; `None`: any number.
    pub(crate) fn cores_left(&self, subject: Subject<'_>) -> Option<u64> {
        let left = self.limits.iter().filter_map(|counted| {
            let limit = &counted.limit;
            if limit.site.is_some() && limit.site.as_ref() != subject.site {
                return None;
            }
            let key = subject.key(&counted.scope)?;
            let running = counted.running.get(&key).copied().unwrap_or_default();
            Some(limit.running_cores_max?.saturating_sub(running.cores))
        });
        left.min()
    }

    /// How many more of these tasks may be started, at most `tasks`; they are counted as if they
    /// were. For plans.
    pub(crate) fn take(&mut self, subject: Subject<'_>, tasks: u64, now: Timestamp) -> u64 {
        if self.pause(subject, now).is_some() || self.budget(subject).is_some() {
            return 0;
        }
        let cores = u64::from(subject.needs.cores_all());
        let mut allowed = tasks;
        // What is bounded at a site is so only there: it may go elsewhere.
        let here = |counted: &&mut Counted| counted.limit.site.is_none();
        let mut keys = Vec::new();
        for counted in self.limits.iter_mut().filter(here) {
            let Some(key) = subject.key(&counted.scope) else {
                keys.push(None);
                continue;
            };
            let running = counted.running.get(&key).copied().unwrap_or_default();
            if let Some(max) = counted.limit.running_tasks_max {
                allowed = allowed.min(max.saturating_sub(running.tasks));
            }
            if let Some(max) = counted.limit.running_cores_max {
                let left = max.saturating_sub(running.cores);
                allowed = allowed.min(left.checked_div(cores).unwrap_or(allowed));
            }
            keys.push(Some(key));
        }
        for (counted, key) in self.limits.iter_mut().filter(here).zip(keys) {
            let Some(key) = key else { continue };
            let running = counted.running.entry(key).or_default();
            running.tasks = running.tasks.saturating_add(allowed);
            running.cores = running.cores.saturating_add(allowed.saturating_mul(cores));
        }
        allowed
    }

    /// Whether nothing of an account may be started, whatever it needs. Only what is counted for
    /// one user is looked at, since it changes for one account at a time.
    pub(crate) fn bars(&self, shares: &Shares, account: AccountId) -> bool {
        let books = shares.books(account);
        let whole = |scope: &Scope| {
            scope.qos.is_none()
                && scope.tag.is_none()
                && scope.queue.is_none()
                && scope.group.is_none()
        };
        self.limits.iter().any(|counted| {
            let key = match &counted.scope.user {
                Some(Who::Each) => (Some(books.user.clone()), None),
                Some(Who::One(name)) if name == books.user.as_str() => (None, None),
                _ => return false,
            };
            let running = counted.running.get(&key).copied().unwrap_or_default();
            let full = |max: Option<u64>, is: u64| max.is_some_and(|max| is >= max);
            whole(&counted.scope)
                && counted.limit.site.is_none()
                && (full(counted.limit.running_tasks_max, running.tasks)
                    || full(counted.limit.running_cores_max, running.cores))
        })
    }

    /// Whether there are limits.
    pub(crate) fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Whether bounds of single users are there, so that [`bars`](Self::bars) may say yes.
    pub(crate) fn has_user_limits(&self) -> bool {
        self.limits
            .iter()
            .any(|counted| counted.scope.user.is_some())
    }

    /// Looks up which budgets are used up. True if that has changed.
    pub(crate) fn note_spent(&mut self, shares: &Shares) -> bool {
        if self.budgets.is_empty() {
            return false;
        }
        let mut exhausted = BTreeSet::new();
        for (place, (budget, scope)) in self.budgets.iter().enumerate() {
            let mut spent: BTreeMap<Key, u64> = BTreeMap::new();
            for account in shares.accounts() {
                let Some(key) = owner_key(shares, account, scope) else {
                    continue;
                };
                let (today_ms, total_ms) = shares.spent(account);
                *spent.entry(key).or_default() += match budget.every {
                    BudgetPeriod::Day => today_ms,
                    BudgetPeriod::Total => total_ms,
                };
            }
            let over = spent
                .into_iter()
                .filter(|(_, ms)| *ms as f64 >= budget.core_hours * CORE_HOUR_MS);
            exhausted.extend(over.map(|(key, _)| (place, key)));
        }
        let changed = exhausted != self.exhausted;
        self.exhausted = exhausted;
        changed
    }

    /// Why a job with these tasks is refused: more would wait than may. `waiting` tells what
    /// waits in a scope already, for the same user or group where these are counted
    /// separately; `tasks` are the needs of the new ones and how many need that.
    ///
    /// # Errors
    /// A sentence with the values on both sides.
    pub(crate) fn admit(
        &self,
        shares: &Shares,
        account: AccountId,
        tasks: &[(Arc<Needs>, u32)],
        waiting: impl Fn(&dyn Fn(Subject<'_>) -> bool) -> Amount,
    ) -> Result<(), String> {
        for counted in &self.limits {
            if !counted.limit.bounds_waiting() {
                continue;
            }
            let subject = |needs| Subject {
                shares,
                account,
                needs,
                site: None,
            };
            let mine = tasks.iter().filter_map(|(needs, n)| {
                let key = subject(needs.as_ref()).key(&counted.scope)?;
                Some((key, Amount::of(needs, u64::from(*n))))
            });
            let (mut key, mut new) = (None, Amount::default());
            for (own, amount) in mine {
                key = Some(own);
                new = new.plus(amount);
            }
            let Some(key) = key else { continue };
            let same = |other: Subject<'_>| other.key(&counted.scope).as_ref() == Some(&key);
            let before = waiting(&same);
            let maxima = [
                (
                    counted.limit.waiting_tasks_max,
                    before.tasks,
                    new.tasks,
                    "tasks waiting",
                ),
                (
                    counted.limit.waiting_cores_max,
                    before.cores,
                    new.cores,
                    "cores asked for by waiting tasks",
                ),
            ];
            for (max, before, new, what) in maxima {
                if let Some(max) = max.filter(|max| before.saturating_add(new) > *max) {
                    let whose = told(&counted.scope, &key);
                    return Err(format!(
                        "{whose} {before} {what}, and may have {max}: {new} more are too many"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Compares the counts with those of `again`, which was made anew from what runs.
    pub(crate) fn check(&self, again: &Self) -> Result<(), String> {
        let same = self.limits == again.limits;
        same.then_some(()).ok_or_else(|| {
            format!(
                "{:?} are counted, there are {:?}",
                self.limits, again.limits
            )
        })
    }
}

/// Whose count it is, as the beginning of a sentence: `user alice has`, `all tasks of tag x have`.
fn told(scope: &Scope, (user, group): &Key) -> String {
    let mut parts = Vec::new();
    let name = |who: &Option<Who>, each: Option<&str>| match (who, each) {
        (Some(Who::One(name)), _) => Some(name.clone()),
        (Some(Who::Each), Some(name)) => Some(name.to_owned()),
        _ => None,
    };
    if let Some(user) = name(&scope.user, user.as_ref().map(UserName::as_str)) {
        parts.push(format!("user {user}"));
    }
    if let Some(group) = name(&scope.group, group.as_deref()) {
        parts.push(format!("group {group}"));
    }
    for (what, name) in [
        ("QoS", &scope.qos),
        ("tag", &scope.tag),
        ("queue", &scope.queue),
    ] {
        if let Some(name) = name {
            parts.push(format!("{what} {name}"));
        }
    }
    match parts.is_empty() {
        true => "the platform has".to_owned(),
        false => format!("{} has", parts.join(" with ")),
    }
}
