//! The engine's state in the words of the public protocol. What is here is only
//! arranged, never decided; the functions run inside `Engine::look`.

use std::collections::BTreeMap;

use fairway_api::public::{
    CeDeadline, CeVerdict, CeView, DeadlineView, DependsOn, Explanation, ForecastView, HistoryLine,
    JobCounts, NodeAside, PilotVerdict, PriorityPart, PriorityView, Progress, Refusal, Rival,
    ShareInterval, ShareNodeView, ShareView, SharesView, SiteView, TaskView, WaitsFor,
};
use fairway_jdl::{Ad, Needs, Value, eval};
use fairway_model::{
    Ce, CeId, Event, Pilot, PilotState, Principal, Site, TaskId, TaskState, Timestamp,
};
use fairway_sched::glue::INFINITE;
use fairway_sched::latch::SetAside;
use fairway_sched::provision::Outlook;
use fairway_sched::state::{ShareNode, Standing};
use fairway_sched::{State, explain};

use crate::foresight::Made;

/// How much there is to do, and with what.
pub(super) struct Load {
    pub(super) waiting: u64,
    pub(super) live: u64,
    pub(super) pilots: u64,
}

pub(super) fn load(state: &State) -> Load {
    Load {
        waiting: state.waiting(),
        live: state.live(),
        pilots: state.pilots_live().count() as u64,
    }
}

/// All sites as `who` may see them.
pub(super) fn sites(state: &State, who: &Principal, now: Timestamp) -> Vec<SiteView> {
    let sites = state.sites();
    sites.map(|found| site(state, found, who, now)).collect()
}

/// A site as `who` may see it.
pub(super) fn site(state: &State, site: &Site, who: &Principal, now: Timestamp) -> SiteView {
    let inside = who.administers(&site.name);
    let states = site.ces.iter().map(|it| ce(state, site, it, inside, now));
    let states = states.collect();
    let site = if who.administers(&site.name) {
        site.clone()
    } else {
        without_access(site)
    };
    SiteView {
        site,
        states,
        agent: None,
    }
}

/// A CE with what is known of it; `inside` is for the site's admins.
fn ce(state: &State, site: &Site, ce: &Ce, inside: bool, now: Timestamp) -> CeView {
    let id = CeId {
        site: site.name.clone(),
        ce: ce.name.clone(),
    };
    let published = state.published(&id);
    let ours = our_jobs(state, &id);
    CeView {
        age_s: published.map(|it| now.since(it.observed_at).as_secs()),
        response_s: state
            .response_s(&id)
            .filter(|it| *it < INFINITE)
            .and_then(|it| u64::try_from(it).ok()),
        core_memory_mib: published.and_then(|it| {
            let cores = u64::from(it.node_cores?);
            it.node_memory_mib?.checked_div(cores)
        }),
        others: published.and_then(|it| {
            Some(JobCounts {
                running: it.jobs_running?.saturating_sub(ours.running),
                waiting: it.jobs_waiting?.saturating_sub(ours.waiting),
            })
        }),
        ours,
        published: published.cloned(),
        glue: state.glue(&id).map(attributes).unwrap_or_default(),
        pilots: state.pilots_by_state(&id),
        set_aside: match inside {
            true => state.set_aside(&id).into_iter().map(aside).collect(),
            false => Vec::new(),
        },
    }
}

/// Our jobs at a CE: one for each allocation, however many pilots it has.
fn our_jobs(state: &State, ce: &CeId) -> JobCounts {
    let mut jobs = JobCounts::default();
    let first_of_its_job = |pilot: &&Pilot| pilot.ce == *ce && pilot.id == pilot.allocation;
    for pilot in state.pilots_live().filter(first_of_its_job) {
        match pilot.state {
            PilotState::Planned | PilotState::Queued => jobs.waiting += 1,
            PilotState::Starting | PilotState::Active | PilotState::Draining => jobs.running += 1,
            PilotState::Ended => {}
        }
    }
    jobs
}

