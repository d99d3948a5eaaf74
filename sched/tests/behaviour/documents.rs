//! Random policies: documents as operators might write them, of every kind.

use fairway_model::policy::{
    Budget, BudgetPeriod, Limit, MauiTarget, Pause, Qos, Share, TargetKind, Who,
};
use fairway_model::{Metric, Policy, PolicyKind, Timestamp};
use proptest::prelude::*;

/// The groups of tests; the last is named by no tree of shares.
pub(crate) const GROUPS: [&str; 3] = ["atlas", "cms", "bio"];
/// The qualities of service of tests.
pub(crate) const QOS: [&str; 3] = ["urgent", "free", "polite"];
pub(crate) const TAG: &str = "night";
pub(crate) const QUEUE: &str = "slow";

const USERS: [&str; 3] = ["alice", "bob", "carol"];

fn maybe(name: &'static str) -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.2, Just(name.to_owned()))
}

/// Each one, one of them, or all.
fn who(names: &'static [&'static str]) -> impl Strategy<Value = Option<Who>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Who::Each)),
        1 => prop::sample::select(names).prop_map(|name| Some(Who::One(name.to_owned()))),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    let scope = (
        who(&USERS),
        who(&GROUPS),
        maybe(QOS[0]),
        maybe(TAG),
        maybe(QUEUE),
    );
    let maxima = (
        prop::option::of(0..6_u64),
        prop::option::of(0..9_u64),
        any::<bool>(),
    );
    (scope, maxima).prop_map(
        |((user, group, qos, tag, queue), (tasks, cores, here))| Limit {
            user,
            group,
            qos,
            tag,
            queue,
            site: here.then(|| "lyon".parse().unwrap()),
            // One that says nothing is refused.
            running_tasks_max: tasks.or(cores.is_none().then_some(3)),
            running_cores_max: cores,
            // What is refused when it is submitted has tests of its own.
            waiting_tasks_max: None,
            waiting_cores_max: None,
        },
    )
}

fn budget() -> impl Strategy<Value = Budget> {
    (who(&USERS), who(&GROUPS), any::<bool>(), 0.0..2.0_f64).prop_map(
        |(user, group, daily, core_hours)| Budget {
            user,
            group,
            every: if daily {
                BudgetPeriod::Day
            } else {
                BudgetPeriod::Total
            },
            core_hours,
        },
    )
}

fn pause() -> impl Strategy<Value = Pause> {
    let user = prop::option::weighted(0.5, prop::sample::select(&USERS[..]));
    (user, maybe(TAG), 36_000..60_000_i64).prop_map(|(user, tag, until_s)| Pause {
        user: user.map(str::to_owned),
        // One of nothing in particular would be refused.
        group: (user.is_none() && tag.is_none()).then(|| GROUPS[0].to_owned()),
        tag,
        why: "a test".into(),
        until: Some(Timestamp::from_secs(until_s)),
        ..Pause::default()
    })
}

/// A tree of three levels or two, or users alone.
fn shares() -> impl Strategy<Value = Vec<Share>> {
    let share = |path: &str, share, user| Share {
        path: path.into(),
        share,
        user,
    };
    (0..4_usize, prop::array::uniform4(0.5..9.0_f64)).prop_map(move |(shape, [a, b, c, d])| {
        match shape {
            0 => vec![],
            1 => vec![share("alice", a, true), share("bob", b, true)],
            2 => vec![share("atlas", a, false), share("cms", b, false)],
            _ => vec![
                share("physics", a, false),
                share("physics/atlas", b, false),
                share("physics/cms", c, false),
                share("physics/atlas/alice", d, true),
            ],
        }
    })
}

fn qos() -> impl Strategy<Value = Vec<Qos>> {
    let one = |name: &'static str| {
        (-2..3_i32, 0.0..3.0_f64, -50.0..50.0_f64).prop_map(move |(tier, factor, priority)| Qos {
            name: name.into(),
            tier,
            usage_factor: factor,
            priority,
            ..Qos::default()
        })
    };
    // They stay there, so that nobody waits with a quality of service that there is not.
    (one(QOS[0]), one(QOS[1]), one(QOS[2])).prop_map(|(a, b, c)| {
        let polite = Qos {
            preemptible: true,
            ..c
        };
        vec![a, b, polite]
    })
}

fn targets(names: &'static [&'static str]) -> impl Strategy<Value = Vec<(String, MauiTarget)>> {
    let kind = prop::sample::select(vec![
        TargetKind::Target,
        TargetKind::Floor,
        TargetKind::Ceiling,
        TargetKind::Cap,
        TargetKind::IntervalCap,
    ]);
    let target = (prop::sample::select(names), 1.0..100.0_f64, kind);
    let target = target.prop_map(|(name, percent, kind)| {
        let target = MauiTarget { percent, kind };
        (name.to_owned(), target)
    });
    prop::collection::vec(target, 0..3)
}

/// A policy that may be put in force.
pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let order = (
        prop::sample::select(&PolicyKind::ALL[..]),
        prop::sample::select(&Metric::ALL[..]),
        prop::option::of(1..5000_u64),
        (60..7200_u64, 1..8_u32, 0.0..1.0_f64),
        24..40_000_u64,
    );
    let maui = (
        targets(&USERS),
        targets(&GROUPS),
        targets(&QOS),
        prop::array::uniform3(-2.0..50.0_f64),
    );
    let bounds = (
        prop::collection::vec(limit(), 0..3),
        prop::collection::vec(budget(), 0..2),
        prop::collection::vec(pause(), 0..2),
    );
    let parts = (order, maui, bounds, shares(), qos(), any::<bool>());
    parts.prop_map(|(order, maui, bounds, shares, qos, preempts)| {
        let (kind, metric, wait_max_s, (duration_s, depth, decay), half_life_s) = order;
        let mut policy = Policy {
            kind,
            wait_max_s,
            shares,
            qos,
            limits: bounds.0,
            budgets: bounds.1,
            paused: bounds.2,
            ..Policy::default()
        };
        policy.preemption.enabled = preempts;
        policy.preemption.again_after_s = 600;
        policy.usage.metric = metric;
        policy.fairshare.duration_s = duration_s;
        policy.fairshare.max_depth = depth;
        policy.fairshare.decay_rate = decay;
        policy.half_life.half_life_s = half_life_s;
        policy.maui.interval_s = duration_s;
        policy.maui.depth = depth;
        policy.maui.decay = decay;
        let [group, qos, queue] = maui.3;
        policy.maui.group_weight = group;
        policy.maui.qos_weight = qos;
        policy.maui.queue_weight = queue;
        policy.maui.expansion_factor_weight = qos.max(0.0);
        policy.maui.resource_weight = queue;
        policy.maui.users = maui.0.into_iter().collect();
        policy.maui.groups = maui.1.into_iter().collect();
        policy.maui.qos = maui.2.into_iter().collect();
        policy
    })
}
