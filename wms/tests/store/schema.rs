//! The schema's way up, down and up again, with data in it.

use fairway_migrations::{Migrator, MigratorTrait as _};
use fairway_model::{PilotState, TaskState};
use fairway_sched::Change;

use crate::bed::{Bed, id, new_graph, new_job, pilot, started, task, usage};

crate::on_both!(up_down_up);

async fn up_down_up(bed: &Bed) {
    let changes = [
        new_job(1, "alice", 3),
        new_graph(2, "alice").0,
        Change::Task(task(1, 0, TaskState::Running)),
        Change::Pilot(pilot(1, PilotState::Active)),
        Change::Usage(usage(id(1, 0), 1, "alice", 0)),
        started(1, id(1, 0)),
    ];
    let store = bed.leader().await;
    store.commit(&changes).await.unwrap();
    store.close().await;

    let db = bed.connect().await;
    let steps = Migrator::migrations().len();
    for undone in 1..=steps {
        let steps = u32::try_from(undone).unwrap();
        Migrator::down(&db, Some(steps)).await.unwrap();
        Migrator::up(&db, None).await.unwrap();
    }
    db.close().await.unwrap();

    // All the way down and up again: a new store, which takes the same changes.
    let store = bed.leader().await;
    assert!(store.load().await.unwrap().jobs.is_empty());
    store.commit(&changes).await.unwrap();
    assert_eq!(store.load().await.unwrap().tasks.len(), 3 + 6);
    store.close().await;
}
