//! What is committed is what is loaded.

use std::collections::BTreeSet;

use fairway_jdl::JobSpec;
use fairway_model::{
    AdapterSettings, AttemptEnd, Ce, GivesWay, JobId, LocalSettings, Metric, Pilot, PilotEnd,
    PilotId, PilotState, Policy, PolicyKind, Preemption, Site, SiteMode, TaskState, Timestamp,
};
use fairway_sched::command::{NamedJob, Selection};
use fairway_sched::{Change, Entity, Used};

use crate::bed::{
    Bed, NOW, active_tasks, ce, event, id, job, new_graph, new_job, pilot, started, submitted,
    task, task_counts, usage, user,
};

crate::on_both!(
    every_kind_of_row_comes_back,
    pilots_of_the_last_day_are_counted,
    an_empty_store_starts_at_one,
    the_last_image_of_a_row_counts,
    ranges_and_images_keep_their_order,
    a_hundred_thousand_tasks,
    batches_of_any_size,
    what_is_over_is_not_loaded,
    ended_tasks_can_be_queued_again,
    a_compound_job_comes_back,
    what_a_job_waits_for_comes_with_it,
);

fn site(name: &str) -> Site {
    let short = Ce {
        queue: Some("q".into()),
        users: vec![user("alice")],
        tags: vec!["ssd".into()],
        ..Ce::new("short".parse().unwrap())
    };
    let adapter = AdapterSettings::Local(LocalSettings { cores: Some(3) });
    Site {
        mode: SiteMode::Draining,
        ..Site::new(name.parse().unwrap(), adapter, vec![short])
    }
}

fn share(user_name: &str, interval: i64, tasks_started: u64, core_ms: u64) -> Change {
    let (entity, interval, used) = usage_of(user_name, interval, tasks_started, core_ms);
    Change::Share {
        entity,
        interval,
        used,
    }
}

/// Usage of a user without a group, with something in every column.
fn usage_of(
    user_name: &str,
    interval: i64,
    tasks_started: u64,
    core_ms: u64,
) -> (Entity, Timestamp, Used) {
    let entity = Entity::Account {
        user: user(user_name),
        group: None,
    };
    let used = Used {
        tasks_started,
        core_ms,
        cpu_ms: core_ms / 2,
        normalised_ms: core_ms * 2,
        memory_gib_ms: core_ms / 3,
        gpu_ms: core_ms / 4,
    };
    (entity, Timestamp(interval), used)
}

