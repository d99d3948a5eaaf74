//! Work for pilots: what one of them gets when it asks, and what all those get that wait for
//! an answer.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fairway_model::{PilotId, PilotOwner, PilotState, Resources, SiteMode, Timestamp};

use super::State;
use super::sync::Orders;
use crate::backfill::{Keeper, Passed};
use crate::command::{Grant, Reply};
use crate::element::Element;
use crate::matching::{Limits, LivePilot, Wish, eligible, next_for};
use crate::queue::{Candidate, Choice, Class, ClassId};

impl State {
    /// Leaves a wish for work open.
    pub(super) fn open_wish(&mut self, pilot: PilotId, wish: Wish) {
        if let Some(live) = self.pilots.get_mut(&pilot)
            && let Some(element) = self.elements.get_mut(&live.pilot.ce)
        {
            live.wish = Some(wish);
            element
                .parked
                .insert(&live.pilot.owner, pilot, live.reach(wish));
            self.parked_at.insert(live.pilot.ce.clone());
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
                if element.parked.is_empty() {
                    self.parked_at.remove(&live.pilot.ce);
                }
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
            let Some((choice, passed)) = self.next_task(pilot, wish, limits) else {
                return;
            };
            let Some(grant) = self.grant(choice, pilot, passed, now) else {
                return;
            };
            grants.push(grant);
        }
    }

    fn next_task(
        &mut self,
        pilot: PilotId,
        wish: Wish,
        limits: Limits,
    ) -> Option<(Choice, Option<Passed>)> {
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
    ) -> Option<(Choice, Option<Passed>)> {
        let live = self.pilots.get(&pilot)?;
        let element = self.elements.get(&live.pilot.ce)?;
        if !self.node_admits(live, limits.now) {
            return None;
        }
        // Whoever was just given a task asks again, and is full more often than not.
        let reach = live.reach(wish);
        if !self.queue.demands().any(|it| reach.holds(it)) {
            return None;
        }
        let wanted = |id: ClassId, class: &Class| {
            live.holds(wish, &class.needs, limits)
                && self.purpose_of(live, limits).takes(self, id, class)
                && self.is_complete(live, id, class, limits)
                && self.leaves_room(live, id, class)
                && (live.purpose.is_for(id, class)
                    || !self.kept_for_better(id, class, element, limits, keeper))
                && keeper.lets(live, id, class)
        };
        let door = self.door(limits.now);
        let choice = next_for(&self.queue, door, element, &live.pilot.owner, wanted)?;
        Some((choice, keeper.passed(live, choice.class, choice.task)))
    }

