//! Kinds that have shares: under saturation at most a hundredth of the machine is in wrong hands.

use std::collections::BTreeMap;

use fairway_model::policy::{MauiTarget, Share, TargetKind};
use fairway_model::{Metric, Policy, PolicyKind, UserName};
use fairway_sim::{Workload, share_error};

use crate::machine::{Draw, Seen, for_seeds, standing, watch};

/// Of all usage, so much may be in wrong hands.
const ERROR_MAX: f64 = 0.01;

/// How much is tried. What a task takes is to be little against what a user is to get.
#[derive(Clone, Copy)]
struct Size {
    users: u64,
    nodes: u32,
    /// Of a node.
    cores: u32,
    /// After so long usage has lost most of its weight; and so long it is measured then.
    decay_s: u64,
    /// No task runs longer.
    longest_s: u64,
}

/// A few users; quick enough to be tried in every run.
const FEW: Size = Size {
    users: 10,
    nodes: 1,
    cores: 32,
    decay_s: 4000,
    longest_s: 40,
};

/// Many users: for the soak.
const MANY: Size = Size {
    users: 100,
    nodes: 4,
    cores: 64,
    decay_s: 8000,
    longest_s: 60,
};

/// What the users are to get, from 1 to 10.
struct Case {
    size: Size,
    weights: Vec<(UserName, f64)>,
    seed: u64,
}

impl Case {
    fn new(size: Size, seed: u64) -> Self {
        let mut draw = Draw(seed);
        let user = |n: u64| format!("u{n:02}").parse().unwrap();
        let weights = (0..size.users).map(|n| (user(n), 1.0 + draw.below(91) as f64 / 10.0));
        Self {
            size,
            weights: weights.collect(),
            seed,
        }
    }

    fn sum(&self) -> f64 {
        self.weights.iter().map(|(_, weight)| weight).sum()
    }

    fn cores(&self) -> u32 {
        self.size.nodes * self.size.cores
    }

    fn until_s(&self) -> u64 {
        2 * self.size.decay_s + self.size.longest_s
    }

    /// How many tasks a user has: had each one core for 15 s, just as many as they are due. They
    /// run for longer, and are wider.
    fn tasks(&self, weight: f64) -> u32 {
        let due = f64::from(self.cores()) * self.until_s() as f64 * weight / self.sum();
        (due / 15.0).ceil() as u32
    }

    /// All come at once, with tasks of all sizes; runtimes have heavy tails.
    fn workload(&self) -> Workload {
        let longest_s = self.size.longest_s;
        let stream = |(user, weight): &(UserName, f64)| {
            let tasks = self.tasks(*weight);
            format!(
                "[[stream]]\nname = \"{user}\"\ntasks = {tasks}\ntasks_per_job = 5\n\
                 arrivals = {{ kind = \"at-once\" }}\n\
                 runtime = {{ kind = \"pareto\", min_s = 20, alpha = 1.3, max_s = {longest_s} }}\n\
                 cores = [[1, 70], [2, 15], [4, 10], [8, 5]]\n"
            )
        };
        let text: String = self.weights.iter().map(stream).collect();
        Workload::generated(&text, u64::from(self.cores()), self.seed).unwrap()
    }

    fn policy(&self, kind: PolicyKind, metric: Metric) -> Policy {
        let mut policy = Policy {
            kind,
            wait_max_s: None,
            ..Policy::default()
        };
        policy.usage.metric = metric;
        policy.fairshare.duration_s = self.size.decay_s / 5;
        policy.half_life.half_life_s = self.size.decay_s;
        policy.maui.interval_s = self.size.decay_s / 5;
        policy.maui.depth = 5;
        // A percent from the target is worth more than any wait here; all wait for as long anyway.
        policy.maui.fairshare_weight = 10.0;
        let sum = self.sum();
        for (user, weight) in &self.weights {
            policy.shares.push(Share {
                path: user.as_str().into(),
                share: *weight,
                user: true,
            });
            let target = MauiTarget {
                percent: 100.0 * weight / sum,
                kind: TargetKind::Target,
            };
            policy.maui.users.insert(user.to_string(), target);
        }
        policy
    }

