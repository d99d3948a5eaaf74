//! Whatever is wrong with a request is told by a problem document that says what to do.

use axum::body::Body;
use axum::http::header;
use fairway_api::public::TokenRequest;
use fairway_model::Role;
use fairway_wms::auth::create_token;
use serde_json::json;

use crate::bed::{Bed, limits, long_ago, request};

const HELLO: &str = r#"Executable = "/bin/echo"; InputSandbox = {"../data/a.txt"};"#;

#[tokio::test]
async fn tokens_that_are_not_good() {
    let bed = Bed::start().await;
    let revoked = bed.user("alice").await;
    let id = revoked.split('_').nth(1).unwrap().to_owned();
    bed.store.revoke_token(&id, long_ago()).await.unwrap();
    let request_of_old = TokenRequest {
        name: "alice".parse().unwrap(),
        group: None,
        role: Role::User,
        sites: Vec::new(),
        valid_s: Some(60),
    };
    let expired = create_token(&bed.store, request_of_old, long_ago())
        .await
        .unwrap()
        .token;
    let good = bed.user("alice").await;
    let wrong_secret = format!("{}_{}", &good[..good.rfind('_').unwrap()], "0".repeat(64));
    for (name, token) in [
        ("none", ""),
        ("not_a_token", "letmein"),
        ("a_pilots", "fwp_1_00"),
        ("unknown", "fwu_00_00"),
        ("wrong_secret", &wrong_secret),
        ("expired", &expired),
        ("revoked", &revoked),
    ] {
        let reply = bed.get(token, "/v1/whoami").await.expect(401);
        assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer");
        insta::assert_json_snapshot!(format!("token_{name}"), reply.seen());
    }
    let known = bed.get(&good, "/v1/whoami").await.expect(200);
    insta::assert_json_snapshot!("whoami", known.seen());
}

#[tokio::test]
async fn requests_that_make_no_sense() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    let with_body = |kind: &str, body: &'static [u8]| {
        request("POST", &user, "/v1/jobs")
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body))
            .unwrap()
    };
    let get = |path: &str| request("GET", &user, path).body(Body::empty()).unwrap();
    let requests = [
        ("no_such_path", get("/v1/nothing")),
        (
            "no_such_method",
            request("DELETE", &user, "/v1/jobs")
                .body(Body::empty())
                .unwrap(),
        ),
        ("not_an_id", get("/v1/jobs/twelve")),
        ("not_a_task", get("/v1/tasks/12")),
        ("unknown_query_key", get("/v1/jobs?stat=active")),
        ("unknown_sort_key", get("/v1/jobs?sort=colour")),
        ("forged_cursor", get("/v1/jobs?cursor=%27")),
        ("no_such_job", get("/v1/jobs/99")),
        ("no_such_task", get("/v1/tasks/99.0/stdout")),
        ("media_type", with_body("application/yaml", b"a: b")),
        ("json_syntax", with_body("application/json", b"{\"jdl\": ")),
        (
            "json_unknown_key",
            with_body("application/json", b"{\"jdl\": \"\", \"jld\": 1}"),
        ),
        (
            "binary_jdl",
            with_body("application/jdl", b"\x7fELF\x02\xff\xfe"),
        ),
        (
            "broken_jdl",
            with_body("application/jdl", b"Executable = \"/bin/true;\n"),
        ),
        (
            "wrong_types",
            with_body("application/jdl", b"Executable = 5;\nRetryCount = \"x\";\n"),
        ),
        (
            "json_description_syntax",
            with_body("application/jdl+json", b"{\"Executable\": }"),
        ),
        (
            "json_description_expression",
            with_body(
                "application/json",
                b"{\"jdl\": {\"Executable\": \"a\", \"Requirements\": \"1 +\"}}",
            ),
        ),
        (
            "remote_inputs",
            with_body(
                "application/jdl",
                b"Executable = \"a\"; InputSandbox = {\"gsiftp://se.example.org/x\", \"lfn:/grid/y\"};",
            ),
        ),
        (
            "form_without_boundary",
            with_body("multipart/form-data", b""),
        ),
        (
            "form_cut_off",
            with_body("multipart/form-data; boundary=edge", b"--edge\r\nContent-"),
        ),
    ];
    for (name, request) in requests {
        let reply = bed.send(request).await;
        assert!(reply.headers.contains_key("x-request-id"), "{name}");
        insta::assert_json_snapshot!(format!("request_{name}"), reply.seen());
    }
    let packed = request("POST", &user, "/v1/jobs")
        .header(header::CONTENT_TYPE, "application/jdl")
        .header(header::CONTENT_ENCODING, "gzip")
        .body(Body::from("x"))
        .unwrap();
    insta::assert_json_snapshot!("request_packed", bed.send(packed).await.seen());
}

