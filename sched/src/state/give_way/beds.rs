//! Who gives way to whom: all waiting tasks against all pilots, in one round.
//!
//! Tasks are laid in the order of service onto the room that there is, that is being freed and
//! that is on its way; only what finds none of it makes others give way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::{
    GivesWay, PilotId, PilotState, PreemptionSettings, Resources, SiteMode, TaskId, TaskState,
    Timestamp,
};

use super::State;
use super::rooms::free_later;
use crate::bounds::{Bounds, Subject};
use crate::element::Element;
use crate::matching::{Lease, LivePilot};
use crate::preempt::{self, Candidate, Rank, Victims, cheapest};
use crate::queue::{Candidate as Waiter, Class, ClassId};

/// Room is made for at most so many tasks in one round; for others in the next.
const TASKS_MAX: usize = 100;
/// Room is made for tasks of at most so many classes in one round, the first in order.
const CLASSES_MAX: usize = 100;
/// Of a class, so many accounts are looked at in one round.
const ACCOUNTS_MAX: usize = 10;

/// Tasks that are to give way to another.
pub(super) struct Decision {
    pub(super) task: TaskId,
    pub(super) class: ClassId,
    pub(super) resources: Resources,
    pub(super) pilot: PilotId,
    pub(super) victims: Vec<TaskId>,
    pub(super) because: String,
}

/// A pilot in this round.
struct Bed<'a> {
    live: &'a LivePilot,
    element: &'a Element,
    /// What is left for tasks that have none yet.
    free: Resources,
    /// Those that may give way, each with its rank.
    candidates: Vec<(Candidate, Rank<'a>)>,
}

pub(super) struct Beds<'a> {
    state: &'a State,
    now: Timestamp,
    settings: PreemptionSettings,
    /// With those that room is made for counted as started.
    bounds: Bounds,
    /// Pilots at work.
    beds: Vec<Bed<'a>>,
    /// Pilots that will be there soon.
    expected: Vec<Bed<'a>>,
}

/// Whether a pilot could take tasks of a class if it had room: they may run there, in time.
pub(super) fn could_take(
    state: &State,
    live: &LivePilot,
    element: &Element,
    (id, class): (ClassId, &Class),
    now: Timestamp,
) -> bool {
    let ends_at = match live.pilot.state {
        PilotState::Active => live.pilot.ends_at.unwrap_or(Timestamp(i64::MAX)),
        _ => now.plus(Duration::from_secs(live.pilot.walltime_s)),
    };
    let limits = state.limits(now);
    let task_s = live.purpose.task_s(&class.needs, limits.remaining_min_s);
    element.mode() == SiteMode::Open
        && element.verdicts.get(&id).is_some_and(|it| it.eligible)
        && limits.lasts_s(task_s, element.usable_until(ends_at, now))
        && live.purpose.takes(state, id, class)
        && state.node_admits(live, now)
}

impl<'a> Beds<'a> {
    pub(super) fn of(state: &'a State, now: Timestamp) -> Self {
        let mut all = Self {
            state,
            now,
            settings: state.policy().preemption,
            bounds: state.bounds.clone(),
            beds: Vec::new(),
            expected: Vec::new(),
        };
        for live in state.pilots.values() {
            let Some(element) = state.elements.get(&live.pilot.ce) else {
                continue;
            };
            if live.pilot.state == PilotState::Active {
                all.beds.extend(all.bed(live, element));
            } else if all.is_soon(live, element) {
                all.expected.push(Bed {
                    live,
                    element,
                    free: element.expected_of(live.pilot.resources),
                    candidates: Vec::new(),
                });
            }
        }
        all
    }

