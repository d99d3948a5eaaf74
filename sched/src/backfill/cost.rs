//! What keeping cores for tasks costs: cores that are free, wanted by somebody, and kept.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{CeId, PilotId, PilotOwner, TaskId, Timestamp};

use super::Pool;
use super::plan::Plan;
use super::rooms::Rooms;
use crate::State;
use crate::element::Element;
use crate::matching::{Limits, LivePilot, eligible};
use crate::queue::{Class, ClassId};

/// Where tasks are kept back, and what that has cost since the server started, in core-milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Where something was kept back since time passed last, or is still.
    pub(super) pools: BTreeSet<(CeId, PilotOwner)>,
    /// Of the tasks that cores are kept for.
    tasks: BTreeMap<TaskId, u64>,
    ces: BTreeMap<CeId, u64>,
    /// Up to when it was counted.
    counted_until: Option<Timestamp>,
}

impl Kept {
    /// Whether anything is kept back.
    pub(crate) fn is_any(&self) -> bool {
        !self.pools.is_empty()
    }

    /// What was kept idle at a CE, in core-milliseconds.
    pub(super) fn cost_at(&self, ce: &CeId) -> u64 {
        self.ces.get(ce).copied().unwrap_or(0)
    }

    /// What was kept idle for a task that cores are kept for, in core-milliseconds.
    pub(super) fn cost_of(&self, task: TaskId) -> u64 {
        self.tasks.get(&task).copied().unwrap_or(0)
    }

    /// Takes in what was idle at the CEs until now, and for which tasks.
    fn count(&mut self, idle: &[(CeId, Vec<(TaskId, u32)>)], now: Timestamp) {
        let since = self.counted_until.replace(now).unwrap_or(now);
        let before = std::mem::take(&mut self.tasks);
        for (ce, tasks) in idle {
            for &(task, cores) in tasks {
                let cost = crate::state::core_ms(since, now, cores);
                let known = before.get(&task).copied().unwrap_or(0);
                *self.tasks.entry(task).or_insert(known) += cost;
                *self.ces.entry(ce.clone()).or_default() += cost;
            }
        }
    }
}

impl State {
    /// Time passes: counts what is kept idle.
    pub(crate) fn watch_kept(&mut self, now: Timestamp) {
        self.rooms.forget_unused();
        if !self.kept.is_any() {
            self.kept.count(&[], now);
            return;
        }
        let mut rooms = std::mem::take(&mut self.rooms);
        rooms.refresh(self);
        let mut pools = std::mem::take(&mut self.kept.pools);
        let mut idle = Vec::new();
        pools.retain(|(ce, owner)| {
            let Some(element) = self.elements.get(ce) else {
                return false;
            };
            let tasks = self.kept_idle(&mut rooms, (element, owner), now);
            let any = !tasks.is_empty();
            idle.push((ce.clone(), tasks));
            any
        });
        self.rooms = rooms;
        self.kept.pools = pools;
        self.kept.count(&idle, now);
    }

    /// For which tasks how many cores are idle that others could use.
    fn kept_idle(
        &self,
        rooms: &mut Rooms,
        (element, owner): Pool<'_>,
        now: Timestamp,
    ) -> Vec<(TaskId, u32)> {
        let limits = self.limits(now);
        let mut plan = Plan::new(self, element, owner, limits);
        let places = plan.places(rooms).iter().filter(|place| place.kept);
        let pilots: BTreeSet<PilotId> = places.map(|place| place.pilot).collect();
        let mut idle = Vec::new();
        for live in pilots.iter().filter_map(|id| self.pilots.get(id)) {
            let mut free = live.books().room.free.cores;
            for (id, class) in self.queue.active() {
                if free == 0 {
                    break;
                }
                if !self.could_start(live, element, (id, class), limits) {
                    continue;
                }
                if let Some(place) = plan.delays(rooms, live, (id, &class.needs)) {
                    let each = u64::from(class.needs.resources.cores.max(1));
                    let wanted = class.waiting().saturating_mul(each);
                    let cores = free.min(u32::try_from(wanted).unwrap_or(u32::MAX));
                    free -= cores;
                    idle.push((place.task, cores));
                }
            }
        }
        idle
    }

    /// Whether the pilot would be given a task of the class, were nothing kept on it.
    pub(super) fn could_start(
        &self,
        live: &LivePilot,
        element: &Element,
        (id, class): (ClassId, &Class),
        limits: Limits,
    ) -> bool {
        let until = element.usable_until(live.ends_by(), limits.now);
        let wish = crate::matching::Wish {
            until,
            backlog: 0,
            staying: false,
        };
        let door = self.door(limits.now);
        let owner = &live.pilot.owner;
        live.holds(wish, &class.needs, limits)
            && self.purpose_of(live, limits).takes(self, id, class)
            && eligible(id, element)
            && class.may_any(id, |candidate| door.lets(candidate, element, owner))
            && self.node_admits(live, limits.now)
    }

    /// What keeping cores for tasks has cost at a CE since the server started: core-milliseconds
    /// in which cores were free, wanted by tasks that fit, and kept for others. Not durable.
    pub fn kept_idle_core_ms(&self, ce: &CeId) -> u64 {
        self.kept.cost_at(ce)
    }
}
