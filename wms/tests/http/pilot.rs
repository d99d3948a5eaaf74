//! The pilots' protocol: a task's whole way over HTTP.

use fairway_api::pilot::{Lease, Report, ReportKind, SyncRequest, Used};
use fairway_api::public::{TaskView, UsageView};
use fairway_model::{Attempt, AttemptEnd, TaskId, TaskState};
use serde_json::json;

use crate::bed::{Bed, TestPilot, call, request, steady};

const WITH_INPUT: &str = r#"
    Executable = "run.sh"; Arguments = "a 'b c'"; InputSandbox = {"../bin/run.sh"};
    OutputSandbox = {"out.txt"}; CpuNumber = 1;
"#;

fn first_task() -> TaskId {
    "1.0".parse().unwrap()
}

fn report(what: ReportKind) -> SyncRequest {
    let report = Report {
        task: first_task(),
        attempt: Attempt(1),
        what,
    };
    SyncRequest {
        reports: vec![report],
        holding: vec![(first_task(), Attempt(1))],
        want: None,
    }
}

fn ended(code: i32) -> SyncRequest {
    let used = Used {
        wall_ms: 1000,
        cpu_ms: 900,
        memory_peak_kib: 2048,
    };
    report(ReportKind::Ended {
        end: AttemptEnd::Exited { code },
        used,
    })
}

async fn submit(bed: &Bed, user: &str) {
    let parts = [
        ("jdl", None, WITH_INPUT),
        ("input", Some("../bin/run.sh"), "#!/bin/sh\n"),
    ];
    bed.form(user, &parts).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_s_whole_way() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    submit(&bed, &user).await;
    let mut pilot = bed.pilot().await;

    let got = pilot.want().await;
    insta::assert_json_snapshot!("lease", got);
    assert_eq!(fetch(&pilot, &got.leases[0], 0).await, "#!/bin/sh\n");
    pilot.sync(&report(ReportKind::Started)).await.expect(200);

    // The first chunk, again because the answer was lost, and one from too far ahead.
    for _ in 0..2 {
        let reply = pilot
            .put("1.0/1/stdout?offset=0", "hello\n")
            .await
            .expect(200);
        assert_eq!(reply.json(), json!({"next_offset": 6, "full": false}));
    }
    let reply = pilot.put("1.0/1/stdout?offset=60", "x").await;
    insta::assert_json_snapshot!("wrong_offset", reply.seen());
    let reply = pilot
        .put("1.0/1/stdout?offset=6", "this is more than is kept")
        .await;
    assert_eq!(
        reply.expect(200).json(),
        json!({"next_offset": 20, "full": true})
    );
    let log = bed.get(&user, "/v1/tasks/1.0/stdout").await.expect(200);
    assert_eq!(log.text(), "hello\nthis is more t");
    let tail = bed
        .get(&user, "/v1/tasks/1.0/stdout?tail=1")
        .await
        .expect(200);
    assert_eq!(tail.text(), "this is more t");

    pilot.put("1.0/1/output", "archive").await.expect(204);
    let too_large = pilot.put("1.0/1/output", "x".repeat(1001)).await;
    insta::assert_json_snapshot!("output_too_large", too_large.seen());
    pilot.sync(&ended(0)).await.expect(200);

    let task = bed.get(&user, "/v1/tasks/1.0").await.expect(200);
    steady().bind(|| insta::assert_json_snapshot!("task_succeeded", task.seen()));
    let output = bed.get(&user, "/v1/tasks/1.0/output").await.expect(200);
    assert_eq!(
        output.text(),
        "archive",
        "the one that was too large changed nothing"
    );
    let usage = bed.get(&user, "/v1/usage").await.expect(200).json();
    let usage: Vec<UsageView> = serde_json::from_value(usage).unwrap();
    assert_eq!((usage[0].succeeded, usage[0].cpu_ms), (1, 900));
    let events = bed.get(&user, "/v1/tasks/1.0/events").await.expect(200);
    steady().bind(|| insta::assert_json_snapshot!("events_succeeded", events.seen()));
    let explained = bed.get(&user, "/v1/tasks/1.0/explain").await.expect(200);
    steady().bind(|| insta::assert_json_snapshot!("explain_succeeded", explained.seen()));

    // The attempt is over: its files are closed to the pilot once the lease is no longer believed.
    let goodbye = json!({"reason": "no work"});
    bed.json("POST", &pilot.token, "/v1/pilot/goodbye", &goodbye)
        .await
        .expect(204);
    let late = pilot.sync(&SyncRequest::default()).await.expect(410);
    insta::assert_json_snapshot!("after_goodbye", late.seen());
}

/// Fetches an input as the pilot does.
async fn fetch(pilot: &TestPilot<'_>, lease: &Lease, input: usize) -> String {
    let (task, attempt) = (lease.task, lease.attempt);
    let stored_as = &lease.payload.inputs[input].stored_as;
    let path = format!("/v1/pilot/tasks/{task}/{attempt}/input/{stored_as}");
    let reply = pilot.bed.get(&pilot.token, &path).await.expect(200);
    reply.text().to_owned()
}

