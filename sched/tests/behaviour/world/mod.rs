//! A world for tests: the state, a store beside it, and short ways to say what happens.

mod load;
mod pilots;
mod rows;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_jdl::JobSpec;
use fairway_model::event::TaskVerb;
use fairway_model::{
    Ce, CeId, CeState, CeStatus, EventKind, JobId, PilotId, Policy, PolicyKind, Site, Task, TaskId,
    TaskState, Timestamp,
};
use fairway_sched::command::{EndedTasks, Selection, Snapshot, Submission};
use fairway_sched::provision::{PilotPlan, plan};
use fairway_sched::{Change, Command, Refused, Reply, Settings, State};

use self::rows::{Key, Rows};

pub(crate) use self::words::*;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) rows: Rows,
    pub(crate) specs: BTreeMap<JobId, Arc<JobSpec>>,
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
    /// The next wish of each pilot.
    rounds: BTreeMap<PilotId, u64>,
    /// What pilots were told of whether to stay without a task.
    staying: BTreeMap<PilotId, bool>,
    /// All changes, in order.
    pub(crate) history: Vec<Change>,
}

impl World {
    /// A world at 10 hours after the epoch with one site of these CEs, each in production.
    pub(crate) fn new(kind: PolicyKind, ces: &[&str]) -> Self {
        // Most tests are about what is needed, not about how fast it may grow.
        let settings = Settings {
            ramp_min: 100,
            ..Settings::default()
        };
        Self::with(kind, ces, settings)
    }

    /// A world with one CE that is described so.
    pub(crate) fn described(change: impl Fn(&mut Ce)) -> Self {
        let mut world = Self::new(PolicyKind::Fifo, &["short"]);
        let mut site = site(&["short"]);
        site.ces.iter_mut().for_each(change);
        world.describe(site);
        world
    }

    /// As [`new`](Self::new), with these settings.
    pub(crate) fn with(kind: PolicyKind, ces: &[&str], settings: Settings) -> Self {
        let now = Timestamp::from_secs(36_000);
        let policy = Policy {
            kind,
            ..Policy::default()
        };
        let snapshot = Snapshot {
            policy: Some(policy.clone()),
            ..Snapshot::default()
        };
        let mut world = Self {
            state: State::load(snapshot, settings.clone(), now),
            rows: Rows {
                policy: Some(policy.clone()),
                ..Rows::default()
            },
            specs: BTreeMap::new(),
            settings,
            now,
            rounds: BTreeMap::new(),
            staying: BTreeMap::new(),
            history: Vec::new(),
        };
        let site = site(ces);
        world
            .ask(Command::PutSite {
                site: Box::new(site),
                by: user("admin"),
            })
            .unwrap();
        for name in ces {
            world.publish(name, |_| {});
        }
        world
    }

    pub(crate) fn ask(&mut self, command: Command) -> Result<Reply, Refused> {
        let applied = self.state.apply(command, self.now);
        self.rows.fold(&applied.changes);
        self.history.extend(applied.changes);
        applied.reply
    }

