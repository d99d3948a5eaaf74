//! Sites, their CEs, and pilots.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::AnsiColor;
use fairway_api::public::{CeView, PilotView, SiteView};
use fairway_model::{Ce, CeStatus, PilotState, SiteMode, Timestamp};

use super::table::{Cell, Table, facts, harmless};
use super::{pilot_style, words};

/// A list of sites: one row for each CE.
pub(crate) fn list(sites: &[SiteView]) -> String {
    let mut table = Table::new([
        "CE", "LRMS", "MODE", "STATUS", ">CORES", ">FREE", ">RUNNING", ">WAITING", "PILOTS",
    ]);
    for view in sites {
        for (index, ce) in view.site.ces.iter().enumerate() {
            let state = view.states.get(index);
            table.row(ce_row(view, ce, state));
        }
    }
    table.text_or("no sites")
}

fn ce_row(view: &SiteView, ce: &Ce, state: Option<&CeView>) -> [Cell; 9] {
    let published = state.and_then(|it| it.published.as_ref());
    let number = |of: fn(&fairway_model::CeState) -> Option<u32>| {
        published
            .and_then(of)
            .map_or_else(|| Cell::number(super::table::NONE), Cell::number)
    };
    let status = match published.map(|it| it.status) {
        Some(status) => Cell::new(status_name(status)).styled(match status {
            CeStatus::Production => AnsiColor::Green.on_default(),
            CeStatus::Draining => AnsiColor::Yellow.on_default(),
            CeStatus::Closed | CeStatus::Unreachable => AnsiColor::Red.on_default(),
        }),
        None => Cell::new("not seen yet"),
    };
    [
        Cell::new(format!("{}/{}", view.site.name, ce.name)),
        Cell::new(view.site.adapter.kind()),
        // The stricter of the two counts.
        Cell::new(mode_name(view.site.mode.max(ce.mode))),
        status,
        number(|it| it.cores_total),
        number(|it| it.cores_free),
        number(|it| it.jobs_running),
        number(|it| it.jobs_waiting),
        Cell::new(pilots_in_words(state.map(|it| &it.pilots))),
    ]
}

/// One site with all that is known of its CEs.
pub(crate) fn one(view: &SiteView, now: Timestamp) -> String {
    let mut rows = vec![
        ("site", view.site.name.to_string()),
        ("batch system", view.site.adapter.kind().to_owned()),
        ("mode", mode_name(view.site.mode).to_owned()),
    ];
    rows.extend(view.agent.as_ref().map(|agent| {
        let age = words::age(now, agent.heard_at);
        let told = format!("{} on {}, heard of {age} ago", agent.version, agent.host);
        ("agent", told)
    }));
    let mut text = facts(&rows);
    for (index, ce) in view.site.ces.iter().enumerate() {
        text.push('\n');
        text.push_str(&one_ce(view, ce, view.states.get(index), now));
    }
    text
}

fn one_ce(view: &SiteView, ce: &Ce, state: Option<&CeView>, now: Timestamp) -> String {
    let shape = ce.shape;
    let memory = match shape.memory_mib {
        0 => "memory as the batch system gives it".to_owned(),
        mib => format!("{} of memory", words::memory_mib(mib)),
    };
    let mut rows = vec![
        ("CE", format!("{}/{}", view.site.name, ce.name)),
        ("queue", ce.queue().to_owned()),
        ("mode", mode_name(ce.mode).to_owned()),
        (
            "a pilot asks for",
            format!(
                "{}, {memory}, {}",
                words::count(shape.cores, "core"),
                words::span(Duration::from_secs(shape.walltime_s))
            ),
        ),
        (
            "limits",
            format!(
                "{}, of which {} may be queued",
                words::count(ce.limits.pilots_max, "pilot"),
                ce.limits.queued_max
            ),
        ),
        ("pilots", pilots_in_words(state.map(|it| &it.pilots))),
    ];
    match state.and_then(|it| it.published.as_ref()) {
        Some(published) => {
            let reason = published.reason.as_deref().unwrap_or_default();
            let separator = if reason.is_empty() { "" } else { ": " };
            rows.push((
                "status",
                format!("{}{separator}{reason}", status_name(published.status)),
            ));
            rows.push((
                "seen",
                format!("{} ago", words::age(now, published.observed_at)),
            ));
        }
        None => rows.push(("status", "not seen yet".into())),
    }
    let mut text = facts(&rows);
    for (name, value) in state.map(|it| &it.glue).into_iter().flatten() {
        text.push_str(&format!("  {name} = {}\n", harmless(&value.to_string())));
    }
    text
}

/// A list of pilots.
pub(crate) fn pilots(pilots: &[PilotView], now: Timestamp) -> String {
    let mut table = Table::new([
        "PILOT", "CE", "STATE", "FOR", "BATCH ID", ">CORES", ">TASKS", "HOST", "ENDED",
    ]);
    for pilot in pilots {
        table.row([
            Cell::new(pilot.id),
            Cell::new(&pilot.ce),
            Cell::new(pilot.state.name()).styled(pilot_style(pilot.state)),
            Cell::new(words::age(now, pilot.since)),
            Cell::maybe(pilot.batch_id.as_ref()),
            Cell::number(pilot.resources.cores),
            Cell::number(pilot.tasks.len()),
            Cell::maybe(pilot.host.as_ref()),
            Cell::new(
                pilot
                    .end
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
        ]);
    }
    table.text_or("no pilots")
}

/// One pilot.
pub(crate) fn pilot(pilot: &PilotView, now: Timestamp) -> String {
    let mut rows = vec![
        ("pilot", pilot.id.to_string()),
        ("CE", pilot.ce.to_string()),
        (
            "state",
            format!(
                "{} since {} ({})",
                pilot.state.name(),
                pilot.since,
                words::age(now, pilot.since)
            ),
        ),
        ("has", words::resources(pilot.resources)),
        ("planned", pilot.planned_at.to_string()),
    ];
    if let Some(batch_id) = &pilot.batch_id {
        rows.push(("batch id", batch_id.clone()));
    }
    if let Some(host) = &pilot.host {
        rows.push(("host", host.clone()));
    }
    if let Some(started_at) = pilot.started_at {
        rows.push(("called home", started_at.to_string()));
    }
    if let Some(ends_at) = pilot.ends_at {
        rows.push(("allocation ends", ends_at.to_string()));
    }
    if let Some(end) = &pilot.end {
        rows.push(("ended", end.to_string()));
    }
    if !pilot.tasks.is_empty() {
        let tasks: Vec<_> = pilot.tasks.iter().map(ToString::to_string).collect();
        rows.push(("tasks", tasks.join(" ")));
    }
    facts(&rows)
}

fn pilots_in_words(pilots: Option<&BTreeMap<PilotState, u32>>) -> String {
    let parts: Vec<_> = pilots
        .into_iter()
        .flatten()
        .filter(|(_, number)| **number > 0)
        .map(|(state, number)| format!("{number} {}", state.name()))
        .collect();
    if parts.is_empty() {
        "none".into()
    } else {
        parts.join(", ")
    }
}

fn status_name(status: CeStatus) -> &'static str {
    match status {
        CeStatus::Production => "production",
        CeStatus::Draining => "draining",
        CeStatus::Closed => "closed",
        CeStatus::Unreachable => "unreachable",
    }
}

fn mode_name(mode: SiteMode) -> &'static str {
    match mode {
        SiteMode::Open => "open",
        SiteMode::Draining => "draining",
        SiteMode::Closed => "closed",
    }
}
