//! One run: a workload under one policy.

use std::collections::BTreeSet;
use std::sync::Arc;

use fairway_model::{PilotId, Policy, Resources, TaskId, Timestamp, UserName};
use fairway_sched::command::{Snapshot, Submission};
use fairway_sched::{Change, Command, State};

use crate::SimError;
use crate::clusters::{Cluster, Clusters, PilotSupply};
use crate::numbers::Distribution;
use crate::record::Recorder;
use crate::record::metrics::{Outcome, Targets};
use crate::workload::{SimJob, Workload};
use crate::world::{Batch, Delay, Place, Rules, Scenario, SimPilot, Stopped, World};

const DAY_MS: u64 = 86_400_000;

/// Beyond the longest walltime, so long without any end or arrival means that nothing more comes.
const PATIENCE_MS: u64 = 2 * DAY_MS;

/// Most events of a run: some hundred for each of the largest number of tasks.
const EVENTS_MAX: u64 = 10_000_000_000;

/// What is the same for all policies.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The clusters.
    pub clusters: Clusters,
    /// What chance begins with.
    pub seed: u64,
    /// Nothing happens later than so many seconds after the first submission.
    pub until_s: Option<u64>,
    /// What each user's part should be.
    pub targets: Targets,
}

/// Reads a policy: the text of a TOML or JSON file, as the server's configuration and API have it.
///
/// # Errors
/// All that is wrong in the text.
pub fn read_policy(text: &str) -> Result<Policy, SimError> {
    Policy::read(text).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        SimError::Text {
            what: "policy file",
            reason: told.join("\n"),
        }
    })
}

/// Lets a workload run under a policy that is told of by a name.
///
/// # Errors
/// If the scheduler does not take the clusters.
pub fn simulate(
    setup: &Setup,
    workload: &Workload,
    name: &str,
    policy: Policy,
) -> Result<Outcome, SimError> {
    let mut world = world(setup, workload, policy, Recorded::new(setup, workload))?;
    let stopped = world.run();
    Ok(draw_up(world, stopped, name, setup))
}

/// What of a workload no cluster can run, in sentences.
///
/// # Errors
/// If that is all of it: what the clusters have, and what is asked for.
pub fn left_out(setup: &Setup, workload: &Workload) -> Result<Vec<String>, SimError> {
    let mut limits = Limits::new(&setup.clusters);
    let (mut too_large, mut too_long) = (0_u64, 0_u64);
    for job in &workload.jobs {
        let tasks = u64::from(workload.specs[job.spec as usize].task_count());
        match limits.judge(job.spec, workload) {
            Fits::Yes => {}
            Fits::TooLarge => too_large += tasks,
            Fits::TooLong => too_long += tasks,
        }
    }
    let all = workload.task_count() as u64;
    if all > 0 && too_large + too_long == all {
        let shortest = too_large == 0;
        return Err(SimError::Text {
            what: "workload",
            reason: format!(
                "none of its tasks can run on these clusters: the largest pilot has {}; the {} \
                 task asks for {}",
                largest(&setup.clusters),
                if shortest { "shortest" } else { "smallest" },
                smallest(workload, shortest)
            ),
        });
    }
    let told = |n: u64, what: &str| {
        (n > 0).then(|| format!("left out: {n} of {all} tasks, whose jobs {what}"))
    };
    let large = told(too_large, "ask for more than any pilot has");
    let long = told(too_long, "ask for more time than any pilot has for tasks");
    Ok(large.into_iter().chain(long).collect())
}

/// What the largest pilot has, and for how long a task may have it.
fn largest(clusters: &Clusters) -> String {
    let size = |it: &&Cluster| {
        let has = it.pilot_resources();
        (has.cores, has.memory_mib, has.gpus)
    };
    clusters
        .list
        .iter()
        .max_by_key(size)
        .map_or_else(String::new, |it| {
            let mut has = it.pilot_resources();
            if it.memory_mib == 0 {
                // As much as there is: nothing that is to be told.
                has.memory_mib = 0;
            }
            let lasts_s = it.task_walltime_max_s(clusters.pilots);
            amounts(has, Some(lasts_s), it.nodes_together(clusters.pilots))
        })
}

