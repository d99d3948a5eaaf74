//! How many pilots of which shape to ask of which CE, and which to call back.
//!
//! First the waiting tasks are laid, in the order of service, onto the pilots that there are
//! and that are on their way. What finds no place there makes new pilots, where Rank puts it;
//! among CEs of equal Rank first where cores are free now, then where the queue is shortest.
//! A pilot on its way that nothing has been laid onto for a while is called back. So there are
//! never more allocations than work, and an 8-core pilot is asked for 8 one-core tasks.
//!
//! Two kinds of bounds hold. Limits ([`Limit`]) are never exceeded, and are checked again when
//! a plan is carried out. The ramp bounds growth as TCP's slow start does: a CE has only so many
//! pilots at a time that have had no task yet, twice as many each time they prove useful.

mod deadline;
mod demand;
mod fit;
mod lay;
mod report;
mod room;
mod supply;
mod threshold;
mod warm;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{CeId, PilotId, PilotOwner, Resources, Timestamp};

use fairway_jdl::Needs;

use self::demand::{Demand, Demands};
use self::fit::Offer;
use self::lay::{Together, lay};
use self::supply::Supply;
use crate::State;
use crate::backfill::Withheld;
use crate::element::{Element, PILOT_MARGIN_S};
use crate::queue::{Class, ClassId};

pub use self::deadline::{CeOutlook, Outlook, OutlookKind, deadline_outlook, job_outlook};
pub(crate) use self::fit::{closures, misfits, too_large};
pub use self::report::{CeReport, JobCounts, Verdict, Wanting, report};
pub use self::room::Limit;
use self::room::Place;
pub(crate) use self::room::{Ledger, Size};
pub(crate) use self::threshold::{below as below_threshold, too_few};
pub use self::warm::critical_remark;

/// A pilot to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PilotOrder {
    /// Where.
    pub ce: CeId,
    /// Whose tasks it may run.
    pub owner: PilotOwner,
    /// What to ask for, on each node.
    pub resources: Resources,
    /// Nodes of the allocation; on each runs a pilot of its own. At least 1.
    pub nodes: u32,
    /// The walltime to ask for, in seconds.
    pub walltime_s: u64,
    /// Ask for an advance reservation that begins then.
    pub reserve_at: Option<Timestamp>,
    /// Which tasks it is for.
    pub purpose: Purpose,
    /// Why, in a sentence.
    pub because: String,
}

/// Which tasks a pilot is for. In memory only: after a restart it is for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// All tasks.
    #[default]
    Any,
    /// Those of a class with a deadline as long as some of them wait, all others then.
    Deadline(ClassId),
    /// The same, in an advance reservation.
    Reserved(ClassId),
    /// Time-critical ones.
    Warm,
    /// Those of a class whose tasks run on several nodes as long as some of them wait that may
    /// run here, all others then. Nodes that the class has no use for are for all.
    Gang(ClassId),
}

impl Purpose {
    /// Whether a pilot for this purpose takes tasks of a class.
    pub(crate) fn takes(self, state: &State, id: ClassId, class: &Class) -> bool {
        match self {
            Self::Any => true,
            Self::Warm => class.needs.time_critical,
            Self::Deadline(own) | Self::Reserved(own) | Self::Gang(own) => {
                let waits = |own| state.queue.class(own).is_some_and(|own| own.waiting() > 0);
                own == id || !waits(own)
            }
        }
    }

    /// Whether a pilot for this purpose was asked for for tasks of this class.
    pub(crate) fn is_for(self, id: ClassId, class: &Class) -> bool {
        match self {
            Self::Any => false,
            Self::Warm => class.needs.time_critical,
            Self::Deadline(own) | Self::Reserved(own) | Self::Gang(own) => own == id,
        }
    }

