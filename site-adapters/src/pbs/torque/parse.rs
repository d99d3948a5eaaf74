//! What TORQUE answers about jobs. Pure.

use super::Flavour;
use crate::exec::Output;
use crate::pbs::job::exit_words;
use crate::pbs::stanza::Stanza;
use crate::pbs::{failure, unexpected};
use crate::{AdapterError, BatchState};

/// Which commands these are, by what `qsub --version` says: TORQUE's tell a version, those over
/// Slurm do not know the option.
pub(super) fn flavour(output: &Output) -> Result<Flavour, AdapterError> {
    let said = |words: &str| output.stderr.contains(words) || output.stdout.contains(words);
    match output.code {
        Some(0) => Ok(Flavour::Torque),
        Some(2) if said("Unknown option: version") => Ok(Flavour::OverSlurm),
        _ => Err(unexpected("qsub --version", &failure::words(output))),
    }
}

/// Whether `qstat` answered. Over Slurm it ends with 153 and no word when it finds nothing.
pub(super) fn is_answer(output: &Output, flavour: Flavour) -> bool {
    match (output.code, flavour) {
        (Some(0), _) => true,
        (Some(153), Flavour::OverSlurm) => output.stderr.trim().is_empty(),
        _ => false,
    }
}

/// What became of a deletion over Slurm: the exit code is a number of jobs, those that are over or
/// unknown included, and what is wrong with others stands on standard output.
pub(super) fn deleted_over_slurm(output: &Output) -> Result<Vec<String>, AdapterError> {
    let text = format!("{}{}", output.stdout, output.stderr);
    if output.code.is_some() && text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let output = Output {
        stderr: text,
        stdout: String::new(),
        ..output.clone()
    };
    Err(match failure::says_unreachable(&output) {
        true => AdapterError::Unreachable(failure::words(&output)),
        false => AdapterError::Refused(failure::words(&output)),
    })
}

/// Where a job is.
pub(super) fn state(stanza: &Stanza) -> BatchState {
    let reason = |otherwise: &str| BatchState::Queued {
        reason: stanza.get("comment").unwrap_or(otherwise).to_owned(),
    };
    match stanza.get("job_state").unwrap_or_default() {
        "R" | "E" | "S" => BatchState::Running,
        "C" => BatchState::Ended {
            detail: end(stanza),
        },
        // What Slurm's states are that PBS has no letter for: both are ends.
        "U" => BatchState::Ended {
            detail: "out of memory, or past its deadline".to_owned(),
        },
        "Q" => reason("no reason is told"),
        "H" => reason("held"),
        "W" => reason("waits for its start time"),
        "T" => reason("is moved to another queue"),
        other => reason(&format!("state {other}")),
    }
}

/// How a job ended, as far as it is told. Over Slurm it is not.
fn end(stanza: &Stanza) -> String {
    let mut said = vec!["completed".to_owned()];
    if let Some(status) = stanza.number("exit_status") {
        said.extend(exit_words(status));
    }
    said.join(", ")
}
