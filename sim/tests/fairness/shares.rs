//! Kinds that have shares: under saturation at most a hundredth of the machine is in wrong hands.

use fairway_model::policy::{MauiTarget, Share, TargetKind};
use fairway_model::{Metric, Policy, PolicyKind, UserName};
use fairway_sim::{Workload, share_error};

use crate::machine::{Draw, Seen, for_seeds, standing, watch};

const USERS: u64 = 100;
const NODES: u32 = 16;
const CORES: u32 = 8;
/// After so long usage has lost most of its weight; and so long it is measured then.
const DECAY_S: u64 = 8_000;
/// No task runs longer.
const LONGEST_S: u64 = 600;

/// Of all usage, so much may be in wrong hands.
const ERROR_MAX: f64 = 0.01;

/// What the users are to get, from 1 to 10.
struct Case {
    weights: Vec<(UserName, f64)>,
    seed: u64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        let user = |n: u64| format!("u{n:02}").parse().unwrap();
        let weights = (0..USERS).map(|n| (user(n), 1.0 + draw.below(91) as f64 / 10.0));
        Self {
            weights: weights.collect(),
            seed,
        }
    }

    fn sum(&self) -> f64 {
        self.weights.iter().map(|(_, weight)| weight).sum()
    }

    /// Each user has more than they can get, of all sizes; runtimes have heavy tails.
    fn workload(&self) -> Workload {
        let all_s = f64::from(NODES * CORES) * (2 * DECAY_S + LONGEST_S) as f64;
        let stream = |(user, weight): &(UserName, f64)| {
            // Tasks of one core, which run for a minute in the mean, are more than enough alone: where
            // no cores are kept for them, wide tasks hardly ever start beside narrow ones.
            let tasks = (1.5 * all_s * weight / self.sum() / 60.0 / 0.7).ceil();
            format!(
                "[[stream]]\nname = \"{user}\"\ntasks = {tasks}\ntasks_per_job = 20\n\
                 arrivals = {{ kind = \"at-once\" }}\n\
                 runtime = {{ kind = \"pareto\", min_s = 20, alpha = 1.3, max_s = {LONGEST_S} }}\n\
                 cores = [[1, 70], [2, 15], [4, 10], [8, 5]]\n"
            )
        };
        let text: String = self.weights.iter().map(stream).collect();
        Workload::generated(&text, u64::from(NODES * CORES), self.seed).unwrap()
    }

    fn policy(&self, kind: PolicyKind, metric: Metric) -> Policy {
        let mut policy = Policy {
            kind,
            wait_max_s: None,
            ..Policy::default()
        };
        policy.usage.metric = metric;
        policy.fairshare.duration_s = DECAY_S / 5;
        policy.half_life.half_life_s = DECAY_S;
        policy.maui.interval_s = DECAY_S / 5;
        policy.maui.depth = 5;
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
        let (from, to) = (DECAY_S as f64, 2.0 * DECAY_S as f64);
        let used = seen.used(from, to);
        let of = |(user, _): &(UserName, f64)| {
            let (core_s, tasks) = used.get(user).copied().unwrap_or_default();
            match metric {
                Metric::TasksStarted => tasks,
                _ => core_s,
            }
        };
        let used: Vec<f64> = self.weights.iter().map(of).collect();
        let wanted: Vec<f64> = self.weights.iter().map(|it| it.1).collect();
        if metric != Metric::TasksStarted {
            let all = f64::from(NODES * CORES) * (to - from);
            let busy: f64 = used.iter().sum();
            assert!(busy > 0.98 * all, "not saturated: {busy} of {all}");
        }
        share_error(&used, &wanted).unwrap()
    }
}

fn holds(kind: PolicyKind, metric: Metric, seed: u64) {
    let case = Case::new(seed);
    let until_s = Some(2 * DECAY_S + LONGEST_S);
    let setup = standing(NODES, CORES, seed, until_s);
    let seen = watch(&setup, &case.workload(), case.policy(kind, metric));
    let error = case.error(&seen, metric);
    println!(
        "{} by {}: seed {seed}: {:.2} %",
        kind.name(),
        metric.name(),
        100.0 * error
    );
    assert!(
        error <= ERROR_MAX,
        "{} by {}: {error}",
        kind.name(),
        metric.name()
    );
}

/// Both kinds of metric: what counts at once, and what counts while it runs.
const METRICS: [Metric; 2] = [Metric::CoreSeconds, Metric::TasksStarted];

fn each_metric(kind: PolicyKind, name: &str) {
    for_seeds(1, name, |seed| {
        for metric in METRICS {
            holds(kind, metric, seed);
        }
    });
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn fairshare_gives_what_was_promised() {
    each_metric(PolicyKind::Fairshare, "fairshare_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn fair_tree_gives_what_was_promised() {
    each_metric(PolicyKind::FairTree, "fair_tree_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn half_life_gives_what_was_promised() {
    each_metric(PolicyKind::HalfLife, "half_life_gives");
}

#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn maui_gives_what_was_promised() {
    each_metric(PolicyKind::Maui, "maui_gives");
}

/// It goes by cores in use, whatever the metric.
#[test]
#[ignore = "takes minutes unoptimised: `cargo xtask soak` tries it"]
fn user_priority_gives_what_was_promised() {
    for_seeds(1, "user_priority_gives", |seed| {
        holds(PolicyKind::UserPriority, Metric::CoreSeconds, seed);
    });
}