    /// How long a pilot for this purpose must last for a task, in seconds: one that is sized by
    /// what is expected takes the task for that.
    pub(crate) fn task_s(self, needs: &Needs, remaining_min_s: u64) -> u64 {
        let expected_s = match self {
            Self::Deadline(_) | Self::Reserved(_) if needs.deadline.is_some() => needs.expected_s,
            _ => None,
        };
        expected_s.or(needs.walltime_s).unwrap_or(remaining_min_s)
    }
}

/// What to do about pilots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PilotPlan {
    /// Pilots to ask for.
    pub orders: Vec<PilotOrder>,
    /// Pilots that have not called home and for which there is no work any more, with the reason.
    pub recalls: Vec<(PilotId, String)>,
}

/// Plans pilots for the work that waits. Changes nothing; what it plans is
/// checked again when it is carried out.
pub fn plan(state: &State, now: Timestamp) -> PilotPlan {
    let layout = Layout::of(state, now);
    let unneeded = layout.unneeded.into_iter();
    let recalls = unneeded.filter_map(|id| Some((id, supply::recall(state, id, now)?)));
    PilotPlan {
        recalls: recalls
            .chain(layout.overdue)
            .chain(state.forgotten_probes(now))
            .collect(),
        orders: layout.orders,
    }
}

/// Where all waiting tasks would go.
pub(crate) struct Layout {
    orders: Vec<PilotOrder>,
    /// How many pilots are ordered at each CE; those with none are left out.
    ordered: BTreeMap<CeId, u32>,
    /// Pilots on their way that could be called back and that there is no work for.
    pub(crate) unneeded: Vec<PilotId>,
    /// Pilots that wait for too long, with what is said of them.
    overdue: Vec<(PilotId, String)>,
    /// Classes whose tasks do not all find a place on the pilots that there are.
    short: BTreeMap<ClassId, Short>,
    /// The books, what is ordered included.
    ledger: Ledger,
    /// Tasks that may run at a CE and have no place; only of CEs with a threshold.
    pub(crate) waiting_at: BTreeMap<CeId, u64>,
}

/// Tasks of a class without a place.
#[derive(Clone, Copy, Debug)]
struct Short {
    /// Without one on the pilots that there are.
    before: u64,
    /// Without one on these and the new ones.
    after: u64,
}

impl Layout {
    pub(crate) fn of(state: &State, now: Timestamp) -> Self {
        let supplies = supply::supplies(state, now);
        let mut planner = Planner {
            state,
            now,
            ledger: Ledger::of(state, now),
            withheld: Withheld::of(state, now),
            waiting_at: threshold::waiting_at(state, &supplies, now),
            supplies,
            orders: Vec::new(),
            full: Vec::new(),
            roomy: Vec::new(),
        };
        let open: Vec<Prospect<'_>> = state
            .elements
            .values()
            .enumerate()
            .filter(|(_, element)| is_open(state, element, now))
            .map(|it| Prospect::of(it, now))
            .collect();
        planner.keep_warm(&open);
        planner.roomy = planner.roomy_of(&open);
        let mut short = BTreeMap::new();
        let mut demands = Demands::of(state, now);
        for (id, class, due) in planner.in_order(&open) {
            let mut demand = demands.demand(class);
            let mut before = 0;
            if let Some(due) = due {
                before += planner.meet(&open, id, class, due, &mut demand);
            }
            planner.lay(id, class, &mut demand);
            before += demand.total();
            planner.order_for(id, class, &mut demand);
            if before > 0 {
                let after = demand.total();
                short.insert(id, Short { before, after });
            }
        }
        planner.full.append(&mut planner.supplies);
        let (unneeded, overdue) = supply::recallable(state, &mut planner.full, now);
        let mut ordered: BTreeMap<CeId, u32> = BTreeMap::new();
        for order in &planner.orders {
            let pilots = ordered.entry(order.ce.clone()).or_default();
            *pilots = pilots.saturating_add(order.nodes);
        }
        Self {
            ordered,
            orders: planner.orders,
            unneeded,
            overdue,
            short,
            ledger: planner.ledger,
            waiting_at: planner.waiting_at,
        }
    }
}

