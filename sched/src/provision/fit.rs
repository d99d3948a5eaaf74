//! What a pilot of a CE can hold, and what keeps pilots from a CE, with the values on both sides.

use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{Resources, SiteMode, Timestamp};

use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};

/// What a new pilot of a CE has to offer: looked up once, and held against many classes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    element: &'a Element,
    has: Resources,
    nodes: u32,
    lasts_s: u64,
}

impl<'a> Offer<'a> {
    pub(super) fn of(element: &'a Element, now: Timestamp) -> Self {
        Self {
            element,
            has: element.expected(),
            nodes: element.nodes(),
            lasts_s: element.walltime_s(now),
        }
    }

    /// Whether the pilot can hold a task with these needs; [`misfits`] tells why not.
    pub(super) fn holds(&self, state: &State, needs: &Needs) -> bool {
        self.holds_for(needs, walltime_needed_s(state, needs))
    }

    /// As [`holds`](Self::holds), where the pilot must last so long; see [`misfits_of`].
    pub(super) fn holds_for(&self, needs: &Needs, needed_s: u64) -> bool {
        let shape = &self.element.ce.shape;
        self.has.holds(needs.resources)
            && shape.custom.holds(&needs.custom)
            && (!needs.whole_node || shape.whole_node)
            && needs.hosts <= self.nodes
            && needed_s <= self.lasts_s
    }
}

/// Why a class gets no new pilots at a CE, apart from Requirements, users and the CE's state:
/// a new pilot there could not hold one of its tasks. Each with the values on both sides.
pub(crate) fn misfits(
    state: &State,
    element: &Element,
    needs: &Needs,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    misfits_of(element, needs, walltime_needed_s(state, needs), now)
}

/// Why a new pilot of a CE cannot hold a task with these needs, or its part on one node, and for
/// which it must last so long.
pub(super) fn misfits_of(
    element: &Element,
    needs: &Needs,
    needed_s: u64,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut misfits = Vec::new();
    let offer = Offer::of(element, now);
    let (asked, has) = (needs.resources, offer.has);
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
    misfits.extend(misfits_beyond(&offer, needs));
    let has_s = offer.lasts_s;
    if needed_s > has_s {
        let because = format!(
            "a pilot has {has_s} s{}, needed {needed_s} s \
             ({PILOT_MARGIN_S} s of them for the pilot itself)",
            until_maintenance(element, now)
        );
        misfits.push(("walltime", because));
    }
    debug_assert_eq!(misfits.is_empty(), offer.holds_for(needs, needed_s));
    misfits
}

/// As [`misfits_of`], of what is not cores, memory, GPUs and time.
fn misfits_beyond(offer: &Offer<'_>, needs: &Needs) -> Vec<(&'static str, String)> {
    let mut misfits = Vec::new();
    let shape = &offer.element.ce.shape;
    for (name, asked) in needs.custom.iter() {
        let has = shape.custom.get(name);
        if asked > has {
            let because = format!("a pilot has {has} of the {asked} {name} needed");
            misfits.push(("custom", because));
        }
    }
    if needs.whole_node && !shape.whole_node {
        let because = "pilots here share their nodes with others, needed whole nodes";
        misfits.push(("whole_node", because.to_owned()));
    }
    let (nodes, hosts) = (offer.nodes, needs.hosts);
    if hosts > nodes {
        let because = format!("an allocation has {nodes} of the {hosts} nodes needed");
        misfits.push(("nodes", because));
    }
    misfits
}

/// What a maintenance has to do with the walltime of pilots, if anything.
fn until_maintenance(element: &Element, now: Timestamp) -> String {
    let shortened = element.walltime_s(now) < element.walltime_max_s();
    match element.maintenance_ahead(now) {
        Some(window) if shortened => format!(" until the maintenance at {}", window.from),
        _ => String::new(),
    }
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
    if let Some(window) = element.maintenance_now(now) {
        let why = match window.why.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        let because = format!("the site is in maintenance until {}{why}", window.to);
        closures.push(("maintenance", because));
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
    closures.extend(too_large(
        element,
        element.nodes(),
        element.expected().cores,
    ));
    closures
}

/// Why an allocation of so many nodes, with so many cores each, is more than the batch system
/// allows one job.
pub(crate) fn too_large(
    element: &Element,
    nodes: u32,
    cores: u32,
) -> Option<(&'static str, String)> {
    let published = element.published.as_ref()?;
    let all = u64::from(nodes).saturating_mul(u64::from(cores));
    if let Some(max) = published.job_cores_max.filter(|max| all > u64::from(*max)) {
        let because = format!("an allocation has {all} cores, one job may have {max}");
        return Some(("job_cores_max", because));
    }
    let max = published.job_nodes_max.filter(|max| nodes > *max)?;
    let because = format!("an allocation has {nodes} nodes, one job may have {max}");
    Some(("job_nodes_max", because))
}
