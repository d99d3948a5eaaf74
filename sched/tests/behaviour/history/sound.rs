//! What must hold: after every step, and of the whole history in the end.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{EventKind, PilotId, TaskState, Timestamp};
use fairway_sched::explain::explain;
use fairway_sched::{Entity, State};

use super::Run;
use crate::depends::check_depends;
use crate::graphs::check_graph;
use crate::world::World;

impl Run {
    /// What must hold after every step.
    pub(super) fn check(&self) {
        self.world.state.check().unwrap();
        let rows = &self.world.rows;
        for task in rows.tasks.values() {
            let kept = self.world.state.task(task.id);
            if task.state.is_final() {
                assert_eq!(kept, None);
            } else {
                assert_eq!(kept.as_ref(), Some(task));
            }
        }
        for (job, _, ended_at) in rows.jobs.values() {
            let over = rows.tasks_of(job.id).all(|task| task.state.is_final());
            assert_eq!(ended_at.is_some(), over);
            assert_eq!(self.world.state.knows_job(job.id), !over);
        }
        for (job, ..) in rows.jobs.values() {
            check_graph(&self.world, job.id);
            check_depends(&self.world, job.id);
        }
        let reloaded = self.world.reloaded();
        same(&self.world.state, &reloaded, self.world.now);
        for task in rows
            .tasks
            .values()
            .filter(|it| it.state == TaskState::Blocked)
        {
            let told = |state| explain(state, task.id, self.world.now).unwrap();
            let (memory, again) = (told(&self.world.state), told(&reloaded));
            assert_eq!(
                (memory.summary, memory.depends),
                (again.summary, again.depends)
            );
        }
        for state in [&self.world.state, &reloaded] {
            check_rooms(&self.world, state);
        }
    }

    /// Every ended attempt has one usage record and one event; a success is the last attempt.
    pub(super) fn check_ledger(&self) {
        let rows = &self.world.rows;
        let mut leased = BTreeSet::new();
        let mut ended = BTreeSet::new();
        for event in &rows.events {
            match &event.kind {
                EventKind::TaskLeased { task, attempt, .. } => {
                    assert!(leased.insert((*task, *attempt)), "{task} leased twice");
                }
                EventKind::AttemptEnded { task, attempt, .. } => {
                    assert!(leased.contains(&(*task, *attempt)));
                    assert!(ended.insert((*task, *attempt)), "{task} ended twice");
                }
                _ => {}
            }
        }
        assert_eq!(ended, rows.usage.keys().copied().collect());
        for record in rows.usage.values().filter(|record| record.end.is_success()) {
            let task = &rows.tasks[&record.task];
            assert_eq!(
                (task.state, task.attempt),
                (TaskState::Succeeded, record.attempt)
            );
        }
        for task in rows.tasks.values() {
            let told = rows.events.iter().filter(|event| {
                matches!(event.kind, EventKind::TaskGivesWay { task: of, .. } if of == task.id)
            });
            let times = task.preemption.map_or(0, |it| it.times);
            assert_eq!(told.count(), times as usize, "{task:?}");
        }
        self.check_charges(leased.len() as u64);
    }

    /// Every lease is charged once to an account; what counts less or more by its quality of
    /// service is left out of it.
    fn check_charges(&self, leases: u64) {
        let rows = &self.world.rows;
        if rows.jobs.values().any(|(job, ..)| job.jdl.contains("QoS")) {
            return;
        }
        let accounts = rows.shares.iter().filter_map(|((entity, _), used)| {
            matches!(entity, Entity::Account { .. }).then_some(used.tasks_started)
        });
        assert_eq!(accounts.sum::<u64>(), leases, "every lease is charged once");
    }
}

/// A task that runs is on as many nodes of one allocation as it needs, and pilots have free what
/// their tasks leave, unless some of these wait there.
fn check_rooms(world: &World, state: &State) {
    let mut used: BTreeMap<PilotId, u32> = BTreeMap::new();
    let mut sleepers: BTreeSet<PilotId> = BTreeSet::new();
    for task in world.rows.tasks.values().filter(|it| it.state.is_live()) {
        let needs = world.specs[&task.id.job].needs(task.id.index);
        let lead = state.pilot(task.pilot.unwrap()).unwrap().pilot;
        if task.preemption.is_some() {
            sleepers.insert(lead.id);
        }
        assert_eq!(task.seats.len() + 1, needs.hosts as usize);
        for id in task.seats.iter().chain([&lead.id]) {
            let pilot = state.pilot(*id).unwrap().pilot;
            assert_eq!(pilot.allocation, lead.allocation);
            let cores = match needs.whole_node {
                true => pilot.resources.cores,
                false if *id == lead.id => task.cores,
                false => needs.resources.cores,
            };
            assert!((needs.resources.cores..=pilot.resources.cores).contains(&cores));
            *used.entry(*id).or_default() += cores;
        }
    }
    for pilot in state.pilots_live() {
        let used = used.get(&pilot.id).copied().unwrap_or(0);
        if let Some(left) = pilot.resources.cores.checked_sub(used) {
            let free = state.pilot(pilot.id).unwrap().free.cores;
            // What waits for something else than a core leaves its cores free, as does what sleeps.
            let exact = pilot.custom.is_empty() && !sleepers.contains(&pilot.id);
            assert!(free == left || (!exact && free > left));
        }
    }
}

/// Whether two states are the same in all that is durable.
fn same(memory: &State, reloaded: &State, now: Timestamp) {
    reloaded.check().unwrap();
    assert_eq!(memory.waiting(), reloaded.waiting());
    assert_eq!(memory.live(), reloaded.live());
    assert_eq!(memory.policy(), reloaded.policy());
    let pilots = |state: &State| -> Vec<_> {
        let views = state
            .pilots_live()
            .map(|pilot| state.pilot(pilot.id).unwrap());
        views
            .map(|view| {
                let tasks: BTreeSet<_> = view.tasks.into_iter().collect();
                let seats: BTreeSet<_> = view.seats.into_iter().collect();
                (view.pilot, tasks, seats)
            })
            .collect()
    };
    assert_eq!(pilots(memory), pilots(reloaded));
    // Whose turn it is, is not durable, and users without anything that counts may be forgotten.
    let shares = |state: &State| -> BTreeMap<_, _> {
        let counted = state
            .shares(now)
            .into_iter()
            .filter(|s| s.waiting + s.live > 0 || s.fs > 0.0);
        counted
            .map(|s| ((s.user, s.group), (s.waiting, s.live, s.fs.to_bits())))
            .collect()
    };
    assert_eq!(shares(memory), shares(reloaded));
    let classes = |state: &State| -> BTreeSet<_> {
        let summary = state.classes_summary().into_iter();
        summary
            .map(|class| (class.needs, class.group, class.waiting, class.users))
            .collect()
    };
    assert_eq!(classes(memory), classes(reloaded));
}
