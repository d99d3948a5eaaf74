//! Jobs as their owners submit and change them.

use fairway_model::event::TaskVerb;
use fairway_model::{Attempt, TaskId, TaskState};
use fairway_sched::command::Selection;
use fairway_sched::{Change, Command, RefusedKind, Reply};

use super::world;
use crate::world::{changed, exit, principal, sweep};

#[test]
fn a_job_is_one_change_whatever_its_size() {
    let mut world = world();
    let before = world.history.len();
    let job = world.submit("alice", &sweep(5000, ""));
    assert_eq!(world.history.len() - before, 2, "the job and one event");
    let (changed, left) = world.change(TaskVerb::Hold, Selection::Job(job), "alice");
    assert_eq!((changed, left.len()), (5000, 0));
    assert_eq!(world.history.len() - before, 4, "the range and one event");
    world.change(TaskVerb::Release, Selection::Job(job), "alice");
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    assert_eq!(world.history.len() - before, 9, "and the end of the job");
    assert!(!world.state.knows_job(job));
    assert!(
        world
            .rows
            .tasks_of(job)
            .all(|task| task.state == TaskState::Cancelled)
    );
    world.state.check().unwrap();
}

#[test]
fn a_repeated_submission_is_the_same_job() {
    let mut world = world();
    let key = Some(("k".to_owned(), "hash".to_owned()));
    let first = world
        .try_submit("alice", &sweep(3, ""), key.clone())
        .unwrap();
    let again = world
        .try_submit("alice", &sweep(3, ""), key.clone())
        .unwrap();
    let Reply::Submitted {
        job,
        repeated: false,
        ..
    } = first
    else {
        panic!("{first:?}")
    };
    let Reply::Submitted {
        job: same,
        repeated: true,
        tasks: 3,
    } = again
    else {
        panic!("{again:?}")
    };
    assert_eq!(job, same);
    // The same key of another user is another key; with another request it is refused.
    world.try_submit("bob", &sweep(3, ""), key).unwrap();
    let other = Some(("k".to_owned(), "other".to_owned()));
    let refused = world.try_submit("alice", &sweep(4, ""), other).unwrap_err();
    assert_eq!(refused.kind, RefusedKind::IdempotencyConflict);
}

#[test]
fn a_running_task_is_held_when_it_comes_back() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(1, "RetryCount = 3;"));
    let attempt = world.pull_one(pilot);
    world.start(pilot, attempt);
    let (changed, left) = world.change(TaskVerb::Hold, Selection::Job(job), "alice");
    assert_eq!(changed, 1);
    assert_eq!(
        left,
        ["1.0: it is with a pilot: it runs on, and is held only if it comes back"]
    );
    world.end(pilot, attempt, exit(1));
    assert_eq!(world.state_of(job, 0), TaskState::Held);
    assert_eq!(world.pull(pilot, &[]), []);
    world.change(TaskVerb::Release, Selection::Job(job), "alice");
    assert_eq!(world.pull(pilot, &[]).len(), 1);
}

#[test]
fn nobody_touches_what_is_not_theirs() {
    let mut world = world();
    let job = world.submit("alice", &sweep(3, ""));
    let by = principal("bob");
    let command = Command::ChangeTasks {
        verb: TaskVerb::Cancel,
        tasks: Selection::Job(job),
        by,
    };
    assert_eq!(world.ask(command).unwrap_err().kind, RefusedKind::NotFound);
    let tasks = Selection::Tasks(vec![TaskId::new(job, 1)]);
    let (changed, left) = world.change(TaskVerb::Cancel, tasks, "bob");
    assert_eq!(
        (changed, left),
        (0, vec!["1.1: there is no such task".to_owned()])
    );
}

#[test]
fn chosen_tasks_are_changed_and_the_others_told() {
    let mut world = world();
    let job = world.submit("alice", &sweep(10, ""));
    let ids = [1, 2, 3, 7, 12].map(|index| TaskId::new(job, index));
    let before = world.history.len();
    let (changed, left) = world.change(TaskVerb::Cancel, Selection::Tasks(ids.to_vec()), "alice");
    assert_eq!(
        (changed, left),
        (4, vec!["1.12: there is no such task".to_owned()])
    );
    let ranges = world.history[before..]
        .iter()
        .filter_map(|change| match change {
            Change::TaskRange { from, to, .. } => Some((*from, *to)),
            _ => None,
        });
    assert_eq!(ranges.collect::<Vec<_>>(), [(1, 4), (7, 8)]);
    let (changed, left) = world.change(TaskVerb::Cancel, Selection::Tasks(ids.to_vec()), "alice");
    assert_eq!((changed, left.len()), (0, 5));
    assert_eq!(left[0], "1.1: it is over");
}

#[test]
fn a_retry_revives_a_job_that_is_over() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(4, "RetryCount = 0;"));
    for code in [0, 1] {
        let attempt = world.pull_one(pilot);
        world.end(pilot, attempt, exit(code));
    }
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    assert!(!world.state.knows_job(job));
    let (tried, _) = changed(world.retry(job, "alice").unwrap());
    assert_eq!(tried, 3);
    assert_eq!(world.rows.jobs[&job].2, None);
    assert_eq!(world.state_of(job, 0), TaskState::Succeeded);
    world.state.check().unwrap();
    for attempt in [2, 1, 1] {
        let next = world.pull_one(pilot);
        assert_eq!(next.1, Attempt(attempt), "numbers go on");
        world.end(pilot, next, exit(0));
    }
    assert!(world.rows.jobs[&job].2.is_some());
}

#[test]
fn a_retry_within_a_live_job() {
    let mut world = world();
    let pilot = world.pilot("short", 1);
    // Every task is a class of its own.
    let needs = "RetryCount = 0; Requirements = other.GlueCEStateFreeCPUs >= _PARAM_;";
    let job = world.submit("alice", &sweep(3, needs));
    let first = world.pull_one(pilot);
    world.end(pilot, first, exit(1));
    assert!(world.state.knows_job(job));
    assert_eq!(changed(world.retry(job, "alice").unwrap()).0, 1);
    assert_eq!(world.pull_one(pilot), (first.0, Attempt(2)));
    // Nothing is over: every task is left, or there is nothing to say.
    let tasks = Selection::Tasks(vec![TaskId::new(job, 1)]);
    let (changed, left) = world.change(TaskVerb::Retry, tasks, "alice");
    assert_eq!(
        (changed, left),
        (0, vec!["1.1: it waits in the queue".to_owned()])
    );
}
