//! How many pilots there may still be: every limit, and what is used of it.

use std::collections::BTreeMap;

use fairway_model::{CeId, Pilot, PilotId, PilotOwner, PilotState, Site, SiteName, Timestamp};

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

/// The books on the pilots of a CE.
#[derive(Clone, Debug)]
struct CeBooks {
    ce: CeId,
    used: Used,
    /// Where its site's books are.
    site: Option<Place>,
}

/// The books on the pilots of a site.
#[derive(Clone, Debug)]
struct SiteBooks {
    name: SiteName,
    pilots: u64,
    cores: u64,
    pilots_max: Option<u32>,
    cores_max: Option<u32>,
}

/// Where in a ledger the books of a CE are: the names of CEs are long, and compared once.
pub(super) type Place = usize;

/// The books on all pilots, for limits.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By name, as the state's elements are.
    ces: Vec<CeBooks>,
    /// By name.
    sites: Vec<SiteBooks>,
    pilots: u64,
}

impl Used {
    /// Counts a pilot; `first`: of its allocation.
    fn count(&mut self, live: &LivePilot, cores: u32, first: bool) {
        let pilot: &Pilot = &live.pilot;
        let expected = pilot.state.is_expected();
        self.pilots += 1;
        self.cores += u64::from(cores);
        self.expected += u64::from(expected);
        self.unproven += u64::from(!live.useful && pilot.state != PilotState::Draining);
        self.useful += u32::from(live.useful);
        self.jobs += u64::from(first);
        self.jobs_expected += u64::from(first && expected);
        if pilot.owner != PilotOwner::Shared {
            *self.by_owner.entry(pilot.owner.clone()).or_default() += 1;
        }
    }

    /// Counts an allocation that is asked for.
    fn add(&mut self, owner: &PilotOwner, size: Size) {
        let nodes = u64::from(size.nodes);
        self.pilots += nodes;
        self.expected += nodes;
        self.unproven += nodes;
        self.cores += size.all_cores();
        self.jobs += 1;
        self.jobs_expected += 1;
        self.asked += nodes;
        if *owner != PilotOwner::Shared {
            *self.by_owner.entry(owner.clone()).or_default() += nodes;
        }
    }
}

impl Ledger {
    pub(crate) fn of(state: &State, now: Timestamp) -> Self {
        let site = |(name, site): (&SiteName, &Site)| SiteBooks {
            name: name.clone(),
            pilots: 0,
            cores: 0,
            pilots_max: site.pilots_max,
            cores_max: site.cores_max,
        };
        let mut ledger = Self {
            ces: Vec::with_capacity(state.elements.len()),
            sites: state.sites.iter().map(site).collect(),
            pilots: 0,
        };
        for element in state.elements.values() {
            let limited = element.ce.limits.per_day_max.is_some();
            let used = Used {
                asked: if limited {
                    element.experience.asked_in_a_day(now)
                } else {
                    0
                },
                ..Used::default()
            };
            ledger.ces.push(CeBooks {
                ce: element.id.clone(),
                used,
                site: ledger.site(&element.id.site),
            });
        }
        let mut here = 0;
        for (place, element) in state.elements.values().enumerate() {
            let pilots = element.pilots.iter().filter_map(|id| state.pilots.get(id));
            here += element.pilots.len();
            ledger.count_all((Some(place), ledger.ces[place].site), Some(element), pilots);
        }
        if here < state.pilots.len() {
            // Where its CE or site was removed, only what is left counts a pilot.
            let gone = state.pilots.values();
            let gone = gone.filter(|live| !state.elements.contains_key(&live.pilot.ce));
            for live in gone {
                let site = ledger.site(&live.pilot.ce.site);
                ledger.count_all((None, site), None, std::iter::once(live));
            }
        }
        ledger
    }

    fn site(&self, name: &SiteName) -> Option<Place> {
        let place = self.sites.binary_search_by(|site| site.name.cmp(name));
        place.ok()
    }

    /// Where the books of a CE are.
    fn place(&self, ce: &CeId) -> Option<Place> {
        let place = self.ces.binary_search_by(|books| books.ce.cmp(ce));
        place.ok()
    }

