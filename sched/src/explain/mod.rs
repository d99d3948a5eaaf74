//! Why a task is where it is: the answer to the question that users ask most.

mod ces;
mod history;
mod pilots;
mod standing;
mod summary;
mod waits;

use std::collections::BTreeMap;

use fairway_model::{CeId, PolicyKind, Resources, TaskId, TaskState, Timestamp, UserName};

use self::ces::{barrier, verdict};
use self::standing::Own;
use self::summary::{again, before, gathering, summary};
use self::waits::{conditions, other_jobs, waits_for};
use crate::State;
use crate::backfill::remark;
use crate::provision::{Ledger, Outlook, deadline_outlook};
use crate::queue::Class;
use crate::state::Standing;

pub use self::history::{HistoryLine, history};
pub use self::pilots::PilotVerdict;
pub use self::standing::{Priority, Rival};

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Which task.
    pub task: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// The node that it belongs to, if its job is compound.
    pub node: Option<String>,
    /// The whole explanation in one sentence.
    pub summary: String,
    /// The nodes that it waits for, and how their tasks stand; at most 100.
    pub waits_for: Vec<WaitsFor>,
    /// What it waits for of other jobs, and how that stands; at most 100.
    pub depends: Vec<DependsOn>,
    /// How many tasks would be served before it, as things stand; only for waiting tasks that the
    /// policy lets be started. 0 means
    /// that it is the next of all that share a CE with it. Beyond that it is exact under fifo. Under round-robin: its owner's earlier tasks, and as many of every other user.
    /// Under fairshare by tasks started: those that bring every other user's FS up to its
    /// owner's; by core-seconds, where nobody knows how long tasks run, as under round-robin.
    /// Whether a pilot suits the others is not asked.
    pub ahead: Option<u64>,
    /// What of the policy keeps it from being started wherever there is room: a limit, a budget,
    /// a pause.
    pub barrier: Option<Refusal>,
    /// Its owner's standing.
    pub standing: Standing,
    /// What it asks for, on each host.
    pub resources: Resources,
    /// On how many hosts it runs at the same time.
    pub hosts: u32,
    /// The walltime that it asks for, in seconds.
    pub walltime_s: Option<u64>,
    /// Its Requirements in canonical form.
    pub requirements: Option<String>,
    /// Its Rank in canonical form.
    pub rank: Option<String>,
    /// How its deadline stands; only of tasks that have not started.
    pub deadline: Option<Outlook>,
    /// Every CE, those that could run it first, best Rank first.
    pub ces: Vec<CeVerdict>,
    /// Of a waiting task: the pilots at work that it might run with, at CEs that could run it, at
    /// most 20; those with the least against them first.
    pub pilots: Vec<PilotVerdict>,
    /// Of a waiting task: the first 5 accounts that come before its own.
    pub before: Vec<Rival>,
    /// How many accounts come before its own.
    pub accounts_before: u32,
    /// Its priority; of waiting tasks under `maui`.
    pub priority: Option<Priority>,
    /// Its quality of service.
    pub qos: Option<String>,
    /// The tier of that; 0 without one.
    pub tier: i32,
    /// How long it has been in the queue, in seconds; of waiting tasks.
    pub waited_s: Option<u64>,
    /// Whether that is longer than anybody is to wait.
    pub overdue: bool,
}

/// A node that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitsFor {
    /// Its name.
    pub node: String,
    /// How many of its tasks are in each state; states with none are left out.
    pub states: BTreeMap<TaskState, u32>,
}

/// Something that a task waits for of other jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependsOn {
    /// As it is written in a description: `afterok:12`.
    pub dependency: String,
    /// Whether it has come about.
    pub met: bool,
    /// How many of the tasks that are named are how far; not of `singleton`.
    pub progress: Option<Progress>,
}

/// How many tasks are how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// They have not started.
    pub pending: u32,
    /// They run, or are being cancelled.
    pub running: u32,
    /// They have succeeded.
    pub succeeded: u32,
    /// They are over otherwise.
    pub lost: u32,
}

/// What a CE means for a task.
#[derive(Clone, Debug, PartialEq)]
pub struct CeVerdict {
    /// Which CE.
    pub ce: CeId,
    /// Whether the task could run there.
    pub eligible: bool,
    /// Its Rank there, if Rank gives a number.
    pub rank: Option<f64>,
    /// What speaks against it. At a CE where the task could run: why no more pilots are asked
    /// for there at the moment.
    pub refusals: Vec<Refusal>,
}

/// One thing that speaks against a CE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What refused: a clause of Requirements, or `cores`, `memory`, `gpus`, `custom`,
    /// `whole_node`, `nodes`, `tags`, `walltime`, `mode`,
    /// `maintenance`, `status`, `published`, `users`, `accounts`, `group`, `job_cores_max`,
    /// `job_nodes_max`, the name of a [`Limit`](crate::provision::Limit), `threshold`,
    /// `back-off`.
    pub clause: String,
    /// The values on both sides.
    pub because: String,
}

