//! What can be asked of the state, what it answers, and what must be made durable for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_jdl::{JobNode, JobSpec, Needs};
use fairway_model::event::TaskVerb;
use fairway_model::{
    Attempt, AttemptEnd, CeId, CeName, CeState, Event, GroupName, Job, JobId, Maintenance, Order,
    Pilot, PilotEnd, PilotId, Policy, Principal, Resources, Site, SiteMode, SiteName, Task, TaskId,
    TaskState, Timestamp, UsageRecord, UserName,
};

use crate::provision::PilotOrder;
use crate::shares::Used;

/// Something to do. Who may ask for it has been checked, except where a
/// [`Principal`] comes along to be checked against the owner of a task.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a policy is rare, and a command is moved a few times in its life"
)]
pub enum Command {
    /// Accept a job with all its tasks.
    Submit(Submission),
    /// Cancel, hold, release or retry tasks.
    ChangeTasks {
        /// What to do.
        verb: TaskVerb,
        /// To which tasks.
        tasks: Selection,
        /// Who asks: must be an operator or own the tasks.
        by: Principal,
    },
    /// Queue tasks again that failed or were cancelled. Ended tasks are not in memory, so
    /// the caller brings their rows: it commits what it has applied so far, reads the rows of
    /// `tasks` that are `Failed` or `Cancelled` with their jobs from the store, and only then
    /// applies this. A `ChangeTasks` with [`TaskVerb::Retry`] is this command without rows: it
    /// says of every task that is not over why it is left alone.
    Retry {
        /// Which tasks were asked for.
        tasks: Selection,
        /// Who asks: must be an operator or own the tasks.
        by: Principal,
        /// The ended tasks among them, by job.
        ended: Vec<EndedTasks>,
    },
    /// A pilot calls home. Its secret has been checked, by hash, by the caller.
    RegisterPilot {
        /// Who calls.
        pilot: PilotId,
        /// SHA-256 (hex) of its one-time secret.
        bootstrap_hash: String,
        /// SHA-256 (hex) of its nonce.
        nonce_hash: String,
        /// SHA-256 (hex) of the session token that it is to get.
        session_hash: String,
        /// The worker node.
        host: String,
        /// What it has to give.
        resources: Resources,
        /// Seconds that remain of its allocation.
        remaining_s: u64,
    },
    /// A pilot's heartbeat, with reports and perhaps the wish for work.
    Sync {
        /// Who speaks.
        pilot: PilotId,
        /// What happened, in order.
        reports: Vec<AttemptReport>,
        /// Every attempt that the pilot holds.
        holding: Vec<(TaskId, Attempt)>,
        /// The wish for work.
        want: Option<PilotWant>,
    },
    /// A pilot ends.
    Goodbye {
        /// Which.
        pilot: PilotId,
        /// Why.
        reason: String,
    },
    /// Pilots are to be asked for: notes them as planned, before anything is submitted.
    PlanPilots {
        /// Which, with the hashes of the secrets that they will show: one for each node.
        orders: Vec<(PilotOrder, Vec<String>)>,
    },
    /// One pilot is to be asked for that gets no task and ends as soon as it has called home: to
    /// see whether pilots start at the CE. Modes and limits do not hold for it, so that a CE can
    /// be tried before it is opened; there is only one at a CE at a time.
    ProbePilot {
        /// Where.
        ce: CeId,
        /// SHA-256 (hex) of the secret that it will show.
        hash: String,
        /// Who asks.
        by: UserName,
    },
    /// What was learnt of pilots from the batch system.
    ObservePilots(Vec<(PilotId, Observation)>),
    /// A pilot is to finish what it has and take no more.
    DrainPilot {
        /// Which.
        pilot: PilotId,
    },
    /// A pilot is over by our word: its tasks are requeued, its reports refused. The caller
    /// cancels it in the batch system.
    EndPilot {
        /// Which.
        pilot: PilotId,
        /// Why.
        end: PilotEnd,
    },
    /// Register a site or replace its description.
    PutSite {
        /// The site.
        site: Box<Site>,
        /// Who asks.
        by: UserName,
    },
    /// Remove a site: its pilots that have not called home are over, the others drain.
    RemoveSite {
        /// Which.
        site: SiteName,
        /// Who asks.
        by: UserName,
    },
    /// Open, drain or close a site or one CE.
    SetMode {
        /// Which site.
        site: SiteName,
        /// Only this CE.
        ce: Option<CeName>,
        /// The new mode.
        mode: SiteMode,
        /// Who asks.
        by: UserName,
    },
    /// Say when a site is not to be used.
    PlanMaintenance {
        /// Which site.
        site: SiteName,
        /// All times in which it is not.
        maintenance: Vec<Maintenance>,
        /// Who asks.
        by: UserName,
    },
    /// Give a node tasks again that was set aside.
    ReleaseNode {
        /// Where it is.
        ce: CeId,
        /// Its name, as its pilots tell it.
        host: String,
        /// Who asks.
        by: UserName,
    },
    /// What CEs published.
    Publish(Vec<CeState>),
    /// Change the policy.
    SetPolicy {
        /// The new one; already checked.
        policy: Policy,
        /// Who asks.
        by: UserName,
        /// Why, as they say.
        because: Option<String>,
        /// The one that it was made from, if that must still be in force.
        from: Option<Box<Policy>>,
    },
    /// Serve the wishes for work that are open: those of a `Sync` with a `want` that changed
    /// nothing and was answered with nothing. Asked after every batch; costs nothing when nothing
    /// has changed. A wish is also answered here when there is an order (stop, drain) for its
    /// pilot. Each task goes to the pilot that waits at the CE that ranks highest for it.
    Serve,
    /// The wish of this pilot is no longer open: its long poll has ended.
    CloseWant {
        /// Whose.
        pilot: PilotId,
    },
    /// Time has passed: expire silent pilots, count running core-seconds, rotate intervals.
    Tick,
}

