//! Keeps holding jobs on batch sites for pods that wait in Kubernetes clusters (BeBiDa). How many
//! is decided in `sched::hold`.
//!
//! The jobs are named `fw-<instance>-h<number>`. What is known of them is what the batch system
//! tells of these names, so a restart loses nothing. A submission without an answer counts as
//! there until the batch system would have told of it; a number is never used again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairway_model::{Ce, CeStatus, PilotId, Resources, Site, SiteMode, Timestamp};
use fairway_sched::hold::{self, Hold, HoldDemand, HoldOrder, HoldPlan, HoldPolicy, HoldUsage};
use fairway_site_adapters::pending::{ClusterDemand, PendingPods};
use fairway_site_adapters::{AdapterError, BatchJob, BatchState, PilotJob};
use tokio::time::MissedTickBehavior;

use super::{Connection, Shared};
use crate::config::BebidaConfig;
use crate::engine::{EngineError, wall_clock};

/// A submission that was not answered is in the batch system by then, or never got there.
const DOUBT_MAX: Duration = Duration::from_secs(120);
/// Oddities of annotations are told once for each pod, and forgotten when there are so many.
const TOLD_MAX: usize = 10_000;

/// What is remembered from one look to the next.
#[derive(Default)]
struct Memory {
    /// The number that was used last.
    last: u64,
    /// Batch ids of holding jobs that were not over, to be told of their end.
    known: Vec<String>,
    /// Submissions without an answer, and since when.
    doubtful: BTreeMap<u64, Timestamp>,
    /// Since when a running one is not used.
    idle_since: BTreeMap<u64, Timestamp>,
    /// Pods whose odd annotations were told.
    told: BTreeSet<String>,
}

/// Where a set's holding jobs go now.
struct Target {
    site: Site,
    ce: Ce,
    is_open: bool,
    delay_s: u64,
}

pub(super) async fn run(shared: Arc<Shared>, config: BebidaConfig) {
    let pods = PendingPods::new(&config.kubernetes);
    let mut memory = Memory::default();
    let mut rounds = tokio::time::interval(shared.around.look_every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        match target(&shared, &config).await {
            Ok(Some(target)) => {
                if let Err(error) = look(&shared, &config, &pods, &target, &mut memory).await {
                    tracing::warn!(ce = %config.ce, %error, "no look at holding jobs this time");
                }
            }
            Ok(None) => {
                tracing::debug!(ce = %config.ce, "the CE of holding jobs is not registered")
            }
            Err(EngineError::Stopped) => return,
            Err(error) => tracing::warn!(%error, "no look at holding jobs this time"),
        }
    }
}

async fn target(shared: &Shared, config: &BebidaConfig) -> Result<Option<Target>, EngineError> {
    let id = config.ce.clone();
    shared
        .around
        .engine
        .look(move |state, _| {
            let site = state.site(&id.site)?.clone();
            let ce = site.ces.iter().find(|ce| ce.name == id.ce)?.clone();
            let status = state.published(&id).map(|published| published.status);
            let is_open =
                site.mode.max(ce.mode) == SiteMode::Open && status == Some(CeStatus::Production);
            let delay_s = state.response_s(&id).unwrap_or(0);
            Some(Target {
                site,
                ce,
                is_open,
                delay_s: u64::try_from(delay_s).unwrap_or(0),
            })
        })
        .await
}

async fn look(
    shared: &Shared,
    config: &BebidaConfig,
    pods: &PendingPods,
    target: &Target,
    memory: &mut Memory,
) -> Result<(), AdapterError> {
    let connection = shared.sites.connect(&target.site)?;
    let prefix = format!("{}h", shared.around.name_prefix);
    let jobs = connection.poll(&prefix, &memory.known).await?;
    let demand = pods.read().await?;
    let now = wall_clock();
    let live = live(&prefix, &jobs);
    memory.known = live.values().map(|job| job.batch_id.clone()).collect();
    memory.last = memory.last.max(last_number(&prefix, &jobs));
    let holds = memory.holds(&live, &demand, now);
    memory.tell_oddities(&demand);
    let plan = hold::plan(&policy(config, target), &work(&demand), &holds, now);
    if plan.too_large > 0 {
        let (pods, cores) = (plan.too_large, config.cores);
        tracing::warn!(ce = %config.ce, pods, cores, "pods need more cores than a holding job has");
    }
    carry_out(config, target, &connection, &prefix, &live, plan, memory).await
}

fn policy(config: &BebidaConfig, target: &Target) -> HoldPolicy {
    HoldPolicy {
        threshold: config.threshold,
        holds_max: config.holds_max as usize,
        cores: config.cores,
        walltime_max_s: config.walltime_max_s,
        idle_s: config.idle_s,
        delay_s: target.delay_s,
    }
}

