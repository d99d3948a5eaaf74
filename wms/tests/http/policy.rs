//! The policy as a document: versions, mistakes, what would follow, and who changed what.

use axum::body::Body;
use axum::http::header;
use fairway_model::Role;
use serde_json::{Value, json};

use crate::bed::{Bed, Reply, request};

const POLICY: &str = "/v1/policy";

async fn put(bed: &Bed, token: &str, from: Option<&str>, path: &str, policy: &Value) -> Reply {
    let mut request = request("PUT", token, path).header(header::CONTENT_TYPE, "application/json");
    if let Some(version) = from {
        request = request.header(header::IF_MATCH, version);
    }
    let body = Body::from(policy.to_string());
    bed.send(request.body(body).unwrap()).await
}

fn tag(reply: &Reply) -> String {
    reply.headers[header::ETAG].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_made_from_an_old_version_is_refused() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let seen = tag(&bed.get(&operator, POLICY).await.expect(200));
    let (first, second) = (json!({"kind": "fifo"}), json!({"kind": "maui"}));
    let reply = put(&bed, &operator, Some(&seen), POLICY, &first).await;
    let now = tag(&reply.expect(204));
    assert_ne!(now, seen);
    assert_eq!(tag(&bed.get(&operator, POLICY).await.expect(200)), now);

    let late = put(&bed, &operator, Some(&seen), POLICY, &second).await;
    insta::assert_json_snapshot!("policy_changed_meanwhile", late.expect(412).seen());
    // A request that is repeated because its answer was lost finds itself done.
    put(&bed, &operator, Some(&seen), POLICY, &first)
        .await
        .expect(204);
    let from = format!("\"of-old\", {now}");
    put(&bed, &operator, Some(&from), POLICY, &second)
        .await
        .expect(204);
    put(&bed, &operator, Some("*"), POLICY, &first)
        .await
        .expect(204);
}

#[tokio::test]
async fn all_mistakes_are_told_each_with_its_place() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let wrong = json!({
        "limits": [{"user": "*"}, {"qos": "none", "running_tasks_max": 1}],
        "fairshare": {"max_depth": 0},
    });
    let reply = put(&bed, &operator, None, POLICY, &wrong).await.expect(422);
    insta::assert_json_snapshot!("policy_mistakes", reply.seen());
    let toml = request("PUT", &operator, POLICY)
        .header(header::CONTENT_TYPE, "application/toml")
        .body(Body::from("kind = \"fifo\"\n[fairshare]\ndecay = 1\n"));
    let reply = bed.send(toml.unwrap()).await.expect(422);
    insta::assert_json_snapshot!("policy_mistakes_by_line", reply.seen());
}

#[tokio::test]
async fn everybody_reads_and_operators_change() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    bed.get(&user, POLICY).await.expect(200);
    bed.get(&user, "/v1/policy/history").await.expect(200);
    let policy = json!({"kind": "fifo"});
    put(&bed, &user, None, POLICY, &policy).await.expect(403);
    bed.json("POST", &user, "/v1/policy/diff", &policy)
        .await
        .expect(403);
    bed.get("", POLICY).await.expect(401);
}

#[tokio::test]
async fn what_would_follow_is_told_and_nothing_is_changed() {
    let bed = Bed::start().await;
    bed.add_site().await;
    for name in ["alice", "bob"] {
        let token = bed.user(name).await;
        let jdl = "Executable = \"/bin/true\"; JobType = \"Parametric\"; Parameters = 3;";
        bed.submit(&token, jdl).await.expect(201);
    }
    let operator = bed.token("op", Role::Operator).await;
    let before = bed.get(&operator, POLICY).await.expect(200).json();
    let policy = json!({
        "kind": "fifo",
        "shares": [
            {"path": "biomed", "share": 1},
            {"path": "biomed/bob", "share": 3, "user": true},
        ],
        "paused": [{"user": "alice", "why": "a test"}],
    });
    let reply = bed
        .json("POST", &operator, "/v1/policy/diff", &policy)
        .await;
    let mut diff = reply.expect(200).json();
    let version = diff["version"].take();
    assert_eq!(version.as_str().unwrap().len(), 32);
    insta::assert_json_snapshot!("policy_diff", diff);
    assert_eq!(bed.get(&operator, POLICY).await.expect(200).json(), before);
}

#[tokio::test]
async fn the_history_tells_who_changed_what_and_why() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let policies = [
        ("?because=winter%20campaign", json!({"kind": "fifo"})),
        ("", json!({"kind": "fifo", "wait_max_s": 0})),
        (
            "?because=%20",
            json!({"limits": [{"user": "*", "running_tasks_max": 9}]}),
        ),
    ];
    for (query, policy) in &policies {
        let path = format!("{POLICY}{query}");
        put(&bed, &operator, None, &path, policy).await.expect(204);
    }
    let path = "/v1/policy/history?limit=2";
    let first = bed.get(&operator, path).await.expect(200).json();
    let next = first["next"].as_str().unwrap();
    let path = format!("{path}&cursor={next}");
    let second = bed.get(&operator, &path).await.expect(200).json();
    let mut all = first["items"].as_array().unwrap().clone();
    all.extend(second["items"].as_array().unwrap().clone());
    for item in &mut all {
        item["at"].take();
        assert_eq!(item["version"].take().as_str().unwrap().len(), 32);
    }
    insta::assert_json_snapshot!("policy_history", all);
    assert!(second.get("next").is_none());

    let long = format!("{POLICY}?because={}", "x".repeat(1001));
    put(&bed, &operator, None, &long, &policies[0].1)
        .await
        .expect(400);
}

#[tokio::test]
async fn a_job_is_for_the_group_that_its_account_names() {
    let bed = Bed::start().await;
    let alice = bed.user("alice").await;
    let operator = bed.token("op", Role::Operator).await;
    let jdl = |account: &str| format!("Executable = \"/bin/true\"; Account = \"{account}\";");
    bed.submit(&alice, &jdl("biomed")).await.expect(201);
    let refused = bed.submit(&alice, &jdl("atlas")).await.expect(403);
    insta::assert_json_snapshot!("account_not_theirs", refused.seen());
    bed.submit(&alice, &jdl("no group")).await.expect(400);
    let policy = json!({"shares": [
        {"path": "atlas", "share": 1},
        {"path": "atlas/alice", "share": 1, "user": true},
    ]});
    put(&bed, &operator, None, POLICY, &policy)
        .await
        .expect(204);
    let reply = bed.submit(&alice, &jdl("atlas")).await.expect(201).json();
    let job = format!("/v1/jobs/{}", reply["job"]);
    let job = bed.get(&alice, &job).await.expect(200).json();
    assert_eq!(job["group"], "atlas");
    let bob = bed.user("bob").await;
    bed.submit(&bob, &jdl("atlas")).await.expect(403);
    // Two groups at once are a contradiction.
    let both = json!({"jdl": jdl("atlas"), "group": "biomed"});
    bed.json("POST", &alice, "/v1/jobs", &both)
        .await
        .expect(400);
}
