//! What is PBS's own: arrays, allocations of several nodes, listings that somebody spoilt, and a
//! history that is off. On the stand-in, whose answers are held against recordings here too.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use fairway_model::{PbsSettings, Timestamp};
use fairway_site_adapters::{BatchJob, BatchState, BatchSystem, PilotJob};

use crate::bed::{Bed, OpenPbsBed, StandIn, TorqueBed, ce, open};
use crate::bench::{Bench, DEADLINE, LOOK};

/// Pilots whose names have numbers, as the server gives them.
fn numbered(bench: &Bench<'_>, numbers: std::ops::Range<u64>) -> Vec<PilotJob> {
    numbers
        .map(|number| {
            let mut job = bench.job(&format!("p{number}"), 1, "exit 0");
            // All equal but for what they read: the program finds its files by its document.
            let folder = bench.path("x", "y").parent().unwrap().to_owned();
            job.program[2] = "read name; cat >\"$0/$name.in\"; touch \"$0/$name.up\"; \
                              while [ ! -e \"$0/$name.go\" ]; do sleep 0.05; done"
                .into();
            job.program[3] = folder.to_str().unwrap().into();
            job.stdin = format!("p{number}\nEND_OF_BOOTSTRAP\n$HOME\n");
            job
        })
        .collect()
}

async fn submit(system: &dyn BatchSystem, jobs: &[PilotJob]) -> Vec<String> {
    let results = system.submit(jobs).await;
    results.into_iter().map(Result::unwrap).collect()
}