/// What the smallest task of a workload asks for, or the shortest.
fn smallest(workload: &Workload, shortest: bool) -> String {
    let used: BTreeSet<u32> = workload.jobs.iter().map(|job| job.spec).collect();
    let needs = used.into_iter().flat_map(|place| {
        let spec = &workload.specs[place as usize];
        (0..if spec.uniform() { 1 } else { spec.task_count() }).map(|index| spec.needs(index))
    });
    let first = needs.min_by_key(|needs| {
        let asked = needs.resources;
        let size = (needs.hosts, asked.cores, asked.memory_mib, asked.gpus);
        let lasts_s = needs.walltime_s.unwrap_or(u64::MAX);
        if shortest {
            (lasts_s, size, 0)
        } else {
            (0, size, lasts_s)
        }
    });
    first.map_or_else(String::new, |needs| {
        amounts(needs.resources, needs.walltime_s, needs.hosts)
    })
}

/// Amounts as people read them; of so many nodes each.
fn amounts(has: Resources, lasts_s: Option<u64>, nodes: u32) -> String {
    let count = |n: u32, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut told = count(has.cores, "core");
    if has.memory_mib > 0 {
        told += &format!(", {} MiB of memory", has.memory_mib);
    }
    if has.gpus > 0 {
        told += &format!(", {}", count(has.gpus, "GPU"));
    }
    if nodes > 1 {
        told += &format!(" on each of {nodes} nodes");
    }
    match lasts_s.filter(|seconds| *seconds < u64::MAX) {
        Some(seconds) => told + &format!(", for {seconds} s"),
        None => told,
    }
}

/// Who is told every change.
pub type Watch<'a> = dyn FnMut(&Change, Timestamp) + 'a;

/// As [`simulate`], with somebody who is told every change that the scheduler wants to be durable:
/// the history of the run.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_watched(
    setup: &Setup,
    workload: &Workload,
    name: &str,
    policy: Policy,
    watch: &mut Watch<'_>,
) -> Result<Outcome, SimError> {
    let mut recorded = Recorded::new(setup, workload);
    recorded.watch = Some(watch);
    let mut world = world(setup, workload, policy, recorded)?;
    let stopped = world.run();
    Ok(draw_up(world, stopped, name, setup))
}

/// Who sees the scheduler at work, change by change and moment by moment.
pub trait Observer {
    /// The scheduler wants a change to be durable.
    fn heard(&mut self, change: &Change, now: Timestamp);

    /// Something has happened, or is about to be decided.
    fn moment(&mut self, state: &State, now: Timestamp);
}

/// As [`simulate_watched`], with somebody who sees the state of the scheduler as well.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_observed(
    setup: &Setup,
    workload: &Workload,
    name: &str,
    policy: Policy,
    observer: &mut dyn Observer,
) -> Result<Outcome, SimError> {
    let mut recorded = Recorded::new(setup, workload);
    recorded.observer = Some(observer);
    let mut world = world(setup, workload, policy, recorded)?;
    let stopped = world.run();
    Ok(draw_up(world, stopped, name, setup))
}

/// What a run is for: the workload, and who measures.
struct Recorded<'a> {
    workload: &'a Workload,
    next: usize,
    /// The place of the runtimes of each job that was submitted, in the order of their numbers.
    runtimes: Vec<usize>,
    recorder: Recorder,
    watch: Option<&'a mut Watch<'a>>,
    observer: Option<&'a mut dyn Observer>,
    limits: Limits,
    too_large: u64,
    too_long: u64,
    over: u64,
    submitted: u64,
}

/// What can run at all.
struct Limits {
    /// What a pilot of each has, how long a task there may take at most in seconds, and how many
    /// nodes an allocation has.
    clusters: Vec<(Resources, u64, u32)>,
    /// Of each description: whether it can run.
    known: Vec<Option<Fits>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Yes,
    TooLarge,
    TooLong,
}

impl Limits {
    fn new(clusters: &Clusters) -> Self {
        let of = |it: &Cluster| {
            let longest_s = it.task_walltime_max_s(clusters.pilots);
            (
                it.pilot_resources(),
                longest_s,
                it.nodes_together(clusters.pilots),
            )
        };
        Self {
            clusters: clusters.list.iter().map(of).collect(),
            known: Vec::new(),
        }
    }

    /// Whether all tasks of a description can run somewhere.
    fn judge(&mut self, place: u32, workload: &Workload) -> Fits {
        let place = place as usize;
        if self.known.len() <= place {
            self.known.resize(workload.specs.len().max(place + 1), None);
        }
        if let Some(known) = self.known[place] {
            return known;
        }
        let spec = &workload.specs[place];
        let different = if spec.uniform() { 1 } else { spec.task_count() };
        let worst = (0..different).map(|index| {
            let needs = spec.needs(index);
            let holding = self
                .clusters
                .iter()
                .filter(|it| it.0.holds(needs.resources) && needs.hosts <= it.2);
            match holding.map(|it| it.1).max() {
                None => Fits::TooLarge,
                Some(longest_s) if needs.walltime_s.is_some_and(|it| it > longest_s) => {
                    Fits::TooLong
                }
                Some(_) => Fits::Yes,
            }
        });
        let fits = worst.fold(
            Fits::Yes,
            |worst, it| if it == Fits::Yes { worst } else { it },
        );
        self.known[place] = Some(fits);
        fits
    }
}

