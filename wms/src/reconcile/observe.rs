//! What the batch systems say: of our pilots, and of themselves.
//!
//! A site that does not answer keeps the states it had, but its CEs are
//! published as unreachable, so that nothing new is sent there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairway_model::{CeId, CeState, Pilot, PilotId, PilotState, Site, SiteName, Timestamp};
use fairway_sched::Command;
use fairway_sched::command::Observation;
use fairway_site_adapters::{BatchJob, BatchState};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Connection, Shared, supply};
use crate::engine::{EngineError, wall_clock};

/// A pilot whose job is in neither the queue nor the accounting for so many looks in a row is lost.
const ABSENCES_MAX: u32 = 2;
/// A pilot that was decided upon this long ago and is not in the batch system never got there.
const SUBMISSION_MAX: Duration = Duration::from_secs(120);
/// A job that no live pilot belongs to may go on for so many looks: a pilot that said goodbye
/// needs a moment to end.
const ORPHAN_LOOKS_MAX: u32 = 2;

/// What must be remembered from one look to the next. All of it can be forgotten: it then
/// takes some looks longer to notice.
#[derive(Default)]
struct Memory {
    absences: BTreeMap<PilotId, u32>,
    orphans: BTreeMap<String, u32>,
}

pub(super) async fn run(shared: Arc<Shared>) {
    // A site that is slow to answer is skipped until it has; the others do not wait for it.
    let mut looks: JoinSet<(SiteName, Memory)> = JoinSet::new();
    let mut busy: BTreeSet<SiteName> = BTreeSet::new();
    let mut memories: BTreeMap<SiteName, Memory> = BTreeMap::new();
    let mut rounds = tokio::time::interval(shared.around.look_every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(look) = looks.join_next() => match look {
                Ok((site, memory)) => {
                    busy.remove(&site);
                    memories.insert(site, memory);
                    shared.plan_now.notify_one();
                }
                Err(error) => {
                    // Which site it was is not known any more: look at all of them afresh.
                    tracing::error!(%error, "a look at a site failed");
                    looks.abort_all();
                    busy.clear();
                }
            },
            _ = rounds.tick() => match sites_and_pilots(&shared).await {
                Ok(sites) => {
                    memories.retain(|name, _| sites.iter().any(|(site, _)| site.name == *name));
                    for (site, pilots) in sites {
                        if busy.insert(site.name.clone()) {
                            let memory = memories.remove(&site.name).unwrap_or_default();
                            looks.spawn(look_at_site(shared.clone(), site, pilots, memory));
                        }
                    }
                }
                Err(EngineError::Stopped) => return,
                Err(error) => tracing::warn!(%error, "no look at the sites this time"),
            },
        }
    }
}

async fn sites_and_pilots(shared: &Shared) -> Result<Vec<(Site, Vec<Pilot>)>, EngineError> {
    shared
        .around
        .engine
        .look(|state, _| {
            state
                .sites()
                .map(|site| {
                    let pilots = state
                        .pilots_live()
                        .filter(|pilot| pilot.ce.site == site.name);
                    (site.clone(), pilots.cloned().collect())
                })
                .collect()
        })
        .await
}

async fn look_at_site(
    shared: Arc<Shared>,
    site: Site,
    pilots: Vec<Pilot>,
    mut memory: Memory,
) -> (SiteName, Memory) {
    let looked_at = wall_clock();
    let states = match shared.sites.connect(&site) {
        Ok(connection) => {
            pilots_of_site(&shared, &connection, &site, &pilots, &mut memory).await;
            connection.publish(&site.ces, looked_at).await
        }
        Err(error) => Err(error),
    };
    let states = states.unwrap_or_else(|error| {
        tracing::warn!(site = %site.name, %error, "the batch system does not tell its state");
        unreachable_ces(&site, looked_at, &error.to_string())
    });
    tell(&shared, Command::Publish(states)).await;
    (site.name, memory)
}

fn unreachable_ces(site: &Site, at: Timestamp, reason: &str) -> Vec<CeState> {
    site.ces
        .iter()
        .map(|ce| {
            let id = CeId {
                site: site.name.clone(),
                ce: ce.name.clone(),
            };
            CeState::unreachable(id, site.adapter.kind(), at, reason.to_owned())
        })
        .collect()
}