#[tokio::test]
async fn files_of_equal_base_names_are_different_files() {
    const EACH_ITS_OWN: &str = r#"
        Executable = "/bin/cat"; Arguments = "in.txt"; InputSandbox = {"node_PARAM_/in.txt"};
        JobType = "Parametric"; Parameters = 2; ParameterStart = 0; ParameterStep = 1;
    "#;
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    let parts = [
        ("jdl", None, EACH_ITS_OWN),
        ("input", Some("node1/in.txt"), "one"),
        ("input", Some("node0/in.txt"), "zero"),
    ];
    bed.form(&user, &parts).await.expect(201);
    let mut pilot = bed.pilot().await;
    let got = pilot.want().await;
    for (lease, content) in got.leases.iter().zip(["zero", "one"]) {
        assert_eq!(lease.payload.inputs[0].name, "in.txt");
        assert_eq!(fetch(&pilot, lease, 0).await, content);
    }
    assert_eq!(got.leases.len(), 2);

    let ambiguous = [parts[0], ("input", Some("in.txt"), "which?")];
    let reply = bed.form(&user, &ambiguous).await;
    insta::assert_json_snapshot!("input_ambiguous", reply.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_ends_with_the_task() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    submit(&bed, &user).await;
    let follower = {
        let (router, user) = (bed.router.clone(), user.clone());
        tokio::spawn(async move {
            let request = request("GET", &user, "/v1/tasks/1.0/stdout?follow=true")
                .body(axum::body::Body::empty())
                .unwrap();
            let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
            axum::body::to_bytes(response.into_body(), 1 << 20)
                .await
                .unwrap()
        })
    };
    let mut pilot = bed.pilot().await;
    pilot.want().await;
    pilot.sync(&report(ReportKind::Started)).await.expect(200);
    pilot
        .put("1.0/1/stdout?offset=0", "h\u{e9}llo\n")
        .await
        .expect(200);
    pilot.sync(&ended(0)).await.expect(200);
    let events = String::from_utf8(follower.await.unwrap().to_vec()).unwrap();
    insta::assert_snapshot!("followed", events);
}

/// That a running task is to be held is noted, which is no conflict.
#[tokio::test]
async fn a_running_task_is_held_for_later() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    submit(&bed, &user).await;
    let mut pilot = bed.pilot().await;
    pilot.want().await;
    pilot.sync(&report(ReportKind::Started)).await.expect(200);
    let reply = bed.post(&user, "/v1/tasks/1.0/hold").await.expect(200);
    assert_eq!(reply.json()["changed"], 1);
    assert_eq!(reply.json()["left"][0]["task"], "1.0");
    bed.post(&user, "/v1/tasks/1.0/release").await.expect(200);
    bed.post(&user, "/v1/tasks/1.0/release").await.expect(409);
}

#[tokio::test]
async fn a_failed_task_is_queued_again_by_hand() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    submit(&bed, &user).await;
    let mut pilot = bed.pilot().await;
    pilot.want().await;
    pilot.sync(&report(ReportKind::Started)).await.expect(200);
    pilot.sync(&ended(3)).await.expect(200);
    let state = || async {
        let task = bed.get(&user, "/v1/tasks/1.0").await.expect(200).json();
        serde_json::from_value::<TaskView>(task).unwrap().state
    };
    assert_eq!(state().await, TaskState::Failed);
    let retried = bed
        .post(&user, "/v1/tasks/1.0/retry")
        .await
        .expect(200)
        .json();
    assert_eq!(retried["changed"], 1);
    assert_eq!(state().await, TaskState::Waiting);
    let again = pilot.want().await;
    assert_eq!(again.leases[0].attempt, Attempt(2));
    assert_eq!(again.leases[0].payload.inputs.len(), 1);
}

#[tokio::test]
async fn a_pilot_touches_only_its_own_attempts() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    submit(&bed, &user).await;
    let mut holder = bed.pilot().await;
    let got = holder.want().await;
    let other = bed.pilot().await;
    assert_ne!(holder.id, other.id);
    let reply = other.put("1.0/1/stdout?offset=0", "forged").await;
    insta::assert_json_snapshot!("not_its_attempt", reply.seen());
    other.put("1.0/1/output", "forged").await.expect(409);
    let stored_as = &got.leases[0].payload.inputs[0].stored_as;
    let path = format!("/v1/pilot/tasks/1.0/1/input/{stored_as}");
    bed.get(&other.token, &path).await.expect(409);
    holder
        .put("1.0/2/stdout?offset=0", "ahead of its time")
        .await
        .expect(409);
    let path = "/v1/pilot/tasks/1.0/1/input/..%2Fmanifest.json";
    let reply = bed.get(&holder.token, path).await;
    insta::assert_json_snapshot!("input_leaves_folder", reply.seen());
    bed.get(&holder.token, "/v1/pilot/tasks/1.0/1/input/nothing")
        .await
        .expect(404);
    // Neither kind of token opens the other's doors.
    bed.get(&holder.token, "/v1/jobs").await.expect(401);
    bed.json("POST", &user, "/v1/pilot/sync", &SyncRequest::default())
        .await
        .expect(401);
}

#[tokio::test]
async fn a_secret_opens_one_session() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let id = bed.plan_pilot("secret").await;
    let register = |secret: &str, nonce: &str| {
        let mut wish = call(id, secret);
        wish.nonce = nonce.into();
        let bed = &bed;
        async move { bed.json("POST", "", "/v1/pilot/register", &wish).await }
    };
    let wrong = register("guess", "n").await.expect(401);
    insta::assert_json_snapshot!("wrong_secret", wrong.seen());
    let first = register("secret", "n").await.expect(200).json();
    let sync = |reply: serde_json::Value| {
        let bed = &bed;
        async move {
            let token = reply["token"].as_str().unwrap();
            bed.json("POST", token, "/v1/pilot/sync", &SyncRequest::default())
                .await
                .status
        }
    };
    assert_eq!(sync(first.clone()).await, 200);
    register("secret", "stolen").await.expect(401);
    // The same pilot repeats the call: its new token is good, the old one is not.
    let second = register("secret", "n").await.expect(200).json();
    assert_eq!(sync(second).await, 200);
    assert_eq!(sync(first).await, 401);
}
