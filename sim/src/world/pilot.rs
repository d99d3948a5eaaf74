//! What pilots say and do: they call home, ask for work, start it, report its end, and leave.

use std::time::Duration;

use fairway_model::{Attempt, AttemptEnd, Order, PilotId, Resources, TaskId, Timestamp};
use fairway_sched::command::{AttemptNews, AttemptReport, Observation, PilotWant};
use fairway_sched::{Command, Grant, Reply};

use super::{Happening, Scenario, World, millis};
use crate::clusters::PilotSupply;
use crate::numbers::Rng;

/// What starts on a black hole is over after so long.
const BLACK_HOLE_MS: u64 = 1000;

/// A pilot asks again so many times at one moment at most; more would mean that it is not
/// understood.
const TALKS_MAX: usize = 100_000;

/// Where a pilot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In the batch system's queue.
    Queued,
    /// Started, and not heard of yet.
    Starting,
    /// It has called home.
    Active,
}

/// A task that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    pub(crate) resources: Resources,
    pub(crate) started: Timestamp,
    /// How it will end if nothing comes in between.
    fate: AttemptEnd,
}

/// A pilot.
#[derive(Clone, Debug)]
pub(crate) struct SimPilot {
    /// Which site.
    pub(crate) place: usize,
    /// The first pilot of its allocation.
    pub(crate) first: PilotId,
    /// Which node.
    pub(crate) node: u32,
    pub(crate) phase: Phase,
    /// What it has.
    pub(crate) resources: Resources,
    pub(crate) walltime_ms: u64,
    /// When the batch system started it.
    pub(crate) since: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) free: Resources,
    pub(crate) tasks: Vec<Running>,
    /// Whether it ever had a task.
    pub(crate) useful: bool,
    /// It takes no more work.
    pub(crate) leaving: bool,
    /// It is to stay without a task of its own.
    pub(crate) stays: bool,
    /// Number of its last wish.
    pub(crate) round: u64,
    /// It has had no work since the timer of this number was set.
    pub(crate) idle: Option<u32>,
    pub(crate) spell: u32,
}

impl SimPilot {
    pub(crate) fn new(
        place: usize,
        first: PilotId,
        resources: Resources,
        walltime_ms: u64,
    ) -> Self {
        Self {
            place,
            first,
            node: 0,
            phase: Phase::Queued,
            resources,
            walltime_ms,
            since: Timestamp(0),
            ends_at: Timestamp(i64::MAX),
            free: resources,
            tasks: Vec::new(),
            useful: false,
            leaving: false,
            stays: false,
            round: 0,
            idle: None,
            spell: 0,
        }
    }

    /// Counts what its tasks leave free. Those that wait at it for others leave nothing.
    fn count_free(&mut self) {
        let mut free = self.resources;
        for task in &self.tasks {
            free = Resources {
                cores: free.cores.saturating_sub(task.resources.cores),
                memory_mib: free.memory_mib.saturating_sub(task.resources.memory_mib),
                gpus: free.gpus.saturating_sub(task.resources.gpus),
            };
        }
        self.free = free;
    }
}

fn report(running: &Running, what: AttemptNews) -> AttemptReport {
    AttemptReport {
        task: running.task,
        attempt: running.attempt,
        what,
    }
}

fn ended(running: &Running, end: AttemptEnd, now: Timestamp) -> AttemptReport {
    let wall_ms = u64::try_from(now.since(running.started).as_millis()).unwrap_or(u64::MAX);
    let what = AttemptNews::Ended {
        end,
        wall_ms,
        cpu_ms: wall_ms.saturating_mul(u64::from(running.resources.cores)),
        memory_peak_kib: 0,
    };
    report(running, what)
}

