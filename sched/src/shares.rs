//! What each user has used, and what follows for the order of service.
//!
//! The mission's formula: `FS_j = Σ (i = 0 .. max_depth-1) decay_rate^i · N(j,i)`, where
//! `N(j,i)` is what user `j` executed in interval `i`, 0 being the current one. Intervals
//! begin at multiples of their duration since the epoch, so they are the same after a
//! restart. The smallest FS is served first; equal users in turn.

use std::collections::BTreeMap;

use fairway_model::{FairshareSettings, Metric, Policy, PolicyKind, Timestamp, UserName};

use crate::command::Change;

/// So many intervals are remembered: as many as the policy may ever ask for.
const INTERVALS_MAX: i64 = 1000;

/// What stands before a user's name in the order of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// By the arrival of the first task.
    Arrival,
    /// By when the user was served last.
    Turn(u64),
    /// By FS (as ordered bits), then by when the user was served last.
    Share(u64, u64),
}

impl Standing {
    /// Whether a user's first task decides.
    pub(crate) const fn by_arrival(self) -> bool {
        matches!(self, Self::Arrival)
    }
}

/// Usage in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Payloads given to pilots.
    pub tasks_started: u64,
    /// Core-milliseconds of running payloads.
    pub core_ms: u64,
}

/// One user's books.
#[derive(Clone, Debug, Default)]
struct Account {
    /// By the beginning of the interval.
    intervals: BTreeMap<Timestamp, Used>,
    fs: f64,
    /// Number of the last service; larger is later, 0 is never.
    turn: u64,
    /// Tasks with a live attempt.
    live: u64,
}

/// All users' books.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    policy: Policy,
    /// Beginning of the current interval.
    current: Timestamp,
    accounts: BTreeMap<UserName, Account>,
    turns: u64,
}

/// The beginning of the interval that `at` is in.
fn begin_of(settings: &FairshareSettings, at: Timestamp) -> Timestamp {
    let length = length_ms(settings);
    Timestamp(at.0.div_euclid(length) * length)
}

fn length_ms(settings: &FairshareSettings) -> i64 {
    i64::try_from(settings.duration_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000)
        .max(1)
}

impl Shares {
    /// Empty books under `policy`.
    pub(crate) fn new(policy: Policy, now: Timestamp) -> Self {
        Self {
            current: begin_of(&policy.fairshare, now),
            policy,
            accounts: BTreeMap::new(),
            turns: 0,
        }
    }

