//! A world for tests: the state, a store that folds changes into rows, and short ways to say
//! what happens. The store is strict: what a real one would trip over, it panics at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_jdl::JobSpec;
use fairway_jdl::job::{Condition, Part};
use fairway_model::event::TaskVerb;
use fairway_model::{
    AdapterSettings, Attempt, AttemptEnd, Ce, CeId, CeState, CeStatus, Event, EventKind, GroupName,
    Job, JobId, LocalSettings, Order, Pilot, PilotEnd, PilotId, PilotOwner, PilotShape, PilotState,
    Policy, PolicyKind, Principal, Resources, Role, Site, Task, TaskId, TaskState, Timestamp,
    UsageRecord, UserName,
};
use fairway_sched::command::{
    AttemptNews, AttemptReport, EndedRow, EndedTasks, NamedJob, Observation, PilotWant, Selection,
    Snapshot, SpentRow, Submission,
};
use fairway_sched::provision::{PilotOrder, PilotPlan, Purpose, plan};
use fairway_sched::{Change, Command, Entity, Grant, Refused, Reply, Settings, State, Used};

pub(crate) type Key = Option<(String, String)>;

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
    pub(crate) fn fold(&mut self, changes: &[Change]) {
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

    fn ended_counts(&self, job: JobId) -> BTreeMap<TaskState, u32> {
        let mut counts = BTreeMap::new();
        for task in self.tasks_of(job).filter(|task| task.state.is_final()) {
            *counts.entry(task.state).or_default() += 1;
        }
        counts
    }

    /// The rows of ended tasks that the store gives of a job in which tasks depend on others.
    pub(crate) fn ended_rows(&self, job: JobId, spec: &JobSpec) -> Vec<EndedRow> {
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

    pub(crate) fn snapshot(&self, specs: &BTreeMap<JobId, Arc<JobSpec>>) -> Snapshot {
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

pub(crate) fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

pub(crate) fn ce(name: &str) -> CeId {
    name.parse().unwrap()
}

pub(crate) fn principal(name: &str) -> Principal {
    Principal {
        name: user(name),
        group: None,
        role: Role::User,
        sites: Vec::new(),
    }
}

/// A sweep of `tasks` tasks with further attributes.
pub(crate) fn sweep(tasks: u32, more: &str) -> String {
    format!(
        "Executable = \"/bin/work\"; Arguments = \"_PARAM_\"; JobType = \"Parametric\"; \
         Parameters = {tasks}; ParameterStart = 0; ParameterStep = 1; {more}"
    )
}

/// A DAG of the nodes `n0`, `n1` and so on: how many tasks each has, and its parents.
pub(crate) fn dag(nodes: &[(u32, &[usize])], more: &str) -> String {
    let mut members = String::new();
    let mut edges = Vec::new();
    for (place, (tasks, parents)) in nodes.iter().enumerate() {
        let tasks = match tasks {
            1 => "Executable = \"/bin/work\";".to_owned(),
            tasks => sweep(*tasks, ""),
        };
        members += &format!("n{place} = [ description = [ {tasks} {more} ]; ];\n");
        edges.extend(
            parents
                .iter()
                .map(|parent| format!("{{ n{parent}, n{place} }}")),
        );
    }
    if !edges.is_empty() {
        members += &format!("Dependencies = {{ {} }};", edges.join(", "));
    }
    format!("[ Type = \"dag\"; JobName = \"graph\"; Nodes = [ {members} ]; ]")
}

pub(crate) const HOUR_S: u64 = 3600;

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

    /// Carries the plan of the moment out: orders only. Gives back the pilots that were noted.
    pub(crate) fn carry_out(&mut self) -> Vec<Pilot> {
        let secrets = |order: &PilotOrder| vec!["secret".to_owned(); order.nodes as usize];
        let orders = self.plan().orders.into_iter();
        let orders = orders
            .map(|order| (order.clone(), secrets(&order)))
            .collect();
        match self.ask(Command::PlanPilots { orders }) {
            Ok(Reply::Planned(pilots)) => pilots,
            other => panic!("{other:?}"),
        }
    }

    /// Describes the site anew.
    pub(crate) fn describe(&mut self, site: Site) {
        let by = user("admin");
        let site = Box::new(site);
        self.ask(Command::PutSite { site, by }).unwrap();
    }

    /// Notes a pilot as planned, with an hour of walltime.
    pub(crate) fn planned(&mut self, name: &str, cores: u32) -> PilotId {
        self.planned_for(name, cores, PilotOwner::Shared)
    }

    /// As [`planned`](Self::planned), for an owner.
    pub(crate) fn planned_for(&mut self, name: &str, cores: u32, owner: PilotOwner) -> PilotId {
        let order = PilotOrder {
            ce: ce(&format!("lyon/{name}")),
            resources: Resources {
                cores,
                memory_mib: 0,
                gpus: 0,
            },
            owner,
            nodes: 1,
            reserve_at: None,
            purpose: Purpose::Any,
            walltime_s: HOUR_S,
            because: "a test needs it".into(),
        };
        let orders = vec![(order, vec!["secret".to_owned()])];
        match self.ask(Command::PlanPilots { orders }) {
            Ok(Reply::Planned(pilots)) => pilots[0].id,
            other => panic!("{other:?}"),
        }
    }

    /// Notes an allocation of several pilots as planned, with an hour of walltime.
    pub(crate) fn planned_together(&mut self, name: &str, cores: u32, nodes: u32) -> Vec<PilotId> {
        let order = PilotOrder {
            ce: ce(&format!("lyon/{name}")),
            resources: Resources {
                cores,
                memory_mib: 0,
                gpus: 0,
            },
            owner: PilotOwner::Shared,
            nodes,
            reserve_at: None,
            purpose: Purpose::Any,
            walltime_s: HOUR_S,
            because: "a test needs it".into(),
        };
        let secrets = vec!["secret".to_owned(); nodes as usize];
        match self.ask(Command::PlanPilots {
            orders: vec![(order, secrets)],
        }) {
            Ok(Reply::Planned(pilots)) => pilots.iter().map(|pilot| pilot.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// An allocation whose pilots have all called home, each from its node: `node1`, `node2` …
    pub(crate) fn together(&mut self, name: &str, cores: u32, nodes: u32) -> Vec<PilotId> {
        let pilots = self.planned_together(name, cores, nodes);
        for (pilot, n) in pilots.iter().zip(1..) {
            self.register_on(*pilot, "nonce", cores, &format!("node{n}"))
                .unwrap();
        }
        pilots
    }

    pub(crate) fn observe(&mut self, pilot: PilotId, seen: Observation) {
        self.ask(Command::ObservePilots(vec![(pilot, seen)]))
            .unwrap();
    }

    pub(crate) fn register(
        &mut self,
        pilot: PilotId,
        nonce: &str,
        cores: u32,
    ) -> Result<Reply, Refused> {
        self.register_on(pilot, nonce, cores, "node1")
    }

    pub(crate) fn register_on(
        &mut self,
        pilot: PilotId,
        nonce: &str,
        cores: u32,
        host: &str,
    ) -> Result<Reply, Refused> {
        self.ask(Command::RegisterPilot {
            pilot,
            bootstrap_hash: "secret".into(),
            nonce_hash: nonce.into(),
            session_hash: "session".into(),
            host: host.into(),
            resources: Resources {
                cores,
                memory_mib: 4000 * u64::from(cores),
                gpus: 0,
            },
            remaining_s: HOUR_S,
        })
    }

    /// A pilot that has called home.
    pub(crate) fn pilot(&mut self, name: &str, cores: u32) -> PilotId {
        let pilot = self.planned(name, cores);
        self.register(pilot, "nonce", cores).unwrap();
        pilot
    }

    /// A pilot that has called home from a node.
    pub(crate) fn pilot_on(&mut self, name: &str, cores: u32, host: &str) -> PilotId {
        let pilot = self.planned(name, cores);
        self.register_on(pilot, "nonce", cores, host).unwrap();
        pilot
    }

    pub(crate) fn next_round(&mut self, pilot: PilotId) -> u64 {
        let round = self.rounds.entry(pilot).or_default();
        *round += 1;
        *round
    }

    pub(crate) fn sync(
        &mut self,
        pilot: PilotId,
        reports: Vec<AttemptReport>,
        holding: &[(TaskId, Attempt)],
        want: Option<PilotWant>,
    ) -> Synced {
        let holding = holding.to_vec();
        let synced = match self
            .ask(Command::Sync {
                pilot,
                reports,
                holding,
                want,
            })
            .unwrap()
        {
            reply @ Reply::Synced { .. } => Synced::of(reply),
            other => panic!("{other:?}"),
        };
        self.note_stay(pilot, &synced);
        synced
    }

    fn note_stay(&mut self, pilot: PilotId, synced: &Synced) {
        if let Some(stay) = synced.stay {
            self.staying.insert(pilot, stay);
        }
    }

    pub(crate) fn wish(&mut self, pilot: PilotId, backlog: u32) -> PilotWant {
        PilotWant {
            round: self.next_round(pilot),
            remaining_s: HOUR_S,
            backlog,
            staying: self.staying.get(&pilot).copied().unwrap_or(false),
        }
    }

    /// A pilot that holds just `holding` wishes for work.
    pub(crate) fn pull(
        &mut self,
        pilot: PilotId,
        holding: &[(TaskId, Attempt)],
    ) -> Vec<(TaskId, Attempt)> {
        let want = Some(self.wish(pilot, 0));
        self.sync(pilot, Vec::new(), holding, want).granted()
    }

    /// Work for a pilot that has none.
    pub(crate) fn pull_one(&mut self, pilot: PilotId) -> (TaskId, Attempt) {
        self.pull(pilot, &[])[0]
    }

    pub(crate) fn report(
        &mut self,
        pilot: PilotId,
        attempt: (TaskId, Attempt),
        what: AttemptNews,
    ) -> Synced {
        self.sync(pilot, vec![report(attempt, what)], &[], None)
    }

    pub(crate) fn start(&mut self, pilot: PilotId, attempt: (TaskId, Attempt)) {
        self.report(pilot, attempt, AttemptNews::Started);
    }

    pub(crate) fn end(
        &mut self,
        pilot: PilotId,
        attempt: (TaskId, Attempt),
        end: AttemptEnd,
    ) -> Synced {
        self.report(pilot, attempt, ended(end))
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

    pub(crate) fn kill(&mut self, pilot: PilotId) -> Result<Reply, Refused> {
        let end = PilotEnd::Cancelled {
            reason: "an operator's word".into(),
        };
        self.ask(Command::EndPilot { pilot, end })
    }

    pub(crate) fn serve(&mut self) -> BTreeMap<PilotId, Synced> {
        let Ok(Reply::Served(served)) = self.ask(Command::Serve) else {
            panic!("Serve is answered with Served");
        };
        let served = served.into_iter();
        let served: BTreeMap<PilotId, Synced> = served
            .map(|(pilot, reply)| (pilot, Synced::of(reply)))
            .collect();
        for (pilot, synced) in &served {
            self.note_stay(*pilot, synced);
        }
        served
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

pub(crate) fn site(ces: &[&str]) -> Site {
    let ce = |name: &&str| Ce {
        shape: PilotShape {
            walltime_s: HOUR_S,
            ..PilotShape::default()
        },
        ..Ce::new(name.parse().unwrap())
    };
    Site::new(
        "lyon".parse().unwrap(),
        AdapterSettings::Local(LocalSettings::default()),
        ces.iter().map(ce).collect(),
    )
}

#[derive(Debug, Default)]
pub(crate) struct Synced {
    pub(crate) grants: Vec<Grant>,
    pub(crate) orders: Vec<(TaskId, Attempt, Order)>,
    pub(crate) drain: bool,
    pub(crate) stay: Option<bool>,
}

impl Synced {
    fn of(reply: Reply) -> Self {
        match reply {
            Reply::Synced {
                grants,
                orders,
                drain,
                stay,
            } => Self {
                grants,
                orders,
                drain,
                stay,
            },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn granted(&self) -> Vec<(TaskId, Attempt)> {
        self.grants
            .iter()
            .map(|grant| (grant.task, grant.attempt))
            .collect()
    }
}

pub(crate) fn report((task, attempt): (TaskId, Attempt), what: AttemptNews) -> AttemptReport {
    AttemptReport {
        task,
        attempt,
        what,
    }
}

pub(crate) fn ended(end: AttemptEnd) -> AttemptNews {
    AttemptNews::Ended {
        end,
        wall_ms: 1000,
        cpu_ms: 900,
        memory_peak_kib: 10_000,
    }
}

pub(crate) fn exit(code: i32) -> AttemptEnd {
    AttemptEnd::Exited { code }
}

pub(crate) fn changed(reply: Reply) -> (u32, Vec<String>) {
    match reply {
        Reply::TasksChanged { changed, left } => (
            changed,
            left.into_iter()
                .map(|(task, why)| format!("{task}: {why}"))
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}
