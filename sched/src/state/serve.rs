//! Work for pilots: what one of them gets when it asks, and what all those get that wait for
//! an answer.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{PilotId, SiteMode, TaskId, Timestamp};

use super::State;
use super::sync::Orders;
use crate::backfill::Keeper;
use crate::command::{Grant, Reply};
use crate::element::Element;
use crate::matching::{Choice, Limits, LivePilot, Wish, first_of, next_for};
use crate::queue::{Class, ClassId};

impl State {
    /// Leaves a wish for work open.
    pub(super) fn open_wish(&mut self, pilot: PilotId, wish: Wish) {
        if let Some(live) = self.pilots.get_mut(&pilot)
            && let Some(element) = self.elements.get_mut(&live.pilot.ce)
        {
            live.wish = Some(wish);
            element.parked.insert(&live.pilot.owner, pilot);
        }
    }

    /// Closes the pilot's open wish for work, if there is one: nobody waits for an answer any
    /// more.
    pub(super) fn close_wish(&mut self, pilot: PilotId) {
        self.news.remove(&pilot);
        let Some(live) = self.pilots.get_mut(&pilot) else {
            return;
        };
        if live.wish.take().is_some() {
            if let Some(element) = self.elements.get_mut(&live.pilot.ce) {
                element.parked.remove(&live.pilot.owner, pilot);
            }
            // Others may get now what was kept for it.
            self.wishes_may_be_granted = true;
        }
    }

    /// Notes that there is an order for the pilot, should it wait for an answer.
    pub(super) fn tell(&mut self, pilot: PilotId) {
        if self
            .pilots
            .get(&pilot)
            .is_some_and(|live| live.wish.is_some())
        {
            self.news.insert(pilot);
        }
    }

    /// Grants the pilot tasks until it is full or nothing is left for it.
    pub(super) fn grant_to(
        &mut self,
        pilot: PilotId,
        wish: Wish,
        grants: &mut Vec<Grant>,
        now: Timestamp,
    ) {
        let limits = self.limits(now);
        while grants.len() < self.settings.grants_max as usize {
            let Some(task) = self.next_task(pilot, wish, limits) else {
                return;
            };
            let Some(grant) = self.grant(task, pilot, now) else {
                return;
            };
            grants.push(grant);
        }
    }

    fn next_task(&mut self, pilot: PilotId, wish: Wish, limits: Limits) -> Option<TaskId> {
        self.with_reservations(limits, |state, keeper| {
            state.next_task_kept(pilot, wish, limits, keeper)
        })
    }

