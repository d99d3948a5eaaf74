//! Sites: registered, changed, planned, published and tried; and who may do what of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairway_api::pilot::Bootstrap;
use fairway_model::{Role, Site};
use serde_json::{Value, json};

use crate::bed::{Bed, call, lyon, request, site_name, steady};

#[tokio::test]
async fn a_site_s_life() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    // Its commands act with the server's rights: that is an operator's decision …
    let refused = bed.json("POST", &admin, "/v1/sites", &lyon()).await;
    insta::assert_json_snapshot!("site_with_server_rights", refused.expect(403).seen());
    bed.json("POST", &operator, "/v1/sites", &lyon())
        .await
        .expect(201);
    let again = bed
        .json("POST", &admin, "/v1/sites", &lyon())
        .await
        .expect(409);
    insta::assert_json_snapshot!("site_again", again.seen());
    // … and once it is made, the rest is its admin's.
    let mut changed = lyon();
    changed.ces[0].limits.pilots_max = 50;
    bed.json("PUT", &admin, "/v1/sites/lyon", &changed)
        .await
        .expect(204);
    let mode = json!({"mode": "draining", "ce": "short"});
    bed.json("POST", &admin, "/v1/sites/lyon/mode", &mode)
        .await
        .expect(204);
    let other = json!({"mode": "draining", "ce": "long"});
    bed.json("POST", &admin, "/v1/sites/lyon/mode", &other)
        .await
        .expect(404);
    let shown = bed
        .get(&admin, &format!("/v1/sites/{}", site_name()))
        .await
        .expect(200);
    steady().bind(|| insta::assert_json_snapshot!("site", shown.seen()));
    let delete = request("DELETE", &admin, "/v1/sites/lyon")
        .body(axum::body::Body::empty())
        .unwrap();
    bed.send(delete).await.expect(204);
    bed.get(&admin, "/v1/sites/lyon").await.expect(404);
}

#[tokio::test]
async fn an_admin_registers_what_needs_none_of_the_server_s_rights() {
    let bed = Bed::start().await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let mut site = json!({"name": "lyon", "ces": [{"name": "a"}], "adapter": {"kind": "slurm",
        "rest": {"url": "https://slurm", "secret": {"file": "/etc/fairway/sites/lyon/jwt"}}}});
    bed.json("POST", &admin, "/v1/sites", &site)
        .await
        .expect(201);
    site["adapter"]["rest"]["secret"]["file"] = json!("/etc/shadow");
    let refused = bed.json("PUT", &admin, "/v1/sites/lyon", &site).await;
    insta::assert_json_snapshot!("site_names_a_file", refused.expect(403).seen());
}

#[tokio::test]
async fn what_makes_no_sense_is_told_at_once() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let site = json!({
        "name": "lyon", "adapter": {"kind": "slurm", "conf": "slurm.conf"}, "ces": [
            {"name": "a", "queue": "x\n#SBATCH -p y", "shape": {"cores": 0}},
            {"name": "a", "limits": {"pilots_max": 1, "queued_max": 2}}]});
    let refused = bed.json("POST", &operator, "/v1/sites", &site).await;
    insta::assert_json_snapshot!("site_makes_no_sense", refused.expect(422).seen());
    let site = json!({"name": "lyon", "adapter": {"kind": "slurm"}, "ces": [], "queues": []});
    let refused = bed.json("POST", &operator, "/v1/sites", &site).await;
    insta::assert_json_snapshot!("site_with_unknown_key", refused.expect(400).seen());
}

#[tokio::test]
async fn maintenance_is_planned_and_cleared() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let user = bed.user("bob").await;
    let path = "/v1/sites/lyon/maintenance";
    let plan = json!({"maintenance": [
        {"from": "2026-12-14T06:00:00+01:00", "to": "2026-12-14T18:00:00Z", "why": "switches"}]});
    bed.json("PUT", &user, path, &plan).await.expect(403);
    bed.json("PUT", &admin, path, &plan).await.expect(204);
    let shown = bed.get(&user, "/v1/sites/lyon").await.expect(200).json();
    let expected = json!([
        {"from": "2026-12-14T05:00:00Z", "to": "2026-12-14T18:00:00Z", "why": "switches"}]);
    assert_eq!(shown["maintenance"], expected);
    let backwards = json!({"maintenance": [{"from": 2000, "to": 1000}]});
    let refused = bed.json("PUT", &admin, path, &backwards).await.expect(422);
    insta::assert_json_snapshot!("maintenance_backwards", refused.seen());
    let none = json!({"maintenance": []});
    bed.json("PUT", &admin, path, &none).await.expect(204);
    let shown = bed.get(&admin, "/v1/sites/lyon").await.expect(200).json();
    assert_eq!(shown.get("maintenance"), None);
}

