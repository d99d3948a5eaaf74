//! Maui's priority; its formula is told with [`MauiSettings`].
//!
//! A priority is a part that stays as it is while a task waits, and a part that grows with time.
//! How fast it grows depends on the class alone, so that the order within a class does not
//! change by waiting. Usage changes it: an account's own at once, so that not all that is free goes
//! to the same; that of others when all are counted anew, as Maui does at each of its iterations.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_jdl::Needs;
use fairway_model::policy::{MauiSettings, MauiTarget, TargetKind};

use super::books::Book;
use super::usage::Amounts;
use super::{AccountId, NodeId, Shares, Used};

/// For a task without a walltime in the expansion factor, in seconds.
const WALLTIME_UNKNOWN_S: u64 = 24 * 3600;

/// How far everybody is from their targets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maui {
    /// By account: user, group and account together.
    accounts: Vec<Part>,
    qos: Named,
    queues: Named,
    /// Whether some target is a cap.
    caps: bool,
}

/// By the names of qualities of service, or queues.
type Named = BTreeMap<Arc<str>, Part>;

/// What a distance from targets is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// Percent away from the target, times its weight.
    pub(crate) worth: f64,
    /// Whether a cap is reached: nothing is started.
    pub(crate) capped: bool,
}

impl Part {
    fn plus(self, other: Self) -> Self {
        Self {
            worth: self.worth + other.worth,
            capped: self.capped || other.capped,
        }
    }
}

/// The components of a priority, each with its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    pub(crate) fairshare: f64,
    /// Whether a cap is reached: nothing is started.
    pub(crate) capped: bool,
    /// That of the expansion factor, without what waiting adds to it.
    pub(crate) expansion: f64,
    pub(crate) resources: f64,
    pub(crate) qos: f64,
}

/// What the priorities of all tasks of a class have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfClass {
    /// How far its quality of service and queue are from their targets.
    named: Part,
    /// The other components, before it has waited.
    fixed: f64,
    /// What a millisecond in the queue is worth.
    pub(crate) per_ms: f64,
}

/// Usage in percent of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Percent {
    /// Over all intervals.
    pub(crate) all: f64,
    /// In the current one.
    pub(crate) current: f64,
    /// Over all intervals, with a second in advance of what is live.
    pub(crate) ahead: f64,
}

/// What usage is worth, as in [`Percent`].
#[derive(Clone, Copy, Debug, Default)]
struct Worth {
    all: f64,
    current: f64,
    ahead: f64,
}

impl Worth {
    fn plus(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            current: self.current + other.current,
            ahead: self.ahead + other.ahead,
        }
    }

    fn percent_of(self, total: Self) -> Percent {
        let percent = |part: f64, total: f64| {
            if total > 0.0 {
                100.0 * part / total
            } else {
                0.0
            }
        };
        Percent {
            all: percent(self.all, total.all),
            current: percent(self.current, total.current),
            ahead: percent(self.ahead, total.ahead),
        }
    }
}

/// What usage is worth: before the current interval, and in it.
fn worth(shares: &Shares, past: Amounts, current: Used) -> Worth {
    let usage = &shares.policy.usage;
    let mut now = Amounts::default();
    now.add(current, 1.0);
    let mut all = past;
    all.add_all(now);
    let all = all.worth(usage);
    Worth {
        all,
        current: now.worth(usage),
        ahead: all,
    }
}

/// What the usage of a node is worth.
fn at(shares: &Shares, id: NodeId) -> Worth {
    let node = shares.tree.node(id);
    Worth {
        ahead: node.amounts_ahead().worth(&shares.policy.usage),
        ..worth(shares, node.past, node.current)
    }
}

/// What it is worth to be at this percentage with that target.
pub(crate) fn part(target: Option<MauiTarget>, used: Percent, weight: f64) -> Part {
    let Some(MauiTarget { percent, kind }) = target else {
        return Part::default();
    };
    let away = percent - used.ahead;
    let (away, capped) = match kind {
        TargetKind::Target => (away, false),
        TargetKind::Floor => (away.max(0.0), false),
        TargetKind::Ceiling => (away.min(0.0), false),
        TargetKind::Cap => (0.0, used.all >= percent),
        TargetKind::IntervalCap => (0.0, used.current >= percent),
    };
    Part {
        worth: weight * away,
        capped,
    }
}

/// The target of that name, or that of all not named.
fn target(targets: &BTreeMap<String, MauiTarget>, name: &str) -> Option<MauiTarget> {
    targets.get(name).or_else(|| targets.get("*")).copied()
}

