//! What all tests have: a server in a folder of its own ([`Fairway`]), people with tokens
//! ([`User`]), their command line ([`cli`]), and what is read from the ledger ([`history`]).
//!
//! Everything that a test starts carries the test's folder in its working directory, command
//! line or environment, and is ended by its id when the test is over, however it ends.

pub(crate) mod cli;
pub(crate) mod history;
pub(crate) mod own_slurm;
pub(crate) mod process;
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairway_api::Problem;
use fairway_api::client::{Client, Submission};
use fairway_api::public::{JobView, TaskView, TasksQuery};
use fairway_model::{JobId, TaskId};

pub(crate) use cli::Ran;
pub(crate) use history::History;
pub(crate) use server::{Fairway, Setup, User};

/// What takes longer than this has failed. Generous: several tests share a small machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(30);

/// Looks until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain until {what}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks until `holds`.
pub(crate) async fn until_true(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    until(what, async || holds().await.then_some(())).await;
}

/// Waits until all tasks of a job are over.
pub(crate) async fn over(client: &Client, job: JobId) -> JobView {
    until(&format!("job {job} is over"), async || {
        let view = client.job(job).await.unwrap();
        view.ended_at.is_some().then_some(view)
    })
    .await
}

/// Submits a JDL text that needs no files.
pub(crate) async fn submit(client: &Client, jdl: impl Into<String>) -> JobId {
    let submission = Submission {
        jdl: jdl.into(),
        ..Submission::default()
    };
    client.submit(&submission).await.unwrap().job
}

/// Task `index` of a job.
pub(crate) fn task(job: JobId, index: u32) -> TaskId {
    TaskId::new(job, index)
}

/// All tasks of a job.
pub(crate) async fn tasks(client: &Client, job: JobId) -> Vec<TaskView> {
    let mut all = Vec::new();
    let mut query = TasksQuery {
        job: Some(job),
        limit: Some(1000),
        ..TasksQuery::default()
    };
    loop {
        let page = client.tasks(&query).await.unwrap();
        all.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return all,
        }
    }
}

/// A JDL text of `tasks` tasks that each run `program` with their number.
pub(crate) fn sweep(name: &str, tasks: u32, program: &Path) -> String {
    format!(
        "[ JobName = \"{name}\"; JobType = \"Parametric\"; Executable = \"{}\"; \
         Arguments = \"_PARAM_\"; Parameters = {tasks}; ParameterStart = 0; ParameterStep = 1; ]",
        program.display()
    )
}

/// A payload that leaves a line in the file `started` and, at its end, in `ended`, so that
/// executions can be counted.
pub(crate) fn counting_payload(fairway: &Fairway, seconds: &str) -> PathBuf {
    let folder = fairway.folder().display();
    fairway.script(
        "count.sh",
        &format!("echo $1 >>{folder}/started\nsleep {seconds}\necho $1 >>{folder}/ended"),
    )
}

/// Each of the numbers from 0 exactly once.
#[track_caller]
pub(crate) fn assert_each_once(numbers: &[String], count: u32) {
    let mut numbers: Vec<u32> = numbers.iter().map(|it| it.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

/// The lines of a file that payloads append to; none if it is not there yet.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// The root of the checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A client for requests that no well-behaved client makes.
pub(crate) fn http() -> reqwest::Client {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The problem document that an answer must be.
pub(crate) async fn problem(answer: reqwest::Response) -> Problem {
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").cloned();
    let text = answer.text().await.unwrap();
    assert_eq!(
        kind.as_ref().and_then(|it| it.to_str().ok()),
        Some("application/problem+json"),
        "{text}"
    );
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!(problem.status, status, "{text}");
    problem
}
