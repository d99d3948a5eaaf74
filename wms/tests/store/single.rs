//! What is looked up one by one: a task with all that belongs to it, an earlier submission, a token.

use fairway_model::{
    Attempt, AttemptEnd, JobId, PilotId, PilotState, Principal, Role, TaskState, Timestamp,
};
use fairway_sched::Change;
use fairway_wms::store::{StoreError, StoredToken};

use crate::bed::{Bed, ce, id, job, new_job, pilot, task, usage, user};

crate::on_both!(
    a_task_with_its_surroundings,
    a_repeated_submission_is_found,
    tokens_come_and_go,
);

async fn a_task_with_its_surroundings(bed: &Bed) {
    let store = bed.leader().await;
    store
        .commit(&[
            new_job(1, "alice", 2),
            Change::Pilot(pilot(1, PilotState::Active)),
            Change::Task(task(1, 0, TaskState::Failed)),
            Change::Usage(usage(id(1, 0), 1, "alice", 3)),
        ])
        .await
        .unwrap();
    let failed = store.task_view(id(1, 0)).await.unwrap().unwrap();
    assert_eq!(failed.owner, user("alice"));
    assert_eq!(failed.ce, Some(ce()));
    assert_eq!(failed.pilot, Some(PilotId(1)));
    assert_eq!(failed.last_end, Some(AttemptEnd::Exited { code: 3 }));
    assert_eq!(failed.detail.as_deref(), Some("exited with 3"));
    let waiting = store.task_view(id(1, 1)).await.unwrap().unwrap();
    assert_eq!(
        (waiting.ce, waiting.pilot, waiting.detail),
        (None, None, None)
    );
    assert!(store.task_view(id(1, 2)).await.unwrap().is_none());

    // Tried again: the live attempt has no usage yet.
    let mut again = task(1, 0, TaskState::Running);
    again.attempt = Attempt(2);
    store.commit(&[Change::Task(again)]).await.unwrap();
    let attempts = store.attempts(id(1, 0)).await.unwrap();
    assert_eq!(attempts, [Attempt(1), Attempt(2)]);
    assert_eq!(store.attempts(id(1, 1)).await.unwrap(), []);
    store.close().await;
}

async fn a_repeated_submission_is_found(bed: &Bed) {
    let store = bed.leader().await;
    let with_key = |id, owner| Change::NewJob {
        job: job(id, owner, 3),
        nodes: Vec::new(),
        idempotency: Some(("key".into(), format!("hash-{id}"))),
        waits: false,
    };
    let changes = [
        with_key(1, "alice"),
        with_key(2, "bob"),
        new_job(3, "alice", 1),
    ];
    store.commit(&changes).await.unwrap();
    let found = store.find_idempotent(&user("bob"), "key").await.unwrap();
    assert_eq!(found, Some((JobId(2), 3, "hash-2".into())));
    assert_eq!(
        store.find_idempotent(&user("bob"), "other").await.unwrap(),
        None
    );
    assert_eq!(
        store.find_idempotent(&user("carol"), "key").await.unwrap(),
        None
    );
    // The database itself refuses a second job with the key.
    let refusal = store.commit(&[with_key(4, "bob")]).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Database(_)), "{refusal}");
    store.close().await;
}

async fn tokens_come_and_go(bed: &Bed) {
    let store = bed.open().await;
    let token = |id: &str, created_at| StoredToken {
        id: id.into(),
        hash: "h".repeat(64),
        principal: Principal {
            name: user("alice"),
            group: Some("biomed".parse().unwrap()),
            role: Role::SiteAdmin,
            sites: vec!["lyon".parse().unwrap()],
        },
        created_at: Timestamp(created_at),
        expires_at: Timestamp(created_at + 1),
        revoked_at: None,
    };
    for token in [token("old", 1), token("new", 2)] {
        store.add_token(&token).await.unwrap();
    }
    assert!(store.add_token(&token("old", 3)).await.is_err());
    assert_eq!(store.token("old").await.unwrap(), Some(token("old", 1)));
    assert_eq!(store.token("none").await.unwrap(), None);
    assert_eq!(
        store.tokens().await.unwrap(),
        [token("new", 2), token("old", 1)]
    );
    assert!(store.revoke_token("old", Timestamp(7)).await.unwrap());
    assert!(store.revoke_token("old", Timestamp(8)).await.unwrap());
    assert!(!store.revoke_token("none", Timestamp(8)).await.unwrap());
    let revoked = store.token("old").await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(Timestamp(7)));
    store.close().await;
}
