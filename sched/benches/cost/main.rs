//! What decisions cost on a large platform: 10,000 users, 1,000 sites with a pilot of 52 cores
//! each, 100 classes of tasks.
//!
//! ```sh
//! cargo bench -p fairway-sched
//! ```
//!
//! A match is a whole `Sync`: a pilot reports the start of one task and the end of another, wishes
//! for the next and gets it. What else holds the engine up, and memory, are told first, unless only
//! some matches are asked for by a filter. All of it takes some 5 minutes.
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
//! and are to be divided by the number of matches that it prints at the end: some hundreds, after
//! some minutes in which the platform is made.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads a clock and prints what it read"
)]

mod platform;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fairway_jdl::JobSpec;
use fairway_model::PolicyKind;
use fairway_sched::Command;
use fairway_sched::command::Submission;
use fairway_sched::provision::{PilotOrder, PilotPlan, plan};

use self::platform::{CLASSES, CORES, Crowd, Platform, SITES, SLOW, Slow, USERS, policy, spec};

/// Sizes of the queue.
const WAITING: [u64; 3] = [10_000, 1_000_000, 10_000_000];

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

/// What the matches took, by the clock.
fn sum_up(what: &str, Platform { took, slow, .. }: &mut Platform) {
    took.sort_unstable();
    let us = |ns: u64| ns as f64 / 1000.0;
    let of = |part: f64| us(took[((took.len() - 1) as f64 * part) as usize]);
    let mean = us(took.iter().sum::<u64>()) / took.len() as f64;
    println!(
        "{what}: {} matches, median {:.1}, mean {mean:.1}, one in ten over {:.1}, one in a \
         hundred over {:.1} µs; {} over {SLOW:?}, together {:.1?}, in which others had the core \
         for {:.1?}",
        took.len(),
        of(0.5),
        of(0.9),
        of(0.99),
        slow.matches,
        slow.took,
        slow.waited,
    );
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a match");
    let mut all = Vec::new();
    for (name, kind, levels) in ORDERS {
        for waiting in WAITING {
            all.push((name.to_owned(), kind, levels, Crowd::of(waiting)));
        }
    }
    let alone = Crowd {
        alone: true,
        ..Crowd::of(WAITING[1])
    };
    let name = "fairshare, jobs of one task".to_owned();
    all.push((name, PolicyKind::Fairshare, 1, alone));
    let spread = Crowd {
        classes_each: 10,
        ..Crowd::of(WAITING[1])
    };
    let name = "fairshare, ten classes a user".to_owned();
    all.push((name, PolicyKind::Fairshare, 1, spread));
    for (name, kind, levels, crowd) in all {
        let mut made = None;
        group.bench_function(BenchmarkId::new(&name, crowd.waiting), |bencher| {
            let new = || Platform::new(policy(kind, levels), crowd);
            let platform = made.get_or_insert_with(new);
            platform.slow.known = Slow::waited_in_all();
            bencher.iter_custom(|n| (0..n).map(|_| platform.serve_one()).sum());
        });
        if let Some(mut platform) = made {
            sum_up(&format!("{name}, {} waiting", crowd.waiting), &mut platform);
        }
    }
    group.finish();
}

/// Whether all is to be timed. Criterion knows of filters, and tells nobody.
fn is_all() -> bool {
    std::env::args().skip(1).all(|arg| arg == "--bench")
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let (took_ms, done) = clocked(act);
    println!("{what}: {took_ms:.2} ms");
    done
}

/// What holds the engine up, with a million tasks waiting.
fn stalls(_: &mut Criterion) {
    if !is_all() {
        return;
    }
    for classes_each in [1, 10] {
        println!("every user waits in {classes_each} of the classes:");
        let crowd = Crowd {
            classes_each,
            ..Crowd::of(WAITING[1])
        };
        let mut platform = Platform::new(policy(PolicyKind::Fairshare, 1), crowd);
        policies(&mut platform);
        times(&mut platform);
        plans(&mut platform);
        if classes_each == 1 {
            submissions(&mut platform);
        }
    }
}

/// So often is timed what can be repeated.
const ROUNDS: usize = 7;

/// Milliseconds, by the clock.
fn clocked<T>(act: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let done = act();
    (began.elapsed().as_secs_f64() * 1000.0, done)
}

/// The least is what it costs; what is more, the machine's other work adds.
fn tell(what: &str, mut took_ms: Vec<f64>) {
    took_ms.sort_by(f64::total_cmp);
    let (least, median) = (took_ms[0], took_ms[took_ms.len() / 2]);
    let most = took_ms[took_ms.len() - 1];
    println!("{what}: least {least:.2}, median {median:.2}, most {most:.2} ms");
}

fn policies(platform: &mut Platform) {
    let mut took = vec![Vec::new(); ORDERS.len()];
    for _ in 0..ROUNDS {
        for ((_, kind, levels), took) in ORDERS.into_iter().zip(&mut took).rev() {
            let policy = policy(kind, levels);
            took.push(clocked(|| platform.set_policy(policy)).0);
        }
    }
    for ((name, ..), took) in ORDERS.into_iter().zip(took) {
        tell(&format!("set the policy to {name}"), took);
    }
}

