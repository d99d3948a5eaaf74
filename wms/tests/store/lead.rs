//! One writer, whoever it is.

use fairway_model::{JobId, Timestamp};
use fairway_sched::{Change, Entity, Used};
use fairway_wms::store::{Store, StoreError};

use crate::bed::{Bed, new_job};

crate::on_both!(
    a_second_leader_is_refused,
    who_does_not_lead_does_not_commit,
    the_superseded_writes_nothing,
    a_new_database_is_opened_by_many_at_once,
    usage_too_old_to_count_is_forgotten_at_the_next_start,
);

async fn a_second_leader_is_refused(bed: &Bed) {
    let first = bed.leader().await;
    let second = bed.open().await;
    let refusal = second.lead().await.unwrap_err();
    assert!(matches!(refusal, StoreError::InUse(_)), "{refusal}");
    if !bed.is_postgres() {
        let pid = std::process::id().to_string();
        assert!(refusal.to_string().contains(&pid), "{refusal}");
    } else {
        assert!(refusal.to_string().contains("of fairway"), "{refusal}");
    }
    // The first is not disturbed, and makes room when it closes.
    first.commit(&[new_job(1, "alice", 1)]).await.unwrap();
    first.ping().await.unwrap();
    first.close().await;
    second.lead().await.unwrap();
    second.commit(&[new_job(2, "alice", 1)]).await.unwrap();
    second.close().await;
}

async fn usage_too_old_to_count_is_forgotten_at_the_next_start(bed: &Bed) {
    const HOUR_MS: i64 = 3_600_000;
    let share = |interval: i64| Change::Share {
        entity: Entity::Account {
            user: "alice".parse().unwrap(),
            group: None,
        },
        interval: Timestamp(interval * HOUR_MS),
        used: Used::tasks(1),
    };
    let store = bed.leader().await;
    store
        .commit(&[share(1), share(2000), share(2001), share(3000)])
        .await
        .unwrap();
    store.close().await;
    let store = bed.leader().await;
    let kept: Vec<i64> = store
        .load()
        .await
        .unwrap()
        .shares
        .iter()
        .map(|it| it.1.0)
        .collect();
    assert_eq!(kept, [2000, 2001, 3000].map(|interval| interval * HOUR_MS));
    store.close().await;
}

async fn who_does_not_lead_does_not_commit(bed: &Bed) {
    let store = bed.open().await;
    store.ping().await.unwrap();
    let refusal = store.commit(&[new_job(1, "alice", 1)]).await.unwrap_err();
    assert!(matches!(refusal, StoreError::InUse(_)), "{refusal}");
    assert!(store.job(JobId(1)).await.unwrap().is_none());
    store.close().await;
}

/// Takes over from a leader that does not know that it has lost the lock.
async fn take_over(bed: &Bed) -> Store {
    if bed.is_postgres() {
        bed.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks \
             WHERE locktype = 'advisory' AND objid::bigint::bit(32)::int = hashtext(current_schema())",
        )
        .await;
    } else {
        // On SQLite nobody loses the lock but by removing its file.
        let file = bed.url.strip_prefix("sqlite://").unwrap().to_owned() + ".lock";
        std::fs::remove_file(file).unwrap();
    }
    let store = bed.open().await;
    let mut tries = 0;
    // A terminated session takes a moment to go.
    while let Err(error) = store.lead().await {
        assert!(
            matches!(error, StoreError::InUse(_)) && tries < 1000,
            "{error}"
        );
        tries += 1;
        tokio::task::yield_now().await;
    }
    store
}

async fn the_superseded_writes_nothing(bed: &Bed) {
    let old = bed.leader().await;
    old.commit(&[new_job(1, "alice", 1)]).await.unwrap();
    let new = take_over(bed).await;
    let refusal = old.commit(&[new_job(2, "alice", 1)]).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Superseded), "{refusal}");
    let refusal = old.ping().await.unwrap_err();
    assert!(matches!(refusal, StoreError::Superseded), "{refusal}");
    assert!(new.job(JobId(2)).await.unwrap().is_none());
    new.commit(&[new_job(2, "bob", 1)]).await.unwrap();
    new.ping().await.unwrap();
    assert_eq!(new.load().await.unwrap().jobs.len(), 2);
    new.close().await;
    old.close().await;
}

async fn a_new_database_is_opened_by_many_at_once(bed: &Bed) {
    let opened = (0..4).map(|_| {
        let url = bed.url.clone();
        tokio::spawn(async move { Store::open(&url).await.unwrap() })
    });
    let opened: Vec<_> = opened.collect();
    let mut names = Vec::new();
    for store in opened {
        let store = store.await.unwrap();
        names.push(store.instance().await.unwrap());
        store.close().await;
    }
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert!(names[0].len() == 8 && names[0].bytes().all(|b| b.is_ascii_hexdigit()));
}
