//! Lists of jobs, tasks, nodes and pilots: in pages, in order, by filter, and by who asks.

use fairway_api::public::{
    EventsQuery, JobsQuery, NodesQuery, PilotsQuery, TasksQuery, UsageQuery,
};
use fairway_model::{EventKind, JobId, PilotId, PilotState, TaskId, TaskState, Timestamp};
use fairway_sched::Change;
use fairway_wms::store::{Store, StoreError};

use crate::bed::{
    Bed, NOW, ce, event, id, new_graph, new_job, pilot, started, submitted, task, usage, user,
};

crate::on_both!(
    jobs_by_page,
    tasks_by_page_in_every_order,
    tasks_by_filter,
    nodes_with_their_tasks,
    pilots_with_their_tasks,
    owners_see_their_own,
    senseless_queries_are_refused,
);

async fn jobs_by_page(bed: &Bed) {
    let store = bed.leader().await;
    let mut changes: Vec<Change> = (1..=5).map(|id| new_job(id, "alice", 2)).collect();
    changes.push(Change::Task(task(2, 0, TaskState::Failed)));
    changes.push(Change::JobProgress {
        job: JobId(4),
        ended_at: Some(NOW),
    });
    store.commit(&changes).await.unwrap();

    let mut query = JobsQuery {
        limit: Some(2),
        ..JobsQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.jobs(&query, None).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|job| job.id.0));
        // What comes in meanwhile is newer and does not shift the pages.
        let next = 5 + seen.len() as u64;
        store.commit(&[new_job(next, "alice", 1)]).await.unwrap();
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);

    let ids = async |query: JobsQuery| -> Vec<u64> {
        let page = store.jobs(&query, None).await.unwrap();
        page.items.iter().map(|job| job.id.0).collect()
    };
    let mut query = JobsQuery {
        sort: Some("id".into()),
        limit: Some(3),
        ..JobsQuery::default()
    };
    assert_eq!(ids(query.clone()).await, [1, 2, 3]);
    query.state = Some("ended".into());
    assert_eq!(ids(query.clone()).await, [4]);
    query.state = Some("active".into());
    query.name = Some("job-2".into());
    assert_eq!(ids(query.clone()).await, [2]);

    let view = store.job_view(JobId(2)).await.unwrap().unwrap();
    assert_eq!(
        view.states,
        [(TaskState::Waiting, 1), (TaskState::Failed, 1)].into()
    );
    assert_eq!((view.done(), view.tasks, view.ended_at), (1, 2, None));
    assert!(store.job_view(JobId(99)).await.unwrap().is_none());
    store.close().await;
}

async fn tasks_by_page_in_every_order(bed: &Bed) {
    let store = bed.leader().await;
    let mut changes = vec![new_job(1, "alice", 5), new_job(2, "alice", 4)];
    for index in 0..4 {
        let mut moved = task(2, index, TaskState::Held);
        moved.since = Timestamp(NOW.0 - 10 + i64::from(index % 2));
        changes.push(Change::Task(moved));
    }
    store.commit(&changes).await.unwrap();
    let by_id: Vec<TaskId> = (0..5)
        .map(|i| id(1, i))
        .chain((0..4).map(|i| id(2, i)))
        .collect();
    let by_since: Vec<TaskId> = [id(2, 0), id(2, 2), id(2, 1), id(2, 3)]
        .into_iter()
        .chain((0..5).map(|i| id(1, i)))
        .collect();
    for (sort, expected) in [("id", by_id), ("since", by_since)] {
        let reversed: Vec<TaskId> = expected.iter().rev().copied().collect();
        assert_eq!(all_tasks(&store, sort).await, expected, "{sort}");
        let sort = format!("-{sort}");
        let seen = all_tasks(&store, &sort).await;
        assert_eq!(seen, reversed, "{sort}");
    }
    store.close().await;
}

