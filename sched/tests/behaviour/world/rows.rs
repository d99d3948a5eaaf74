//! A store that folds changes into rows. It is strict: what a real one would trip over, it
//! panics at.

use std::collections::BTreeMap;

use fairway_model::{
    Attempt, Event, GroupName, Job, JobId, Pilot, PilotId, PilotState, Policy, Site, Task, TaskId,
    TaskState, Timestamp, UsageRecord, UserName,
};
use fairway_sched::{Change, Entity, Used};

pub(super) type Key = Option<(String, String)>;

/// What a store holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) jobs: BTreeMap<JobId, (Job, Key, Option<Timestamp>)>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) pilots: BTreeMap<PilotId, Pilot>,
    pub(crate) sites: BTreeMap<String, Site>,
    pub(crate) policy: Option<Policy>,
    pub(crate) shares: BTreeMap<(Entity, Timestamp), Used>,
    pub(crate) spent: BTreeMap<(UserName, Option<GroupName>), BTreeMap<Timestamp, u64>>,
    pub(crate) usage: BTreeMap<(TaskId, Attempt), UsageRecord>,
    pub(crate) events: Vec<Event>,
}

impl Rows {
    pub(super) fn fold(&mut self, changes: &[Change]) {
        for change in changes {
            self.fold_one(change);
        }
    }

    fn fold_one(&mut self, change: &Change) {
        match change {
            Change::NewJob {
                job,
                nodes,
                idempotency,
                waits,
            } => {
                for index in 0..job.task_count {
                    let id = TaskId::new(job.id, index);
                    let mut task = Task::new(id, job.submitted_at);
                    if *waits {
                        task.state = TaskState::Blocked;
                    }
                    self.tasks.insert(id, task);
                }
                for node in nodes.iter().filter(|node| !node.parents.is_empty()) {
                    for index in node.tasks.clone() {
                        let id = TaskId::new(job.id, index);
                        self.tasks.get_mut(&id).unwrap().state = TaskState::Blocked;
                    }
                }
                let row = (job.clone(), idempotency.clone(), None);
                assert!(self.jobs.insert(job.id, row).is_none());
            }
            Change::JobProgress { job, ended_at } => {
                self.jobs.get_mut(job).unwrap().2 = *ended_at;
                let mut tasks = self.tasks_of(*job);
                assert!(ended_at.is_none() || tasks.all(|task| task.state.is_final()));
            }
            Change::Task(task) => {
                let before = self.tasks.insert(task.id, task.clone()).unwrap();
                let legal = before.state == task.state || before.state.may_become(task.state);
                assert!(legal, "{before:?} became {task:?}");
                assert!(task.attempt >= before.attempt);
            }
            Change::TaskRange {
                job,
                from,
                to,
                state,
                since,
            } => {
                assert!(from < to);
                for index in *from..*to {
                    let task = self.tasks.get_mut(&TaskId::new(*job, index)).unwrap();
                    assert_eq!(task.attempt, Attempt(0));
                    assert!(task.state.may_become(*state), "{task:?} became {state:?}");
                    (task.state, task.since) = (*state, *since);
                }
            }
            Change::Pilot(pilot) => {
                let before = self.pilots.insert(pilot.id, pilot.clone());
                assert!(before.is_none_or(|before| before.state != PilotState::Ended));
            }
            Change::Site(site) => {
                self.sites.insert(site.name.to_string(), site.clone());
            }
            Change::SiteRemoved(name) => {
                self.sites.remove(name.as_str()).unwrap();
            }
            Change::Policy(policy) => self.policy = Some(policy.clone()),
            Change::Share {
                entity,
                interval,
                used,
            } => {
                let before = self.shares.insert((entity.clone(), *interval), *used);
                let grown = |before: Used| {
                    before.tasks_started <= used.tasks_started && before.core_ms <= used.core_ms
                };
                assert!(before.is_none_or(grown));
            }
            Change::Spent {
                user,
                group,
                day,
                core_ms,
            } => {
                let days = self.spent.entry((user.clone(), group.clone())).or_default();
                let before = days.insert(*day, *core_ms);
                assert!(before.is_none_or(|before| before <= *core_ms));
            }
            Change::Usage(record) => {
                let key = (record.task, record.attempt);
                let before = self.usage.insert(key, record.clone());
                assert!(before.is_none(), "two usage records of {key:?}");
            }
            Change::Event(event) => {
                assert!(self.events.last().is_none_or(|last| last.seq < event.seq));
                self.events.push(event.clone());
            }
        }
    }

    pub(crate) fn tasks_of(&self, job: JobId) -> impl Iterator<Item = &Task> {
        let range = TaskId::new(job, 0)..=TaskId::new(job, u32::MAX);
        self.tasks.range(range).map(|(_, task)| task)
    }
}