    /// Counts pilots of one CE, in order.
    fn count_all<'a>(
        &mut self,
        (place, site): (Option<Place>, Option<Place>),
        element: Option<&Element>,
        pilots: impl Iterator<Item = &'a LivePilot>,
    ) {
        // The pilots of an allocation follow each other.
        let mut last: Option<PilotId> = None;
        for live in pilots {
            let first = last.replace(live.pilot.allocation) != Some(live.pilot.allocation);
            let expected = live.pilot.state.is_expected();
            let cores = match element {
                Some(element) if expected => element.expected_of(live.pilot.resources).cores,
                _ => live.pilot.resources.cores,
            };
            self.pilots += 1;
            if let Some(site) = site.and_then(|place| self.sites.get_mut(place)) {
                site.pilots += 1;
                site.cores += u64::from(cores);
            }
            if let Some(books) = place.and_then(|place| self.ces.get_mut(place)) {
                books.used.count(live, cores, first);
            }
        }
    }

    /// Counts an allocation that is asked for.
    pub(crate) fn add(&mut self, order: &PilotOrder, size: Size) {
        let place = self.place(&order.ce);
        self.pilots += u64::from(size.nodes);
        let site = match place {
            Some(place) => self.ces[place].site,
            None => self.site(&order.ce.site),
        };
        if let Some(site) = site.and_then(|place| self.sites.get_mut(place)) {
            site.pilots += u64::from(size.nodes);
            site.cores += size.all_cores();
        }
        if let Some(books) = place.and_then(|place| self.ces.get_mut(place)) {
            books.used.add(&order.owner, size);
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
        let place = self.place(&element.id);
        self.limits_at(place, state, element, owner, size).collect()
    }

    fn limits_at(
        &self,
        place: Option<Place>,
        state: &State,
        element: &Element,
        owner: &PilotOwner,
        size: Size,
    ) -> impl Iterator<Item = Limit> {
        let none = Used::default();
        let books = place.and_then(|place| self.ces.get(place));
        let used = books.map_or(&none, |books| &books.used);
        let site = match books {
            Some(books) => books.site,
            None => self.site(&element.id.site),
        };
        let site = site.and_then(|place| self.sites.get(place));
        let (site_pilots, site_cores) = site.map_or((0, 0), |site| (site.pilots, site.cores));
        let (nodes, cores) = (u64::from(size.nodes), size.all_cores());
        let ours = element.ce.limits;
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
        rows.into_iter().filter_map(set)
    }

    /// How many pilots that have had no task yet the CE is trusted with. The first allocation is
    /// always within it. No hard limit: it bounds how fast the number of pilots grows.
    pub(crate) fn ramp(&self, state: &State, element: &Element, size: Size) -> Limit {
        self.ramp_at(self.place(&element.id), state, element, size)
    }

    fn ramp_at(&self, place: Option<Place>, state: &State, element: &Element, size: Size) -> Limit {
        let used = place
            .and_then(|place| self.ces.get(place))
            .map(|it| &it.used);
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
        self.has_room_at(self.place(&element.id), state, element, owner, size)
    }

    /// As [`has_room`](Self::has_room), at a CE of which is known where its books are.
    pub(super) fn has_room_at(
        &self,
        place: Option<Place>,
        state: &State,
        element: &Element,
        owner: &PilotOwner,
        size: Size,
    ) -> bool {
        let mut limits = self.limits_at(place, state, element, owner, size);
        !self.ramp_at(place, state, element, size).is_full() && !limits.any(|limit| limit.is_full())
    }

    /// Whether one more allocation would find free cores: those on their way go first.
    pub(crate) fn starts_at_once(&self, element: &Element, size: Size) -> bool {
        self.starts_at_once_at(self.place(&element.id), element, size)
    }

    /// As [`starts_at_once`](Self::starts_at_once), where it is known where the CE's books are.
    pub(super) fn starts_at_once_at(
        &self,
        place: Option<Place>,
        element: &Element,
        size: Size,
    ) -> bool {
        let Some(published) = &element.published else {
            return false;
        };
        let by_nodes = published
            .nodes_free
            .filter(|_| element.ce.shape.whole_node)
            .map(|free| u64::from(free / size.nodes));
        let by_cores = u64::from(published.cores_free.unwrap_or(0)) / size.all_cores().max(1);
        let free = by_nodes.unwrap_or(by_cores);
        let used = place
            .and_then(|place| self.ces.get(place))
            .map(|it| &it.used);
        free > used.map_or(0, |used| used.jobs_expected)
    }
}
