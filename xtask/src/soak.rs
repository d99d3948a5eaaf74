//! Random cases for as long as one likes: histories with faults, simulated machines, fairness.
//!
//! Every seed is a case of its own, the same whenever and wherever it is tried. A few cases are
//! tried in every test run; this tries many, optimised and with every check, on all cores.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::run::{cargo, output};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds to try
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Begin no further seed after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Only these tests: `behaviour`, `simulate` or `fairness`
    #[arg(long)]
    only: Option<String>,
    /// The profile that the tests are built with
    #[arg(long, default_value = "soak")]
    profile: String,
}

/// Tests that take a seed.
struct Suite {
    package: &'static str,
    target: &'static str,
    /// Which tests of the target, as the test program's arguments.
    filters: &'static [&'static str],
    /// Each seed that is a multiple of this: the longer a case takes, the fewer are tried.
    every: u64,
}

const SUITES: [Suite; 3] = [
    Suite {
        package: "fairway-sched",
        target: "behaviour",
        filters: &["history::", "no_limit_is_ever_exceeded"],
        every: 1,
    },
    Suite {
        package: "fairway-sim",
        target: "simulate",
        filters: &["every_task_ends_once"],
        every: 10,
    },
    Suite {
        package: "fairway-sim",
        target: "fairness",
        filters: &["shares::", "--ignored"],
        every: 500,
    },
];

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let wanted = |suite: &Suite| args.only.as_ref().is_none_or(|it| it == suite.target);
    let suites: Vec<Suite> = SUITES.into_iter().filter(wanted).collect();
    if suites.is_empty() {
        bail!("no tests are called so; there are behaviour, simulate and fairness");
    }
    let build = |suite| build(suite, &args.profile);
    let programs = suites
        .iter()
        .map(build)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let began = Instant::now();
    let until = args.minutes.map(|it| began + Duration::from_secs(60 * it));
    let end = args.from.saturating_add(args.seeds);
    let next = AtomicU64::new(args.from);
    let tried: [AtomicU64; SUITES.len()] = Default::default();
    let failed = AtomicBool::new(false);
    let tell = |what: &str| {
        let counts = suites
            .iter()
            .zip(&tried)
            .map(|(suite, tried)| format!("{} {}", tried.load(Ordering::Relaxed), suite.target));
        let counts: Vec<String> = counts.collect();
        let seconds = began.elapsed().as_secs();
        println!("{what} {} cases in {seconds} s", counts.join(", "));
    };
    let work = || -> anyhow::Result<()> {
        let mut told = Instant::now();
        while !failed.load(Ordering::Relaxed) && until.is_none_or(|it| Instant::now() < it) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            for ((suite, program), tried) in suites.iter().zip(&programs).zip(&tried) {
                if seed.is_multiple_of(suite.every) {
                    try_one(suite, program, seed)
                        .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                    tried.fetch_add(1, Ordering::Relaxed);
                }
            }
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                tell("passed:");
            }
        }
        Ok(())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| match worker.join() {
            Ok(end) => end,
            Err(_) => bail!("a worker panicked"),
        });
        // All are waited for, whatever the first of them says.
        ends.collect::<Vec<_>>()
            .into_iter()
            .collect::<anyhow::Result<()>>()
    })?;
    tell("all passed:");
    Ok(())
}

/// Builds the test program of a suite; where it is.
fn build(suite: &Suite, profile: &str) -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command.args([
        "test",
        "--no-run",
        "--message-format=json",
        "--profile",
        profile,
    ]);
    command.args(["-p", suite.package, "--test", suite.target]);
    let told = output(&mut command)?;
    let mut programs = told.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let own = message["target"]["name"] == suite.target;
        message["executable"]
            .as_str()
            .filter(|_| own)
            .map(PathBuf::from)
    });
    programs
        .next_back()
        .with_context(|| format!("cargo names no program of {}", suite.target))
}

/// Tries one seed; if it fails, what it said is shown, and how to try it again.
fn try_one(suite: &Suite, program: &Path, seed: u64) -> anyhow::Result<()> {
    let folder = crate::run::root().join(suite.package.trim_start_matches("fairway-"));
    let result = Command::new(program)
        .current_dir(folder)
        .args(suite.filters)
        .args(["--test-threads", "1"])
        .env("PROPTEST_RNG_SEED", seed.to_string())
        .env("PROPTEST_CASES", "1")
        .env("INSTA_UPDATE", "no")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if result.status.success() {
        return Ok(());
    }
    let (out, err) = (&result.stdout, &result.stderr);
    println!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    );
    let (package, target) = (suite.package, suite.target);
    let filters = suite.filters.join(" ");
    bail!(
        "seed {seed} failed; to try it again:\n  PROPTEST_RNG_SEED={seed} PROPTEST_CASES=1 \
         cargo test -p {package} --test {target} -- {filters}"
    )
}
