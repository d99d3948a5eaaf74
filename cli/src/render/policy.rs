//! The policy: the whole of it, what another one would change, and its history.

use std::time::Duration;

use fairway_api::public::{DueChange, HeldChange, NextTask, PlaceChange, PolicyChange, PolicyDiff};
use fairway_model::policy::{
    Backfill, Budget, BudgetPeriod, FieldChange, Limit, Pause, Qos, Scope, Share, Who,
};
use fairway_model::{Policy, PolicyKind};

use super::accounts;
use super::table::{Cell, NONE, Table, facts, harmless};
use super::words;

/// The whole policy.
pub(crate) fn whole(policy: &Policy) -> String {
    let mut lines = accounts::policy_facts(policy);
    lines.extend(rules(policy));
    let mut text = facts(&lines);
    let mut add = |entries: usize, table: String| {
        if entries > 0 {
            text.push('\n');
            text.push_str(&table);
        }
    };
    add(policy.shares.len(), shares(&policy.shares));
    add(policy.qos.len(), qos(&policy.qos));
    add(policy.limits.len(), limits(&policy.limits));
    add(policy.budgets.len(), budgets(&policy.budgets));
    add(policy.paused.len(), paused(&policy.paused));
    text
}

/// What holds whatever the kind.
fn rules(policy: &Policy) -> [(&'static str, String); 3] {
    let span = |seconds| words::span(Duration::from_secs(seconds));
    let longest = match policy.wait_max_s {
        _ if policy.kind == PolicyKind::Maui => "no bound: waiting has a weight".to_owned(),
        None => "no bound".to_owned(),
        Some(seconds) => format!("after {} a task goes before all others", span(seconds)),
    };
    let backfill = match policy.backfill.mode {
        Backfill::Off => "off",
        Backfill::Easy => "easy",
        Backfill::Conservative => "conservative",
    };
    let preemption = match policy.preemption.enabled {
        false => "off".to_owned(),
        true => format!(
            "for tasks that have waited {}",
            span(policy.preemption.wait_min_s)
        ),
    };
    [
        ("waiting", longest),
        ("backfill", backfill.to_owned()),
        ("preemption", preemption),
    ]
}

fn shares(shares: &[Share]) -> String {
    let mut table = Table::new(["SHARE OF", ">SHARE", "WHAT"]);
    for share in shares {
        table.row([
            Cell::new(&share.path),
            Cell::number(share.share),
            Cell::new(if share.user { "user" } else { "group" }),
        ]);
    }
    table.text_or("no shares")
}

fn qos(all: &[Qos]) -> String {
    let mut table = Table::new(["QOS", ">TIER", ">USAGE COUNTS", "PREEMPTS", "FOR"]);
    for qos in all {
        let users = qos.users.iter().map(|user| format!("user {user}"));
        let groups = qos.groups.iter().map(|group| format!("group {group}"));
        let who: Vec<String> = users.chain(groups).collect();
        let preempts = qos.preempts.iter().map(|it| match it.as_str() {
            "" => "tasks without QoS",
            name => name,
        });
        let preempts: Vec<&str> = preempts.collect();
        table.row([
            Cell::new(&qos.name),
            Cell::number(qos.tier),
            Cell::number(format!("x {}", qos.usage_factor)),
            Cell::maybe((!preempts.is_empty()).then(|| preempts.join(", "))),
            Cell::new(match who.is_empty() {
                true => "everybody".to_owned(),
                false => who.join(", "),
            }),
        ]);
    }
    table.text_or("no QoS")
}

fn limits(limits: &[Limit]) -> String {
    let mut table = Table::new([
        "LIMIT FOR",
        "AT",
        ">RUNNING",
        ">CORES",
        ">WAITING",
        ">CORES WAITING",
    ]);
    let maximum = |max: Option<u64>| match max {
        Some(max) => Cell::number(max),
        None => Cell::number(NONE),
    };
    for limit in limits {
        table.row([
            Cell::new(scope(&limit.scope())),
            Cell::new(match &limit.site {
                Some(site) => site.to_string(),
                None => "all sites together".to_owned(),
            }),
            maximum(limit.running_tasks_max),
            maximum(limit.running_cores_max),
            maximum(limit.waiting_tasks_max),
            maximum(limit.waiting_cores_max),
        ]);
    }
    table.text_or("no limits")
}

fn budgets(budgets: &[Budget]) -> String {
    let mut table = Table::new(["BUDGET OF", ">CORE-HOURS", "LASTS"]);
    for budget in budgets {
        table.row([
            Cell::new(scope(&budget.scope())),
            Cell::number(budget.core_hours),
            Cell::new(match budget.every {
                BudgetPeriod::Day => "a day",
                BudgetPeriod::Total => "for ever",
            }),
        ]);
    }
    table.text_or("no budgets")
}

/// Of whom nothing new is started.
pub(crate) fn paused(paused: &[Pause]) -> String {
    let mut table = Table::new(["PAUSED", "UNTIL", "WHY"]);
    for pause in paused {
        table.row([
            Cell::new(scope(&pause.scope())),
            Cell::maybe(pause.until),
            Cell::maybe((!pause.why.is_empty()).then_some(&pause.why)),
        ]);
    }
    table.text_or("nobody is paused")
}

/// Whom a bound is about, in words.
fn scope(scope: &Scope) -> String {
    let who = |what: &str, who: &Option<Who>| {
        who.as_ref().map(|who| match who {
            Who::Each => format!("each {what}"),
            Who::One(name) => format!("{what} {name}"),
        })
    };
    let named = |what: &str, name: &Option<String>| name.as_ref().map(|it| format!("{what} {it}"));
    let parts = [
        who("user", &scope.user),
        who("group", &scope.group),
        named("QoS", &scope.qos),
        named("tag", &scope.tag),
        named("queue", &scope.queue),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "everybody together".to_owned(),
        false => parts.join(", "),
    }
}

/// Settings that differ.
pub(crate) fn changes(changes: &[FieldChange]) -> String {
    let mut table = Table::new(["SETTING", "BEFORE", "AFTER"]);
    for change in changes {
        table.row([
            Cell::new(&change.field),
            Cell::maybe(change.before.as_ref()),
            Cell::maybe(change.after.as_ref()),
        ]);
    }
    table.text_or("no setting differs")
}

/// What would follow from another policy.
pub(crate) fn diff(diff: &PolicyDiff) -> String {
    let mut text = changes(&diff.changes);
    let mut add = |table: String, left_out: u64, noun: &str| {
        text.push('\n');
        text.push_str(&table);
        if left_out > 0 {
            text.push_str(&format!("… and {}\n", words::count(left_out, noun)));
        }
    };
    add(places(&diff.places), diff.places_left_out, "more place");
    add(dues(&diff.dues), diff.dues_left_out, "more share");
    add(held(&diff.held), diff.held_left_out, "more user");
    add(next(&diff.next_before, &diff.next_after), 0, "");
    text
}

fn owner(user: impl ToString, group: Option<&impl ToString>) -> Cell {
    let user = user.to_string();
    Cell::new(match group {
        Some(group) => format!("{user} ({})", group.to_string()),
        None => user,
    })
}

fn number(number: Option<impl ToString>) -> Cell {
    match number {
        Some(number) => Cell::number(number),
        None => Cell::number(NONE),
    }
}

fn places(places: &[PlaceChange]) -> String {
    let mut table = Table::new(["ORDER OF SERVICE", ">WAITING", ">BEFORE", ">AFTER"]);
    for it in places {
        table.row([
            owner(&it.user, it.group.as_ref()),
            Cell::number(it.waiting),
            number(it.before),
            number(it.after),
        ]);
    }
    table.text_or("nobody's place in the order of service changes")
}

fn dues(dues: &[DueChange]) -> String {
    let percent = |part: Option<f64>| part.map(|part| format!("{:.1} %", 100.0 * part));
    let mut table = Table::new(["DUE", ">BEFORE", ">AFTER"]);
    for it in dues {
        table.row([
            Cell::new(&it.path),
            number(percent(it.before)),
            number(percent(it.after)),
        ]);
    }
    table.text_or("nobody's due part changes")
}

fn held(held: &[HeldChange]) -> String {
    let mut table = Table::new([
        "KEPT BACK",
        ">WAITING",
        ">BEFORE",
        ">AFTER",
        "BY",
        "BECAUSE",
    ]);
    for it in held {
        table.row([
            owner(&it.user, it.group.as_ref()),
            Cell::number(it.waiting),
            Cell::number(it.before),
            Cell::number(it.after),
            Cell::new(&it.clause),
            Cell::new(&it.because),
        ]);
    }
    table.text_or("no bound keeps back more tasks, or fewer")
}

fn next(before: &[NextTask], after: &[NextTask]) -> String {
    let mut table = Table::new([">NEXT", "BEFORE", "AFTER"]);
    let told = |task: Option<&NextTask>| {
        Cell::maybe(task.map(|it| match &it.group {
            Some(group) => format!("{} {} ({group})", it.task, it.user),
            None => format!("{} {}", it.task, it.user),
        }))
    };
    for place in 0..before.len().max(after.len()) {
        table.row([
            Cell::number(place + 1),
            told(before.get(place)),
            told(after.get(place)),
        ]);
    }
    table.text_or("no task would be served")
}

/// Who changed what, when and why.
pub(crate) fn history(all: &[PolicyChange]) -> String {
    if all.is_empty() {
        return "the policy was never changed\n".to_owned();
    }
    let mut text = String::new();
    for it in all {
        let because = it
            .because
            .as_deref()
            .map(|why| format!(": {}", harmless(why)));
        let because = because.unwrap_or_default();
        text.push_str(&format!("{} by {}{because}\n", it.at, it.by));
        for change in &it.changes {
            let value = |value: &Option<String>| harmless(value.as_deref().unwrap_or(NONE));
            text.push_str(&format!(
                "    {}: {} -> {}\n",
                harmless(&change.field),
                value(&change.before),
                value(&change.after)
            ));
        }
    }
    text
}
