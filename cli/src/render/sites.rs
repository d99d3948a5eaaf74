//! Sites, their CEs, and pilots.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::AnsiColor;
use fairway_api::public::{CeView, JobCounts, PilotView, SiteView};
use fairway_model::{
    AdapterSettings, Ce, CeState, CeStatus, Maintenance, PilotSharing, PilotState, SiteMode,
    SshSettings, Timestamp,
};

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
    let number = |of: fn(&CeState) -> Option<u32>| {
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
    let site = &view.site;
    let mut rows = vec![
        ("site", site.name.to_string()),
        ("batch system", reached(&site.adapter)),
        ("mode", mode_name(site.mode).to_owned()),
    ];
    rows.extend(view.agent.as_ref().map(|agent| {
        let age = words::age(now, agent.heard_at);
        let told = format!("{} on {}, heard of {age} ago", agent.version, agent.host);
        ("agent", told)
    }));
    let limits = [
        site.pilots_max.map(|it| words::count(it, "pilot")),
        site.cores_max.map(|it| words::count(it, "core")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if !limits.is_empty() {
        rows.push(("at most", limits.join(" and ")));
    }
    if !site.maintenance.is_empty() {
        rows.push(("maintenance", windows(&site.maintenance).join("; ")));
    }
    if !site.accounts.is_empty() {
        let accounts = site.accounts.iter();
        let accounts: Vec<_> = accounts
            .map(|(user, as_whom)| format!("{user}: {as_whom}"))
            .collect();
        rows.push(("accounts", accounts.join(", ")));
    }
    let mut text = facts(&rows);
    for (index, ce) in view.site.ces.iter().enumerate() {
        text.push('\n');
        text.push_str(&one_ce(view, ce, view.states.get(index), now));
    }
    text
}

fn one_ce(view: &SiteView, ce: &Ce, state: Option<&CeView>, now: Timestamp) -> String {
    let mut rows = vec![
        ("CE", format!("{}/{}", view.site.name, ce.name)),
        ("queue", ce.queue().to_owned()),
        ("mode", mode_name(ce.mode).to_owned()),
        ("a pilot asks for", asked(ce)),
        ("limits", limits(ce)),
    ];
    rows.extend(supplied(ce));
    rows.extend(access(ce));
    rows.push(("pilots", pilots_in_words(state.map(|it| &it.pilots))));
    match state.and_then(|it| Some((it, it.published.as_ref()?))) {
        Some((state, published)) => rows.extend(seen(state, published, now)),
        None => rows.push(("status", "not seen yet".into())),
    }
    let mut text = facts(&rows);
    for (name, value) in state.map(|it| &it.glue).into_iter().flatten() {
        text.push_str(&format!("  {name} = {}\n", harmless(&value.to_string())));
    }
    text
}

/// The kind of batch system, and by which way it is reached as far as that is told.
fn reached(adapter: &AdapterSettings) -> String {
    let (ssh, rest): (Option<&SshSettings>, _) = match adapter {
        AdapterSettings::Slurm(it) => (it.ssh.as_ref(), it.rest.as_ref()),
        AdapterSettings::Pbs(it) => (it.ssh.as_ref(), None),
        AdapterSettings::Oar(it) => (it.ssh.as_ref(), it.rest.as_ref()),
        AdapterSettings::Local(_) | AdapterSettings::Kubernetes(_) | AdapterSettings::Agent(_) => {
            (None, None)
        }
    };
    let kind = adapter.kind();
    match (ssh, rest) {
        (Some(ssh), _) => format!("{kind} by SSH to {}", ssh.host),
        (None, Some(rest)) => format!("{kind} at {}", rest.url),
        (None, None) => kind.to_owned(),
    }
}

/// What is planned, or that nothing is.
pub(crate) fn maintenance(planned: &[Maintenance]) -> String {
    match planned {
        [] => "no maintenance is planned\n".to_owned(),
        planned => windows(planned).join("\n") + "\n",
    }
}

fn windows(planned: &[Maintenance]) -> Vec<String> {
    let window = |it: &Maintenance| match it.why.as_str() {
        "" => format!("{} to {}", it.from, it.to),
        why => format!("{} to {}: {}", it.from, it.to, harmless(why)),
    };
    planned.iter().map(window).collect()
}

/// What one pilot asks the batch system for.
fn asked(ce: &Ce) -> String {
    let shape = &ce.shape;
    let mut parts = vec![words::count(shape.cores, "core")];
    parts.push(match shape.memory_mib {
        0 => "memory as the batch system gives it".to_owned(),
        mib => format!("{} of memory", words::memory_mib(mib)),
    });
    match (shape.gpus, &ce.gpu_type) {
        (0, _) => {}
        (gpus, None) => parts.push(words::count(gpus, "GPU")),
        (gpus, Some(kind)) => parts.push(format!("{} ({kind})", words::count(gpus, "GPU"))),
    }
    if shape.nodes > 1 {
        parts.push(format!("on each of {} nodes", shape.nodes));
    }
    if shape.whole_node {
        parts.push("with nobody else there".to_owned());
    }
    parts.push(words::span(Duration::from_secs(shape.walltime_s)));
    let words = [&ce.constraint, &ce.reservation, &ce.account, &ce.qos];
    let names = ["constraint", "reservation", "account", "QOS"];
    let named = names.into_iter().zip(words);
    parts.extend(named.filter_map(|(name, word)| Some(format!("{name} {}", word.as_ref()?))));
    parts.extend(ce.types.iter().map(|it| format!("type {it}")));
    parts.extend(ce.options.iter().cloned());
    parts.join(", ")
}

fn limits(ce: &Ce) -> String {
    let limits = ce.limits;
    let mut parts = vec![format!(
        "{}, of which {} may be queued",
        words::count(limits.pilots_max, "pilot"),
        limits.queued_max
    )];
    parts.extend(limits.cores_max.map(|it| words::count(it, "core")));
    parts.extend(limits.per_day_max.map(|it| format!("{it} a day")));
    parts.extend(limits.per_owner_max.map(|it| format!("{it} of one owner")));
    parts.join("; ")
}

/// Whose pilots there are, and when they are asked for, where that is not as usual.
fn supplied(ce: &Ce) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    match ce.pilots {
        PilotSharing::Shared => {}
        PilotSharing::PerUser => rows.push(("private", "each pilot is one user's".to_owned())),
        PilotSharing::PerGroup => rows.push(("private", "each pilot is one group's".to_owned())),
    }
    if ce.supply.threshold > 0 {
        let tasks = words::count(ce.supply.threshold, "task");
        rows.push((
            "asked for",
            format!("when more than {tasks} wait without a pilot"),
        ));
    }
    if let Some(warm) = ce.supply.warm {
        let idle = words::span(Duration::from_secs(warm.idle_s));
        let pilots = words::count(warm.pilots, "pilot");
        rows.push((
            "kept",
            format!("{pilots} for time-critical tasks, until {idle} without one"),
        ));
    }
    rows
}

/// Who may use it, where that is not everybody.
fn access(ce: &Ce) -> Option<(&'static str, String)> {
    let users = ce.users.iter().map(|it| format!("user {it}"));
    let groups = ce.groups.iter().map(|it| format!("group {it}"));
    let all: Vec<String> = users.chain(groups).collect();
    (!all.is_empty()).then(|| ("only for", all.join(", ")))
}

/// What a CE published, and what follows from it.
fn seen(state: &CeView, published: &CeState, now: Timestamp) -> Vec<(&'static str, String)> {
    let reason = published.reason.as_deref().unwrap_or_default();
    let separator = if reason.is_empty() { "" } else { ": " };
    let status = status_name(published.status);
    let mut rows = vec![
        ("status", format!("{status}{separator}{}", harmless(reason))),
        (
            "seen",
            format!("{} ago", words::age(now, published.observed_at)),
        ),
    ];
    let counts = |jobs: JobCounts| format!("{} running, {} waiting", jobs.running, jobs.waiting);
    if let Some(others) = state.others {
        let (ours, others) = (counts(state.ours), counts(others));
        rows.push(("jobs", format!("ours {ours}; others {others}")));
    }
    rows.extend(state.core_memory_mib.map(|mib| {
        (
            "memory",
            format!("{} for each core", words::memory_mib(mib)),
        )
    }));
    rows.extend(state.response_s.map(|seconds| {
        let span = words::span(Duration::from_secs(seconds));
        ("a pilot starts", format!("after about {span}"))
    }));
    rows
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

pub(super) fn pilots_in_words(pilots: Option<&BTreeMap<PilotState, u32>>) -> String {
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

pub(super) fn mode_name(mode: SiteMode) -> &'static str {
    match mode {
        SiteMode::Open => "open",
        SiteMode::Draining => "draining",
        SiteMode::Closed => "closed",
    }
}