fn work(demand: &ClusterDemand) -> Vec<HoldDemand> {
    let pods = demand.waiting.iter();
    pods.map(|pod| HoldDemand {
        cores: pod.cores,
        duration_s: pod.duration_s,
        deadline: pod.deadline,
        time_critical: pod.time_critical,
    })
    .collect()
}

/// The number in a holding job's name.
fn number_of(prefix: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Holding jobs that are not over, by their number.
fn live<'a>(prefix: &str, jobs: &'a [BatchJob]) -> BTreeMap<u64, &'a BatchJob> {
    jobs.iter()
        .filter(|job| !matches!(job.state, BatchState::Ended { .. }))
        .filter_map(|job| Some((number_of(prefix, &job.name)?, job)))
        .collect()
}

fn last_number(prefix: &str, jobs: &[BatchJob]) -> u64 {
    let numbers = jobs.iter().filter_map(|job| number_of(prefix, &job.name));
    numbers.max().unwrap_or(0)
}

impl Memory {
    /// The holding jobs that there are, or may be, and how each is used.
    fn holds(
        &mut self,
        live: &BTreeMap<u64, &BatchJob>,
        demand: &ClusterDemand,
        now: Timestamp,
    ) -> Vec<Hold> {
        self.doubtful
            .retain(|number, since| !live.contains_key(number) && now.since(*since) < DOUBT_MAX);
        self.idle_since
            .retain(|number, _| live.contains_key(number));
        let mut holds: Vec<Hold> = self
            .doubtful
            .keys()
            .map(|&number| Hold {
                number,
                usage: HoldUsage::Queued,
            })
            .collect();
        for (&number, job) in live {
            let usage = self.usage(number, job, demand, now);
            holds.push(Hold { number, usage });
        }
        holds
    }

    fn usage(
        &mut self,
        number: u64,
        job: &BatchJob,
        demand: &ClusterDemand,
        now: Timestamp,
    ) -> HoldUsage {
        if job.state != BatchState::Running {
            return HoldUsage::Queued;
        }
        let handed_over = demand.handed_over.get(&job.name).copied();
        if handed_over == Some(true) {
            self.idle_since.remove(&number);
            return HoldUsage::Busy;
        }
        // A node that cannot be told from the others may be used as long as anything runs.
        if handed_over.is_none() && demand.runs_elsewhere {
            self.idle_since.remove(&number);
            return HoldUsage::Idle { for_s: 0 };
        }
        let since = *self.idle_since.entry(number).or_insert(now);
        HoldUsage::Idle {
            for_s: now.since(since).as_secs(),
        }
    }

    fn tell_oddities(&mut self, demand: &ClusterDemand) {
        if self.told.len() > TOLD_MAX {
            self.told.clear();
        }
        for pod in demand.waiting.iter().filter(|pod| !pod.oddities.is_empty()) {
            if self.told.insert(pod.name.clone()) {
                tracing::warn!(pod = pod.name, oddities = ?pod.oddities, "odd annotations are left out");
            }
        }
    }

    /// A number that was never used: not by this server, and not by one before it whose jobs
    /// nobody remembers.
    fn next(&mut self, now: Timestamp) -> u64 {
        let clock = u64::try_from(now.secs()).unwrap_or(0);
        self.last = clock.max(self.last + 1);
        self.last
    }
}

async fn carry_out(
    config: &BebidaConfig,
    target: &Target,
    connection: &Connection,
    prefix: &str,
    live: &BTreeMap<u64, &BatchJob>,
    plan: HoldPlan,
    memory: &mut Memory,
) -> Result<(), AdapterError> {
    let ids: Vec<String> = plan
        .cancels
        .iter()
        .filter_map(|number| Some(live.get(number)?.batch_id.clone()))
        .collect();
    if !ids.is_empty() {
        tracing::info!(ce = %config.ce, jobs = ?ids, "holding jobs given back");
        connection.cancel(&ids).await?;
    }
    if plan.orders.is_empty() || !target.is_open {
        return Ok(());
    }
    let now = wall_clock();
    let jobs: Vec<(u64, PilotJob)> = plan
        .orders
        .iter()
        .map(|order| {
            let number = memory.next(now);
            (number, job(config, target, prefix, number, *order))
        })
        .collect();
    // From here on each may be there.
    memory
        .doubtful
        .extend(jobs.iter().map(|(number, _)| (*number, now)));
    let (numbers, jobs): (Vec<u64>, Vec<PilotJob>) = jobs.into_iter().unzip();
    for (number, result) in numbers.iter().zip(connection.submit(&jobs).await) {
        match result {
            Ok(batch_id) => {
                tracing::info!(ce = %config.ce, number, %batch_id, "holding job submitted");
                memory.known.push(batch_id);
            }
            Err(error @ AdapterError::Refused(_)) => {
                tracing::warn!(ce = %config.ce, number, %error, "holding job refused");
                memory.doubtful.remove(number);
            }
            Err(error) => {
                tracing::warn!(ce = %config.ce, number, %error, "no word of a holding job");
            }
        }
    }
    Ok(())
}

