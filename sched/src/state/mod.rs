//! All that is decided upon. One file for each group of transitions; this one holds the
//! data and what all transitions share.

mod aside;
mod attempts;
mod change_tasks;
mod check;
mod depends;
mod described;
mod follow;
mod gang;
pub(crate) mod give_way;
mod judge;
mod load;
mod pilots;
mod policy;
pub(crate) mod probe;
mod read;
mod retry;
mod rule;
mod serve;
mod sites;
mod submit;
mod sync;
mod tick;
mod warm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_model::{
    CeId, Event, EventKind, Job, JobId, PilotId, Site, SiteName, Task, TaskId, TaskState,
    Timestamp, UserName,
};

use crate::backfill::{Kept, Rooms};
use crate::bounds::Bounds;
use crate::command::{Applied, Change, Command, Refused, RefusedKind, Reply};
use crate::depends::Depends;
use crate::element::Element;
use crate::latch::Latch;
use crate::matching::{Door, Limits, LivePilot};
use crate::nodes::Nodes;
use crate::queue::{ClassId, Queue};
use crate::ranges::Ranges;
use crate::shares::{AccountId, Shares};

pub(crate) use attempts::core_ms;
use described::Described;
pub use read::{ClassSummary, PilotView, ShareNode, Standing};

/// The operator's settings that decisions depend on, beside the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A pilot not heard of for so long is lost.
    pub pilot_silence_max_s: u64,
    /// A pilot that runs in the batch system and has not called home for so long is lost.
    pub pilot_start_max_s: u64,
    /// A task may be lost with so many pilots before it fails.
    pub losses_max: u32,
    /// A task must have so many seconds of a pilot's remaining time if it asks for no walltime.
    pub remaining_min_s: u64,
    /// Most tasks given to a pilot in one sync.
    pub grants_max: u32,
    /// No pilots are asked for of a CE whose published state is older than this.
    pub published_age_max_s: u64,
    /// What fails within so many seconds failed at once: it may be its node's fault.
    pub fast_fail_s: u64,
    /// A node on which so many things failed at once in a row is set aside, if others do well.
    pub fast_fails_max: u32,
    /// CEs are looked at so often; what was published loses weight when looks are missed.
    pub look_every_s: u64,
    /// Pilots at all sites together that are not over, at most.
    pub pilots_max: Option<u32>,
    /// A CE without pilots begins with so many; see [`provision`](crate::provision).
    pub ramp_min: u32,
    /// A pilot that waits in the batch system is called back when there has been no work for it
    /// for so long.
    pub recall_after_s: u64,
    /// A pilot that waits in the batch system for longer than this is called back.
    pub pilot_queued_max_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pilot_silence_max_s: 300,
            pilot_start_max_s: 600,
            losses_max: 3,
            remaining_min_s: 60,
            grants_max: 100,
            published_age_max_s: 600,
            fast_fail_s: 10,
            fast_fails_max: 5,
            look_every_s: 15,
            pilots_max: None,
            ramp_min: 10,
            recall_after_s: 30,
            pilot_queued_max_s: 2 * 24 * 3600,
        }
    }
}