pub(super) fn aside(node: SetAside) -> NodeAside {
    NodeAside {
        host: node.host,
        evidence: node.evidence,
        until: node.until,
    }
}

/// A site without what tells how its batch system is reached and used.
fn without_access(site: &Site) -> Site {
    let mut site = site.clone();
    site.adapter = site.adapter.without_access();
    site.accounts.clear();
    for ce in &mut site.ces {
        ce.account = None;
        ce.qos = None;
        ce.pilot_program = None;
        ce.reservation = None;
        ce.options.clear();
    }
    site
}

fn attributes(ad: &Ad) -> BTreeMap<String, serde_json::Value> {
    ad.iter()
        .map(|(name, expr)| (name.to_owned(), json(&eval(expr, ad, None))))
        .collect()
}

/// A value of the ClassAd language as JSON: what JSON has no word for is shown as text.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Undefined => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Real(value) => (*value).into(),
        Value::String(value) => value.as_ref().into(),
        Value::List(values) => values.iter().map(json).collect(),
        Value::Error | Value::AbsTime { .. } | Value::RelTime(_) | Value::Ad(_) => {
            fairway_jdl::Expr::from(value.clone()).to_string().into()
        }
    }
}

/// All users' standing.
pub(super) fn shares(state: &State, now: Timestamp) -> SharesView {
    SharesView {
        policy: state.policy().clone(),
        interval_begins_at: state.interval_begins_at(),
        users: state.shares(now).into_iter().map(share).collect(),
        tree: state.share_tree().into_iter().map(share_node).collect(),
    }
}

fn share_node(node: ShareNode) -> ShareNodeView {
    ShareNodeView {
        path: node.path,
        due: node.due,
        used: node.used,
        usage: node.usage,
        running: node.live,
        running_cores: node.live_cores,
    }
}

fn share(standing: Standing) -> ShareView {
    let Standing {
        user,
        group,
        path,
        waiting,
        live,
        live_cores,
        fs,
        due,
        used,
        place,
        intervals,
    } = standing;
    let intervals = intervals
        .into_iter()
        .map(|(begins_at, used, weight)| ShareInterval {
            begins_at,
            tasks_started: used.tasks_started,
            core_ms: used.core_ms,
            weight,
        });
    ShareView {
        user,
        group,
        path,
        waiting,
        running: live,
        running_cores: live_cores,
        fs,
        due,
        used,
        place,
        intervals: intervals.collect(),
    }
}

/// What became of a task so far, by its events.
pub(super) fn history(task: TaskId, events: &[Event]) -> Vec<HistoryLine> {
    let lines = explain::history(task, events).into_iter();
    lines
        .map(|explain::HistoryLine { at, what }| HistoryLine { at, what })
        .collect()
}

/// Why a task that is not over is where it is; `None` if it is over.
pub(super) fn explain(state: &State, task: TaskId, now: Timestamp) -> Option<Explanation> {
    let explained = explain::explain(state, task, now)?;
    Some(Explanation {
        task: explained.task,
        node: explained.node,
        state: explained.state,
        waits_for: explained.waits_for.into_iter().map(waits_for).collect(),
        depends: explained.depends.into_iter().map(depends_on).collect(),
        summary: explained.summary,
        ahead: explained.ahead,
        share: Some(share(explained.standing)),
        resources: explained.resources,
        hosts: explained.hosts,
        walltime_s: explained.walltime_s,
        requirements: explained.requirements,
        rank: explained.rank,
        deadline: explained.deadline.map(deadline),
        ces: explained.ces.into_iter().map(verdict).collect(),
        pilots: explained.pilots.into_iter().map(pilot).collect(),
        before: explained.before.into_iter().map(rival).collect(),
        accounts_before: explained.accounts_before,
        priority: explained.priority.map(priority),
        qos: explained.qos,
        tier: explained.tier,
        waited_s: explained.waited_s,
        overdue: explained.overdue,
        forecast: None,
        no_forecast: None,
        history: Vec::new(),
    })
}

