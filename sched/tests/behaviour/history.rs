//! Random histories: several users and pilots, lost and repeated messages, lost pilots,
//! cancels and holds, restarts. After every step the invariants hold and the store and the
//! memory agree; when the faults stop, everything that can end ends.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::event::TaskVerb;
use fairway_model::policy::Qos;
use fairway_model::{
    Attempt, AttemptEnd, EventKind, JobId, Order, PilotId, PilotOwner, PilotSharing, PilotState,
    Policy, PolicyKind, TaskId, TaskState, Timestamp,
};
use fairway_sched::command::{AttemptNews, AttemptReport, Observation, PilotWant, Selection};
use fairway_sched::explain::explain;
use fairway_sched::{Command, Entity, RefusedKind, Reply, State};
use proptest::prelude::*;

use crate::depends::check_depends;
use crate::documents::{GROUPS, QOS, TAG, policy};
use crate::graphs::check_graph;
use crate::world::{HOUR_S, World, dag, ended, exit, sweep, user};

/// What tasks differ in.
const MORE: [&str; 22] = [
    "",
    "RetryCount = 1; ShallowRetryCount = 1;",
    "CpuNumber = 2;",
    "Rank = other.GlueCEName == \"short\" ? 1 : 0;",
    "Requirements = other.GlueCEName == \"long\" || _PARAM_ >= 3;",
    "Deadline = 40000; ExpectedDuration = 600;",
    "TimeCritical = true;",
    "Priority = 9;",
    "Priority = _PARAM_;",
    "QoS = \"urgent\";",
    "QoS = \"free\"; Priority = 3; CpuNumber = 3;",
    "Tags = { \"night\" };",
    "QueueName = \"slow\"; WallTime = 300;",
    "MinNumberOfProcessors = 1; MaxNumberOfProcessors = 3;",
    "WholeNode = true;",
    "CpuNumber = 2; HostNumber = 2;",
    "CpuNumber = 6; HostNumber = 3; RetryCount = 1;",
    "WholeNodes = true; HostNumber = 2;",
    "CustomResources = [ FPGA = 1 ];",
    "Preemptible = true;",
    "Preemptible = true; Suspendable = true; CpuNumber = 2;",
    "QoS = \"polite\"; CpuNumber = 2;",
];

/// Those of [`MORE`] that give way, or that others give way to.
const GIVING_WAY: [usize; 4] = [9, 19, 20, 21];

const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// The last three have private pilots, allocations of two nodes, and whole nodes.
const CES: [&str; 5] = ["long", "short", "mine", "wide", "nodes"];

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    RequestLost,
    ReplyLost,
    /// It arrives twice, the second time much later.
    Repeated,
}

