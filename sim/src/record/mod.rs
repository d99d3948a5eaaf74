//! Looks on and measures. It knows nothing but what the scheduler wants to be durable, and which
//! pilot is where.

pub(crate) mod gantt;
pub(crate) mod metrics;
pub(crate) mod series;

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{
    Job, JobId, PilotId, Task, TaskId, TaskState, Timestamp, UsageRecord, UserName,
};
use fairway_sched::Change;

use crate::world::SimPilot;
use gantt::{Bar, Gantt};
use metrics::{
    Outcome, PilotCounts, Point, Slowdowns, Targets, TaskCounts, UserOutcome, Waits,
    bounded_slowdown, jain, quantile, share_error,
};
use series::{STRETCHES_MAX, Series, Use};

/// So many users' shares are shown over time.
pub(crate) const SHOWN_MAX: usize = 7;

#[derive(Clone, Debug)]
struct User {
    name: UserName,
    /// Tasks that are not over.
    open: u64,
    /// Since when there are any.
    since: Timestamp,
    ended: u64,
    core_ms: u64,
    wait_ms: u64,
    slowdown: f64,
}

/// What is noted of a run.
pub(crate) struct Recorder {
    begin: Timestamp,
    last_end: Timestamp,
    users: Vec<User>,
    by_name: BTreeMap<UserName, usize>,
    /// The owner and submission of each job; jobs are numbered from 1 in order.
    jobs: Vec<(u32, Timestamp)>,
    /// The same of jobs that were there before the run began.
    adopted: BTreeMap<JobId, (u32, Timestamp)>,
    /// Tasks that had an attempt before the run began: how long they waited is not this run's.
    begun: BTreeSet<TaskId>,
    /// When tasks that are tried again were started first.
    first_starts: BTreeMap<TaskId, Timestamp>,
    waits_ms: Vec<u64>,
    slowdowns: Vec<f32>,
    tasks: TaskCounts,
    pilots: PilotCounts,
    pilot_core_ms: u64,
    busy_core_ms: u64,
    series: Series<Use>,
    gantt: Gantt,
    /// The number of each site's first node.
    first_nodes: Vec<u32>,
    /// Where the pilots are that run.
    nodes: BTreeMap<PilotId, u32>,
}

impl Recorder {
    /// A recorder of sites with so many nodes of so many cores.
    pub(crate) fn new(begin: Timestamp, sites: &[(u32, u32)]) -> Self {
        let mut first_nodes = Vec::new();
        let mut cores = Vec::new();
        for &(nodes, each) in sites {
            first_nodes.push(u32::try_from(cores.len()).unwrap_or(u32::MAX));
            cores.extend(std::iter::repeat_n(each, nodes as usize));
        }
        Self {
            begin,
            last_end: begin,
            users: Vec::new(),
            by_name: BTreeMap::new(),
            jobs: Vec::new(),
            adopted: BTreeMap::new(),
            begun: BTreeSet::new(),
            first_starts: BTreeMap::new(),
            waits_ms: Vec::new(),
            slowdowns: Vec::new(),
            tasks: TaskCounts::default(),
            pilots: PilotCounts::default(),
            pilot_core_ms: 0,
            busy_core_ms: 0,
            series: Series::new(begin, STRETCHES_MAX),
            gantt: Gantt::new(begin, cores),
            first_nodes,
            nodes: BTreeMap::new(),
        }
    }

    /// Takes in a job that was there before the run began, with its tasks that are not over.
    pub(crate) fn adopt(&mut self, job: &Job, open: u64) {
        let now = self.begin;
        let user = self.user(&job.owner, now);
        self.adopted.insert(job.id, (user as u32, job.submitted_at));
        self.tasks.submitted += open;
        self.opens(user, open, now);
    }

    /// Notes that a task had been given to a pilot before the run began.
    pub(crate) fn has_begun(&mut self, task: TaskId) {
        self.begun.insert(task);
    }