    /// Enters usage that was counted before a restart.
    pub(crate) fn restore(&mut self, user: UserName, begin: Timestamp, used: Used) {
        let account = self.accounts.entry(user).or_default();
        account.intervals.insert(begin, used);
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Puts another policy in force. All standings may have changed.
    pub(crate) fn set_policy(&mut self, policy: Policy, now: Timestamp) {
        self.current = begin_of(&policy.fairshare, now);
        self.policy = policy;
        self.recount();
    }

    /// Begins a new interval if it is time; true if it was, and all standings may have changed.
    /// A clock that goes backwards does not bring an old interval back.
    pub(crate) fn rotate(&mut self, now: Timestamp) -> bool {
        let begin = begin_of(&self.policy.fairshare, now);
        if begin <= self.current {
            return false;
        }
        self.current = begin;
        self.recount();
        true
    }

    /// Forgets intervals that no policy can ask for, and computes every FS anew.
    pub(crate) fn recount(&mut self) {
        let settings = self.policy.fairshare;
        let reach = length_ms(&settings).saturating_mul(INTERVALS_MAX);
        let oldest = Timestamp(self.current.0.saturating_sub(reach));
        for account in self.accounts.values_mut() {
            account.intervals = account.intervals.split_off(&oldest);
            account.fs = fs(
                &settings,
                self.policy.usage.metric,
                self.current,
                &account.intervals,
            );
        }
        self.accounts
            .retain(|_, account| !account.intervals.is_empty() || account.live > 0);
    }

    /// Charges `user` in the current interval. The row to make durable comes back.
    pub(crate) fn charge(&mut self, user: &UserName, used: Used) -> Change {
        let settings = self.policy.fairshare;
        let account = self.accounts.entry(user.clone()).or_default();
        let sum = account.intervals.entry(self.current).or_default();
        sum.tasks_started = sum.tasks_started.saturating_add(used.tasks_started);
        sum.core_ms = sum.core_ms.saturating_add(used.core_ms);
        let sum = *sum;
        account.fs = fs(
            &settings,
            self.policy.usage.metric,
            self.current,
            &account.intervals,
        );
        Change::Share {
            user: user.clone(),
            interval: self.current,
            tasks_started: sum.tasks_started,
            core_ms: sum.core_ms,
        }
    }

    /// Notes that `user` was served just now.
    pub(crate) fn take_turn(&mut self, user: &UserName) {
        self.turns += 1;
        self.accounts.entry(user.clone()).or_default().turn = self.turns;
    }

    /// Notes that `user` has a live attempt more.
    pub(crate) fn live_begins(&mut self, user: &UserName) {
        self.accounts.entry(user.clone()).or_default().live += 1;
    }

    /// Notes that `user` has a live attempt less.
    pub(crate) fn live_ends(&mut self, user: &UserName) {
        let account = self.accounts.entry(user.clone()).or_default();
        debug_assert!(account.live > 0);
        account.live = account.live.saturating_sub(1);
    }

    /// What stands before the user's name in the order of service.
    pub(crate) fn standing(&self, user: &UserName) -> Standing {
        let account = self.accounts.get(user);
        let turn = account.map_or(0, |account| account.turn);
        match self.policy.kind {
            PolicyKind::Fifo => Standing::Arrival,
            PolicyKind::RoundRobin | PolicyKind::RoundRobinGroups => Standing::Turn(turn),
            // The bits of floats that are not negative are in the order of the floats.
            _ => Standing::Share(self.fs(user).to_bits(), turn),
        }
    }

    /// The user's FS.
    pub(crate) fn fs(&self, user: &UserName) -> f64 {
        self.accounts.get(user).map_or(0.0, |account| account.fs)
    }

    /// How many of the user's tasks have a live attempt.
    pub(crate) fn live(&self, user: &UserName) -> u64 {
        self.accounts.get(user).map_or(0, |account| account.live)
    }

    /// Everybody with books.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserName> {
        self.accounts.keys()
    }

    /// When the current interval began.
    pub(crate) fn current(&self) -> Timestamp {
        self.current
    }

    /// The intervals that count for the user, the current one first: beginning, usage and weight.
    pub(crate) fn intervals(&self, user: &UserName) -> Vec<(Timestamp, Used, f64)> {
        let settings = self.policy.fairshare;
        let empty = BTreeMap::new();
        let intervals = self
            .accounts
            .get(user)
            .map_or(&empty, |account| &account.intervals);
        counted(&settings, self.current, intervals)
            .map(|(begin, used, age)| (begin, used, weight(&settings, age)))
            .collect()
    }

    /// Compares every FS with the formula, and live attempts with `live`.
    pub(crate) fn check(&self, live: &BTreeMap<UserName, u64>) -> Result<(), String> {
        for (user, account) in &self.accounts {
            let fs = fs(
                &self.policy.fairshare,
                self.policy.usage.metric,
                self.current,
                &account.intervals,
            );
            if fs.to_bits() != account.fs.to_bits() {
                return Err(format!("FS of {user} is {fs}, kept as {}", account.fs));
            }
            let live = live.get(user).copied().unwrap_or(0);
            if live != account.live {
                return Err(format!(
                    "{user} has {live} live attempts, counted as {}",
                    account.live
                ));
            }
        }
        Ok(())
    }
}

/// `decay_rate^age`.
fn weight(settings: &FairshareSettings, age: u32) -> f64 {
    // Multiplied out: the same on every machine, which `powi` does not promise.
    (0..age).fold(1.0, |product, _| product * settings.decay_rate)
}

/// The intervals that count, the current one first, with their age in intervals. After a
/// change of the duration an old interval counts as the one that it began in.
fn counted(
    settings: &FairshareSettings,
    current: Timestamp,
    intervals: &BTreeMap<Timestamp, Used>,
) -> impl Iterator<Item = (Timestamp, Used, u32)> {
    let (settings, length) = (*settings, length_ms(settings));
    intervals.iter().rev().map_while(move |(&begin, &used)| {
        let behind = current
            .0
            .saturating_sub(begin_of(&settings, begin).0)
            .max(0);
        let age = u32::try_from(behind / length).ok()?;
        (age < settings.max_depth).then_some((begin, used, age))
    })
}

