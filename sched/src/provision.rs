//! How many pilots of which shape to ask of which CE, and which to call back.
//!
//! First the waiting tasks are laid, in the order of service, onto the pilots that there are
//! and that are on their way. What finds no place there makes new pilots, where Rank puts it;
//! among CEs of equal Rank first where cores are free now, then where the queue is shortest.
//! A pilot on its way that nothing was laid onto is called back. So there are never
//! more pilots than work, and an 8-core pilot is asked for 8 one-core tasks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{
    CeId, Pilot, PilotId, PilotOwner, PilotState, Resources, SiteMode, Timestamp, UserName,
};

use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};
use crate::matching::LivePilot;
use crate::queue::{Class, ClassId};
use crate::state::probe::is_probe;

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
    /// Why, in a sentence.
    pub because: String,
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
    let mut supplies = supplies(state, now);
    let mut rooms: BTreeMap<&CeId, Room> = state
        .elements
        .iter()
        .map(|(id, element)| (id, Room::of(state, element)))
        .collect();
    let mut orders = Vec::new();
    for (id, class) in in_order_of_service(state) {
        let mut demand = Demand::of(class);
        for supply in &mut supplies {
            supply.lay(state, id, class, &mut demand);
        }
        if demand.is_met() {
            continue;
        }
        let candidates = candidates(state, id, class, now);
        for tied in candidates.chunk_by(|(_, a), (_, b)| a == b) {
            for at_once in [true, false] {
                for (element, _) in tied {
                    if let Some(room) = rooms.get_mut(&element.id) {
                        let pilots = room.take(element, class, &demand, at_once);
                        order(
                            element,
                            class,
                            pilots,
                            &mut demand,
                            &mut orders,
                            &mut supplies,
                        );
                    }
                }
            }
        }
    }
    let recalls = supplies
        .iter()
        .filter(|supply| !supply.used && supply.may_be_recalled)
        .filter_map(|supply| Some((supply.pilot?, "no work is left for it".to_owned())))
        .chain(state.forgotten_probes(now))
        .collect();
    PilotPlan { orders, recalls }
}

/// Why a class gets no new pilots at a CE, apart from Requirements, users and the CE's state:
/// a new pilot there could not hold one of its tasks. Each with the values on both sides.
pub(crate) fn misfits(
    state: &State,
    element: &Element,
    needs: &Needs,
) -> Vec<(&'static str, String)> {
    let mut misfits = Vec::new();
    let (has, asked) = (element.expected(), needs.resources);
    if asked.cores > has.cores {
        let because = format!(
            "a pilot has {} of the {} cores needed",
            has.cores, asked.cores
        );
        misfits.push(("cores", because));
    }
    if asked.memory_mib > has.memory_mib {
        let (has, asked) = (has.memory_mib, asked.memory_mib);
        misfits.push((
            "memory",
            format!("a pilot has {has} MiB, needed {asked} MiB"),
        ));
    }
    if asked.gpus > has.gpus {
        misfits.push((
            "gpus",
            format!("a pilot has {} of the {} GPUs needed", has.gpus, asked.gpus),
        ));
    }
    let needed_s = walltime_needed_s(state, needs);
    let has_s = element.walltime_s();
    if needed_s > has_s {
        let because = format!(
            "a pilot has {has_s} s, needed {needed_s} s \
             ({PILOT_MARGIN_S} s of them for the pilot itself)"
        );
        misfits.push(("walltime", because));
    }
    misfits
}

/// The walltime of a pilot that can take a task on arrival.
fn walltime_needed_s(state: &State, needs: &Needs) -> u64 {
    let task_s = needs.walltime_s.unwrap_or(state.settings.remaining_min_s);
    task_s.saturating_add(PILOT_MARGIN_S)
}

/// Why a CE gets no new pilots at all by its state, with the values on both sides.
pub(crate) fn closures(
    state: &State,
    element: &Element,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut closures = Vec::new();
    if element.mode() != SiteMode::Open {
        let word = match element.mode() {
            SiteMode::Draining => "draining",
            _ => "closed",
        };
        let whose = if element.site_mode == element.mode() {
            "the site"
        } else {
            "the CE"
        };
        closures.push(("mode", format!("{whose} is {word}, needed open")));
    }
    let Some(published) = &element.published else {
        closures.push(("published", "nothing was published yet".into()));
        return closures;
    };
    let max_s = state.settings.published_age_max_s;
    let age = now.since(published.observed_at);
    if age > Duration::from_secs(max_s) {
        let because = format!(
            "published {} s ago, at most {max_s} s are trusted",
            age.as_secs()
        );
        closures.push(("published", because));
    }
    if !element.in_production() {
        let status = crate::glue::status_name(Some(published));
        let reason = published.reason.as_deref();
        let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
        closures.push((
            "status",
            format!("status is {status}{reason}, needed Production"),
        ));
    }
    closures
}