    pub(crate) fn heard(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::NewJob { job, .. } => {
                let user = self.user(&job.owner, now);
                self.jobs.push((user as u32, now));
                self.tasks.submitted += u64::from(job.task_count);
                self.opens(user, job.task_count.into(), now);
            }
            Change::Task(task) => self.task(task, now),
            Change::TaskRange {
                job,
                from,
                to,
                state,
                ..
            } if state.is_final() => {
                let tasks = u64::from(to - from);
                self.tasks.cancelled += tasks;
                if let Some((user, _)) = self.job(*job) {
                    self.closes(user, tasks, now);
                }
            }
            Change::Usage(record) => self.used(record),
            _ => {}
        }
    }

    fn user(&mut self, name: &UserName, now: Timestamp) -> usize {
        if let Some(&place) = self.by_name.get(name) {
            return place;
        }
        let place = self.users.len();
        self.by_name.insert(name.clone(), place);
        self.users.push(User {
            name: name.clone(),
            open: 0,
            since: now,
            ended: 0,
            core_ms: 0,
            wait_ms: 0,
            slowdown: 0.0,
        });
        place
    }

    fn job(&self, id: JobId) -> Option<(usize, Timestamp)> {
        if let Some(&(user, at)) = self.adopted.get(&id) {
            return Some((user as usize, at));
        }
        let place = usize::try_from(id.0.checked_sub(1)?).ok()?;
        self.jobs.get(place).map(|&(user, at)| (user as usize, at))
    }

    fn opens(&mut self, user: usize, tasks: u64, now: Timestamp) {
        let user = &mut self.users[user];
        if user.open == 0 {
            user.since = now;
        }
        user.open += tasks;
    }

    fn closes(&mut self, place: usize, tasks: u64, now: Timestamp) {
        let user = &mut self.users[place];
        user.open = user.open.saturating_sub(tasks);
        if user.open == 0 {
            let since = user.since;
            self.series
                .spread(since, now, |stretch, ms| stretch.present(place, ms));
        }
    }

    fn task(&mut self, task: &Task, now: Timestamp) {
        if task.state == TaskState::Waiting {
            self.tasks.retried += 1;
            if let Some(at) = task.started_at {
                self.first_starts.entry(task.id).or_insert(at);
            }
        }
        if !task.state.is_final() {
            return;
        }
        let count = match task.state {
            TaskState::Succeeded => &mut self.tasks.succeeded,
            TaskState::Failed => &mut self.tasks.failed,
            _ => &mut self.tasks.cancelled,
        };
        *count += 1;
        let Some((place, submitted)) = self.job(task.id.job) else {
            return;
        };
        self.closes(place, 1, now);
        self.last_end = self.last_end.max(now);
        let first = self.first_starts.remove(&task.id).or(task.started_at);
        let (Some(first), Some(last)) = (first, task.started_at) else {
            return;
        };
        if self.begun.remove(&task.id) {
            self.users[place].ended += 1;
            return;
        }
        let wait_ms = u64::try_from(first.since(submitted).as_millis()).unwrap_or(u64::MAX);
        let response_s = now.since(submitted).as_secs_f64();
        let slowdown = bounded_slowdown(response_s, now.since(last).as_secs_f64());
        self.waits_ms.push(wait_ms);
        self.slowdowns.push(slowdown as f32);
        let user = &mut self.users[place];
        user.ended += 1;
        user.wait_ms = user.wait_ms.saturating_add(wait_ms);
        user.slowdown += slowdown;
    }

    fn used(&mut self, record: &UsageRecord) {
        if let (Some(from), Some((user, _))) = (record.started_at, self.job(record.task.job)) {
            self.ran(user, record.pilot, record.cores, from, record.ended_at);
        }
    }

    fn ran(&mut self, user: usize, pilot: PilotId, cores: u32, from: Timestamp, to: Timestamp) {
        let from = from.max(self.begin);
        let ms = u64::try_from(to.since(from).as_millis()).unwrap_or(0);
        let core_ms = ms.saturating_mul(u64::from(cores));
        self.users[user].core_ms += core_ms;
        self.busy_core_ms += core_ms;
        self.series.spread(from, to, |stretch, ms| {
            stretch.used(user, ms * u64::from(cores));
        });
        if let Some(&node) = self.nodes.get(&pilot) {
            self.gantt.add(Bar {
                node,
                user: user as u32,
                cores,
                from,
                to,
            });
        }
    }

    pub(crate) fn pilot_runs(&mut self, id: PilotId, pilot: &SimPilot) {
        self.pilots.started += 1;
        let node = self
            .first_nodes
            .get(pilot.place)
            .map(|first| first + pilot.node);
        self.nodes.insert(id, node.unwrap_or_default());
    }

    pub(crate) fn pilot_over(&mut self, pilot: &SimPilot, now: Timestamp) {
        self.pilots.wasted += u64::from(!pilot.useful);
        let cores = u64::from(pilot.resources.cores);
        let ms = u64::try_from(now.since(pilot.since).as_millis()).unwrap_or(0);
        self.pilot_core_ms += ms.saturating_mul(cores);
        self.series.spread(pilot.since, now, |stretch, ms| {
            stretch.pilots_core_ms += ms * cores;
        });
    }

    /// A task that was not over at the end.
    pub(crate) fn still_runs(
        &mut self,
        task: TaskId,
        pilot: PilotId,
        cores: u32,
        from: Timestamp,
        now: Timestamp,
    ) {
        if let Some((user, _)) = self.job(task.job) {
            self.last_end = self.last_end.max(now);
            self.ran(user, pilot, cores, from, now);
        }
    }

    /// When the last task ended.
    pub(crate) fn last_end(&self) -> Timestamp {
        self.last_end
    }

    /// Draws it all up.
    pub(crate) fn finish(&mut self, policy: &str, targets: &Targets, now: Timestamp) -> Outcome {
        for place in 0..self.users.len() {
            let open = self.users[place].open;
            self.tasks.unfinished += open;
            if open > 0 {
                self.closes(place, open, now);
            }
        }
        self.pilots.core_s = self.pilot_core_ms as f64 / 1000.0;
        let idle_ms = self.pilot_core_ms.saturating_sub(self.busy_core_ms);
        self.pilots.idle_core_s = idle_ms as f64 / 1000.0;
        let makespan_s = self.last_end.since(self.begin).as_secs_f64();
        let cores: u64 = self.gantt.cores.iter().map(|&cores| u64::from(cores)).sum();
        let offered_s = makespan_s * cores as f64;
        let shown = self.shown();
        self.gantt.users = self.users.iter().map(|it| it.name.clone()).collect();
        let series = self.points(&shown, targets, cores, makespan_s);
        let weighted = |value: fn(&Point) -> Option<f64>| mean(&series, value);
        Outcome {
            policy: policy.to_owned(),
            tasks: self.tasks,
            wait: waits(&mut self.waits_ms),
            slowdown: slowdowns(&mut self.slowdowns),
            utilisation: if offered_s > 0.0 {
                self.busy_core_ms as f64 / 1000.0 / offered_s
            } else {
                0.0
            },
            makespan_s,
            share_error: weighted(|point| point.share_error),
            jain: weighted(|point| point.jain),
            pilots: self.pilots,
            stopped: None,
            shown: shown
                .iter()
                .map(|&it| self.users[it].name.clone())
                .collect(),
            series,
            stretch_s: self.series.width_ms() as f64 / 1000.0,
            users: self
                .by_name
                .values()
                .map(|&it| outcome(&self.users[it]))
                .collect(),
            gantt: std::mem::take(&mut self.gantt),
        }
    }

    /// The users whose shares are shown: those who used most.
    fn shown(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.users.len()).collect();
        places.sort_by_key(|&it| (std::cmp::Reverse(self.users[it].core_ms), it));
        places.truncate(SHOWN_MAX);
        places
    }

    fn points(
        &self,
        shown: &[usize],
        targets: &Targets,
        cores: u64,
        makespan_s: f64,
    ) -> Vec<Point> {
        let width_s = self.series.width_ms() as f64 / 1000.0;
        let weights: Vec<f64> = self
            .users
            .iter()
            .map(|it| targets.weight(&it.name))
            .collect();
        let point = |(place, stretch): (usize, &Use)| {
            let at_s = place as f64 * width_s;
            let of = |values: &[u64], user: usize| values.get(user).map_or(0.0, |&v| v as f64);
            let usage: Vec<f64> = (0..weights.len())
                .map(|u| of(&stretch.core_ms, u))
                .collect();
            let wanted: Vec<f64> = weights
                .iter()
                .enumerate()
                .map(|(u, weight)| weight * of(&stretch.present_ms, u))
                .collect();
            let all: f64 = usage.iter().sum();
            let offered_ms = cores as f64 * 1000.0 * (makespan_s - at_s).clamp(1e-3, width_s);
            let part = |value: f64| if all > 0.0 { value / all } else { 0.0 };
            let mut shares: Vec<f64> = shown.iter().map(|&user| part(usage[user])).collect();
            let rest = if all > 0.0 {
                1.0 - shares.iter().sum::<f64>()
            } else {
                0.0
            };
            shares.push(rest.max(0.0));
            Point {
                at_s,
                utilisation: (all / offered_ms).min(1.0),
                pilots: (stretch.pilots_core_ms as f64 / offered_ms).min(1.0),
                share_error: share_error(&usage, &wanted),
                jain: jain(&usage, &wanted).filter(|_| all > 0.0),
                shares,
            }
        };
        self.series
            .stretches()
            .iter()
            .enumerate()
            .map(point)
            .collect()
    }
}