/// All that is decided upon; a cache of the store, rebuilt from it at start.
///
/// Jobs whose tasks are all over, tasks that are over, and pilots that are over are not in it.
/// Not durable, and begun anew after a restart: who was served when (users with live tasks
/// count as served when these were leased), for whom room is being made, when pilots were heard of, open wishes for work,
/// what CEs published, what was learnt of them (back-offs, trust, decisions, since when a pilot is
/// not needed), which nodes are set aside, and what keeping cores for tasks has cost. How many pilots were asked for in the last day comes
/// from the store.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) settings: Settings,
    pub(crate) shares: Shares,
    pub(crate) bounds: Bounds,
    pub(crate) queue: Queue,
    /// Boxed: the nodes of a tree that grows at its end stay half empty.
    pub(crate) jobs: BTreeMap<JobId, Box<LiveJob>>,
    pub(crate) pilots: BTreeMap<PilotId, LivePilot>,
    pub(crate) sites: BTreeMap<SiteName, Site>,
    pub(crate) elements: BTreeMap<CeId, Element>,
    pub(crate) latch: Latch,
    /// CEs at which a pilot waits for work.
    pub(crate) parked_at: BTreeSet<CeId>,
    pub(crate) depends: Depends,
    /// The jobs of idempotency keys, each with the request's hash.
    keys: BTreeMap<(UserName, Arc<str>), (JobId, Box<str>)>,
    /// Pilots with an open wish and an order for them, and pilots that ended with one.
    news: BTreeSet<PilotId>,
    /// Whether an open wish may be granted that could not be before.
    wishes_may_be_granted: bool,
    /// Room that is being made for tasks that others give way to.
    pub(crate) kept_rooms: give_way::KeptRooms,
    /// When standings were computed anew for all.
    refreshed_at: Timestamp,
    /// From which account on that is not finished.
    refresh_from: Option<usize>,
    /// From when on pilots have room, while tasks are blocked.
    pub(crate) rooms: Rooms,
    /// Where tasks are kept back for others.
    pub(crate) kept: Kept,
    /// When it was noted who is not needed.
    noted_at: Timestamp,
    /// The pilot whose tasks were charged for last, while they run.
    charged_to: PilotId,
    /// Classes that no CE has judged yet, and how many pairs of both were looked at by the command
    /// that is being applied.
    unjudged: BTreeSet<ClassId>,
    judged: usize,
    next_job: u64,
    next_pilot: u64,
    next_event: u64,
    /// Changes of the command that is being applied; empty between commands.
    changes: Vec<Change>,
    /// Commands until the next full check, in debug builds.
    check_after: usize,
}

/// What is known of a task that no attempt was ever begun for, beside its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untouched {
    /// `Blocked`, `Waiting` or `Held`.
    pub(crate) state: TaskState,
    pub(crate) since: Timestamp,
}

/// A job that is not over. There are as many as tasks where each is a job of its own: what is here
/// is most of what a waiting task takes.
#[derive(Clone, Debug)]
pub(crate) struct LiveJob {
    /// Without its text, which nothing is decided by.
    pub(crate) job: Job,
    pub(crate) spec: Described,
    /// Its key; the hash of its request is with the key.
    idempotency: Option<Arc<str>>,
    /// Tasks that no attempt was ever begun for.
    pub(crate) untouched: Ranges<Untouched>,
    /// All other tasks that are not over.
    pub(crate) tasks: BTreeMap<u32, Task>,
    counts: Counts,
    classes: Classes,
    /// Only if tasks depend on others.
    pub(crate) nodes: Option<Box<Nodes>>,
}

/// How many tasks are in each state, in the order of [`TaskState::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u32; TaskState::ALL.len()]);

impl Counts {
    pub(crate) fn of(&self, state: TaskState) -> u32 {
        self.0[state as usize]
    }

    fn add(&mut self, state: TaskState, tasks: u32) {
        self.0[state as usize] += tasks;
    }

    fn shift(&mut self, from: TaskState, to: TaskState, tasks: u32) {
        debug_assert!(from == to || from.may_become(to), "{from:?} to {to:?}");
        debug_assert!(self.of(from) >= tasks);
        self.0[from as usize] -= tasks;
        self.0[to as usize] += tasks;
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|&n| u64::from(n)).sum()
    }

    fn ended(&self) -> u64 {
        let ended = TaskState::ALL.iter().filter(|state| state.is_final());
        ended.map(|&state| u64::from(self.of(state))).sum()
    }
}

/// Which class each task of a job is in.
#[derive(Clone, Debug)]
enum Classes {
    /// All in the same.
    Uniform(ClassId),
    /// By the place of what it needs in [`kinds`](fairway_jdl::JobSpec::kinds); only of tasks that
    /// are not over is the number meaningful.
    Kinds(Box<[ClassId]>),
}

impl LiveJob {
    /// The class of a task that is not over.
    pub(crate) fn class_of(&self, index: u32) -> ClassId {
        match &self.classes {
            Classes::Uniform(id) => *id,
            Classes::Kinds(ids) => ids[self.kind_of(index)],
        }
    }

    /// The place of what a task needs among what all of them need.
    fn kind_of(&self, index: u32) -> usize {
        let spec = self.spec.read();
        spec.map_or(0, |spec| spec.kinds().of(index))
    }

