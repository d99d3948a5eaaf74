//! What the store gives back of its rows: to a state that is loaded, and with commands that ask
//! about what is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_jdl::JobSpec;
use fairway_jdl::job::{Condition, Part};
use fairway_model::{JobId, PilotState, Task, TaskState};
use fairway_sched::command::{EndedRow, NamedJob, Snapshot, SpentRow};

use super::rows::Rows;

impl Rows {
    pub(super) fn ended_counts(&self, job: JobId) -> BTreeMap<TaskState, u32> {
        let mut counts = BTreeMap::new();
        for task in self.tasks_of(job).filter(|task| task.state.is_final()) {
            *counts.entry(task.state).or_default() += 1;
        }
        counts
    }

    /// The rows of ended tasks that the store gives of a job in which tasks depend on others.
    pub(super) fn ended_rows(&self, job: JobId, spec: &JobSpec) -> Vec<EndedRow> {
        match spec.has_dependencies() {
            true => self.rows_of_ended(job),
            false => Vec::new(),
        }
    }

    fn rows_of_ended(&self, job: JobId) -> Vec<EndedRow> {
        let mut rows: Vec<EndedRow> = Vec::new();
        for task in self.tasks_of(job).filter(|task| task.state.is_final()) {
            let index = task.id.index;
            match rows.last_mut() {
                Some((state, _, to)) if *state == task.state && *to == index => *to += 1,
                _ => rows.push((task.state, index, index + 1)),
            }
        }
        rows
    }

    /// The jobs that a description waits for, as the store gives them: whole or in rows.
    pub(crate) fn named(
        &self,
        spec: &JobSpec,
        specs: &BTreeMap<JobId, Arc<JobSpec>>,
    ) -> Vec<NamedJob> {
        let named = spec.depends().into_iter().flat_map(|it| it.named());
        let known = named.filter(|(_, named)| self.jobs.contains_key(&named.job));
        let known: BTreeMap<JobId, bool> = known.fold(BTreeMap::new(), |mut known, (when, it)| {
            let in_part = it.part != Part::Whole || when == Condition::AfterCorr;
            *known.entry(it.job).or_default() |= in_part;
            known
        });
        let job = |(id, in_part): (JobId, bool)| NamedJob {
            id,
            task_count: self.jobs[&id].0.task_count,
            nodes: specs[&id]
                .nodes()
                .iter()
                .map(|node| (node.name.to_string(), node.tasks.start, node.tasks.end))
                .collect(),
            counts: self.ended_counts(id).into_iter().collect(),
            rows: match in_part {
                true => self.rows_of_ended(id),
                false => Vec::new(),
            },
        };
        known.into_iter().map(job).collect()
    }

    pub(super) fn snapshot(&self, specs: &BTreeMap<JobId, Arc<JobSpec>>) -> Snapshot {
        let active: Vec<_> = self
            .jobs
            .values()
            .filter(|(.., ended)| ended.is_none())
            .collect();
        let ids: BTreeSet<JobId> = active.iter().map(|(job, ..)| job.id).collect();
        let counted = ids.iter().flat_map(|id| {
            let counts = self.ended_counts(*id);
            counts.into_iter().map(|(state, n)| (*id, state, n))
        });
        let live = |task: &&Task| !task.state.is_final() && ids.contains(&task.id.job);
        let mut named: BTreeMap<JobId, NamedJob> = BTreeMap::new();
        for job in ids.iter().flat_map(|id| self.named(&specs[id], specs)) {
            let known = named.entry(job.id).or_insert_with(|| job.clone());
            if known.rows.is_empty() {
                known.rows = job.rows;
            }
        }
        Snapshot {
            named: named.into_values().collect(),
            policy: self.policy.clone(),
            jobs: active
                .iter()
                .map(|(job, key, _)| (job.clone(), specs[&job.id].clone(), key.clone()))
                .collect(),
            tasks: self.tasks.values().filter(live).cloned().collect(),
            ended: counted.collect(),
            ended_rows: ids
                .iter()
                .map(|id| (*id, self.ended_rows(*id, &specs[id])))
                .collect(),
            pilots: self
                .pilots
                .values()
                .filter(|pilot| pilot.state != PilotState::Ended)
                .cloned()
                .collect(),
            sites: self.sites.values().cloned().collect(),
            shares: self
                .shares
                .iter()
                .map(|((entity, begin), used)| (entity.clone(), *begin, *used))
                .collect(),
            spent: self
                .spent
                .iter()
                .map(|((user, group), days)| {
                    let (&day, &day_ms) = days.last_key_value().unwrap();
                    SpentRow {
                        user: user.clone(),
                        group: group.clone(),
                        total_ms: days.values().sum(),
                        day,
                        day_ms,
                    }
                })
                .collect(),
            next_job: self.jobs.keys().next_back().map_or(1, |id| id.0 + 1),
            asked: self
                .pilots
                .values()
                .map(|pilot| (pilot.ce.clone(), pilot.planned_at, 1))
                .collect(),
            next_pilot: self.pilots.keys().next_back().map_or(1, |id| id.0 + 1),
            next_event: self.events.last().map_or(1, |event| event.seq + 1),
        }
    }
}
