//! The adapter against recordings of TORQUE's commands over Slurm (`tests/fixtures/torque-on-slurm`),
//! and against answers written after TORQUE's manual.

use std::sync::Arc;

use fairway_model::{CeStatus, PbsDialect, PbsSettings, PilotId, Resources};

use super::*;
use crate::BatchState;
use crate::exec::recording::Recording;
use crate::exec::{ExecError, Output};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/torque-on-slurm/", $name))
    };
}

/// As TORQUE's manual has it: no server was at hand to record.
const TORQUE_JOBS: &str = "\
Job Id: 12.torque.example.org
    Job_Name = fw-0badcafe-p1
    Job_Owner = grid@ui.example.org
    job_state = R
    queue = batch
    exec_host = wn1/0-3

Job Id: 13[].torque.example.org
    Job_Name = fw-0badcafe-p7
    job_state = Q

Job Id: 13[2].torque.example.org
    Job_Name = fw-0badcafe-p7-2
    Job_Owner = grid@ui.example.org
    job_state = C
    exit_status = 271
    Variable_List = PBS_O_QUEUE=batch,PBS_O_HOME=/home/grid,
\tPBS_O_LOGNAME=grid

Job Id: 14.torque.example.org
    Job_Name = fw-0badcafe-p20
    job_state = H
    comment = Not Running: no room
";
const TORQUE_NODES: &str = "\
wn1
     state = free
     np = 8
     properties = fast,gpu
     ntype = cluster
     jobs = 0-3/12.torque.example.org, 5/15.torque.example.org
     status = opsys=linux,uname=Linux wn1 5.14.0-70 #1 SMP Tue x86_64,physmem=16384000kb,state=free
     gpus = 2

wn2
     state = down,offline
     np = 4
     ntype = cluster
";
const TORQUE_QUEUES: &str = "\
Queue: batch
    queue_type = Execution
    max_user_run = 40
    max_user_queuable = 200
    state_count = Transit:0 Queued:2 Held:1 Waiting:0 Running:3 Exiting:0 Complete:7
    resources_max.procct = 16
    resources_max.walltime = 48:00:00
    enabled = True
    started = True

Queue: gpu
    queue_type = Execution
    resources_default.neednodes = 1:ppn=2:gpu
    enabled = False
    started = True
";

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

fn answer(code: i32, stdout: &str, stderr: &str) -> Result<Output, ExecError> {
    Ok(Output {
        code: Some(code),
        stdout: stdout.into(),
        stderr: stderr.into(),
    })
}

fn over_slurm() -> (&'static str, Result<Output, ExecError>) {
    ("qsub", answer(2, "", fixture!("qsub-version.err")))
}

fn real() -> (&'static str, Result<Output, ExecError>) {
    ("qsub", answer(0, "", "Version: 6.1.3\nCommit: 1234\n"))
}