/// Classes with waiting tasks, the one with the task to be served next first.
fn in_order_of_service(state: &State) -> Vec<(ClassId, &Class)> {
    let mut classes: Vec<_> = state
        .queue
        .active()
        .filter_map(|(id, class)| {
            let (place, _, task) = class.in_order().next()?;
            Some((place, task, id, class))
        })
        .collect();
    classes.sort_by_key(|(place, task, ..)| (*place, *task));
    classes
        .into_iter()
        .map(|(_, _, id, class)| (id, class))
        .collect()
}

/// CEs that may get pilots for a class, the best first, each with its Rank.
fn candidates<'a>(
    state: &'a State,
    id: ClassId,
    class: &Class,
    now: Timestamp,
) -> Vec<(&'a Element, f64)> {
    let mut candidates: Vec<(&Element, f64)> = state
        .elements
        .values()
        .filter(|element| {
            closures(state, element, now).is_empty()
                && element.backing_off(now).is_none()
                && misfits(state, element, &class.needs).is_empty()
        })
        .filter_map(|element| {
            let verdict = element.verdicts.get(&id)?;
            verdict.eligible.then(|| (element, verdict.rank_or_last()))
        })
        .collect();
    candidates.sort_by(|(a, rank_a), (b, rank_b)| {
        let free = |e: &Element| e.published.as_ref().and_then(|s| s.cores_free).unwrap_or(0);
        rank_b
            .total_cmp(rank_a)
            .then_with(|| a.response_s().cmp(&b.response_s()))
            .then_with(|| Reverse(free(a)).cmp(&Reverse(free(b))))
            .then_with(|| a.id.cmp(&b.id))
    });
    candidates
}

/// Tasks of one class that have found no place yet.
struct Demand {
    by_user: Vec<(UserName, u64)>,
}

impl Demand {
    fn of(class: &Class) -> Self {
        let users = class.users().map(|(user, n)| (user.clone(), n));
        Self {
            by_user: users.collect(),
        }
    }

    fn is_met(&self) -> bool {
        self.by_user.iter().all(|(_, n)| *n == 0)
    }

    /// How many may run at the CE.
    fn at(&self, element: &Element, class: &Class) -> u64 {
        let admitted = self
            .by_user
            .iter()
            .filter(|(user, _)| element.admits(user, class.group.as_ref()));
        admitted.map(|(_, n)| n).sum()
    }

    /// Takes `tasks` away that may run at the CE.
    fn take(&mut self, element: &Element, class: &Class, mut tasks: u64) {
        for (user, n) in &mut self.by_user {
            if element.admits(user, class.group.as_ref()) {
                let taken = tasks.min(*n);
                *n -= taken;
                tasks -= taken;
            }
        }
    }
}

/// How often `demand` fits into `free`.
fn times(free: Resources, demand: Resources) -> u64 {
    let per = |free: u64, demand: u64| free.checked_div(demand).unwrap_or(u64::MAX);
    // A task takes a core even if it asks for none: the count stays finite.
    per(u64::from(free.cores), u64::from(demand.cores.max(1)))
        .min(per(free.memory_mib, demand.memory_mib))
        .min(per(u64::from(free.gpus), u64::from(demand.gpus)))
}

/// Room on a pilot that is there, on its way, or ordered just now.
struct Supply<'a> {
    element: &'a Element,
    free: Resources,
    /// Seconds that a task may take there.
    lasts_s: u64,
    /// `None` for one that is ordered just now.
    pilot: Option<PilotId>,
    may_be_recalled: bool,
    used: bool,
}

impl Supply<'_> {
    /// Lays as many of the tasks onto it as fit.
    fn lay(&mut self, state: &State, id: ClassId, class: &Class, demand: &mut Demand) {
        let eligible = self.element.verdicts.get(&id).is_some_and(|v| v.eligible);
        let task_s = class
            .needs
            .walltime_s
            .unwrap_or(state.settings.remaining_min_s);
        if !eligible || task_s > self.lasts_s || self.free.cores == 0 {
            return;
        }
        let room = times(self.free, class.needs.resources);
        let tasks = room.min(demand.at(self.element, class));
        if tasks == 0 {
            return;
        }
        demand.take(self.element, class, tasks);
        self.used = true;
        self.free = without(self.free, class.needs.resources, tasks);
    }
}

/// What `tasks` that each take `demand` leave of `free`.
fn without(free: Resources, demand: Resources, tasks: u64) -> Resources {
    let cores = u64::from(demand.cores.max(1)).saturating_mul(tasks);
    let gpus = u64::from(demand.gpus).saturating_mul(tasks);
    Resources {
        cores: free
            .cores
            .saturating_sub(u32::try_from(cores).unwrap_or(u32::MAX)),
        memory_mib: free
            .memory_mib
            .saturating_sub(demand.memory_mib.saturating_mul(tasks)),
        gpus: free
            .gpus
            .saturating_sub(u32::try_from(gpus).unwrap_or(u32::MAX)),
    }
}

