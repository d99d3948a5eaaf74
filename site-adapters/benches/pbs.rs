//! What PBS costs: pilots submitted a second, one by one and as arrays, and one poll of many.
//!
//! `cargo bench -p fairway-site-adapters --bench pbs`. OpenPBS is the stand-in of the test beds, of
//! which each command starts a Python, and a `qstat` that prints a listing written beforehand,
//! which leaves what the adapter itself costs. TORQUE's commands over Slurm are measured if
//! `FAIRWAY_TEST_TORQUE` names a test bed.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and may panic"
)]

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_model::{AdapterSettings, Ce, PbsDialect, PbsSettings, PilotId, Resources};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};

const PILOTS: usize = 2_000;
const ONE_BY_ONE: usize = 40;
const POLLS: u32 = 5;
const OVER_SLURM: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        replayed().await;
        stand_in().await;
        torque().await;
    });
}

/// The adapter alone: `qstat` is a `cat`.
async fn replayed() {
    let folder = tempfile::tempdir().unwrap();
    let listing = folder.path().join("listing.json");
    std::fs::write(&listing, listing_of(PILOTS)).unwrap();
    let size = std::fs::metadata(&listing).unwrap().len();
    let qstat = folder.path().join("qstat");
    std::fs::write(
        &qstat,
        format!("#!/bin/sh\nexec cat {}\n", listing.display()),
    )
    .unwrap();
    std::fs::set_permissions(&qstat, PermissionsExt::from_mode(0o755)).unwrap();
    let system = open(PbsDialect::Openpbs, folder.path(), &[]);
    let took = poll(&*system, PILOTS).await;
    println!(
        "OpenPBS, replayed: a poll of {PILOTS} pilots, {} KiB of JSON: {took:.1?}",
        size >> 10
    );
}

/// A listing in the recorded form.
fn listing_of(jobs: usize) -> String {
    let recorded = include_str!("../tests/fixtures/openpbs/job-running.json");
    let (head, rest) = recorded.split_once("        \"0.pbshost\"").unwrap();
    let (row, foot) = rest.rsplit_once("\n    }\n}").unwrap();
    let mut listing = head.to_owned();
    for number in 0..jobs {
        let comma = if number + 1 < jobs { "," } else { "" };
        let row = row.replace("\"pilot\"", &format!("\"fw-bench-p{number}\""));
        writeln!(listing, "        \"{number}.pbshost\"{row}{comma}").unwrap();
    }
    listing + "    }\n}" + foot
}

async fn stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("pbs");
    let control = |verb: &str| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/testbed/openpbs-replay/openpbs.py");
        let output = Command::new(script).arg(verb).arg(&site).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    control("up");
    let system = open(PbsDialect::Openpbs, &site.join("bin"), &[]);
    // Names that do not follow each other make no array.
    let single: Vec<PilotJob> = (0..ONE_BY_ONE).map(|at| job("workq", at * 2)).collect();
    let rate = submit(&*system, &single).await;
    println!("OpenPBS, stand-in: {rate:.0} pilots/s one by one");
    let many: Vec<PilotJob> = (0..PILOTS).map(|at| job("workq", 10_000 + at)).collect();
    let rate = submit(&*system, &many).await;
    println!("OpenPBS, stand-in: {rate:.0} pilots/s in arrays");
    let took = poll(&*system, PILOTS + ONE_BY_ONE).await;
    println!("OpenPBS, stand-in: a poll of {PILOTS} pilots: {took:.1?}");
    control("down");
}

async fn torque() {
    let Some(folder) = std::env::var_os("FAIRWAY_TEST_TORQUE") else {
        println!("TORQUE over Slurm: left out, FAIRWAY_TEST_TORQUE is not set");
        return;
    };
    let conf = Path::new(&folder).join("slurm.conf");
    let env = [("SLURM_CONF", conf.to_str().unwrap())];
    let system = open(PbsDialect::Torque, Path::new("/usr/bin"), &env);
    let jobs: Vec<PilotJob> = (0..OVER_SLURM).map(|at| job("long", at)).collect();
    let rate = submit(&*system, &jobs).await;
    println!("TORQUE over Slurm: {rate:.0} pilots/s");
    let took = poll(&*system, OVER_SLURM).await;
    println!("TORQUE over Slurm: a poll of {OVER_SLURM} pilots: {took:.1?}");
    let left = system.poll("fw-bench-", &[]).await.unwrap();
    let ids: Vec<String> = left.into_iter().map(|job| job.batch_id).collect();
    let began = Instant::now();
    system.cancel(&ids).await.unwrap();
    println!(
        "TORQUE over Slurm: {OVER_SLURM} cancelled: {:.1?}",
        began.elapsed()
    );
}

fn open(dialect: PbsDialect, bin_dir: &Path, env: &[(&str, &str)]) -> Arc<dyn BatchSystem> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let settings = AdapterSettings::Pbs(PbsSettings {
        dialect,
        bin_dir: Some(bin_dir.to_str().unwrap().to_owned()),
        env: env.iter().map(own).collect(),
        ..PbsSettings::default()
    });
    connect(&"bench".parse().unwrap(), &settings, Path::new("/unused")).unwrap()
}

fn job(queue: &str, number: usize) -> PilotJob {
    let mut ce = Ce::new("ce".parse().unwrap());
    ce.queue = Some(queue.to_owned());
    PilotJob {
        pilot: PilotId(number as u64),
        ce,
        name: format!("fw-bench-p{number}"),
        resources: Resources {
            cores: 4,
            memory_mib: 0,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 600,
        program: ["/bin/sleep", "600"].map(str::to_owned).to_vec(),
        stdin: "x".repeat(1_000),
    }
}

/// Pilots a second.
async fn submit(system: &dyn BatchSystem, jobs: &[PilotJob]) -> f64 {
    let began = Instant::now();
    let results = system.submit(jobs).await;
    let took = began.elapsed();
    assert!(
        results.iter().all(Result::is_ok),
        "{:?}",
        results.iter().find(|it| it.is_err())
    );
    jobs.len() as f64 / took.as_secs_f64()
}

/// The mean time of a poll that finds so many.
async fn poll(system: &dyn BatchSystem, jobs: usize) -> Duration {
    let began = Instant::now();
    for _ in 0..POLLS {
        let told = system.poll("fw-bench-", &[]).await.unwrap();
        assert!(told.len() >= jobs, "{} of {jobs}", told.len());
    }
    began.elapsed() / POLLS
}