impl<'a> Recorded<'a> {
    fn new(setup: &Setup, workload: &'a Workload) -> Self {
        let sites: Vec<(u32, u32)> = setup
            .clusters
            .list
            .iter()
            .map(|it| (it.nodes, it.cores))
            .collect();
        let mut recorded = Self {
            workload,
            next: 0,
            runtimes: Vec::new(),
            recorder: Recorder::new(begin(workload), &sites),
            watch: None,
            observer: None,
            limits: Limits::new(&setup.clusters),
            too_large: 0,
            too_long: 0,
            over: 0,
            submitted: 0,
        };
        recorded.skip_what_never_runs();
        recorded
    }

    /// Leaves out jobs that cannot run anywhere.
    fn skip_what_never_runs(&mut self) {
        while let Some(job) = self.workload.jobs.get(self.next) {
            let tasks = u64::from(self.workload.specs[job.spec as usize].task_count());
            match self.limits.judge(job.spec, self.workload) {
                Fits::Yes => return,
                Fits::TooLarge => self.too_large += tasks,
                Fits::TooLong => self.too_long += tasks,
            }
            self.next += 1;
        }
    }

    fn submission(&self, job: &SimJob) -> Option<Submission> {
        let workload = self.workload;
        let owner: &UserName = workload.users.get(job.user as usize)?;
        Some(Submission {
            owner: owner.clone(),
            group: job
                .group
                .and_then(|it| workload.groups.get(it as usize).cloned()),
            // Decisions are made from what was read of it.
            jdl: String::new(),
            spec: Arc::clone(workload.specs.get(job.spec as usize)?),
            sandbox: None,
            named: Vec::new(),
            idempotency: None,
        })
    }
}

/// When the first job is submitted.
fn begin(workload: &Workload) -> Timestamp {
    workload.jobs.first().map_or(Timestamp(0), |job| job.at)
}

impl Scenario for Recorded<'_> {
    fn next_arrival(&self) -> Option<Timestamp> {
        self.workload.jobs.get(self.next).map(|job| job.at)
    }

    fn arrive(&mut self) -> Option<Submission> {
        let job = *self.workload.jobs.get(self.next)?;
        let submission = self.submission(&job)?;
        self.runtimes.push(job.first);
        self.submitted += u64::from(submission.spec.task_count());
        self.next += 1;
        self.skip_what_never_runs();
        Some(submission)
    }

    fn runtime_ms(&mut self, _: &State, task: TaskId) -> u64 {
        let job = usize::try_from(task.job.0).unwrap_or(usize::MAX);
        let first = self.runtimes.get(job.wrapping_sub(1));
        let place = first.map(|first| first + task.index as usize);
        place
            .and_then(|it| self.workload.runtimes_ms.get(it).copied())
            .unwrap_or_default()
    }

    fn heard(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Task(task) if task.state.is_final() => self.over += 1,
            Change::TaskRange {
                from, to, state, ..
            } if state.is_final() => self.over += u64::from(to - from),
            _ => {}
        }
        self.recorder.heard(change, now);
        if let Some(watch) = &mut self.watch {
            watch(change, now);
        }
        if let Some(observer) = &mut self.observer {
            observer.heard(change, now);
        }
    }

    fn moment(&mut self, state: &State, now: Timestamp) {
        if let Some(observer) = &mut self.observer {
            observer.moment(state, now);
        }
    }

    fn pilot_runs(&mut self, id: PilotId, pilot: &SimPilot, _: Timestamp) {
        self.recorder.pilot_runs(id, pilot);
    }

    fn pilot_over(&mut self, _: PilotId, pilot: &SimPilot, now: Timestamp) {
        self.recorder.pilot_over(pilot, now);
    }

    fn is_over(&self) -> bool {
        self.next_arrival().is_none() && self.over == self.submitted
    }
}

