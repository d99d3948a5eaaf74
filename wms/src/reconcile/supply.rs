//! Supplies the sites with pilots: plans on a look at the state, has the plan
//! noted, and only then submits. What was noted and not submitted, or
//! submitted and not answered, is found again by its name; nothing is ever
//! submitted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairway_api::pilot::Bootstrap;
use fairway_model::{Ce, CeId, Pilot, PilotEnd, PilotId, PilotOwner, Site, SiteName, Timestamp};
use fairway_sched::command::Observation;
use fairway_sched::provision::{self, PilotOrder, PilotPlan, Purpose};
use fairway_sched::{Command, Reply, State};
use fairway_site_adapters::{AdapterError, PilotJob};

use tokio::task::JoinSet;

use super::{Connection, Shared};
use crate::auth::{new_secret, sha256_hex};
use crate::engine::EngineError;

/// Two plans are at least so far apart, however much changes.
const PLAN_GAP: Duration = Duration::from_millis(200);

/// So many orders are noted in one step of the engine: nobody else waits for more than these.
const ORDERS_MAX: usize = 1_000;

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
    recall(shared, plan.recalls).await;
    if plan.orders.is_empty() {
        return;
    }
    let mut promised: BTreeMap<String, Promised> = BTreeMap::new();
    let orders: Vec<_> = plan
        .orders
        .into_iter()
        .map(|order| {
            let hashes = (0..order.nodes.max(1)).map(|_| {
                let secret = new_secret();
                let hash = sha256_hex(&secret);
                let reserve_at = order.reserve_at;
                let warm = order.purpose == Purpose::Warm;
                promised.insert(
                    hash.clone(),
                    Promised {
                        secret,
                        reserve_at,
                        warm,
                    },
                );
                hash
            });
            let hashes = hashes.collect();
            (order, hashes)
        })
        .collect();
    let mut by_site: BTreeMap<SiteName, Allocations> = BTreeMap::new();
    for pilot in note_planned(shared, orders).await {
        // A planned pilot carries one of the hashes that came with its order.
        if let Some(promised) = promised.remove(&pilot.bootstrap_hash) {
            by_site
                .entry(pilot.ce.site.clone())
                .or_default()
                .entry(pilot.allocation)
                .or_default()
                .push((pilot, promised));
        }
    }
    for (site, allocations) in by_site {
        submissions.spawn(submit(shared.clone(), site, allocations));
    }
}

/// Has pilots noted as planned; those that were are given back.
async fn note_planned(shared: &Arc<Shared>, orders: Vec<(PilotOrder, Vec<String>)>) -> Vec<Pilot> {
    let mut planned = Vec::new();
    let mut orders = orders.into_iter().peekable();
    while orders.peek().is_some() {
        let orders = orders.by_ref().take(ORDERS_MAX).collect();
        let command = Command::PlanPilots { orders };
        match shared.around.engine.ask(command).await {
            Ok(Reply::Planned(pilots)) => planned.extend(pilots),
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(%error, "the plan of pilots was not noted; planning again");
                break;
            }
        }
    }
    planned
}

/// What is kept of an order while its pilots are noted.
pub(super) struct Promised {
    /// A pilot's secret: only its hash is noted.
    pub(super) secret: String,
    /// When the reservation is to begin that is asked for.
    pub(super) reserve_at: Option<Timestamp>,
    /// It is kept for time-critical tasks.
    pub(super) warm: bool,
}

/// The pilots of one batch job each, one for each of its nodes.
pub(super) type Allocations = BTreeMap<PilotId, Vec<(Pilot, Promised)>>;

/// Submits pilots that were noted as planned.
pub(super) async fn submit(shared: Arc<Shared>, site: SiteName, allocations: Allocations) {
    let name = site.clone();
    let ces: BTreeSet<CeId> = allocations
        .values()
        .flatten()
        .map(|(pilot, _)| pilot.ce.clone())
        .collect();
    let look = move |state: &State, _| {
        let avoid = ces.iter().map(|ce| (ce.clone(), hosts_aside(state, ce)));
        let avoid: BTreeMap<CeId, Vec<String>> = avoid.collect();
        Some((state.site(&name)?.clone(), avoid))
    };
    let Ok(Some((site, avoid))) = shared.around.engine.look(look).await else {
        return; // Removed meanwhile: its pilots are over already.
    };
    let connection = match shared.sites.connect(&site) {
        Ok(connection) => connection,
        Err(error) => {
            let news = allocations
                .values()
                .flatten()
                .map(|(pilot, _)| (pilot.id, refused(&error)))
                .collect();
            note(&shared, news).await;
            return;
        }
    };
    let (ids, jobs): (Vec<Vec<PilotId>>, Vec<PilotJob>) = allocations
        .into_values()
        .filter_map(|pilots| {
            let ids = pilots.iter().map(|(pilot, _)| pilot.id).collect();
            Some((ids, job(&shared, &site, &pilots, &avoid)?))
        })
        .unzip();
    submit_jobs(&shared, &site, &connection, &ids, &jobs).await;
}

/// The nodes of a CE that a pilot should not be sent to.
fn hosts_aside(state: &State, ce: &CeId) -> Vec<String> {
    let aside = state.set_aside(ce).into_iter();
    aside.map(|node| node.host).collect()
}

