//! How many pilots there may still be: every limit, and what is used of it.

use std::collections::BTreeMap;

use fairway_model::{CeId, Pilot, PilotId, PilotOwner, PilotState, SiteName, Timestamp};

use super::PilotOrder;
use crate::State;
use crate::element::Element;
use crate::matching::LivePilot;

/// A limit on pilots, and what is used of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name: that of the setting, or of what the batch system published. Those of a site
    /// begin with `site_`, that of all sites together is `all_pilots_max`.
    pub name: &'static str,
    /// How much is used.
    pub used: u64,
    /// How much there may be.
    pub max: u64,
    /// How much one more allocation takes.
    pub step: u64,
    /// What is counted.
    unit: &'static str,
    /// Which of them.
    which: &'static str,
}

impl Limit {
    /// Whether there is no room for one more allocation.
    pub fn is_full(&self) -> bool {
        self.used.saturating_add(self.step) > self.max
    }

    /// The values on both sides, e.g. `20 pilots are on the way, at most 20`.
    pub fn because(&self) -> String {
        let (used, max, which) = (self.used, self.max, self.which);
        let (unit, are) = match used {
            1 => (self.unit.to_owned(), "is"),
            _ => (format!("{}s", self.unit), "are"),
        };
        let what = format!("{used} {unit} {are} {which}, at most {max}");
        if used < max && self.is_full() {
            format!("{what}, and one more allocation takes {}", self.step)
        } else {
            what
        }
    }
}

/// The nodes of an allocation, and the cores of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) nodes: u32,
    pub(crate) cores: u32,
}

impl Size {
    /// Of a new allocation.
    pub(crate) fn of(element: &Element) -> Self {
        Self {
            nodes: element.nodes(),
            cores: element.expected().cores,
        }
    }

    pub(crate) fn all_cores(self) -> u64 {
        u64::from(self.nodes).saturating_mul(u64::from(self.cores))
    }
}

/// What is used of the limits.
#[derive(Clone, Debug, Default)]
struct Used {
    /// Pilots that are not over.
    pilots: u64,
    /// Those of them that have not called home.
    expected: u64,
    /// Those of them that have had no task, and still may.
    unproven: u64,
    /// Those of them that have had tasks.
    useful: u32,
    cores: u64,
    /// Batch jobs: an allocation is one.
    jobs: u64,
    jobs_expected: u64,
    /// Pilots asked for in a day.
    asked: u64,
    by_owner: BTreeMap<PilotOwner, u64>,
}

/// The books on all pilots, for limits.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    ces: BTreeMap<CeId, Used>,
    /// Pilots and their cores.
    sites: BTreeMap<SiteName, (u64, u64)>,
    pilots: u64,
}

impl Ledger {
    pub(crate) fn of(state: &State, now: Timestamp) -> Self {
        let mut ledger = Self {
            sites: state
                .sites
                .keys()
                .map(|name| (name.clone(), (0, 0)))
                .collect(),
            ..Self::default()
        };
        for (id, element) in &state.elements {
            let limited = element.ce.limits.per_day_max.is_some();
            let used = Used {
                asked: if limited {
                    element.experience.asked_in_a_day(now)
                } else {
                    0
                },
                ..Used::default()
            };
            ledger.ces.insert(id.clone(), used);
        }
        // The pilots of an allocation follow each other.
        let mut last: Option<PilotId> = None;
        for live in state.pilots.values() {
            let first = last.replace(live.pilot.allocation) != Some(live.pilot.allocation);
            ledger.count(state, live, first);
        }
        ledger
    }

    /// Counts a pilot; `first`: of its allocation. Where its CE or site was removed, only what
    /// is left counts it.
    fn count(&mut self, state: &State, live: &LivePilot, first: bool) {
        let pilot: &Pilot = &live.pilot;
        let expected = pilot.state.is_expected();
        let cores = match state.elements.get(&pilot.ce) {
            Some(element) if expected => element.expected_of(pilot.resources).cores,
            _ => pilot.resources.cores,
        };
        self.pilots += 1;
        if let Some((pilots, all_cores)) = self.sites.get_mut(&pilot.ce.site) {
            *pilots += 1;
            *all_cores += u64::from(cores);
        }
        let Some(used) = self.ces.get_mut(&pilot.ce) else {
            return;
        };
        used.pilots += 1;
        used.cores += u64::from(cores);
        used.expected += u64::from(expected);
        used.unproven += u64::from(!live.useful && pilot.state != PilotState::Draining);
        used.useful += u32::from(live.useful);
        used.jobs += u64::from(first);
        used.jobs_expected += u64::from(first && expected);
        if pilot.owner != PilotOwner::Shared {
            *used.by_owner.entry(pilot.owner.clone()).or_default() += 1;
        }
    }