async fn every_kind_of_row_comes_back(bed: &Bed) {
    let mut full_job = job(7, "alice", 3);
    full_job.group = Some("biomed".parse().unwrap());
    full_job.sandbox = Some("sandbox-key".into());
    let mut full_task = task(7, 1, TaskState::Running);
    full_task.started_at = Some(Timestamp(NOW.0 + 1));
    full_task.deep_failures = 2;
    full_task.shallow_failures = 3;
    full_task.losses = 4;
    full_task.hold_on_return = true;
    full_task.preemption = Some(Preemption {
        times: 2,
        at: Some(NOW),
        by_hand: true,
        order: Some(GivesWay::Sleeps),
        suspended_at: Some(Timestamp(NOW.0 + 5)),
        resumed_at: None,
        suspended_ms: 7,
    });
    full_task.last_end = Some(AttemptEnd::PilotLost {
        reason: "silent — \"since\" noon".into(),
    });
    let mut full_pilot = pilot(9, PilotState::Active);
    full_pilot.batch_id = Some("4711".into());
    full_pilot.session_hash = Some("s".repeat(64));
    full_pilot.nonce_hash = Some("n".repeat(64));
    full_pilot.host = Some("node1".into());
    full_pilot.started_at = Some(NOW);
    full_pilot.ends_at = Some(Timestamp(NOW.0 + 9));
    let mut policy = Policy {
        kind: PolicyKind::RoundRobin,
        ..Policy::default()
    };
    policy.fairshare.decay_rate = 0.1 + 0.2;
    policy.usage.metric = Metric::CoreSeconds;
    let in_group = Entity::Account {
        user: user("alice"),
        group: Some("biomed".parse().unwrap()),
    };
    let others = [
        in_group,
        Entity::Qos("urgent".into()),
        Entity::Queue("long".into()),
    ];
    let (_, hour, used) = usage_of("alice", 3_600_000, 5, u64::from(u32::MAX) * 7);
    let spent = |group: Option<&str>, day: i64, core_ms: u64| Change::Spent {
        user: user("alice"),
        group: group.map(|group| group.parse().unwrap()),
        day: Timestamp(day),
        core_ms,
    };
    let idempotency = Some(("key".to_owned(), "hash".to_owned()));

    let store = bed.leader().await;
    store
        .commit(&[
            Change::NewJob {
                job: full_job.clone(),
                nodes: Vec::new(),
                idempotency: idempotency.clone(),
                waits: false,
            },
            Change::Task(full_task.clone()),
            Change::Pilot(full_pilot.clone()),
            Change::Site(site("lyon")),
            Change::Policy(policy.clone()),
            share("alice", 3_600_000, 5, u64::from(u32::MAX) * 7),
            Change::Share {
                entity: others[0].clone(),
                interval: hour,
                used,
            },
            Change::Share {
                entity: others[1].clone(),
                interval: hour,
                used,
            },
            Change::Share {
                entity: others[2].clone(),
                interval: hour,
                used,
            },
            spent(None, 0, 7),
            spent(None, 86_400_000, 5),
            spent(Some("biomed"), 0, 3),
            Change::Usage(usage(id(7, 1), 1, "alice", 0)),
            submitted(1, 7, "alice"),
        ])
        .await
        .unwrap();
    store.close().await;

    let store = bed.leader().await;
    let snapshot = store.load().await.unwrap();
    assert_eq!(snapshot.jobs.len(), 1);
    assert_eq!(snapshot.jobs[0].0, full_job);
    assert_eq!(snapshot.jobs[0].2, idempotency);
    assert_eq!(task_counts(&snapshot), [3]);
    assert_eq!(
        snapshot.tasks,
        [
            task(7, 0, TaskState::Waiting),
            full_task,
            task(7, 2, TaskState::Waiting)
        ]
    );
    assert_eq!(snapshot.ended, []);
    assert_eq!(snapshot.pilots, [full_pilot]);
    assert_eq!(snapshot.sites, [site("lyon")]);
    assert_eq!(snapshot.policy, Some(policy));
    assert_eq!(
        snapshot.shares.iter().cloned().collect::<BTreeSet<_>>(),
        others
            .into_iter()
            .chain([usage_of("alice", 0, 0, 0).0])
            .map(|entity| (entity, hour, used))
            .collect()
    );
    let spent: Vec<_> = snapshot
        .spent
        .iter()
        .map(|row| (row.group.is_some(), row.total_ms, row.day.0, row.day_ms))
        .collect();
    assert_eq!(spent, [(false, 12, 86_400_000, 5), (true, 3, 0, 3)]);
    assert_eq!(
        (snapshot.next_job, snapshot.next_pilot, snapshot.next_event),
        (8, 10, 2)
    );
    assert_eq!(store.job(JobId(7)).await.unwrap(), Some(full_job));
    assert_eq!(store.sandboxes().await.unwrap(), ["sandbox-key"]);
    store.close().await;
}

/// Limits for a day hold over a restart: pilots that are over count, older ones do not.
async fn pilots_of_the_last_day_are_counted(bed: &Bed) {
    let store = bed.leader().await;
    let now = fairway_wms::engine::wall_clock();
    let planned = |id: u64, state, hours_ago: i64| {
        let planned_at = Timestamp(now.0 - hours_ago * 3_600_000);
        Change::Pilot(Pilot {
            planned_at,
            ..pilot(id, state)
        })
    };
    store
        .commit(&[
            planned(1, PilotState::Ended, 25),
            planned(2, PilotState::Ended, 2),
            planned(3, PilotState::Queued, 2),
            planned(4, PilotState::Active, 0),
        ])
        .await
        .unwrap();
    let mut asked = store.load().await.unwrap().asked;
    asked.sort();
    let counts: Vec<u32> = asked.iter().map(|(_, _, pilots)| *pilots).collect();
    assert_eq!(counts, [2, 1]);
    assert!(asked.iter().all(|(at, ..)| *at == ce()));
    store.close().await;
}

async fn an_empty_store_starts_at_one(bed: &Bed) {
    let store = bed.leader().await;
    store.commit(&[]).await.unwrap();
    let snapshot = store.load().await.unwrap();
    assert_eq!(
        (snapshot.next_job, snapshot.next_pilot, snapshot.next_event),
        (1, 1, 1)
    );
    assert!(snapshot.policy.is_none() && snapshot.jobs.is_empty());
    store.close().await;
}

