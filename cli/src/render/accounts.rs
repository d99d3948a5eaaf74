//! Shares, usage, policy and tokens.

use std::time::Duration;

use fairway_api::public::{SharesView, TokenView, UsageView};
use fairway_model::{Metric, Policy, PolicyKind, Timestamp};

use super::table::{Cell, Table, facts};
use super::words;

/// All users' standing, with the numbers that it came from.
pub(crate) fn shares(view: &SharesView) -> String {
    let usage = &view.policy.usage;
    let mut table = Table::new([
        ">PLACE",
        "SHARE",
        ">DUE",
        ">USED",
        ">USAGE",
        ">WAITING",
        ">RUNNING",
        "USED, CURRENT INTERVAL FIRST",
    ]);
    for node in &view.tree {
        table.row([
            Cell::number(super::table::NONE),
            Cell::new(format!("{}/", node.path)),
            Cell::number(percent(node.due)),
            Cell::number(percent(node.used)),
            Cell::number(format!("{:.2}", node.usage)),
            Cell::number(super::table::NONE),
            Cell::number(node.running),
            Cell::new(""),
        ]);
    }
    for share in &view.users {
        // Not more than a line holds.
        let used: Vec<_> = share
            .intervals
            .iter()
            .take(INTERVALS_SHOWN)
            .map(|interval| match usage.metric {
                Metric::TasksStarted => interval.tasks_started.to_string(),
                _ => (interval.core_ms / 1000).to_string(),
            })
            .collect();
        table.row([
            match share.place {
                Some(place) => Cell::number(place),
                None => Cell::number(super::table::NONE),
            },
            Cell::new(&share.path),
            Cell::number(percent(share.due)),
            Cell::number(percent(share.used)),
            Cell::number(format!("{:.2}", share.fs)),
            Cell::number(share.waiting),
            Cell::number(share.running),
            Cell::new(used.join(" ")),
        ]);
    }
    format!("{}\n{}", policy(&view.policy), table.text_or("no users"))
}

/// So many intervals of a user are shown.
const INTERVALS_SHOWN: usize = 8;

fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// The order of service under a policy, in a sentence.
fn order(policy: &Policy) -> &'static str {
    match policy.kind {
        PolicyKind::Fifo => "fifo: tasks in order of arrival",
        PolicyKind::RoundRobin => "round-robin: users in turn, one task each",
        PolicyKind::RoundRobinGroups => "round-robin-groups: groups in turn, then their users",
        PolicyKind::Fairshare => "fairshare: the smallest FS for the size of its share first",
        PolicyKind::FairTree => "fair-tree: the least usage for the size of its share first",
        PolicyKind::HalfLife => "half-life: users by 2^(-U/S), the largest first",
        PolicyKind::UserPriority => "user-priority: users furthest below their slice first",
        PolicyKind::Maui => "maui: tasks by their weighted priority, the largest first",
    }
}

/// How usage loses weight under a policy, in a sentence.
fn decay(policy: &Policy) -> String {
    let windows = |depth: u32, length_s: u64, rate: f64| {
        let length = words::span(Duration::from_secs(length_s));
        format!(
            "in the last {depth} intervals of {length}, each weighing {rate} of the one after it"
        )
    };
    match policy.kind {
        PolicyKind::FairTree | PolicyKind::HalfLife | PolicyKind::UserPriority => {
            let half_life = Duration::from_secs(policy.half_life.half_life_s);
            format!("with a half-life of {}", words::span(half_life))
        }
        PolicyKind::Maui => {
            let maui = &policy.maui;
            windows(maui.depth, maui.interval_s, maui.decay)
        }
        _ => {
            let fairshare = policy.fairshare;
            windows(
                fairshare.max_depth,
                fairshare.duration_s,
                fairshare.decay_rate,
            )
        }
    }
}

/// The policy in a few lines.
pub(crate) fn policy(policy: &Policy) -> String {
    facts(&policy_facts(policy))
}

/// The policy in a few lines: their names and what they say.
pub(super) fn policy_facts(policy: &Policy) -> Vec<(&'static str, String)> {
    let usage = format!("{} {}", policy.usage.metric.name(), decay(policy));
    let mut lines = vec![("policy", order(policy).to_owned()), ("usage", usage)];
    let counts = [
        ("shares", policy.shares.len()),
        ("QoS", policy.qos.len()),
        ("limits", policy.limits.len()),
        ("budgets", policy.budgets.len()),
        ("paused", policy.paused.len()),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    if !counts.is_empty() {
        lines.push(("also", counts.join(", ")));
    }
    lines
}

/// Usage, summed up by `by`.
pub(crate) fn usage(usage: &[UsageView], by: &str) -> String {
    let title = by.to_uppercase();
    let mut table = Table::new([
        &title,
        ">ATTEMPTS",
        ">SUCCEEDED",
        ">WALL",
        ">CORE TIME",
        ">CPU TIME",
        ">PEAK MEMORY",
    ]);
    for line in usage {
        table.row([
            Cell::new(&line.key),
            Cell::number(line.attempts),
            Cell::number(line.succeeded),
            Cell::number(words::span_ms(line.wall_ms)),
            Cell::number(words::span_ms(line.core_ms)),
            Cell::number(words::span_ms(line.cpu_ms)),
            Cell::number(words::memory_kib(line.memory_peak_kib)),
        ]);
    }
    table.text_or("no usage")
}

/// Tokens, without their secrets.
pub(crate) fn tokens(tokens: &[TokenView], now: Timestamp) -> String {
    let mut table = Table::new(["ID", "NAME", "ROLE", "GROUP", "SITES", "VALID"]);
    for token in tokens {
        let sites: Vec<_> = token.sites.iter().map(ToString::to_string).collect();
        let valid = match token.revoked_at {
            Some(revoked_at) => format!("revoked {revoked_at}"),
            None if token.expires_at <= now => format!("expired {}", token.expires_at),
            None => format!("until {}", token.expires_at),
        };
        table.row([
            Cell::new(&token.id),
            Cell::new(&token.name),
            Cell::new(token.role.name()),
            Cell::maybe(token.group.as_ref()),
            Cell::maybe((!sites.is_empty()).then(|| sites.join(" "))),
            Cell::new(valid),
        ]);
    }
    table.text_or("no tokens")
}
