//! What pilots cost with Slurm: submissions a second, one look at 2,000 pilots, and their end.
//!
//! ```sh
//! deploy/testbed/slurm.sh up /tmp/bed --accounting --rest
//! FAIRWAY_TEST_SLURM=/tmp/bed cargo bench -p fairway-site-adapters --bench slurm
//! ```
//!
//! All pilots but one wait, so that it is Slurm that is measured and not what it starts.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints figures, and stops where there are none"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_model::{
    AdapterSettings, Ce, PilotId, Resources, RestSettings, SecretRef, SlurmSettings,
};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};

/// Pilots that are looked at.
const PILOTS: u64 = 2000;
/// Pilots that are submitted one by one through the API.
const FEW: u64 = 200;
/// Looks of which the middle one counts.
const LOOKS: usize = 9;

struct Bed {
    folder: PathBuf,
    commands: Arc<dyn BatchSystem>,
    rest: Option<Arc<dyn BatchSystem>>,
}

impl Bed {
    fn open() -> Self {
        let folder = std::env::var_os("FAIRWAY_TEST_SLURM").map(PathBuf::from);
        let folder = folder.expect("FAIRWAY_TEST_SLURM names no Slurm test bed");
        let commands = open(SlurmSettings {
            conf: Some(folder.join("slurm.conf").to_str().unwrap().into()),
            ..SlurmSettings::default()
        });
        let rest = folder.join("rest.url").exists().then(|| {
            open(SlurmSettings {
                rest: Some(RestSettings {
                    url: read(&folder.join("rest.url")),
                    user: Some(read(&folder.join("rest.user"))),
                    secret: Some(SecretRef::File(
                        folder.join("rest.token").to_str().unwrap().into(),
                    )),
                    ca: None,
                }),
                ..SlurmSettings::default()
            })
        });
        Self {
            folder,
            commands,
            rest,
        }
    }

    /// Bytes that `squeue` prints for our jobs, as the adapter asks it.
    fn squeue_bytes(&self) -> usize {
        let output = Command::new("squeue")
            .env("SLURM_CONF", self.folder.join("slurm.conf"))
            .args("--noheader --all --array --states=all --me -o %i|%T|%j|%r".split(' '))
            .output();
        output.unwrap().stdout.len()
    }

    /// Bytes that `slurmrestd` answers when it is asked for the jobs.
    async fn rest_bytes(&self) -> usize {
        let url = format!("{}/slurm/v0.0.38/jobs", read(&self.folder.join("rest.url")));
        let answer = reqwest::Client::builder()
            .tls_certs_only([])
            .no_proxy()
            .build()
            .unwrap()
            .get(url)
            .header("X-SLURM-USER-NAME", read(&self.folder.join("rest.user")))
            .header("X-SLURM-USER-TOKEN", read(&self.folder.join("rest.token")))
            .send()
            .await
            .unwrap();
        answer.bytes().await.unwrap().len()
    }
}

fn open(settings: SlurmSettings) -> Arc<dyn BatchSystem> {
    let site = "bed".parse().unwrap();
    connect(
        &site,
        &AdapterSettings::Slurm(settings),
        Path::new("/nonexistent"),
    )
    .unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Pilots as a server would send them. Those with another walltime each cannot go together.
fn pilots(prefix: &str, count: u64, alike: bool) -> Vec<PilotJob> {
    let mut ce = Ce::new("bench".parse().unwrap());
    ce.queue = Some("tiny".into());
    let pilot = |number: u64| PilotJob {
        pilot: PilotId(number),
        ce: ce.clone(),
        name: if alike {
            format!("{prefix}p{number}")
        } else {
            format!("{prefix}n{number}")
        },
        resources: Resources {
            cores: 4,
            memory_mib: 64,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 300,
        program: ["/bin/sleep", "300"].map(str::to_owned).to_vec(),
        // About as long as a bootstrap document.
        stdin: format!("{number:0>400}\n"),
    };
    (1..=count).map(pilot).collect()
}

async fn submit(what: &str, system: &dyn BatchSystem, jobs: &[PilotJob]) -> Vec<String> {
    let begin = Instant::now();
    let results = system.submit(jobs).await;
    let took = begin.elapsed();
    let ids: Vec<String> = results.into_iter().map(Result::unwrap).collect();
    println!(
        "{what:<44} {:>8.0} pilots/s  ({} in {:.2} s)",
        ids.len() as f64 / took.as_secs_f64(),
        ids.len(),
        took.as_secs_f64()
    );
    ids
}

async fn look(what: &str, system: &dyn BatchSystem, prefix: &str, ids: &[String], bytes: usize) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..LOOKS {
        let begin = Instant::now();
        let jobs = system.poll(prefix, ids).await.unwrap();
        times.push(begin.elapsed());
        assert_eq!(jobs.len(), ids.len(), "{what}");
    }
    times.sort_unstable();
    println!(
        "{what:<44} {:>8.1} ms        ({} pilots, {:.1} kB)",
        times[LOOKS / 2].as_secs_f64() * 1e3,
        ids.len(),
        bytes as f64 / 1e3
    );
}

async fn cancel(what: &str, system: &dyn BatchSystem, ids: &[String]) {
    let begin = Instant::now();
    system.cancel(ids).await.unwrap();
    println!(
        "{what:<44} {:>8.1} ms        ({} pilots)",
        begin.elapsed().as_secs_f64() * 1e3,
        ids.len()
    );
}

// Arrays come first: jobs that are over are listed for a while, but not members that never started.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let bed = Bed::open();
    let (commands, rest) = (&*bed.commands, bed.rest.as_deref());
    let prefix = |kind: &str| format!("fw-bench{}{kind}-", std::process::id());

    let arrays = prefix("b");
    let ids = submit("sbatch, arrays", commands, &pilots(&arrays, PILOTS, true)).await;
    look(
        "squeue, arrays",
        commands,
        &arrays,
        &ids,
        bed.squeue_bytes(),
    )
    .await;
    if let Some(rest) = rest {
        let bytes = bed.rest_bytes().await;
        look("slurmrestd, arrays", rest, &arrays, &ids, bytes).await;
    }
    cancel("scancel, arrays", commands, &ids).await;

    let alone = prefix("a");
    let ids = submit(
        "sbatch, one by one",
        commands,
        &pilots(&alone, PILOTS, false),
    )
    .await;
    look("squeue, jobs", commands, &alone, &ids, bed.squeue_bytes()).await;
    if let Some(rest) = rest {
        let bytes = bed.rest_bytes().await;
        look("slurmrestd, jobs", rest, &alone, &ids, bytes).await;
    }
    cancel("scancel, jobs", commands, &ids).await;

    let Some(rest) = rest else {
        println!("slurmrestd: not in this test bed");
        return;
    };
    let ids = submit(
        "slurmrestd, one by one",
        rest,
        &pilots(&prefix("c"), FEW, false),
    )
    .await;
    cancel("slurmrestd, jobs cancelled", rest, &ids).await;
    let ids = submit(
        "slurmrestd, arrays",
        rest,
        &pilots(&prefix("d"), PILOTS, true),
    )
    .await;
    cancel("scancel, arrays of slurmrestd", commands, &ids).await;
}