/// A job to accept.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who submits.
    pub owner: UserName,
    /// For which group.
    pub group: Option<GroupName>,
    /// The JDL text.
    pub jdl: String,
    /// The same, read and checked.
    pub spec: Arc<JobSpec>,
    /// Key of the folder that holds its input sandbox.
    pub sandbox: Option<String>,
    /// The `Idempotency-Key`, and SHA-256 (hex) of the request that came with it.
    pub idempotency: Option<(String, String)>,
    /// The jobs that the description names as those that it waits for, as far as there are such
    /// and the submitter may name them. No task of them was queued again by hand since they were
    /// read.
    pub named: Vec<NamedJob>,
}

/// A job that others wait for, as it stands in the store. Where the job is in memory, that knows
/// better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedJob {
    /// The job.
    pub id: JobId,
    /// How many tasks it has.
    pub task_count: u32,
    /// Those of its nodes that are named: the first task, and one past the last.
    pub nodes: Vec<(String, u32, u32)>,
    /// How many of its tasks are in each final state.
    pub counts: Vec<(TaskState, u32)>,
    /// Which of its tasks are in which final state; only if parts of it are waited for, or if its
    /// tasks are waited for one by one.
    pub rows: Vec<EndedRow>,
}

/// Ended tasks of one job that are to be queued again, and what is needed to know the job
/// if it is over and so not in memory any more.
#[derive(Clone, Debug)]
pub struct EndedTasks {
    /// The job.
    pub job: Job,
    /// Its description.
    pub spec: Arc<JobSpec>,
    /// Its idempotency key and the request's hash.
    pub idempotency: Option<(String, String)>,
    /// How many of its tasks are in each final state, `tasks` included. Used only if the job is
    /// over; the memory knows better otherwise.
    pub counts: Vec<(TaskState, u32)>,
    /// If tasks depend on others: which are in which final state, in rows. As `counts`.
    pub rows: Vec<EndedRow>,
    /// The tasks to queue again, as they stand in the store. Skipped ones may be among them:
    /// they wait again if nothing that they depend on is in the way any more.
    pub tasks: Vec<Task>,
    /// The jobs that this one waits for, as in [`Submission::named`].
    pub named: Vec<NamedJob>,
}

/// Tasks of a job in a row that are in the same final state: the first, and one past the last.
pub type EndedRow = (TaskState, u32, u32);

/// Which tasks.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All tasks of a job for which the verb makes sense.
    Job(JobId),
    /// Those of them in a row: the first, and one past the last.
    Row(JobId, u32, u32),
    /// These.
    Tasks(Vec<TaskId>),
}

/// What a pilot reports of one attempt.
#[derive(Clone, Debug)]
pub struct AttemptReport {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// What happened.
    pub what: AttemptNews,
}

/// What happened to an attempt.
#[derive(Clone, Debug)]
pub enum AttemptNews {
    /// The payload started.
    Started,
    /// It was put to sleep, as was asked for.
    Suspended,
    /// It goes on, as was asked for.
    Resumed,
    /// It is over.
    Ended {
        /// How.
        end: AttemptEnd,
        /// From the payload's start to its end, in milliseconds.
        wall_ms: u64,
        /// Processor time of the process tree, in milliseconds.
        cpu_ms: u64,
        /// Peak memory of the process tree, in KiB.
        memory_peak_kib: u64,
    },
}

