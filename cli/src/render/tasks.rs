//! Tasks.

use fairway_api::public::TaskView;
use fairway_model::{TaskState, Timestamp};

use super::table::{Cell, Table, facts};
use super::{task_style, words};

/// A list of tasks.
pub(crate) fn list(tasks: &[TaskView], now: Timestamp) -> String {
    let mut table = Table::new(["TASK", "NODE", "STATE", "FOR", ">ATTEMPT", "CE", "DETAIL"]);
    for task in tasks {
        table.row([
            Cell::new(task.id),
            Cell::maybe(task.node.as_ref()),
            Cell::new(state(task)).styled(task_style(task.state)),
            Cell::new(words::age(now, task.since)),
            Cell::number(task.attempt),
            Cell::maybe(task.ce.as_ref()),
            Cell::new(detail(task).unwrap_or_default()),
        ]);
    }
    table.without_empty("NODE");
    table.text_or("no tasks")
}

/// One task.
pub(crate) fn one(task: &TaskView, now: Timestamp) -> String {
    let mut rows = vec![
        ("task", task.id.to_string()),
        ("node", task.node.clone().unwrap_or_default()),
        (
            "state",
            format!(
                "{} since {} ({}){}",
                task.state.name(),
                task.since,
                words::age(now, task.since),
                task.suspended_at
                    .map_or(String::new(), |at| format!(", suspended since {at}"))
            ),
        ),
        ("owner", task.owner.to_string()),
        ("attempts", task.attempt.to_string()),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    if let Some(ce) = &task.ce {
        rows.push(("CE", ce.to_string()));
    }
    if let Some(pilot) = task.pilot {
        rows.push(("pilot", pilot.to_string()));
    }
    if let Some(leased_at) = task.leased_at {
        rows.push(("leased", leased_at.to_string()));
    }
    if let Some(started_at) = task.started_at {
        rows.push(("started", started_at.to_string()));
    }
    if task.preemptions > 0 {
        let times = words::count(task.preemptions, "time");
        rows.push(("gave way", times));
    }
    if let Some(detail) = detail(task) {
        rows.push(("detail", detail));
    }
    facts(&rows)
}

/// Its state in a word or two.
fn state(task: &TaskView) -> &'static str {
    match task.suspended_at {
        Some(_) => "suspended",
        None => task.state.name(),
    }
}

/// What is worth knowing about how it stands: nothing more, if it went well.
fn detail(task: &TaskView) -> Option<String> {
    if task.state == TaskState::Succeeded {
        return None;
    }
    task.detail
        .clone()
        .or_else(|| task.last_end.as_ref().map(ToString::to_string))
}