/// What it is worth to have used nothing.
fn unused(targets: &BTreeMap<String, MauiTarget>, name: &str, weight: f64) -> Part {
    part(target(targets, name), Percent::default(), weight)
}

fn caps(settings: &MauiSettings) -> bool {
    let by_name = [&settings.users, &settings.groups, &settings.accounts];
    let by_needs = [&settings.qos, &settings.queues];
    let mut targets = by_name
        .into_iter()
        .chain(by_needs)
        .flat_map(BTreeMap::values);
    targets.any(|target| matches!(target.kind, TargetKind::Cap | TargetKind::IntervalCap))
}

impl Maui {
    /// How far everybody is from their targets now.
    pub(crate) fn of(shares: &Shares) -> Self {
        let ids = (0..).map(AccountId).take(shares.accounts.len());
        let accounts = ids.map(|id| Self::part_of(shares, id));
        let (qos, queues) = Self::named(shares);
        Self {
            accounts: accounts.collect(),
            qos,
            queues,
            caps: caps(&shares.policy.maui),
        }
    }

    /// Whether some target keeps those that have reached it from being served.
    pub(super) fn has_caps(&self) -> bool {
        self.caps
    }

    /// How far qualities of service and queues are from their targets now.
    fn named(shares: &Shares) -> (Named, Named) {
        let settings = &shares.policy.maui;
        let root = shares.tree.node(super::ROOT);
        // What is live is not known by their names.
        let total = worth(shares, root.past, root.current);
        let named = |books: &BTreeMap<Arc<str>, Book>,
                     targets: &BTreeMap<String, MauiTarget>,
                     weight: f64| {
            let part = |(name, book): (&Arc<str>, &Book)| {
                let used = worth(shares, book.past, book.current).percent_of(total);
                (name.clone(), part(target(targets, name), used, weight))
            };
            books.iter().map(part).collect()
        };
        (
            named(&shares.qos, &settings.qos, settings.qos_weight),
            named(&shares.queues, &settings.queues, settings.queue_weight),
        )
    }

    /// Finds out anew how far qualities of service and queues are from their targets. Whether
    /// anything has changed, for all who ask for one of them.
    pub(super) fn name_again(shares: &mut Shares) -> bool {
        let named = Self::named(shares);
        let maui = &mut shares.maui;
        let changed = (&maui.qos, &maui.queues) != (&named.0, &named.1);
        (maui.qos, maui.queues) = named;
        changed
    }

    /// Sets where an account is now; those that have come since all were counted in their order.
    pub(super) fn set(&mut self, account: AccountId, now: Part) {
        match self.accounts.get_mut(account.0 as usize) {
            Some(part) => *part = now,
            None => self.accounts.push(now),
        }
    }

    /// How far an account is from its targets now: as its user, group and account.
    pub(super) fn part_of(shares: &Shares, id: AccountId) -> Part {
        let settings = &shares.policy.maui;
        let total = at(shares, super::ROOT);
        let account = shares.books(id);
        let own = shares.of_user.get(&account.user).into_iter().flatten();
        let used = own.fold(Worth::default(), |sum, id| {
            sum.plus(at(shares, shares.books(*id).node))
        });
        let user = target(&settings.users, account.user.as_str());
        let mut sum = part(user, used.percent_of(total), settings.user_weight);
        let mut above = shares.tree.upward(account.node).skip(1);
        if let (Some(group), Some(id)) = (&account.group, above.next()) {
            sum = sum.plus(part(
                target(&settings.groups, group.as_str()),
                at(shares, id).percent_of(total),
                settings.group_weight,
            ));
            if let Some(id) = above.next().filter(|id| *id != super::ROOT) {
                sum = sum.plus(part(
                    target(&settings.accounts, shares.path(id)),
                    at(shares, id).percent_of(total),
                    settings.account_weight,
                ));
            }
        }
        sum
    }

    /// Notes where an account is now. One that has come since all were counted stands as if it
    /// had used nothing until they are counted again.
    pub(super) fn note(&mut self, account: AccountId, now: Part) {
        if let Some(part) = self.accounts.get_mut(account.0 as usize) {
            *part = now;
        }
    }

    /// How far a quality of service and a queue are from their targets.
    fn of_names(&self, settings: &MauiSettings, needs: &Needs) -> Part {
        let part_of = |name: Option<&Arc<str>>, known: &Named, targets, weight| {
            let Some(name) = name else {
                return Part::default();
            };
            let known = known.get(name).copied();
            known.unwrap_or_else(|| unused(targets, name, weight))
        };
        let (qos, queue) = (needs.qos.as_ref(), needs.queue.as_ref());
        part_of(qos, &self.qos, &settings.qos, settings.qos_weight).plus(part_of(
            queue,
            &self.queues,
            &settings.queues,
            settings.queue_weight,
        ))
    }