    fn next_task_kept<'a>(
        &'a self,
        pilot: PilotId,
        wish: Wish,
        limits: Limits,
        keeper: &Keeper<'a>,
    ) -> Option<TaskId> {
        let live = self.pilots.get(&pilot)?;
        let element = self.elements.get(&live.pilot.ce)?;
        if !self.node_admits(live, limits.now) {
            return None;
        }
        let wanted = |id: ClassId, class: &Class| {
            live.holds(wish, &class.needs, limits)
                && live.purpose.takes(self, id, class)
                && (live.purpose.is_for(id, class)
                    || !self.kept_for_better(id, class, element, limits, keeper))
                && keeper.lets(live, id, class)
        };
        next_for(&self.queue, element, &live.pilot.owner, wanted).map(|choice| choice.task)
    }

    /// Whether a pilot that waits for work at a CE that ranks higher for this class could
    /// take its tasks.
    fn kept_for_better<'a>(
        &'a self,
        id: ClassId,
        class: &Class,
        element: &Element,
        limits: Limits,
        keeper: &Keeper<'a>,
    ) -> bool {
        let rank_at = |e: &Element| e.verdicts.get(&id).map(|verdict| verdict.rank_or_last());
        let here = rank_at(element);
        self.elements.values().any(|other| {
            rank_at(other) > here
                && other.mode() == SiteMode::Open
                && other.parked.by_owner().any(|(owner, pilots)| {
                    first_of(id, class, other, owner).is_some()
                        && self
                            .parked_for(id, class, pilots, limits, |live| {
                                keeper.lets(live, id, class)
                            })
                            .is_some()
                })
        })
    }

    /// The first of the pilots, which wait for work, that can take tasks of the class.
    fn parked_for<'a>(
        &'a self,
        id: ClassId,
        class: &Class,
        pilots: &BTreeSet<PilotId>,
        limits: Limits,
        among: impl Fn(&'a LivePilot) -> bool,
    ) -> Option<PilotId> {
        let can_take = |pilot: &&PilotId| {
            self.pilots.get(pilot).is_some_and(|live| {
                let fits = |wish| live.holds(wish, &class.needs, limits);
                live.wish.is_some_and(fits)
                    && live.purpose.takes(self, id, class)
                    && self.node_admits(live, limits.now)
                    && among(live)
            })
        };
        pilots.iter().find(can_take).copied()
    }

    /// Answers open wishes: the task that is next by the policy goes to the pilot that waits
    /// at the CE that ranks highest for it, as long as there is both.
    pub(super) fn serve(&mut self, now: Timestamp) -> Reply {
        let mut served: BTreeMap<PilotId, Orders> = BTreeMap::new();
        if std::mem::take(&mut self.wishes_may_be_granted) {
            let limits = self.limits(now);
            let next = |state: &mut Self, served: &_| {
                state.with_reservations(limits, |state, keeper| {
                    state.next_pair(limits, served, keeper)
                })
            };
            while let Some((pilot, task)) = next(self, &served) {
                let Some(grant) = self.grant(task, pilot, now) else {
                    break;
                };
                served.entry(pilot).or_default().grants.push(grant);
            }
        }
        let mut answers = Vec::new();
        for pilot in std::mem::take(&mut self.news) {
            if self.pilots.contains_key(&pilot) {
                served.entry(pilot).or_default();
            } else {
                let orders = Orders {
                    drain: true,
                    ..Orders::default()
                };
                answers.push((pilot, orders.into()));
            }
        }
        for (pilot, mut orders) in served {
            self.add_orders(pilot, &mut orders);
            if orders.is_empty() {
                continue;
            }
            self.close_wish(pilot);
            answers.push((pilot, orders.into()));
        }
        Reply::Served(answers)
    }

    /// The next task and the pilot to give it to.
    fn next_pair<'a>(
        &'a self,
        limits: Limits,
        served: &BTreeMap<PilotId, Orders>,
        keeper: &Keeper<'a>,
    ) -> Option<(PilotId, TaskId)> {
        let waiting_at: Vec<&Element> = self
            .elements
            .values()
            .filter(|element| !element.parked.is_empty() && element.mode() == SiteMode::Open)
            .collect();
        if waiting_at.is_empty() {
            return None;
        }
        let has_room = |pilot: PilotId| {
            served
                .get(&pilot)
                .is_none_or(|orders| orders.grants.len() < self.settings.grants_max as usize)
        };
        let mut best: Option<(Choice<'_>, f64, PilotId)> = None;
        for (id, class) in self.queue.active() {
            let waiting = waiting_at.iter().flat_map(|element| {
                let by_owner = element.parked.by_owner();
                by_owner.map(move |(owner, pilots)| (*element, owner, pilots))
            });
            for (element, owner, pilots) in waiting {
                let Some(choice) = first_of(id, class, element, owner) else {
                    continue;
                };
                let rank = element
                    .verdicts
                    .get(&id)
                    .map_or(f64::NEG_INFINITY, |verdict| verdict.rank_or_last());
                let better = best.as_ref().is_none_or(|(other, other_rank, _)| {
                    choice.before(other) || (choice.task == other.task && rank > *other_rank)
                });
                if !better {
                    continue;
                }
                let among =
                    |live: &'a LivePilot| has_room(live.pilot.id) && keeper.lets(live, id, class);
                if let Some(pilot) = self.parked_for(id, class, pilots, limits, among) {
                    best = Some((choice, rank, pilot));
                }
            }
        }
        best.map(|(choice, _, pilot)| (pilot, choice.task))
    }
}
