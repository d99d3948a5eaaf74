//! What decisions cost on a large platform: 10,000 users, 1,000 sites with a pilot of 52 cores
//! each, 100 classes of tasks.
//!
//! ```sh
//! cargo bench -p fairway-sched
//! ```
//!
//! A match is a whole `Sync`: a pilot reports the start and the end of a task, wishes for the
//! next and gets it. What stalls the engine while it is done is timed once each, unless only
//! some matches are asked for by a filter.
//!
//! Times depend on what else the machine does; instructions do not. They are counted by
//!
//! ```sh
//! export CARGO_PROFILE_BENCH_STRIP=none
//! cargo bench -p fairway-sched --bench cost --no-run
//! valgrind --tool=callgrind --toggle-collect='*apply_timed*' \
//!     target/release/deps/cost-… --bench --profile-time 1 'a match/fifo/10000$'
//! ```
//!
//! and are to be divided by the number of matches that it prints at the end.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads a clock and prints what it read"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fairway_jdl::JobSpec;
use fairway_model::policy::Share;
use fairway_model::{
    AdapterSettings, Attempt, AttemptEnd, Ce, CeId, CeState, CeStatus, LocalSettings, PilotId,
    PilotOwner, Policy, PolicyKind, Resources, Site, TaskId, Timestamp, UserName,
};
use fairway_sched::command::{
    Applied, AttemptNews, AttemptReport, PilotWant, Snapshot, Submission,
};
use fairway_sched::provision::{PilotOrder, Purpose, plan};
use fairway_sched::{Command, Reply, Settings, State};

const USERS: u32 = 10_000;
const SITES: u32 = 1_000;
const CLASSES: u32 = 100;
/// Of a pilot.
const CORES: u32 = 52;
const DAY_S: u64 = 86_400;

/// Sizes of the queue.
const WAITING: [u64; 3] = [10_000, 1_000_000, 10_000_000];

struct Platform {
    state: State,
    now: Timestamp,
    /// One full pilot at each site, with what it runs: one task on each core.
    pilots: Vec<(PilotId, VecDeque<(TaskId, Attempt)>)>,
    round: u64,
    next: usize,
    single: Vec<Arc<JobSpec>>,
    grouped: bool,
    served: u64,
}