    /// The fairshare component of the priority of an account's tasks, with that of their class.
    fn fairshare(&self, shares: &Shares, account: AccountId, of_names: Part) -> Part {
        let settings = &shares.policy.maui;
        let known = self.accounts.get(account.0 as usize).copied();
        // Who has come since the last count has used nothing to speak of.
        let own = known.unwrap_or_else(|| {
            let user = shares.books(account).user.as_str();
            unused(&settings.users, user, settings.user_weight)
        });
        let Part { worth, capped } = own.plus(of_names);
        Part {
            worth: settings.fairshare_weight * worth,
            capped,
        }
    }

    /// What is the same for all tasks that need this.
    pub(super) fn of_class(&self, shares: &Shares, needs: &Needs) -> OfClass {
        let settings = &shares.policy.maui;
        let qos = needs.qos.as_ref();
        let qos = qos.and_then(|name| shares.policy.qos_named(name));
        OfClass {
            named: self.of_names(settings, needs),
            // The expansion factor of a task that has not waited yet is 1.
            fixed: settings.expansion_factor_weight
                + resources(settings, needs)
                + qos.map_or(0.0, |qos| qos.priority),
            per_ms: per_ms(settings, needs),
        }
    }

    /// See [`Shares::priority`].
    pub(super) fn priority(
        &self,
        shares: &Shares,
        account: AccountId,
        of_class: &OfClass,
    ) -> Option<f64> {
        let fairshare = self.fairshare(shares, account, of_class.named);
        (!fairshare.capped).then_some(fairshare.worth + of_class.fixed)
    }

    /// What the priority of a task that has not waited yet is made of.
    pub(super) fn parts(&self, shares: &Shares, account: AccountId, needs: &Needs) -> Parts {
        let settings = &shares.policy.maui;
        let fairshare = self.fairshare(shares, account, self.of_names(settings, needs));
        let qos = needs.qos.as_ref();
        let qos = qos.and_then(|name| shares.policy.qos_named(name));
        Parts {
            fairshare: fairshare.worth,
            capped: fairshare.capped,
            expansion: settings.expansion_factor_weight,
            resources: resources(settings, needs),
            qos: qos.map_or(0.0, |qos| qos.priority),
        }
    }
}

/// What the resources asked for are worth.
pub(crate) fn resources(settings: &MauiSettings, needs: &Needs) -> f64 {
    let asked = needs.resources;
    settings.resource_weight
        * (settings.core_weight * f64::from(asked.cores)
            + settings.memory_gib_weight * asked.memory_mib as f64 / 1024.0
            + settings.gpu_weight * f64::from(asked.gpus)
            + settings.walltime_hour_weight * needs.walltime_s.unwrap_or(0) as f64 / 3600.0)
}

/// What a millisecond in the queue is worth: of its own, and by the expansion factor.
pub(super) fn per_ms(settings: &MauiSettings, needs: &Needs) -> f64 {
    let walltime_s = needs.walltime_s.unwrap_or(WALLTIME_UNKNOWN_S).max(1);
    settings.queue_time_weight / 60_000.0
        + settings.expansion_factor_weight / (walltime_s as f64 * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(target: &str, used: f64) -> Part {
        let used = Percent {
            all: used,
            current: used,
            ahead: used,
        };
        part(Some(target.parse().unwrap()), used, 1.0)
    }

    #[test]
    fn suffixes_say_on_which_side_a_target_counts() {
        let worth = |target, used| away(target, used).worth;
        assert_eq!((worth("25", 20.0), worth("25", 30.0)), (5.0, -5.0));
        assert_eq!((worth("25+", 20.0), worth("25+", 30.0)), (5.0, 0.0));
        assert_eq!((worth("25-", 20.0), worth("25-", 30.0)), (0.0, -5.0));
        for cap in ["25%", "25^"] {
            assert_eq!((worth(cap, 20.0), worth(cap, 30.0)), (0.0, 0.0));
            assert!(!away(cap, 24.9).capped && away(cap, 25.0).capped);
        }
    }

    /// The worked example: a percent from the target is worth four hours in the queue.
    #[test]
    fn a_percent_from_the_target_is_four_hours() {
        let settings = MauiSettings::default();
        let percent = settings.fairshare_weight * settings.user_weight;
        let (spec, _) = fairway_jdl::JobSpec::read("[ Executable = \"/bin/true\" ]").unwrap();
        let hours = 4.0 * 3_600_000.0 * per_ms(&settings, &spec.needs(0));
        assert!((percent - hours).abs() < 1e-9, "{percent} {hours}");
    }
}
