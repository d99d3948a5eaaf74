//! What goes wrong is told, and changes nothing.

use fairway_model::{JobId, TaskState};
use fairway_sched::Change;
use fairway_wms::store::{Store, StoreError};

use crate::bed::{Bed, NOW, active_tasks, id, job, new_job, started, task};

crate::on_both!(
    a_failed_batch_leaves_nothing_behind,
    a_full_disk_is_an_error_until_there_is_room,
    a_job_that_cannot_be_read_any_more_is_named,
    a_job_with_another_number_of_tasks_is_named,
    a_newer_schema_is_refused,
);

fn text(result: Result<Store, StoreError>) -> String {
    match result {
        Ok(_) => panic!("it was opened"),
        Err(error @ StoreError::Database(_)) => error.to_string(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/fairway.db");
    let told = text(Store::open(&format!("sqlite://{}", missing.display())).await);
    assert!(
        told.contains("the folder for the database does not exist"),
        "{told}"
    );

    // Nobody can make files in there, not even root.
    let told = text(Store::open("sqlite:///proc/fairway.db").await);
    assert!(told.contains("/proc/fairway.db"), "{told}");

    let garbage = folder.path().join("garbage.db");
    std::fs::write(
        &garbage,
        "not a database, but long enough to be taken for one".repeat(99),
    )
    .unwrap();
    let told = text(Store::open(&format!("sqlite://{}", garbage.display())).await);
    assert!(told.contains("garbage.db"), "{told}");

    let told = text(Store::open("mysql://localhost/fairway").await);
    assert!(told.contains("must begin with"), "{told}");

    // Port 1 is nobody's. The password is not told.
    let told = text(Store::open("postgres://fairway:hunter2@127.0.0.1:1/fairway").await);
    assert!(!told.contains("hunter2"), "{told}");
}

async fn a_failed_batch_leaves_nothing_behind(bed: &Bed) {
    let store = bed.leader().await;
    store
        .commit(&[new_job(1, "alice", 1), started(1, id(1, 0))])
        .await
        .unwrap();
    let refusal = store
        .commit(&[
            new_job(2, "alice", 1),
            Change::Task(task(1, 0, TaskState::Leased)),
            started(1, id(1, 0)),
        ])
        .await
        .unwrap_err();
    assert!(matches!(refusal, StoreError::Database(_)), "{refusal}");
    assert!(store.job(JobId(2)).await.unwrap().is_none());
    assert_eq!(active_tasks(&store).await, [task(1, 0, TaskState::Waiting)]);
    store.commit(&[new_job(2, "alice", 1)]).await.unwrap();
    store.close().await;
}

async fn a_full_disk_is_an_error_until_there_is_room(bed: &Bed) {
    let store = bed.leader().await;
    store.commit(&[new_job(1, "alice", 1)]).await.unwrap();
    let (full, room) = if bed.is_postgres() {
        (
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE disk_full; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION full_disk()",
            "DROP TRIGGER full_disk ON job",
        )
    } else {
        (
            "CREATE TRIGGER full_disk BEFORE INSERT ON job \
             BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
            "DROP TRIGGER full_disk",
        )
    };
    bed.sql(full).await;
    let refusal = store.commit(&[new_job(2, "alice", 1)]).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Database(_)), "{refusal}");
    assert_eq!(store.load().await.unwrap().jobs.len(), 1);
    bed.sql(room).await;
    store.commit(&[new_job(2, "alice", 1)]).await.unwrap();
    store.close().await;
}

async fn load_refusal(bed: &Bed, change: Change) -> String {
    let store = bed.leader().await;
    store.commit(&[change]).await.unwrap();
    let refusal = store.load().await.unwrap_err();
    store.close().await;
    assert!(matches!(refusal, StoreError::Schema(_)), "{refusal}");
    refusal.to_string()
}

async fn a_job_that_cannot_be_read_any_more_is_named(bed: &Bed) {
    let mut job = job(17, "alice", 1);
    job.jdl = "[ Executable = ".into();
    let told = load_refusal(
        bed,
        Change::NewJob {
            job,
            nodes: Vec::new(),
            idempotency: None,
            waits: false,
        },
    )
    .await;
    assert!(told.contains("job 17"), "{told}");
}

async fn a_job_with_another_number_of_tasks_is_named(bed: &Bed) {
    let mut job = job(17, "alice", 5);
    job.task_count = 4;
    let told = load_refusal(
        bed,
        Change::NewJob {
            job,
            nodes: Vec::new(),
            idempotency: None,
            waits: false,
        },
    )
    .await;
    assert!(
        told.contains("job 17") && told.contains("5 tasks"),
        "{told}"
    );
}

async fn a_newer_schema_is_refused(bed: &Bed) {
    bed.open().await.close().await;
    bed.sql(&format!(
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_x', {})",
        NOW.secs()
    ))
    .await;
    match Store::open(&bed.url).await {
        Err(StoreError::Schema(told)) => assert!(told.contains("newer version"), "{told}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}
