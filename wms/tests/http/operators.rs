//! Policy, tokens and health.

use fairway_model::Role;
use serde_json::json;

use crate::bed::Bed;

#[tokio::test]
async fn nodes_are_released_by_those_who_run_the_site() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let node = json!({"ce": "short", "host": "node17"});
    let path = "/v1/sites/lyon/release";
    let user = bed.user("alice").await;
    bed.json("POST", &user, path, &node).await.expect(403);
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let reply = bed.json("POST", &admin, path, &node).await.expect(404);
    insta::assert_json_snapshot!("no_such_node_aside", reply.seen());
}

#[tokio::test]
async fn the_policy_is_changed_while_running() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let policy = json!({"kind": "round-robin"});
    bed.json("PUT", &operator, "/v1/policy", &policy)
        .await
        .expect(204);
    let shown = bed.get(&operator, "/v1/policy").await.expect(200).json();
    assert_eq!(shown["kind"], "round-robin");
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let wish = json!({"name": "alice", "role": "user", "valid_s": 3600});
    let created = bed
        .json("POST", &operator, "/v1/tokens", &wish)
        .await
        .expect(201)
        .json();
    let token = created["token"].as_str().unwrap();
    bed.get(token, "/v1/whoami").await.expect(200);

    let listed = bed.get(&operator, "/v1/tokens").await.expect(200);
    let secret = token.rsplit('_').next().unwrap();
    assert!(listed.text().contains("alice") && !listed.text().contains(secret));

    let path = format!("/v1/tokens/{}", created["id"].as_str().unwrap());
    let delete = || {
        crate::bed::request("DELETE", &operator, &path)
            .body(axum::body::Body::empty())
            .unwrap()
    };
    bed.send(delete()).await.expect(204);
    bed.get(token, "/v1/whoami").await.expect(401);
}

#[tokio::test]
async fn health_is_told_to_everybody() {
    let bed = Bed::start().await;
    bed.get("", "/v1/health/live").await.expect(204);
    let ready = bed.get("", "/v1/health/ready").await.expect(200);
    insta::assert_json_snapshot!("ready", ready.json(), { ".version" => "[version]" });
}

#[test]
fn the_description_has_every_path() {
    let document = serde_json::to_value(fairway_wms::http::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut list: Vec<String> = paths
        .iter()
        .flat_map(|(path, verbs)| {
            verbs
                .as_object()
                .unwrap()
                .keys()
                .map(move |verb| format!("{verb} {path}"))
        })
        .collect();
    list.sort_unstable_by_key(|line| line.split_once(' ').map(|it| it.1.to_owned()));
    insta::assert_snapshot!("paths", list.join("\n"));
    // What is referred to is there.
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn operators_see_what_becomes_of_the_queue() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let (user, operator) = (
        bed.user("alice").await,
        bed.token("op", Role::Operator).await,
    );
    let jdl =
        r#"Executable = "/bin/true"; WallTime = 600; JobType = "Parametric"; Parameters = 20;"#;
    bed.submit(&user, jdl).await.expect(201);
    let asked = json!({
        "policies": [{"name": "fifo", "policy": {"kind": "fifo"}}],
        "horizon_s": 86_400,
        "seed": 3,
    });
    let reply = bed.json("POST", &operator, "/v1/simulate", &asked).await;
    let told = reply.expect(200).json();
    assert_eq!((&told["tasks"], &told["seed"]), (&json!(20), &json!(3)));
    let outcomes = told["outcomes"].as_array().unwrap();
    let names: Vec<&str> = outcomes
        .iter()
        .filter_map(|it| it["policy"].as_str())
        .collect();
    assert_eq!(names, ["now", "fifo"]);
    for outcome in outcomes {
        let counts = &outcome["tasks"];
        assert_eq!(counts["submitted"], 20, "{outcome}");
        let over = ["succeeded", "unfinished"].map(|it| counts[it].as_u64().unwrap());
        assert_eq!(over.iter().sum::<u64>(), 20, "{outcome}");
    }
    // Nothing has happened to the real ones.
    let job = bed.get(&user, "/v1/jobs/1").await.expect(200).json();
    assert_eq!(job["states"], json!({"waiting": 20}));

    bed.json("POST", &user, "/v1/simulate", &asked)
        .await
        .expect(403);
    let wrong = [
        json!({"horizon_s": 0}),
        json!({"policies": vec![json!({"name": "x", "policy": {}}); 9]}),
    ];
    for wrong in wrong {
        bed.json("POST", &operator, "/v1/simulate", &wrong)
            .await
            .expect(400);
    }
}

#[tokio::test]
async fn a_waiting_task_is_told_when_it_starts() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("alice").await;
    bed.submit(&user, r#"Executable = "/bin/true"; WallTime = 600;"#)
        .await
        .expect(201);
    let told = bed
        .get(&user, "/v1/tasks/1.0/explain")
        .await
        .expect(200)
        .json();
    let forecast = &told["forecast"];
    assert!(
        forecast["made_at"].is_i64() || forecast["made_at"].is_string(),
        "{told}"
    );
    assert!(
        !forecast["likely"].is_null() || !forecast["why_none"].is_null(),
        "{told}"
    );
    assert_eq!(told["history"][0]["what"], "submitted by alice");
    let brief = bed
        .get(&user, "/v1/tasks/1.0/explain?forecast=false")
        .await
        .expect(200)
        .json();
    assert!(brief.get("forecast").is_none(), "{brief}");
    // It is told again, not made again.
    let again = bed
        .get(&user, "/v1/tasks/1.0/explain")
        .await
        .expect(200)
        .json();
    assert_eq!(again["forecast"], told["forecast"]);
}
