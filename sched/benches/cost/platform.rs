//! The platform that is timed: it is made once for each policy and size, and goes on as it is timed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_jdl::JobSpec;
use fairway_model::policy::Share;
use fairway_model::{
    AdapterSettings, Attempt, AttemptEnd, Ce, CeId, CeState, CeStatus, LocalSettings, PilotId,
    PilotOwner, Policy, PolicyKind, Resources, Site, TaskId, Timestamp, UserName,
};
use fairway_sched::command::{
    Applied, AttemptNews, AttemptReport, PilotWant, Snapshot, Submission,
};
use fairway_sched::provision::{PilotOrder, Purpose};
use fairway_sched::{Command, Reply, Settings, State};

pub(crate) const USERS: u32 = 10_000;
pub(crate) const SITES: u32 = 1_000;
pub(crate) const CLASSES: u32 = 100;
/// Of a pilot.
pub(crate) const CORES: u32 = 52;
const DAY_S: u64 = 86_400;

pub(crate) struct Platform {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    /// One full pilot at each site, with what it runs: one task on each core.
    pilots: Vec<(PilotId, VecDeque<(TaskId, Attempt)>)>,
    round: u64,
    next: usize,
    pub(crate) single: Vec<Arc<JobSpec>>,
    grouped: bool,
    /// How long each match took, in nanoseconds.
    pub(crate) took: Vec<u64>,
    pub(crate) slow: Slow,
}

/// Matches that took long: whether they did, or this program did not run.
#[derive(Default)]
pub(crate) struct Slow {
    pub(crate) matches: u64,
    pub(crate) took: Duration,
    /// How long of that another program had the core.
    pub(crate) waited: Duration,
    /// How long this program had waited for a core when that was looked up last.
    pub(crate) known: Duration,
}

/// What takes longer is looked into.
pub(crate) const SLOW: Duration = Duration::from_millis(1);

impl Slow {
    /// How long this thread has waited for a core in all, where the system tells.
    pub(crate) fn waited_in_all() -> Duration {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let waited = text.split(' ').nth(1).and_then(|ns| ns.parse().ok());
        Duration::from_nanos(waited.unwrap_or(0))
    }

    fn note(&mut self, took: Duration) {
        if took > SLOW {
            let waited = Self::waited_in_all();
            self.matches += 1;
            self.took += took;
            self.waited += took.min(waited - self.known);
            self.known = waited;
        }
    }
}

/// Who waits for what.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) waiting: u64,
    /// Of how many classes each user has tasks.
    pub(crate) classes_each: u32,
    /// Whether each task is a job of its own; else each user has one job in each of their classes.
    pub(crate) alone: bool,
}

impl Crowd {
    pub(crate) const fn of(waiting: u64) -> Self {
        Self {
            waiting,
            classes_each: 1,
            alone: false,
        }
    }
}

/// A policy of that kind; `levels` of shares above and including users.
pub(crate) fn policy(kind: PolicyKind, levels: u32) -> Policy {
    let share = |path: String, user| Share {
        path: path.as_str().into(),
        share: 1.0,
        user,
    };
    let mut policy = Policy {
        kind,
        ..Policy::default()
    };
    if levels == 3 {
        policy.shares = (0..10).map(|n| share(format!("t{n}"), false)).collect();
        let groups = (0..CLASSES).map(|n| share(format!("t{}/g{n}", n % 10), false));
        policy.shares.extend(groups);
    }
    if kind == PolicyKind::Maui {
        let target = |n| (format!("u{n}"), "0.01".parse().unwrap());
        policy.maui.users = (0..USERS).map(target).collect();
    }
    policy
}

pub(crate) fn spec(class: u32, tasks: u64) -> Arc<JobSpec> {
    let walltime_s = 600 + class;
    let many = match tasks {
        1 => String::new(),
        _ => format!(
            "JobType = \"Parametric\"; Parameters = {tasks}; ParameterStart = 0; \
             ParameterStep = 1; Arguments = \"_PARAM_\";"
        ),
    };
    let text = format!("Executable = \"/bin/work\"; WallTime = {walltime_s}; {many}");
    Arc::new(JobSpec::read(&text).unwrap().0)
}

impl Platform {
    pub(crate) fn new(policy: Policy, crowd: Crowd) -> Self {
        let now = Timestamp::from_secs(36_000);
        let grouped = !policy.shares.is_empty();
        let snapshot = Snapshot {
            policy: Some(policy),
            ..Snapshot::default()
        };
        let mut platform = Self {
            state: State::load(snapshot, Settings::default(), now),
            now,
            pilots: Vec::new(),
            round: 0,
            next: 0,
            single: (0..CLASSES).map(|class| spec(class, 1)).collect(),
            grouped,
            took: Vec::new(),
            slow: Slow::default(),
        };
        for site in 0..SITES {
            platform.open(&format!("s{site}"));
        }
        platform.gather(crowd);
        platform.man();
        platform
    }

    fn gather(&mut self, crowd: Crowd) {
        // What the pilots get at once does not wait.
        let all = crowd.waiting + u64::from(SITES * CORES);
        let jobs = u64::from(USERS * crowd.classes_each);
        let (each, rest) = match crowd.alone {
            true => (0, all),
            false => (all / jobs, all % jobs),
        };
        if each > 0 {
            let specs: Vec<_> = (0..CLASSES).map(|class| spec(class, each)).collect();
            for job in 0..u32::try_from(jobs).unwrap() {
                let (user, nth) = (job % USERS, job / USERS);
                self.submit(user, specs[((user + nth) % CLASSES) as usize].clone());
            }
        }
        for job in 0..u32::try_from(rest).unwrap() {
            let user = job % USERS;
            self.submit(user, self.single[(user % CLASSES) as usize].clone());
        }
    }