    /// Counts an allocation that is asked for.
    pub(crate) fn add(&mut self, order: &PilotOrder, size: Size) {
        let nodes = u64::from(size.nodes);
        self.pilots += nodes;
        if let Some((pilots, all_cores)) = self.sites.get_mut(&order.ce.site) {
            *pilots += nodes;
            *all_cores += size.all_cores();
        }
        let Some(used) = self.ces.get_mut(&order.ce) else {
            return;
        };
        used.pilots += nodes;
        used.expected += nodes;
        used.unproven += nodes;
        used.cores += size.all_cores();
        used.jobs += 1;
        used.jobs_expected += 1;
        used.asked += nodes;
        if order.owner != PilotOwner::Shared {
            *used.by_owner.entry(order.owner.clone()).or_default() += nodes;
        }
    }

    /// The limits that an allocation of `size` for `owner` meets at a CE. None may ever be
    /// exceeded.
    pub(crate) fn limits(
        &self,
        state: &State,
        element: &Element,
        owner: &PilotOwner,
        size: Size,
    ) -> Vec<Limit> {
        let none = Used::default();
        let used = self.ces.get(&element.id).unwrap_or(&none);
        let (nodes, cores) = (u64::from(size.nodes), size.all_cores());
        let ours = element.ce.limits;
        let site = state.sites.get(&element.id.site);
        let (site_pilots, site_cores) = self.sites.get(&element.id.site).copied().unwrap_or((0, 0));
        let published = element.published.as_ref();
        let own =
            (*owner != PilotOwner::Shared).then(|| used.by_owner.get(owner).copied().unwrap_or(0));
        let rows = [
            (
                "pilots_max",
                Some(ours.pilots_max),
                used.pilots,
                nodes,
                "pilot",
                "there",
            ),
            (
                "queued_max",
                Some(ours.queued_max),
                used.expected,
                nodes,
                "pilot",
                "on the way",
            ),
            (
                "cores_max",
                ours.cores_max,
                used.cores,
                cores,
                "core",
                "there",
            ),
            (
                "per_day_max",
                ours.per_day_max,
                used.asked,
                nodes,
                "pilot",
                "asked for within 24 hours",
            ),
            (
                "per_owner_max",
                own.and(ours.per_owner_max),
                own.unwrap_or(0),
                nodes,
                "pilot",
                "there for the same owner",
            ),
            (
                "own_jobs_max",
                published.and_then(|state| state.own_jobs_max),
                used.jobs,
                1,
                "job",
                "ours in the batch system",
            ),
            (
                "own_running_max",
                published.and_then(|state| state.own_running_max),
                used.jobs,
                1,
                "job",
                "ours in the batch system, running at a time",
            ),
            (
                "site_pilots_max",
                site.and_then(|site| site.pilots_max),
                site_pilots,
                nodes,
                "pilot",
                "at the site",
            ),
            (
                "site_cores_max",
                site.and_then(|site| site.cores_max),
                site_cores,
                cores,
                "core",
                "at the site",
            ),
            (
                "all_pilots_max",
                state.settings.pilots_max,
                self.pilots,
                nodes,
                "pilot",
                "at all sites together",
            ),
        ];
        let set = |(name, max, used, step, unit, which): (_, Option<u32>, _, _, _, _)| {
            Some(Limit {
                name,
                used,
                max: u64::from(max?),
                step,
                unit,
                which,
            })
        };
        rows.into_iter().filter_map(set).collect()
    }

    /// How many pilots that have had no task yet the CE is trusted with. The first allocation is
    /// always within it. No hard limit: it bounds how fast the number of pilots grows.
    pub(crate) fn ramp(&self, state: &State, element: &Element, size: Size) -> Limit {
        let used = self.ces.get(&element.id);
        let (unproven, useful) = used.map_or((0, 0), |used| (used.unproven, used.useful));
        let ramp_min = state.settings.ramp_min;
        let window = u64::from(element.experience.window(ramp_min, useful));
        let step = u64::from(size.nodes);
        Limit {
            name: "ramp-up",
            used: unproven,
            max: if unproven == 0 {
                window.max(step)
            } else {
                window
            },
            step,
            unit: "pilot",
            which: "without a task so far",
        }
    }

    /// Whether one more allocation may be asked for.
    pub(crate) fn has_room(
        &self,
        state: &State,
        element: &Element,
        owner: &PilotOwner,
        size: Size,
    ) -> bool {
        !self.ramp(state, element, size).is_full()
            && !self
                .limits(state, element, owner, size)
                .iter()
                .any(Limit::is_full)
    }

    /// Whether one more allocation would find free cores: those on their way go first.
    pub(crate) fn starts_at_once(&self, element: &Element, size: Size) -> bool {
        let Some(published) = &element.published else {
            return false;
        };
        let by_nodes = published
            .nodes_free
            .filter(|_| element.ce.shape.whole_node)
            .map(|free| u64::from(free / size.nodes));
        let by_cores = u64::from(published.cores_free.unwrap_or(0)) / size.all_cores().max(1);
        let expected = self
            .ces
            .get(&element.id)
            .map_or(0, |used| used.jobs_expected);
        by_nodes.unwrap_or(by_cores) > expected
    }
}
