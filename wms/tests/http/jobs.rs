//! Submitting, looking, changing.

use axum::http::header;
use fairway_model::Role;
use serde_json::json;

use crate::bed::{Bed, request, steady};

const SWEEP: &str = r#"
    JobName = "sweep"; JobType = "Parametric"; Executable = "/bin/echo"; Arguments = "_PARAM_";
    Parameters = 3; ParameterStart = 0; ParameterStep = 1;
"#;

const WITH_INPUT: &str = r#"Executable = "run.sh"; InputSandbox = {"../bin/run.sh", "data.txt"};"#;

#[tokio::test]
async fn a_job_s_life_as_its_owner_sees_it() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    let reply = bed.submit(&user, SWEEP).await.expect(201);
    assert_eq!(reply.headers[header::LOCATION], "/v1/jobs/1");
    steady().bind(|| insta::assert_json_snapshot!("submitted", reply.seen()));

    let paths = [
        ("job", "/v1/jobs/1"),
        ("jobs", "/v1/jobs"),
        ("task", "/v1/tasks/1.2"),
        ("tasks", "/v1/tasks?job=1&limit=2"),
        ("task_events", "/v1/tasks/1.2/events"),
        ("explain_without_sites", "/v1/tasks/1.2/explain"),
        ("shares", "/v1/shares"),
        ("usage", "/v1/usage"),
    ];
    for (name, path) in paths {
        let reply = bed.get(&user, path).await.expect(200);
        steady().bind(|| insta::assert_json_snapshot!(name, reply.seen()));
    }
    assert_eq!(
        bed.get(&user, "/v1/jobs/1/jdl").await.expect(200).text(),
        SWEEP
    );
    let log = bed.get(&user, "/v1/tasks/1.2/stdout").await.expect(200);
    assert!(log.body.is_empty(), "nothing has run");
    let output = bed.get(&user, "/v1/tasks/1.2/output").await;
    insta::assert_json_snapshot!("no_output_yet", output.seen());
    let attempt = bed.get(&user, "/v1/tasks/1.2/stdout?attempt=1").await;
    insta::assert_json_snapshot!("no_such_attempt", attempt.seen());
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_is_told() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    let jdl =
        r#"Executable = "/bin/true"; Deadline = "2001-01-01T00:00:00Z"; TimeCritical = true;"#;
    let reply = bed.submit(&user, jdl).await.expect(201).json();
    let told: Vec<&str> = reply["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["message"].as_str().unwrap())
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let late = "impossible: the deadline is 2001-01-01T00:00:00Z: a task takes 60 s and would";
    assert!(told[0].starts_with(late), "{told:?}");
    assert_eq!(
        told[1],
        "no CE that could run it keeps pilots for time-critical tasks: it is served like others"
    );
    let explained = bed.get(&user, "/v1/tasks/1.0/explain").await.expect(200);
    let deadline = explained.json()["deadline"].clone();
    assert_eq!(deadline["outlook"], "impossible");
    assert_eq!(deadline["ces"][0]["ce"], "lyon/short");
}

#[tokio::test]
async fn verbs() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    bed.submit(&user, SWEEP).await.expect(201);
    let hold = bed.post(&user, "/v1/tasks/1.0/hold").await;
    let again = bed.post(&user, "/v1/tasks/1.0/hold").await;
    let many = json!({"tasks": ["1.0", "1.1", "7.0"]});
    let release = bed.json("POST", &user, "/v1/tasks/release", &many).await;
    let cancel = bed.post(&user, "/v1/jobs/1/cancel").await;
    let cancel_again = bed.post(&user, "/v1/jobs/1/cancel").await;
    let retry = bed.post(&user, "/v1/tasks/1.1/retry").await;
    let retry_job = bed.post(&user, "/v1/jobs/1/retry").await;
    let unknown = bed.post(&user, "/v1/jobs/1/explode").await;
    let job = bed.get(&user, "/v1/jobs/1").await;
    let replies = [
        ("hold", hold),
        ("hold_again", again),
        ("release_many", release),
        ("cancel_job", cancel),
        ("cancel_job_again", cancel_again),
        ("retry", retry),
        ("retry_job", retry_job),
        ("no_such_verb", unknown),
        ("job_afterwards", job),
    ];
    for (name, reply) in replies {
        steady().bind(|| insta::assert_json_snapshot!(format!("verb_{name}"), reply.seen()));
    }
}