impl<S: Scenario> World<S> {
    /// The first call of a pilot that has been started.
    pub(super) fn call(&mut self, id: PilotId) {
        let Some(pilot) = self.pilots.get_mut(&id) else {
            return;
        };
        if pilot.phase != Phase::Starting {
            return;
        }
        pilot.phase = Phase::Active;
        let remaining_s = pilot.ends_at.since(self.now).as_secs();
        let site = &self.places[pilot.place].batch.ce.site;
        let command = Command::RegisterPilot {
            pilot: id,
            bootstrap_hash: super::supply::HASH.into(),
            nonce_hash: "nonce".into(),
            session_hash: "session".into(),
            host: super::supply::host(site, pilot.node),
            resources: pilot.resources,
            remaining_s,
        };
        match self.apply(command).0 {
            Ok(_) => self.talk(id, Vec::new()),
            Err(_) => self.close(id),
        }
    }

    /// A pilot reports, asks for work as long as it has room, and takes what it gets.
    pub(crate) fn talk(&mut self, id: PilotId, mut reports: Vec<AttemptReport>) {
        for _ in 0..TALKS_MAX {
            let Some(pilot) = self.pilots.get_mut(&id) else {
                return;
            };
            let wants = pilot.free.cores > 0 && !pilot.leaving;
            if reports.is_empty() && !wants {
                break;
            }
            let want = wants.then(|| {
                pilot.round += 1;
                PilotWant {
                    round: pilot.round,
                    remaining_s: pilot.ends_at.since(self.now).as_secs(),
                    backlog: 0,
                    staying: pilot.stays,
                }
            });
            // What it holds matters only with a wish.
            let held = pilot.tasks.iter().filter(|_| wants);
            let command = Command::Sync {
                pilot: id,
                holding: held.map(|it| (it.task, it.attempt)).collect(),
                reports: std::mem::take(&mut reports),
                want,
            };
            let (reply, changed) = self.apply(command);
            let Ok(reply) = reply else {
                self.close(id);
                return;
            };
            let told;
            (reports, told) = self.take(id, reply);
            // Nothing to tell and nothing changed: the wish stays open.
            if reports.is_empty() && !told && !changed {
                break;
            }
        }
        self.settle_down(id);
    }

    /// A pilot gets an answer. What it has to report of it, and whether there was anything.
    fn take(&mut self, id: PilotId, reply: Reply) -> (Vec<AttemptReport>, bool) {
        let Reply::Synced {
            grants,
            orders,
            drain,
            stay,
        } = reply
        else {
            return (Vec::new(), false);
        };
        let told = !grants.is_empty() || !orders.is_empty();
        let mut reports = Vec::new();
        for (task, attempt, order) in orders {
            let end = match order {
                Order::WriteOff => None,
                Order::Cancel => Some(AttemptEnd::Cancelled),
                // Payloads here cannot sleep: they end at once, and begin anew elsewhere.
                Order::GiveWay { .. } | Order::Suspend => Some(AttemptEnd::HandedBack {
                    reason: "it gave way".into(),
                }),
                Order::Resume => continue,
            };
            let stopped = self.forget(id, task, attempt);
            if let Some((running, end)) = stopped.zip(end) {
                reports.push(ended(&running, end, self.now));
            }
        }
        for grant in grants {
            reports.extend(self.start(id, &grant));
        }
        if let Some(pilot) = self.pilots.get_mut(&id) {
            pilot.leaving |= drain;
            pilot.stays = stay.unwrap_or(pilot.stays);
        }
        (reports, told)
    }

    /// Starts a task on a pilot.
    fn start(&mut self, id: PilotId, grant: &Grant) -> Option<AttemptReport> {
        let limit_ms = grant.needs.walltime_s.map(|s| s.saturating_mul(1000));
        let (after_ms, fate) = self.fate(id, grant, limit_ms)?;
        let running = Running {
            task: grant.task,
            attempt: grant.attempt,
            resources: grant.resources,
            started: self.now,
            fate,
        };
        let report = report(&running, AttemptNews::Started);
        let exit = Happening::Exit {
            pilot: id,
            task: grant.task,
            attempt: grant.attempt,
        };
        self.begin(id, running, after_ms, exit)?;
        Some(report)
    }

