//! The jobs that others wait for, as they stand.

use std::collections::{BTreeMap, BTreeSet};

use fairway_jdl::JobSpec;
use fairway_jdl::job::{Condition, Part};
use fairway_model::JobId;
use fairway_sched::command::NamedJob;
use sea_orm::DatabaseConnection;

use super::StoreError;
use super::load::rows_of_ended;
use super::query::{jobs, nodes};

/// What is asked of a job that others wait for.
#[derive(Default)]
struct Asked<'a> {
    nodes: BTreeSet<&'a str>,
    /// Whether it is not only asked how many of its tasks ended how, but also which.
    in_part: bool,
}

/// The jobs that these descriptions name as those that they wait for; those that are not there
/// are left out.
pub(super) async fn named(
    db: &DatabaseConnection,
    specs: impl Iterator<Item = &JobSpec>,
) -> Result<Vec<NamedJob>, StoreError> {
    let mut asked: BTreeMap<JobId, Asked<'_>> = BTreeMap::new();
    for depends in specs.filter_map(JobSpec::depends) {
        for (condition, named) in depends.named() {
            let asked = asked.entry(named.job).or_default();
            asked.in_part |= condition == Condition::AfterCorr || named.part != Part::Whole;
            if let Part::Node(name) = &named.part {
                asked.nodes.insert(name);
            }
        }
    }
    let ids: BTreeSet<JobId> = asked.keys().copied().collect();
    let there = jobs::owners(db, &ids).await?;
    let ids: Vec<JobId> = there.keys().copied().collect();
    let mut counts = jobs::counts(db, &ids).await?;
    let mut named = Vec::with_capacity(there.len());
    for (id, (_, task_count)) in there {
        let Asked { nodes, in_part } = asked.remove(&id).unwrap_or_default();
        let mut rows_of_nodes = Vec::with_capacity(nodes.len());
        for name in nodes {
            let tasks = nodes::tasks(db, id, name).await?;
            rows_of_nodes.extend(tasks.map(|row| (name.to_owned(), row.start, row.end)));
        }
        let states = counts.remove(&id).unwrap_or_default().into_iter();
        named.push(NamedJob {
            id,
            task_count,
            nodes: rows_of_nodes,
            counts: states.filter(|(state, _)| state.is_final()).collect(),
            rows: match in_part {
                true => rows_of_ended(db, id).await?,
                false => Vec::new(),
            },
        });
    }
    Ok(named)
}