    /// `from <= index < to` by class, each with its stretches in order.
    fn by_class(&self, from: u32, to: u32) -> Vec<(ClassId, Vec<(u32, u32)>)> {
        let ids = match &self.classes {
            Classes::Uniform(id) => return vec![(*id, vec![(from, to)])],
            Classes::Kinds(ids) => ids,
        };
        let kinds = self
            .spec
            .read()
            .into_iter()
            .flat_map(|spec| spec.kinds().all());
        let whole = (from, to) == (0, self.job.task_count);
        let most = |tasks: u32| if whole { tasks as usize } else { 0 };
        let mut rows: Vec<Vec<(u32, u32)>> = kinds
            .map(|(_, tasks)| Vec::with_capacity(most(*tasks)))
            .collect();
        for index in from..to {
            let own = &mut rows[self.kind_of(index)];
            match own.last_mut() {
                Some(last) if last.1 == index => last.1 = index + 1,
                _ => own.push((index, index + 1)),
            }
        }
        let rows = ids.iter().copied().zip(rows);
        rows.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    pub(crate) fn count(&self, state: TaskState) -> u32 {
        self.counts.of(state)
    }

    /// Tasks in a row, all in the queue, with when they came there. A task that came back from
    /// a pilot has its old place: that of its job.
    fn waiting_since(&self, from: u32, to: u32) -> Vec<(u32, u32, Timestamp)> {
        let mut stretches = Vec::new();
        let mut at = from;
        while at < to {
            let (end, since) = match self.untouched.get(at) {
                Some((_, end, untouched)) => (end.min(to), untouched.since),
                None => (at + 1, self.job.submitted_at),
            };
            stretches.push((at, end, since));
            at = end;
        }
        stretches
    }

    /// The task as a row; `None` if it is over.
    pub(crate) fn task(&self, index: u32) -> Option<Task> {
        if let Some(task) = self.tasks.get(&index) {
            return Some(task.clone());
        }
        let (_, _, untouched) = self.untouched.get(index)?;
        let mut task = Task::new(TaskId::new(self.job.id, index), untouched.since);
        task.state = untouched.state;
        Some(task)
    }
}

impl State {
    /// Carries out one command. If it is refused, nothing has changed.
    pub fn apply(&mut self, command: Command, now: Timestamp) -> Applied {
        debug_assert!(self.changes.is_empty());
        self.judged = 0;
        if self.shares.rotate(now) {
            self.reorder_all();
        }
        let reply = self.carry_out(command, now);
        let changes = std::mem::take(&mut self.changes);
        debug_assert!(
            reply.is_ok() || changes.is_empty(),
            "a refused command changed something: {changes:?}"
        );
        if cfg!(debug_assertions) {
            self.check_now_and_then();
        }
        Applied { reply, changes }
    }

    fn carry_out(&mut self, command: Command, now: Timestamp) -> Result<Reply, Refused> {
        match command {
            Command::Submit(submission) => self.submit(submission, now),
            Command::ChangeTasks { verb, tasks, by } => self.change_tasks(verb, tasks, &by, now),
            Command::Retry { tasks, by, ended } => self.retry(tasks, &by, ended, now),
            Command::RegisterPilot {
                pilot,
                bootstrap_hash,
                nonce_hash,
                session_hash,
                host,
                resources,
                remaining_s,
            } => {
                let call = pilots::FirstCall {
                    bootstrap_hash,
                    nonce_hash,
                    session_hash,
                    host,
                    resources,
                    remaining_s,
                };
                self.register_pilot(pilot, call, now)
            }
            Command::Sync {
                pilot,
                reports,
                holding,
                want,
            } => self.sync(pilot, reports, &holding, want, now),
            Command::Goodbye { pilot, reason } => self.goodbye(pilot, reason, now),
            Command::PlanPilots { orders } => Ok(self.plan_pilots(orders, now)),
            Command::ProbePilot { ce, hash, by } => self.probe_pilot(&ce, hash, &by, now),
            Command::ObservePilots(seen) => {
                for (pilot, observation) in seen {
                    self.observe_pilot(pilot, observation, now);
                }
                Ok(Reply::Done)
            }
            Command::DrainPilot { pilot } => self.drain_pilot(pilot, now),
            Command::EndPilot { pilot, end } => self.end_pilot_by_word(pilot, end, now),
            Command::PutSite { site, by } => Ok(self.put_site(*site, by, now)),
            Command::RemoveSite { site, by } => self.remove_site(&site, by, now),
            Command::SetMode { site, ce, mode, by } => self.set_mode(&site, ce, mode, by, now),
            Command::PlanMaintenance {
                site,
                maintenance,
                by,
            } => self.plan_maintenance(&site, maintenance, by, now),
            Command::ReleaseNode { ce, host, by } => self.release_node(&ce, &host, &by, now),
            Command::Publish(states) => Ok(self.publish(states)),
            Command::SetPolicy {
                policy,
                by,
                because,
                from,
            } => self.set_policy(policy, from, (by, because), now),
            Command::Serve => Ok(self.serve(now)),
            Command::CloseWant { pilot } => {
                self.close_wish(pilot);
                Ok(Reply::Done)
            }
            Command::Tick => Ok(self.tick(now)),
        }
    }