    fn begin(
        &mut self,
        id: PilotId,
        running: Running,
        after_ms: u64,
        exit: Happening,
    ) -> Option<()> {
        let pilot = self.pilots.get_mut(&id)?;
        pilot.useful = true;
        pilot.idle = None;
        pilot.tasks.push(running);
        pilot.count_free();
        self.running += 1;
        self.after(after_ms, exit);
        Some(())
    }

    /// Takes in a task that has been running on a pilot for a while, and will for so long.
    pub(crate) fn resume(
        &mut self,
        id: PilotId,
        (task, attempt): (TaskId, Attempt),
        resources: Resources,
        left_ms: u64,
    ) {
        let running = Running {
            task,
            attempt,
            resources,
            started: self.now,
            fate: AttemptEnd::Exited { code: 0 },
        };
        let exit = Happening::Exit {
            pilot: id,
            task,
            attempt,
        };
        let _ = self.begin(id, running, left_ms, exit);
    }

    /// When and how an attempt ends by itself.
    fn fate(
        &mut self,
        id: PilotId,
        grant: &Grant,
        limit_ms: Option<u64>,
    ) -> Option<(u64, AttemptEnd)> {
        let pilot = self.pilots.get(&id)?;
        let place = &self.places[pilot.place];
        if pilot.node < place.faults.black_holes {
            return Some((BLACK_HOLE_MS, AttemptEnd::Exited { code: 127 }));
        }
        let (speed, failure) = (place.speed, place.faults.task_failure);
        let runtime_ms = self.scenario.runtime_ms(&self.state, grant.task);
        let mut after_ms = (runtime_ms as f64 / speed).round() as u64;
        let mut end = AttemptEnd::Exited { code: 0 };
        if failure > 0.0 {
            let task = grant.task;
            let key = [task.job.0, task.index.into(), grant.attempt.0.into()];
            let mut rng = Rng::keyed(self.rules.seed, &key);
            if rng.unit() < failure {
                after_ms = (after_ms as f64 * rng.unit()).round() as u64;
                end = AttemptEnd::Exited { code: 1 };
            }
        }
        if let Some(limit_ms) = limit_ms.filter(|limit| after_ms > *limit) {
            after_ms = limit_ms;
            end = AttemptEnd::WalltimeExceeded {
                limit_s: limit_ms / 1000,
            };
        }
        Some((after_ms, end))
    }

    /// A task's process ends.
    pub(super) fn exit(&mut self, id: PilotId, task: TaskId, attempt: Attempt) {
        if let Some(running) = self.forget(id, task, attempt) {
            let end = running.fate.clone();
            let report = ended(&running, end, self.now);
            self.talk(id, vec![report]);
        }
    }

    /// Takes a task away from a pilot.
    fn forget(&mut self, id: PilotId, task: TaskId, attempt: Attempt) -> Option<Running> {
        let pilot = self.pilots.get_mut(&id)?;
        let mut tasks = pilot.tasks.iter();
        let at = tasks.position(|it| it.task == task && it.attempt == attempt)?;
        let running = pilot.tasks.remove(at);
        pilot.count_free();
        self.running -= 1;
        Some(running)
    }

    /// What a pilot does when there is nothing to say: it leaves if it is to, and looks at the
    /// clock if it has no work.
    fn settle_down(&mut self, id: PilotId) {
        let Some(pilot) = self.pilots.get_mut(&id) else {
            return;
        };
        if !pilot.tasks.is_empty() {
            return;
        }
        if pilot.stays && !pilot.leaving {
            pilot.idle = None;
            return;
        }
        if pilot.leaving {
            self.leave(id, "drained");
        } else if self.rules.supply == PilotSupply::Batch && pilot.idle.is_none() {
            pilot.spell += 1;
            pilot.idle = Some(pilot.spell);
            let (spell, idle_ms) = (pilot.spell, self.places[pilot.place].idle_ms);
            self.after(idle_ms, Happening::Idle { pilot: id, spell });
        }
    }

