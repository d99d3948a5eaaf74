//! The adapter against recordings of a real server (`tests/fixtures/openpbs`).

use std::sync::Arc;

use fairway_model::{PbsSettings, PilotId, Resources};

use super::*;
use crate::BatchState;
use crate::exec::recording::Recording;
use crate::exec::{ExecError, Output};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/fixtures/openpbs/", $name))
    };
}

fn ce(queue: &str) -> Ce {
    serde_json::from_value(serde_json::json!({"name": "ce", "queue": queue})).unwrap()
}

fn job(number: u64) -> PilotJob {
    PilotJob {
        pilot: PilotId(number),
        ce: ce("short"),
        name: format!("fw-0badcafe-p{number}"),
        resources: Resources {
            cores: 4,
            memory_mib: 2000,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 3601,
        program: vec!["/opt/fairway/fairway-pilot".into(), "it's; $HOME".into()],
        stdin: format!("{{\"secret\":\"s3cr3t-{number}\"}}"),
    }
}

fn jobs(numbers: std::ops::Range<u64>) -> Vec<PilotJob> {
    numbers.map(job).collect()
}

fn answer(code: i32, stdout: &str, stderr: &str) -> Result<Output, ExecError> {
    Ok(Output {
        code: Some(code),
        stdout: stdout.into(),
        stderr: stderr.into(),
    })
}

fn replay(answers: Vec<(&'static str, Result<Output, ExecError>)>) -> (OpenPbs, Arc<Recording>) {
    let recording = Arc::new(Recording::new(answers));
    let settings = PbsSettings {
        work_dir: Some("/scratch/fairway/".into()),
        server: Some("pbshost".into()),
        ..PbsSettings::default()
    };
    let mut commands = Commands::new("lyon".parse().unwrap(), &settings).unwrap();
    commands.runner = Box::new(Arc::clone(&recording));
    (OpenPbs::new(commands), recording)
}

mod answers;
mod publish;
mod render;

#[tokio::test]
async fn the_secret_is_in_the_script_only() {
    let (pbs, recording) = replay(vec![("qsub", answer(0, fixture!("qsub-stdin.txt"), ""))]);
    assert_eq!(pbs.submit(&[job(7)]).await, [Ok("0.pbshost".to_owned())]);
    let asked = recording.asked();
    assert!(asked[0].stdin.contains("s3cr3t"));
    assert!(!format!("{:?} {:?}", asked[0], asked[0].env).contains("s3cr3t"));
    assert!(
        asked[0]
            .env
            .contains(&("PBS_SERVER".into(), "pbshost".into()))
    );
}

#[tokio::test]
async fn pilots_that_follow_each_other_are_one_array() {
    let (pbs, recording) = replay(vec![
        ("qsub", answer(0, fixture!("qsub-array.txt"), "")),
        ("qsub", answer(0, "6.pbshost\n", "")),
        ("qsub", answer(0, "7.pbshost\n", "")),
    ]);
    let mut jobs = jobs(7..12);
    jobs[3].walltime_s += 60;
    jobs[4].run_as = Some("alice".into());
    let ids: Vec<String> = pbs
        .submit(&jobs)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        ids,
        [
            "5[0].pbshost",
            "5[1].pbshost",
            "5[2].pbshost",
            "6.pbshost",
            "7.pbshost"
        ]
    );
    let asked = recording.asked();
    assert!(
        asked[0]
            .args
            .ends_with(&["-J".to_owned(), "0-2".to_owned()])
    );
    assert_eq!(asked[2].run_as.as_deref(), Some("alice"));
}

#[tokio::test]
async fn an_array_is_halved_until_there_is_room_for_it() {
    let full = || answer(38, "", fixture!("qsub-max-queued.err"));
    let (pbs, recording) = replay(vec![
        ("qsub", full()),
        ("qsub", answer(0, "5[].pbshost\n", "")),
        ("qsub", full()),
        ("qsub", full()),
        ("qsub", full()),
    ]);
    let results = pbs.submit(&jobs(0..8)).await;
    // Four find room; then neither four nor two nor one more, and the rest is not tried.
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4);
    assert_eq!(results[3], Ok("5[3].pbshost".into()));
    assert!(
        matches!(&results[7], Err(AdapterError::Refused(words)) if words.contains("would exceed"))
    );
    assert_eq!(recording.asked().len(), 5);
}