async fn the_last_image_of_a_row_counts(bed: &Bed) {
    let store = bed.leader().await;
    store
        .commit(&[
            Change::Task(task(1, 0, TaskState::Leased)),
            new_job(1, "alice", 1),
            Change::Task(task(1, 0, TaskState::Running)),
            Change::Pilot(pilot(1, PilotState::Planned)),
            Change::Pilot(pilot(1, PilotState::Queued)),
            Change::Site(site("lyon")),
            Change::SiteRemoved("lyon".parse().unwrap()),
            Change::SiteRemoved("oslo".parse().unwrap()),
            Change::Site(site("oslo")),
            share("alice", 0, 1, 1),
            share("alice", 0, 2, 2),
            Change::JobProgress {
                job: JobId(1),
                ended_at: Some(NOW),
            },
            Change::JobProgress {
                job: JobId(1),
                ended_at: None,
            },
        ])
        .await
        .unwrap();
    let snapshot = store.load().await.unwrap();
    assert_eq!(snapshot.tasks, [task(1, 0, TaskState::Running)]);
    assert_eq!(snapshot.pilots, [pilot(1, PilotState::Queued)]);
    assert_eq!(snapshot.sites, [site("oslo")]);
    assert_eq!(snapshot.shares, [usage_of("alice", 0, 2, 2)]);

    // The same rows again, in a later batch.
    store
        .commit(&[
            Change::Task(task(1, 0, TaskState::Waiting)),
            Change::Pilot(pilot(1, PilotState::Active)),
            Change::SiteRemoved("oslo".parse().unwrap()),
            share("alice", 0, 3, 3),
        ])
        .await
        .unwrap();
    let snapshot = store.load().await.unwrap();
    assert_eq!(snapshot.tasks, [task(1, 0, TaskState::Waiting)]);
    assert_eq!(snapshot.pilots, [pilot(1, PilotState::Active)]);
    assert_eq!(snapshot.sites, []);
    assert_eq!(snapshot.shares, [usage_of("alice", 0, 3, 3)]);
    store.close().await;
}

async fn ranges_and_images_keep_their_order(bed: &Bed) {
    let range = |from, to, state| Change::TaskRange {
        job: JobId(1),
        from,
        to,
        state,
        since: Timestamp(NOW.0 + 5),
    };
    let store = bed.leader().await;
    store
        .commit(&[new_job(1, "alice", 10), new_job(2, "alice", 10)])
        .await
        .unwrap();
    store
        .commit(&[
            Change::Task(task(1, 3, TaskState::Waiting)),
            Change::Task(task(1, 9, TaskState::Leased)),
            range(2, 6, TaskState::Held),
            range(4, 4, TaskState::Cancelled),
            range(4, 5, TaskState::Waiting),
            Change::Task(task(1, 5, TaskState::Leased)),
        ])
        .await
        .unwrap();
    let tasks = active_tasks(&store).await;
    let states: String = tasks
        .iter()
        .filter(|task| task.id.job == JobId(1))
        .map(|task| &task.state.name()[..1])
        .collect();
    assert_eq!(states, "wwhhwlwwwl");
    assert_eq!(tasks[3].since, Timestamp(NOW.0 + 5));
    assert!(
        tasks[10..]
            .iter()
            .all(|task| task.state == TaskState::Waiting)
    );
    store.close().await;
}

async fn a_hundred_thousand_tasks(bed: &Bed) {
    const TASKS: u32 = 100_000;
    let store = bed.leader().await;
    store.commit(&[new_job(1, "alice", TASKS)]).await.unwrap();
    let view = store.job_view(JobId(1)).await.unwrap().unwrap();
    assert_eq!(view.states, [(TaskState::Waiting, TASKS)].into());
    let tasks = active_tasks(&store).await;
    assert_eq!(tasks.len(), TASKS as usize);
    assert_eq!(tasks.last(), Some(&task(1, TASKS - 1, TaskState::Waiting)));
    store.close().await;
}