/// A pilot's wish for work.
#[derive(Clone, Copy, Debug)]
pub struct PilotWant {
    /// Grows with every wish of the pilot.
    pub round: u64,
    /// Seconds that remain of its allocation.
    pub remaining_s: u64,
    /// How many tasks may wait at the pilot beyond those that its resources hold.
    pub backlog: u32,
    /// Whether the pilot knows that it is to stay though it has no task.
    pub staying: bool,
}

/// What was learnt of a pilot from the batch system.
#[derive(Clone, Debug)]
pub enum Observation {
    /// It was accepted under this id (or found again under it).
    Submitted {
        /// The batch system's id.
        batch_id: String,
    },
    /// It was not accepted.
    Refused {
        /// The batch system's own words.
        reason: String,
    },
    /// Nothing is known of its submission: it may have been accepted or not, and is looked for.
    Unanswered {
        /// What happened instead of an answer.
        reason: String,
    },
    /// It waits in the queue.
    Queued,
    /// It runs, whether it called home or not.
    Running,
    /// It is over there.
    Ended {
        /// What the batch system says of it.
        detail: String,
    },
}

/// What a command did: the answer, and what must be durable before it is given.
#[derive(Debug)]
pub struct Applied {
    /// The answer.
    pub reply: Result<Reply, Refused>,
    /// What must be made durable, in order.
    pub changes: Vec<Change>,
}

/// The answer to a command.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Done; there is nothing more to say.
    Done,
    /// A job was accepted (or had been, with the same idempotency key).
    Submitted {
        /// Which job.
        job: JobId,
        /// How many tasks it has.
        tasks: u32,
        /// Whether it had been accepted before.
        repeated: bool,
    },
    /// Tasks were changed.
    TasksChanged {
        /// How many.
        changed: u32,
        /// Those that stay as they are, at least for now, with the reason; the first 100.
        left: Vec<(TaskId, String)>,
    },
    /// What a pilot is given and told.
    Synced {
        /// Work.
        grants: Vec<Grant>,
        /// What is to be done with attempts that it has, and those that it had better not have.
        orders: Vec<(TaskId, Attempt, Order)>,
        /// To finish what it has and take no more.
        drain: bool,
        /// Whether to stay though it has no task, since it is part of one of which another pilot
        /// has the lease, or waits to be; `None` where it knows.
        stay: Option<bool>,
    },
    /// The wishes that were answered now, each with its `Synced`; they are no longer open. A
    /// pilot that is over is told to drain, and learns the rest when it speaks next.
    Served(Vec<(PilotId, Reply)>),
    /// Pilots were noted as planned: those orders that still hold, in their order, the pilots of
    /// one allocation next to each other. Each has one of the hashes that came with its order.
    /// Also the one pilot of a [`Command::ProbePilot`].
    Planned(Vec<Pilot>),
}

/// A task given to a pilot.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// Its job's description: `spec.task(task)` is what to run. `None` if it is not kept in memory:
    /// then it is what the text of the job says, which is in the store.
    pub spec: Option<Arc<JobSpec>>,
    /// What it needs.
    pub needs: Arc<Needs>,
    /// Key of the folder that holds its input sandbox.
    pub sandbox: Option<String>,
    /// What it is given on the pilot's own node.
    pub resources: Resources,
    /// The nodes that it runs on, the pilot's own first, if there are several.
    pub hosts: Vec<GrantedHost>,
}

/// One of the nodes of a task that runs on several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedHost {
    /// Its name, as its pilot tells it.
    pub name: String,
    /// Cores that the task is given there.
    pub cores: u32,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// What kind of refusal.
    pub kind: RefusedKind,
    /// The reason, for the one who asked.
    pub reason: String,
}

/// What kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// There is no such thing, or it is not theirs.
    NotFound,
    /// Not in the present state.
    Conflict,
    /// It names what is not there, or could never come about.
    Invalid,
    /// The idempotency key came with another request before.
    IdempotencyConflict,
    /// The secret is wrong or used.
    Unauthorized,
    /// The pilot is over.
    PilotEnded,
    /// It asks for what there is not, or not for them.
    NotOffered,
    /// A limit is reached.
    LimitReached,
    /// The policy is not the one that the change was made from.
    PolicyChanged,
}

