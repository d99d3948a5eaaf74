//! What makes no sense in a policy, all of it at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Backfill, FairshareSettings, HalfLifeSettings, MAX_DEPTH_MAX, Policy, PolicyKind, Scope, Who,
};
use crate::id::is_name;

/// The largest share. Only proportions count, and sums of larger ones lose the smaller.
const SHARE_MAX: f64 = 1e9;

impl FairshareSettings {
    /// Refuses settings that make no sense, saying which and why.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        let names = ["duration_s", "max_depth", "decay_rate"];
        match self.faults(names).into_iter().next() {
            None => Ok(()),
            Some(fault) => Err(fault),
        }
    }

    /// What makes no sense, by what the length of an interval, their number and the weight of one
    /// against the next are called.
    fn faults(&self, [duration_s, max_depth, decay_rate]: [&str; 3]) -> Vec<String> {
        let mut faults = Vec::new();
        if self.duration_s == 0 {
            faults.push(format!("{duration_s} must be at least 1"));
        }
        if !(1..=MAX_DEPTH_MAX).contains(&self.max_depth) {
            let is = self.max_depth;
            faults.push(format!(
                "{max_depth} must be 1 to {MAX_DEPTH_MAX}, not {is}"
            ));
        }
        if !(0.0..=1.0).contains(&self.decay_rate) {
            let is = self.decay_rate;
            faults.push(format!("{decay_rate} must be 0 to 1, not {is}"));
        }
        faults
    }
}

