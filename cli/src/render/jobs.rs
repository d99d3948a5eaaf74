//! Jobs.

use fairway_api::public::{JobView, NodeView, TasksChanged};
use fairway_model::{JobId, TaskState, TaskVerb, Timestamp};

use super::table::{Cell, Table, facts, harmless};
use super::{task_style, words};

/// A list of jobs.
pub(crate) fn list(jobs: &[JobView], now: Timestamp) -> String {
    let mut table = Table::new([
        "JOB",
        "NAME",
        "OWNER",
        ">TASKS",
        ">WAITING",
        ">RUNNING",
        ">DONE",
        ">FAILED",
        "SUBMITTED",
    ]);
    for job in jobs {
        let count = |states: &[TaskState]| -> u32 { states.iter().map(|it| job.count(*it)).sum() };
        let cell = |states: &[TaskState]| {
            let number = count(states);
            let cell = Cell::number(number);
            match states.last() {
                Some(state) if number > 0 => cell.styled(task_style(*state)),
                _ => cell,
            }
        };
        table.row([
            Cell::new(job.id),
            Cell::new(&job.name),
            Cell::new(&job.owner),
            Cell::number(job.tasks),
            cell(&[TaskState::Blocked, TaskState::Held, TaskState::Waiting]),
            cell(&[TaskState::Cancelling, TaskState::Leased, TaskState::Running]),
            cell(&[TaskState::Succeeded]),
            cell(&[TaskState::Skipped, TaskState::Cancelled, TaskState::Failed]),
            Cell::new(format!("{} ago", words::age(now, job.submitted_at))),
        ]);
    }
    table.text_or("no jobs")
}

/// One job.
pub(crate) fn one(job: &JobView, now: Timestamp) -> String {
    let states = TaskState::ALL
        .into_iter()
        .filter(|state| job.count(*state) > 0)
        .map(|state| format!("{} {}", job.count(state), state.name()))
        .collect::<Vec<_>>()
        .join(", ");
    let mut rows = vec![
        ("job", format!("{} {}", job.id, job.name)),
        ("owner", job.owner.to_string()),
    ];
    if let Some(group) = &job.group {
        rows.push(("group", group.to_string()));
    }
    rows.push((
        "submitted",
        format!(
            "{} ({} ago)",
            job.submitted_at,
            words::age(now, job.submitted_at)
        ),
    ));
    if let Some(ended_at) = job.ended_at {
        let took = words::age(ended_at, job.submitted_at);
        rows.push(("ended", format!("{ended_at} (after {took})")));
    }
    if job.nodes > 0 {
        rows.push(("nodes", job.nodes.to_string()));
    }
    rows.push(("tasks", format!("{}: {states}", job.tasks)));
    facts(&rows)
}

/// So many nodes that a node waits for are named.
const PARENTS_MAX: usize = 4;

/// The nodes of a compound job.
pub(crate) fn nodes(nodes: &[NodeView]) -> String {
    let mut table = Table::new(["NODE", "STATE", ">TASKS", "AFTER", "DETAIL"]);
    for node in nodes {
        let mut parents: Vec<&str> = node.parents.iter().map(String::as_str).collect();
        let more = parents.len().saturating_sub(PARENTS_MAX);
        parents.truncate(PARENTS_MAX);
        let mut after = parents.join(", ");
        if more > 0 {
            after.push_str(&format!(" and {more} more"));
        }
        let states = node.states.iter().filter(|_| node.states.len() > 1);
        let states: Vec<_> = states
            .map(|(state, n)| format!("{n} {}", state.name()))
            .collect();
        table.row([
            Cell::new(&node.name),
            Cell::new(node.state.name()).styled(task_style(node.state)),
            Cell::number(node.tasks),
            Cell::new(after),
            Cell::new(states.join(", ")),
        ]);
    }
    table.without_empty("AFTER");
    table.without_empty("DETAIL");
    table.text_or("no nodes")
}

/// One node.
pub(crate) fn node(job: JobId, node: &NodeView) -> String {
    let states = node.states.iter();
    let states: Vec<_> = states
        .map(|(state, n)| format!("{n} {}", state.name()))
        .collect();
    let mut rows = vec![
        ("node", format!("{} of job {job}", node.name)),
        ("state", node.state.name().to_owned()),
        ("tasks", format!("{}: {}", node.tasks, states.join(", "))),
    ];
    if !node.parents.is_empty() {
        rows.push(("after", node.parents.join(", ")));
    }
    facts(&rows)
}

/// What became of a cancel, hold, release, retry, suspend or resume.
pub(crate) fn changed(verb: TaskVerb, changed: &TasksChanged) -> String {
    let done = match verb {
        TaskVerb::Cancel => "cancelled",
        TaskVerb::Hold => "held",
        TaskVerb::Release => "released",
        TaskVerb::Retry => "queued again",
        TaskVerb::Suspend => "suspended",
        TaskVerb::Resume => "resumed",
    };
    let mut text = format!("{} {done}\n", words::count(changed.changed, "task"));
    for left in changed.left.iter().filter(|left| !left.missing) {
        text.push_str(&format!("{}: {}\n", left.task, harmless(&left.because)));
    }
    text
}
