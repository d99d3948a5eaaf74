//! Why a task is where it is, in sentences.

mod future;

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use fairway_api::public::{CeVerdict, Explanation, ShareView};
use fairway_model::TaskState;

use super::table::harmless;
use super::{task_style, words};

/// The whole explanation.
pub(crate) fn text(explanation: &Explanation) -> String {
    let style = task_style(explanation.state);
    let node = explanation.node.as_ref();
    let node = node.map_or(String::new(), |node| format!(" (node {})", harmless(node)));
    let mut paragraphs = vec![format!(
        "Task {}{node} {style}{}{style:#}. {}{}\n",
        explanation.task,
        predicate(explanation.state),
        harmless(&explanation.summary),
        future::sentence(explanation)
    )];
    paragraphs.extend(other_jobs(explanation));
    paragraphs.extend(place(explanation));
    paragraphs.extend(future::before(explanation));
    paragraphs.extend(future::priority(explanation));
    paragraphs.push(demand(explanation));
    let (eligible, refused): (Vec<_>, Vec<_>) = explanation.ces.iter().partition(|it| it.eligible);
    if explanation.ces.is_empty() && !explanation.state.is_final() {
        paragraphs.push("No CE is known: a site must be registered first.\n".into());
    }
    if !eligible.is_empty() {
        paragraphs.push(format!("It could run at:\n{}", could_run(&eligible)));
    }
    if !refused.is_empty() {
        paragraphs.push(format!("It cannot run at:\n{}", refusals(&refused)));
    }
    paragraphs.extend(pilots(explanation));
    paragraphs.extend(future::history(explanation));
    paragraphs.join("\n")
}

/// The pilots at work, and what speaks against each.
fn pilots(explanation: &Explanation) -> Option<String> {
    if explanation.pilots.is_empty() {
        return None;
    }
    let dimmed = Style::new().dimmed();
    let mut text = String::from("Pilots at work:\n");
    for verdict in &explanation.pilots {
        let _ = write!(text, "  {} at {}", verdict.pilot, verdict.ce);
        let against: Vec<String> = (verdict.refusals.iter())
            .map(|it| {
                let (because, clause) = (harmless(&it.because), harmless(&it.clause));
                format!("{because} {dimmed}[{clause}]{dimmed:#}")
            })
            .collect();
        let _ = match against.is_empty() {
            true => writeln!(text, ": has room for it, when it is its turn"),
            false => writeln!(text, ": {}", against.join("; ")),
        };
    }
    Some(text)
}

/// The state as what is said of a task.
const fn predicate(state: TaskState) -> &'static str {
    match state {
        TaskState::Blocked => "is blocked",
        TaskState::Waiting => "is waiting",
        TaskState::Held => "is held",
        TaskState::Leased => "is about to start",
        TaskState::Running => "is running",
        TaskState::Cancelling => "is being cancelled",
        TaskState::Succeeded => "has succeeded",
        TaskState::Failed => "has failed",
        TaskState::Cancelled => "was cancelled",
        TaskState::Skipped => "was skipped",
    }
}

/// What it waits for of other jobs, if the summary cannot tell all of it.
fn other_jobs(explanation: &Explanation) -> Option<String> {
    if explanation.depends.len() < 2 {
        return None;
    }
    let mut text = String::from("It depends on:\n");
    for on in &explanation.depends {
        let _ = write!(text, "  {}", harmless(&on.dependency));
        match (on.met, on.progress) {
            (true, _) => text.push_str(" (it is so)"),
            (false, Some(it)) => {
                let _ = write!(
                    text,
                    " ({} not started, {} running, {} succeeded, {} not)",
                    it.pending, it.running, it.succeeded, it.lost
                );
            }
            (false, None) => {}
        }
        text.push('\n');
    }
    Some(text)
}

/// Its place in the queue, and its owner's standing.
fn place(explanation: &Explanation) -> Option<String> {
    let mut text = String::new();
    match explanation.ahead {
        Some(0) => text.push_str("No task would be served before it.\n"),
        Some(1) => text.push_str("1 task would be served before it.\n"),
        Some(ahead) => text.push_str(&format!("{ahead} tasks would be served before it.\n")),
        None => {}
    }
    if let Some(share) = &explanation.share {
        text.push_str(&standing(share));
    }
    (!text.is_empty()).then_some(text)
}

fn standing(share: &ShareView) -> String {
    let place = match share.place {
        Some(1) => "is served first".to_owned(),
        Some(place) => format!("is number {place} in the order of service"),
        None if share.waiting > 0 => "is passed over for now".to_owned(),
        None => "has no task in the queue".to_owned(),
    };
    format!(
        "{} {place}: FS is {:.2}, with {} waiting and {} running. Due is {:.1} % of everything, \
         used were {:.1} %.\n",
        share.user,
        share.fs,
        words::count(share.waiting, "task"),
        share.running,
        share.due * 100.0,
        share.used * 100.0
    )
}

/// What it asks for.
fn demand(explanation: &Explanation) -> String {
    let mut text = format!("It asks for {}", words::resources(explanation.resources));
    if explanation.hosts > 1 {
        let _ = write!(text, " on each of {} hosts", explanation.hosts);
    }
    if let Some(seconds) = explanation.walltime_s {
        let walltime = words::span(Duration::from_secs(seconds));
        let _ = write!(text, ", {walltime} of walltime");
    }
    text.push_str(".\n");
    if let Some(requirements) = &explanation.requirements {
        let _ = writeln!(text, "  Requirements = {}", harmless(requirements));
    }
    if let Some(rank) = &explanation.rank {
        let _ = writeln!(text, "  Rank = {}", harmless(rank));
    }
    if let Some(deadline) = &explanation.deadline {
        let _ = writeln!(
            text,
            "Its deadline is {}: {}.",
            match deadline.outlook.as_str() {
                "met" => "within reach",
                "tight" => "tight",
                _ => "out of reach",
            },
            harmless(&deadline.because)
        );
    }
    text
}

fn could_run(ces: &[&CeVerdict]) -> String {
    let style = AnsiColor::Green.on_default();
    let mut text = String::new();
    for verdict in ces {
        let _ = write!(text, "  {style}{}{style:#}", verdict.ce);
        if let Some(rank) = verdict.rank {
            let _ = write!(text, " (Rank {rank})");
        }
        text.push('\n');
    }
    text
}

fn refusals(ces: &[&CeVerdict]) -> String {
    let style = AnsiColor::Red.on_default();
    let dimmed = Style::new().dimmed();
    let mut text = String::new();
    for verdict in ces {
        let _ = writeln!(text, "  {style}{}{style:#}", verdict.ce);
        for refusal in &verdict.refusals {
            let _ = writeln!(
                text,
                "    {} {dimmed}[{}]{dimmed:#}",
                harmless(&refusal.because),
                harmless(&refusal.clause)
            );
        }
    }
    text
}