    pub(super) fn idle(&mut self, id: PilotId, spell: u32) {
        if self
            .pilots
            .get(&id)
            .is_some_and(|it| it.idle == Some(spell))
        {
            self.leave(id, "no work");
        }
    }

    fn leave(&mut self, id: PilotId, reason: &str) {
        let reason = reason.to_owned();
        let _ = self.apply(Command::Goodbye { pilot: id, reason });
        self.close(id);
    }

    /// The allocation is over: the pilot hands back what it has.
    pub(super) fn expire(&mut self, id: PilotId) {
        let Some(pilot) = self.pilots.get_mut(&id) else {
            return;
        };
        pilot.leaving = true;
        let tasks = std::mem::take(&mut pilot.tasks);
        self.running -= tasks.len() as u64;
        let back = |running: &Running| {
            let reason = "the pilot's allocation is over".into();
            ended(running, AttemptEnd::HandedBack { reason }, self.now)
        };
        let reports: Vec<AttemptReport> = tasks.iter().map(back).collect();
        if !reports.is_empty() {
            let _ = self.apply(Command::Sync {
                pilot: id,
                reports,
                holding: Vec::new(),
                want: None,
            });
        }
        self.leave(id, "its allocation is over");
    }

    /// The pilot fails, and nobody is told.
    pub(super) fn die(&mut self, id: PilotId) {
        if self.pilots.contains_key(&id) {
            self.close(id);
            self.after(self.rules.look_ms, Happening::Discovery(id));
        }
    }

    /// A look shows that it has failed.
    pub(super) fn discover(&mut self, id: PilotId) {
        let detail = "its node failed".to_owned();
        let seen = vec![(id, Observation::Ended { detail })];
        let _ = self.apply(Command::ObservePilots(seen));
        // What it had waits again, though nothing was going on any more.
        self.wake();
        if self.rules.supply == PilotSupply::Standing {
            self.stand();
        }
    }

    /// A pilot is gone from the world, whatever the scheduler knows of it.
    pub(super) fn close(&mut self, id: PilotId) {
        let Some(pilot) = self.pilots.remove(&id) else {
            return;
        };
        self.running -= pilot.tasks.len() as u64;
        let batch = &mut self.places[pilot.place].batch;
        if pilot.phase == Phase::Queued {
            batch.withdraw(pilot.first);
            return;
        }
        batch.release(pilot.node, pilot.resources);
        self.scenario.pilot_over(id, &pilot, self.now);
        self.start_jobs(pilot.place);
    }

    /// Answers wishes that are open, until there is nothing more to answer.
    pub(super) fn serve(&mut self) {
        for _ in 0..TALKS_MAX {
            let Ok(Reply::Served(answers)) = self.apply(Command::Serve).0 else {
                return;
            };
            if answers.is_empty() {
                return;
            }
            for (id, reply) in answers {
                let (reports, _) = self.take(id, reply);
                self.talk(id, reports);
            }
        }
    }

    /// Puts a pilot on the clock that has been started.
    pub(super) fn put_on_the_clock(&mut self, id: PilotId, start_ms: u64) {
        let Some(pilot) = self.pilots.get_mut(&id) else {
            return;
        };
        pilot.phase = Phase::Starting;
        pilot.since = self.now;
        pilot.ends_at = self.now.plus(millis(pilot.walltime_ms));
        let ends_at = pilot.ends_at;
        let mtbf_hours = self.places[pilot.place].faults.pilot_mtbf_hours;
        self.scenario.pilot_runs(id, pilot, self.now);
        self.after(start_ms, Happening::Call(id));
        // A task that ends in the last moment has ended.
        let last = ends_at.plus(Duration::from_millis(1));
        self.agenda.note(last, Happening::Expiry(id));
        if mtbf_hours > 0.0 {
            let mut rng = Rng::keyed(self.rules.seed, &[u64::MAX, id.0]);
            let life_ms = (mtbf_hours * 3_600_000.0 * rng.exponential()).min(1e15);
            self.after(life_ms as u64, Happening::Death(id));
        }
    }
}