async fn all_tasks(store: &Store, sort: &str) -> Vec<TaskId> {
    let mut query = TasksQuery {
        sort: Some(sort.into()),
        limit: Some(2),
        ..TasksQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.tasks(&query, None).await.unwrap();
        seen.extend(page.items.iter().map(|task| task.id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return seen;
        }
    }
}

async fn tasks_by_filter(bed: &Bed) {
    let store = bed.leader().await;
    let mut elsewhere = task(2, 1, TaskState::Succeeded);
    elsewhere.pilot = Some(PilotId(2));
    store
        .commit(&[
            new_job(1, "alice", 2),
            new_job(2, "bob", 2),
            Change::Task(task(1, 1, TaskState::Running)),
            Change::Task(elsewhere),
        ])
        .await
        .unwrap();
    let ids = async |query: TasksQuery| -> Vec<TaskId> {
        let page = store.tasks(&query, None).await.unwrap();
        page.items.iter().map(|task| task.id).collect()
    };
    let all = TasksQuery::default();
    let job = TasksQuery {
        job: Some(JobId(2)),
        ..all.clone()
    };
    assert_eq!(ids(job).await, [id(2, 0), id(2, 1)]);
    let states = TasksQuery {
        state: Some("running,succeeded".into()),
        ..all.clone()
    };
    assert_eq!(ids(states).await, [id(1, 1), id(2, 1)]);
    let owner = TasksQuery {
        owner: Some(user("bob")),
        ..all.clone()
    };
    assert_eq!(ids(owner).await, [id(2, 0), id(2, 1)]);
    let pilot = TasksQuery {
        pilot: Some(PilotId(2)),
        ..all
    };
    assert_eq!(ids(pilot).await, [id(2, 1)]);
    store.close().await;
}

async fn nodes_with_their_tasks(bed: &Bed) {
    let store = bed.leader().await;
    let (new, _) = new_graph(2, "alice");
    let because = "all that it waited for has succeeded";
    let moved = EventKind::TasksMoved {
        job: JobId(2),
        from: 1,
        to: 4,
        state: TaskState::Waiting,
        because: because.into(),
    };
    let changes = [
        new_job(1, "alice", 2),
        new,
        Change::Task(task(2, 0, TaskState::Succeeded)),
        Change::Task(task(2, 2, TaskState::Running)),
        Change::Task(task(2, 3, TaskState::Failed)),
        event(1, moved),
    ];
    store.commit(&changes).await.unwrap();

    let mut query = NodesQuery {
        limit: Some(3),
        ..NodesQuery::default()
    };
    let first = store.nodes(JobId(2), &query).await.unwrap();
    insta::assert_json_snapshot!("nodes", first.items);
    query.cursor = first.next;
    let last = store.nodes(JobId(2), &query).await.unwrap();
    assert!(last.next.is_none() && last.items.len() == 1);
    let alone = store.node_view(JobId(2), "alone").await.unwrap().unwrap();
    assert_eq!((alone.first, alone.tasks), (5, 1));
    assert!(store.node_view(JobId(2), "x").await.unwrap().is_none());
    let plain = store.nodes(JobId(1), &NodesQuery::default()).await.unwrap();
    assert!(plain.items.is_empty());
    assert_eq!(store.job_view(JobId(1)).await.unwrap().unwrap().nodes, 0);
    assert_eq!(store.job_view(JobId(2)).await.unwrap().unwrap().nodes, 4);

    let named = async |query: TasksQuery| -> Vec<String> {
        let page = store.tasks(&query, None).await.unwrap();
        let named = page.items.into_iter();
        let text = |node: Option<String>| node.unwrap_or_default();
        named
            .map(|it| format!("{} {}", it.id, text(it.node)))
            .collect()
    };
    let all = named(TasksQuery::default()).await;
    assert_eq!(
        all,
        [
            "1.0 ",
            "1.1 ",
            "2.0 fetch",
            "2.1 sweep",
            "2.2 sweep",
            "2.3 sweep",
            "2.4 plot",
            "2.5 alone"
        ]
    );
    let query = TasksQuery {
        job: Some(JobId(2)),
        node: Some("sweep".into()),
        state: Some("running,failed".into()),
        ..TasksQuery::default()
    };
    assert_eq!(named(query.clone()).await, ["2.2 sweep", "2.3 sweep"]);
    let unknown = TasksQuery {
        node: Some("x".into()),
        ..query.clone()
    };
    let told = refused(store.tasks(&unknown, None).await);
    assert_eq!(told, "job 2 has no node `x`");
    let astray = TasksQuery { job: None, ..query };
    refused(store.tasks(&astray, None).await);

    assert_eq!(store.last_move(id(2, 3)).await.unwrap().unwrap(), because);
    assert!(store.last_move(id(2, 4)).await.unwrap().is_none());
    store.close().await;
}

async fn pilots_with_their_tasks(bed: &Bed) {
    let store = bed.leader().await;
    let mut elsewhere = pilot(3, PilotState::Queued);
    elsewhere.ce = "oslo/long".parse().unwrap();
    store
        .commit(&[
            new_job(1, "alice", 4),
            Change::Pilot(pilot(1, PilotState::Active)),
            Change::Pilot(pilot(2, PilotState::Ended)),
            Change::Pilot(elsewhere),
            Change::Task(task(1, 0, TaskState::Running)),
            Change::Task(task(1, 2, TaskState::Cancelling)),
            Change::Task(task(1, 3, TaskState::Succeeded)),
        ])
        .await
        .unwrap();
    let ids = async |query: PilotsQuery| -> Vec<u64> {
        let page = store.pilots(&query).await.unwrap();
        page.items.iter().map(|pilot| pilot.id.0).collect()
    };
    let all = PilotsQuery::default();
    assert_eq!(ids(all.clone()).await, [3, 2, 1]);
    let site = PilotsQuery {
        site: Some("lyon".parse().unwrap()),
        ..all.clone()
    };
    assert_eq!(ids(site).await, [2, 1]);
    let states = PilotsQuery {
        state: Some("active,queued".into()),
        ..all.clone()
    };
    assert_eq!(ids(states).await, [3, 1]);
    let first = PilotsQuery {
        limit: Some(2),
        ..all
    };
    let page = store.pilots(&first).await.unwrap();
    let rest = PilotsQuery {
        cursor: page.next,
        ..first
    };
    assert_eq!(ids(rest).await, [1]);
    let view = store.pilot_view(PilotId(1)).await.unwrap().unwrap();
    assert_eq!(view.tasks, [id(1, 0), id(1, 2)]);
    assert!(store.pilot_view(PilotId(9)).await.unwrap().is_none());
    store.close().await;
}

async fn owners_see_their_own(bed: &Bed) {
    let store = bed.leader().await;
    store
        .commit(&[
            new_job(1, "alice", 1),
            new_job(2, "bob", 1),
            submitted(1, 1, "alice"),
            submitted(2, 2, "bob"),
            started(3, id(2, 0)),
            event(
                4,
                EventKind::PilotPlanned {
                    pilot: PilotId(1),
                    ce: ce(),
                    because: "work".into(),
                },
            ),
            Change::Usage(usage(id(1, 0), 1, "alice", 0)),
            Change::Usage(usage(id(2, 0), 1, "bob", 0)),
        ])
        .await
        .unwrap();
    let (alice, bob) = (user("alice"), user("bob"));
    let jobs = store
        .jobs(&JobsQuery::default(), Some(&alice))
        .await
        .unwrap();
    assert!(jobs.items.iter().all(|job| job.owner == alice) && jobs.items.len() == 1);
    let tasks = store
        .tasks(&TasksQuery::default(), Some(&alice))
        .await
        .unwrap();
    assert!(tasks.items.iter().all(|task| task.owner == alice) && tasks.items.len() == 1);
    let events = store
        .events(&EventsQuery::default(), Some(&alice))
        .await
        .unwrap();
    assert_eq!(events.items.len(), 1);
    let usage = store
        .usage(&UsageQuery::default(), Some(&alice))
        .await
        .unwrap();
    assert_eq!(usage.len(), 1);

    // Asking for somebody else's shows nothing.
    let jobs = JobsQuery {
        owner: Some(bob.clone()),
        ..JobsQuery::default()
    };
    assert!(
        store
            .jobs(&jobs, Some(&alice))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let tasks = TasksQuery {
        job: Some(JobId(2)),
        ..TasksQuery::default()
    };
    assert!(
        store
            .tasks(&tasks, Some(&alice))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let events = EventsQuery {
        task: Some(id(2, 0)),
        ..EventsQuery::default()
    };
    assert!(
        store
            .events(&events, Some(&alice))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let usage = UsageQuery {
        user: Some(bob),
        ..UsageQuery::default()
    };
    assert!(store.usage(&usage, Some(&alice)).await.unwrap().is_empty());
    store.close().await;
}

async fn senseless_queries_are_refused(bed: &Bed) {
    let store = bed.open().await;
    let jobs = async |query: JobsQuery| refused(store.jobs(&query, None).await);
    let tasks = async |query: TasksQuery| refused(store.tasks(&query, None).await);
    let none = JobsQuery::default();
    for limit in [0, 1001] {
        let query = JobsQuery {
            limit: Some(limit),
            ..none.clone()
        };
        assert!(jobs(query).await.contains("1 to 1000"));
    }
    let query = JobsQuery {
        sort: Some("name".into()),
        ..none.clone()
    };
    assert_eq!(jobs(query).await, "sort must be one of -id, id, not `name`");
    let query = JobsQuery {
        state: Some("running".into()),
        ..none.clone()
    };
    assert!(jobs(query).await.contains("active or ended"));
    for cursor in [
        "",
        "id",
        "-id~",
        "-id~x",
        "-id~1~2",
        "id~1",
        "'; DROP TABLE job; --",
    ] {
        let query = JobsQuery {
            cursor: Some(cursor.into()),
            ..none.clone()
        };
        assert!(jobs(query).await.contains("cursor"), "{cursor}");
    }
    let none = TasksQuery::default();
    let query = TasksQuery {
        state: Some("running,done".into()),
        ..none.clone()
    };
    assert!(
        tasks(query)
            .await
            .starts_with("state `done` is not one of blocked, waiting")
    );
    let query = TasksQuery {
        cursor: Some("id~1~2".into()),
        sort: Some("since".into()),
        ..none
    };
    assert!(tasks(query).await.contains("same sort"));
    let query = UsageQuery {
        by: Some("moon".into()),
        ..UsageQuery::default()
    };
    assert!(refused(store.usage(&query, None).await).contains("user, group, site, ce, job"));
    store.close().await;
}

fn refused<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::BadQuery(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was answered"),
    }
}
