//! The adapter against recordings of a real server (`tests/fixtures/openpbs`).

use std::sync::Arc;

use fairway_model::{PbsSettings, PilotId, Resources};

use super::*;
use crate::BatchState;
use crate::exec::recording::Recording;
use crate::exec::{ExecError, Output};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/openpbs/", $name))
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

fn rendered(jobs: &[PilotJob], work_dir: Option<&str>) -> String {
    let args = render::submit_args(jobs, work_dir).unwrap();
    let script = render::script(jobs, work_dir).unwrap();
    format!("qsub {}\n\n{script}", args.join("\n  "))
}

#[test]
fn renders_a_submission() {
    let mut job = job(7);
    job.ce.account = Some("grid".into());
    job.ce.constraint = Some("arch=linux:model=milan".into());
    job.ce.options = vec!["-p".into(), "10".into()];
    insta::assert_snapshot!(rendered(&[job], Some("/scratch/fairway")));
}

#[test]
fn a_small_submission_asks_for_little() {
    let mut job = job(7);
    job.resources = Resources {
        cores: 1,
        memory_mib: 0,
        gpus: 2,
    };
    job.walltime_s = 0;
    insta::assert_snapshot!(rendered(&[job], None));
}

#[test]
fn renders_an_array() {
    insta::assert_snapshot!(rendered(&jobs(7..10), Some("/scratch/fairway")));
}

#[test]
fn renders_several_whole_nodes_in_a_reservation() {
    let mut job = job(7);
    job.nodes = 3;
    job.ce.shape.whole_node = true;
    job.ce.reservation = Some("R123.pbshost".into());
    insta::assert_snapshot!(rendered(
        std::slice::from_ref(&job),
        Some("/scratch/fairway")
    ));
    let error = render::script(&[job], None).unwrap_err();
    assert!(error.to_string().contains("work_dir"), "{error}");
}

#[test]
fn what_could_be_an_option_or_a_script_is_refused() {
    let bad = [
        "",
        "-x",
        "a b",
        "a\n#PBS -u root",
        "a'b",
        "a;b",
        "../a",
        "é",
        "a,b",
    ];
    for text in bad {
        let mut cases = vec![job(7), job(7), job(7), job(7), job(7), job(7)];
        cases[0].name = text.into();
        cases[1].ce.queue = Some(text.into());
        cases[2].ce.account = Some(text.into());
        cases[3].ce.reservation = Some(text.into());
        cases[4].ce.constraint = Some(text.into());
        cases[5].run_as = Some(text.into());
        for job in cases {
            let refusal = render::submit_args(&[job], None).unwrap_err();
            assert!(matches!(refusal, AdapterError::Refused(_)), "{text:?}");
        }
    }
    for constraint in ["a+2:ncpus=4", "a=b=c,d", "a=:b", "a::b"] {
        let mut job = job(7);
        job.ce.constraint = Some(constraint.into());
        assert!(render::submit_args(&[job], None).is_err(), "{constraint}");
    }
}

