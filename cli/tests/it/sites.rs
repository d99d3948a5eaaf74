//! Sites as their admins see them: described, tried, planned, and asked why.

use fairway_api::public::{CeProvisioning, PilotView, TokenCreated};
use fairway_model::PilotEnd;
use serde_json::Value;

use crate::common::{Setup, process, until_true};

#[tokio::test]
async fn a_site_that_works_is_tried_without_a_trace() {
    let fairway = Setup::new().local(1, 1).start().await;
    let boss = &fairway.operator;
    boss.run(&["site", "close", "here"]).await.ok();
    let told = boss
        .run(&["site", "check", "here", "--wait", "2min"])
        .await
        .ok();
    for part in [
        "description: it makes sense",
        "queue of queue: queue is in production",
        "called home after",
        "here is fine",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // The pilot has ended by its own will, and its job with it.
    let pilots: Vec<PilotView> = boss.run(&["pilot", "list", "--json"]).await.json();
    assert!(pilots.is_empty(), "{pilots:?}");
    let all = ["pilot", "list", "--json", "--state", "ended"];
    let pilots: Vec<PilotView> = boss.run(&all).await.json();
    let [pilot] = pilots.as_slice() else {
        panic!("{pilots:?}")
    };
    assert!(
        matches!(pilot.end, Some(PilotEnd::Done { .. })),
        "{pilot:?}"
    );
    until_true("no pilot is left", async || {
        let all = process::of(fairway.folder());
        all.iter().all(|it| !it.is_pilot())
    })
    .await;
}

#[tokio::test]
async fn a_broken_site_is_told_with_a_remedy() {
    let fairway = Setup::new().start().await;
    let boss = &fairway.operator;
    let file = fairway.folder().join("lyon.toml");
    std::fs::write(
        &file,
        "name = \"lyon\"\nadapter = { kind = \"slurm\", bin_dirr = \"/nowhere\" }\n[[ces]]\nname = \"short\"\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let told = boss.run(&["site", "add", path]).await.fails(3);
    assert!(
        told.contains("adapter") && told.contains("bin_dirr"),
        "{told}"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("dirr", "dir")).unwrap();
    // Its commands would have the server's rights.
    let wish = ["--role", "site-admin", "--site", "lyon", "--json"];
    let create = [&["token", "create", "carol"][..], &wish].concat();
    let created: TokenCreated = boss.run(&create).await.json();
    let carol = fairway.holder(created);
    let told = carol.run(&["site", "add", path]).await.fails(3);
    assert!(told.contains("only operators"), "{told}");
    boss.run(&["site", "add", path]).await.ok();

    let ran = carol.run(&["site", "check", "lyon/short"]).await;
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(
        ran.stdout
            .contains("-> try this as the server's account: /nowhere/sinfo"),
        "{ran}"
    );
    let ran = carol.run(&["site", "check", "lyon", "--json"]).await;
    let last = ran.stdout.lines().last().unwrap();
    let end: Value = serde_json::from_str(last).unwrap();
    assert_eq!(end["failed"], 1);

    let plan = ["site", "maintenance", "lyon", "--why", "switches"];
    let times = [
        "--from",
        "2099-12-14T06:00:00Z",
        "--to",
        "2099-12-14T18:00:00+01:00",
    ];
    let planned = carol.run(&[&plan[..], &times].concat()).await.ok();
    assert_eq!(
        planned,
        "2099-12-14T06:00:00Z to 2099-12-14T17:00:00Z: switches\n"
    );
    let shown = carol.run(&["site", "maintenance", "lyon"]).await.ok();
    assert_eq!(shown, planned);

    let told = carol.run(&["site", "why", "lyon"]).await.ok();
    assert!(
        told.contains("lyon/short is open. No pilot is asked for:"),
        "{told}"
    );
    let why: Vec<CeProvisioning> = carol
        .run(&["site", "why", "lyon/short", "--json"])
        .await
        .json();
    assert!(!why[0].closures.is_empty(), "{why:?}");
    let told = carol
        .run(&["site", "release", "lyon/short", "node1"])
        .await
        .fails(3);
    assert!(told.contains("node1"), "{told}");
    let alice = fairway.user("alice").await;
    for args in [
        &["site", "why", "lyon"][..],
        &["site", "check", "lyon"],
        &["site", "maintenance", "lyon", "--clear"],
        &["site", "release", "lyon/short", "node1"],
    ] {
        alice.run(args).await.fails(3);
    }
}