fn job(
    config: &BebidaConfig,
    target: &Target,
    prefix: &str,
    number: u64,
    order: HoldOrder,
) -> PilotJob {
    let name = format!("{prefix}{number}");
    PilotJob {
        pilot: PilotId(number),
        ce: target.ce.clone(),
        resources: Resources {
            cores: config.cores,
            memory_mib: config.memory_mib,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: order.walltime_s,
        program: config
            .program
            .iter()
            .map(|word| word.replace("{name}", &name))
            .collect(),
        stdin: String::new(),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "fw-ab12-h";
    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn batch_job(name: &str, state: BatchState) -> BatchJob {
        BatchJob {
            batch_id: format!("id-{name}"),
            name: name.into(),
            state,
        }
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn holding_jobs_and_pilots_are_told_apart_by_their_names() {
        assert_eq!(number_of(PREFIX, "fw-ab12-h7"), Some(7));
        for other in [
            "fw-ab12-p7",
            "fw-ab12-h",
            "fw-ab12-h7x",
            "fw-ab13-h7",
            "fw-ab12-h-7",
        ] {
            assert_eq!(number_of(PREFIX, other), None, "{other}");
        }
        // What ends the jobs of pilots that are over must not take one for such a job.
        let pilot: Result<PilotId, _> = "h7".parse();
        assert!(pilot.is_err());
    }

    #[test]
    fn numbers_are_not_used_again() {
        let mut memory = Memory::default();
        let first = memory.next(NOW);
        assert_eq!(memory.next(NOW), first + 1);
        memory.last = first + 100;
        assert_eq!(memory.next(NOW), first + 101);
        assert!(Memory::default().next(later(3600)) > first + 101);
    }

    #[test]
    fn a_submission_without_an_answer_counts_until_it_would_be_told_of() {
        let mut memory = Memory::default();
        let demand = ClusterDemand::default();
        memory.doubtful.insert(7, NOW);
        assert_eq!(memory.holds(&BTreeMap::new(), &demand, later(60)).len(), 1);
        let jobs = [batch_job("fw-ab12-h7", BatchState::Running)];
        assert_eq!(
            memory.holds(&live(PREFIX, &jobs), &demand, later(60)).len(),
            1
        );
        memory.doubtful.insert(8, NOW);
        assert_eq!(memory.holds(&BTreeMap::new(), &demand, later(120)).len(), 0);
    }

    #[test]
    fn a_holding_job_is_idle_as_long_as_nothing_runs_on_its_node() {
        let mut memory = Memory::default();
        let jobs = [batch_job("fw-ab12-h7", BatchState::Running)];
        let live = live(PREFIX, &jobs);
        let mut demand = ClusterDemand::default();
        let mut usage = |demand: &ClusterDemand, at| memory.holds(&live, demand, at)[0].usage;
        demand.handed_over.insert("fw-ab12-h7".into(), false);
        assert_eq!(usage(&demand, NOW), HoldUsage::Idle { for_s: 0 });
        assert_eq!(usage(&demand, later(30)), HoldUsage::Idle { for_s: 30 });
        demand.handed_over.insert("fw-ab12-h7".into(), true);
        assert_eq!(usage(&demand, later(40)), HoldUsage::Busy);
        demand.handed_over.insert("fw-ab12-h7".into(), false);
        assert_eq!(usage(&demand, later(50)), HoldUsage::Idle { for_s: 0 });
        // Its node is not known: it may be one of those that something runs on.
        let unknown = ClusterDemand {
            runs_elsewhere: true,
            ..ClusterDemand::default()
        };
        assert_eq!(usage(&unknown, later(5000)), HoldUsage::Idle { for_s: 0 });
    }

    #[test]
    fn jobs_that_are_over_hold_nothing() {
        let over = BatchState::Ended {
            detail: String::new(),
        };
        let jobs = [
            batch_job("fw-ab12-h7", over),
            batch_job("fw-ab12-p8", BatchState::Running),
        ];
        assert!(live(PREFIX, &jobs).is_empty());
        assert_eq!(last_number(PREFIX, &jobs), 7);
    }
}
