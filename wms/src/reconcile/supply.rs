//! Supplies the sites with pilots: plans on a look at the state, has the plan
//! noted, and only then submits. What was noted and not submitted, or
//! submitted and not answered, is found again by its name; nothing is ever
//! submitted twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_api::pilot::Bootstrap;
use fairway_model::{Ce, Pilot, PilotEnd, PilotId, Site, SiteName};
use fairway_sched::command::Observation;
use fairway_sched::provision::{self, PilotPlan};
use fairway_sched::{Command, Reply};
use fairway_site_adapters::{AdapterError, PilotJob};

use tokio::task::JoinSet;

use super::{Connection, Shared};
use crate::auth::{new_secret, sha256_hex};
use crate::engine::EngineError;

/// Two plans are at least so far apart, however much changes.
const PLAN_GAP: Duration = Duration::from_millis(200);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut commits = shared.around.engine.commits();
    // A site that is slow to accept pilots holds up nobody else: what was planned for it counts
    // as on its way.
    let mut submissions = JoinSet::new();
    loop {
        while submissions.try_join_next().is_some() {}
        match shared.around.engine.look(provision::plan).await {
            Ok(plan) => carry_out(&shared, plan, &mut submissions).await,
            Err(EngineError::Stopped) => return,
            Err(error) => tracing::warn!(%error, "no plan of pilots this time"),
        }
        tokio::time::sleep(PLAN_GAP).await;
        tokio::select! {
            () = tokio::time::sleep(shared.around.plan_every) => {}
            () = shared.plan_now.notified() => {}
            changed = commits.changed() => if changed.is_err() { return },
        }
    }
}

async fn carry_out(shared: &Arc<Shared>, plan: PilotPlan, submissions: &mut JoinSet<()>) {
    for (pilot, reason) in plan.recalls {
        recall(shared, pilot, reason).await;
    }
    if plan.orders.is_empty() {
        return;
    }
    let secrets: Vec<String> = plan.orders.iter().map(|_| new_secret()).collect();
    let orders = plan
        .orders
        .into_iter()
        .zip(secrets.iter().map(|secret| sha256_hex(secret)));
    let planned = match shared
        .around
        .engine
        .ask(Command::PlanPilots {
            orders: orders.collect(),
        })
        .await
    {
        Ok(Reply::Planned(pilots)) => pilots,
        Ok(_) => return,
        Err(error) => {
            tracing::warn!(%error, "the plan of pilots was not noted; planning again");
            return;
        }
    };
    let secret_of: BTreeMap<String, String> = secrets
        .into_iter()
        .map(|secret| (sha256_hex(&secret), secret))
        .collect();
    let mut by_site: BTreeMap<SiteName, Vec<(Pilot, String)>> = BTreeMap::new();
    for pilot in planned {
        // A planned pilot carries the hash that came with its order.
        if let Some(secret) = secret_of.get(&pilot.bootstrap_hash) {
            by_site
                .entry(pilot.ce.site.clone())
                .or_default()
                .push((pilot, secret.clone()));
        }
    }
    for (site, pilots) in by_site {
        submissions.spawn(submit(shared.clone(), site, pilots));
    }
}

async fn submit(shared: Arc<Shared>, site: SiteName, pilots: Vec<(Pilot, String)>) {
    let name = site.clone();
    let Ok(Some(site)) = shared
        .around
        .engine
        .look(move |state, _| state.site(&name).cloned())
        .await
    else {
        return; // Removed meanwhile: its pilots are over already.
    };
    let connection = match shared.sites.connect(&site) {
        Ok(connection) => connection,
        Err(error) => {
            let news = pilots
                .iter()
                .map(|(pilot, _)| (pilot.id, refused(&error)))
                .collect();
            note(&shared, news).await;
            return;
        }
    };
    let (ids, jobs): (Vec<PilotId>, Vec<PilotJob>) = pilots
        .into_iter()
        .filter_map(|(pilot, secret)| Some((pilot.id, job(&shared, &site, pilot, secret)?)))
        .unzip();
    submit_jobs(&shared, &site, &connection, &ids, &jobs).await;
}

