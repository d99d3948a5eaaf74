//! What a task that is blocked waits for: nodes of its own job, and other jobs.

use fairway_model::{Task, TaskState};

use super::{DependsOn, Progress, WaitsFor};
use crate::State;
use crate::depends::Verdict;
use crate::state::LiveJob;

/// So many nodes that a task waits for are told.
const WAITS_FOR_MAX: usize = 100;

/// The nodes that a task waits for, in order; at most [`WAITS_FOR_MAX`].
pub(super) fn waits_for(live: &LiveJob, index: u32) -> Vec<WaitsFor> {
    let Some(nodes) = &live.nodes else {
        return Vec::new();
    };
    let described = live.spec.nodes();
    let own = live.spec.node_of(index).map(|own| &described[own as usize]);
    let parents = own.into_iter().flat_map(|own| own.parents.iter());
    parents
        .filter(|&&parent| !nodes.is_complete(parent))
        .take(WAITS_FOR_MAX)
        .map(|&parent| WaitsFor {
            node: described[parent as usize].name.to_string(),
            states: live.states_of_node(parent),
        })
        .collect()
}

/// What a task that has not left its place waits for of other jobs: in words, and each thing; at
/// most [`WAITS_FOR_MAX`].
pub(super) fn other_jobs(
    state: &State,
    live: &LiveJob,
    row: &Task,
) -> (Option<String>, Vec<DependsOn>) {
    let (id, index) = (live.job.id, row.id.index);
    let waits = matches!(row.state, TaskState::Blocked | TaskState::Held)
        && state
            .verdicts(id, (index, index + 1))
            .iter()
            .any(|(verdict, _)| *verdict == Verdict::Open);
    let described = live.spec.depends().filter(|_| waits);
    let Some((described, dependent)) = described.zip(state.depends.of(id)) else {
        return (None, Vec::new());
    };
    let terms = dependent.terms.iter().zip(&described.dependencies);
    let each = terms.take(WAITS_FOR_MAX).map(|(term, dependency)| {
        let tally = state.depends.known(term).map(|known| known.tally);
        DependsOn {
            dependency: dependency.to_string(),
            met: state.depends.verdict(id, term, index) == Verdict::Met,
            progress: tally.map(|tally| Progress {
                pending: tally.pending,
                running: tally.begun,
                succeeded: tally.succeeded,
                lost: tally.lost,
            }),
        }
    });
    let each = each.collect();
    (state.depends.until(id, described, index), each)
}

/// All that must be for a task to go into the queue, if it must wait for anything.
pub(super) fn conditions(other_jobs: Option<String>, waits_for: &[WaitsFor]) -> Option<String> {
    let own_job = (!waits_for.is_empty()).then(|| condition(waits_for));
    match (other_jobs, own_job) {
        (Some(first), Some(then)) => Some(format!("{first}; and then until {then}")),
        (first, then) => first.or(then),
    }
}

/// What must be in its own job for a task to go into the queue.
fn condition(waits_for: &[WaitsFor]) -> String {
    const TOLD_MAX: usize = 5;
    let told = waits_for.iter().take(TOLD_MAX).map(|it| {
        let states = it.states.iter();
        let states: Vec<_> = states
            .map(|(state, n)| format!("{n} {}", state.name()))
            .collect();
        format!("`{}` ({})", it.node, states.join(", "))
    });
    let mut told: Vec<String> = told.collect();
    match waits_for.len() {
        0..=TOLD_MAX => {}
        WAITS_FOR_MAX.. => told.push("many more".into()),
        n => told.push(format!("{} more", n - TOLD_MAX)),
    }
    let last = told.pop().unwrap_or_default();
    let all = match told.as_slice() {
        [] => last,
        others => format!("{} and {last}", others.join(", ")),
    };
    let nodes = if waits_for.len() == 1 {
        "node"
    } else {
        "nodes"
    };
    format!("all tasks of {nodes} {all} have succeeded")
}