    /// Puts a policy in force.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        let set = Command::SetPolicy {
            policy,
            by: user("root"),
            because: None,
            from: None,
        };
        self.ask(set).unwrap();
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(std::time::Duration::from_secs(seconds));
    }

    /// What `lyon/{name}` publishes: in production with 16 cores free and nobody waiting.
    pub(crate) fn publish(&mut self, name: &str, change: impl FnOnce(&mut CeState)) {
        let id = ce(&format!("lyon/{name}"));
        let mut state = CeState::unreachable(id, "slurm", self.now, String::new());
        state.status = CeStatus::Production;
        state.reason = None;
        state.cores_total = Some(64);
        state.cores_free = Some(16);
        state.jobs_running = Some(4);
        state.jobs_waiting = Some(0);
        state.node_cores = Some(16);
        state.node_memory_mib = Some(64_000);
        change(&mut state);
        self.ask(Command::Publish(vec![state])).unwrap();
    }

    pub(crate) fn submit(&mut self, owner: &str, jdl: &str) -> JobId {
        match self.try_submit(owner, jdl, None) {
            Ok(Reply::Submitted { job, .. }) => job,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn try_submit(
        &mut self,
        owner: &str,
        jdl: &str,
        key: Key,
    ) -> Result<Reply, Refused> {
        self.submit_for(owner, None, jdl, key)
    }

    /// As [`try_submit`](Self::try_submit), for a group.
    pub(crate) fn submit_for(
        &mut self,
        owner: &str,
        group: Option<&str>,
        jdl: &str,
        key: Key,
    ) -> Result<Reply, Refused> {
        let (spec, _) = JobSpec::read(jdl).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let spec = Arc::new(spec);
        let mut named = self.rows.named(&spec, &self.specs);
        named.retain(|job| self.rows.jobs[&job.id].0.owner == user(owner));
        let submission = Submission {
            named,
            owner: user(owner),
            group: group.map(|group| group.parse().unwrap()),
            jdl: jdl.to_owned(),
            spec: spec.clone(),
            sandbox: None,
            idempotency: key,
        };
        let reply = self.ask(Command::Submit(submission));
        if let Ok(Reply::Submitted { job, .. }) = &reply {
            self.specs.entry(*job).or_insert(spec);
        }
        reply
    }

    pub(crate) fn plan(&self) -> PilotPlan {
        plan(&self.state, self.now)
    }

    /// Describes the site anew.
    pub(crate) fn describe(&mut self, site: Site) {
        let by = user("admin");
        let site = Box::new(site);
        self.ask(Command::PutSite { site, by }).unwrap();
    }

    pub(crate) fn change(
        &mut self,
        verb: TaskVerb,
        tasks: Selection,
        by: &str,
    ) -> (u32, Vec<String>) {
        let by = principal(by);
        changed(self.ask(Command::ChangeTasks { verb, tasks, by }).unwrap())
    }

    /// As the engine does it: with the rows of ended tasks.
    pub(crate) fn retry(&mut self, job: JobId, by: &str) -> Result<Reply, Refused> {
        self.retry_row(job, 0..u32::MAX, by)
    }

    /// As [`retry`](Self::retry), of some tasks in a row.
    pub(crate) fn retry_row(
        &mut self,
        job: JobId,
        indices: std::ops::Range<u32>,
        by: &str,
    ) -> Result<Reply, Refused> {
        let (row, key, _) = self.rows.jobs[&job].clone();
        let whole = indices == (0..u32::MAX);
        let spec = self.specs[&job].clone();
        let for_others = spec.depends().is_some() && spec.nodes().is_empty();
        let asked = |task: &&Task| match task.state {
            TaskState::Failed | TaskState::Cancelled => indices.contains(&task.id.index),
            TaskState::Skipped => (for_others || !whole) && indices.contains(&task.id.index),
            _ => false,
        };
        let tasks: Vec<Task> = self.rows.tasks_of(job).filter(asked).cloned().collect();
        let ended = EndedTasks {
            job: row,
            spec: self.specs[&job].clone(),
            idempotency: key,
            counts: self.rows.ended_counts(job).into_iter().collect(),
            rows: self.rows.ended_rows(job, &self.specs[&job]),
            named: self.rows.named(&spec, &self.specs),
            tasks,
        };
        let tasks = if whole {
            Selection::Job(job)
        } else {
            Selection::Row(job, indices.start, indices.end)
        };
        self.ask(Command::Retry {
            tasks,
            by: principal(by),
            ended: vec![ended],
        })
    }

    pub(crate) fn row(&self, task: TaskId) -> &Task {
        &self.rows.tasks[&task]
    }

    pub(crate) fn state_of(&self, job: JobId, index: u32) -> TaskState {
        self.row(TaskId::new(job, index)).state
    }

    pub(crate) fn reloaded(&self) -> State {
        State::load(
            self.rows.snapshot(&self.specs),
            self.settings.clone(),
            self.now,
        )
    }

    /// The server starts anew, and CEs are looked at again.
    pub(crate) fn reload(&mut self) {
        let published: Vec<CeState> = self
            .ces()
            .iter()
            .filter_map(|id| self.state.published(id).cloned())
            .collect();
        self.state = self.reloaded();
        self.ask(Command::Publish(published)).unwrap();
    }

    pub(crate) fn ces(&self) -> Vec<CeId> {
        let of = |site: &Site| {
            let name = site.name.clone();
            let id = move |ce: &Ce| CeId {
                site: name.clone(),
                ce: ce.name.clone(),
            };
            site.ces.iter().map(id).collect::<Vec<_>>()
        };
        self.state.sites().flat_map(of).collect()
    }

    /// The owners of tasks in the order in which these were given to pilots.
    pub(crate) fn served(&self) -> Vec<String> {
        let leased = self
            .rows
            .events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::TaskLeased { task, .. } => Some(task.job),
                _ => None,
            });
        leased
            .map(|job| self.rows.jobs[&job].0.owner.to_string())
            .collect()
    }
}