/// Ticks under each policy: what is done now and then is done in one of so many.
fn times(platform: &mut Platform) {
    for (name, kind, levels) in ORDERS {
        platform.set_policy(policy(kind, levels));
        let mut took = Vec::new();
        for _ in 0..64 {
            platform.now = platform.now.plus(Duration::from_secs(1));
            took.push(clocked(|| platform.ask(Command::Tick)).0);
        }
        tell(&format!("tick under {name}"), took);
    }
}

/// As many orders as a server has noted in one step.
const NOTED: usize = 1000;

fn plans(platform: &mut Platform) {
    platform.set_policy(policy(PolicyKind::Fairshare, 1));
    for cores_free in [0, 2 * CORES] {
        // One site after the other, as they are looked at.
        let mut took = Vec::new();
        for site in 0..SITES {
            let state = platform.published(&format!("s{site}"), cores_free);
            took.push(clocked(|| platform.ask(Command::Publish(vec![state]))).0);
        }
        tell("publish a site's state", took);
        let mut made = PilotPlan::default();
        let again = |_| {
            let (took, new) = clocked(|| plan(&platform.state, platform.now));
            made = new;
            took
        };
        tell("plan pilots", (0..ROUNDS).map(again).collect());
        println!("{} pilots to ask for", made.orders.len());
        let before = platform.state.clone();
        let secret = |(order, n): (PilotOrder, usize)| (order, vec![format!("secret{n}")]);
        let orders: Vec<_> = made.orders.into_iter().zip(0..).map(secret).collect();
        let mut took = Vec::new();
        for orders in orders.chunks(NOTED) {
            let orders = orders.to_vec();
            took.push(clocked(|| platform.ask(Command::PlanPilots { orders })).0);
        }
        tell("note 1,000 of them", took);
        let again = |_| clocked(|| plan(&platform.state, platform.now)).0;
        let took = (0..ROUNDS).map(again).collect();
        tell("plan pilots, with these on their way", took);
        platform.state = before;
    }
}

fn submissions(platform: &mut Platform) {
    let uniform = spec(0, 1_000_000);
    timed("submit 1,000,000 tasks", || platform.submit(1, uniform));
    for kinds in [100, 1000] {
        let values: Vec<String> = (0..1_000_000).map(|n| (n % kinds).to_string()).collect();
        let text = format!(
            "Executable = \"/bin/work\"; JobType = \"Parametric\"; Parameters = {{ {} }}; \
             Requirements = other.GlueCEInfoTotalCPUs > _PARAM_;",
            values.join(",")
        );
        let different = Arc::new(JobSpec::read(&text).unwrap().0);
        timed("find out what they need, which is not the engine's", || {
            different.kinds_within(1000).unwrap();
        });
        timed(
            &format!("submit 1,000,000 tasks of {kinds} different needs"),
            || platform.submit(2, different),
        );
    }
}

/// Bytes of memory that `act` makes this program hold. Nothing that was freed before is left to be
/// used again: memory is looked at before all else.
fn held<T>(act: impl FnOnce() -> T) -> (f64, T) {
    let before = resident();
    let done = act();
    (resident() - before, done)
}

/// What a submission of one task comes with, as a server gets it: its own text, and a key.
fn letter(n: u32) -> (String, Arc<JobSpec>) {
    let text = format!(
        "Executable = \"analyse.sh\"; Arguments = \"--run {n} --events 1000 --out hist.root\"; \
         StdOutput = \"out.txt\"; StdError = \"err.txt\"; InputSandbox = {{ \"analyse.sh\" }}; \
         OutputSandbox = {{ \"out.txt\", \"err.txt\", \"hist.root\" }}; WallTime = 3600; \
         Environment = {{ \"RUN={n}\" }}; \
         Requirements = other.GlueHostMainMemoryRAMSize >= 2000; Rank = -other.GlueCEStateWaitingJobs;"
    );
    let spec = Arc::new(JobSpec::read(&text).unwrap().0);
    (text, spec)
}

fn memory(_: &mut Criterion) {
    if !is_all() {
        return;
    }
    let mut platform = Platform::new(policy(PolicyKind::Fairshare, 1), Crowd::of(WAITING[0]));
    let tasks: u32 = 1_000_000;
    let (bytes, ()) = held(|| {
        for n in 0..tasks {
            let user = n % USERS;
            let spec = platform.single[(user % CLASSES) as usize].clone();
            platform.submit(user, spec);
        }
    });
    let each = bytes / f64::from(tasks);
    println!("a waiting task that is a job of its own, of a shared description: {each:.0} bytes");
    let tasks = 200_000;
    let submit = |n| {
        let (jdl, spec) = letter(n);
        platform.ask(Command::Submit(Submission {
            owner: format!("u{}", n % USERS).parse().unwrap(),
            group: None,
            jdl,
            spec,
            sandbox: Some(format!("sandbox-{n:028}")),
            named: Vec::new(),
            idempotency: Some((format!("key-{n:032}"), format!("{n:064x}"))),
        }));
    };
    let (bytes, ()) = held(|| (0..tasks).for_each(submit));
    let each = bytes / f64::from(tasks);
    println!("the same with a text, a sandbox and an idempotency key of its own: {each:.0} bytes");
    let tasks = 20_000;
    let (bytes, _specs) = held(|| (0..tasks).map(|n| letter(n).1).collect::<Vec<_>>());
    let each = bytes / f64::from(tasks);
    println!("what was read of such a text, which is not kept: {each:.0} bytes");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = memory, stalls, matching
}
criterion_main!(benches);
