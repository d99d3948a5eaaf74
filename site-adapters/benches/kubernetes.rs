//! What submitting and polling many pilots costs on Kubernetes: `cargo bench -p
//! fairway-site-adapters --bench kubernetes`. The cluster is the tests' stand-in, in the same
//! process, so that the figures are the adapter's own and not those of a cluster.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints figures, and a panic is how it fails"
)]

#[path = "../tests/standin/mod.rs"]
mod standin;

use std::path::Path;
use std::time::{Duration, Instant};

use fairway_model::{AdapterSettings, KubernetesSettings, PilotId, Resources};
use fairway_site_adapters::{BatchState, PilotJob, connect};
use serde_json::json;

use standin::{IMAGE, Settings, Standin, node};

const PILOTS: u64 = 2000;
const POLLS: u32 = 50;

#[tokio::main]
async fn main() {
    let standin = Standin::start(Settings {
        nodes: vec![node("n1", "4000", json!({}))],
        pretend: true,
        ..Settings::default()
    });
    let settings = AdapterSettings::Kubernetes(Box::new(KubernetesSettings {
        kubeconfig: Some(standin.kubeconfig().to_str().unwrap().to_owned()),
        image: Some(IMAGE.to_owned()),
        ..KubernetesSettings::default()
    }));
    let system = connect(&"here".parse().unwrap(), &settings, Path::new("/unused")).unwrap();
    let jobs: Vec<PilotJob> = (0..PILOTS).map(job).collect();

    let begin = Instant::now();
    let ids: Vec<String> = system
        .submit(&jobs)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let took = begin.elapsed();
    println!(
        "{PILOTS} submissions: {:.2} s, {:.0} a second",
        took.as_secs_f64(),
        PILOTS as f64 / took.as_secs_f64()
    );

    let begin = Instant::now();
    let first = system.poll("fw-bench-", &ids).await.unwrap();
    println!(
        "first poll (all are listed): {:.0} ms",
        millis(begin.elapsed())
    );
    assert_eq!(first.len(), ids.len());
    loop {
        let jobs = system.poll("fw-bench-", &ids).await.unwrap();
        let running = jobs.iter().filter(|job| job.state == BatchState::Running);
        if running.count() == ids.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let (begin, requests) = (Instant::now(), standin.requests());
    for _ in 0..POLLS {
        assert_eq!(
            system.poll("fw-bench-", &ids).await.unwrap().len(),
            ids.len()
        );
    }
    let each = begin.elapsed() / POLLS;
    println!(
        "a poll of {PILOTS} running pilots: {:.1} ms, {:.1} requests",
        millis(each),
        (standin.requests() - requests) as f64 / f64::from(POLLS)
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn job(number: u64) -> PilotJob {
    PilotJob {
        pilot: PilotId(number),
        ce: serde_json::from_value(json!({"name": "ce"})).unwrap(),
        name: format!("fw-bench-p{number}"),
        resources: Resources {
            cores: 1,
            memory_mib: 64,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 3600,
        program: vec!["/fairway-pilot".into()],
        stdin: "{}".into(),
    }
}