async fn batches_of_any_size(bed: &Bed) {
    let store = bed.leader().await;
    store.commit(&[new_job(1, "alice", 3000)]).await.unwrap();
    let mut seq = 0;
    for count in [1, 2, 3, 1023, 1024, 1025, 2500] {
        let mut changes = Vec::new();
        for index in 0..count {
            let mut leased = task(1, index, TaskState::Leased);
            leased.attempt = fairway_model::Attempt(count);
            changes.push(Change::Task(leased));
            let code = i32::try_from(index).unwrap();
            changes.push(Change::Usage(usage(id(1, index), count, "alice", code)));
            seq += 1;
            changes.push(started(seq, id(1, index)));
        }
        store.commit(&changes).await.unwrap();
        let tasks = active_tasks(&store).await;
        let written = tasks.iter().filter(|task| task.attempt.0 == count).count();
        assert_eq!(written, count as usize);
    }
    assert_eq!(store.load().await.unwrap().next_event, seq + 1);
    store.close().await;
}

async fn what_is_over_is_not_loaded(bed: &Bed) {
    let store = bed.leader().await;
    let mut lost = pilot(2, PilotState::Ended);
    lost.end = Some(PilotEnd::Lost {
        reason: "silent".into(),
    });
    store
        .commit(&[
            new_job(1, "alice", 2),
            new_job(2, "alice", 4),
            Change::Task(task(1, 0, TaskState::Succeeded)),
            Change::Task(task(1, 1, TaskState::Failed)),
            Change::JobProgress {
                job: JobId(1),
                ended_at: Some(NOW),
            },
            Change::Task(task(2, 0, TaskState::Succeeded)),
            Change::Task(task(2, 1, TaskState::Succeeded)),
            Change::Task(task(2, 2, TaskState::Cancelled)),
            Change::Pilot(pilot(1, PilotState::Draining)),
            Change::Pilot(lost.clone()),
            event(
                5,
                fairway_model::EventKind::PilotEnded {
                    pilot: PilotId(2),
                    end: lost.end.clone().unwrap(),
                },
            ),
        ])
        .await
        .unwrap();
    let snapshot = store.load().await.unwrap();
    assert_eq!(task_counts(&snapshot), [4]);
    assert_eq!(snapshot.tasks, [task(2, 3, TaskState::Waiting)]);
    assert_eq!(
        snapshot.ended,
        [
            (JobId(2), TaskState::Succeeded, 2),
            (JobId(2), TaskState::Cancelled, 1)
        ]
    );
    assert_eq!(snapshot.pilots, [pilot(1, PilotState::Draining)]);
    assert_eq!(
        (snapshot.next_job, snapshot.next_pilot, snapshot.next_event),
        (3, 3, 6)
    );
    let ended = store.pilot_view(PilotId(2)).await.unwrap().unwrap();
    assert_eq!(ended.end, lost.end);
    store.close().await;
}

async fn ended_tasks_can_be_queued_again(bed: &Bed) {
    let store = bed.leader().await;
    store
        .commit(&[
            new_job(1, "alice", 4),
            new_job(2, "bob", 1),
            Change::Task(task(1, 0, TaskState::Failed)),
            Change::Task(task(1, 1, TaskState::Cancelled)),
            Change::Task(task(1, 2, TaskState::Succeeded)),
        ])
        .await
        .unwrap();
    let ended = store.ended(&Selection::Job(JobId(1))).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].job, job(1, "alice", 4));
    assert_eq!(
        ended[0].tasks,
        [
            task(1, 0, TaskState::Failed),
            task(1, 1, TaskState::Cancelled)
        ]
    );
    assert_eq!(
        ended[0].counts,
        [
            (TaskState::Succeeded, 1),
            (TaskState::Failed, 1),
            (TaskState::Cancelled, 1)
        ]
    );
    let some = [id(1, 1), id(1, 2), id(2, 0), id(9, 9)];
    let ended = store.ended(&Selection::Tasks(some.into())).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].tasks, [task(1, 1, TaskState::Cancelled)]);
    assert_eq!(ended[0].counts.len(), 3);
    let none = store.ended(&Selection::Job(JobId(2))).await.unwrap();
    assert!(none.is_empty());
    store.close().await;
}