#[tokio::test]
async fn a_description_may_be_json() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    let description = json!({
        "Executable": "/bin/echo", "JobType": "Parametric", "Parameters": ["a", "b"],
        "Requirements": "other.GlueCEStateFreeCPUs > 2", "Note": {"$expr": "1 + 1"},
    });
    let submit = |kind: &'static str, body: String| {
        let request = request("POST", &user, "/v1/jobs").header(header::CONTENT_TYPE, kind);
        bed.send(request.body(body.into()).unwrap())
    };
    let bare = submit("application/jdl+json", description.to_string()).await;
    assert_eq!(bare.expect(201).json()["tasks"], 2);
    let within = json!({ "jdl": description }).to_string();
    let within = submit("application/json", within).await.expect(201).json();
    let jdl = format!("/v1/jobs/{}/jdl", within["job"].as_u64().unwrap());
    insta::assert_snapshot!(bed.get(&user, &jdl).await.expect(200).text(), @r#"
    [
      Executable = "/bin/echo";
      JobType = "Parametric";
      Parameters = { "a", "b" };
      Requirements = other.GlueCEStateFreeCPUs > 2;
      Note = 1 + 1;
    ]
    "#);
}

#[tokio::test]
async fn a_repeated_submission_is_one_job() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    let submit = |key: &str, jdl: &str| {
        let request = request("POST", &user, "/v1/jobs")
            .header(header::CONTENT_TYPE, "text/plain")
            .header("Idempotency-Key", key)
            .body(jdl.to_owned().into());
        bed.send(request.unwrap())
    };
    let first = submit("k1", SWEEP).await.expect(201).json();
    let second = submit("k1", SWEEP).await.expect(200).json();
    assert_eq!(first["job"], second["job"]);
    assert_eq!(second["repeated"], true);
    let other = submit("k1", "Executable = \"/bin/true\";")
        .await
        .expect(409);
    insta::assert_json_snapshot!("idempotency_conflict", other.seen());
    assert_ne!(
        submit("k2", SWEEP).await.expect(201).json()["job"],
        first["job"]
    );
    insta::assert_json_snapshot!(
        "idempotency_key_malformed",
        submit("a b", SWEEP).await.seen()
    );

    // Still one job when the engine has forgotten it.
    bed.post(&user, "/v1/jobs/1/cancel").await.expect(200);
    assert_eq!(
        submit("k1", SWEEP).await.expect(200).json()["job"],
        first["job"]
    );
}

#[tokio::test]
async fn a_key_covers_the_sandbox() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    let submit = |data: &'static str| {
        let body = crate::bed::form(&[
            ("jdl", None, WITH_INPUT),
            ("input", Some("run.sh"), "#!/bin/sh"),
            ("input", Some("data.txt"), data),
        ]);
        let request = request("POST", &user, "/v1/jobs")
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge")
            .header("Idempotency-Key", "k")
            .body(body.into());
        bed.send(request.unwrap())
    };
    submit("one").await.expect(201);
    assert_eq!(submit("one").await.expect(200).json()["repeated"], true);
    submit("two").await.expect(409);
    assert_eq!(bed.store.sandboxes().await.unwrap().len(), 1);
}

#[tokio::test]
async fn operators_see_everybody_s_jobs() {
    let bed = Bed::start().await;
    for name in ["alice", "bob"] {
        bed.submit(&bed.user(name).await, SWEEP).await.expect(201);
    }
    let operator = bed.token("op", Role::Operator).await;
    let all = bed.get(&operator, "/v1/jobs").await.expect(200).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let bobs = bed
        .get(&operator, "/v1/jobs?owner=bob")
        .await
        .expect(200)
        .json();
    assert_eq!(bobs["items"][0]["owner"], "bob");
    bed.post(&operator, "/v1/jobs/1/cancel").await.expect(200);
}

