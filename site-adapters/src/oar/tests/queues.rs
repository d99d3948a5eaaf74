//! What queues publish.

use fairway_model::CeStatus;

use super::jobs::row;
use super::*;

#[tokio::test]
async fn publishes_queues() {
    let one = r#"{"1": {"resource_id": 1}}"#;
    let (oar, recording) = replay(vec![
        ("oarstat", answer(0, "OAR version : 2.5.9 (Canicule)\n", "")),
        ("oarstat", answer(0, fixture!("oarstat-J.out"), "")),
        ("oarnodes", answer(0, one, "")),
        ("oarnodes", answer(0, "{}\n", "")),
        ("oarnodes", answer(0, "{}\n", "")),
        ("oarnodes", answer(0, "{}\n", "")),
        ("oarnodes", answer(0, one, "")),
        ("oarnodes", answer(0, fixture!("oarnodes-J.out"), "")),
    ]);
    // `default` is active, `nosuch` is not there, `short` is not active.
    let ces = ["default", "nosuch", "short"].map(ce);
    let states = oar.publish(&ces, Timestamp(0)).await.unwrap();
    assert_eq!(recording.asked().len(), 8);
    insta::assert_json_snapshot!(states);
}

#[test]
fn nodes_that_are_away_or_drained_are_offline() {
    let resource = |id: u32, node: &str, state: &str, drain: &str| {
        let row = serde_json::json!({
            "resource_id": id, "network_address": node, "state": state, "drain": drain,
            "core": id, "gpu": id % 2, "memnode": "8192", "cpuarch": "x86_64", "switch": "sw1",
            "serial": format!("{id}-{}", "x".repeat(80)),
        });
        row.as_object().unwrap().clone()
    };
    let resources = [
        resource(1, "n1", "Alive", "NO"),
        resource(2, "n1", "Alive", "NO"),
        resource(3, "n2", "Absent", "NO"),
        resource(4, "n3", "Suspected", "NO"),
        resource(5, "n4", "Alive", "YES"),
        resource(6, "n5", "Alive", "NO"),
    ];
    let mut running = row(9, "x", 1, "Finishing", None);
    running["assigned_resources"] = serde_json::json!([5, 6]);
    let jobs = parse::jobs("", vec![running, row(10, "y", 1, "Hold", None)]).unwrap();
    let id = CeId {
        site: "lyon".parse().unwrap(),
        ce: ce("default").name,
    };
    let mut state = CeState::unreachable(id, "oar", Timestamp(0), String::new());
    publish::publish(
        &mut state,
        &ce("default"),
        "core",
        Queue::Active,
        &resources,
        &jobs,
    );
    assert_eq!(state.status, CeStatus::Production);
    assert_eq!((state.cores_total, state.cores_offline), (Some(6), Some(3)));
    assert_eq!((state.cores_used, state.cores_free), (Some(2), Some(2)));
    assert_eq!((state.nodes_total, state.nodes_free), (Some(5), Some(1)));
    assert_eq!((state.nodes_offline, state.gpus_total), (Some(3), Some(1)));
    assert_eq!((state.jobs_running, state.jobs_waiting), (Some(1), Some(1)));
    assert_eq!(
        state.features,
        ["cpuarch=x86_64", "memnode=8192", "switch=sw1"]
    );
    assert_eq!(state.node_memory_mib, Some(8192));

    publish::publish(
        &mut state,
        &ce("default"),
        "core",
        Queue::Active,
        &resources[2..5],
        &[],
    );
    assert_eq!(state.reason.as_deref(), Some("no node is up"));
    publish::publish(&mut state, &ce("default"), "core", Queue::Active, &[], &[]);
    assert_eq!(
        state.reason.as_deref(),
        Some("no resource meets the constraint")
    );
    assert_eq!(state.status, CeStatus::Closed);
}