fn outcome(user: &User) -> UserOutcome {
    let n = user.ended.max(1) as f64;
    UserOutcome {
        user: user.name.clone(),
        tasks: user.ended,
        core_s: user.core_ms as f64 / 1000.0,
        wait_mean_s: user.wait_ms as f64 / 1000.0 / n,
        slowdown_mean: user.slowdown / n,
    }
}

/// The mean over time, each point by the work that was done in it.
fn mean(series: &[Point], value: fn(&Point) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for point in series {
        if let Some(value) = value(point) {
            sum += value * point.utilisation;
            weight += point.utilisation;
        }
    }
    (weight > 0.0).then(|| sum / weight)
}

fn waits(waits_ms: &mut [u64]) -> Waits {
    waits_ms.sort_unstable();
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let sum: u64 = waits_ms.iter().sum();
    Waits {
        mean_s: seconds(sum) / waits_ms.len().max(1) as f64,
        median_s: seconds(quantile(waits_ms, 0.5)),
        p95_s: seconds(quantile(waits_ms, 0.95)),
        max_s: seconds(waits_ms.last().copied().unwrap_or_default()),
    }
}

fn slowdowns(all: &mut [f32]) -> Slowdowns {
    all.sort_unstable_by(f32::total_cmp);
    let sum: f64 = all.iter().map(|&it| f64::from(it)).sum();
    Slowdowns {
        mean: sum / all.len().max(1) as f64,
        median: quantile(all, 0.5).into(),
        p95: quantile(all, 0.95).into(),
        max: all.last().copied().unwrap_or_default().into(),
    }
}