#[tokio::test]
async fn sandboxes_that_do_not_fit_the_jdl() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    let long = "x".repeat(2000);
    let forms: [(&str, &[_]); 9] = [
        ("missing", &[("jdl", None, HELLO)]),
        (
            "unnamed",
            &[("jdl", None, HELLO), ("input", Some("b.txt"), "b")],
        ),
        (
            "leaves_folder",
            &[
                ("jdl", None, HELLO),
                ("input", Some("../../etc/passwd"), "x"),
            ],
        ),
        (
            "without_name",
            &[("jdl", None, HELLO), ("input", None, "x")],
        ),
        (
            "twice",
            &[
                ("jdl", None, HELLO),
                ("input", Some("a.txt"), "x"),
                ("input", Some("../data/a.txt"), "y"),
            ],
        ),
        (
            "too_large",
            &[("jdl", None, HELLO), ("input", Some("a.txt"), &long)],
        ),
        (
            "jdl_not_first",
            &[("input", Some("a.txt"), "x"), ("jdl", None, HELLO)],
        ),
        (
            "unknown_part",
            &[("jdl", None, HELLO), ("colour", None, "blue")],
        ),
        (
            "foreign_group",
            &[
                ("jdl", None, HELLO),
                ("group", None, "atlas"),
                ("input", Some("a.txt"), "x"),
            ],
        ),
    ];
    for (name, parts) in forms {
        let reply = bed.form(&user, parts).await;
        insta::assert_json_snapshot!(format!("sandbox_{name}"), reply.seen());
    }
    let reply = bed.submit(&user, HELLO).await;
    insta::assert_json_snapshot!("sandbox_missing_in_text", reply.seen());
    let jobs = bed.get(&user, "/v1/jobs").await.expect(200).json();
    assert_eq!(jobs["items"], json!([]), "nothing of this was accepted");
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let bed = Bed::start().await;
    let user = bed.user("alice").await;
    let announced = request("POST", &user, "/v1/jobs")
        .header(header::CONTENT_TYPE, "application/jdl")
        .header(header::CONTENT_LENGTH, 1 << 30)
        .body(Body::empty());
    let reply = bed.send(announced.unwrap()).await;
    insta::assert_json_snapshot!("too_large_announced", reply.seen());

    let piece = vec![b' '; 1 << 20];
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    let endless = request("POST", &user, "/v1/jobs")
        .header(header::CONTENT_TYPE, "application/jdl")
        .body(Body::from_stream(endless));
    let reply = bed.send(endless.unwrap()).await;
    insta::assert_json_snapshot!("too_large_endless", reply.seen());
}

#[tokio::test]
async fn no_room_for_a_request() {
    let bed = Bed::with(fairway_wms::http::Limits {
        concurrent_max: 0,
        ..limits()
    })
    .await;
    let reply = bed.get("", "/v1/health/live").await;
    assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    insta::assert_json_snapshot!("no_room", reply.seen());
}

#[tokio::test]
async fn what_operators_get_wrong() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let policy = json!({"kind": "fairshare", "fairshare": {"decay_rate": 2.0}});
    let site = json!({"name": "lyon", "adapter": {"kind": "local"}, "ces": []});
    let token = json!({"name": "eve", "role": "site-admin"});
    for (name, method, path, body) in [
        ("policy", "PUT", "/v1/policy", policy),
        ("site", "POST", "/v1/sites", site.clone()),
        ("site_name", "PUT", "/v1/sites/paris", site),
        ("token", "POST", "/v1/tokens", token),
        ("no_tasks", "POST", "/v1/tasks/cancel", json!({"tasks": []})),
    ] {
        let reply = bed.json(method, &operator, path, &body).await;
        insta::assert_json_snapshot!(format!("operator_{name}"), reply.seen());
    }
}