async fn until_all(
    system: &dyn BatchSystem,
    ids: &[String],
    wanted: fn(&BatchState) -> bool,
) -> Vec<BatchJob> {
    let begin = Instant::now();
    loop {
        let jobs = system.poll("fw-", ids).await.unwrap();
        let all = |id: &String| {
            jobs.iter()
                .any(|job| job.batch_id == *id && wanted(&job.state))
        };
        if ids.iter().all(all) {
            return jobs;
        }
        assert!(begin.elapsed() < DEADLINE, "{jobs:?}");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn pilots_in_an_array_have_names_documents_and_ends_of_their_own() {
    let bed = OpenPbsBed::new().await.unwrap();
    let bench = Bench::new(&bed);
    let jobs = numbered(&bench, 7..11);
    let ids = submit(bed.system(), &jobs).await;
    let arrays: BTreeSet<&str> = ids.iter().filter_map(|id| id.split('[').next()).collect();
    assert_eq!(arrays.len(), 1, "one array: {ids:?}");
    for (job, id) in jobs.iter().zip(&ids) {
        let name = job.stdin.lines().next().unwrap();
        bench.until_exists(name, "up").await;
        let read = std::fs::read_to_string(bench.path(name, "in")).unwrap();
        assert_eq!(read, "END_OF_BOOTSTRAP\n$HOME\n");
        // As after a reply that was lost: the listing alone tells whose job it is.
        let told = bench.jobs(&[]).await;
        let found = told.iter().find(|told| told.name == job.name).unwrap();
        assert_eq!(found.batch_id, *id);
    }
    bench.let_go("p8");
    assert!(bench.until_ended(&ids[1]).await.contains("finished"));
    bed.system().cancel(&ids[2..3]).await.unwrap();
    assert!(bench.until_ended(&ids[2]).await.contains("terminated"));
    assert_eq!(bench.state(&ids[0]).await, BatchState::Running);
    bench.let_go("p7");
    bench.let_go("p10");
    // Once the whole array is over, only the history knows of its members.
    until_all(bed.system(), &ids, |state| {
        matches!(state, BatchState::Ended { .. })
    })
    .await;
}

#[tokio::test]
async fn every_node_of_an_allocation_has_a_pilot_and_a_number() {
    let stand_in = StandIn::up(&["--hosts", "3"]);
    let system = open(PbsSettings {
        work_dir: Some(stand_in.shared().to_str().unwrap().into()),
        ..stand_in.settings()
    });
    let bed = OpenPbsBed::new().await.unwrap();
    let bench = Bench::new(&bed);
    let mut job = bench.job("wide", 2, "");
    job.ce = ce("workq");
    job.nodes = 3;
    job.program[2] = "cat >\"$0.in$FAIRWAY_NODE\"; touch \"$0.up$FAIRWAY_NODE\"; \
                      while [ ! -e \"$0.go\" ]; do sleep 0.05; done"
        .into();
    let ids = submit(&*system, std::slice::from_ref(&job)).await;
    for node in 0..3 {
        bench.until_exists("wide", &format!("up{node}")).await;
        let read = std::fs::read_to_string(bench.path("wide", &format!("in{node}"))).unwrap();
        assert_eq!(read, job.stdin);
    }
    let laid_down = |folder: &Path| -> Vec<_> {
        let files = std::fs::read_dir(folder).unwrap().flatten();
        files
            .filter(|file| file.file_name().to_string_lossy().starts_with(".fw-"))
            .collect()
    };
    // The job's end may be told a moment before its script's.
    let until_removed = async || {
        let begin = Instant::now();
        while !laid_down(stand_in.shared()).is_empty() {
            assert!(begin.elapsed() < DEADLINE, "the document is not removed");
            tokio::time::sleep(LOOK).await;
        }
    };
    let files = laid_down(stand_in.shared());
    assert_eq!(files.len(), 1, "{files:?}");
    let mode = std::os::unix::fs::MetadataExt::mode(&files[0].metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600, "it holds a secret");
    bench.let_go("wide");
    until_all(&*system, &ids, |state| {
        matches!(state, BatchState::Ended { .. })
    })
    .await;
    until_removed().await;
    for node in 0..3 {
        let log = stand_in.shared().join(format!("{}.{node}.log", job.name));
        assert!(log.exists(), "each writes a log of its own");
    }

    let job = hears_the_end(&bench, job);
    let ids = submit(&*system, std::slice::from_ref(&job)).await;
    for node in 0..3 {
        bench.until_exists("again", &format!("up{node}")).await;
    }
    system.cancel(&ids).await.unwrap();
    for node in 0..3 {
        bench.until_exists("again", &format!("warned{node}")).await;
    }
    until_all(&*system, &ids, |state| {
        matches!(state, BatchState::Ended { .. })
    })
    .await;
    until_removed().await;
}

/// The same once more, with time to do something about its end.
fn hears_the_end(bench: &Bench<'_>, mut job: PilotJob) -> PilotJob {
    job.name.push_str("-again");
    job.program[2] = format!(
        "trap 'sleep 0.2; touch \"$0.warned$FAIRWAY_NODE\"; exit 0' TERM; {}",
        job.program[2]
    );
    let files = bench.path("again", "x").with_extension("");
    job.program[3] = files.to_str().unwrap().into();
    job
}

#[tokio::test]
async fn over_slurm_every_node_of_an_allocation_has_a_pilot_and_a_number() {
    let Some(bed) = TorqueBed::new().await else {
        return;
    };
    let bench = Bench::new(&bed);
    let mut job = bench.job("wide", 2, "");
    job.ce = ce("short");
    job.nodes = 2;
    job.avoid = vec!["n1".into()];
    job.program[2] = "cat >\"$0.in$FAIRWAY_NODE\"; echo $SLURMD_NODENAME >\"$0.up$FAIRWAY_NODE\"; \
                      while [ ! -e \"$0.go\" ]; do sleep 0.05; done"
        .into();
    let ids = submit(bed.system(), std::slice::from_ref(&job)).await;
    for node in 0..2 {
        bench.until_exists("wide", &format!("up{node}")).await;
        let read = std::fs::read_to_string(bench.path("wide", &format!("in{node}"))).unwrap();
        assert_eq!(read, job.stdin);
        let host = std::fs::read_to_string(bench.path("wide", &format!("up{node}"))).unwrap();
        assert_ne!(host.trim(), "n1", "it was to be avoided");
    }
    bench.let_go("wide");
    bench.until_ended(&ids[0]).await;

    let job = hears_the_end(&bench, job);
    let ids = submit(bed.system(), std::slice::from_ref(&job)).await;
    for node in 0..2 {
        bench.until_exists("again", &format!("up{node}")).await;
    }
    bed.system().cancel(&ids).await.unwrap();
    for node in 0..2 {
        bench.until_exists("again", &format!("warned{node}")).await;
    }
    bench.until_ended(&ids[0]).await;
}

#[tokio::test]
async fn a_job_named_like_a_number_does_not_hide_the_others() {
    let bed = OpenPbsBed::new().await.unwrap();
    let stand_in = StandIn::up(&[]);
    let system = open(stand_in.settings());
    let bench = Bench::new(&bed);
    let mut job = bench.job("mine", 1, "exit 0");
    job.ce = ce("workq");
    let ids = submit(&*system, std::slice::from_ref(&job)).await;
    let qsub = stand_in.program("qsub");
    let mut spoiler = Command::new(qsub)
        .args(["-N", "inf", "-q", "tiny"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    spoiler.stdin.take().unwrap().write_all(b"true\n").unwrap();
    assert!(spoiler.wait().unwrap().success());
    let jobs = system.poll("fw-", &ids).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].name, job.name);
    bench.let_go("mine");
    until_all(&*system, &ids, |state| {
        matches!(state, BatchState::Ended { .. })
    })
    .await;
}

#[tokio::test]
async fn without_a_history_a_job_that_is_over_is_left_out() {
    let bed = OpenPbsBed::new().await.unwrap();
    let stand_in = StandIn::up(&["--no-history"]);
    let system = open(stand_in.settings());
    let bench = Bench::new(&bed);
    let mut job = bench.job("brief", 1, "exit 0");
    job.ce = ce("workq");
    let ids = submit(&*system, &[job]).await;
    until_all(&*system, &ids, |state| *state == BatchState::Running).await;
    bench.let_go("brief");
    let begin = Instant::now();
    while !system.poll("fw-", &ids).await.unwrap().is_empty() {
        assert!(begin.elapsed() < DEADLINE);
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn a_request_that_no_node_can_meet_says_so() {
    let bed = OpenPbsBed::new().await.unwrap();
    let bench = Bench::new(&bed);
    let stand_in = StandIn::up(&[]);
    let system = open(stand_in.settings());
    let mut job = bench.job("huge", 64, "");
    job.ce = ce("workq");
    let ids = submit(&*system, &[job]).await;
    let jobs = system.poll("fw-", &ids).await.unwrap();
    match &jobs[0].state {
        BatchState::Queued { reason } => assert!(reason.contains("Can Never Run"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let stopped = system.publish(&[ce("tiny")], Timestamp(0)).await.unwrap();
    assert_eq!(stopped[0].reason.as_deref(), Some("the queue is stopped"));
}

/// The names of attributes in an answer, in their order, each with how deep it lies.
fn shape(answer: &str) -> Vec<&str> {
    answer
        .lines()
        .filter_map(|line| {
            let name = line.trim_start().strip_prefix('"')?.split_once("\":")?.0;
            let depth = (line.len() - line.trim_start().len()) / 4;
            // Names of what is told of are its own, and what a job has used is not.
            (depth != 2 && !name.starts_with("PBS_O_") && !name.starts_with("GRID_"))
                .then_some(name)
        })
        .collect()
}

fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/openpbs");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The first thing told of in an answer that has several.
fn first(answer: &str) -> String {
    let lines = answer.lines();
    let end = lines.clone().position(|line| line == "        },");
    lines
        .take(end.unwrap_or(usize::MAX))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn the_stand_in_answers_in_the_recorded_shapes() {
    let stand_in = StandIn::up(&[]);
    let submit = |args: &[&str], script: &str| {
        let mut qsub = Command::new(stand_in.program("qsub"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        qsub.stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let output = qsub.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let select = [
        "-l",
        "select=1:ncpus=1:mem=100mb",
        "-l",
        "walltime=00:01:00",
    ];
    let args = [&["-q", "short"], &select[..]].concat();
    let empty = stand_in.command("qstat", &["-Q", "-f", "-F", "json"]);
    assert_eq!(
        shape(&first(&empty)),
        shape(&first(&recorded("qstat-Q-empty.json")))
    );
    let id = submit(&args, "#!/bin/sh\nexec sleep 60\n");
    let running = stand_in.command("qstat", &["-f", "-F", "json", &id]);
    assert_eq!(shape(&running), shape(&recorded("job-running.json")));
    let server = stand_in.command("qstat", &["-B", "-f", "-F", "json"]);
    assert_eq!(shape(&server), shape(&recorded("qstat-B-busy.json")));
    let busy = stand_in.command("qstat", &["-Q", "-f", "-F", "json", "short"]);
    assert_eq!(shape(&busy), shape(&first(&recorded("qstat-Q-busy.json"))));
    let array = submit(
        &["-q", "workq", "-J", "0-1", "-l", "walltime=60"],
        "#!/bin/sh\nexit $PBS_ARRAY_INDEX\n",
    );
    let begin = Instant::now();
    let over = loop {
        let over = stand_in.command("qstat", &["-x", "-t", "-f", "-F", "json", &array]);
        if over.contains("\"job_state\":\"F\"") {
            break over;
        }
        assert!(begin.elapsed() < DEADLINE, "{over}");
        tokio::time::sleep(LOOK).await;
    };
    let is_asked = |name: &&str| !matches!(*name, "session_id" | "jobdir");
    let over = first(&over);
    let told: Vec<&str> = shape(&over).into_iter().filter(is_asked).collect();
    let array = recorded("array-finished.json");
    let wanted = first(&array);
    let wanted: Vec<&str> = shape(&wanted).into_iter().filter(is_asked).collect();
    assert_eq!(told, wanted);
    stand_in.command("qdel", &[&id]);
    let gone = stand_in.refusal("qdel", &["99999"]);
    assert_eq!(gone, (Some(153), recorded("qdel-unknown.err")));
    stand_in.stop();
    let down = stand_in.refusal("qstat", &["-f", "-F", "json"]);
    assert_eq!(down, (Some(255), recorded("down-qstat.err")));
    let down = stand_in.refusal("qdel", &["1"]);
    assert_eq!(down, (Some(162), recorded("down-qdel.err")));
    let down = stand_in.refusal("pbsnodes", &["-a"]);
    assert_eq!(down, (Some(1), recorded("down-pbsnodes.err")));
}