impl Policy {
    /// Refuses a policy that makes no sense.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place and what to do.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        wrong.extend(self.fairshare.faults([
            "fairshare.duration_s",
            "fairshare.max_depth",
            "fairshare.decay_rate",
        ]));
        let (least, is) = (HalfLifeSettings::MIN_S, self.half_life.half_life_s);
        if is < least {
            wrong.push(format!(
                "half_life.half_life_s must be at least {least}, not {is}"
            ));
        }
        self.check_usage(&mut wrong);
        self.check_maui(&mut wrong);
        self.check_shares(&mut wrong);
        self.check_qos(&mut wrong);
        self.check_bounds(&mut wrong);
        if self.wait_max_s == Some(0) {
            wrong.push("wait_max_s must be at least 1; write 0 in a document for no bound".into());
        }
        if self.backfill.mode == Backfill::Conservative && self.backfill.depth == 0 {
            wrong.push("backfill.depth must be at least 1".into());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn check_usage(&self, wrong: &mut Vec<String>) {
        let weights = self.usage.weights;
        let all = [
            ("core", weights.core),
            ("memory_gib", weights.memory_gib),
            ("gpu", weights.gpu),
        ];
        for (name, weight) in all {
            if !(weight.is_finite() && weight >= 0.0) {
                wrong.push(format!(
                    "usage.weights.{name} must be 0 or more, not {weight}"
                ));
            }
        }
        if all.iter().all(|(_, weight)| *weight == 0.0) {
            wrong.push("usage.weights: at least one must be above 0".into());
        }
    }

    fn check_maui(&self, wrong: &mut Vec<String>) {
        let maui = &self.maui;
        let windows = FairshareSettings {
            duration_s: maui.interval_s,
            max_depth: maui.depth,
            decay_rate: maui.decay,
        };
        wrong.extend(windows.faults(["maui.interval_s", "maui.depth", "maui.decay"]));
        let weights = [
            ("fairshare_weight", maui.fairshare_weight),
            ("user_weight", maui.user_weight),
            ("group_weight", maui.group_weight),
            ("account_weight", maui.account_weight),
            ("qos_weight", maui.qos_weight),
            ("queue_weight", maui.queue_weight),
            ("expansion_factor_weight", maui.expansion_factor_weight),
            ("resource_weight", maui.resource_weight),
            ("core_weight", maui.core_weight),
            ("memory_gib_weight", maui.memory_gib_weight),
            ("gpu_weight", maui.gpu_weight),
            ("walltime_hour_weight", maui.walltime_hour_weight),
        ];
        for (name, weight) in weights {
            if !weight.is_finite() {
                wrong.push(format!("maui.{name} must be a number, not {weight}"));
            }
        }
        if maui.expansion_factor_weight < 0.0 {
            wrong.push(
                "maui.expansion_factor_weight must not be negative: who waits must gain".into(),
            );
        }
        if self.kind == PolicyKind::Maui
            && !(maui.queue_time_weight.is_finite() && maui.queue_time_weight > 0.0)
        {
            wrong.push(format!(
                "maui.queue_time_weight must be above 0, so that nothing starves, not {}",
                maui.queue_time_weight
            ));
        }
        // `*` stands for those that are not named.
        for qos in maui.qos.keys().filter(|name| *name != "*") {
            if self.qos_named(qos).is_none() {
                wrong.push(format!("maui.qos: {}", no_qos(qos)));
            }
        }
        for path in maui.accounts.keys().filter(|path| *path != "*") {
            if !self.shares.iter().any(|it| it.path.as_str() == path) {
                wrong.push(format!("maui.accounts: {}", no_share(path)));
            }
        }
    }

    fn check_shares(&self, wrong: &mut Vec<String>) {
        let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
        for share in &self.shares {
            let path = share.path.as_str();
            if !share.path.is_sound() {
                wrong.push(format!(
                    "shares: `{path}` is not a path of names such as physics/atlas/alice"
                ));
            }
            if !(share.share.is_finite() && share.share > 0.0) {
                wrong.push(format!(
                    "shares: the share of `{path}` must be above 0, not {}; pause what is to get nothing",
                    share.share
                ));
            } else if share.share > SHARE_MAX {
                wrong.push(format!(
                    "shares: the share of `{path}` must be at most 1e9, not {}; only its proportion to those beside it counts",
                    share.share
                ));
            }
            if seen.insert(path, share.user).is_some() {
                wrong.push(format!("shares: `{path}` is there twice; keep one"));
            }
        }
        let mut groups = BTreeSet::new();
        for share in &self.shares {
            let path = &share.path;
            if !share.user && !groups.insert(path.name()) {
                wrong.push(format!(
                    "shares: `{}` is in the tree in two places; name one of them otherwise",
                    path.name()
                ));
            }
            match path.parent().map(|parent| (parent, seen.get(parent))) {
                Some((parent, None)) => wrong.push(format!(
                    "shares: `{path}` is in `{parent}`, which is not there; add it with its share"
                )),
                Some((parent, Some(true))) => wrong.push(format!(
                    "shares: `{path}` is in `{parent}`, which is a user; users have nothing beneath them"
                )),
                _ => {}
            }
        }
    }

    fn check_qos(&self, wrong: &mut Vec<String>) {
        let mut names = BTreeSet::new();
        for qos in &self.qos {
            let name = &qos.name;
            if !is_name(name) {
                wrong.push(format!(
                    "qos: `{name}` is not a name (1 to 64 letters, digits, . _ - @)"
                ));
            }
            if !names.insert(name.as_str()) {
                wrong.push(format!("qos: `{name}` is there twice; keep one"));
            }
            if !(qos.usage_factor.is_finite() && qos.usage_factor >= 0.0) {
                wrong.push(format!(
                    "qos: usage_factor of `{name}` must be 0 or more, not {}",
                    qos.usage_factor
                ));
            }
            if !qos.priority.is_finite() {
                wrong.push(format!("qos: priority of `{name}` must be a number"));
            }
        }
        for qos in &self.qos {
            for other in &qos.preempts {
                if !other.is_empty() && !names.contains(other.as_str()) {
                    wrong.push(format!(
                        "qos: `{}` preempts `{other}`, which is not there; add {}",
                        qos.name,
                        entry_of_qos(other)
                    ));
                }
                if *other == qos.name {
                    wrong.push(format!("qos: `{}` preempts itself", qos.name));
                }
            }
        }
    }

    fn check_bounds(&self, wrong: &mut Vec<String>) {
        for (place, limit) in self.limits.iter().enumerate() {
            let place = format!("limits[{place}]");
            if !limit.bounds_running() && !limit.bounds_waiting() {
                wrong.push(format!(
                    "{place}: set running_tasks_max, running_cores_max, waiting_tasks_max or \
                     waiting_cores_max"
                ));
            }
            if limit.site.is_some() && limit.bounds_waiting() {
                wrong.push(format!(
                    "{place}: waiting tasks are at no site; make two limits of it"
                ));
            }
            self.check_scope(&place, &limit.scope(), wrong);
        }
        for (place, budget) in self.budgets.iter().enumerate() {
            let place = format!("budgets[{place}]");
            if !(budget.core_hours.is_finite() && budget.core_hours >= 0.0) {
                wrong.push(format!(
                    "{place}: core_hours must be 0 or more, not {}",
                    budget.core_hours
                ));
            }
            self.check_scope(&place, &budget.scope(), wrong);
        }
        for (place, pause) in self.paused.iter().enumerate() {
            let place = format!("paused[{place}]");
            if pause.scope() == Scope::default() {
                wrong.push(format!(
                    "{place}: say who: user, group, qos, tag or queue; a site is closed with `fairway site close`"
                ));
            }
            self.check_scope(&place, &pause.scope(), wrong);
        }
    }

    fn check_scope(&self, place: &str, scope: &Scope, wrong: &mut Vec<String>) {
        if let Some(Who::One(user)) = &scope.user
            && !is_name(user)
        {
            wrong.push(format!("{place}: `{user}` is not the name of a user"));
        }
        if let Some(Who::One(group)) = &scope.group {
            let path = super::SharePath::from(group.as_str());
            if !path.is_sound() {
                wrong.push(format!(
                    "{place}: `{group}` is not a group or path of shares"
                ));
            } else if path.parent().is_some() && !self.shares.iter().any(|it| it.path == path) {
                wrong.push(format!("{place}: {}", no_share(group)));
            }
        }
        if let Some(qos) = &scope.qos
            && self.qos_named(qos).is_none()
        {
            wrong.push(format!("{place}: {}", no_qos(qos)));
        }
    }
}