/// Submits jobs; `ids` are the pilots of each.
async fn submit_jobs(
    shared: &Shared,
    site: &Site,
    connection: &Connection,
    ids: &[Vec<PilotId>],
    jobs: &[PilotJob],
) {
    let results = connection.submit(jobs).await;
    let mut news = Vec::new();
    for (pilots, result) in ids.iter().zip(results) {
        match result {
            Ok(batch_id) => {
                tracing::info!(?pilots, site = %site.name, %batch_id, "pilots submitted");
                news.extend(pilots.iter().map(|pilot| {
                    let batch_id = batch_id.clone();
                    (*pilot, Observation::Submitted { batch_id })
                }));
            }
            Err(error @ (AdapterError::Unreachable(_) | AdapterError::Unexpected(_))) => {
                // They may be in there: the next looks tell by their name.
                tracing::warn!(?pilots, site = %site.name, %error, "no word of a submission");
                let reason = error.to_string();
                news.extend(pilots.iter().map(|pilot| {
                    let reason = reason.clone();
                    (*pilot, Observation::Unanswered { reason })
                }));
            }
            Err(error @ AdapterError::Refused(_)) => {
                tracing::warn!(?pilots, site = %site.name, %error, "pilots refused");
                news.extend(pilots.iter().map(|pilot| (*pilot, refused(&error))));
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

/// The batch job of an allocation's pilots; nothing if their CE was removed meanwhile. Its
/// document is the bootstrap of its pilot, or a list of them with one for each node.
fn job(
    shared: &Shared,
    site: &Site,
    pilots: &[(Pilot, Promised)],
    avoid: &BTreeMap<CeId, Vec<String>>,
) -> Option<PilotJob> {
    let (first, promised) = pilots.first()?;
    let ce = site.ces.iter().find(|ce| ce.name == first.ce.ce)?.clone();
    let bootstrap = |(pilot, promised): &(Pilot, Promised)| Bootstrap {
        server: shared.around.server_url.clone(),
        ca_pem: shared.around.ca_pem.clone(),
        pilot: pilot.id,
        ce: pilot.ce.clone(),
        secret: promised.secret.clone(),
        resources: pilot.resources,
        whole_node: ce.shape.whole_node,
        walltime_s: pilot.walltime_s,
        work_dir: None,
        idle_s: idle_s(shared, &ce, promised),
    };
    let documents: Vec<Bootstrap> = pilots.iter().map(bootstrap).collect();
    let stdin = match &documents[..] {
        [one] => serde_json::to_string(one),
        several => serde_json::to_string(several),
    };
    let stdin = match stdin {
        Ok(stdin) => stdin,
        Err(error) => {
            tracing::error!(pilot = %first.id, %error, "a bootstrap document cannot be written");
            return None;
        }
    };
    let run_as = match &first.owner {
        PilotOwner::User(user) => site.accounts.get(user).cloned(),
        PilotOwner::Shared | PilotOwner::Group(_) | PilotOwner::Probe => None,
    };
    Some(PilotJob {
        pilot: first.id,
        name: shared.job_name(first.id),
        resources: first.resources,
        nodes: u32::try_from(pilots.len()).unwrap_or(u32::MAX),
        run_as,
        reserve_at: promised.reserve_at,
        avoid: avoid.get(&first.ce).cloned().unwrap_or_default(),
        walltime_s: first.walltime_s,
        program: program(shared, &ce),
        stdin,
        ce,
    })
}

/// How long a pilot stays without work. One that is kept warm stays until the server lets it go;
/// it leaves by itself only if that is forgotten, as by a restart, or it is never needed.
fn idle_s(shared: &Shared, ce: &Ce, promised: &Promised) -> u64 {
    let usual_s = shared.around.pilot_idle_s;
    match ce.supply.warm.filter(|_| promised.warm) {
        Some(warm) => usual_s.saturating_add(warm.idle_s.saturating_mul(10)),
        None => usual_s,
    }
}

fn program(shared: &Shared, ce: &Ce) -> Vec<String> {
    match &ce.pilot_program {
        Some(program) => vec![program.clone()],
        None => shared.around.pilot_program.clone(),
    }
}

/// Calls back pilots: first they are over for the state, then their jobs are ended in the batch
/// system, each once for all pilots that share it. If that fails, they are found to be orphans
/// later.
async fn recall(shared: &Shared, recalls: Vec<(PilotId, String)>) {
    if recalls.is_empty() {
        return;
    }
    let still_expected = move |state: &State, _| -> Vec<(Pilot, String)> {
        let expected = |(id, reason)| {
            let pilot = state.pilot(id)?.pilot;
            // One that has called home since would be ended together with its tasks.
            let mut together = state.allocation(pilot.allocation);
            let expected = together.all(|other| other.state.is_expected());
            expected.then_some((pilot, reason))
        };
        recalls.into_iter().filter_map(expected).collect()
    };
    let Ok(recalls) = shared.around.engine.look(still_expected).await else {
        return;
    };
    let mut jobs: BTreeMap<SiteName, BTreeSet<String>> = BTreeMap::new();
    for (known, reason) in recalls {
        let pilot = known.id;
        tracing::info!(%pilot, reason, "pilot called back");
        let end = PilotEnd::Cancelled { reason };
        let ended = Command::EndPilot { pilot, end };
        if let Err(error) = shared.around.engine.ask(ended).await {
            tracing::warn!(%pilot, %error, "a pilot was not called back; planning again");
        } else if let Some(batch_id) = known.batch_id {
            let site = known.ce.site;
            jobs.entry(site).or_default().insert(batch_id);
        }
    }
    for (site, batch_ids) in jobs {
        let batch_ids: Vec<String> = batch_ids.into_iter().collect();
        cancel(shared, &site, &batch_ids).await;
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
