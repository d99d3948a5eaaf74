//! A history as it is played: the server and its pilots take one step after another.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::event::TaskVerb;
use fairway_model::policy::Qos;
use fairway_model::{
    CeStatus, JobId, PilotOwner, PilotSharing, Policy, PolicyKind, TaskId, TaskState,
};
use fairway_sched::command::{Observation, Selection};
use fairway_sched::{Command, RefusedKind};
use proptest::sample::Index;

use super::step::{CES, Fate, MORE, Step, USERS};
use super::{Run, pick};
use crate::documents::{GROUPS, QOS, TAG};
use crate::world::{World, dag, principal, site, sweep, user};

/// At most so many pilots are there.
const PILOTS_MAX: usize = 6;

impl Run {
    pub(super) fn new() -> Self {
        let mut world = World::new(PolicyKind::Fairshare, &CES);
        let mut site = site(&CES);
        for ce in &mut site.ces {
            ce.tags = vec![TAG.to_owned()];
            match ce.name.as_str() {
                "mine" => ce.pilots = PilotSharing::PerUser,
                "wide" => ce.shape.nodes = 2,
                "nodes" => {
                    ce.shape.nodes = 3;
                    ce.shape.whole_node = true;
                    ce.shape.custom = [("fpga".to_owned(), 2)].into_iter().collect();
                }
                _ => {}
            }
        }
        world.describe(site);
        let mut run = Self {
            world,
            agents: BTreeMap::new(),
            sent: Vec::new(),
        };
        run.world
            .set_policy(with_preemption(plain(PolicyKind::Fairshare)));
        run
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Submit {
                user,
                group,
                tasks,
                more,
            } => {
                let group = group.map(|group| GROUPS[group]);
                let jdl = sweep(*tasks, MORE[*more]);
                let reply = self.world.submit_for(USERS[*user], group, &jdl, None);
                reply.unwrap();
            }
            Step::SubmitGraph {
                user,
                retries,
                nodes,
            } => self.submit_graph(USERS[*user], *retries, nodes),
            Step::SubmitAfter {
                user,
                tasks,
                any,
                on,
            } => self.submit_after(USERS[*user], *tasks, *any, on),
            Step::NewPilot { ce, cores, owner } => self.new_pilot(CES[*ce], *cores, *owner),
            Step::NewAllocation {
                ce,
                cores,
                nodes,
                gang,
            } => self.new_allocation(CES[*ce], *cores, *nodes, *gang),
            Step::Sync {
                pilot,
                fate,
                wish,
                backlog,
            } => {
                if let Some(pilot) = self.agent(*pilot) {
                    self.sync(pilot, *fate, wish.then_some(*backlog));
                }
            }
            Step::Late { message } => {
                if let Some(place) = pick(0..self.sent.len(), *message) {
                    let command = self.sent[place].command();
                    let _ = self.world.ask(command);
                }
            }
            Step::Start { pilot, which } => {
                if let Some(pilot) = self.agent(*pilot) {
                    self.start(pilot, *which);
                }
            }
            Step::End { pilot, which, how } => {
                if let Some(pilot) = self.agent(*pilot) {
                    self.end(pilot, *which, *how);
                }
            }
            Step::LosePilot { pilot, observed } => {
                if let Some(pilot) = self.agent(*pilot) {
                    if *observed {
                        let seen = Observation::Ended {
                            detail: "NODE_FAIL".into(),
                        };
                        self.world.observe(pilot, seen);
                    } else {
                        // It may be given up already, which it does not know.
                        let _ = self.world.kill(pilot);
                    }
                }
            }
            Step::Goodbye { pilot } => {
                if let Some(pilot) = self.agent(*pilot) {
                    self.agents.get_mut(&pilot).unwrap().over = true;
                    let reason = "idle".to_owned();
                    let _ = self.world.ask(Command::Goodbye { pilot, reason });
                }
            }
            Step::Drain { pilot } => {
                if let Some(pilot) = self.agent(*pilot) {
                    let _ = self.world.ask(Command::DrainPilot { pilot });
                }
            }
            Step::Change { verb, job, some } => self.change(*verb, *job, *some),
            Step::Retry { job, some } => self.retry(*job, *some),
            Step::Pass { seconds } => {
                self.world.pass(*seconds);
                // Any command notices the time.
                self.world.ask(Command::ObservePilots(Vec::new())).unwrap();
            }
            Step::Serve => self.serve(),
            Step::Minute => self.minute(),
            Step::Tick => drop(self.world.ask(Command::Tick)),
            Step::Plan => self.plan(),
            Step::Policy(policy) => self.rehearse_and_set(policy),
            Step::Publish { ce, up } => self.world.publish(CES[*ce], |state| {
                if !up {
                    state.status = CeStatus::Draining;
                }
            }),
            Step::Restart => self.world.reload(),
        }
    }

    fn new_pilot(&mut self, ce: &str, cores: u32, owner: Option<usize>) {
        if self.alive().len() >= PILOTS_MAX {
            return;
        }
        let owner = owner.map_or(PilotOwner::Shared, |owner| {
            PilotOwner::User(user(USERS[owner]))
        });
        let pilot = self.world.planned_for(ce, cores, owner);
        self.world.register(pilot, "nonce", cores).unwrap();
        self.came(pilot);
    }

    fn new_allocation(&mut self, ce: &str, cores: u32, nodes: u32, gang: Option<usize>) {
        if self.alive().len() >= PILOTS_MAX {
            return;
        }
        let pilots = self.world.together(ce, cores, nodes);
        for pilot in &pilots {
            self.came(*pilot);
        }
        let Some(gang) = gang else { return };
        for pilot in pilots {
            self.sync(pilot, Fate::Arrives, Some(0));
        }
        let tasks = sweep(2, "CpuNumber = 2; HostNumber = 2;");
        self.world.submit(USERS[gang], &tasks);
        self.serve();
    }

    fn submit_graph(&mut self, owner: &str, retries: bool, nodes: &[(u32, Vec<Index>)]) {
        let parents = |place: usize, parents: &[Index]| -> BTreeSet<usize> {
            let before = parents.iter().filter(|_| place > 0);
            before.map(|parent| parent.index(place)).collect()
        };
        let nodes: Vec<(u32, Vec<usize>)> = nodes
            .iter()
            .enumerate()
            .map(|(place, (tasks, own))| (*tasks, parents(place, own).into_iter().collect()))
            .collect();
        let nodes: Vec<_> = nodes.iter().map(|(n, own)| (*n, own.as_slice())).collect();
        let more = if retries { "RetryCount = 1;" } else { "" };
        self.world.submit(owner, &dag(&nodes, more));
    }

    /// A job that waits for others of its owner.
    fn submit_after(&mut self, owner: &str, tasks: u32, any: bool, on: &[(usize, usize, u32)]) {
        let jobs = self.world.rows.jobs.values();
        let own = jobs.filter(|(job, ..)| job.owner.as_str() == owner);
        let own: Vec<(JobId, u32)> = own.map(|(job, ..)| (job.id, job.task_count)).collect();
        let kinds = ["after", "afterok", "afterany", "afternotok", "aftercorr"];
        let mut depends = Vec::new();
        let mut tasks = tasks;
        for &(kind, job, part) in on {
            let named = pick(own.iter().copied(), job);
            let Some(((job, count), kind)) = named.zip(kinds.get(kind)) else {
                depends.push("singleton".to_owned());
                continue;
            };
            if *kind == "aftercorr" {
                tasks = tasks.clamp(1, count);
                depends.push(format!("{kind}:{job}"));
            } else if part < count {
                depends.push(format!(
                    "{kind}:{job}.{part}-{}",
                    (part + 2).min(count - 1).max(part)
                ));
            } else {
                depends.push(format!("{kind}:{job}"));
            }
        }
        let depends = depends.join(if any { "?" } else { "," });
        let corr = depends.contains("aftercorr");
        let depends = format!("Depends = \"{depends}\";");
        let text = match tasks {
            0 if !corr => {
                let text = dag(&[(1, &[]), (2, &[0])], "");
                text.replacen("[ Type", &format!("[ {depends} Type"), 1)
            }
            tasks => sweep(tasks.max(1), &depends),
        };
        self.world.submit(owner, &text);
    }

    fn change(&mut self, verb: usize, job: usize, some: Option<u32>) {
        let Some(job) = pick(self.world.rows.jobs.keys().copied(), job) else {
            return;
        };
        let verb = [
            TaskVerb::Cancel,
            TaskVerb::Hold,
            TaskVerb::Release,
            TaskVerb::Suspend,
            TaskVerb::Resume,
        ][verb];
        let by = principal(self.world.rows.jobs[&job].0.owner.as_str());
        let tasks = match some {
            None => Selection::Job(job),
            Some(from) => {
                let ids = (from..from + 4).map(|index| TaskId::new(job, index));
                Selection::Tasks(ids.collect())
            }
        };
        let over = self.world.rows.jobs[&job].2.is_some();
        let whole = some.is_none();
        let reply = self.world.ask(Command::ChangeTasks { verb, tasks, by });
        assert_eq!(reply.is_err(), over && whole);
    }

    fn retry(&mut self, job: usize, some: Option<u32>) {
        let Some(job) = pick(self.world.rows.jobs.keys().copied(), job) else {
            return;
        };
        let owner = self.world.rows.jobs[&job].0.owner.to_string();
        let row = some.map_or(0..u32::MAX, |from| from..from + 3);
        // That all of it is over, and nothing to be retried, is a conflict.
        let refused = self.world.retry_row(job, row, &owner).err();
        assert!(refused.is_none_or(|it| it.kind == RefusedKind::Conflict));
    }

    /// What was told would follow is what follows.
    fn rehearse_and_set(&mut self, policy: &Policy) {
        assert_eq!(policy.check(), Ok(()));
        let told = self.world.state.what_if(policy, self.world.now);
        self.world.set_policy(policy.clone());
        let seen = self.world.state.what_if(policy, self.world.now);
        assert_eq!(told.next_after, seen.next_before);
        assert_eq!((seen.places, seen.held), (vec![], vec![]));
    }

    /// Pilots are planned and at once called back, or refused.
    fn plan(&mut self) {
        let (orders, waiting) = (self.world.plan().orders, self.world.state.waiting());
        assert!(
            orders.len() as u64 <= waiting,
            "never more allocations than work"
        );
        for pilot in self.world.carry_out() {
            self.world.observe(
                pilot.id,
                Observation::Submitted {
                    batch_id: "1".into(),
                },
            );
            self.world.kill(pilot.id).unwrap();
        }
    }

    /// The faults stop: good pilots come, held tasks are released, and nothing is kept back by the
    /// policy any more, whose kind stays.
    pub(super) fn settle(&mut self) {
        let kind = self.world.state.policy().kind;
        self.world.set_policy(plain(kind));
        for ce in CES {
            self.world.publish(ce, |_| {});
        }
        for job in self.world.rows.jobs.keys().copied().collect::<Vec<JobId>>() {
            let owner = self.world.rows.jobs[&job].0.owner.to_string();
            if self.world.state.knows_job(job) {
                self.world
                    .change(TaskVerb::Release, Selection::Job(job), &owner);
            }
        }
        for ce in CES {
            // Others may have been set aside.
            let pilot = self.world.pilot_on(ce, 4, "fresh");
            self.came(pilot);
        }
        let together = self.world.planned_together("nodes", 4, 3);
        for (pilot, n) in together.into_iter().zip(1..) {
            let host = format!("fresh{n}");
            self.world.register_on(pilot, "nonce", 4, &host).unwrap();
            self.came(pilot);
        }
        for _ in 0..600 {
            for pilot in self.alive() {
                self.end(pilot, 0, 6);
                self.sync(pilot, Fate::Arrives, Some(0));
            }
            self.serve();
            let rows = &self.world.rows;
            let over = rows.tasks.values().all(|task| {
                let states = || rows.tasks_of(task.id.job).map(|task| task.state);
                match task.state {
                    // Released only after they came back.
                    TaskState::Held => true,
                    TaskState::Blocked if self.world.specs[&task.id.job].depends().is_some() => {
                        true
                    }
                    TaskState::Blocked => states().any(|state| state == TaskState::Held),
                    state => state.is_final(),
                }
            });
            if over {
                return;
            }
        }
        let left: Vec<_> = self
            .world
            .rows
            .tasks
            .values()
            .filter(|t| !t.state.is_final())
            .collect();
        panic!("not over: {left:#?}");
    }
}

/// Urgent tasks go before all others, polite ones give way, and the plain go before the polite.
fn with_preemption(mut policy: Policy) -> Policy {
    policy.preemption.enabled = true;
    policy.preemption.again_after_s = 600;
    for qos in &mut policy.qos {
        match qos.name.as_str() {
            "urgent" => qos.tier = 1,
            "polite" => (qos.tier, qos.preemptible) = (-1, true),
            _ => {}
        }
    }
    policy
}

/// A policy that keeps nothing back.
fn plain(kind: PolicyKind) -> Policy {
    let qos = |name: &str| Qos {
        name: name.into(),
        usage_factor: 1.0,
        ..Qos::default()
    };
    Policy {
        kind,
        qos: QOS.map(qos).into(),
        ..Policy::default()
    }
}