#[test]
fn what_pbs_does_not_have_is_refused() {
    let mut reserved = job(7);
    reserved.reserve_at = Some(Timestamp(0));
    let mut with_qos = job(7);
    with_qos.ce.qos = Some("high".into());
    let mut typed = job(7);
    typed.ce.gpu_type = Some("a100".into());
    for (job, words) in [
        (reserved, "pbs_rsub"),
        (with_qos, "quality of service"),
        (typed, "constraint"),
    ] {
        let refusal = render::submit_args(&[job], None).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
}

#[test]
fn settings_that_pbs_would_rewrite_are_refused() {
    for path in ["relative", "/a:b", "/a,b", "/$a", "/a b", "/a\nb", "/a'b"] {
        let settings = PbsSettings {
            work_dir: Some(path.into()),
            ..PbsSettings::default()
        };
        let refused = Commands::new("lyon".parse().unwrap(), &settings).is_err();
        assert!(refused, "{path:?}");
    }
    for (name, value) in [("A=B", "c"), ("-u", "c"), ("A", "c\nd"), ("", "c")] {
        let settings = PbsSettings {
            env: [(name.to_owned(), value.to_owned())].into(),
            ..PbsSettings::default()
        };
        let refused = Commands::new("lyon".parse().unwrap(), &settings).is_err();
        assert!(refused, "{name:?}");
    }
}

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

#[test]
fn only_pilots_that_differ_in_their_documents_share_an_array() {
    let mut jobs = jobs(7..16);
    jobs[1].ce.queue = Some("long".into());
    jobs[3].resources.cores = 1;
    jobs[5].nodes = 2;
    jobs[7].name = "fw-somebody".into();
    let groups = array::groups(&jobs);
    assert!(groups.iter().all(|group| group.len() == 1), "{groups:?}");
    let many = array::groups(&self::jobs(0..1001));
    assert_eq!(many, [0..500, 500..1000, 1000..1001]);
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

#[test]
fn json_and_text_say_the_same() {
    let json = stanza::from_json(fixture!("job-running.json")).unwrap();
    let text = stanza::from_text(fixture!("job-running-plain.txt"), "Job Id:");
    assert_eq!(json.len(), 1);
    for attribute in [
        "Job_Name",
        "job_state",
        "comment",
        "run_count",
        "Job_Owner",
        "exec_vnode",
    ] {
        assert_eq!(
            json[0].get(attribute),
            text[0].get(attribute),
            "{attribute}"
        );
    }
    assert_eq!(
        json[0].get("Resource_List.select"),
        text[0].get("Resource_List.select")
    );
    let json = stanza::from_json(fixture!("pbsnodes-av-mixed.json")).unwrap();
    let text = stanza::from_text(fixture!("pbsnodes-av-mixed-plain.txt"), "");
    let published = |nodes: &[Stanza]| {
        let queues = stanza::from_json(fixture!("qstat-Q-busy.json")).unwrap();
        let mut state =
            CeState::unreachable("a/b".parse().unwrap(), "", Timestamp(0), String::new());
        publish::Site::new(&[], &queues, nodes).publish("short", &mut state);
        state
    };
    assert_eq!(published(&json), published(&text));
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

async fn published(queues: &'static str, nodes: &'static str, names: &[&str]) -> Vec<CeState> {
    let (pbs, _) = replay(vec![
        ("qstat", answer(0, fixture!("qstat-B-busy.json"), "")),
        ("qstat", answer(0, queues, "")),
        ("pbsnodes", answer(0, nodes, "")),
    ]);
    let ces: Vec<Ce> = names.iter().map(|name| ce(name)).collect();
    pbs.publish(&ces, Timestamp(0)).await.unwrap()
}

#[tokio::test]
async fn publishes_queues() {
    let busy = published(
        fixture!("qstat-Q-busy.json"),
        fixture!("pbsnodes-av-mixed.json"),
        &["short", "workq"],
    );
    insta::assert_json_snapshot!(busy.await);
}

#[tokio::test]
async fn queues_that_take_nothing_say_why() {
    let names = ["short", "long", "tiny", "closed", "nosuch"];
    let states = published(
        fixture!("qstat-Q-empty.json"),
        fixture!("pbsnodes-av-mixed.json"),
        &names,
    );
    let down = published(
        fixture!("qstat-Q-empty.json"),
        fixture!("pbsnodes-av-mom-down.json"),
        &["short"],
    );
    let said: Vec<String> = [states.await, down.await]
        .concat()
        .iter()
        .map(|state| {
            format!(
                "{:?}: {}",
                state.status,
                state.reason.as_deref().unwrap_or("-")
            )
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn nodes_are_told_apart_by_what_queues_ask_for() {
    let queues = fixture!("qstat-Q-empty.json").replacen(
        "\"enabled\":\"True\"",
        "\"default_chunk\":{\"Qlist\":\"gpu\"}, \"enabled\":\"True\"",
        1,
    );
    let nodes = r#"{"nodes": {
        "a": {"state": "free", "resources_available": {"host": "a", "ncpus": 8, "mem": "64gb",
            "Qlist": "gpu,cpu", "ngpus": 2, "bigmem": "True"}},
        "b": {"state": "free", "resources_available": {"host": "b", "ncpus": 4, "mem": "8gb"}},
        "c": {"state": "job-exclusive", "queue": "short",
            "resources_available": {"host": "c", "ncpus": 16, "mem": "8gb"}}
    }}"#;
    let queues = stanza::from_json(&queues).unwrap();
    let nodes = stanza::from_json(nodes).unwrap();
    let site = publish::Site::new(&[], &queues, &nodes);
    let cores = |queue: &str| {
        let mut state =
            CeState::unreachable("a/b".parse().unwrap(), "", Timestamp(0), String::new());
        assert!(site.publish(queue, &mut state));
        (
            state.cores_total,
            state.cores_free,
            state.gpus_total,
            state.features.join(" "),
        )
    };
    let features = "Qlist=cpu Qlist=gpu bigmem=True".to_owned();
    assert_eq!(
        cores("workq"),
        (Some(8), Some(8), Some(2), features.clone())
    );
    assert_eq!(cores("short"), (Some(16), Some(0), Some(0), String::new()));
    assert_eq!(cores("long"), (Some(12), Some(12), Some(2), features));
}

/// Answers that are cut off or garbled anywhere make errors or less to tell, never a panic.
#[test]
fn nothing_that_is_answered_is_a_panic() {
    let answers = [
        fixture!("array-finished.json"),
        fixture!("poisoned-listing-text.txt"),
        fixture!("pbsnodes-av-mixed-plain.txt"),
        fixture!("qstat-Q-busy.json"),
    ];
    let mut seed = 0x9E37_79B9_u32;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    for answer in answers {
        for _ in 0..400 {
            let mut bytes = answer.as_bytes().to_vec();
            for _ in 0..=random(8) {
                let place = random(bytes.len());
                bytes[place] = b"\0\n\t \"{}[]=:,.-9a\xff"[random(17)];
            }
            bytes.truncate(random(bytes.len()) + 1);
            let text = String::from_utf8_lossy(&bytes);
            for heading in ["Job Id:", "Queue:", ""] {
                read_all(&stanza::from_text(&text, heading));
            }
            if let Ok(rows) = stanza::from_json(&text) {
                read_all(&rows);
            }
            drop(job::submitted(&text, 3));
        }
    }
}

fn read_all(rows: &[Stanza]) {
    drop(job::named(rows, "", parse::state));
    drop(job::owners(rows));
    let site = publish::Site::new(rows, rows, rows);
    for row in rows {
        let mut state =
            CeState::unreachable("a/b".parse().unwrap(), "", Timestamp(0), String::new());
        site.publish(&row.name, &mut state);
    }
}
