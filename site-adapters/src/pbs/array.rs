//! Which pilots can be members of one array. Pure.
//!
//! All members of an array share one script and one request. Pilots differ in their documents
//! only, so the script holds the document of each and picks one by the index. Whoever runs as one
//! of the members can read the script: pilots of different accounts are never put together.

use std::ops::Range;

use super::id::numbered;
use crate::PilotJob;

/// Pilots in one array, at most: a script of some hundred kilobytes.
const MEMBERS_MAX: usize = 500;

/// Cuts `jobs` into what is submitted at once: an array, where pilots with adjacent numbers ask
/// for the same, or one job.
pub(super) fn groups(jobs: &[PilotJob]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for place in 0..jobs.len() {
        match groups.last_mut() {
            Some(group) if group.len() < MEMBERS_MAX && follows(&jobs[place - 1], &jobs[place]) => {
                group.end += 1;
            }
            _ => groups.push(place..place + 1),
        }
    }
    groups
}

/// Whether `job` can be the next member after `before`.
fn follows(before: &PilotJob, job: &PilotJob) -> bool {
    let adjacent = match (numbered(&before.name), numbered(&job.name)) {
        (Some((stem, number)), Some((next_stem, next))) => {
            stem == next_stem && number.checked_add(1) == Some(next)
        }
        _ => false,
    };
    adjacent
        // A shared document is laid down for an allocation of several nodes, under its one name.
        && job.nodes == 1
        && before.nodes == 1
        && before.ce == job.ce
        && before.resources == job.resources
        && before.run_as == job.run_as
        && before.reserve_at == job.reserve_at
        && before.walltime_s == job.walltime_s
        && before.program == job.program
}