#[tokio::test]
async fn what_is_the_admins_business_is_shown_to_them_alone() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let site = json!({
        "name": "lyon", "accounts": {"alice": "amartin"},
        "adapter": {"kind": "slurm", "ssh": {"host": "login.example.org"}},
        "ces": [{"name": "short", "account": "gridaccount", "qos": "gold", "reservation": "r17",
                 "options": ["--exclude=node7"], "pilot_program": "/opt/pilot"}]});
    bed.json("POST", &operator, "/v1/sites", &site)
        .await
        .expect(201);
    let user = bed.user("bob").await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let words = [
        "amartin",
        "login.example",
        "gridaccount",
        "gold",
        "r17",
        "node7",
        "/opt/pilot",
    ];
    for path in ["/v1/sites", "/v1/sites/lyon"] {
        let (theirs, all) = (bed.get(&user, path).await, bed.get(&admin, path).await);
        for word in words {
            assert!(!theirs.text().contains(word), "{path} tells of {word}");
            assert!(
                all.text().contains(word),
                "{path} keeps {word} from its admin"
            );
        }
    }
}

#[tokio::test]
async fn a_site_in_the_terms_of_glue_2() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("bob").await;
    let shown = bed
        .get(&user, "/v1/sites/lyon/glue2")
        .await
        .expect(200)
        .json();
    assert_eq!(shown["ComputingShare"][0]["FreeSlots"], 8);
    assert_eq!(
        shown["ComputingEndpoint"][0]["URL"],
        "https://wms.example.org:8470"
    );
    bed.get(&user, "/v1/sites/paris/glue2").await.expect(404);
}

#[tokio::test]
async fn why_a_ce_has_its_pilots_is_for_its_admins() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("bob").await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    bed.submit(&user, "[ Executable = \"/bin/true\"; CPUNumber = 64; ]")
        .await
        .expect(201);
    bed.plan_pilot("secret").await;
    let path = "/v1/sites/lyon/provisioning";
    bed.get(&user, path).await.expect(403);
    let shown = bed.get(&admin, path).await.expect(200);
    steady().bind(|| insta::assert_json_snapshot!("provisioning", shown.seen()));
    let path = "/v1/sites/lyon/release";
    for (ce, host) in [("short", "node1"), ("long", "node1")] {
        let release = json!({"ce": ce, "host": host});
        bed.json("POST", &user, path, &release).await.expect(403);
        bed.json("POST", &admin, path, &release).await.expect(404);
    }
    let operator = bed.token("op", Role::Operator).await;
    bed.get(&admin, "/v1/sites/paris/provisioning")
        .await
        .expect(403);
    bed.get(&operator, "/v1/sites/paris/provisioning")
        .await
        .expect(404);
}

/// The events of a check, in order: name and data, without how long it took.
fn events(text: &str) -> Vec<(String, Value)> {
    let event = |block: &str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let mut data: Value = serde_json::from_str(field("data: ")?).unwrap();
        if let Some(data) = data.as_object_mut() {
            data.remove("took_ms");
        }
        Some((field("event: ")?.to_owned(), data))
    };
    text.split("\n\n").filter_map(event).collect()
}

async fn try_out(bed: &Bed, token: &str, query: &str) -> Vec<(String, Value)> {
    let path = format!("/v1/sites/lyon/check?{query}");
    events(bed.post(token, &path).await.expect(200).text())
}

/// `lyon` on this machine, with a program that does this in place of a pilot.
async fn add_local_site(bed: &Bed, script: &str) -> PathBuf {
    let program = bed.folder().join("pilot.sh");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let site: Site = serde_json::from_value(json!({
        "name": "lyon", "mode": "closed", "adapter": {"kind": "local", "cores": 2},
        "ces": [{"name": "short", "pilot_program": program}]}))
    .unwrap();
    let operator = bed.token("op", Role::Operator).await;
    bed.json("POST", &operator, "/v1/sites", &site)
        .await
        .expect(201);
    program
}

