//! What the ledger tells: events, the history of the policy, and usage.

use fairway_api::public::{EventsQuery, PolicyHistoryQuery, UsageQuery};
use fairway_model::event::TaskVerb;
use fairway_model::{Attempt, Event, EventKind, JobId, PilotId, TaskState, Timestamp};
use fairway_sched::Change;

use crate::bed::{Bed, NOW, ce, event, id, new_job, started, submitted, usage, user};

crate::on_both!(
    events_of_a_task_job_and_pilot,
    changes_of_the_policy,
    usage_adds_up,
);

async fn events_of_a_task_job_and_pilot(bed: &Bed) {
    let store = bed.leader().await;
    let leased = EventKind::TaskLeased {
        task: id(1, 4),
        attempt: Attempt(1),
        pilot: PilotId(1),
        ce: ce(),
        because: Some("nobody else had tasks waiting".into()),
    };
    let changes = [
        submitted(1, 1, "alice"),
        submitted(2, 2, "bob"),
        range_held(3, 1, 0, 4),
        range_held(4, 1, 4, 5),
        event(5, leased),
        started(6, id(1, 4)),
        started(7, id(1, 3)),
        started(8, id(2, 4)),
    ];
    store
        .commit(&[new_job(1, "alice", 5), new_job(2, "bob", 5)])
        .await
        .unwrap();
    store.commit(&changes).await.unwrap();

    let seqs = async |query: EventsQuery| -> Vec<u64> {
        let page = store.events(&query, None).await.unwrap();
        page.items.iter().map(|event| event.seq).collect()
    };
    let all = EventsQuery::default();
    let task = EventsQuery {
        task: Some(id(1, 4)),
        ..all.clone()
    };
    assert_eq!(seqs(task).await, [1, 4, 5, 6]);
    let job = EventsQuery {
        job: Some(JobId(2)),
        ..all.clone()
    };
    assert_eq!(seqs(job).await, [2, 8]);
    let pilot = EventsQuery {
        pilot: Some(PilotId(1)),
        ..all.clone()
    };
    assert_eq!(seqs(pilot).await, [5]);

    // All of them come back as they were, page by page.
    let mut query = EventsQuery {
        limit: Some(3),
        ..all
    };
    let mut seen: Vec<Event> = Vec::new();
    loop {
        let page = store.events(&query, None).await.unwrap();
        seen.extend(page.items);
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    let seen: Vec<Change> = seen.into_iter().map(Change::Event).collect();
    assert_eq!(seen, changes);
    store.close().await;
}

fn range_held(seq: u64, job: u64, from: u32, to: u32) -> Change {
    event(
        seq,
        EventKind::TasksChanged {
            job: JobId(job),
            from,
            to,
            verb: TaskVerb::Hold,
            state: TaskState::Held,
            by: user("alice"),
        },
    )
}

/// Each with the policy before it, over the edges of pages and between other events.
async fn changes_of_the_policy(bed: &Bed) {
    let store = bed.leader().await;
    let changed = |seq: u64| {
        let kind = EventKind::PolicyChanged {
            policy: seq.to_string(),
            by: user("op"),
            because: None,
        };
        event(seq, kind)
    };
    let closed = EventKind::SiteChanged {
        site: "lyon".parse().unwrap(),
        what: "{\"event\":\"policy-changed\"".into(),
        by: user("op"),
    };
    let rows = [changed(1), event(2, closed), changed(3), changed(4)];
    store.commit(&rows).await.unwrap();
    let mut query = PolicyHistoryQuery {
        limit: Some(2),
        ..PolicyHistoryQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.policy_events(&query).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|it| (it.event.seq, it.before)));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    let before = |seq: u64| Some(seq.to_string());
    assert_eq!(seen, [(4, before(3)), (3, before(1)), (1, None)]);
}

async fn usage_adds_up(bed: &Bed) {
    let store = bed.leader().await;
    let mut late = usage(id(2, 0), 1, "bob", 0);
    late.ended_at = Timestamp(NOW.0 + 5000);
    late.group = Some("biomed".parse().unwrap());
    late.memory_peak_kib = 9;
    store
        .commit(&[
            Change::Usage(usage(id(1, 0), 1, "alice", 1)),
            Change::Usage(usage(id(1, 0), 2, "alice", 0)),
            Change::Usage(usage(id(10, 0), 1, "alice", 0)),
            Change::Usage(late),
        ])
        .await
        .unwrap();
    let lines = async |by: &str, from, until| {
        let query = UsageQuery {
            by: Some(by.into()),
            from,
            until,
            user: None,
        };
        store.usage(&query, None).await.unwrap()
    };
    let alice = &lines("user", None, None).await[0];
    assert_eq!(
        (alice.key.as_str(), alice.attempts, alice.succeeded),
        ("alice", 3, 2)
    );
    assert_eq!(
        (
            alice.wall_ms,
            alice.core_ms,
            alice.cpu_ms,
            alice.memory_peak_kib
        ),
        (3000, 6000, 2700, 500)
    );
    let keys = async |by| -> Vec<String> {
        let lines = lines(by, None, None).await;
        lines.into_iter().map(|line| line.key).collect()
    };
    assert_eq!(keys("user").await, ["alice", "bob"]);
    assert_eq!(keys("group").await, ["-", "biomed"]);
    assert_eq!(keys("site").await, ["lyon"]);
    assert_eq!(keys("ce").await, ["lyon/short"]);
    assert_eq!(keys("job").await, ["1", "2", "10"]);
    assert_eq!(lines("user", Some(NOW.0 + 5000), None).await.len(), 1);
    assert_eq!(lines("user", None, Some(NOW.0 + 5000)).await.len(), 1);
    store.close().await;
}