    /// `None` while tasks wait at the pilot: these are short, and it has room in a moment.
    fn bed(&self, live: &'a LivePilot, element: &'a Element) -> Option<Bed<'a>> {
        let rooms = self.state.kept_rooms.at(live.pilot.id).iter();
        let sleepers = live.leases.iter().filter(|it| it.awaits_room());
        let kept = rooms
            .map(|room| room.resources)
            .chain(sleepers.map(|lease| super::cores_of(lease.resources)))
            .fold(Resources::default(), Resources::plus);
        let free = free_later(live)?;
        let candidates = live.leases.iter().filter_map(|it| self.candidate(it));
        Some(Bed {
            live,
            element,
            // What is kept may have been taken by who goes before: then nothing is left.
            free: free.minus(kept).unwrap_or_default(),
            candidates: candidates.collect(),
        })
    }

    /// A lease as one that may give way; `None` if it may not, or not again yet.
    fn candidate(&self, lease: &Lease) -> Option<(Candidate, Rank<'a>)> {
        let class = self.state.class_of_task(lease.task)?;
        let policy = self.state.policy();
        if lease.yielding.order.is_some()
            || lease.yielding.asleep
            // What runs on several nodes would free only a part of each.
            || !lease.seats.is_empty()
            || !preempt::may_give_way(policy, &class.needs)
        {
            return None;
        }
        let live = self.state.jobs.get(&lease.task.job)?;
        let row = live.tasks.get(&lease.task.index)?;
        let started_at = row.started_at.filter(|_| row.state == TaskState::Running)?;
        if let Some(before) = row.preemption.filter(|it| it.times > 0) {
            let runs_since = before.resumed_at.unwrap_or(started_at);
            if self.now.since(runs_since) < Duration::from_secs(self.settings.again_after_s) {
                return None;
            }
        }
        let rank = Rank::of(policy, &class.needs);
        let (frees, lost_core_ms) = match preempt::how(&class.needs) {
            GivesWay::Sleeps => (super::cores_of(lease.resources), 0),
            GivesWay::Stops => {
                let cores = lease.resources.cores;
                let ran = super::super::attempts::core_ms(started_at, self.now, cores);
                (lease.resources, ran)
            }
        };
        let candidate = Candidate {
            task: lease.task,
            tier: rank.tier,
            frees,
            lost_core_ms,
        };
        Some((candidate, rank))
    }

    /// Whether a pilot on its way is worth waiting for: it starts, or by what is known of its CE it
    /// will within the time that a task must wait anyway. One that is long overdue is not.
    fn is_soon(&self, live: &LivePilot, element: &Element) -> bool {
        match live.pilot.state {
            PilotState::Starting => true,
            state if state.is_expected() => {
                let waits_s = self.now.since(live.pilot.planned_at).as_secs();
                let expected_s = u64::try_from(element.response_s()).unwrap_or(u64::MAX);
                let patience_s = self.settings.wait_min_s;
                waits_s <= expected_s.max(patience_s)
                    && expected_s.saturating_sub(waits_s) <= patience_s
            }
            _ => false,
        }
    }

    /// What is to be done for tasks of these classes. `served`: tasks that room is being made for.
    pub(super) fn decide(
        mut self,
        contenders: &[ClassId],
        served: &BTreeSet<TaskId>,
    ) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if self.beds.iter().all(|bed| bed.candidates.is_empty()) {
            return decisions;
        }
        let queue = &self.state.queue;
        let accounts = queue.accounts_in_order(&self.state.shares, self.now);
        for &id in contenders.iter().take(CLASSES_MAX) {
            let Some(class) = queue.class(id) else {
                continue;
            };
            let candidates = accounts.iter().filter_map(|it| class.candidate(id, *it));
            for waiter in candidates.take(ACCOUNTS_MAX) {
                self.decide_for(&waiter, served, &mut decisions);
            }
        }
        decisions
    }

    fn decide_for(
        &mut self,
        waiter: &Waiter<'a>,
        served: &BTreeSet<TaskId>,
        decisions: &mut Vec<Decision>,
    ) {
        let (id, class) = (waiter.id, waiter.class);
        let at_work = self.open_to(&self.beds, waiter);
        let soon = self.open_to(&self.expected, waiter);
        let demand = class.needs.resources;
        // The best set at each pilot; found anew where one was chosen.
        let mut sets: BTreeMap<usize, Option<Victims>> = BTreeMap::new();
        for (task, since) in class.first_of(waiter.account, TASKS_MAX) {
            if decisions.len() >= TASKS_MAX || !self.may_start(waiter) {
                return;
            }
            if served.contains(&task) {
                continue;
            }
            if lay(&mut self.beds, &at_work, demand) || lay(&mut self.expected, &soon, demand) {
                sets.clear();
                continue;
            }
            let waited = self.now.since(since);
            if waited < Duration::from_secs(self.settings.wait_min_s) {
                continue;
            }
            let Some((place, victims)) = self.best(&at_work, class, &mut sets) else {
                return;
            };
            sets.remove(&place);
            let rank = Rank::of(self.state.policy(), &class.needs);
            decisions.push(Decision {
                task,
                class: id,
                resources: demand,
                pilot: self.beds[place].live.pilot.id,
                because: because(waited, rank, &victims),
                victims: victims.tasks().to_vec(),
            });
            self.beds[place].take(&victims, demand);
        }
    }

    /// Whether the bounds of the policy let one more task be started, which counts from now on.
    fn may_start(&mut self, waiter: &Waiter<'_>) -> bool {
        let subject = Subject {
            shares: &self.state.shares,
            account: waiter.account,
            needs: &waiter.class.needs,
            site: None,
        };
        self.bounds.is_empty() || self.bounds.take(subject, 1, self.now) > 0
    }

    /// Which of the pilots may run tasks of the account and class.
    fn open_to(&self, beds: &[Bed<'_>], waiter: &Waiter<'_>) -> Vec<usize> {
        let door = self.state.door(self.now);
        let class = (waiter.id, waiter.class);
        let open = |bed: &Bed<'_>| {
            could_take(self.state, bed.live, bed.element, class, self.now)
                && door.lets(waiter, bed.element, &bed.live.pilot.owner)
        };
        let places = beds.iter().enumerate();
        places
            .filter(|(_, bed)| open(bed))
            .map(|(place, _)| place)
            .collect()
    }

    /// The cheapest set of all pilots.
    fn best(
        &self,
        places: &[usize],
        class: &Class,
        sets: &mut BTreeMap<usize, Option<Victims>>,
    ) -> Option<(usize, Victims)> {
        let policy = self.state.policy();
        let rank = Rank::of(policy, &class.needs);
        for &place in places {
            sets.entry(place).or_insert_with(|| {
                let bed = &self.beds[place];
                let may = bed.candidates.iter();
                let may = may.filter(|(_, other)| rank.goes_before(policy, *other));
                let may: Vec<Candidate> = may.map(|(candidate, _)| *candidate).collect();
                let set = cheapest(bed.free, class.needs.resources, &may)?;
                (!set.tasks().is_empty()).then_some(set)
            });
        }
        let found = sets
            .iter()
            .filter_map(|(place, set)| Some((*place, set.as_ref()?)));
        let (place, set) = found.min_by(|(_, a), (_, b)| a.cost.cmp(&b.cost))?;
        Some((place, set.clone()))
    }
}

