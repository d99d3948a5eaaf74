//! `kill -9`: of the server in the middle of its work, of a pilot, and of the server while jobs
//! are submitted. Nothing that was acknowledged is lost, and nothing happens twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use fairway_api::client::{Client, Submission};
use fairway_api::public::{JobsQuery, UsageQuery};
use fairway_model::{AttemptEnd, JobId, TaskState};
use rustix::process::Signal;

use crate::common::{
    History, Setup, assert_each_once, counting_payload, lines, over, process, submit, sweep, until,
    until_true,
};

#[tokio::test]
async fn a_killed_server_loses_and_repeats_nothing() {
    const TASKS: u32 = 60;
    let mut fairway = Setup::new().local(2, 2).start().await;
    let alice = fairway.user("alice").await;
    let payload = counting_payload(&fairway, "0.2");
    let (started, ended) = (
        fairway.folder().join("started"),
        fairway.folder().join("ended"),
    );
    let job = submit(&alice.client, sweep("sweep", TASKS, &payload)).await;
    // Twice, since the server that comes back must be as good as the first one.
    for progress in [6, 25] {
        until_true("the sweep is under way", async || {
            lines(&ended).len() >= progress
        })
        .await;
        fairway.kill();
        let before = lines(&ended).len();
        until_true("pilots carry on", async || lines(&ended).len() > before).await;
        fairway.start_again().await;
    }
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), TASKS);
    assert_each_once(&lines(&started), TASKS);
    assert_each_once(&lines(&ended), TASKS);
    let history = History::of(&alice.client, job).await;
    assert_eq!(history.assert_each_succeeded_once(job, TASKS), 0);
    assert_usage(&alice.client, u64::from(TASKS), u64::from(TASKS)).await;
}

async fn assert_usage(client: &Client, attempts: u64, succeeded: u64) {
    let usage = client.usage(&UsageQuery::default()).await.unwrap();
    let [line] = usage.as_slice() else {
        panic!("{usage:?}")
    };
    assert_eq!((line.attempts, line.succeeded), (attempts, succeeded));
}

#[tokio::test]
async fn tasks_of_a_killed_pilot_run_again() {
    for end in work_after_a_kill(|pilot| pilot.inner.pid).await {
        assert!(matches!(end, AttemptEnd::PilotLost { .. }), "{end:?}");
    }
}

#[tokio::test]
async fn tasks_of_a_pilot_whose_guard_is_killed_run_again() {
    for end in work_after_a_kill(|pilot| pilot.guard.pid).await {
        // The pilot proper hands them back, if the batch system does not report its end first.
        let expected = matches!(
            end,
            AttemptEnd::HandedBack { .. } | AttemptEnd::PilotLost { .. }
        );
        assert!(expected, "{end:?}");
    }
}

/// Kills a process of the only pilot in the middle of its work, and waits for the end of the
/// work. How the attempts ended that did not succeed.
async fn work_after_a_kill(victim: impl Fn(&process::Pilot) -> i32) -> Vec<AttemptEnd> {
    const TASKS: u32 = 12;
    let fairway = Setup::new().local(1, 2).start().await;
    let alice = fairway.user("alice").await;
    let payload = counting_payload(&fairway, "0.5");
    let started = fairway.folder().join("started");
    let job = submit(&alice.client, sweep("sweep", TASKS, &payload)).await;
    until_true("several payloads run", async || lines(&started).len() >= 5).await;
    let pilots = process::pilots(fairway.folder());
    let [pilot] = pilots.as_slice() else {
        panic!("{pilots:?}")
    };
    let payloads = process::of(fairway.folder());
    let payloads: Vec<i32> = payloads
        .into_iter()
        .filter(|it| it.parent == pilot.inner.pid)
        .map(|it| it.pid)
        .collect();
    process::signal(victim(pilot), Signal::KILL);
    until_true("no payload outlives its pilot", async || {
        !payloads.iter().any(|pid| process::is_alive(*pid))
    })
    .await;

    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), TASKS);
    let history = History::of(&alice.client, job).await;
    let repeated = history.assert_each_succeeded_once(job, TASKS);
    assert!(repeated >= 1, "the pilot had tasks when it was killed");
    let attempts = u64::from(TASKS) + u64::try_from(repeated).unwrap();
    assert_usage(&alice.client, attempts, u64::from(TASKS)).await;
    let ends = history
        .ends()
        .into_values()
        .flatten()
        .map(|ended| ended.end);
    ends.filter(|end| !end.is_success()).collect()
}

#[tokio::test]
async fn a_server_that_is_killed_while_jobs_come_in_keeps_each_once() {
    const JOBS: usize = 80;
    let mut fairway = Setup::new().start().await;
    let alice = fairway.user("alice").await;
    let acknowledged = std::sync::Mutex::new(BTreeMap::new());
    let done = AtomicBool::new(false);
    let submitter = async {
        for number in 0..JOBS {
            let name = format!("job-{number}");
            let taken = async || submit_named(&alice.client, &name).await;
            let id = until("the job is taken", taken).await;
            acknowledged.lock().unwrap().insert(name, id);
        }
        done.store(true, Ordering::Relaxed);
    };
    let killer = async {
        // Each time after some more jobs, so that it always hits the server at work.
        let mut kills = 0;
        while !done.load(Ordering::Relaxed) {
            let before = acknowledged.lock().unwrap().len();
            until_true("more jobs are taken", async || {
                done.load(Ordering::Relaxed) || acknowledged.lock().unwrap().len() >= before + 7
            })
            .await;
            fairway.kill();
            fairway.start_again().await;
            kills += 1;
        }
        kills
    };
    let ((), kills) = tokio::join!(submitter, killer);
    assert!(kills >= 3, "{kills}");

    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(jobs(&alice.client).await, acknowledged);
    // The same key again is the same job.
    let again = submit_named(&alice.client, "job-0").await;
    assert_eq!(again, acknowledged.get("job-0").copied());
}

/// Submits a job under an `Idempotency-Key` made from its name.
async fn submit_named(client: &Client, name: &str) -> Option<JobId> {
    let submission = Submission {
        jdl: format!("[ JobName = \"{name}\"; Executable = \"/bin/true\"; ]"),
        ..Submission::default()
    };
    let reply = client
        .submit_with_key(&submission, &format!("key-of-{name}"))
        .await;
    reply.ok().map(|reply| reply.job)
}

/// All jobs by name; no name twice.
async fn jobs(client: &Client) -> BTreeMap<String, JobId> {
    let query = JobsQuery {
        limit: Some(1000),
        ..JobsQuery::default()
    };
    let page = client.jobs(&query).await.unwrap();
    assert!(page.next.is_none());
    let names: BTreeSet<_> = page.items.iter().map(|job| &job.name).collect();
    assert_eq!(names.len(), page.items.len(), "a job is there twice");
    page.items
        .into_iter()
        .map(|job| (job.name, job.id))
        .collect()
}