#[tokio::test]
async fn refusals_carry_the_words_of_pbs() {
    let cases = [
        (170, fixture!("qsub-unknown-queue.err")),
        (173, fixture!("qsub-closed-queue.err")),
        (38, fixture!("qsub-max-queued.err")),
        (188, fixture!("qsub-walltime-too-long.err")),
        (187, fixture!("qsub-unknown-resource-select.err")),
        (159, fixture!("qsub-acl.err")),
        (2, fixture!("qsub-bad-name.err")),
    ];
    let mut words = Vec::new();
    for (code, stderr) in cases {
        let (pbs, _) = replay(vec![("qsub", answer(code, "", stderr))]);
        match pbs.submit(&[job(7)]).await.remove(0) {
            Err(AdapterError::Refused(text)) => words.push(text),
            other => panic!("{other:?}"),
        }
    }
    insta::assert_snapshot!(words.join("\n"));
}

#[tokio::test]
async fn a_dead_server_is_not_asked_for_every_pilot() {
    for (code, stderr) in [
        (162, fixture!("down-qsub.err")),
        (160, fixture!("qsub-bad-server.err")),
    ] {
        let (pbs, recording) = replay(vec![("qsub", answer(code, "", stderr))]);
        let mut jobs = jobs(0..50);
        jobs[20].walltime_s = 60;
        let results = pbs.submit(&jobs).await;
        assert_eq!(results.len(), 50);
        for result in results {
            assert!(
                matches!(result, Err(AdapterError::Unreachable(_))),
                "{result:?}"
            );
        }
        assert_eq!(recording.asked().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_id_is_unexpected() {
    for stdout in [
        "",
        "Job 5 submitted\n",
        "5[].pbshost\n",
        "5.pbshost extra\n",
    ] {
        let (pbs, _) = replay(vec![("qsub", answer(0, stdout, ""))]);
        let result = pbs.submit(&[job(7)]).await.remove(0);
        assert!(
            matches!(result, Err(AdapterError::Unexpected(_))),
            "{stdout}: {result:?}"
        );
    }
}

#[tokio::test]
async fn a_poll_is_one_question_as_long_as_nobody_is_missing() {
    let (pbs, recording) = replay(vec![(
        "qstat",
        answer(0, fixture!("array-subjobs.json"), ""),
    )]);
    let jobs = pbs.poll("", &["5[0].pbshost".into()]).await.unwrap();
    assert_eq!(jobs.len(), 6);
    assert_eq!(recording.asked()[0].args, ["-t", "-f", "-F", "json"]);
}

#[tokio::test]
async fn the_history_tells_of_those_that_are_gone() {
    let (pbs, recording) = replay(vec![
        ("qstat", answer(0, "{\n}", "")),
        (
            "qstat",
            answer(
                153,
                fixture!("array-finished.json"),
                fixture!("qstat-unknown-mixed.err"),
            ),
        ),
    ]);
    let known = [
        "5[3].pbshost",
        "5[1].pbshost",
        "99999.pbshost",
        "not an id",
        "--help",
    ];
    let jobs = pbs.poll("", &known.map(str::to_owned)).await.unwrap();
    assert_eq!(jobs.len(), 2, "those that were asked for, and no others");
    let deleted = jobs
        .iter()
        .find(|job| job.batch_id == "5[3].pbshost")
        .unwrap();
    assert_eq!(
        deleted.state,
        BatchState::Ended {
            detail: "terminated by grid@pbshost, signal 15".into()
        }
    );
    // Members are asked for through their array.
    let args = &recording.asked()[1].args;
    assert_eq!(args[..5], ["-x", "-t", "-f", "-F", "json"]);
    assert_eq!(args[5..], ["5[].pbshost", "99999.pbshost"]);
}

#[tokio::test]
async fn many_that_are_gone_are_looked_for_in_the_whole_history() {
    let (pbs, recording) = replay(vec![
        ("qstat", answer(0, "{}", "")),
        ("qstat", answer(0, "{}", "")),
    ]);
    let known: Vec<String> = (0..21).map(|number| format!("{number}.pbshost")).collect();
    assert_eq!(pbs.poll("", &known).await, Ok(vec![]));
    assert_eq!(recording.asked()[1].args, ["-x", "-t", "-f", "-F", "json"]);
}

#[tokio::test]
async fn without_history_those_that_are_gone_are_left_out() {
    let (pbs, _) = replay(vec![
        ("qstat", answer(0, "{}", "")),
        (
            "qstat",
            answer(
                0,
                fixture!("qstat-vanished-history-off.txt"),
                fixture!("qstat-vanished-history-off.err"),
            ),
        ),
    ]);
    assert_eq!(pbs.poll("", &["1062.pbshost".into()]).await, Ok(vec![]));
}

#[tokio::test]
async fn a_dead_server_does_not_look_like_an_empty_queue() {
    let (pbs, _) = replay(vec![(
        "qstat",
        answer(255, fixture!("down-qstat.json"), fixture!("down-qstat.err")),
    )]);
    let error = pbs.poll("", &["5.pbshost".into()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    let (pbs, _) = replay(vec![("qdel", answer(162, "", fixture!("down-qdel.err")))]);
    let error = pbs.cancel(&["5.pbshost".into()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_listing_that_somebody_spoilt_is_read_as_text() {
    let (pbs, recording) = replay(vec![
        ("qstat", answer(0, fixture!("poisoned-listing.json"), "")),
        (
            "qstat",
            answer(0, fixture!("poisoned-listing-text.txt"), ""),
        ),
        (
            "qstat",
            answer(0, fixture!("poisoned-listing-text.txt"), ""),
        ),
    ]);
    let jobs = pbs.poll("", &[]).await.unwrap();
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["fine", "inf"]);
    // From then on it is not tried again.
    assert_eq!(pbs.poll("", &[]).await.unwrap(), jobs);
    assert_eq!(recording.asked()[2].args, ["-t", "-f", "-w"]);
}

#[tokio::test]
async fn cancels_in_bulk_and_only_ids() {
    let (pbs, recording) = replay(vec![
        ("qdel", answer(153, "", fixture!("qdel-unknown.err"))),
        ("qdel", answer(35, "", fixture!("qdel-finished.err"))),
    ]);
    let ids: Vec<String> = (0..501).map(|id| format!("{id}.pbshost")).collect();
    pbs.cancel(&ids).await.unwrap();
    assert_eq!(recording.asked().len(), 2);

    let (pbs, recording) = replay(vec![]);
    pbs.cancel(&["-W".into(), "5[].pbshost".into(), String::new()])
        .await
        .unwrap();
    assert!(recording.asked().is_empty());

    let (pbs, _) = replay(vec![(
        "qdel",
        answer(222, "", fixture!("down-qdel-mom-down.err")),
    )]);
    let error = pbs.cancel(&["97.pbshost".into()]).await.unwrap_err();
    assert!(
        matches!(error, AdapterError::Unreachable(_)),
        "the server forgets it: {error}"
    );
}

#[tokio::test]
async fn a_users_own_pilots_are_ended_as_that_user() {
    let refused = fixture!("qrerun-by-user.err")
        .replace("qrerun", "qdel")
        .replace("30.", "0.");
    let (pbs, recording) = replay(vec![
        ("qdel", answer(159, "", &refused)),
        ("qstat", answer(0, fixture!("job-running.json"), "")),
        ("qdel", answer(0, "", "")),
    ]);
    pbs.cancel(&["0.pbshost".into(), "1.pbshost".into()])
        .await
        .unwrap();
    let asked = recording.asked();
    assert_eq!(asked[2].run_as.as_deref(), Some("grid"));
    assert_eq!(asked[2].args, ["0.pbshost"]);
}