fn entry_of_qos(name: &str) -> String {
    format!("`[[qos]]` with `name = \"{name}\"`")
}

fn no_qos(name: &str) -> String {
    format!("there is no qos `{name}`; add {}", entry_of_qos(name))
}

fn no_share(path: &str) -> String {
    format!("there is no share `{path}`; add `[[shares]]` with `path = \"{path}\"` and its share")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Limit, Pause, Share};

    fn complaints(policy: &Policy) -> String {
        policy.check().unwrap_err().join("\n")
    }

    #[test]
    fn the_default_makes_sense() {
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let share = |path: &str, share: f64| Share {
            path: path.into(),
            share,
            user: false,
        };
        let policy = Policy {
            shares: vec![
                share("a", 0.0),
                share("b/c", 1.0),
                share("a/b//c", 1.0),
                share("a", 2.0),
            ],
            limits: vec![Limit::default()],
            paused: vec![Pause::default()],
            ..Policy::default()
        };
        let told = complaints(&policy);
        for part in [
            "the share of `a` must be above 0",
            "`b/c` is in `b`, which is not there",
            "`a/b//c` is not a path",
            "`a` is there twice",
            "limits[0]: set running_tasks_max",
            "paused[0]: say who",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn settings_of_maui_are_told_by_name() {
        let mut policy = Policy::default();
        policy.maui.interval_s = 0;
        policy.maui.depth = 0;
        policy.maui.decay = 1.5;
        assert_eq!(
            complaints(&policy),
            "maui.interval_s must be at least 1\nmaui.depth must be 1 to 1000, not 0\n\
             maui.decay must be 0 to 1, not 1.5"
        );
    }

    #[test]
    fn targets_are_of_what_is_there_or_of_all() {
        let mut policy = Policy {
            shares: vec![Share {
                path: "physics".into(),
                share: 1e9,
                user: false,
            }],
            ..Policy::default()
        };
        let target: crate::policy::MauiTarget = "25".parse().unwrap();
        let targets = |names: [&str; 2]| names.map(|name| (name.to_owned(), target));
        policy.qos.push(crate::policy::Qos {
            name: "express".into(),
            usage_factor: 1.0,
            ..Default::default()
        });
        policy.maui.qos = targets(["express", "*"]).into();
        policy.maui.accounts = targets(["physics", "*"]).into();
        assert_eq!(policy.check(), Ok(()));
        policy.maui.qos = targets(["slow", "*"]).into();
        policy.maui.accounts = targets(["biology", "*"]).into();
        policy.shares[0].share = 1e10;
        assert_eq!(
            complaints(&policy),
            "maui.qos: there is no qos `slow`; add `[[qos]]` with `name = \"slow\"`\n\
             maui.accounts: there is no share `biology`; add `[[shares]]` with \
             `path = \"biology\"` and its share\n\
             shares: the share of `physics` must be at most 1e9, not 10000000000; only its \
             proportion to those beside it counts"
        );
    }
}
