//! Which running tasks give way to which others: the rule, and the choice. Values in, values
//! out; [`give_way`](crate::state) carries it out.
//!
//! A task may give way if it says so (`Preemptible`) or its quality of service does; to tasks
//! whose quality of service names its own, or is of a higher tier. Who has used less is no reason:
//! that decides who is served next, not who is stopped.

use fairway_jdl::Needs;
use fairway_model::{GivesWay, Policy, Resources, TaskId};

/// Most sets of victims that are compared for one task and pilot. Beyond that the best set found
/// so far is taken: it has no victim that is not needed, but another set may be cheaper.
const SETS_MAX: usize = 2000;

/// What decides who gives way to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank<'a> {
    /// Of the quality of service; 0 without one.
    pub(crate) tier: i32,
    /// Its name; `""` without one.
    pub(crate) qos: &'a str,
}

impl<'a> Rank<'a> {
    pub(crate) fn of(policy: &Policy, needs: &'a Needs) -> Self {
        let qos = needs.qos.as_deref().unwrap_or_default();
        Self {
            tier: policy.qos_named(qos).map_or(0, |qos| qos.tier),
            qos,
        }
    }

    /// Whether tasks of this rank are let through by running ones of `other`, if those give way
    /// at all.
    pub(crate) fn goes_before(self, policy: &Policy, other: Rank<'_>) -> bool {
        let names = |names: &[String]| names.iter().any(|name| name == other.qos);
        self != other
            && (self.tier > other.tier
                || policy
                    .qos_named(self.qos)
                    .is_some_and(|qos| names(&qos.preempts)))
    }
}

/// Whether tasks that need this give way at all.
pub(crate) fn may_give_way(policy: &Policy, needs: &Needs) -> bool {
    let qos = needs.qos.as_deref().and_then(|name| policy.qos_named(name));
    needs.preemptible || qos.is_some_and(|qos| qos.preemptible)
}

/// How tasks that need this give way.
pub(crate) fn how(needs: &Needs) -> GivesWay {
    if needs.suspendable {
        GivesWay::Sleeps
    } else {
        GivesWay::Stops
    }
}

/// A running task that may give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) task: TaskId,
    pub(crate) tier: i32,
    /// What becomes free.
    pub(crate) frees: Resources,
    /// What is lost: cores × time since its start, in core-milliseconds. Nothing is if it sleeps.
    pub(crate) lost_core_ms: u64,
}

/// What a set of victims costs: the smaller, the better.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cost {
    /// The highest tier among them.
    tier: i32,
    lost_core_ms: u64,
    victims: usize,
    tasks: Vec<TaskId>,
}

/// Tasks that give way, at what cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Victims {
    pub(crate) cost: Cost,
    pub(crate) frees: Resources,
}

impl Victims {
    fn of(chosen: &[Candidate]) -> Self {
        let mut tasks: Vec<TaskId> = chosen.iter().map(|it| it.task).collect();
        tasks.sort_unstable();
        let lost = chosen.iter().map(|it| it.lost_core_ms);
        Self {
            cost: Cost {
                tier: chosen.iter().map(|it| it.tier).max().unwrap_or(i32::MIN),
                lost_core_ms: lost.fold(0, u64::saturating_add),
                victims: tasks.len(),
                tasks,
            },
            frees: sum(chosen),
        }
    }

    /// The highest tier among them.
    pub(crate) const fn tier(&self) -> i32 {
        self.cost.tier
    }

    /// Who they are, in order.
    pub(crate) fn tasks(&self) -> &[TaskId] {
        &self.cost.tasks
    }
}

fn sum(chosen: &[Candidate]) -> Resources {
    let frees = chosen.iter().map(|it| it.frees);
    frees.fold(Resources::default(), Resources::plus)
}

/// The cheapest set of candidates of one pilot that, with what is `free`, makes room for `demand`;
/// none of them could be left out. Of as low tiers as can be; among those sets the one that loses
/// the fewest core-seconds, then the smallest, then the one with the lowest task ids. `None` if all
/// together do not make room.
pub(crate) fn cheapest(
    free: Resources,
    demand: Resources,
    candidates: &[Candidate],
) -> Option<Victims> {
    let mut pool = candidates.to_vec();
    pool.sort_unstable_by_key(|it| (it.tier, it.lost_core_ms, it.task));
    let room = |chosen: &[Candidate]| free.plus(sum(chosen)).holds(demand);
    let enough = (0..=pool.len()).find(|n| room(&pool[..*n]))?;
    // Those of the tier at which it is enough are all in the choice, and none of a higher one.
    let highest = enough
        .checked_sub(1)
        .map_or(i32::MIN, |last| pool[last].tier);
    let first = without_needless(&pool[..enough], room);
    pool.retain(|it| it.tier <= highest);
    let mut search = Search {
        best: Victims::of(&first),
        pool: &pool,
        room: &room,
        sets: 0,
    };
    search.go_on(0, &mut Vec::new());
    Some(search.best)
}

/// The same without those that are not needed; the dearest are left out first.
fn without_needless(chosen: &[Candidate], room: impl Fn(&[Candidate]) -> bool) -> Vec<Candidate> {
    let mut kept = chosen.to_vec();
    for place in (0..kept.len()).rev() {
        let left_out = kept.remove(place);
        if !room(&kept) {
            kept.insert(place, left_out);
        }
    }
    kept
}

/// Branch and bound over all sets, as long as they are not dearer than the best.
struct Search<'a, R> {
    pool: &'a [Candidate],
    room: &'a R,
    best: Victims,
    sets: usize,
}

impl<R: Fn(&[Candidate]) -> bool> Search<'_, R> {
    fn go_on(&mut self, from: usize, chosen: &mut Vec<Candidate>) {
        self.sets += 1;
        if self.sets > SETS_MAX {
            return;
        }
        let cost = |it: &[Candidate]| {
            let lost = it.iter().map(|it| it.lost_core_ms);
            (lost.fold(0, u64::saturating_add), it.len())
        };
        let best = (self.best.cost.lost_core_ms, self.best.cost.victims);
        if cost(chosen) > best {
            return;
        }
        if (self.room)(chosen) {
            // What is not needed costs nothing, or the set would not be the cheapest.
            let found = Victims::of(&without_needless(chosen, self.room));
            if found.cost < self.best.cost {
                self.best = found;
            }
            return;
        }
        for place in from..self.pool.len() {
            chosen.push(self.pool[place]);
            self.go_on(place + 1, chosen);
            chosen.pop();
        }
    }
}

#[cfg(test)]
mod tests;
