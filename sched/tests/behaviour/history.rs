//! Random histories: several users and pilots, lost and repeated messages, lost pilots,
//! cancels and holds, restarts. After every step the invariants hold and the store and the
//! memory agree; when the faults stop, everything that can end ends.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::event::TaskVerb;
use fairway_model::{
    Attempt, AttemptEnd, EventKind, JobId, Metric, PilotId, PilotOwner, PilotSharing, PilotState,
    Policy, PolicyKind, TaskId, TaskState, Timestamp,
};
use fairway_sched::command::{AttemptNews, AttemptReport, Observation, PilotWant, Selection};
use fairway_sched::{Command, RefusedKind, Reply, State};
use proptest::prelude::*;

use crate::graphs::check_graph;
use crate::world::{HOUR_S, World, dag, ended, exit, sweep, user};

const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// The last two have private pilots and allocations of two nodes.
const CES: [&str; 4] = ["long", "short", "mine", "wide"];

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
        tasks: u32,
        more: usize,
    },
    SubmitGraph {
        user: usize,
        retries: bool,
        /// Of each node: how many tasks, and which of the nodes before it are its parents.
        nodes: Vec<(u32, Vec<prop::sample::Index>)>,
    },
    NewPilot {
        ce: usize,
        cores: u32,
        /// Whose it is; everybody's if there is none.
        owner: Option<usize>,
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
    Tick,
    Plan,
    Policy {
        kind: usize,
        metric: bool,
    },
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
        3 => (0..3_usize, 1..12_u32, 0..7_usize).prop_map(|(user, tasks, more)| Step::Submit { user, tasks, more }),
        2 => graph(),
        3 => (0..4_usize, 1..5_u32, prop::option::weighted(0.3, 0..3_usize))
            .prop_map(|(ce, cores, owner)| Step::NewPilot { ce, cores, owner }),
        12 => (0..8_usize, fate, any::<bool>(), 0..3_u32)
            .prop_map(|(pilot, fate, wish, backlog)| Step::Sync { pilot, fate, wish, backlog }),
        2 => (0..64_usize).prop_map(|message| Step::Late { message }),
        6 => (0..8_usize, 0..8_usize).prop_map(|(pilot, which)| Step::Start { pilot, which }),
        8 => (0..8_usize, 0..8_usize, 0..7_usize).prop_map(|(pilot, which, how)| Step::End { pilot, which, how }),
        1 => (0..8_usize, any::<bool>()).prop_map(|(pilot, observed)| Step::LosePilot { pilot, observed }),
        1 => (0..8_usize).prop_map(|pilot| Step::Goodbye { pilot }),
        1 => (0..8_usize).prop_map(|pilot| Step::Drain { pilot }),
        4 => (0..3_usize, 0..8_usize, prop::option::of(0..12_u32))
            .prop_map(|(verb, job, some)| Step::Change { verb, job, some }),
        3 => (0..8_usize, prop::option::of(0..12_u32))
            .prop_map(|(job, some)| Step::Retry { job, some }),
        2 => (1..2000_u64).prop_map(|seconds| Step::Pass { seconds }),
        3 => Just(Step::Serve),
        2 => Just(Step::Tick),
        1 => Just(Step::Plan),
        1 => (0..3_usize, any::<bool>()).prop_map(|(kind, metric)| Step::Policy { kind, metric }),
        1 => (0..4_usize, any::<bool>()).prop_map(|(ce, up)| Step::Publish { ce, up }),
        1 => Just(Step::Restart),
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

fn pick<T: Clone>(from: impl IntoIterator<Item = T>, which: usize) -> Option<T> {
    let all: Vec<T> = from.into_iter().collect();
    (!all.is_empty()).then(|| all[which % all.len()].clone())
}

impl Run {
    fn new() -> Self {
        let mut world = World::new(PolicyKind::Fairshare, &CES);
        let mut site = crate::world::site(&CES);
        for ce in &mut site.ces {
            match ce.name.as_str() {
                "mine" => ce.pilots = PilotSharing::PerUser,
                "wide" => ce.shape.nodes = 2,
                _ => {}
            }
        }
        world.describe(site);
        Self {
            world,
            agents: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    fn agent(&mut self, which: usize) -> Option<PilotId> {
        let alive = self.agents.iter().filter(|(_, agent)| !agent.over);
        pick(alive.map(|(id, _)| *id), which)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Submit { user, tasks, more } => {
                let more = [
                    "",
                    "RetryCount = 1; ShallowRetryCount = 1;",
                    "CpuNumber = 2;",
                    "Rank = other.GlueCEName == \"short\" ? 1 : 0;",
                    "Requirements = other.GlueCEName == \"long\" || _PARAM_ >= 3;",
                    "Deadline = 40000; ExpectedDuration = 600;",
                    "TimeCritical = true;",
                ][*more];
                self.world.submit(USERS[*user], &sweep(*tasks, more));
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
            Step::Tick => drop(self.world.ask(Command::Tick)),
            Step::Plan => self.plan(),
            Step::Policy { kind, metric } => {
                let kinds = [
                    PolicyKind::Fifo,
                    PolicyKind::RoundRobin,
                    PolicyKind::Fairshare,
                ];
                let mut policy = Policy {
                    kind: kinds[*kind],
                    ..Policy::default()
                };
                if *metric {
                    policy.usage.metric = Metric::CoreSeconds;
                }
                let by = user("root");
                let told = self.world.state.what_if(&policy, self.world.now);
                let again = policy.clone();
                self.world
                    .ask(Command::SetPolicy {
                        policy,
                        by,
                        because: None,
                        from: None,
                    })
                    .unwrap();
                // What was told would follow is what follows.
                let seen = self.world.state.what_if(&again, self.world.now);
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

    fn sync(&mut self, pilot: PilotId, fate: Fate, wish: Option<u32>) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        let want = wish.map(|backlog| {
            agent.round += 1;
            PilotWant {
                round: agent.round,
                remaining_s: HOUR_S,
                backlog,
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
            Ok(Reply::Synced { grants, stop, .. }) => {
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
                for (task, attempt, stale) in stop {
                    let held = agent.holding.contains_key(&(task, attempt));
                    if stale {
                        agent.holding.remove(&(task, attempt));
                    } else if held {
                        let what = ended(AttemptEnd::Cancelled);
                        agent.unsaid.push(AttemptReport {
                            task,
                            attempt,
                            what,
                        });
                    }
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
        let verb = [TaskVerb::Cancel, TaskVerb::Hold, TaskVerb::Release][verb];
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
                stop: synced.stop,
                drain: synced.drain,
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
        }
        same(&self.world.state, &self.world.reloaded(), self.world.now);
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
        let started: u64 = rows.shares.values().map(|used| used.tasks_started).sum();
        assert_eq!(started, leased.len() as u64, "every lease is charged once");
    }

    /// The faults stop: good pilots come, and held tasks are released.
    fn settle(&mut self) {
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
        for _ in 0..400 {
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
            .map(|view| (view.pilot, view.tasks.into_iter().collect::<BTreeSet<_>>()))
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
    fn the_same_history_has_the_same_changes(steps in prop::collection::vec(step(), 1..60)) {
        let play = || {
            let mut run = Run::new();
            steps.iter().for_each(|step| run.take(step));
            run.world.history
        };
        prop_assert_eq!(play(), play());
    }
}
