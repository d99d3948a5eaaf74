//! What is OAR's own: nodes that only `oarsh` reaches, and scripts that are files.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use fairway_site_adapters::{BatchState, PilotJob};

use crate::bed::{Bed, FULL, OarBed, OarRestBed, ce};
use crate::bench::{Bench, DOCUMENT};

/// A job on two nodes, whose program tells on each what it read and that it heard SIGTERM.
fn on_two_nodes(bench: &Bench<'_>, name: &str) -> PilotJob {
    let mut job = bench.job(name, 2, "");
    job.ce = ce("default");
    job.nodes = 2;
    let wait = job.program[2].replace(
        "\"$0.in\"; touch \"$0.up\"",
        "\"$0.in$FAIRWAY_NODE\"; touch \"$0.up$FAIRWAY_NODE\"",
    );
    job.program[2] =
        format!("trap 'sleep 0.2; touch \"$0.warned$FAIRWAY_NODE\"; exit 0' TERM; {wait}");
    job
}

async fn every_node_gets_the_document_and_the_signal(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let ends = on_two_nodes(&bench, "ends");
    let hears = on_two_nodes(&bench, "hears");
    let mut ids = Vec::new();
    for result in bed.system().submit(&[ends, hears]).await {
        ids.push(result.unwrap());
    }
    for name in ["ends", "hears"] {
        for node in 0..2 {
            bench.until_exists(name, &format!("up{node}")).await;
            let read = std::fs::read_to_string(bench.path(name, &format!("in{node}"))).unwrap();
            assert_eq!(read, DOCUMENT, "what node {node} of {name} read");
        }
    }
    bench.let_go("ends");
    assert_eq!(bench.until_ended(&ids[0]).await, "Terminated");
    bed.system().cancel(&ids[1..]).await.unwrap();
    bench.until_ended(&ids[1]).await;
    for node in 0..2 {
        let warned = bench.path("hears", &format!("warned{node}"));
        assert!(warned.exists(), "node {node} was not warned");
    }
    bench.clear().await;
}

/// The scripts of this test in the work folder.
fn scripts(work: &str, bench: &Bench<'_>) -> Vec<PathBuf> {
    let files = std::fs::read_dir(work).unwrap().map(|file| file.unwrap());
    files
        .filter(|file| {
            let name = file.file_name().into_string().unwrap();
            name.starts_with(&bench.prefix) && name.contains(".pilot.")
        })
        .map(|file| file.path())
        .collect()
}

async fn the_secret_is_in_one_file_until_the_job_starts(bed: &dyn Bed, folder: &str) {
    let work = format!("{folder}/work");
    let bench = Bench::new(bed);
    let first = bench.submit("first", FULL, "exit 0").await;
    bench.until_exists("first", "up").await;
    assert!(scripts(&work, &bench).is_empty(), "it removes itself");

    let waits = bench.submit("waits", 1, "").await;
    assert!(matches!(
        bench.state(&waits).await,
        BatchState::Queued { .. }
    ));
    let left = scripts(&work, &bench);
    assert_eq!(left.len(), 1, "{left:?}");
    let mode = left[0].metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let shown = Command::new(format!("{folder}/bin/oarstat"))
        .args(["-f", "-j", &first, "-j", &waits, "-J"])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains(&waits) && !shown.contains("secret"),
        "{shown}"
    );

    bed.system().cancel(&[waits]).await.unwrap();
    assert!(scripts(&work, &bench).is_empty(), "nobody starts it");
    bench.let_go("first");
    bench.clear().await;
}

#[tokio::test]
async fn nodes_by_commands() {
    if let Some(bed) = OarBed::new().await {
        every_node_gets_the_document_and_the_signal(&bed).await;
    }
}

#[tokio::test]
async fn nodes_by_rest() {
    if let Some(bed) = OarRestBed::new().await {
        every_node_gets_the_document_and_the_signal(&bed).await;
    }
}

#[tokio::test]
async fn scripts_by_commands() {
    if let Some(bed) = OarBed::new().await {
        let folder = bed.folder().to_str().unwrap().to_owned();
        the_secret_is_in_one_file_until_the_job_starts(&bed, &folder).await;
    }
}

#[tokio::test]
async fn scripts_by_rest() {
    if let Some(bed) = OarRestBed::new().await {
        let folder = bed.folder().to_str().unwrap().to_owned();
        the_secret_is_in_one_file_until_the_job_starts(&bed, &folder).await;
    }
}