    fn error(&self, seen: &Seen, metric: Metric) -> f64 {
        let (from, to) = (self.size.decay_s as f64, 2.0 * self.size.decay_s as f64);
        let used = seen.used(from, to);
        let of = |(user, _): &(UserName, f64)| {
            let (core_s, tasks) = used.get(user).copied().unwrap_or_default();
            match metric {
                Metric::TasksStarted => tasks,
                _ => core_s,
            }
        };
        let busy: f64 = used.values().map(|it| it.0).sum();
        let all = f64::from(self.cores()) * (to - from);
        // What is kept for wide tasks is idle until they fit.
        assert!(busy > 0.95 * all, "not saturated: {busy} of {all}");
        let used: Vec<f64> = self.weights.iter().map(of).collect();
        let wanted: Vec<f64> = self.weights.iter().map(|it| it.1).collect();
        share_error(&used, &wanted).unwrap()
    }
}

/// Nobody ran out of tasks of any size before the end: else no policy could give them their share.
fn check_saturated(workload: &Workload, seen: &Seen) {
    let mut ran: BTreeMap<(UserName, u32), u64> = BTreeMap::new();
    for it in &seen.ran {
        *ran.entry((it.user.clone(), it.cores)).or_default() += 1;
    }
    for (size, asked) in workload.sizes() {
        let had = ran.get(&size).copied().unwrap_or_default();
        assert!(
            had < asked,
            "{} ran all their {asked} tasks of {} cores",
            size.0,
            size.1
        );
    }
}

fn holds(size: Size, kind: PolicyKind, metric: Metric, seed: u64) {
    let case = Case::new(size, seed);
    let workload = case.workload();
    let setup = standing(size.nodes, size.cores, seed, Some(case.until_s()));
    let seen = watch(&setup, &workload, case.policy(kind, metric));
    check_saturated(&workload, &seen);
    let error = case.error(&seen, metric);
    let (kind, metric) = (kind.name(), metric.name());
    println!("{kind} by {metric}: seed {seed}: {:.2} %", 100.0 * error);
    assert!(error <= ERROR_MAX, "{kind} by {metric}: {error}");
}

fn few(kind: PolicyKind, name: &str) {
    for_seeds(1, name, |seed| holds(FEW, kind, Metric::CoreSeconds, seed));
}

/// By both kinds of metric: what counts at once, and what counts while it runs.
fn many(kind: PolicyKind, name: &str) {
    for_seeds(1, &format!("{name} -- --ignored"), |seed| {
        for metric in [Metric::CoreSeconds, Metric::TasksStarted] {
            // It goes by cores, whatever the metric.
            if kind != PolicyKind::UserPriority || metric == Metric::CoreSeconds {
                holds(MANY, kind, metric, seed);
            }
        }
    });
}

#[test]
fn fairshare_gives_what_was_promised() {
    few(PolicyKind::Fairshare, "fairshare_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn fairshare_keeps_it_for_many_users() {
    many(PolicyKind::Fairshare, "fairshare_keeps");
}

#[test]
fn fair_tree_gives_what_was_promised() {
    few(PolicyKind::FairTree, "fair_tree_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn fair_tree_keeps_it_for_many_users() {
    many(PolicyKind::FairTree, "fair_tree_keeps");
}

#[test]
fn half_life_gives_what_was_promised() {
    few(PolicyKind::HalfLife, "half_life_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn half_life_keeps_it_for_many_users() {
    many(PolicyKind::HalfLife, "half_life_keeps");
}

#[test]
fn user_priority_gives_what_was_promised() {
    few(PolicyKind::UserPriority, "user_priority_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn user_priority_keeps_it_for_many_users() {
    many(PolicyKind::UserPriority, "user_priority_keeps");
}

#[test]
fn maui_gives_what_was_promised() {
    few(PolicyKind::Maui, "maui_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn maui_keeps_it_for_many_users() {
    many(PolicyKind::Maui, "maui_keeps");
}
