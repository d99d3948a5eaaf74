//! Shares, usage, policy and tokens.

use std::time::Duration;

use fairway_api::public::{SharesView, TokenView, UsageView};
use fairway_model::{Metric, Policy, PolicyKind, Timestamp};

use super::table::{Cell, Table, facts};
use super::words;

/// All users' standing, with the numbers that it came from.
pub(crate) fn shares(view: &SharesView) -> String {
    let settings = view.policy.fairshare;
    let mut table = Table::new([
        ">PLACE",
        "USER",
        ">FS",
        ">WAITING",
        ">RUNNING",
        "USED, CURRENT INTERVAL FIRST",
    ]);
    for share in &view.users {
        let used: Vec<_> = share
            .intervals
            .iter()
            .map(|interval| match settings.metric {
                Metric::TasksStarted => interval.tasks_started.to_string(),
                Metric::CoreSeconds => (interval.core_ms / 1000).to_string(),
            })
            .collect();
        table.row([
            match share.place {
                Some(place) => Cell::number(place),
                None => Cell::number(super::table::NONE),
            },
            Cell::new(&share.user),
            Cell::number(format!("{:.2}", share.fs)),
            Cell::number(share.waiting),
            Cell::number(share.running),
            Cell::new(used.join(" ")),
        ]);
    }
    format!("{}\n{}", policy(&view.policy), table.text_or("no users"))
}

/// The policy.
pub(crate) fn policy(policy: &Policy) -> String {
    let settings = policy.fairshare;
    let kind = match policy.kind {
        PolicyKind::Fifo => "fifo: tasks in order of arrival",
        PolicyKind::RoundRobin => "round-robin: users in turn, one task each",
        PolicyKind::Fairshare => "fairshare: the user with the smallest FS first",
    };
    let metric = match settings.metric {
        Metric::TasksStarted => "tasks started",
        Metric::CoreSeconds => "core-seconds",
    };
    facts(&[
        ("policy", kind.to_owned()),
        (
            "FS",
            format!(
                "{metric} in the last {} intervals of {}, each weighing {} of the one after it",
                settings.max_depth,
                words::span(Duration::from_secs(settings.duration_s)),
                settings.decay_rate
            ),
        ),
    ])
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