impl Bed<'_> {
    /// The victims go, the task comes.
    fn take(&mut self, victims: &Victims, demand: Resources) {
        self.candidates
            .retain(|(candidate, _)| !victims.tasks().contains(&candidate.task));
        let free = self.free.plus(victims.frees);
        self.free = free.minus(demand).unwrap_or_default();
    }
}

/// Lays a task onto the first of these pilots that has room for it.
fn lay(beds: &mut [Bed<'_>], places: &[usize], demand: Resources) -> bool {
    for &place in places {
        if let Some(rest) = beds[place].free.minus(demand) {
            beds[place].free = rest;
            return true;
        }
    }
    false
}

/// By which rule the victims give way to a task of this rank.
fn because(waited: Duration, rank: Rank<'_>, victims: &Victims) -> String {
    let qos = match rank.qos {
        "" => "without a quality of service".to_owned(),
        name => format!("of quality of service `{name}`"),
    };
    let (own, theirs) = (rank.tier, victims.tier());
    let rule = if own > theirs {
        format!("tier {own} before tier {theirs}")
    } else {
        "which displaces others by name".to_owned()
    };
    let others = match victims.tasks().len() {
        1 => String::new(),
        n => format!("; {n} tasks together make the room"),
    };
    format!(
        "{qos}, {rule}; it had waited for {} s and found no room{others}",
        waited.as_secs()
    )
}
