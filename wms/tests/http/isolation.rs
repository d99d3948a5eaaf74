//! Nobody sees or touches what belongs to another user.

use fairway_model::Role;
use serde_json::json;

use crate::bed::Bed;

const HELLO: &str = "Executable = \"/bin/true\";";
const COMPOUND: &str =
    "[ Type = \"collection\"; Nodes = { [ NodeName = \"only\"; Executable = \"/bin/true\"; ] }; ]";

#[tokio::test]
async fn others_jobs_do_not_exist() {
    let bed = Bed::start().await;
    let alice = bed.user("alice").await;
    bed.submit(&alice, COMPOUND).await.expect(201);
    for (name, role) in [("bob", Role::User), ("carol", Role::SiteAdmin)] {
        let other = bed.token(name, role).await;
        for path in [
            "/v1/jobs/1",
            "/v1/jobs/1/jdl",
            "/v1/jobs/1/output",
            "/v1/jobs/1/nodes",
            "/v1/jobs/1/nodes/only",
            "/v1/jobs/1/nodes/only/output",
            "/v1/tasks?job=1&node=only",
            "/v1/tasks/1.0",
            "/v1/tasks/1.0/events",
            "/v1/tasks/1.0/explain",
            "/v1/tasks/1.0/stdout",
            "/v1/tasks/1.0/stderr?follow=true",
            "/v1/tasks/1.0/output",
        ] {
            let theirs = bed.get(&other, path).await.expect(404).json();
            let nobodys = bed
                .get(&other, &path.replace("/1", "/9").replace("=1", "=9"))
                .await
                .expect(404)
                .json();
            let text = nobodys["detail"].as_str().unwrap().replace('9', "1");
            assert_eq!(
                theirs["detail"], text,
                "{path} must not tell that there is one"
            );
        }
        for path in [
            "/v1/jobs/1/cancel",
            "/v1/jobs/1/retry",
            "/v1/jobs/1/nodes/only/cancel",
            "/v1/tasks/1.0/hold",
        ] {
            bed.post(&other, path).await.expect(404);
        }
        for verb in ["cancel", "hold", "release", "retry"] {
            let tasks = json!({"tasks": ["1.0"]});
            let reply = bed
                .json("POST", &other, &format!("/v1/tasks/{verb}"), &tasks)
                .await;
            assert_eq!(reply.expect(200).json()["changed"], 0, "{verb}");
        }
        for path in [
            "/v1/jobs",
            "/v1/jobs?owner=alice",
            "/v1/tasks",
            "/v1/tasks?job=1",
            "/v1/tasks?owner=alice",
            "/v1/events",
            "/v1/events?job=1",
            "/v1/events?task=1.0",
        ] {
            let page = bed.get(&other, path).await.expect(200).json();
            assert_eq!(page["items"], json!([]), "{path}");
        }
    }
    let job = bed.get(&alice, "/v1/jobs/1").await.expect(200).json();
    assert_eq!(job["states"], json!({"waiting": 1}));
}

/// A job that is over is no longer in the engine's memory, and its owner neither.
#[tokio::test]
async fn others_ended_jobs_do_not_exist() {
    let bed = Bed::start().await;
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    bed.submit(&alice, HELLO).await.expect(201);
    bed.submit(&bob, HELLO).await.expect(201);
    bed.post(&alice, "/v1/jobs/1/cancel").await.expect(200);
    bed.post(&bob, "/v1/jobs/2/cancel").await.expect(200);
    for verb in ["cancel", "hold", "release", "retry"] {
        let tasks = json!({"tasks": ["1.0", "2.0", "9.0"]});
        let path = format!("/v1/tasks/{verb}");
        let reply = bed.json("POST", &bob, &path, &tasks).await;
        let reply = reply.expect(200).json();
        let own = usize::from(verb == "retry");
        assert_eq!(reply["changed"], own, "{verb}");
        let left = reply["left"].as_array().unwrap();
        for task in ["1.0", "9.0"] {
            let because = "there is no such task";
            let told = json!({"task": task, "because": because, "missing": true});
            assert!(left.contains(&told), "{verb}: {left:?}");
        }
        assert_eq!(left.len(), 3 - own, "{verb}: {left:?}");
    }
}

#[tokio::test]
async fn what_is_for_operators_is_for_operators() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("bob").await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let policy = json!({"kind": "fifo"});
    let token = json!({"name": "bob", "role": "operator"});
    for who in [&user, &admin] {
        bed.json("PUT", who, "/v1/policy", &policy)
            .await
            .expect(403);
        bed.json("POST", who, "/v1/tokens", &token)
            .await
            .expect(403);
        bed.get(who, "/v1/tokens").await.expect(403);
        bed.get(who, "/v1/events?pilot=p1").await.expect(403);
        let paris = json!({"name": "paris", "adapter": {"kind": "local"}, "ces": [{"name": "a"}]});
        bed.json("POST", who, "/v1/sites", &paris).await.expect(403);
        bed.json("PUT", who, "/v1/sites/paris", &paris)
            .await
            .expect(403);
    }
    let mode = json!({"mode": "closed"});
    bed.json("POST", &user, "/v1/sites/lyon/mode", &mode)
        .await
        .expect(403);
    bed.json("POST", &admin, "/v1/sites/lyon/mode", &mode)
        .await
        .expect(204);
    bed.get(&user, "/v1/pilots").await.expect(403);
    bed.get(&admin, "/v1/pilots").await.expect(200);
    bed.get(&admin, "/v1/pilots?site=paris").await.expect(403);
}

#[tokio::test]
async fn how_a_site_is_reached_is_its_admins_business() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("bob").await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    for path in ["/v1/sites", "/v1/sites/lyon"] {
        assert!(
            !bed.get(&user, path)
                .await
                .expect(200)
                .text()
                .contains("slurm.conf"),
            "{path}"
        );
        assert!(
            bed.get(&admin, path)
                .await
                .expect(200)
                .text()
                .contains("slurm.conf"),
            "{path}"
        );
    }
}