/// The pilots that there are, those that run first, and the youngest of those that do not
/// last: it is the one to be called back.
fn supplies(state: &State, now: Timestamp) -> Vec<Supply<'_>> {
    let mut pilots: Vec<&LivePilot> = state.pilots.values().collect();
    pilots.sort_by_key(|live| (Reverse(live.pilot.state), live.pilot.id));
    pilots
        .into_iter()
        .filter_map(|live| supply(state, live, now))
        .collect()
}

fn supply<'a>(state: &'a State, live: &LivePilot, now: Timestamp) -> Option<Supply<'a>> {
    let pilot: &Pilot = &live.pilot;
    let element = state.elements.get(&pilot.ce)?;
    if is_probe(pilot) {
        return None;
    }
    let (free, lasts_s) = match pilot.state {
        PilotState::Active if element.mode() == SiteMode::Open => {
            let (free, waiting) = live.books();
            let free = if waiting > 0 {
                Resources::default()
            } else {
                free
            };
            let left = pilot.ends_at.map_or(Duration::MAX, |end| end.since(now));
            (free, left.as_secs())
        }
        // It will be told to leave as soon as it calls home.
        state if state.is_expected() && element.mode() != SiteMode::Open => {
            (Resources::default(), 0)
        }
        state if state.is_expected() => (
            element.expected_of(pilot.resources),
            pilot.walltime_s.saturating_sub(PILOT_MARGIN_S),
        ),
        _ => return None,
    };
    Some(Supply {
        element,
        free,
        lasts_s,
        pilot: Some(pilot.id),
        may_be_recalled: may_be_recalled(pilot, element),
        used: false,
    })
}

/// Orders `pilots` pilots and lays tasks of the class onto them.
fn order<'a>(
    element: &'a Element,
    class: &Class,
    pilots: u32,
    demand: &mut Demand,
    orders: &mut Vec<PilotOrder>,
    supplies: &mut Vec<Supply<'a>>,
) {
    let shape = element.ce.shape;
    let per_pilot = times(element.expected(), class.needs.resources);
    let waiting = demand.at(element, class);
    for _ in 0..pilots {
        let tasks = per_pilot.min(demand.at(element, class));
        demand.take(element, class, tasks);
        orders.push(PilotOrder {
            ce: element.id.clone(),
            resources: Resources {
                cores: shape.cores,
                memory_mib: shape.memory_mib,
                gpus: 0,
            },
            owner: PilotOwner::Shared,
            nodes: 1,
            reserve_at: None,
            walltime_s: element.walltime_s(),
            because: format!(
                "{waiting} tasks that may run here have no pilot yet; it takes {tasks} of them"
            ),
        });
        supplies.push(Supply {
            element,
            free: without(element.expected(), class.needs.resources, tasks),
            lasts_s: element.walltime_s().saturating_sub(PILOT_MARGIN_S),
            pilot: None,
            may_be_recalled: false,
            used: true,
        });
    }
}

/// One whose submission is under way cannot be called back yet, one that is starting would be
/// wasted. A CE that does not answer for a while is no reason to call anybody back.
fn may_be_recalled(pilot: &Pilot, element: &Element) -> bool {
    let reached = match pilot.state {
        PilotState::Planned => pilot.batch_id.is_some(),
        PilotState::Queued => true,
        _ => false,
    };
    reached && (element.in_production() || element.mode() != SiteMode::Open)
}

/// How many pilots a CE may still get.
struct Room {
    pilots: u32,
    /// Of these, how many would start at once.
    starting: u32,
}

impl Room {
    fn of(state: &State, element: &Element) -> Self {
        let (live, expected) = state.pilots_at(element);
        let limits = element.ce.limits;
        let free = element
            .published
            .as_ref()
            .and_then(|s| s.cores_free)
            .unwrap_or(0);
        let slots = free / element.ce.shape.cores.max(1);
        let pilots = limits
            .pilots_max
            .saturating_sub(live)
            .min(limits.queued_max.saturating_sub(expected));
        Self {
            pilots,
            starting: slots.saturating_sub(expected),
        }
    }

    /// Takes as many pilots as the tasks are worth, and there is room for. `at_once`: only
    /// those that find free cores.
    fn take(&mut self, element: &Element, class: &Class, demand: &Demand, at_once: bool) -> u32 {
        let per_pilot = times(element.expected(), class.needs.resources).max(1);
        let worth = demand.at(element, class).div_ceil(per_pilot);
        let room = if at_once {
            self.pilots.min(self.starting)
        } else {
            self.pilots
        };
        let pilots = room.min(u32::try_from(worth).unwrap_or(u32::MAX));
        self.pilots -= pilots;
        self.starting = self.starting.saturating_sub(pilots);
        pilots
    }
}