    pub(crate) fn ask(&mut self, command: Command) -> Reply {
        self.state.apply(command, self.now).reply.unwrap()
    }

    fn open(&mut self, name: &str) {
        let ce = Ce::new("ce".parse().unwrap());
        let local = AdapterSettings::Local(LocalSettings::default());
        let site = Site::new(name.parse().unwrap(), local, vec![ce]);
        let by: UserName = "admin".parse().unwrap();
        self.ask(Command::PutSite {
            site: Box::new(site),
            by,
        });
        let published = self.published(name, 0);
        self.ask(Command::Publish(vec![published]));
    }

    pub(crate) fn published(&self, site: &str, cores_free: u32) -> CeState {
        let id: CeId = format!("{site}/ce").parse().unwrap();
        let mut published = CeState::unreachable(id, "slurm", self.now, String::new());
        published.status = CeStatus::Production;
        published.reason = None;
        published.cores_total = Some(CORES);
        published.cores_free = Some(cores_free);
        published
    }

    pub(crate) fn submit(&mut self, user: u32, spec: Arc<JobSpec>) {
        let group = self.grouped.then(|| format!("g{}", user % CLASSES));
        self.ask(Command::Submit(Submission {
            owner: format!("u{user}").parse().unwrap(),
            group: group.map(|name| name.parse().unwrap()),
            jdl: String::new(),
            spec,
            sandbox: None,
            named: Vec::new(),
            idempotency: None,
        }));
    }

    /// A pilot at each site, each with as many tasks as it has cores.
    fn man(&mut self) {
        for site in 0..SITES {
            let resources = Resources {
                cores: CORES,
                memory_mib: 0,
                gpus: 0,
            };
            let order = PilotOrder {
                ce: format!("s{site}/ce").parse().unwrap(),
                resources,
                owner: PilotOwner::Shared,
                nodes: 1,
                reserve_at: None,
                purpose: Purpose::Any,
                walltime_s: DAY_S,
                because: "a benchmark needs it".into(),
            };
            let orders = vec![(order, vec!["secret".to_owned()])];
            let Reply::Planned(pilots) = self.ask(Command::PlanPilots { orders }) else {
                panic!("a plan is answered with pilots");
            };
            let pilot = pilots[0].id;
            self.ask(Command::RegisterPilot {
                pilot,
                bootstrap_hash: "secret".into(),
                nonce_hash: "nonce".into(),
                session_hash: "session".into(),
                host: format!("node{site}"),
                resources: Resources {
                    memory_mib: 4000 * u64::from(CORES),
                    ..resources
                },
                remaining_s: DAY_S,
            });
            let want = Some(self.want());
            let reply = self.ask(Command::Sync {
                pilot,
                reports: Vec::new(),
                holding: Vec::new(),
                want,
            });
            let running = granted(&reply);
            assert_eq!(running.len(), CORES as usize, "the pilot is full");
            // All but the last have started.
            let started = running.split_last().unwrap().1.iter();
            let reports = started.map(|&(task, attempt)| AttemptReport {
                task,
                attempt,
                what: AttemptNews::Started,
            });
            self.ask(Command::Sync {
                pilot,
                reports: reports.collect(),
                holding: running.clone(),
                want: None,
            });
            self.pilots.push((pilot, running.into()));
        }
    }

    fn want(&mut self) -> PilotWant {
        self.round += 1;
        PilotWant {
            round: self.round,
            remaining_s: DAY_S,
            backlog: 0,
            staying: false,
        }
    }

    /// One match. The user whose task was given out submits another one, which is not timed.
    pub(crate) fn serve_one(&mut self) -> Duration {
        self.now = self.now.plus(Duration::from_millis(5));
        self.next = (self.next + 1) % self.pilots.len();
        let (pilot, running) = &mut self.pilots[self.next];
        let pilot = *pilot;
        let holding = running.iter().copied().collect();
        // The oldest ends, and what came last has started.
        let newest = *running.back().unwrap();
        let oldest = running.pop_front().unwrap();
        let said = |(task, attempt), what| AttemptReport {
            task,
            attempt,
            what,
        };
        let ended = AttemptNews::Ended {
            end: AttemptEnd::Exited { code: 0 },
            wall_ms: 5000,
            cpu_ms: 4900,
            memory_peak_kib: 10_000,
        };
        let command = Command::Sync {
            pilot,
            reports: vec![said(newest, AttemptNews::Started), said(oldest, ended)],
            holding,
            want: Some(self.want()),
        };
        let (applied, took) = apply_timed(&mut self.state, command, self.now);
        self.took.push(u64::try_from(took.as_nanos()).unwrap());
        self.slow.note(took);
        let given = granted(&applied.reply.unwrap());
        let given = given[0];
        self.pilots[self.next].1.push_back(given);
        let owner = self.state.job_owner(given.0.job).unwrap().as_str();
        let user: u32 = owner[1..].parse().unwrap();
        self.submit(user, self.single[(user % CLASSES) as usize].clone());
        took
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        let by: UserName = "admin".parse().unwrap();
        self.ask(Command::SetPolicy {
            policy,
            by,
            because: None,
            from: None,
        });
    }
}

/// On its own, so that what it takes can be told from the rest.
#[inline(never)]
fn apply_timed(state: &mut State, command: Command, now: Timestamp) -> (Applied, Duration) {
    let began = Instant::now();
    let applied = state.apply(command, now);
    (applied, began.elapsed())
}

fn granted(reply: &Reply) -> Vec<(TaskId, Attempt)> {
    match reply {
        Reply::Synced { grants, .. } => grants.iter().map(|it| (it.task, it.attempt)).collect(),
        other => panic!("{other:?}"),
    }
}
