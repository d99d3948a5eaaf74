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
