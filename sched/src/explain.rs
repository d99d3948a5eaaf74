//! Why a task is where it is: the answer to the question that users ask most.

use std::collections::BTreeMap;

use fairway_jdl::{Needs, Value, eval};
use fairway_model::{
    CeId, GivesWay, GroupName, JobId, PilotOwner, PolicyKind, Preemption, Resources, SiteName,
    Task, TaskId, TaskState, Timestamp, UserName,
};

use crate::State;
use crate::backfill::remark;
use crate::bounds::Subject;
use crate::depends::Verdict;
use crate::element::Element;
use crate::matching::serves;
use crate::packing::Room;
use crate::provision::{Ledger, Outlook, Size, closures, deadline_outlook, misfits, too_few};
use crate::queue::{Class, ClassId};
use crate::shares::AccountId;
use crate::state::{LiveJob, Standing};

/// So many nodes that a task waits for are told.
const WAITS_FOR_MAX: usize = 100;

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
    /// How many tasks would be served before it, as things stand; only for waiting tasks. Exact
    /// under fifo. Under round-robin: its owner's earlier tasks, and as many of every other user.
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
    let ahead = waiting.then(|| ahead(state, task, account, now));
    Some(Explained {
        task,
        state: row.state,
        node: live.node_name(task.index).map(str::to_owned),
        summary: {
            let until = conditions(until, &waits_for);
            let summary = summary(state, &row, (until, barrier.as_ref()), &ces, ahead)
                + &gathering(state, row.state, class, &ces);
            match remark.flatten() {
                Some(remark) => format!("{summary} {remark}"),
                None => summary,
            }
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
    })
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

fn verdict(
    state: &State,
    ledger: &Ledger,
    element: &Element,
    (id, class): (ClassId, &Class),
    (owner, account): (&UserName, AccountId),
    now: Timestamp,
) -> CeVerdict {
    let judged = element.verdicts.get(&id);
    let mut refusals: Vec<Refusal> = Vec::new();
    refusals.extend(requirements(element, &class.needs));
    refusals.extend(element.tags_missing(&class.needs).map(refusal));
    refusals.extend(access(element, owner, class.group.as_ref()));
    refusals.extend(closures(state, element, now).into_iter().map(refusal));
    // What holds everywhere is told once, not at every CE.
    if barrier(state, class, account, None, now).is_none() {
        let site = Some(&element.id.site);
        refusals.extend(barrier(state, class, account, site, now));
    }
    let group = class.group.as_ref();
    let new_for = element.owner_for(owner, group);
    // A pilot that is there already may have more than new ones are asked for.
    if !has_pilot_for(state, element, class, owner, now) {
        refusals.extend(new_for.clone().err().map(refusal));
        let misfits = misfits(state, element, &class.needs, now);
        refusals.extend(misfits.into_iter().map(refusal));
    }
    let eligible = refusals.is_empty();
    if eligible && let Ok(new_for) = new_for {
        refusals.extend(full(state, ledger, element, &new_for, now));
    }
    CeVerdict {
        ce: element.id.clone(),
        eligible,
        rank: judged.and_then(|verdict| verdict.rank),
        refusals,
    }
}

/// The clauses of Requirements that do not hold.
fn requirements(element: &Element, needs: &Needs) -> Vec<Refusal> {
    let Some(expr) = &needs.requirements else {
        return Vec::new();
    };
    let clauses = eval::clauses(expr, &needs.ad, &element.ad);
    clauses
        .into_iter()
        .filter(|clause| clause.value != Value::Boolean(true))
        .map(|clause| Refusal {
            clause: clause.text,
            because: clause.because,
        })
        .collect()
}

fn access(element: &Element, owner: &UserName, group: Option<&GroupName>) -> Option<Refusal> {
    if element.admits(owner, group) {
        return None;
    }
    let users = element.ce.users.iter().map(|user| format!("user {user}"));
    let groups = element
        .ce
        .groups
        .iter()
        .map(|group| format!("group {group}"));
    let admitted: Vec<String> = users.chain(groups).collect();
    let group = group.map_or("no group".into(), |group| format!("group {group}"));
    Some(refusal((
        "users",
        format!(
            "it is user {owner} with {group}, needed {}",
            admitted.join(" or ")
        ),
    )))
}

fn has_pilot_for(
    state: &State,
    element: &Element,
    class: &Class,
    owner: &UserName,
    now: Timestamp,
) -> bool {
    let needs = &class.needs;
    let limits = crate::matching::Limits {
        now,
        remaining_min_s: state.settings.remaining_min_s,
    };
    let mut here = element.pilots.iter().filter_map(|id| state.pilots.get(id));
    here.any(|live| {
        live.pilot.state == fairway_model::PilotState::Active
            && serves(&live.pilot.owner, owner, class.group.as_ref())
            && Room::on(&live.pilot).holds(needs)
            && state.has_hosts(live, class)
            && live
                .pilot
                .ends_at
                .is_some_and(|end| limits.lasts(needs, element.usable_until(end, now)))
    })
}

/// Why no more pilots are asked for at a CE that could run the task.
fn full(
    state: &State,
    ledger: &Ledger,
    element: &Element,
    owner: &PilotOwner,
    now: Timestamp,
) -> Vec<Refusal> {
    let size = Size::of(element);
    let mut limits = ledger.limits(state, element, owner, size);
    limits.push(ledger.ramp(state, element, size));
    let full = limits.iter().filter(|limit| limit.is_full());
    let mut refusals: Vec<Refusal> = full
        .map(|limit| refusal((limit.name, limit.because())))
        .collect();
    if let Some(because) = too_few(state, element, now) {
        refusals.push(refusal(("threshold", because)));
    }
    if let Some((until, reason)) = element.experience.backing_off(now) {
        let because = format!("no pilots are asked for until {until}: {reason}");
        refusals.push(refusal(("back-off", because)));
    }
    refusals
}

/// See [`Explained::ahead`].
fn ahead(state: &State, task: TaskId, account: AccountId, now: Timestamp) -> u64 {
    let before = |account: AccountId| -> u64 {
        let classes = state.queue.classes_of(account);
        classes
            .map(|(_, class)| class.ahead_of(account, task))
            .sum()
    };
    let own = before(account);
    let policy = state.policy();
    let fs = |id: AccountId| state.shares.level(state.shares.books(id).node);
    let mut turn_has_come = true;
    let mut others = 0;
    for other in state.queue.accounts_in_order(&state.shares, now) {
        if other == account {
            turn_has_come = false;
            continue;
        }
        let waiting = state.queue.waiting_of(other);
        let in_turn = own + u64::from(turn_has_come);
        others += match (policy.kind, policy.usage.metric) {
            (PolicyKind::Fifo, _) => before(other),
            (PolicyKind::Fairshare, fairway_model::Metric::TasksStarted) => {
                let gap = fs(account) + own as f64 - fs(other);
                // Served while its FS is smaller; when it is equal, those before in turn are.
                let served = gap.max(0.0).ceil() as u64;
                let tie = gap >= 0.0 && gap.fract() == 0.0 && turn_has_come;
                waiting.min(served + u64::from(tie))
            }
            _ => waiting.min(in_turn),
        };
    }
    own + others
}

/// The nodes that a task waits for, in order; at most [`WAITS_FOR_MAX`].
fn waits_for(live: &LiveJob, index: u32) -> Vec<WaitsFor> {
    let Some(nodes) = &live.nodes else {
        return Vec::new();
    };
    let described = live.spec.nodes();
    let own = live.spec.node_of(index).map(|own| &described[own as usize]);
    let parents = own.into_iter().flat_map(|own| own.parents.iter());
    parents
        .filter(|&&parent| !nodes.is_complete(parent))
        .take(WAITS_FOR_MAX)
        .map(|&parent| WaitsFor {
            node: described[parent as usize].name.to_string(),
            states: live.states_of_node(parent),
        })
        .collect()
}

/// What a task that has not left its place waits for of other jobs: in words, and each thing; at
/// most [`WAITS_FOR_MAX`].
fn other_jobs(state: &State, live: &LiveJob, row: &Task) -> (Option<String>, Vec<DependsOn>) {
    let (id, index) = (live.job.id, row.id.index);
    let waits = matches!(row.state, TaskState::Blocked | TaskState::Held)
        && state
            .verdicts(id, (index, index + 1))
            .iter()
            .any(|(verdict, _)| *verdict == Verdict::Open);
    let described = live.spec.depends().filter(|_| waits);
    let Some((described, dependent)) = described.zip(state.depends.of(id)) else {
        return (None, Vec::new());
    };
    let terms = dependent.terms.iter().zip(&described.dependencies);
    let each = terms.take(WAITS_FOR_MAX).map(|(term, dependency)| {
        let tally = state.depends.known(term).map(|known| known.tally);
        DependsOn {
            dependency: dependency.to_string(),
            met: state.depends.verdict(id, term, index) == Verdict::Met,
            progress: tally.map(|tally| Progress {
                pending: tally.pending,
                running: tally.begun,
                succeeded: tally.succeeded,
                lost: tally.lost,
            }),
        }
    });
    let each = each.collect();
    (state.depends.until(id, described, index), each)
}

/// All that must be for a task to go into the queue, if it must wait for anything.
fn conditions(other_jobs: Option<String>, waits_for: &[WaitsFor]) -> Option<String> {
    let own_job = (!waits_for.is_empty()).then(|| condition(waits_for));
    match (other_jobs, own_job) {
        (Some(first), Some(then)) => Some(format!("{first}; and then until {then}")),
        (first, then) => first.or(then),
    }
}

/// What must be in its own job for a task to go into the queue.
fn condition(waits_for: &[WaitsFor]) -> String {
    const TOLD_MAX: usize = 5;
    let told = waits_for.iter().take(TOLD_MAX).map(|it| {
        let states = it.states.iter();
        let states: Vec<_> = states
            .map(|(state, n)| format!("{n} {}", state.name()))
            .collect();
        format!("`{}` ({})", it.node, states.join(", "))
    });
    let mut told: Vec<String> = told.collect();
    match waits_for.len() {
        0..=TOLD_MAX => {}
        WAITS_FOR_MAX.. => told.push("many more".into()),
        n => told.push(format!("{} more", n - TOLD_MAX)),
    }
    let last = told.pop().unwrap_or_default();
    let all = match told.as_slice() {
        [] => last,
        others => format!("{} and {last}", others.join(", ")),
    };
    let nodes = if waits_for.len() == 1 {
        "node"
    } else {
        "nodes"
    };
    format!("all tasks of {nodes} {all} have succeeded")
}

/// What of the policy keeps a class of an account from being started, at a site or anywhere.
fn barrier(
    state: &State,
    class: &Class,
    account: AccountId,
    site: Option<&SiteName>,
    now: Timestamp,
) -> Option<Refusal> {
    let subject = Subject {
        shares: &state.shares,
        account,
        needs: &class.needs,
        site,
    };
    state.bounds.barrier(subject, now).map(refusal)
}

fn summary(
    state: &State,
    row: &Task,
    (until, barrier): (Option<String>, Option<&Refusal>),
    ces: &[CeVerdict],
    ahead: Option<u64>,
) -> String {
    let place = || {
        let pilot = row.pilot.and_then(|id| state.pilots.get(&id));
        pilot.map_or("its pilot".to_owned(), |live| {
            let more = match row.seats.len() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("pilot {}{more} at {}", live.pilot.id, live.pilot.ce)
        })
    };
    match row.state {
        TaskState::Waiting if barrier.is_some() => {
            let because = barrier.map_or("", |barrier| &barrier.because);
            format!("It may not be started now: {because}.")
        }
        TaskState::Waiting => room_summary(state, row.id)
            .unwrap_or_else(|| waiting_summary(state, row.id.job, ces, ahead.unwrap_or(0))),
        TaskState::Held => match until {
            Some(until) => format!("Once it is released, it waits until {until}."),
            None => "It waits in the queue again once it is released.".into(),
        },
        TaskState::Leased => format!("It was given to {} and starts there.", place()),
        TaskState::Running if row.preemption.is_some_and(|it| is_giving_way(&it)) => {
            giving_way_summary(row, &place())
        }
        TaskState::Running if row.hold_on_return => {
            format!("It runs with {} and is held if it comes back.", place())
        }
        TaskState::Running => format!("It runs with {}.", place()),
        TaskState::Cancelling => {
            format!(
                "It was cancelled; {} has been or will be told to stop it.",
                place()
            )
        }
        TaskState::Blocked => format!("It waits until {}.", until.unwrap_or_default()),
        TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled | TaskState::Skipped => {
            "It is over.".into()
        }
    }
}

/// Where others give way to a task that waits, if they do.
fn room_summary(state: &State, task: TaskId) -> Option<String> {
    const TOLD_MAX: usize = 5;
    let (pilot, room) = state.kept_rooms.of(task)?;
    let ce = state.pilots.get(&pilot).map(|live| &live.pilot.ce)?;
    let told = room.victims.iter().take(TOLD_MAX).map(TaskId::to_string);
    let told: Vec<String> = told.collect();
    let more = match room.victims.len() {
        n if n > TOLD_MAX => format!(" and {} more", n - TOLD_MAX),
        _ => String::new(),
    };
    let give = match room.victims.len() {
        1 => "gives",
        _ => "give",
    };
    Some(format!(
        "Room is being made for it on pilot {pilot} at {ce}: {}{more} {give} way.",
        told.join(", ")
    ))
}

/// Whether its live attempt does anything but run.
fn is_giving_way(preemption: &Preemption) -> bool {
    preemption.order.is_some() || preemption.suspended_at.is_some()
}

fn giving_way_summary(row: &Task, place: &str) -> String {
    let by_hand = row.preemption.is_some_and(|it| it.by_hand);
    match (row.gives_way(), row.suspended_since()) {
        (Some(GivesWay::Stops), _) => format!(
            "It gives way to others: {place} has been or will be told to stop it. It goes back to \
             the queue, in its old place."
        ),
        (Some(GivesWay::Sleeps), None) if by_hand => {
            format!("It is to be suspended, as was asked for; {place} has been or will be told.")
        }
        (Some(GivesWay::Sleeps), Some(since)) if by_hand => {
            format!("It is suspended with {place} since {since}, as was asked for: resume it.")
        }
        (Some(GivesWay::Sleeps), None) => {
            format!("It gives way to others: {place} has been or will be told to suspend it.")
        }
        (Some(GivesWay::Sleeps), Some(since)) => format!(
            "It is suspended with {place} since {since}, and goes on when its cores are free again."
        ),
        (None, _) => format!("It was suspended; {place} has been or will be told to let it go on."),
    }
}

/// How far the nodes of one allocation are that a waiting task needs at the same time.
fn gathering(state: &State, is: TaskState, class: &Class, ces: &[CeVerdict]) -> String {
    let hosts = class.needs.hosts;
    if hosts == 1 || is != TaskState::Waiting {
        return String::new();
    }
    let able = ces.iter().filter(|ce| ce.eligible);
    let elements = able.filter_map(|ce| state.elements.get(&ce.ce));
    let free = elements.map(|element| state.most_hosts_free(element, class));
    match free.max() {
        Some(free) => format!(
            " It needs {hosts} nodes of one allocation at the same time; {free} have room now."
        ),
        None => String::new(),
    }
}

fn waiting_summary(state: &State, job: JobId, ces: &[CeVerdict], ahead: u64) -> String {
    let eligible: Vec<&CeVerdict> = ces.iter().filter(|ce| ce.eligible).collect();
    if ces.is_empty() {
        return "No site is registered.".into();
    }
    if eligible.is_empty() {
        return match ces {
            [only] => format!(
                "No CE can run it: {} refuses it, since {}.",
                only.ce,
                first(only)
            ),
            _ => format!(
                "None of the {} CEs can run it; {} refuses it, since {}.",
                ces.len(),
                ces[0].ce,
                first(&ces[0])
            ),
        };
    }
    let (active, expected) = pilots_for(state, job, &eligible);
    let queue = match ahead {
        0 => "It is next in the queue".to_owned(),
        n => format!("{} before it in the queue", are(n, "task")),
    };
    let pilots = match (active, expected) {
        (0, 0) => match eligible.iter().find_map(|ce| ce.refusals.first()) {
            Some(refusal) => format!("no pilot is there: {}", refusal.because),
            None => "no pilot is there yet; one is asked for in a moment".to_owned(),
        },
        (0, expected) => format!("{} on the way", are(expected, "pilot")),
        (active, 0) => format!("{} at work", are(active, "pilot")),
        (active, expected) => {
            format!("{} at work, {expected} on the way", are(active, "pilot"))
        }
    };
    let (n, all) = (eligible.len(), ces.len());
    format!("{queue}; {n} of {all} CEs could run it, {pilots}.")
}

/// How many pilots at these CEs may run tasks of the job: those that called home, and those that
/// are on their way.
fn pilots_for(state: &State, job: JobId, ces: &[&CeVerdict]) -> (u64, u64) {
    let Some(live) = state.jobs.get(&job) else {
        return (0, 0);
    };
    let elements = ces.iter().filter_map(|ce| state.elements.get(&ce.ce));
    let pilots = elements.flat_map(|element| &element.pilots);
    let pilots = pilots.filter_map(|id| state.pilots.get(id));
    let own = pilots.filter(|it| {
        let job = &live.job;
        serves(&it.pilot.owner, &job.owner, job.group.as_ref())
    });
    own.fold((0, 0), |(active, expected), it| {
        let on_its_way = u64::from(it.pilot.state.is_expected());
        (active + 1 - on_its_way, expected + on_its_way)
    })
}

/// `1 task is`, `2 tasks are`.
fn are(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what} is"),
        n => format!("{n} {what}s are"),
    }
}

fn first(ce: &CeVerdict) -> String {
    ce.refusals
        .first()
        .map_or(String::new(), |refusal| refusal.because.clone())
}