/// Explains a task; `None` if it is over (or never was), and so not in memory.
pub fn explain(state: &State, task: TaskId, now: Timestamp) -> Option<Explained> {
    let live = state.jobs.get(&task.job)?;
    let row = live.task(task.index)?;
    let id = live.class_of(task.index);
    let class = state.queue.class(id)?;
    let needs = &class.needs;
    let owner = &live.job.owner;
    let account = state.account_of(&live.job)?;
    let ledger = Ledger::of(state, now);
    let mut ces: Vec<CeVerdict> = state
        .elements
        .values()
        .map(|element| verdict(state, &ledger, element, (id, class), (owner, account), now))
        .collect();
    let rank_of = |verdict: &CeVerdict| verdict.rank.unwrap_or(f64::NEG_INFINITY);
    ces.sort_by(|a, b| {
        (b.eligible.cmp(&a.eligible))
            .then_with(|| rank_of(b).total_cmp(&rank_of(a)))
            .then_with(|| a.ce.cmp(&b.ce))
    });
    let waits_for = waits_for(live, task.index);
    let waiting = row.state == TaskState::Waiting;
    let barrier = waiting.then(|| barrier(state, class, account, None, now));
    let barrier = barrier.flatten();
    let remark = waiting.then(|| remark(state, task, (id, class), now));
    let (until, depends) = other_jobs(state, live, &row);
    let since = class.since_of(account, task).filter(|_| waiting);
    let own = since.map(|since| Own {
        task,
        id,
        class,
        account,
        since,
    });
    // Of what may not be started nobody can tell when its turn would be.
    let in_order = own.filter(|_| barrier.is_none());
    let ahead = in_order.map(|own| standing::before_it(state, own, now));
    let (rivals, accounts_before) = match in_order.filter(|_| ahead != Some(0)) {
        Some(own) => standing::rivals(state, own, now),
        None => (Vec::new(), 0),
    };
    let by_priority = state.policy().kind == PolicyKind::Maui;
    let priority = own.filter(|_| by_priority).map(|own| {
        let whose = (own.account, own.class);
        standing::priority(state, whose, own.since, now)
    });
    let pilots = match own {
        Some(_) => pilots::pilots(state, &ces, (id, class), owner, now),
        None => Vec::new(),
    };
    Some(Explained {
        task,
        state: row.state,
        node: live.node_name(task.index).map(str::to_owned),
        summary: {
            let until = conditions(until, &waits_for);
            let summary = summary(state, &row, (until, barrier.as_ref()), &ces, ahead)
                + &gathering(state, row.state, class, &ces)
                + &before(barrier.as_ref(), &rivals, accounts_before);
            let again = waiting.then(|| again(state, &row, class)).flatten();
            let more = remark.flatten().into_iter().chain(again);
            more.fold(summary, |told, more| format!("{told} {more}"))
        },
        barrier,
        waits_for,
        depends,
        ahead,
        standing: state.standing(owner, class.group.as_ref(), now)?,
        resources: needs.resources,
        hosts: needs.hosts,
        walltime_s: needs.walltime_s,
        requirements: needs.requirements.as_ref().map(ToString::to_string),
        rank: needs.rank.as_ref().map(ToString::to_string),
        deadline: deadline(state, row.state, class, owner, now),
        ces,
        pilots,
        before: rivals,
        accounts_before: u32::try_from(accounts_before).unwrap_or(u32::MAX),
        priority,
        qos: needs.qos.as_deref().map(str::to_owned),
        tier: class.tier(),
        waited_s: since.map(|since| now.since(since).as_secs()),
        overdue: own.is_some_and(|own| is_overdue(state, own, now)),
    })
}

/// Whether a task comes before all since it has waited for too long: the first of its account
/// among those that need the same.
fn is_overdue(state: &State, own: Own<'_>, now: Timestamp) -> bool {
    let first = own.class.first_of(own.account, 1);
    let is_first = first.first().is_some_and(|(task, _)| *task == own.task);
    let since = own.class.waits_since(&state.shares, own.account);
    is_first && since.is_some_and(|since| state.queue.is_overdue(since, now))
}

fn deadline(
    state: &State,
    is: TaskState,
    class: &Class,
    owner: &UserName,
    now: Timestamp,
) -> Option<Outlook> {
    let unstarted = matches!(
        is,
        TaskState::Waiting | TaskState::Held | TaskState::Blocked
    );
    let who = (owner, class.group.as_ref());
    unstarted.then(|| deadline_outlook(state, &class.needs, who, now))?
}

fn refusal((clause, because): (&str, String)) -> Refusal {
    Refusal {
        clause: clause.to_owned(),
        because,
    }
}