/// The world at its beginning.
fn world<'a>(
    setup: &Setup,
    workload: &Workload,
    policy: Policy,
    scenario: Recorded<'a>,
) -> Result<World<Recorded<'a>>, SimError> {
    let clusters = &setup.clusters;
    let now = begin(workload);
    let snapshot = Snapshot {
        policy: Some(policy),
        ..Snapshot::default()
    };
    let mut state = State::load(snapshot, clusters.settings(), now);
    let by: UserName = "simulator".parse().map_err(|_| unfit("its operator"))?;
    let mut places = Vec::new();
    for cluster in &clusters.list {
        let site = cluster.site(clusters.pilots);
        let site = Box::new(site.ok_or_else(|| unfit(cluster.name.as_str()))?);
        let by = by.clone();
        let applied = state.apply(Command::PutSite { site, by }, now);
        applied.reply.map_err(|refused| SimError::Text {
            what: "cluster file",
            reason: refused.reason,
        })?;
        places.push(place(cluster, clusters.pilots).ok_or_else(|| unfit(cluster.name.as_str()))?);
    }
    let longest_s = longest_walltime_s(workload);
    let rules = Rules {
        seed: setup.seed,
        supply: clusters.pilots,
        tick_ms: clusters.tick_s * 1000,
        look_ms: clusters.look_s * 1000,
        plan_ms: clusters.plan_s * 1000,
        until: match setup.until_s {
            Some(seconds) => now.plus(std::time::Duration::from_secs(seconds)),
            None => Timestamp(i64::MAX),
        },
        patience_ms: PATIENCE_MS.saturating_add(longest_s.saturating_mul(2000)),
        events_max: EVENTS_MAX,
        doze: false,
    };
    let mut world = World::new(state, scenario, places, rules, now);
    if clusters.pilots == PilotSupply::Standing {
        world.stand();
    }
    Ok(world)
}

fn unfit(name: &str) -> SimError {
    SimError::Text {
        what: "cluster file",
        reason: format!("`{name}` cannot be the name of a site"),
    }
}

fn longest_walltime_s(workload: &Workload) -> u64 {
    let runtimes = workload.runtimes_ms.iter().copied().max();
    runtimes.map_or(0, |ms| ms / 1000)
}

fn place(cluster: &Cluster, supply: PilotSupply) -> Option<Place> {
    let standing = supply == PilotSupply::Standing;
    let untold_memory = cluster.memory_mib == 0;
    let batch = Batch::new(
        cluster.ce_id()?,
        cluster.nodes,
        cluster.node(),
        untold_memory,
    );
    Some(Place {
        batch,
        speed: cluster.speed,
        delay: Delay::Drawn(if standing {
            Distribution::default()
        } else {
            cluster.delay.clone()
        }),
        start_ms: if standing {
            0
        } else {
            cluster.pilot.start_s * 1000
        },
        idle_ms: cluster.pilot.idle_s * 1000,
        faults: cluster.faults.clone(),
    })
}

/// Draws up what was measured.
fn draw_up(mut world: World<Recorded<'_>>, stopped: Stopped, name: &str, setup: &Setup) -> Outcome {
    let (too_large, too_long) = (world.scenario.too_large, world.scenario.too_long);
    let mut outcome = finish(&mut world, stopped, name, &setup.targets, |scenario| {
        &mut scenario.recorder
    });
    outcome.tasks.too_large = too_large;
    outcome.tasks.too_long = too_long;
    outcome
}

/// Draws up what `recorder` has measured of a world that has come to its end.
pub(crate) fn finish<S: Scenario>(
    world: &mut World<S>,
    stopped: Stopped,
    name: &str,
    targets: &Targets,
    recorder: impl for<'a> Fn(&'a mut S) -> &'a mut Recorder,
) -> Outcome {
    let last_end = recorder(&mut world.scenario).last_end();
    let now = match stopped {
        Stopped::Late => world.now,
        // What was waited for in vain is nobody's time.
        Stopped::Done | Stopped::Stuck | Stopped::Exhausted => last_end.max(Timestamp(0)),
    };
    let running: Vec<_> = world
        .still_running()
        .map(|(id, _, task)| (task.task, id, task.resources.cores, task.started))
        .collect();
    let pilots: Vec<SimPilot> = std::mem::take(&mut world.pilots).into_values().collect();
    let recorder = recorder(&mut world.scenario);
    for (task, pilot, cores, from) in running {
        recorder.still_runs(task, pilot, cores, from, now);
    }
    for pilot in pilots
        .iter()
        .filter(|it| it.phase != crate::world::Phase::Queued)
    {
        recorder.pilot_over(pilot, now);
    }
    let mut outcome = recorder.finish(name, targets, now);
    outcome.pilots.asked = world.asked;
    outcome.pilots.recalled = world.recalled;
    outcome.stopped = match stopped {
        Stopped::Done => None,
        Stopped::Late => Some("the time to simulate was over".into()),
        Stopped::Stuck => Some("nothing happened any more: what still waits cannot run".into()),
        Stopped::Exhausted => Some("more happened than can be simulated".into()),
    };
    outcome
}
