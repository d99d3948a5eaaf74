//! `GET /v1/sites/{site}/provisioning`

use axum::Json;
use axum::extract::State;
use fairway_api::public::{
    Backoff, CeProvisioning, JobCounts, Refusal, SupplyDecision, SupplyLimit, SupplyVerb,
    SupplyVerdict, WantingClass,
};
use fairway_model::{Resources, SiteName};

use fairway_sched::glue::INFINITE;
use fairway_sched::latch::SetAside;
use fairway_sched::provision::{self, CeReport, Limit, Wanting};
use fairway_sched::{Decided, Decision};

use super::admins_only;
use crate::auth::Authenticated;
use crate::http::extract::Path;
use crate::http::{App, Failure, Failures, view};

/// Shows why each CE of a site has the pilots that it has: what wants it, every limit with its
/// use, what is closed or set aside, and the last decisions.
#[utoipa::path(
    get, path = "/v1/sites/{site}/provisioning", tag = "sites", operation_id = "site_provisioning",
    params(("site" = SiteName, Path, description = "Which site")),
    responses((status = OK, body = Vec<CeProvisioning>), Failures),
)]
pub(super) async fn provisioning(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    Path(name): Path<SiteName>,
) -> Result<Json<Vec<CeProvisioning>>, Failure> {
    admins_only(&who, &name)?;
    let site = name.clone();
    let report = app
        .engine
        .look(move |state, now| {
            let report = provision::report(state, &site, now)?;
            let ces = report.into_iter().map(|ce| {
                let aside = state.set_aside(&ce.ce);
                provisioning_of(ce, aside)
            });
            Some(ces.collect())
        })
        .await?;
    report
        .map(Json)
        .ok_or_else(|| Failure::not_found(format_args!("site {name}")))
}

fn provisioning_of(report: CeReport, aside: Vec<SetAside>) -> CeProvisioning {
    let jobs = report.jobs;
    let others = jobs.others_running.zip(jobs.others_waiting);
    CeProvisioning {
        ce: report.ce,
        mode: report.mode,
        verdict: SupplyVerdict {
            pilots: report.verdict.pilots,
            kind: report.verdict.kind.to_owned(),
            because: report.verdict.because,
        },
        wanting: report.wanting.into_iter().map(wanting).collect(),
        sharing: report.sharing,
        resources: Resources {
            // What is left to the batch system, and not published either, refuses nothing.
            memory_mib: match report.resources.memory_mib {
                u64::MAX => 0,
                known => known,
            },
            ..report.resources
        },
        nodes: report.nodes,
        walltime_s: report.walltime_s,
        pilots: report.pilots,
        ours: JobCounts {
            running: jobs.ours_running,
            waiting: jobs.ours_waiting,
        },
        others: others.map(|(running, waiting)| JobCounts { running, waiting }),
        limits: report.limits.iter().map(limit).collect(),
        closures: report.closures.into_iter().map(refusal).collect(),
        backoff: report
            .backoff
            .map(|(until, because)| Backoff { until, because }),
        set_aside: aside.into_iter().map(view::aside).collect(),
        never_called_home: report.never_called_home,
        asked_in_a_day: report.asked_in_a_day,
        response_s: Some(report.response_s)
            .filter(|it| *it < INFINITE)
            .and_then(|it| u64::try_from(it).ok()),
        decisions: report.decisions.into_iter().map(decision).collect(),
    }
}

fn refusal((clause, because): (&'static str, String)) -> Refusal {
    Refusal {
        clause: clause.to_owned(),
        because,
    }
}

fn wanting(class: Wanting) -> WantingClass {
    WantingClass {
        needs: class.needs,
        group: class.group,
        waiting: class.waiting,
        without_pilot: class.without_pilot,
        rank: class.rank,
        refusals: class.refusals.into_iter().map(refusal).collect(),
    }
}

fn limit(limit: &Limit) -> SupplyLimit {
    SupplyLimit {
        name: limit.name.to_owned(),
        used: limit.used,
        max: limit.max,
        step: limit.step,
        full: limit.is_full(),
        because: limit.because(),
    }
}

fn decision(decision: Decision) -> SupplyDecision {
    let (what, pilots) = match decision.what {
        Decided::Ordered(pilots) => (SupplyVerb::Ordered, pilots),
        Decided::Recalled(pilots) => (SupplyVerb::Recalled, pilots),
        Decided::Useless(pilots) => (SupplyVerb::Useless, pilots),
        Decided::Nothing(_) => (SupplyVerb::Nothing, 0),
    };
    SupplyDecision {
        at: decision.at,
        what,
        pilots,
        because: decision.because,
    }
}