    fn event(&mut self, kind: EventKind, now: Timestamp) {
        let seq = self.next_event;
        self.next_event += 1;
        self.changes
            .push(Change::Event(Event { seq, at: now, kind }));
    }

    pub(crate) fn limits(&self, now: Timestamp) -> Limits {
        Limits {
            now,
            remaining_min_s: self.settings.remaining_min_s,
        }
    }

    /// Finds everybody's place anew.
    fn reorder_all(&mut self) {
        self.queue.rekey_all(&self.shares);
    }

    /// What keeps tasks from pilots at this moment.
    pub(crate) fn door(&self, now: Timestamp) -> Door<'_> {
        Door {
            shares: &self.shares,
            bounds: &self.bounds,
            now,
        }
    }

    /// The account of a job.
    pub(crate) fn account_of(&self, job: &Job) -> Option<AccountId> {
        self.shares.find(&job.owner, job.group.as_ref())
    }

    /// Puts tasks of a job into the queue.
    fn enqueue(&mut self, job: JobId, from: u32, to: u32) {
        let Some(live) = self.jobs.get(&job) else {
            return;
        };
        let account = self
            .shares
            .account(&live.job.owner, live.job.group.as_ref());
        // By class, since each insertion finds its place anew.
        let mut rows: BTreeMap<(ClassId, Timestamp), Vec<(u32, u32)>> = BTreeMap::new();
        for (from, to, since) in live.waiting_since(from, to) {
            for (class, own) in live.by_class(from, to) {
                let all = rows.entry((class, since)).or_default();
                if all.is_empty() {
                    *all = own;
                } else {
                    all.extend(own);
                }
            }
        }
        for ((class, since), rows) in rows {
            self.queue
                .insert(&self.shares, class, account, (job, since), &rows);
        }
        self.wishes_may_be_granted = true;
    }

    /// Takes waiting tasks of a job out of the queue.
    fn dequeue(&mut self, job: JobId, from: u32, to: u32) {
        let Some(live) = self.jobs.get(&job) else {
            return;
        };
        let Some(account) = self.account_of(&live.job) else {
            return;
        };
        for (class, rows) in live.by_class(from, to) {
            self.queue
                .remove(&self.shares, class, account, (job, &rows));
        }
        // What was kept for them may go to others.
        self.wishes_may_be_granted |= self.kept.is_any();
    }

    /// Lets a job go if all its tasks are over.
    fn finish_job(&mut self, id: JobId, now: Timestamp) {
        let over = |live: &LiveJob| live.counts.ended() == u64::from(live.job.task_count);
        if !self.jobs.get(&id).is_some_and(|live| over(live)) {
            return;
        }
        if let Some(live) = self.jobs.remove(&id) {
            self.depends.left(&live.job);
            if let Some(key) = live.idempotency {
                self.keys.remove(&(live.job.owner, key));
            }
        }
        self.latch.forget_job(id, now);
        self.changes.push(Change::JobProgress {
            job: id,
            ended_at: Some(now),
        });
    }

    fn live_pilot(&mut self, id: PilotId) -> Result<&mut LivePilot, Refused> {
        let known = id.0 < self.next_pilot;
        self.pilots.get_mut(&id).ok_or_else(|| {
            if known {
                refused(RefusedKind::PilotEnded, format!("pilot {id} is over"))
            } else {
                refused(RefusedKind::NotFound, format!("there is no pilot {id}"))
            }
        })
    }
}

fn refused(kind: RefusedKind, reason: String) -> Refused {
    Refused { kind, reason }
}