#[derive(Clone, Debug)]
enum Step {
    Submit {
        user: usize,
        group: Option<usize>,
        tasks: u32,
        more: usize,
    },
    SubmitGraph {
        user: usize,
        retries: bool,
        /// Of each node: how many tasks, and which of the nodes before it are its parents.
        nodes: Vec<(u32, Vec<prop::sample::Index>)>,
    },
    SubmitAfter {
        user: usize,
        /// How many tasks; a graph if there are none.
        tasks: u32,
        any: bool,
        /// Which kinds, and of which of the user's jobs which part.
        on: Vec<(usize, usize, u32)>,
    },
    NewPilot {
        ce: usize,
        cores: u32,
        /// Whose it is; everybody's if there is none.
        owner: Option<usize>,
    },
    NewAllocation {
        ce: usize,
        cores: u32,
        nodes: u32,
        /// Who submits tasks that run on two of its nodes while all wait for work; nobody if there
        /// is none.
        gang: Option<usize>,
    },
    Sync {
        pilot: usize,
        fate: Fate,
        wish: bool,
        backlog: u32,
    },
    Late {
        message: usize,
    },
    Start {
        pilot: usize,
        which: usize,
    },
    End {
        pilot: usize,
        which: usize,
        how: usize,
    },
    LosePilot {
        pilot: usize,
        observed: bool,
    },
    Goodbye {
        pilot: usize,
    },
    Drain {
        pilot: usize,
    },
    Change {
        verb: usize,
        job: usize,
        some: Option<u32>,
    },
    Retry {
        job: usize,
        some: Option<u32>,
    },
    Pass {
        seconds: u64,
    },
    Serve,
    /// All is well for a minute: what pilots hold starts, and they are heard of.
    Minute,
    Tick,
    Plan,
    Policy(Box<Policy>),
    Publish {
        ce: usize,
        up: bool,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        6 => Just(Fate::Arrives),
        1 => Just(Fate::RequestLost),
        2 => Just(Fate::ReplyLost),
        1 => Just(Fate::Repeated),
    ];
    prop_oneof![
        3 => (0..3_usize, prop::option::of(0..3_usize), 1..12_u32, 0..MORE.len())
            .prop_map(|(user, group, tasks, more)| Step::Submit { user, group, tasks, more }),
        2 => graph(),
        4 => (0..3_usize, 0..6_u32, any::<bool>(), prop::collection::vec((0..6_usize, 0..8_usize, 0..5_u32), 1..4))
            .prop_map(|(user, tasks, any, on)| Step::SubmitAfter { user, tasks, any, on }),
        3 => (3..5_usize, 1..5_u32, 2..4_u32, prop::option::weighted(0.7, 0..3_usize))
            .prop_map(|(ce, cores, nodes, gang)| Step::NewAllocation { ce, cores, nodes, gang }),
        3 => (0..5_usize, 1..5_u32, prop::option::weighted(0.3, 0..3_usize))
            .prop_map(|(ce, cores, owner)| Step::NewPilot { ce, cores, owner }),
        12 => (0..8_usize, fate, any::<bool>(), 0..3_u32)
            .prop_map(|(pilot, fate, wish, backlog)| Step::Sync { pilot, fate, wish, backlog }),
        2 => (0..64_usize).prop_map(|message| Step::Late { message }),
        6 => (0..8_usize, 0..8_usize).prop_map(|(pilot, which)| Step::Start { pilot, which }),
        8 => (0..8_usize, 0..8_usize, 0..7_usize).prop_map(|(pilot, which, how)| Step::End { pilot, which, how }),
        1 => (0..8_usize, any::<bool>()).prop_map(|(pilot, observed)| Step::LosePilot { pilot, observed }),
        1 => (0..8_usize).prop_map(|pilot| Step::Goodbye { pilot }),
        1 => (0..8_usize).prop_map(|pilot| Step::Drain { pilot }),
        4 => (0..5_usize, 0..8_usize, prop::option::of(0..12_u32))
            .prop_map(|(verb, job, some)| Step::Change { verb, job, some }),
        3 => (0..8_usize, prop::option::of(0..12_u32))
            .prop_map(|(job, some)| Step::Retry { job, some }),
        2 => (1..2000_u64).prop_map(|seconds| Step::Pass { seconds }),
        3 => Just(Step::Serve),
        2 => Just(Step::Minute),
        2 => Just(Step::Tick),
        1 => Just(Step::Plan),
        2 => policy().prop_map(|policy| Step::Policy(Box::new(policy))),
        1 => (0..5_usize, any::<bool>()).prop_map(|(ce, up)| Step::Publish { ce, up }),
        1 => Just(Step::Restart),
    ]
}

/// Steps of a busy grid, in which much gives way.
fn busy_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 1..5_u32, prop::sample::select(&GIVING_WAY[..]))
            .prop_map(|(user, tasks, more)| Step::Submit { user, group: None, tasks, more }),
        1 => (1..4_u32).prop_map(|cores| Step::NewPilot { ce: 0, cores, owner: None }),
        8 => Just(Step::Minute),
        3 => (0..8_usize, 0..8_usize, 0..7_usize)
            .prop_map(|(pilot, which, how)| Step::End { pilot, which, how }),
        1 => (3..5_usize, 0..8_usize)
            .prop_map(|(verb, job)| Step::Change { verb, job, some: None }),
        1 => step(),
    ]
}

fn graph() -> impl Strategy<Value = Step> {
    let parents = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let nodes = prop::collection::vec((1..4_u32, parents), 2..7);
    (0..3_usize, any::<bool>(), nodes).prop_map(|(user, retries, nodes)| Step::SubmitGraph {
        user,
        retries,
        nodes,
    })
}

/// A pilot as it is out there: it knows only what reached it.
#[derive(Default)]
struct Agent {
    round: u64,
    holding: BTreeMap<(TaskId, Attempt), bool>,
    unsaid: Vec<AttemptReport>,
    over: bool,
    /// What it was told last of whether it is to stay without a task.
    staying: bool,
}

struct Message {
    pilot: PilotId,
    reports: Vec<AttemptReport>,
    holding: Vec<(TaskId, Attempt)>,
    want: Option<PilotWant>,
}

