//! What both dialects answer alike about jobs. Pure.

use std::collections::BTreeMap;

use super::id::{Id, Kind, member_name};
use super::stanza::Stanza;
use super::unexpected;
use crate::{AdapterError, BatchJob, BatchState};

/// The ids in the answer of `qsub` to one job, or to an array of `members`.
pub(super) fn submitted(stdout: &str, members: usize) -> Result<Vec<String>, AdapterError> {
    let text = stdout.trim();
    match Id::parse(text) {
        Some(id) if members > 1 && id.kind() == Kind::Array => {
            Ok((0..members).map(|index| id.member(index)).collect())
        }
        Some(id) if members == 1 && id.kind() == Kind::Job => Ok(vec![text.to_owned()]),
        _ => Err(unexpected("qsub", stdout)),
    }
}

/// The jobs named `name_prefix…`, each in the state that `state` reads. An array itself is no job,
/// its members are.
pub(super) fn named(
    stanzas: &[Stanza],
    name_prefix: &str,
    state: fn(&Stanza) -> BatchState,
) -> Vec<BatchJob> {
    let mut jobs = Vec::new();
    for stanza in stanzas {
        let Some(id) = Id::parse(&stanza.name) else {
            continue;
        };
        let given = stanza.get("Job_Name").unwrap_or_default();
        let name = match id.kind() {
            Kind::Array => continue,
            Kind::Job => given.to_owned(),
            Kind::Member(index) => member_name(given, index),
        };
        if name.starts_with(name_prefix) {
            jobs.push(BatchJob {
                batch_id: stanza.name.clone(),
                name,
                state: state(stanza),
            });
        }
    }
    jobs
}

/// An exit status in words: 256 and more is a signal that ended the job's shell, below 0 is what
/// PBS itself did.
pub(super) fn exit_words(status: i64) -> Option<String> {
    Some(match status {
        0 => return None,
        1..=255 => format!("exit code {status}"),
        256.. => format!("signal {}", status - 256),
        ..0 => format!("exit status {status}"),
    })
}

/// Whom jobs belong to, by id.
pub(super) fn owners(stanzas: &[Stanza]) -> BTreeMap<String, String> {
    let owner = |stanza: &Stanza| {
        let (user, _host) = stanza.get("Job_Owner")?.split_once('@')?;
        Some((stanza.name.clone(), user.to_owned()))
    };
    stanzas.iter().filter_map(owner).collect()
}