/// A row to write. The store folds several changes of one row into the last.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new job, of which all tasks are `Waiting` since `job.submitted_at` but those of nodes
    /// with parents, which are `Blocked`; or all, if the job waits for others.
    NewJob {
        /// The job.
        job: Job,
        /// The nodes that it consists of if it is compound.
        nodes: Vec<JobNode>,
        /// Its idempotency key and the request's hash.
        idempotency: Option<(String, String)>,
        /// Whether it waits for other jobs.
        waits: bool,
    },
    /// A job's last task ended, or ended tasks of it were queued again.
    JobProgress {
        /// Which job.
        job: JobId,
        /// When its last task ended; `None` while it is active.
        ended_at: Option<Timestamp>,
    },
    /// A task as it stands now.
    Task(Task),
    /// Every task `from <= index < to` of a job goes to `state` at `since`; all other columns
    /// stay as they are. Comes only for tasks that no attempt was ever begun for, so one `UPDATE`
    /// of the two columns by job and index range does it. Is in order with the [`Change::Task`]s:
    /// a row image that comes later in the same batch wins over the range, an earlier one is
    /// overwritten in these two columns (so an earlier image must be written, or folded, first).
    TaskRange {
        /// Which job.
        job: JobId,
        /// The first task.
        from: u32,
        /// One past the last task.
        to: u32,
        /// Where the tasks are now.
        state: TaskState,
        /// Since when.
        since: Timestamp,
    },
    /// A pilot as it stands now.
    Pilot(Pilot),
    /// A site as it stands now.
    Site(Site),
    /// A site that is no more.
    SiteRemoved(SiteName),
    /// The policy.
    Policy(Policy),
    /// What was used in one interval, in all.
    Share {
        /// By whom.
        entity: Entity,
        /// When the interval began.
        interval: Timestamp,
        /// What was used in it.
        used: Used,
    },
    /// What an account spent on one day, in all.
    Spent {
        /// Who.
        user: UserName,
        /// In which group.
        group: Option<GroupName>,
        /// When the day began, UTC.
        day: Timestamp,
        /// Core-milliseconds.
        core_ms: u64,
    },
    /// An ended attempt.
    Usage(UsageRecord),
    /// Something that happened.
    Event(Event),
}

/// Whose usage is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// A user in a group.
    Account {
        /// Who.
        user: UserName,
        /// In which group.
        group: Option<GroupName>,
    },
    /// A quality of service.
    Qos(Arc<str>),
    /// A queue.
    Queue(Arc<str>),
}

/// What an account spent: in all, and on the last day on which it spent something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentRow {
    /// Who.
    pub user: UserName,
    /// In which group.
    pub group: Option<GroupName>,
    /// Core-milliseconds on all days together.
    pub total_ms: u64,
    /// When the last day began, UTC.
    pub day: Timestamp,
    /// Core-milliseconds on that day.
    pub day_ms: u64,
}

/// A job that is not over, with its description, and its idempotency key with the request's hash.
pub type ActiveJob = (Job, Arc<JobSpec>, Option<(String, String)>);

/// What the store gives back at start: all that is not over.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The policy, if one was ever set.
    pub policy: Option<Policy>,
    /// Jobs that are not over, with their descriptions and idempotency keys.
    pub jobs: Vec<ActiveJob>,
    /// Of these jobs: the tasks in states that are not final.
    pub tasks: Vec<Task>,
    /// Of these jobs: how many tasks are in each final state.
    pub ended: Vec<(JobId, TaskState, u32)>,
    /// Of those in which tasks depend on others: which tasks are in which final state.
    pub ended_rows: BTreeMap<JobId, Vec<EndedRow>>,
    /// The jobs that these wait for, also those that are over.
    pub named: Vec<NamedJob>,
    /// Pilots that are not over.
    pub pilots: Vec<Pilot>,
    /// How many pilots were asked for of each CE in each stretch of time that a moment stands
    /// for, in the last 24 hours at least; those that are over are counted as well.
    pub asked: Vec<(CeId, Timestamp, u32)>,
    /// The sites.
    pub sites: Vec<Site>,
    /// Usage by interval.
    pub shares: Vec<(Entity, Timestamp, Used)>,
    /// What accounts spent.
    pub spent: Vec<SpentRow>,
    /// Next numbers: one more than the largest ever used.
    pub next_job: u64,
    /// As `next_job`.
    pub next_pilot: u64,
    /// As `next_job`.
    pub next_event: u64,
}
