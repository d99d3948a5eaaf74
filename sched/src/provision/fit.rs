//! What a pilot of a CE can hold, and what keeps pilots from a CE, with the values on both sides.

use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{Resources, SiteMode, Timestamp};

use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};

/// Why a class gets no new pilots at a CE, apart from Requirements, users and the CE's state:
/// a new pilot there could not hold one of its tasks. Each with the values on both sides.
pub(crate) fn misfits(
    state: &State,
    element: &Element,
    needs: &Needs,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    misfits_of(
        element,
        needs.resources,
        walltime_needed_s(state, needs),
        now,
    )
}

/// Why a new pilot of a CE cannot hold a task that asks for this, and for which it must last so
/// long.
pub(super) fn misfits_of(
    element: &Element,
    asked: Resources,
    needed_s: u64,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut misfits = Vec::new();
    let has = element.expected();
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
    let has_s = element.walltime_s(now);
    if needed_s > has_s {
        let because = format!(
            "a pilot has {has_s} s{}, needed {needed_s} s \
             ({PILOT_MARGIN_S} s of them for the pilot itself)",
            until_maintenance(element, now)
        );
        misfits.push(("walltime", because));
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

/// How often `demand` fits into `free`.
pub(super) fn times(free: Resources, demand: Resources) -> u64 {
    let per = |free: u64, demand: u64| free.checked_div(demand).unwrap_or(u64::MAX);
    // A task takes a core even if it asks for none: the count stays finite.
    per(u64::from(free.cores), u64::from(demand.cores.max(1)))
        .min(per(free.memory_mib, demand.memory_mib))
        .min(per(u64::from(free.gpus), u64::from(demand.gpus)))
}

/// What `tasks` that each take `demand` leave of `free`.
pub(super) fn without(free: Resources, demand: Resources, tasks: u64) -> Resources {
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
