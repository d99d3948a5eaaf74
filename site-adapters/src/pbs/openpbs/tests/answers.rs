//! What a server answers about jobs.

use super::*;

fn told(json: &str) -> Vec<BatchJob> {
    job::named(&stanza::from_json(json).unwrap(), "", parse::state)
}

fn state(json: &str) -> BatchState {
    let mut jobs = told(json);
    assert_eq!(jobs.len(), 1);
    jobs.remove(0).state
}

fn ended(json: &str) -> String {
    match state(json) {
        BatchState::Ended { detail } => detail,
        other => panic!("{other:?}"),
    }
}

fn queued(json: &str) -> String {
    match state(json) {
        BatchState::Queued { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn jobs_that_are_not_over() {
    assert_eq!(state(fixture!("job-running.json")), BatchState::Running);
    assert_eq!(
        state(fixture!("job-running.head.json")),
        BatchState::Running
    );
    assert_eq!(state(fixture!("job-exiting.json")), BatchState::Running);
    assert_eq!(state(fixture!("job-suspended.json")), BatchState::Running);
    // It has an exit status, of its first start.
    assert_eq!(state(fixture!("job-rerun.json")), BatchState::Running);
    let reasons = [
        queued(fixture!("job-queued-can-never-run.json")),
        queued(fixture!("job-queued-max-run.json")),
        queued(fixture!("job-held-user.json")),
        queued(fixture!("job-held-system.json")),
        queued(fixture!("job-waiting.json")),
        queued(fixture!("job-prologue-requeue.json")),
    ];
    insta::assert_snapshot!(reasons.join("\n"));
}

#[test]
fn every_way_to_end() {
    let ends = [
        ended(fixture!("job-finished-ok.json")),
        ended(fixture!("job-finished-exit3.json")),
        ended(fixture!("finished-exit255.json")),
        ended(fixture!("finished-qdel.json")),
        ended(fixture!("finished-walltime-plain.json")),
        ended(fixture!("finished-sigkill.json")),
        ended(fixture!("finished-topshell-killed.json")),
        ended(fixture!("finished-prologue-abort.json")),
        ended(fixture!("finished-rerun.json")),
        ended(fixture!("rn-started-just-before.json")),
        ended(fixture!("job-deleted-before-run.json")),
        ended(fixture!("depend-on-unknown.json")),
    ];
    insta::assert_snapshot!(ends.join("\n"));
}

#[test]
fn members_of_arrays_are_jobs_and_arrays_are_not() {
    for (json, running, over) in [
        (fixture!("array-subjobs.json"), 4, 0),
        (fixture!("array-subjobs-expired.json"), 1, 2),
        (fixture!("array-finished.json"), 0, 6),
    ] {
        let jobs = told(json);
        assert!(jobs.iter().all(|job| !job.batch_id.contains("[]")));
        let count =
            |wanted: fn(&BatchState) -> bool| jobs.iter().filter(|job| wanted(&job.state)).count();
        assert_eq!(count(|state| *state == BatchState::Running), running);
        assert_eq!(
            count(|state| matches!(state, BatchState::Ended { .. })),
            over
        );
    }
    let named = fixture!("array-subjobs.json").replace("\"arr\"", "\"fw-0badcafe-p7\"");
    let rows = stanza::from_json(&named).unwrap();
    let jobs = job::named(&rows, "fw-0badcafe-", parse::state);
    let member = jobs.iter().find(|job| job.batch_id == "5[3].pbshost");
    assert_eq!(member.unwrap().name, "fw-0badcafe-p10");
}

#[test]
fn odd_names_are_read() {
    for json in [
        fixture!("odd-0.json"),
        fixture!("odd-1.json"),
        fixture!("odd-2.json"),
        fixture!("odd-3.json"),
        fixture!("odd-4.json"),
    ] {
        assert_eq!(told(json).len(), 1);
    }
}