/// Asks for all jobs of ours at the site in one go, and tells the state what is new.
async fn pilots_of_site(
    shared: &Shared,
    connection: &Connection,
    site: &Site,
    pilots: &[Pilot],
    memory: &mut Memory,
) {
    let known: Vec<String> = pilots
        .iter()
        .filter_map(|pilot| pilot.batch_id.clone())
        .collect();
    let jobs = match connection.poll(&shared.around.name_prefix, &known).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!(site = %site.name, %error, "the batch system does not tell of pilots");
            return;
        }
    };
    let by_pilot: BTreeMap<PilotId, &BatchJob> = jobs
        .iter()
        .filter_map(|job| Some((shared.pilot_of(&job.name)?, job)))
        .collect();
    let mut news = Vec::new();
    for pilot in pilots {
        // The job has the name of the first of the pilots that share it.
        match by_pilot.get(&pilot.allocation) {
            Some(job) => {
                memory.absences.remove(&pilot.id);
                news.extend(news_of(pilot, job).into_iter().map(|news| (pilot.id, news)));
            }
            None => news.extend(absent(pilot, memory).map(|news| (pilot.id, news))),
        }
    }
    memory
        .absences
        .retain(|id, _| pilots.iter().any(|pilot| pilot.id == *id));
    if !news.is_empty() {
        tell(shared, Command::ObservePilots(news)).await;
    }
    end_orphans(shared, site, pilots, &by_pilot, memory).await;
}

/// What the state does not know yet of a pilot whose job was seen.
fn news_of(pilot: &Pilot, job: &BatchJob) -> Vec<Observation> {
    let mut news = Vec::new();
    if pilot.batch_id.is_none() {
        // The reply to its submission was lost: found again by its name.
        news.push(Observation::Submitted {
            batch_id: job.batch_id.clone(),
        });
    }
    match &job.state {
        BatchState::Queued { .. } => {}
        BatchState::Running if pilot.state >= PilotState::Starting => {}
        BatchState::Running => news.push(Observation::Running),
        BatchState::Ended { detail } => {
            news.push(Observation::Ended {
                detail: detail.clone(),
            });
        }
    }
    news
}

/// What follows from a pilot's job being nowhere in the batch system.
fn absent(pilot: &Pilot, memory: &mut Memory) -> Option<Observation> {
    let absences = memory.absences.entry(pilot.id).or_default();
    *absences += 1;
    if *absences < ABSENCES_MAX {
        return None;
    }
    if pilot.batch_id.is_none() {
        let age = wall_clock().since(pilot.planned_at);
        return (age > SUBMISSION_MAX).then(|| Observation::Refused {
            reason: "its submission never reached the batch system".into(),
        });
    }
    Some(Observation::Ended {
        detail: "the batch system does not know it any more".into(),
    })
}

/// Ends jobs of ours that no live pilot belongs to.
async fn end_orphans(
    shared: &Shared,
    site: &Site,
    pilots: &[Pilot],
    by_pilot: &BTreeMap<PilotId, &BatchJob>,
    memory: &mut Memory,
) {
    let live: BTreeSet<PilotId> = pilots.iter().map(|pilot| pilot.allocation).collect();
    let mut orphans = BTreeMap::new();
    for (pilot, job) in by_pilot {
        if !live.contains(pilot) && !matches!(job.state, BatchState::Ended { .. }) {
            let looks = memory.orphans.get(&job.batch_id).copied().unwrap_or(0) + 1;
            orphans.insert(job.batch_id.clone(), looks);
        }
    }
    let due: Vec<String> = orphans
        .iter()
        .filter(|(_, looks)| **looks > ORPHAN_LOOKS_MAX)
        .map(|(batch_id, _)| batch_id.clone())
        .collect();
    memory.orphans = orphans;
    if !due.is_empty() {
        tracing::warn!(site = %site.name, jobs = ?due, "ending jobs of pilots that are over");
        supply::cancel(shared, &site.name, &due).await;
    }
}

async fn tell(shared: &Shared, command: Command) {
    if let Err(error) = shared.around.engine.ask(command).await {
        tracing::warn!(%error, "an observation was not noted; it will be made again");
    }
}