/// Whether a CE gets new pilots at all.
fn is_open(state: &State, element: &Element, now: Timestamp) -> bool {
    closures(state, element, now).is_empty() && element.experience.backing_off(now).is_none()
}

/// Classes with tasks that may be started, the one with the task to be served next first.
fn in_order_of_service(state: &State, now: Timestamp) -> Vec<(ClassId, &Class)> {
    let classes = state.queue.classes_in_order(&state.shares, now);
    classes
        .into_iter()
        .filter_map(|id| Some((id, state.queue.class(id)?)))
        .collect()
}

/// A CE that is open to new pilots, with what these are like.
#[derive(Clone, Copy, Debug)]
struct Prospect<'a> {
    element: &'a Element,
    /// Where its books are.
    place: Place,
    offer: Offer<'a>,
    size: Size,
}

impl<'a> Prospect<'a> {
    fn of((place, element): (Place, &'a Element), now: Timestamp) -> Self {
        Self {
            element,
            place,
            offer: Offer::of(element, now),
            size: Size::of(element),
        }
    }
}

/// A plan in the making.
struct Planner<'a> {
    state: &'a State,
    now: Timestamp,
    ledger: Ledger,
    /// Room that is left.
    supplies: Vec<Supply<'a>>,
    /// Those that have none any more.
    full: Vec<Supply<'a>>,
    withheld: Withheld<'a>,
    orders: Vec<PilotOrder>,
    waiting_at: BTreeMap<CeId, u64>,
    /// CEs that may have room for more pilots, the best first among those of equal Rank. A plan only
    /// ever adds pilots: one that is full, whosever pilots these would be, is not looked at again.
    roomy: Vec<Prospect<'a>>,
}

impl<'a> Planner<'a> {
    fn roomy_of(&self, open: &[Prospect<'a>]) -> Vec<Prospect<'a>> {
        let may = |it: &&Prospect<'a>| {
            // Without a core a pilot takes no task, whatever a task asks for.
            it.size.cores > 0 && below_threshold(it.element, &self.waiting_at).is_none()
        };
        let mut roomy: Vec<Prospect<'a>> = open.iter().filter(may).copied().collect();
        roomy.sort_by_cached_key(|it| {
            let published = it.element.published.as_ref();
            let free = published.and_then(|state| state.cores_free).unwrap_or(0);
            (it.element.response_s(), Reverse(free), &it.element.id)
        });
        roomy
    }

    /// CEs that may get pilots for a class, the best first, each with its Rank.
    fn candidates(&self, id: ClassId, class: &Class) -> Vec<(Prospect<'a>, f64)> {
        let fitting = self.roomy.iter().filter_map(|it| {
            let verdict = it.element.verdicts.get(&id)?;
            let fits = verdict.eligible && it.offer.holds(self.state, &class.needs);
            fits.then(|| (*it, verdict.rank_or_last()))
        });
        let mut candidates: Vec<_> = fitting.collect();
        // Those of equal Rank stay in their order.
        candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        candidates
    }

    /// Lays tasks onto the pilots that there are, and those that were ordered before.
    fn lay(&mut self, id: ClassId, class: &Class, demand: &mut Demand<'_>) {
        let withheld = &self.withheld;
        let lets = |supply: &Supply<'_>| !withheld.from(supply.pilot, id, class);
        lay(&mut self.supplies, self.state, id, class, demand, lets);
        // What is full is not looked at again.
        let full = |supply: &mut Supply<'_>| {
            let reserved = matches!(supply.purpose, Purpose::Reserved(_));
            supply.room.free.cores == 0 && !reserved
        };
        self.full.extend(self.supplies.extract_if(.., full));
    }

