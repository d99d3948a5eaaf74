//! What only the local adapter has to hold: jobs outlive the server, and end when told to.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use fairway_model::{PilotId, Resources};
use tempfile::TempDir;

use super::*;
use crate::BatchState;

const DEADLINE: Duration = Duration::from_secs(20);

struct Bench {
    folder: TempDir,
    local: Local,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = Self::open(&folder);
        Self { folder, local }
    }

    fn open(folder: &TempDir) -> Local {
        let grace = Duration::from_millis(100);
        let jobs = folder.path().join("local");
        Local::open_with("here".parse().unwrap(), Some(2), &jobs, grace).unwrap()
    }

    /// The next server after this one was killed. Its runtime has to be gone by then, because
    /// what waits for jobs would live on in it.
    fn restart(self) -> Self {
        let local = Self::open(&self.folder);
        Self {
            folder: self.folder,
            local,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A job that runs a script, in which `$0` is the test's folder.
    fn job(&self, name: &str, cores: u32, script: &str) -> PilotJob {
        PilotJob {
            pilot: PilotId(1),
            ce: serde_json::from_value(serde_json::json!({"name": "ce"})).unwrap(),
            name: name.into(),
            resources: Resources {
                cores,
                ..Resources::default()
            },
            nodes: 1,
            run_as: None,
            reserve_at: None,
            avoid: Vec::new(),
            walltime_s: 3600,
            program: [
                "/bin/sh",
                "-c",
                script,
                self.folder.path().to_str().unwrap(),
            ]
            .map(str::to_owned)
            .to_vec(),
            stdin: "secret".into(),
        }
    }

    async fn submit(&self, name: &str, cores: u32, script: &str) {
        let job = self.job(name, cores, script);
        assert_eq!(self.local.submit(&[job]).await, [Ok(name.to_owned())]);
    }

    async fn state(&self, name: &str) -> BatchState {
        let jobs = self.local.poll(name, &[]).await.unwrap();
        jobs.into_iter().find(|job| job.name == name).unwrap().state
    }

    async fn until_ended(&self, name: &str) -> String {
        let begin = Instant::now();
        loop {
            match self.state(name).await {
                BatchState::Ended { detail } => return detail,
                state => assert!(begin.elapsed() < DEADLINE, "{name} is {state:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_exists(&self, name: &str) {
        let begin = Instant::now();
        while !self.path(name).exists() {
            assert!(begin.elapsed() < DEADLINE, "{name} does not appear");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs the life of one server.
fn live<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(life)
}

/// Waits, at most a minute, for the file `go` in the test's folder.
const WAIT_FOR_GO: &str =
    "n=0; touch $0/up; while [ ! -e $0/go ] && [ $n -lt 3000 ]; do sleep 0.02; n=$((n+1)); done; ";

#[test]
fn jobs_outlive_the_server_and_are_found_again() {
    let bench = Bench::new();
    live(async {
        let script = format!("{WAIT_FOR_GO} exit 5");
        bench.submit("runs", 2, &script).await;
        bench.submit("waits", 2, "exit 6").await;
        bench.until_exists("up").await;
    });
    let bench = bench.restart();
    live(async {
        assert_eq!(bench.state("runs").await, BatchState::Running);
        assert!(matches!(
            bench.state("waits").await,
            BatchState::Queued { .. }
        ));
        std::fs::write(bench.path("go"), "").unwrap();
        assert_eq!(bench.until_ended("runs").await, "exit code 5");
        assert_eq!(bench.until_ended("waits").await, "exit code 6");
    });
    let bench = bench.restart();
    live(async { assert_eq!(bench.until_ended("runs").await, "exit code 5") });
}

#[tokio::test]
async fn the_next_job_starts_without_being_asked_for() {
    let bench = Bench::new();
    bench.submit("first", 2, WAIT_FOR_GO).await;
    bench.submit("second", 1, "touch $0/second").await;
    std::fs::write(bench.path("go"), "").unwrap();
    bench.until_exists("second").await;
}

#[tokio::test]
async fn the_order_is_that_of_submission() {
    let bench = Bench::new();
    bench.submit("half", 1, WAIT_FOR_GO).await;
    bench.submit("whole", 2, "echo whole >>$0/order").await;
    bench.submit("small", 1, "echo small >>$0/order").await;
    assert!(
        matches!(bench.state("small").await, BatchState::Queued { .. }),
        "a core is free, but it is another's turn"
    );
    std::fs::write(bench.path("go"), "").unwrap();
    bench.until_ended("small").await;
    let order = std::fs::read_to_string(bench.path("order")).unwrap();
    assert_eq!(order, "whole\nsmall\n");
}

#[tokio::test]
async fn the_secret_is_private_and_gone_once_read() {
    let bench = Bench::new();
    let script = format!("cat >$0/read; {WAIT_FOR_GO}");
    bench.submit("first", 2, &script).await;
    bench.submit("second", 2, "true").await;
    bench.until_exists("up").await;
    assert_eq!(
        std::fs::read_to_string(bench.path("read")).unwrap(),
        "secret"
    );
    assert!(!bench.path("local/first/stdin").exists());
    let waiting = std::fs::metadata(bench.path("local/second/stdin")).unwrap();
    assert_eq!(waiting.permissions().mode() & 0o777, 0o600);
    let folder = std::fs::metadata(bench.path("local")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    bench
        .local
        .cancel(&["second".into(), "first".into()])
        .await
        .unwrap();
    bench.until_ended("first").await;
    assert!(!bench.path("local/second/stdin").exists());
}

#[tokio::test]
async fn a_job_deaf_to_sigterm_is_killed_with_all_its_processes() {
    let bench = Bench::new();
    // The child is in a process group of its own, as payloads are.
    let script = "trap '' TERM; set -m; (exec sleep 600) & echo $! >$0/child; touch $0/up; wait";
    bench.submit("deaf", 1, script).await;
    bench.until_exists("up").await;
    let child = std::fs::read_to_string(bench.path("child")).unwrap();
    bench.local.cancel(&["deaf".into()]).await.unwrap();
    let detail = bench.until_ended("deaf").await;
    assert!(detail.starts_with("cancelled, no exit code"), "{detail}");
    // A killed process takes a moment to go.
    let begin = Instant::now();
    let status = format!("/proc/{}/status", child.trim());
    while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
        assert!(
            begin.elapsed() < DEADLINE,
            "the child {child} outlived its job"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_job_over_its_walltime_is_ended() {
    let bench = Bench::new();
    let mut job = bench.job("long", 1, "exec sleep 600");
    job.walltime_s = 0;
    bench.local.submit(&[job]).await.remove(0).unwrap();
    let detail = bench.until_ended("long").await;
    assert!(detail.starts_with("its walltime was over"), "{detail}");
}

#[tokio::test]
async fn a_job_started_by_a_server_that_died_at_once_is_not_started_twice() {
    let bench = Bench::new();
    let job = bench.job("once", 1, "echo ran >>$0/runs");
    let spec = folder::Spec {
        place: 1,
        name: job.name.clone(),
        cores: 1,
        walltime_s: 60,
        program: job.program.clone(),
    };
    let once = folder::Folder::create(&bench.path("local"), &spec, "secret").unwrap();
    let (first, mut child) = once.start(&job.program).unwrap();
    child.wait().await.unwrap();
    // The next server has not seen the first process; there is even a document to read.
    std::fs::write(bench.path("local/once/stdin"), "secret").unwrap();
    let (_, mut child) = once.start(&job.program).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(75));
    assert_eq!(once.process().unwrap().unwrap().0, first);
    assert_eq!(
        std::fs::read_to_string(bench.path("runs")).unwrap(),
        "ran\n"
    );
}

#[tokio::test]
async fn two_queues_over_one_folder_run_each_job_once() {
    let bench = Bench::new();
    let script = format!("{WAIT_FOR_GO} exit 5");
    bench.submit("runs", 2, &script).await;
    bench.submit("waits", 2, "echo ran >>$0/runs; exit 6").await;
    bench.until_exists("up").await;
    // As when the site's settings are changed: the old queue still waits for its job.
    let other = Bench::open(&bench.folder);
    std::fs::write(bench.path("go"), "").unwrap();
    other.poll("", &[]).await.unwrap();
    assert_eq!(bench.until_ended("waits").await, "exit code 6");
    let told = other.poll("waits", &[]).await.unwrap();
    let ended = BatchState::Ended {
        detail: "exit code 6".into(),
    };
    assert_eq!(told[0].state, ended);
    assert_eq!(
        std::fs::read_to_string(bench.path("runs")).unwrap(),
        "ran\n"
    );
}

#[tokio::test]
async fn a_failure_is_told_with_its_last_words() {
    let bench = Bench::new();
    let mut absent = bench.job("absent", 1, "");
    absent.program = vec!["/no/such/pilot".into()];
    bench.local.submit(&[absent]).await.remove(0).unwrap();
    bench
        .submit(
            "says",
            1,
            "echo no >&2; echo the server is away >&2; exit 3",
        )
        .await;
    let detail = bench.until_ended("absent").await;
    assert!(detail.starts_with("exit code 127: "), "{detail}");
    assert!(detail.ends_with("/no/such/pilot: not found"), "{detail}");
    let detail = bench.until_ended("says").await;
    assert_eq!(detail, "exit code 3: the server is away");
}

#[test]
fn a_record_that_was_never_written_out_is_no_obstacle() {
    let bench = Bench::new();
    let script = "touch $0/runs";
    live(async {
        bench.submit("torn", 2, script).await;
        bench.until_ended("torn").await;
    });
    // As after a power failure: the files are there and empty.
    std::fs::remove_file(bench.path("local/torn/exit")).unwrap();
    std::fs::write(bench.path("local/torn/process"), "").unwrap();
    std::fs::write(bench.path("local/torn/stdin"), "").unwrap();
    std::fs::remove_file(bench.path("runs")).unwrap();
    let bench = bench.restart();
    live(async {
        let detail = bench.until_ended("torn").await;
        assert!(detail.starts_with("no exit code"), "{detail}");
        assert!(!bench.path("runs").exists(), "it ran twice");
        bench.submit("next", 2, "exit 0").await;
        assert_eq!(bench.until_ended("next").await, "exit code 0");
    });
}

#[tokio::test]
async fn a_name_is_given_once() {
    let bench = Bench::new();
    bench.submit("same", 1, "true").await;
    let again = bench
        .local
        .submit(&[bench.job("same", 1, "true")])
        .await
        .remove(0);
    assert!(matches!(again, Err(AdapterError::Refused(_))), "{again:?}");
    let outside = bench
        .local
        .submit(&[bench.job("../x", 1, "true")])
        .await
        .remove(0);
    assert!(
        matches!(outside, Err(AdapterError::Refused(_))),
        "{outside:?}"
    );
}