/// A policy of that kind; `levels` of shares above and including users.
fn policy(kind: PolicyKind, levels: u32) -> Policy {
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

fn spec(class: u32, tasks: u64) -> Arc<JobSpec> {
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
    fn new(policy: Policy, waiting: u64) -> Self {
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
            served: 0,
        };
        for site in 0..SITES {
            platform.open(&format!("s{site}"));
        }
        // What the pilots get at once does not wait.
        let all = waiting + u64::from(SITES * CORES);
        let (each, rest) = (all / u64::from(USERS), all % u64::from(USERS));
        let specs: Vec<_> = (0..CLASSES).map(|class| spec(class, each)).collect();
        for user in 0..USERS {
            platform.submit(user, specs[(user % CLASSES) as usize].clone());
        }
        for user in 0..u32::try_from(rest).unwrap() {
            platform.submit(user, platform.single[(user % CLASSES) as usize].clone());
        }
        platform.man();
        platform
    }

    fn ask(&mut self, command: Command) -> Reply {
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
        let id: CeId = format!("{name}/ce").parse().unwrap();
        let mut published = CeState::unreachable(id, "slurm", self.now, String::new());
        published.status = CeStatus::Production;
        published.reason = None;
        published.cores_total = Some(CORES);
        published.cores_free = Some(0);
        self.ask(Command::Publish(vec![published]));
    }

    fn submit(&mut self, user: u32, spec: Arc<JobSpec>) {
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
    fn serve_one(&mut self) -> Duration {
        self.now = self.now.plus(Duration::from_millis(5));
        self.next = (self.next + 1) % self.pilots.len();
        let (pilot, running) = &mut self.pilots[self.next];
        let pilot = *pilot;
        let holding = running.iter().copied().collect();
        // The oldest ends, as soon as it has started.
        let (task, attempt) = running.pop_front().unwrap();
        let said = |what| AttemptReport {
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
            reports: vec![said(AttemptNews::Started), said(ended)],
            holding,
            want: Some(self.want()),
        };
        let (applied, took) = apply_timed(&mut self.state, command, self.now);
        self.served += 1;
        let given = granted(&applied.reply.unwrap());
        let given = given[0];
        self.pilots[self.next].1.push_back(given);
        let owner = self.state.task(given.0).map(|_| given.0.job.0);
        let user = (owner.unwrap_or(1) - 1) % u64::from(USERS);
        let user = u32::try_from(user).unwrap();
        self.submit(user, self.single[(user % CLASSES) as usize].clone());
        took
    }

    fn set_policy(&mut self, policy: Policy) {
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

/// Memory of this program in bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

/// The kinds that are timed, with the levels of shares.
const ORDERS: [(&str, PolicyKind, u32); 4] = [
    ("fifo", PolicyKind::Fifo, 1),
    ("fairshare", PolicyKind::Fairshare, 1),
    ("fairshare, 3 levels", PolicyKind::Fairshare, 3),
    ("maui", PolicyKind::Maui, 1),
];

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a match");
    for (name, kind, levels) in ORDERS {
        for waiting in WAITING {
            let mut made = None;
            group.bench_function(BenchmarkId::new(name, waiting), |bencher| {
                let new = || Platform::new(policy(kind, levels), waiting);
                let platform = made.get_or_insert_with(new);
                bencher.iter_custom(|n| (0..n).map(|_| platform.serve_one()).sum());
            });
            if let Some(Platform { served, .. }) = made {
                println!("{name}, {waiting} waiting: {served} matches");
            }
        }
    }
    group.finish();
}

/// Whether all is to be timed. Criterion knows of filters, and tells nobody.
fn is_all() -> bool {
    std::env::args().skip(1).all(|arg| arg == "--bench")
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = act();
    println!("{what}: {:.2} ms", began.elapsed().as_secs_f64() * 1000.0);
    done
}

/// What holds the engine up, once each, with a million tasks waiting.
fn stalls(_: &mut Criterion) {
    if !is_all() {
        return;
    }
    let mut platform = Platform::new(policy(PolicyKind::Fairshare, 1), WAITING[1]);
    for (name, kind, levels) in ORDERS.into_iter().rev() {
        let policy = policy(kind, levels);
        timed(&format!("set the policy to {name}"), || {
            platform.set_policy(policy);
        });
    }
    platform.set_policy(policy(PolicyKind::Fairshare, 1));
    for _ in 0..3 {
        platform.now = platform.now.plus(Duration::from_secs(1));
        timed("tick", || platform.ask(Command::Tick));
    }
    timed("plan pilots", || plan(&platform.state, platform.now));
    let uniform = spec(0, 1_000_000);
    timed("submit 1,000,000 tasks", || platform.submit(1, uniform));
    let values: Vec<String> = (0..1_000_000).map(|n| (n % CLASSES).to_string()).collect();
    let text = format!(
        "Executable = \"/bin/work\"; JobType = \"Parametric\"; Parameters = {{ {} }}; \
         Requirements = other.GlueCEInfoTotalCPUs > _PARAM_;",
        values.join(", ")
    );
    let different = Arc::new(JobSpec::read(&text).unwrap().0);
    timed("submit 1,000,000 tasks of 100 different needs", || {
        platform.submit(2, different);
    });
}

fn memory(_: &mut Criterion) {
    if !is_all() {
        return;
    }
    let mut platform = Platform::new(policy(PolicyKind::Fairshare, 1), WAITING[0]);
    let tasks: u32 = 1_000_000;
    let before = resident();
    for n in 0..tasks {
        let user = n % USERS;
        let spec = platform.single[(user % CLASSES) as usize].clone();
        platform.submit(user, spec);
    }
    let each = (resident() - before) / f64::from(tasks);
    println!("a waiting task that is a job of its own: {each:.0} bytes");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = stalls, memory, matching
}
criterion_main!(benches);