async fn pilots_left(bed: &Bed) -> usize {
    bed.engine
        .look(|state, _| state.pilots_live().count())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_batch_system_out_of_reach_is_told_with_a_remedy() {
    let bed = Bed::start().await;
    let operator = bed.token("op", Role::Operator).await;
    let mut site = lyon();
    site.adapter = serde_json::from_value(json!({"kind": "slurm", "bin_dir": "/nowhere"})).unwrap();
    bed.json("POST", &operator, "/v1/sites", &site)
        .await
        .expect(201);
    insta::assert_json_snapshot!("check_out_of_reach", try_out(&bed, &operator, "").await);
    assert_eq!(pilots_left(&bed).await, 0);
}

#[tokio::test]
async fn only_its_admins_try_a_site() {
    let bed = Bed::start().await;
    bed.add_site().await;
    let user = bed.user("bob").await;
    let operator = bed.token("op", Role::Operator).await;
    bed.post(&user, "/v1/sites/lyon/check").await.expect(403);
    for path in ["paris/check", "lyon/check?ce=long"] {
        let path = format!("/v1/sites/{path}");
        bed.post(&operator, &path).await.expect(404);
    }
    for query in ["wait_s=0", "wait_s=3601", "wait=1"] {
        let path = format!("/v1/sites/lyon/check?{query}");
        bed.post(&operator, &path).await.expect(400);
    }
}

#[tokio::test]
async fn a_pilot_that_ends_without_a_word_is_told() {
    let bed = Bed::start().await;
    add_local_site(&bed, "exit 3").await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let told = try_out(&bed, &admin, "ce=short").await;
    let (name, last) = &told[told.len() - 2];
    assert_eq!(
        (name.as_str(), &last["outcome"]),
        ("step", &json!("failed"))
    );
    let found = last["found"].as_str().unwrap();
    assert!(found.contains("without calling home"), "{found}");
    assert_eq!(told.last().unwrap().1, json!({"failed": 1, "remarks": 0}));
    assert_eq!(pilots_left(&bed).await, 0);
}

#[tokio::test]
async fn a_pilot_that_is_not_heard_of_is_ended() {
    let bed = Bed::start().await;
    let program = add_local_site(&bed, "echo $$ > \"$0.pid\"; exec sleep 600").await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let told = try_out(&bed, &admin, "wait_s=2").await;
    let last = &told[told.len() - 2].1;
    let found = last["found"].as_str().unwrap();
    assert!(found.contains("did not call home within 2 s"), "{found}");
    assert_eq!(pilots_left(&bed).await, 0);
    let pid = read_when_there(&program.with_extension("sh.pid")).await;
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    for _ in 0..100 {
        let over =
            std::fs::read_to_string(process.join("stat")).is_ok_and(|it| it.contains(") Z "));
        if over || !process.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the pilot's process is left behind");
}

/// What a program writes into a file that is not there yet.
async fn read_when_there(path: &Path) -> String {
    for _ in 0..600 {
        if let Ok(text) = std::fs::read_to_string(path)
            && text.ends_with(['\n', '}'])
        {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} is not written", path.display());
}

#[tokio::test]
async fn a_site_that_works_is_tried_to_the_end() {
    let bed = Bed::start().await;
    let program = add_local_site(
        &bed,
        "cat > \"$0.new\"; mv \"$0.new\" \"$0.boot\"; \
         for i in $(seq 600); do [ -e \"$0.done\" ] && exit 0; sleep 0.1; done",
    )
    .await;
    let admin = bed.token("carol", Role::SiteAdmin).await;
    let pilot = async {
        let document = read_when_there(&program.with_extension("sh.boot")).await;
        let bootstrap: Bootstrap = serde_json::from_str(&document).unwrap();
        // One at a time.
        let other = try_out(&bed, &admin, "").await;
        assert_eq!(other[other.len() - 2].1["outcome"], "skipped", "{other:?}");
        let hello = call(bootstrap.pilot, &bootstrap.secret);
        let reply = bed.json("POST", "", "/v1/pilot/register", &hello).await;
        let token = reply.expect(200).json()["token"]
            .as_str()
            .unwrap()
            .to_owned();
        let want = json!({"holding": [], "want": {"round": 1, "remaining_s": 3600, "backlog": 0}});
        let synced = bed.json("POST", &token, "/v1/pilot/sync", &want).await;
        assert_eq!(synced.expect(200).json()["drain"], true);
        let goodbye = json!({"reason": "drained"});
        bed.json("POST", &token, "/v1/pilot/goodbye", &goodbye)
            .await;
        std::fs::write(program.with_extension("sh.done"), "").unwrap();
    };
    let (told, ()) = tokio::join!(try_out(&bed, &admin, ""), pilot);
    let words = told.iter().map(|(_, data)| match data["found"].as_str() {
        Some(found) => {
            let found = found.split(" after ").next().unwrap();
            format!("{}: {}: {found}", data["stage"], data["outcome"])
        }
        None => data.to_string(),
    });
    // How often it was asked in between is chance.
    let words: Vec<String> = words.filter(|it| !it.contains("under-way")).collect();
    insta::assert_snapshot!("check_to_the_end", words.join("\n"));
    assert_eq!(pilots_left(&bed).await, 0);
}