const GRAPH: &str = r#"[ Type = "dag"; JobName = "graph"; Nodes = [
    fetch = [ Executable = "/bin/true"; ];
    sweep = [ JobType = "Parametric"; Executable = "/bin/echo"; Arguments = "_PARAM_";
              Parameters = 2; ParameterStart = 0; ParameterStep = 1; ];
    plot = [ Executable = "/bin/true"; ];
    Dependencies = { { fetch, sweep }, { sweep, plot } };
]; ]"#;

#[tokio::test]
async fn a_compound_job_as_its_owner_sees_it() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    bed.submit(&user, GRAPH).await.expect(201);
    let paths = [
        ("job", "/v1/jobs/1"),
        ("nodes", "/v1/jobs/1/nodes"),
        ("node", "/v1/jobs/1/nodes/sweep"),
        ("no_such_node", "/v1/jobs/1/nodes/swep"),
        ("tasks_of_node", "/v1/tasks?job=1&node=sweep&limit=1"),
        ("explain_blocked", "/v1/tasks/1.3/explain"),
    ];
    for (name, path) in paths {
        let reply = bed.get(&user, path).await;
        steady().bind(|| insta::assert_json_snapshot!(format!("graph_{name}"), reply.seen()));
    }
    let verbs = [
        ("cancel_node", "/v1/jobs/1/nodes/sweep/cancel"),
        ("cancel_node_again", "/v1/jobs/1/nodes/sweep/cancel"),
        ("retry_behind_it", "/v1/jobs/1/nodes/plot/retry"),
        ("retry_skipped_task", "/v1/tasks/1.3/retry"),
        ("retry_node", "/v1/jobs/1/nodes/sweep/retry"),
        ("verb_of_no_node", "/v1/jobs/1/nodes/swep/hold"),
    ];
    for (name, path) in verbs {
        let reply = bed.post(&user, path).await;
        steady().bind(|| insta::assert_json_snapshot!(format!("graph_{name}"), reply.seen()));
        if name == "cancel_node" {
            let skipped = bed
                .get(&user, "/v1/tasks/1.3/explain")
                .await
                .expect(200)
                .json();
            assert_eq!(
                skipped["summary"],
                "It was skipped: task 1.1 of node `sweep`, which it depends on, was cancelled. \
                 It waits again when that is retried."
            );
        }
    }
    let job = bed.get(&user, "/v1/jobs/1").await.expect(200).json();
    assert_eq!(job["states"], json!({"waiting": 1, "blocked": 3}));
}

#[tokio::test]
async fn a_job_waits_for_others_of_its_owner() {
    let bed = Bed::start().await;
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    bed.submit(&alice, SWEEP).await.expect(201);
    let after = |depends: &str| format!("Executable = \"/bin/true\"; Depends = \"{depends}\";");
    let theirs = bed.submit(&bob, &after("afterok:1")).await;
    let unknown = bed.submit(&alice, &after("afterok:1.99")).await;
    for (name, reply) in [("of_others", theirs), ("of_no_task", unknown)] {
        steady().bind(|| insta::assert_json_snapshot!(format!("depends_{name}"), reply.seen()));
    }
    let then = bed.submit(&alice, &after("afterok:1, after:1.0")).await;
    assert_eq!(then.expect(201).json()["job"], 2);
    let blocked = bed.get(&alice, "/v1/tasks/2.0/explain").await.expect(200);
    steady().bind(|| insta::assert_json_snapshot!("depends_explain_blocked", blocked.seen()));

    bed.post(&alice, "/v1/tasks/1.1/cancel").await.expect(200);
    let skipped = bed.get(&alice, "/v1/tasks/2.0/explain").await.expect(200);
    let summary = skipped.json()["summary"].as_str().unwrap().to_owned();
    assert!(
        summary.ends_with("tasks did not. Once that is retried, retry it as well."),
        "{summary}"
    );
    // In vain as long as that is not put right.
    bed.post(&alice, "/v1/tasks/2.0/retry").await.expect(409);
    bed.post(&alice, "/v1/tasks/1.1/retry").await.expect(200);
    let again = bed.post(&alice, "/v1/jobs/2/retry").await.expect(200);
    assert_eq!(again.json()["changed"], 1);
    let job = bed.get(&alice, "/v1/jobs/2").await.expect(200).json();
    assert_eq!(job["states"], json!({"blocked": 1}));
}
