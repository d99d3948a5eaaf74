//! What pods that wait ask for.

use serde_json::{Value, json};

use super::super::pending::pending;

fn pod(annotations: Value) -> k8s_openapi::api::core::v1::Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": "spark-1", "namespace": "data", "annotations": annotations,
            "creationTimestamp": "2026-11-22T12:00:00Z",
        },
        "spec": {"containers": [{
            "name": "main", "resources": {"requests": {"cpu": "2500m"}},
        }]},
        "status": {"phase": "Pending"},
    }))
    .unwrap()
}

#[test]
fn is_read_from_annotations() {
    insta::assert_debug_snapshot!(pending(&pod(json!({
        "ryax.tech/timeCritical": "true",
        "ryax.tech/deadline": "2026-11-22T14:00:00+01:00",
        "ryax.tech/duration": "1h30m",
        "ryax.tech/resources.cores": "16",
    }))));
}

#[test]
fn is_what_the_pod_asks_for_without_any() {
    let demand = pending(&pod(json!({}))).unwrap();
    assert_eq!((demand.cores, demand.duration_s), (3, None));
    assert!(!demand.time_critical && demand.oddities.is_empty());
}

#[test]
fn odd_values_are_told_and_count_as_missing() {
    insta::assert_debug_snapshot!(pending(&pod(json!({
        "ryax.tech/timeCritical": "yes",
        "ryax.tech/deadline": "tomorrow",
        "ryax.tech/duration": "90",
        "ryax.tech/resources.cores": "0",
    }))));
    for odd in [
        "",
        "h",
        "1h30",
        "-5m",
        "1.5h",
        "0s",
        "99999999999999999999d",
        "5 m",
    ] {
        let demand = pending(&pod(json!({"ryax.tech/duration": odd}))).unwrap();
        assert_eq!(
            (demand.duration_s, demand.oddities.len()),
            (None, 1),
            "{odd:?}"
        );
    }
}

#[test]
fn is_none_of_pods_that_are_excluded_or_have_their_node() {
    assert_eq!(pending(&pod(json!({"ryax.tech/bebida": "exclude"}))), None);
    let mut placed = pod(json!({}));
    placed.spec.as_mut().unwrap().node_name = Some("n1".into());
    assert_eq!(pending(&placed), None);
    let mut running = pod(json!({}));
    running.status.as_mut().unwrap().phase = Some("Running".into());
    assert_eq!(pending(&running), None);
}