fn replay(answers: Vec<(&'static str, Result<Output, ExecError>)>) -> (Torque, Arc<Recording>) {
    let recording = Arc::new(Recording::new(answers));
    let settings = PbsSettings {
        dialect: PbsDialect::Torque,
        ..PbsSettings::default()
    };
    let mut commands = Commands::new("lyon".parse().unwrap(), &settings).unwrap();
    commands.runner = Box::new(Arc::clone(&recording));
    (Torque::new(commands), recording)
}

fn rendered(jobs: &[PilotJob], flavour: Flavour, work_dir: Option<&str>) -> String {
    let args = render::submit_args(jobs, flavour, work_dir).unwrap();
    let script = render::script(jobs, flavour, work_dir).unwrap();
    format!("qsub {}\n\n{script}", args.join("\n  "))
}

fn demanding() -> PilotJob {
    let mut job = job(7);
    job.nodes = 2;
    job.resources.gpus = 1;
    job.ce.account = Some("grid".into());
    job.ce.qos = Some("high".into());
    job.ce.reservation = Some("upgrade".into());
    job.ce.constraint = Some("fast".into());
    job.ce.shape.whole_node = true;
    job.avoid = vec!["n3".into(), "n4".into()];
    job
}

#[test]
fn renders_a_submission_to_torque() {
    let rendered = rendered(&[demanding()], Flavour::Torque, Some("/scratch/fairway"));
    insta::assert_snapshot!(rendered);
}

#[test]
fn renders_an_array_for_torque() {
    insta::assert_snapshot!(rendered(&[job(7), job(8)], Flavour::Torque, None));
}

#[test]
fn renders_a_submission_over_slurm() {
    insta::assert_snapshot!(rendered(&[demanding()], Flavour::OverSlurm, None));
}

#[test]
fn renders_a_small_submission_over_slurm() {
    insta::assert_snapshot!(rendered(
        &[job(7)],
        Flavour::OverSlurm,
        Some("/scratch/fairway")
    ));
}

#[test]
fn what_a_shell_would_read_is_refused() {
    for option in ["$(id)", "a;b", "a b", "`id`", "a'b", "a\nb", "", ">x", "~"] {
        let mut job = job(7);
        job.ce.options = vec![option.into()];
        let args = render::submit_args(&[job], Flavour::OverSlurm, None);
        assert!(matches!(args, Err(AdapterError::Refused(_))), "{option:?}");
    }
    for text in ["", "-x", "a b", "a\n#SBATCH --uid=0", "a'b", "a;b", "a&b"] {
        let mut cases = vec![job(7), job(7), job(7), job(7)];
        cases[0].ce.constraint = Some(text.into());
        cases[1].ce.qos = Some(text.into());
        cases[2].ce.reservation = Some(text.into());
        cases[3].avoid = vec![text.into()];
        for job in cases {
            let args = render::submit_args(std::slice::from_ref(&job), Flavour::OverSlurm, None);
            let script = render::script(&[job], Flavour::OverSlurm, None);
            assert!(args.is_err() || script.is_err(), "{text:?}");
        }
    }
}

#[tokio::test]
async fn the_flavour_is_asked_for_once() {
    let (torque, recording) = replay(vec![
        over_slurm(),
        ("/bin/sh", answer(0, "51\n", "")),
        ("/bin/sh", answer(0, "52\n", "")),
        ("qstat", answer(153, "", "")),
    ]);
    let results = torque.submit(&[job(7), job(8)]).await;
    assert_eq!(results, [Ok("51".into()), Ok("52".into())], "no array");
    assert_eq!(
        torque.poll("", &[]).await,
        Ok(vec![]),
        "153 is an empty queue"
    );
    assert_eq!(recording.asked()[3].args, ["-f"]);
    assert!(!format!("{:?}", recording.asked()).contains("s3cr3t"));

    let (torque, recording) = replay(vec![
        real(),
        ("qsub", answer(0, "13[].torque.example.org\n", "")),
        ("qstat", answer(0, TORQUE_JOBS, "")),
    ]);
    let results = torque.submit(&[job(7), job(8)]).await;
    assert_eq!(results[1], Ok("13[1].torque.example.org".into()));
    torque.poll("", &[]).await.unwrap();
    assert_eq!(recording.asked()[2].args, ["-t", "-f", "-1"]);
}

#[tokio::test]
async fn polls_torque() {
    let (torque, _) = replay(vec![real(), ("qstat", answer(0, TORQUE_JOBS, ""))]);
    let jobs = torque.poll("fw-0badcafe-", &[]).await.unwrap();
    let told: Vec<String> = jobs
        .iter()
        .map(|job| format!("{} {} {:?}", job.batch_id, job.name, job.state))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn polls_over_slurm() {
    for (listing, wanted) in [
        (fixture!("qstat-f.out"), BatchState::Running),
        (
            fixture!("qstat-f-done.out"),
            BatchState::Ended {
                detail: "completed".into(),
            },
        ),
        (
            fixture!("qstat-f-held.out"),
            BatchState::Queued {
                reason: "no reason is told".into(),
            },
        ),
    ] {
        let (torque, _) = replay(vec![over_slurm(), ("qstat", answer(0, listing, ""))]);
        let jobs = torque.poll("", &[]).await.unwrap();
        assert!(
            !jobs.is_empty() && jobs.iter().all(|job| job.state == wanted),
            "{jobs:?}"
        );
    }
}

#[tokio::test]
async fn refusals_over_slurm_stand_on_standard_output() {
    let mut words = Vec::new();
    for stdout in [
        fixture!("qsub-badqueue.out"),
        fixture!("qsub-badwalltime.out"),
    ] {
        let (torque, _) = replay(vec![over_slurm(), ("/bin/sh", answer(1, stdout, ""))]);
        match torque.submit(&[job(7)]).await.remove(0) {
            Err(AdapterError::Refused(text)) => words.push(text),
            other => panic!("{other:?}"),
        }
    }
    let (torque, _) = replay(vec![
        real(),
        (
            "qsub",
            answer(
                170,
                "",
                "qsub: submit error (Unknown queue MSG=cannot locate queue)\n",
            ),
        ),
    ]);
    match torque.submit(&[job(7)]).await.remove(0) {
        Err(AdapterError::Refused(text)) => words.push(text),
        other => panic!("{other:?}"),
    }
    insta::assert_snapshot!(words.join("\n"));
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable() {
    let sbatch = "There was an error running the Slurm sbatch command.\nThe command was:\n'x'\nand \
                  the output was:\n'sbatch: error: Batch job submission failed: Unable to contact \
                  slurm controller (connect failure)\n'\n";
    let (torque, recording) = replay(vec![over_slurm(), ("/bin/sh", answer(1, sbatch, ""))]);
    let results = torque.submit(&[job(7)]).await;
    assert!(
        matches!(results[0], Err(AdapterError::Unreachable(_))),
        "{results:?}"
    );
    assert_eq!(recording.asked().len(), 2);
    let (torque, _) = replay(vec![
        over_slurm(),
        ("qstat", answer(255, "", "Problem loading jobs.\n")),
        (
            "qdel",
            answer(
                1,
                "qdel: Kill job error on job id 5: Unable to contact slurm controller\n",
                "",
            ),
        ),
    ]);
    let polled = torque.poll("", &[]).await;
    assert!(
        matches!(polled, Err(AdapterError::Unreachable(_))),
        "{polled:?}"
    );
    let cancelled = torque.cancel(&["5".into()]).await;
    assert!(
        matches!(cancelled, Err(AdapterError::Unreachable(_))),
        "{cancelled:?}"
    );
    let (torque, _) = replay(vec![(
        "qsub",
        Err(ExecError::Start {
            program: "qsub".into(),
            reason: "none".into(),
        }),
    )]);
    let polled = torque.poll("", &[]).await;
    assert!(
        matches!(polled, Err(AdapterError::Unreachable(_))),
        "{polled:?}"
    );
}

#[tokio::test]
async fn the_exit_code_of_a_deletion_over_slurm_says_nothing() {
    let (torque, recording) = replay(vec![
        over_slurm(),
        ("qdel", answer(2, "", "")),
        (
            "qdel",
            answer(
                1,
                "qdel: Kill job error on job id 5: Access/permission denied\n",
                "",
            ),
        ),
    ]);
    torque
        .cancel(&["5".into(), "6".into(), "; touch x".into()])
        .await
        .unwrap();
    assert_eq!(recording.asked()[1].args, ["5", "6"]);
    let refused = torque.cancel(&["5".into()]).await;
    assert!(matches!(&refused, Err(AdapterError::Refused(words)) if words.contains("denied")));
}

#[tokio::test]
async fn publishes_torque() {
    let (torque, _) = replay(vec![
        real(),
        ("pbsnodes", answer(0, TORQUE_NODES, "")),
        ("qstat", answer(0, TORQUE_QUEUES, "")),
        (
            "qstat",
            answer(
                0,
                "Server: torque.example.org\n    pbs_version = 6.1.3\n",
                "",
            ),
        ),
    ]);
    let ces = ["batch", "gpu", "nosuch"].map(ce);
    let states = torque.publish(&ces, Timestamp(0)).await.unwrap();
    insta::assert_json_snapshot!(states);
}

#[tokio::test]
async fn publishes_over_slurm() {
    let (torque, _) = replay(vec![
        over_slurm(),
        ("pbsnodes", answer(0, fixture!("pbsnodes-a.out"), "")),
        ("qstat", answer(0, fixture!("qstat-Qf.out"), "")),
        ("sbatch", answer(0, "slurm-wlm 22.05.8\n", "")),
        ("qstat", answer(0, fixture!("qstat-f.out"), "")),
        ("qstat", answer(153, fixture!("qstat-q.out"), "")),
    ]);
    let ces = ["short", "long", "nosuch"].map(ce);
    let states = torque.publish(&ces, Timestamp(0)).await.unwrap();
    insta::assert_json_snapshot!(states);
}

#[test]
fn a_node_that_is_offline_is_counted_so() {
    let nodes = publish::nodes(&stanza::from_text(fixture!("pbsnodes-offline.out"), ""));
    assert_eq!(nodes.len(), 1, "what is printed besides is no node");
    assert!(nodes[0].is_offline);
    let queue = &stanza::from_text(TORQUE_QUEUES, "Queue:")[0];
    let mut state = CeState::unreachable("a/b".parse().unwrap(), "", Timestamp(0), String::new());
    publish::publish(queue, &nodes, &mut state);
    assert_eq!(
        (state.status, state.cores_offline),
        (CeStatus::Closed, Some(8))
    );
}

/// Answers that are cut off anywhere make errors or less to tell, never a panic.
#[test]
fn nothing_that_is_answered_is_a_panic() {
    for text in [
        TORQUE_JOBS,
        TORQUE_NODES,
        TORQUE_QUEUES,
        fixture!("pbsnodes-a.out"),
        fixture!("qstat-q.out"),
        fixture!("qstat-multi.out"),
    ] {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let text = &text[..end];
            for heading in ["Job Id:", "Queue:", ""] {
                let rows = stanza::from_text(text, heading);
                drop(job::named(&rows, "", parse::state));
                let nodes = publish::nodes(&rows);
                for row in &rows {
                    let id = "a/b".parse().unwrap();
                    let mut state = CeState::unreachable(id, "", Timestamp(0), String::new());
                    publish::publish(row, &nodes, &mut state);
                    over_slurm::publish(row, &nodes, &rows, text, &mut state);
                }
            }
        }
    }
}