impl Message {
    fn command(&self) -> Command {
        Command::Sync {
            pilot: self.pilot,
            reports: self.reports.clone(),
            holding: self.holding.clone(),
            want: self.want,
        }
    }
}

struct Run {
    world: World,
    agents: BTreeMap<PilotId, Agent>,
    sent: Vec<Message>,
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

fn pick<T: Clone>(from: impl IntoIterator<Item = T>, which: usize) -> Option<T> {
    let all: Vec<T> = from.into_iter().collect();
    (!all.is_empty()).then(|| all[which % all.len()].clone())
}

impl Run {
    fn new() -> Self {
        let mut world = World::new(PolicyKind::Fairshare, &CES);
        let mut site = crate::world::site(&CES);
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
        run.set_policy(&with_preemption(plain(PolicyKind::Fairshare)));
        run
    }

    fn set_policy(&mut self, policy: &Policy) {
        let set = Command::SetPolicy {
            policy: policy.clone(),
            by: user("root"),
            because: None,
            from: None,
        };
        self.world.ask(set).unwrap();
    }

    fn agent(&mut self, which: usize) -> Option<PilotId> {
        let alive = self.agents.iter().filter(|(_, agent)| !agent.over);
        pick(alive.map(|(id, _)| *id), which)
    }

    fn take(&mut self, step: &Step) {
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
            } => {
                let parents = |place: usize, parents: &[prop::sample::Index]| -> BTreeSet<usize> {
                    let before = parents.iter().filter(|_| place > 0);
                    before.map(|parent| parent.index(place)).collect()
                };
                let nodes: Vec<(u32, Vec<usize>)> = nodes
                    .iter()
                    .enumerate()
                    .map(|(place, (tasks, own))| {
                        (*tasks, parents(place, own).into_iter().collect())
                    })
                    .collect();
                let nodes: Vec<_> = nodes.iter().map(|(n, own)| (*n, own.as_slice())).collect();
                let more = if *retries { "RetryCount = 1;" } else { "" };
                self.world.submit(USERS[*user], &dag(&nodes, more));
            }
            Step::SubmitAfter {
                user,
                tasks,
                any,
                on,
            } => self.submit_after(USERS[*user], *tasks, *any, on),
            Step::NewPilot { ce, cores, owner } => {
                if self.agents.values().filter(|agent| !agent.over).count() < 6 {
                    let owner = owner.map_or(PilotOwner::Shared, |owner| {
                        PilotOwner::User(user(USERS[owner]))
                    });
                    let pilot = self.world.planned_for(CES[*ce], *cores, owner);
                    self.world.register(pilot, "nonce", *cores).unwrap();
                    self.agents.insert(pilot, Agent::default());
                }
            }
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
            Step::Retry { job, some } => {
                if let Some(job) = pick(self.world.rows.jobs.keys().copied(), *job) {
                    let owner = self.world.rows.jobs[&job].0.owner.to_string();
                    let row = some.map_or(0..u32::MAX, |from| from..from + 3);
                    // That all of it is over, and nothing to be retried, is a conflict.
                    let refused = self.world.retry_row(job, row, &owner).err();
                    assert!(refused.is_none_or(|it| it.kind == RefusedKind::Conflict));
                }
            }
            Step::Pass { seconds } => {
                self.world.pass(*seconds);
                // Any command notices the time.
                self.world.ask(Command::ObservePilots(Vec::new())).unwrap();
            }
            Step::Serve => self.serve(),
            Step::Minute => self.minute(),
            Step::Tick => drop(self.world.ask(Command::Tick)),
            Step::Plan => self.plan(),
            Step::Policy(policy) => {
                assert_eq!(policy.check(), Ok(()));
                let told = self.world.state.what_if(policy, self.world.now);
                self.set_policy(policy);
                // What was told would follow is what follows.
                let seen = self.world.state.what_if(policy, self.world.now);
                assert_eq!(told.next_after, seen.next_before);
                assert_eq!((seen.places, seen.held), (vec![], vec![]));
            }
            Step::Publish { ce, up } => self.world.publish(CES[*ce], |state| {
                if !up {
                    state.status = fairway_model::CeStatus::Draining;
                }
            }),
            Step::Restart => self.world.reload(),
        }
    }

    fn new_allocation(&mut self, ce: &str, cores: u32, nodes: u32, gang: Option<usize>) {
        if self.agents.values().filter(|agent| !agent.over).count() >= 6 {
            return;
        }
        let pilots = self.world.together(ce, cores, nodes);
        for pilot in &pilots {
            self.agents.insert(*pilot, Agent::default());
        }
        let Some(gang) = gang else { return };
        for pilot in pilots {
            self.sync(pilot, Fate::Arrives, Some(0));
        }
        let tasks = sweep(2, "CpuNumber = 2; HostNumber = 2;");
        self.world.submit(USERS[gang], &tasks);
        self.serve();
    }

    fn minute(&mut self) {
        self.world.pass(61);
        for pilot in self.agents.keys().copied().collect::<Vec<_>>() {
            if !self.agents[&pilot].over {
                self.sync(pilot, Fate::Arrives, Some(0));
                (0..4).for_each(|_| self.start(pilot, 0));
                self.sync(pilot, Fate::Arrives, None);
            }
        }
        self.world.ask(Command::Tick).unwrap();
        self.serve();
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

    fn sync(&mut self, pilot: PilotId, fate: Fate, wish: Option<u32>) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        let want = wish.map(|backlog| {
            agent.round += 1;
            PilotWant {
                round: agent.round,
                remaining_s: HOUR_S,
                backlog,
                staying: agent.staying,
            }
        });
        let message = Message {
            pilot,
            reports: agent.unsaid.clone(),
            holding: agent.holding.keys().copied().collect(),
            want,
        };
        if matches!(fate, Fate::RequestLost) {
            self.sent.push(message);
            return;
        }
        let reply = self.world.ask(message.command());
        if matches!(fate, Fate::Repeated) {
            self.sent.push(message);
        }
        if !matches!(fate, Fate::ReplyLost) {
            self.hear(pilot, reply);
        }
    }

    /// The pilot hears the answer to its sync.
    fn hear(&mut self, pilot: PilotId, reply: Result<Reply, fairway_sched::Refused>) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        match reply {
            Ok(Reply::Synced {
                grants,
                orders,
                stay,
                ..
            }) => {
                agent.staying = stay.unwrap_or(agent.staying);
                for report in std::mem::take(&mut agent.unsaid) {
                    if matches!(report.what, AttemptNews::Ended { .. }) {
                        agent.holding.remove(&(report.task, report.attempt));
                    }
                }
                for grant in grants {
                    agent
                        .holding
                        .entry((grant.task, grant.attempt))
                        .or_insert(false);
                }
                for (task, attempt, order) in orders {
                    let held = agent.holding.contains_key(&(task, attempt));
                    let reason = || "it gives way".to_owned();
                    let what = match order {
                        Order::WriteOff => {
                            agent.holding.remove(&(task, attempt));
                            continue;
                        }
                        _ if !held => continue,
                        Order::Cancel => ended(AttemptEnd::Cancelled),
                        Order::GiveWay { .. } => ended(AttemptEnd::HandedBack { reason: reason() }),
                        Order::Suspend => AttemptNews::Suspended,
                        Order::Resume => AttemptNews::Resumed,
                    };
                    agent.unsaid.push(AttemptReport {
                        task,
                        attempt,
                        what,
                    });
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(refused) => {
                assert_eq!(refused.kind, RefusedKind::PilotEnded);
                agent.over = true;
            }
        }
    }

    fn start(&mut self, pilot: PilotId, which: usize) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        let idle = agent.holding.iter().filter(|(_, started)| !**started);
        if let Some((task, attempt)) = pick(idle.map(|(key, _)| *key), which) {
            agent.holding.insert((task, attempt), true);
            agent.unsaid.push(AttemptReport {
                task,
                attempt,
                what: AttemptNews::Started,
            });
        }
    }

    fn end(&mut self, pilot: PilotId, which: usize, how: usize) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        let said: BTreeSet<_> = agent
            .unsaid
            .iter()
            .filter(|report| matches!(report.what, AttemptNews::Ended { .. }))
            .map(|report| (report.task, report.attempt))
            .collect();
        let open = agent.holding.keys().filter(|key| !said.contains(key));
        if let Some((task, attempt)) = pick(open.copied(), which) {
            let reason = || "a test".to_owned();
            let end = match how {
                0 => exit(1),
                1 => AttemptEnd::Signaled { signal: 9 },
                2 => AttemptEnd::NotStarted { reason: reason() },
                3 => AttemptEnd::HandedBack { reason: reason() },
                _ => exit(0),
            };
            agent.unsaid.push(AttemptReport {
                task,
                attempt,
                what: ended(end),
            });
        }
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
        let by = crate::world::principal(self.world.rows.jobs[&job].0.owner.as_str());
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

    fn serve(&mut self) {
        for (pilot, synced) in self.world.serve() {
            let reply = Reply::Synced {
                grants: synced.grants,
                orders: synced.orders,
                drain: synced.drain,
                stay: synced.stay,
            };
            // What a parked sync carried has been heard; its answer has nothing of it.
            let agent = self.agents.get_mut(&pilot).unwrap();
            let unsaid = std::mem::take(&mut agent.unsaid);
            self.hear(pilot, Ok(reply));
            let agent = self.agents.get_mut(&pilot).unwrap();
            let later = std::mem::replace(&mut agent.unsaid, unsaid);
            agent.unsaid.extend(later);
        }
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

    /// What must hold after every step.
    fn check(&self) {
        self.world.state.check().unwrap();
        let rows = &self.world.rows;
        for task in rows.tasks.values() {
            let kept = self.world.state.task(task.id);
            if task.state.is_final() {
                assert_eq!(kept, None);
            } else {
                assert_eq!(kept.as_ref(), Some(task));
            }
        }
        for (job, _, ended_at) in rows.jobs.values() {
            let over = rows.tasks_of(job.id).all(|task| task.state.is_final());
            assert_eq!(ended_at.is_some(), over);
            assert_eq!(self.world.state.knows_job(job.id), !over);
        }
        for (job, ..) in rows.jobs.values() {
            check_graph(&self.world, job.id);
            check_depends(&self.world, job.id);
        }
        let reloaded = self.world.reloaded();
        same(&self.world.state, &reloaded, self.world.now);
        for task in rows
            .tasks
            .values()
            .filter(|it| it.state == TaskState::Blocked)
        {
            let told = |state| explain(state, task.id, self.world.now).unwrap();
            let (memory, again) = (told(&self.world.state), told(&reloaded));
            assert_eq!(
                (memory.summary, memory.depends),
                (again.summary, again.depends)
            );
        }
        for state in [&self.world.state, &reloaded] {
            check_rooms(&self.world, state);
        }
    }

    /// Every ended attempt has one usage record and one event; a success is the last attempt.
    fn check_ledger(&self) {
        let rows = &self.world.rows;
        let mut leased = BTreeSet::new();
        let mut ended = BTreeSet::new();
        for event in &rows.events {
            match &event.kind {
                EventKind::TaskLeased { task, attempt, .. } => {
                    assert!(leased.insert((*task, *attempt)), "{task} leased twice");
                }
                EventKind::AttemptEnded { task, attempt, .. } => {
                    assert!(leased.contains(&(*task, *attempt)));
                    assert!(ended.insert((*task, *attempt)), "{task} ended twice");
                }
                _ => {}
            }
        }
        assert_eq!(ended, rows.usage.keys().copied().collect());
        for record in rows.usage.values().filter(|record| record.end.is_success()) {
            let task = &rows.tasks[&record.task];
            assert_eq!(
                (task.state, task.attempt),
                (TaskState::Succeeded, record.attempt)
            );
        }
        for task in rows.tasks.values() {
            let told = rows.events.iter().filter(|event| {
                matches!(event.kind, EventKind::TaskGivesWay { task: of, .. } if of == task.id)
            });
            let times = task.preemption.map_or(0, |it| it.times);
            assert_eq!(told.count(), times as usize, "{task:?}");
        }
        self.check_charges(leased.len() as u64);
    }

    /// Every lease is charged once to an account; what counts less or more by its quality of
    /// service is left out of it.
    fn check_charges(&self, leases: u64) {
        let rows = &self.world.rows;
        if rows.jobs.values().any(|(job, ..)| job.jdl.contains("QoS")) {
            return;
        }
        let accounts = rows.shares.iter().filter_map(|((entity, _), used)| {
            matches!(entity, Entity::Account { .. }).then_some(used.tasks_started)
        });
        assert_eq!(accounts.sum::<u64>(), leases, "every lease is charged once");
    }

    /// The faults stop: good pilots come, held tasks are released, and nothing is kept back by the
    /// policy any more, whose kind stays.
    fn settle(&mut self) {
        let kind = self.world.state.policy().kind;
        self.set_policy(&plain(kind));
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
            self.agents.insert(pilot, Agent::default());
        }
        let together = self.world.planned_together("nodes", 4, 3);
        for (pilot, n) in together.into_iter().zip(1..) {
            let host = format!("fresh{n}");
            self.world.register_on(pilot, "nonce", 4, &host).unwrap();
            self.agents.insert(pilot, Agent::default());
        }
        for _ in 0..600 {
            for pilot in self.agents.keys().copied().collect::<Vec<_>>() {
                if self.agents[&pilot].over {
                    continue;
                }
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

/// A task that runs is on as many nodes of one allocation as it needs, and pilots have free what
/// their tasks leave, unless some of these wait there.
fn check_rooms(world: &World, state: &State) {
    let mut used: BTreeMap<PilotId, u32> = BTreeMap::new();
    let mut sleepers: BTreeSet<PilotId> = BTreeSet::new();
    for task in world.rows.tasks.values().filter(|it| it.state.is_live()) {
        let needs = world.specs[&task.id.job].needs(task.id.index);
        let lead = state.pilot(task.pilot.unwrap()).unwrap().pilot;
        if task.preemption.is_some() {
            sleepers.insert(lead.id);
        }
        assert_eq!(task.seats.len() + 1, needs.hosts as usize);
        for id in task.seats.iter().chain([&lead.id]) {
            let pilot = state.pilot(*id).unwrap().pilot;
            assert_eq!(pilot.allocation, lead.allocation);
            let cores = match needs.whole_node {
                true => pilot.resources.cores,
                false if *id == lead.id => task.cores,
                false => needs.resources.cores,
            };
            assert!((needs.resources.cores..=pilot.resources.cores).contains(&cores));
            *used.entry(*id).or_default() += cores;
        }
    }
    for pilot in state.pilots_live() {
        let used = used.get(&pilot.id).copied().unwrap_or(0);
        if let Some(left) = pilot.resources.cores.checked_sub(used) {
            let free = state.pilot(pilot.id).unwrap().free.cores;
            // What waits for something else than a core leaves its cores free, as does what sleeps.
            let exact = pilot.custom.is_empty() && !sleepers.contains(&pilot.id);
            assert!(free == left || (!exact && free > left));
        }
    }
}

/// Whether two states are the same in all that is durable.
fn same(memory: &State, reloaded: &State, now: Timestamp) {
    reloaded.check().unwrap();
    assert_eq!(memory.waiting(), reloaded.waiting());
    assert_eq!(memory.live(), reloaded.live());
    assert_eq!(memory.policy(), reloaded.policy());
    let pilots = |state: &State| -> Vec<_> {
        let views = state
            .pilots_live()
            .map(|pilot| state.pilot(pilot.id).unwrap());
        views
            .map(|view| {
                let tasks: BTreeSet<_> = view.tasks.into_iter().collect();
                let seats: BTreeSet<_> = view.seats.into_iter().collect();
                (view.pilot, tasks, seats)
            })
            .collect()
    };
    assert_eq!(pilots(memory), pilots(reloaded));
    // Whose turn it is, is not durable, and users without anything that counts may be forgotten.
    let shares = |state: &State| -> BTreeMap<_, _> {
        let counted = state
            .shares(now)
            .into_iter()
            .filter(|s| s.waiting + s.live > 0 || s.fs > 0.0);
        counted
            .map(|s| ((s.user, s.group), (s.waiting, s.live, s.fs.to_bits())))
            .collect()
    };
    assert_eq!(shares(memory), shares(reloaded));
    let classes = |state: &State| -> BTreeSet<_> {
        let summary = state.classes_summary().into_iter();
        summary
            .map(|class| (class.needs, class.group, class.waiting, class.users))
            .collect()
    };
    assert_eq!(classes(memory), classes(reloaded));
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

/// 64, or what `PROPTEST_CASES` asks for.
fn cases() -> u32 {
    let asked = std::env::var_os("PROPTEST_CASES");
    asked.map_or(64, |_| ProptestConfig::default().cases)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_sound(steps in prop::collection::vec(step(), 1..120)) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
            run.check();
        }
        run.settle();
        run.check();
        run.check_ledger();
        let left = run.world.state.pilots_live().filter(|pilot| pilot.state != PilotState::Ended);
        prop_assert!(left.count() <= run.agents.len());
    }

    #[test]
    fn every_history_of_giving_way_is_sound(
        steps in prop::collection::vec(busy_step(), 1..80)
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
            run.check();
        }
        run.settle();
        run.check();
        run.check_ledger();
    }

    #[test]
    fn the_same_history_has_the_same_changes(steps in prop::collection::vec(step(), 1..60)) {
        let play = || {
            let mut run = Run::new();
            steps.iter().for_each(|step| run.take(step));
            run.world.history
        };
        prop_assert_eq!(play(), play());
    }
}
