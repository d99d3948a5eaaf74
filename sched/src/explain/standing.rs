//! Where a waiting task stands in the order of service, who comes before it, and by what numbers.

use fairway_model::rule::measure;
use fairway_model::{Metric, PolicyKind, TaskId, Timestamp};

use crate::State;
use crate::bounds::Subject;
use crate::queue::{Class, ClassId};
use crate::shares::{AccountId, Arrangement, NodeId};

/// So many of those before it are told.
const TOLD_MAX: usize = 5;

/// Somebody whose tasks come before.
#[derive(Clone, Debug, PartialEq)]
pub struct Rival {
    /// Their place in the tree of shares, by names from the top down.
    pub path: String,
    /// How many of their tasks wait.
    pub waiting: u64,
    /// Why they come before, with the numbers on both sides.
    pub because: String,
}

/// A task's priority under `maui`.
#[derive(Clone, Debug, PartialEq)]
pub struct Priority {
    /// The sum.
    pub total: f64,
    /// Whether a cap of its owner, group, QoS or queue is reached, so that it is not started.
    pub capped: bool,
    /// Its components with their weights: `fairshare`, `resources`, `qos`, `queue_time` and
    /// `expansion_factor`.
    pub parts: Vec<(&'static str, f64)>,
}

/// Who asks: a waiting task.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) task: TaskId,
    pub(super) id: ClassId,
    pub(super) class: &'a Class,
    pub(super) account: AccountId,
    pub(super) since: Timestamp,
}

/// How many tasks come before it; 0 only if it is the next one.
pub(super) fn before_it(state: &State, own: Own<'_>, now: Timestamp) -> u64 {
    if is_next(state, own, now) {
        0
    } else {
        ahead(state, own.task, own.account, now).max(1)
    }
}

/// Whether it is the next one of all tasks that may be started now and share a CE with it.
fn is_next(state: &State, own: Own<'_>, now: Timestamp) -> bool {
    let in_its_way = |id: ClassId| {
        let mut elements = state.elements.values();
        elements.any(|element| {
            let able = |id| element.verdicts.get(&id).is_some_and(|it| it.eligible);
            able(id) && able(own.id)
        })
    };
    let first = state.queue.first(
        &state.shares,
        now,
        |id, _| id == own.id || in_its_way(id),
        |candidate| {
            let subject = Subject {
                shares: &state.shares,
                account: candidate.account,
                needs: &candidate.class.needs,
                site: None,
            };
            state.bounds.allow(subject, now)
        },
    );
    first.is_some_and(|choice| choice.task == own.task)
}

/// The first of those before it, and how many there are.
pub(super) fn rivals(state: &State, own: Own<'_>, now: Timestamp) -> (Vec<Rival>, usize) {
    let order = state.queue.places_in_order(&state.shares, now);
    let mut seen = std::collections::BTreeSet::new();
    let Some(place) = order
        .iter()
        .position(|place| *place == (own.id, own.account))
    else {
        // Nothing of its owner is started: it has no place.
        return (Vec::new(), 0);
    };
    let before = order
        .iter()
        .take(place)
        .filter(|(_, account)| *account != own.account && seen.insert(*account));
    let before: Vec<&(ClassId, AccountId)> = before.collect();
    let told = before.iter().take(TOLD_MAX);
    let rivals = told.filter_map(|(id, account)| {
        Some(Rival {
            path: state
                .shares
                .path(state.shares.books(*account).node)
                .to_string(),
            waiting: state.queue.waiting_of(*account),
            because: because(state, own, (*id, *account), now)?,
        })
    });
    (rivals.collect(), before.len())
}

/// Why another account comes before with its class.
fn because(
    state: &State,
    own: Own<'_>,
    (id, account): (ClassId, AccountId),
    now: Timestamp,
) -> Option<String> {
    let class = state.queue.class(id)?;
    let (first, _) = *class.first_of(account, 1).first()?;
    let since = class.waits_since(&state.shares, account)?;
    if state.queue.is_overdue(since, now) {
        let waited_s = now.since(since).as_secs();
        return Some(format!("{first} has waited for too long, {waited_s} s"));
    }
    let arrangement = state.shares.arrangement();
    let (theirs, own_tier) = (class.tier(), own.class.tier());
    if arrangement != Arrangement::Priority && theirs > own_tier {
        return Some(format!(
            "{first} is of tier {theirs}, and this of tier {own_tier}"
        ));
    }
    Some(match arrangement {
        Arrangement::Arrival => match own.since.since(since).as_secs() {
            0 => format!("{first} came into the queue just before it"),
            s => format!("{first} came into the queue {s} s before it"),
        },
        Arrangement::Priority => {
            let theirs = priority(state, (account, class), since, now).total;
            let own = priority(state, (own.account, own.class), own.since, now).total;
            format!("the priority of {first} is {theirs:.1}, that of this {own:.1}")
        }
        Arrangement::Tree => by_level(state, own.account, account),
    })
}

/// The numbers of the nodes at which the paths of two accounts part.
fn by_level(state: &State, own: AccountId, other: AccountId) -> String {
    let shares = &state.shares;
    let path = |account: AccountId| {
        let leaf = shares.books(account).node;
        let mut path: Vec<NodeId> =
            std::iter::successors(Some(leaf), |id| shares.above(*id)).collect();
        path.reverse();
        path
    };
    let (own, other) = (path(own), path(other));
    let parted = own.iter().zip(&other).find(|(own, other)| own != other);
    let Some((own, other)) = parted else {
        return "they are served in turn, and it is their turn".to_owned();
    };
    let kind = state.policy().kind;
    let (mine, theirs) = (shares.key(*own).level(), shares.key(*other).level());
    let in_turn = matches!(kind, PolicyKind::RoundRobin | PolicyKind::RoundRobinGroups);
    let (own, other) = (shares.path(*own), shares.path(*other));
    if in_turn {
        return format!("it is the turn of {other} before {own}");
    }
    let what = measure(kind);
    if theirs < mine {
        format!("the {what} of {other} is {theirs:.4}, that of {own} {mine:.4}")
    } else {
        format!("the {what} of both {other} and {own} is {mine:.4}, and they are served in turn")
    }
}

/// What its priority is made of.
pub(super) fn priority(
    state: &State,
    (account, class): (AccountId, &Class),
    since: Timestamp,
    now: Timestamp,
) -> Priority {
    let parts = state.shares.priority_parts(account, &class.needs);
    let waited_ms = now.since(since).as_millis() as f64;
    let settings = &state.policy().maui;
    let queue_time = settings.queue_time_weight * waited_ms / 60_000.0;
    let grown = state.shares.priority_per_ms(&class.needs) * waited_ms;
    let parts_named = vec![
        ("fairshare", parts.fairshare),
        ("resources", parts.resources),
        ("qos", parts.qos),
        ("queue_time", queue_time),
        ("expansion_factor", parts.expansion + grown - queue_time),
    ];
    Priority {
        total: parts_named.iter().map(|(_, value)| value).sum(),
        capped: parts.capped,
        parts: parts_named,
    }
}

/// An estimate; see [`Explained::ahead`](super::Explained::ahead).
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
            (PolicyKind::Fairshare, Metric::TasksStarted) => {
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
