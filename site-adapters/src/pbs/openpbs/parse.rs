//! What OpenPBS answers about jobs. Pure.

use crate::BatchState;
use crate::exec::Output;
use crate::pbs::job::exit_words;
use crate::pbs::stanza::Stanza;

/// Where a job is.
pub(super) fn state(stanza: &Stanza) -> BatchState {
    let comment = stanza.get("comment");
    let reason = |otherwise: &str| {
        let words = comment.unwrap_or(otherwise);
        let reason = match stanza.number::<u32>("run_count") {
            // After the loss of its node, or a restart of the server in its first moments.
            Some(count) if count > 0 => format!("queued again after {count} starts: {words}"),
            _ => words.to_owned(),
        };
        BatchState::Queued { reason }
    };
    match stanza.get("job_state").unwrap_or_default() {
        // Suspended jobs hold what they have. E lasts until output is copied.
        "R" | "E" | "S" | "U" => BatchState::Running,
        // X is a member that is over while its array is not.
        "F" | "X" => BatchState::Ended {
            detail: end(stanza),
        },
        "Q" => reason("not looked at by the scheduler yet"),
        "H" => reason(match stanza.get("Hold_Types") {
            Some(holds) if holds.contains('s') => "held by the system",
            Some(holds) if holds.contains('o') => "held by an operator",
            _ => "held by its owner",
        }),
        "W" => reason("waits for its start time"),
        "T" => reason("is moved to another queue"),
        "M" => reason("was moved to another server"),
        // Whatever a later release invents: it does not run, is not over.
        other => reason(&format!("state {other}")),
    }
}

/// How a job ended: what its comment says behind the place that it ran at, and its exit status.
fn end(stanza: &Stanza) -> String {
    /// State of a job that was deleted, within F.
    const DELETED: u32 = 91;
    let comment = stanza.get("comment").unwrap_or_default();
    // `Job run at Sun Nov 22 at 11:46 on (pbshost[0]:ncpus=1) and exceeded resource walltime`
    let words = match comment.rsplit_once(") and ") {
        Some((_, words)) => words,
        None => comment,
    };
    let mut said = Vec::new();
    said.extend((!words.is_empty()).then(|| words.to_owned()));
    if said.is_empty() && stanza.number::<u32>("substate") == Some(DELETED) {
        said.push("deleted".to_owned());
    }
    said.extend(stanza.number("Exit_status").and_then(exit_words));
    let starts = stanza.number::<u32>("run_count").filter(|count| *count > 1);
    said.extend(starts.map(|count| format!("started {count} times")));
    if said.is_empty() {
        said.push("over, without an exit status".to_owned());
    }
    said.join(", ")
}

/// Whether a listing of named ids was answered. Ids that are unknown or over make an exit code of
/// their own beside the rows of the others.
pub(super) fn is_answer(output: &Output, ids_named: bool) -> bool {
    match output.code {
        Some(0) => true,
        Some(153 | 35) => ids_named,
        _ => false,
    }
}