    /// Orders pilots for what has found no place, where Rank puts it.
    fn order_for(&mut self, id: ClassId, class: &Class, demand: &mut Demand<'_>) {
        if demand.is_met() {
            return;
        }
        let mut full: BTreeSet<Place> = BTreeSet::new();
        let candidates = self.candidates(id, class);
        for tied in candidates.chunk_by(|(_, a), (_, b)| a == b) {
            for at_once in [true, false] {
                for (prospect, _) in tied {
                    if demand.is_met() {
                        break;
                    }
                    if self.is_full(prospect) {
                        full.insert(prospect.place);
                    } else {
                        self.order_at(prospect, (id, class), demand, at_once);
                    }
                }
            }
        }
        if !full.is_empty() {
            self.roomy.retain(|it| !full.contains(&it.place));
        }
    }

    /// Whether a CE has no room for one more allocation, whosever it is.
    fn is_full(&self, prospect: &Prospect<'_>) -> bool {
        !self.has_room(prospect, &PilotOwner::Shared)
    }

    fn has_room(&self, it: &Prospect<'_>, owner: &PilotOwner) -> bool {
        let (ledger, place) = (&self.ledger, Some(it.place));
        ledger.has_room_at(place, self.state, it.element, owner, it.size)
    }

    /// Orders as many allocations at a CE as the tasks are worth, and there is room for; of
    /// several owners one for each in turn. `at_once`: only those that find free cores.
    fn order_at(
        &mut self,
        prospect: &Prospect<'a>,
        class: (ClassId, &Class),
        demand: &mut Demand<'_>,
        at_once: bool,
    ) {
        let Prospect { element, size, .. } = *prospect;
        let place = Some(prospect.place);
        let may_start =
            |ledger: &Ledger| !at_once || ledger.starts_at_once_at(place, element, size);
        if !may_start(&self.ledger) {
            return;
        }
        let mut owners: Vec<(PilotOwner, u64)> = demand
            .owners(element)
            .into_iter()
            .map(|owner| {
                let waiting = demand.at(element, &owner);
                (owner, waiting)
            })
            .collect();
        while !owners.is_empty() {
            owners.retain(|(owner, waiting)| {
                let wanted = demand.at(element, owner) > 0
                    && may_start(&self.ledger)
                    && self.has_room(prospect, owner);
                wanted && self.order(element, size, class, owner, *waiting, demand) > 0
            });
        }
    }

    /// Orders one allocation and lays tasks of the class onto its pilots. Gives back how many.
    fn order(
        &mut self,
        element: &'a Element,
        size: Size,
        (id, class): (ClassId, &Class),
        owner: &PilotOwner,
        waiting: u64,
        demand: &mut Demand<'_>,
    ) -> u64 {
        let walltime_s = element.walltime_s(self.now);
        let purpose = match class.needs.hosts {
            0 | 1 => Purpose::Any,
            _ => Purpose::Gang(id),
        };
        let supply = Supply {
            element,
            owner: owner.clone(),
            room: element.room(),
            lasts_s: walltime_s.saturating_sub(PILOT_MARGIN_S),
            purpose,
            together: Together::Ordered(self.orders.len()),
            pilot: None,
            used: true,
        };
        let mut new = vec![supply; size.nodes as usize];
        let before = demand.total();
        lay(&mut new, self.state, id, class, demand, |_| true);
        let taken = before - demand.total();
        if taken == 0 {
            return 0;
        }
        // What the class has no use for is for all.
        let of_use = new.len() - new.len() % class.needs.hosts.max(1) as usize;
        for supply in new.iter_mut().skip(of_use) {
            supply.purpose = Purpose::Any;
        }
        // One without a core left takes nothing more: spare the classes to come the look at it.
        let left = new.into_iter().filter(|supply| supply.room.free.cores > 0);
        self.supplies.extend(left);
        let order = PilotOrder {
            ce: element.id.clone(),
            owner: owner.clone(),
            resources: element.asked(),
            nodes: size.nodes,
            walltime_s,
            reserve_at: None,
            purpose,
            because: format!(
                "{waiting} tasks that may run here have no pilot yet; it takes {taken} of them"
            ),
        };
        self.ledger.add(&order, size);
        self.orders.push(order);
        taken
    }
}