fn fs(
    settings: &FairshareSettings,
    metric: Metric,
    current: Timestamp,
    intervals: &BTreeMap<Timestamp, Used>,
) -> f64 {
    counted(settings, current, intervals)
        .map(|(_, used, age)| {
            let executed = match metric {
                Metric::TasksStarted => used.tasks_started as f64,
                _ => used.core_ms as f64 / 1000.0,
            };
            weight(settings, age) * executed
        })
        // Not `sum`, which begins at -0.0: its bits would come after all others.
        .fold(0.0, |sum, term| sum + term)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    fn tasks(n: u64) -> Used {
        Used {
            tasks_started: n,
            core_ms: 0,
        }
    }

    /// The mission's setting: Duration 1 h, Max_depth 5, Decay_rate 0.85.
    #[test]
    fn the_formula_worked_by_hand() {
        let mut shares = Shares::new(Policy::default(), Timestamp(0));
        // Alice: 10 in each of the hours 0 to 5. Bob: 40 in hour 0 only, 8 in hour 5.
        for hour in 0..=5 {
            shares.rotate(Timestamp(hour * HOUR_MS + 1));
            shares.charge(&name("alice"), tasks(10));
            if hour == 0 {
                shares.charge(&name("bob"), tasks(40));
            }
        }
        shares.charge(&name("bob"), tasks(8));
        // Hour 5 is interval 0, hour 0 would be interval 5 and does not count any more:
        // alice 10 * (1 + 0.85 + 0.7225 + 0.614125 + 0.52200625) = 37.0863125, bob 8.
        assert!((shares.fs(&name("alice")) - 37.086_312_5).abs() < 1e-12);
        assert!((shares.fs(&name("bob")) - 8.0).abs() < 1e-12);
        assert!(shares.standing(&name("bob")) < shares.standing(&name("alice")));
        // One hour on, with nothing executed: 10 * (0.85 + … + 0.52200625) and 8 * 0.85.
        shares.rotate(Timestamp(6 * HOUR_MS));
        assert!((shares.fs(&name("alice")) - 27.086_312_5).abs() < 1e-12);
        assert!((shares.fs(&name("bob")) - 6.8).abs() < 1e-12);
        // Five hours later nothing counts.
        shares.rotate(Timestamp(11 * HOUR_MS));
        assert!(shares.fs(&name("alice")) == 0.0 && shares.fs(&name("bob")) == 0.0);
    }

    #[test]
    fn core_seconds_count_under_their_metric() {
        let mut policy = Policy::default();
        let mut shares = Shares::new(policy.clone(), Timestamp(0));
        let used = Used {
            tasks_started: 1,
            core_ms: 2500,
        };
        shares.charge(&name("alice"), used);
        assert!(shares.fs(&name("alice")) == 1.0);
        policy.usage.metric = Metric::CoreSeconds;
        shares.set_policy(policy.clone(), Timestamp(0));
        assert!(shares.fs(&name("alice")) == 2.5);
    }

    #[test]
    fn a_clock_going_backwards_changes_nothing() {
        let mut shares = Shares::new(Policy::default(), Timestamp(5 * HOUR_MS));
        assert!(!shares.rotate(Timestamp(4 * HOUR_MS)));
        assert_eq!(shares.current(), Timestamp(5 * HOUR_MS));
    }

    #[test]
    fn old_intervals_count_as_the_new_ones_that_they_began_in() {
        let mut policy = Policy::default();
        policy.fairshare.duration_s = 1800;
        let mut shares = Shares::new(policy.clone(), Timestamp(0));
        shares.charge(&name("alice"), tasks(1));
        shares.rotate(Timestamp(HOUR_MS / 2));
        shares.charge(&name("alice"), tasks(2));
        shares.rotate(Timestamp(HOUR_MS));
        policy.fairshare.duration_s = 3600;
        shares.set_policy(policy.clone(), Timestamp(HOUR_MS));
        assert!((shares.fs(&name("alice")) - 0.85 * 3.0).abs() < 1e-12);
    }
}
