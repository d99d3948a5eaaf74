//! The whole explanation in a sentence or two.

use fairway_model::{GivesWay, JobId, Preemption, Task, TaskId, TaskState};

use super::{CeVerdict, Refusal, Rival};
use crate::State;
use crate::matching::serves;
use crate::preempt::may_give_way;
use crate::queue::Class;

pub(super) fn summary(
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

/// Of a task that waits and has given way before: that it has, and when it may have to again.
pub(super) fn again(state: &State, row: &Task, class: &Class) -> Option<String> {
    let before = row.preemption.filter(|it| it.times > 0)?;
    let last = before.at?;
    let gave_way = match before.times {
        1 => format!("It gave way to others at {last}"),
        n => format!("It has given way to others {n} times, last at {last}"),
    };
    let policy = state.policy();
    let settings = policy.preemption;
    let then = if settings.enabled && may_give_way(policy, &class.needs) {
        let rest_s = settings.again_after_s;
        format!("when it runs again, it does not give way in its first {rest_s} s")
    } else {
        "the policy does not let it give way any more".to_owned()
    };
    Some(format!("{gave_way}, and has kept its place; {then}."))
}

/// How far the nodes of one allocation are that a waiting task needs at the same time.
pub(super) fn gathering(state: &State, is: TaskState, class: &Class, ces: &[CeVerdict]) -> String {
    let hosts = class.needs.hosts;
    if hosts == 1 || is != TaskState::Waiting {
        return String::new();
    }
    let able = ces.iter().filter(|ce| ce.eligible);
    let elements = able.filter_map(|ce| state.elements.get(&ce.ce));
    let free = elements.map(|element| state.most_hosts_free(element, class));
    match free.max() {
        Some(free) => {
            let free = match free {
                0 => "none has".to_owned(),
                1 => "1 has".to_owned(),
                n => format!("{n} have"),
            };
            format!(" It needs {hosts} nodes of one allocation at the same time; {free} room now.")
        }
        None => String::new(),
    }
}

/// Who comes first and why.
pub(super) fn before(barrier: Option<&Refusal>, rivals: &[Rival], accounts: usize) -> String {
    let Some(first) = rivals.first().filter(|_| barrier.is_none()) else {
        return String::new();
    };
    let others = match accounts {
        0 | 1 => String::new(),
        2 => " (and 1 more account comes before)".to_owned(),
        n => format!(" (and {} more accounts come before)", n - 1),
    };
    let Rival { path, because, .. } = first;
    format!(" {path} comes before it: {because}{others}.")
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
