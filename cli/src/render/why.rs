//! Why a CE has the pilots that it has, in sentences.

use std::fmt::Write as _;
use std::time::Duration;

use fairway_api::public::{
    CeProvisioning, JobCounts, Refusal, SupplyDecision, SupplyVerb, WantingClass,
};
use fairway_model::{PilotSharing, Timestamp};

use super::sites::{mode_name, pilots_in_words};
use super::table::harmless;
use super::words;

/// So many classes of tasks, and so many decisions, are told.
const LINES_MAX: usize = 10;

/// All CEs.
pub(crate) fn text(report: &[CeProvisioning], now: Timestamp) -> String {
    let ces: Vec<String> = report.iter().map(|ce| one(ce, now)).collect();
    ces.join("\n")
}

fn one(ce: &CeProvisioning, now: Timestamp) -> String {
    let mut text = format!("{} is {}. {}\n", ce.ce, mode_name(ce.mode), verdict(ce));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "  Pilots there: {}.",
        pilots_in_words(Some(&ce.pilots))
    );
    let _ = writeln!(text, "  {}", jobs(ce));
    let _ = writeln!(text, "  {}", new_pilot(ce));
    let _ = writeln!(text, "  {}", past(ce));
    section(&mut text, "In the way", ce.closures.iter().map(refusal));
    if let Some(backoff) = &ce.backoff {
        let wait = words::span(backoff.until.since(now));
        let because = harmless(&backoff.because);
        let _ = writeln!(
            text,
            "  No pilots are asked for for another {wait}: {because}."
        );
    }
    section(
        &mut text,
        "Nodes set aside (fairway site release SITE/CE NODE)",
        ce.set_aside.iter().map(|node| {
            let wait = words::span(node.until.since(now));
            let (host, evidence) = (harmless(&node.host), harmless(&node.evidence));
            format!("{host}, tried again in {wait}: {evidence}")
        }),
    );
    let wanting = ce.wanting.iter().take(LINES_MAX).flat_map(wanting);
    section(&mut text, "Wanted by", wanting);
    if let Some(more) = ce.wanting.len().checked_sub(LINES_MAX).filter(|it| *it > 0) {
        let _ = writeln!(text, "    and {more} more kinds of tasks");
    }
    section(
        &mut text,
        "Limits",
        ce.limits.iter().map(|limit| {
            let full = if limit.full { " (full)" } else { "" };
            format!("{}: {}{full}", limit.name, harmless(&limit.because))
        }),
    );
    let decisions = ce.decisions.iter().rev().take(LINES_MAX);
    section(
        &mut text,
        "Last decisions, the newest first",
        decisions.map(|it| decision(it, now)),
    );
    text
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "  {title}:");
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}

fn verdict(ce: &CeProvisioning) -> String {
    let because = harmless(&ce.verdict.because);
    match ce.verdict.pilots {
        0 => format!("No pilot is asked for: {because}."),
        pilots => format!(
            "{} would be asked for now: {because}.",
            words::count(pilots, "pilot")
        ),
    }
}

fn jobs(ce: &CeProvisioning) -> String {
    let counts = |jobs: JobCounts| format!("{} running and {} waiting", jobs.running, jobs.waiting);
    let others = ce.others.map_or_else(
        || "how many others there are, the batch system does not tell".to_owned(),
        |jobs| format!("others: {}", counts(jobs)),
    );
    format!("Our jobs: {}; {others}.", counts(ce.ours))
}

fn new_pilot(ce: &CeProvisioning) -> String {
    let whose = match ce.sharing {
        PilotSharing::Shared => "for everybody who may use the CE",
        PilotSharing::PerUser => "for one user",
        PilotSharing::PerGroup => "for one group",
    };
    let nodes = match ce.nodes {
        1 => String::new(),
        nodes => format!(" on each of {nodes} nodes"),
    };
    let start = ce.response_s.map_or_else(
        || "when it would start is not known".to_owned(),
        |seconds| {
            format!(
                "it would start in about {}",
                words::span(Duration::from_secs(seconds))
            )
        },
    );
    format!(
        "A new pilot is {whose}: {}{nodes}, {}; {start}.",
        words::resources(ce.resources),
        words::span(Duration::from_secs(ce.walltime_s))
    )
}

fn past(ce: &CeProvisioning) -> String {
    format!(
        "Asked for in the last 24 hours: {}. Never called home since the server started: {}.",
        ce.asked_in_a_day, ce.never_called_home
    )
}

fn wanting(class: &WantingClass) -> Vec<String> {
    let group = class.group.as_ref();
    let group = group.map_or(String::new(), |group| format!(" of group {group}"));
    let rank = class
        .rank
        .map_or(String::new(), |rank| format!(", Rank {rank}"));
    let mut lines = vec![format!(
        "{}{group}, {} without a pilot{rank}: {}",
        words::count(class.waiting, "task"),
        class.without_pilot,
        harmless(&class.needs)
    )];
    let refusals = class.refusals.iter();
    lines.extend(refusals.map(|it| format!("  which a new pilot could not run: {}", refusal(it))));
    lines
}

fn refusal(refusal: &Refusal) -> String {
    format!("{}: {}", refusal.clause, harmless(&refusal.because))
}

fn decision(decision: &SupplyDecision, now: Timestamp) -> String {
    let pilots = words::count(decision.pilots, "pilot");
    let what = match decision.what {
        SupplyVerb::Ordered => format!("asked for {pilots}"),
        SupplyVerb::Recalled => format!("called {pilots} back"),
        SupplyVerb::Useless => format!("{pilots} of no use"),
        SupplyVerb::Nothing => "asked for none".to_owned(),
    };
    let age = words::age(now, decision.at);
    format!(
        "{} ({age} ago): {what}: {}",
        decision.at,
        harmless(&decision.because)
    )
}
