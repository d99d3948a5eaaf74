//! What a server says of its queues and nodes, and answers that nobody understands.

use super::*;
use crate::pbs::openpbs::publish;

#[test]
fn json_and_text_say_the_same() {
    let json = stanza::from_json(fixture!("job-running.json")).unwrap();
    let text = stanza::from_text(fixture!("job-running-plain.txt"), "Job Id:");
    assert_eq!(json.len(), 1);
    for attribute in [
        "Job_Name",
        "job_state",
        "comment",
        "run_count",
        "Job_Owner",
        "exec_vnode",
    ] {
        assert_eq!(
            json[0].get(attribute),
            text[0].get(attribute),
            "{attribute}"
        );
    }
    assert_eq!(
        json[0].get("Resource_List.select"),
        text[0].get("Resource_List.select")
    );
    let json = stanza::from_json(fixture!("pbsnodes-av-mixed.json")).unwrap();
    let text = stanza::from_text(fixture!("pbsnodes-av-mixed-plain.txt"), "");
    let published = |nodes: &[Stanza]| {
        let queues = stanza::from_json(fixture!("qstat-Q-busy.json")).unwrap();
        let mut state =
            CeState::unreachable("a/b".parse().unwrap(), "", Timestamp(0), String::new());
        publish::Site::new(&[], &queues, nodes).publish("short", &mut state);
        state
    };
    assert_eq!(published(&json), published(&text));
}

async fn published(queues: &'static str, nodes: &'static str, names: &[&str]) -> Vec<CeState> {
    let (pbs, _) = replay(vec![
        ("qstat", answer(0, fixture!("qstat-B-busy.json"), "")),
        ("qstat", answer(0, queues, "")),
        ("pbsnodes", answer(0, nodes, "")),
    ]);
    let ces: Vec<Ce> = names.iter().map(|name| ce(name)).collect();
    pbs.publish(&ces, Timestamp(0)).await.unwrap()
}

#[tokio::test]
async fn publishes_queues() {
    let busy = published(
        fixture!("qstat-Q-busy.json"),
        fixture!("pbsnodes-av-mixed.json"),
        &["short", "workq"],
    );
    insta::assert_json_snapshot!(busy.await);
}

#[tokio::test]
async fn queues_that_take_nothing_say_why() {
    let names = ["short", "long", "tiny", "closed", "nosuch"];
    let states = published(
        fixture!("qstat-Q-empty.json"),
        fixture!("pbsnodes-av-mixed.json"),
        &names,
    );
    let down = published(
        fixture!("qstat-Q-empty.json"),
        fixture!("pbsnodes-av-mom-down.json"),
        &["short"],
    );
    let said: Vec<String> = [states.await, down.await]
        .concat()
        .iter()
        .map(|state| {
            format!(
                "{:?}: {}",
                state.status,
                state.reason.as_deref().unwrap_or("-")
            )
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn nodes_are_told_apart_by_what_queues_ask_for() {
    let queues = fixture!("qstat-Q-empty.json").replacen(
        "\"enabled\":\"True\"",
        "\"default_chunk\":{\"Qlist\":\"gpu\"}, \"enabled\":\"True\"",
        1,
    );
    let nodes = r#"{"nodes": {
        "a": {"state": "free", "resources_available": {"host": "a", "ncpus": 8, "mem": "64gb",
            "Qlist": "gpu,cpu", "ngpus": 2, "bigmem": "True"}},
        "b": {"state": "free", "resources_available": {"host": "b", "ncpus": 4, "mem": "8gb"}},
        "c": {"state": "job-exclusive", "queue": "short",
            "resources_available": {"host": "c", "ncpus": 16, "mem": "8gb"}}
    }}"#;
    let queues = stanza::from_json(&queues).unwrap();
    let nodes = stanza::from_json(nodes).unwrap();
    let site = publish::Site::new(&[], &queues, &nodes);
    let cores = |queue: &str| {
        let mut state =
            CeState::unreachable("a/b".parse().unwrap(), "", Timestamp(0), String::new());
        assert!(site.publish(queue, &mut state));
        (
            state.cores_total,
            state.cores_free,
            state.gpus_total,
            state.features.join(" "),
        )
    };
    let features = "Qlist=cpu Qlist=gpu bigmem=True".to_owned();
    assert_eq!(
        cores("workq"),
        (Some(8), Some(8), Some(2), features.clone())
    );
    assert_eq!(cores("short"), (Some(16), Some(0), Some(0), String::new()));
    assert_eq!(cores("long"), (Some(12), Some(12), Some(2), features));
}

/// Answers that are cut off or garbled anywhere make errors or less to tell, never a panic.
#[test]
fn nothing_that_is_answered_is_a_panic() {
    let answers = [
        fixture!("array-finished.json"),
        fixture!("poisoned-listing-text.txt"),
        fixture!("pbsnodes-av-mixed-plain.txt"),
        fixture!("qstat-Q-busy.json"),
    ];
    let mut seed = 0x9E37_79B9_u32;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    for answer in answers {
        for _ in 0..400 {
            let mut bytes = answer.as_bytes().to_vec();
            for _ in 0..=random(8) {
                let place = random(bytes.len());
                bytes[place] = b"\0\n\t \"{}[]=:,.-9a\xff"[random(17)];
            }
            bytes.truncate(random(bytes.len()) + 1);
            let text = String::from_utf8_lossy(&bytes);
            for heading in ["Job Id:", "Queue:", ""] {
                read_all(&stanza::from_text(&text, heading));
            }
            if let Ok(rows) = stanza::from_json(&text) {
                read_all(&rows);
            }
            drop(job::submitted(&text, 3));
        }
    }
}

fn read_all(rows: &[Stanza]) {
    drop(job::named(rows, "", parse::state));
    drop(job::owners(rows));
    let site = publish::Site::new(rows, rows, rows);
    for row in rows {
        let mut state =
            CeState::unreachable("a/b".parse().unwrap(), "", Timestamp(0), String::new());
        site.publish(&row.name, &mut state);
    }
}