async fn a_compound_job_comes_back(bed: &Bed) {
    use TaskState::{Blocked, Cancelled, Failed, Held, Skipped, Succeeded, Waiting};
    let store = bed.leader().await;
    let (new, spec) = new_graph(1, "alice");
    let range = |from, to, state| Change::TaskRange {
        job: JobId(1),
        from,
        to,
        state,
        since: NOW,
    };
    store.commit(&[new]).await.unwrap();
    let snapshot = store.load().await.unwrap();
    let states: Vec<_> = snapshot.tasks.iter().map(|task| task.state).collect();
    assert_eq!(
        states,
        [Waiting, Blocked, Blocked, Blocked, Blocked, Waiting]
    );
    assert_eq!(snapshot.jobs[0].1.nodes(), spec.nodes());
    assert!(snapshot.ended_rows.is_empty());

    let changes = [
        Change::Task(task(1, 0, Succeeded)),
        Change::Task(task(1, 1, Failed)),
        Change::Task(task(1, 2, Failed)),
        range(3, 4, Held),
        range(4, 5, Skipped),
        range(5, 6, Cancelled),
    ];
    store.commit(&changes).await.unwrap();
    let ended = vec![
        (Succeeded, 0, 1),
        (Failed, 1, 3),
        (Skipped, 4, 5),
        (Cancelled, 5, 6),
    ];
    let snapshot = store.load().await.unwrap();
    assert_eq!(snapshot.ended_rows, [(JobId(1), ended.clone())].into());
    assert_eq!(snapshot.tasks, [task(1, 3, Held)]);

    let asked = async |selection| {
        let asked = store.ended(&selection).await.unwrap();
        assert_eq!(asked[0].rows, ended);
        let tasks = asked[0].tasks.iter();
        tasks.map(|task| task.id.index).collect::<Vec<_>>()
    };
    // What was skipped is looked at only where it is asked for by itself.
    assert_eq!(asked(Selection::Job(JobId(1))).await, [1, 2, 5]);
    assert_eq!(asked(Selection::Row(JobId(1), 2, 5)).await, [2, 4]);
    assert_eq!(asked(Selection::Tasks(vec![id(1, 4)])).await, [4]);
    store.close().await;
}

async fn what_a_job_waits_for_comes_with_it(bed: &Bed) {
    use TaskState::{Blocked, Failed, Skipped, Succeeded};
    let store = bed.leader().await;
    let (graph, _) = new_graph(1, "alice");
    let waiting = |id, depends: &str| {
        let mut job = job(id, "alice", 2);
        job.jdl = job.jdl.replace(']', &format!("Depends = \"{depends}\"; ]"));
        Change::NewJob {
            job,
            nodes: Vec::new(),
            idempotency: None,
            waits: true,
        }
    };
    let over = Change::JobProgress {
        job: JobId(2),
        ended_at: Some(NOW),
    };
    let skipped = Change::TaskRange {
        job: JobId(4),
        from: 0,
        to: 2,
        state: Skipped,
        since: NOW,
    };
    let changes = [
        graph,
        new_job(2, "alice", 2),
        Change::Task(task(2, 0, Succeeded)),
        Change::Task(task(2, 1, Failed)),
        over,
        waiting(3, "afterok:1/sweep, afterany:2"),
        waiting(4, "aftercorr:2"),
        skipped,
        Change::Task(task(1, 0, Succeeded)),
    ];
    store.commit(&changes).await.unwrap();

    let snapshot = store.load().await.unwrap();
    let of_3 = snapshot.tasks.iter().filter(|task| task.id.job == JobId(3));
    assert!(of_3.map(|task| task.state).eq([Blocked, Blocked]));
    let first = NamedJob {
        id: JobId(1),
        task_count: 6,
        nodes: vec![("sweep".into(), 1, 4)],
        counts: vec![(Succeeded, 1)],
        rows: vec![(Succeeded, 0, 1)],
    };
    let mut second = NamedJob {
        id: JobId(2),
        task_count: 2,
        nodes: Vec::new(),
        counts: vec![(Succeeded, 1), (Failed, 1)],
        rows: vec![(Succeeded, 0, 1), (Failed, 1, 2)],
    };
    // Job 4 is not over for the store, and asks for each task.
    assert_eq!(snapshot.named, [first, second.clone()]);

    // Of what is skipped only its owner's word brings it back.
    let ended = store.ended(&Selection::Job(JobId(4))).await.unwrap();
    assert_eq!(ended[0].tasks.len(), 2);
    assert_eq!(ended[0].named, [second.clone()]);
    let row = store.ended(&Selection::Row(JobId(4), 1, 2)).await.unwrap();
    assert_eq!(row[0].tasks[0].id, id(4, 1));
    let one = store
        .ended(&Selection::Tasks(vec![id(4, 0)]))
        .await
        .unwrap();
    assert_eq!(one[0].tasks.len(), 1);
    let (spec, _) = JobSpec::read("Executable = \"a\"; Depends = \"afterok:2:77\"").unwrap();
    second.rows = Vec::new();
    assert_eq!(store.named(&spec).await.unwrap(), [second]);
    store.close().await;
}