    /// CEs that give out work and at which a pilot waits for some.
    fn waiting_elements(&self) -> impl Iterator<Item = &Element> {
        let elements = self.parked_at.iter().filter_map(|id| self.elements.get(id));
        elements.filter(|element| element.mode() == SiteMode::Open)
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
        let door = self.door(limits.now);
        self.waiting_elements().any(|other| {
            rank_at(other) > here
                && eligible(id, other)
                && other.parked.by_owner().any(|(owner, pilots)| {
                    class.may_any(id, |candidate| door.lets(candidate, other, owner))
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
        pilots: &BTreeMap<PilotId, Resources>,
        limits: Limits,
        among: impl Fn(&'a LivePilot) -> bool,
    ) -> Option<PilotId> {
        let can_take = |pilot: &PilotId| {
            self.pilots.get(pilot).is_some_and(|live| {
                let fits = |wish| live.holds(wish, &class.needs, limits);
                live.pilot.state == PilotState::Active
                    && live.wish.is_some_and(fits)
                    && self.purpose_of(live, limits).takes(self, id, class)
                    && self.leaves_room(live, id, class)
                    && self.node_admits(live, limits.now)
                    && self.is_complete(live, id, class, limits)
                    && among(live)
            })
        };
        let needs = class.needs.resources;
        let within = pilots.iter().filter(|(_, reach)| reach.holds(needs));
        within.map(|(pilot, _)| pilot).copied().find(can_take)
    }

    /// Answers open wishes: the task that is next by the policy goes to the pilot that waits
    /// at the CE that ranks highest for it, as long as there is both.
    pub(super) fn serve(&mut self, now: Timestamp) -> Reply {
        let mut served: BTreeMap<PilotId, Orders> = BTreeMap::new();
        self.judge_classes();
        if std::mem::take(&mut self.wishes_may_be_granted) {
            let limits = self.limits(now);
            let next = |state: &mut Self, served: &_| {
                state.with_reservations(limits, |state, keeper| {
                    state.next_pair(limits, served, keeper)
                })
            };
            while let Some((pilot, choice, passed)) = next(self, &served) {
                let Some(grant) = self.grant(choice, pilot, passed, now) else {
                    break;
                };
                served.entry(pilot).or_default().grants.push(grant);
            }
        }
        self.make_room(now);
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
            let wish = self.pilots.get(&pilot).and_then(|live| live.wish);
            let staying = wish.map(|wish| wish.staying);
            self.add_orders(pilot, staying, &mut orders, now);
            self.add_give_way(pilot, &mut orders, now);
            if orders.is_empty() {
                continue;
            }
            self.close_wish(pilot);
            answers.push((pilot, orders.into()));
        }
        Reply::Served(answers)
    }

    /// The next task and the pilot to give it to: of those that wait, the one at the CE that ranks
    /// highest for the task.
    fn next_pair<'a>(
        &'a self,
        limits: Limits,
        served: &BTreeMap<PilotId, Orders>,
        keeper: &Keeper<'a>,
    ) -> Option<(PilotId, Choice, Option<Passed>)> {
        let has_room = |pilot: PilotId| {
            served
                .get(&pilot)
                .is_none_or(|orders| orders.grants.len() < self.settings.grants_max as usize)
        };
        let waiting: Vec<&'a Element> = self.waiting_elements().collect();
        if waiting.is_empty() {
            return None;
        }
        let door = self.door(limits.now);
        // Which pilot it would be is asked for a class, for its candidates, and for the choice.
        let known = RefCell::new(BTreeMap::new());
        let parked_for = |id: ClassId,
                          class: &Class,
                          element: &'a Element,
                          owner: &'a PilotOwner,
                          pilots: &BTreeMap<PilotId, Resources>| {
            let lets =
                |live: &'a LivePilot| has_room(live.pilot.id) && keeper.lets(live, id, class);
            let find = || self.parked_for(id, class, pilots, limits, lets);
            let mut known = known.borrow_mut();
            *known.entry((id, &element.id, owner)).or_insert_with(find)
        };
        // The best pilot of those that `lets` lets the class to.
        let best = |id: ClassId, class: &Class, lets: &dyn Fn(&Element, &PilotOwner) -> bool| {
            let mut best: Option<(f64, PilotId)> = None;
            for element in &waiting {
                let Some(verdict) = element.verdicts.get(&id).filter(|it| it.eligible) else {
                    continue;
                };
                let rank = verdict.rank_or_last();
                if best.is_some_and(|(other, _)| rank <= other) {
                    continue;
                }
                let mut owners = element.parked.by_owner();
                let pilot = owners.find_map(|(owner, pilots)| {
                    let pilot = parked_for(id, class, element, owner, pilots)?;
                    lets(element, owner).then_some(pilot)
                });
                best = pilot.map(|pilot| (rank, pilot)).or(best);
            }
            best.map(|(_, pilot)| pilot)
        };
        let for_candidate = |candidate: &Candidate<'_>| {
            best(candidate.id, candidate.class, &|element, owner| {
                door.lets(candidate, element, owner)
            })
        };
        let choice = self.queue.first(
            door.shares,
            limits.now,
            |id, class| best(id, class, &|_, _| true).is_some(),
            |candidate| for_candidate(candidate).is_some(),
        )?;
        let class = self.queue.class(choice.class)?;
        let pilot = for_candidate(&class.candidate(choice.class, choice.account)?)?;
        let live = self.pilots.get(&pilot)?;
        let passed = keeper.passed(live, choice.class, choice.task);
        Some((pilot, choice, passed))
    }
}