fn pilot(verdict: explain::PilotVerdict) -> PilotVerdict {
    PilotVerdict {
        pilot: verdict.pilot,
        ce: verdict.ce,
        refusals: verdict.refusals.into_iter().map(refusal).collect(),
    }
}

/// Somebody who comes before; also told to those who may not see whose tasks they are, as
/// everybody sees all standings.
fn rival(rival: explain::Rival) -> Rival {
    Rival {
        path: rival.path,
        waiting: rival.waiting,
        because: rival.because,
    }
}

fn priority(priority: explain::Priority) -> PriorityView {
    let parts = priority
        .parts
        .into_iter()
        .map(|(name, value)| PriorityPart {
            name: name.to_owned(),
            value,
        });
    PriorityView {
        total: priority.total,
        capped: priority.capped,
        parts: parts.collect(),
    }
}

fn refusal(refusal: explain::Refusal) -> Refusal {
    Refusal {
        clause: refusal.clause,
        because: refusal.because,
    }
}

/// When it will start.
pub(super) fn forecast(made: Made) -> ForecastView {
    let Made { at, forecast } = made;
    ForecastView {
        made_at: at,
        earliest: forecast.earliest,
        likely: forecast.likely,
        latest: forecast.latest,
        horizon: forecast.horizon,
        why_none: forecast.why_none,
    }
}

fn deadline(outlook: Outlook) -> DeadlineView {
    let ces = outlook.ces.into_iter().map(|at| CeDeadline {
        ce: at.ce,
        outlook: at.kind.name().to_owned(),
        because: at.because,
    });
    DeadlineView {
        outlook: outlook.kind.name().to_owned(),
        because: outlook.because,
        ces: ces.collect(),
    }
}

fn waits_for(explain::WaitsFor { node, states }: explain::WaitsFor) -> WaitsFor {
    WaitsFor { node, states }
}

fn depends_on(on: explain::DependsOn) -> DependsOn {
    DependsOn {
        dependency: on.dependency,
        met: on.met,
        progress: on.progress.map(|it| Progress {
            pending: it.pending,
            running: it.running,
            succeeded: it.succeeded,
            lost: it.lost,
        }),
    }
}

fn verdict(verdict: explain::CeVerdict) -> CeVerdict {
    let refusals = verdict.refusals.into_iter().map(refusal);
    CeVerdict {
        ce: verdict.ce,
        eligible: verdict.eligible,
        rank: verdict.rank,
        refusals: refusals.collect(),
    }
}

/// The explanation of a task that is over: what it asked for is read from its JDL again.
/// `because` tells why it was skipped, if it was; `alone`, that a retry of that is enough.
pub(super) fn ended(
    task: &TaskView,
    needs: &Needs,
    because: Option<&str>,
    alone: bool,
) -> Explanation {
    let why = because.or(task.detail.as_deref());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let over = match task.state {
        TaskState::Skipped => {
            let then = match alone {
                true => "It waits again when that is retried.",
                false => "Once that is retried, retry it as well.",
            };
            format!("It was skipped{why}. {then}")
        }
        _ => format!("It is over{why}."),
    };
    Explanation {
        task: task.id,
        node: task.node.clone(),
        state: task.state,
        summary: over,
        waits_for: Vec::new(),
        depends: Vec::new(),
        ahead: None,
        share: None,
        resources: needs.resources,
        hosts: needs.hosts,
        walltime_s: needs.walltime_s,
        requirements: needs.requirements.as_ref().map(ToString::to_string),
        rank: needs.rank.as_ref().map(ToString::to_string),
        deadline: None,
        ces: Vec::new(),
        pilots: Vec::new(),
        before: Vec::new(),
        accounts_before: 0,
        priority: None,
        qos: needs.qos.as_deref().map(str::to_owned),
        tier: 0,
        waited_s: None,
        overdue: false,
        forecast: None,
        no_forecast: None,
        history: Vec::new(),
    }
}