async fn submit_jobs(
    shared: &Shared,
    site: &Site,
    connection: &Connection,
    ids: &[PilotId],
    jobs: &[PilotJob],
) {
    let results = connection.submit(jobs).await;
    let mut news = Vec::new();
    for (pilot, result) in ids.iter().zip(results) {
        match result {
            Ok(batch_id) => {
                tracing::info!(%pilot, site = %site.name, %batch_id, "pilot submitted");
                news.push((*pilot, Observation::Submitted { batch_id }));
            }
            Err(error @ (AdapterError::Unreachable(_) | AdapterError::Unexpected(_))) => {
                // It may be in there: the next looks tell by its name.
                tracing::warn!(%pilot, site = %site.name, %error, "no word of a submission");
            }
            Err(error @ AdapterError::Refused(_)) => {
                tracing::warn!(%pilot, site = %site.name, %error, "pilot refused");
                news.push((*pilot, refused(&error)));
            }
        }
    }
    note(shared, news).await;
}

fn refused(error: &AdapterError) -> Observation {
    Observation::Refused {
        reason: error.to_string(),
    }
}

async fn note(shared: &Shared, news: Vec<(PilotId, Observation)>) {
    if news.is_empty() {
        return;
    }
    if let Err(error) = shared.around.engine.ask(Command::ObservePilots(news)).await {
        tracing::warn!(%error, "submissions were not noted; they will be found by name");
    }
}

/// The batch job of a pilot; nothing if its CE was removed meanwhile.
fn job(shared: &Shared, site: &Site, pilot: Pilot, secret: String) -> Option<PilotJob> {
    let ce = site.ces.iter().find(|ce| ce.name == pilot.ce.ce)?.clone();
    let bootstrap = Bootstrap {
        server: shared.around.server_url.clone(),
        ca_pem: shared.around.ca_pem.clone(),
        pilot: pilot.id,
        ce: pilot.ce,
        secret,
        resources: pilot.resources,
        walltime_s: pilot.walltime_s,
        work_dir: None,
        idle_s: shared.around.pilot_idle_s,
    };
    let stdin = match serde_json::to_string(&bootstrap) {
        Ok(stdin) => stdin,
        Err(error) => {
            tracing::error!(pilot = %pilot.id, %error, "a bootstrap document cannot be written");
            return None;
        }
    };
    Some(PilotJob {
        pilot: pilot.id,
        name: shared.job_name(pilot.id),
        resources: pilot.resources,
        walltime_s: pilot.walltime_s,
        program: program(shared, &ce),
        stdin,
        ce,
    })
}

fn program(shared: &Shared, ce: &Ce) -> Vec<String> {
    match &ce.pilot_program {
        Some(program) => vec![program.clone()],
        None => shared.around.pilot_program.clone(),
    }
}

/// Calls back a pilot that nobody needs: first it is over for the state, then it is ended in
/// the batch system. If that fails, it is found to be an orphan later.
async fn recall(shared: &Shared, pilot: PilotId, reason: String) {
    let seen = shared
        .around
        .engine
        .look(move |state, _| state.pilot(pilot))
        .await;
    let Ok(Some(known)) = seen else { return };
    tracing::info!(%pilot, reason, "pilot called back");
    let end = PilotEnd::Cancelled { reason };
    if let Err(error) = shared
        .around
        .engine
        .ask(Command::EndPilot { pilot, end })
        .await
    {
        tracing::warn!(%pilot, %error, "a pilot was not called back; planning again");
        return;
    }
    if let Some(batch_id) = known.pilot.batch_id {
        cancel(shared, &known.pilot.ce.site, &[batch_id]).await;
    }
}

/// Ends jobs in a site's batch system, as far as it can be reached.
pub(super) async fn cancel(shared: &Shared, site: &SiteName, batch_ids: &[String]) {
    let Some(connection) = shared.sites.get(site) else {
        return;
    };
    if let Err(error) = connection.cancel(batch_ids).await {
        tracing::warn!(%site, %error, "pilots' jobs could not be ended; trying again later");
    }
}
