//! The adapter against recordings of a real cluster (`tests/fixtures/slurm`).

use std::sync::Arc;

use fairway_model::{PilotId, Resources};

use super::*;
use crate::exec::recording::Recording;
use fairway_model::CeStatus;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/slurm/", $name))
    };
}

fn ce(queue: &str) -> Ce {
    serde_json::from_value(serde_json::json!({"name": "ce", "queue": queue})).unwrap()
}

pub(super) fn job() -> PilotJob {
    PilotJob {
        pilot: PilotId(7),
        ce: ce("short"),
        name: "fw-0badcafe-p7".into(),
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
        stdin: "{\"secret\":\"s3cr3t\"}".into(),
    }
}

fn answer(code: i32, stdout: &str, stderr: &str) -> Result<Output, ExecError> {
    Ok(Output {
        code: Some(code),
        stdout: stdout.into(),
        stderr: stderr.into(),
    })
}

type Answers = Vec<(&'static str, Result<Output, ExecError>)>;

fn replay(answers: Answers) -> (Slurm, Arc<Recording>) {
    let recording = Arc::new(Recording::new(answers));
    let settings = SlurmSettings {
        work_dir: Some("/scratch/fairway/".into()),
        ..SlurmSettings::default()
    };
    let mut slurm = Slurm::new(
        "lyon".parse().unwrap(),
        &settings,
        Path::new("/nonexistent"),
    )
    .unwrap();
    slurm.runner = Box::new(Arc::clone(&recording));
    (slurm, recording)
}

fn submit_args(job: &PilotJob, work_dir: Option<&str>) -> Result<Vec<String>, AdapterError> {
    let place = Place {
        work_dir: work_dir.map(str::to_owned),
        bin_dir: None,
    };
    let batches = bulk::batches(std::slice::from_ref(job), NO_ARRAYS);
    render::submit_args(&batches[0], &place)
}

fn script(job: &PilotJob) -> Result<String, AdapterError> {
    let batches = bulk::batches(std::slice::from_ref(job), NO_ARRAYS);
    render::script(&batches[0], &Place::default())
}

const NO_ARRAYS: bulk::Rules = bulk::Rules {
    index_end: 0,
    contiguous: false,
};

fn find<'a>(jobs: &'a [BatchJob], id: &str) -> &'a BatchState {
    &jobs.iter().find(|job| job.batch_id == id).unwrap().state
}

fn ended(detail: &str) -> BatchState {
    BatchState::Ended {
        detail: detail.into(),
    }
}

fn queued(reason: &str) -> BatchState {
    BatchState::Queued {
        reason: reason.into(),
    }
}

#[test]
fn renders_a_submission() {
    let mut job = job();
    job.ce.account = Some("grid".into());
    job.ce.qos = Some("normal".into());
    let args = submit_args(&job, Some("/scratch/fairway")).unwrap();
    let script = script(&job).unwrap();
    insta::assert_snapshot!(format!("sbatch {}\n\n{script}", args.join("\n  ")));
}

#[test]
fn a_small_submission_asks_for_little() {
    let mut job = job();
    job.resources = Resources {
        cores: 1,
        memory_mib: 0,
        gpus: 2,
    };
    job.walltime_s = 0;
    insta::assert_snapshot!(submit_args(&job, None).unwrap().join("\n"));
}

#[test]
fn nothing_in_the_document_ends_it_early() {
    let mut job = job();
    job.stdin = "a\nEND_OF_BOOTSTRAP\n$(touch /tmp/x) `id` 'q' \\\n".into();
    let script = script(&job).unwrap();
    let (_, after) = script.split_once("<<'END_OF_BOOTSTRAP_'\n").unwrap();
    assert_eq!(after, format!("{}END_OF_BOOTSTRAP_\n", job.stdin));
}

#[test]
fn what_could_be_an_option_or_a_script_is_refused() {
    let bad = [
        "",
        "-x",
        "a b",
        "a\n#SBATCH --uid=0",
        "a'b",
        "a;b",
        "../a",
        "é",
        &"x".repeat(129),
    ];
    for text in bad {
        let mut named = job();
        named.name = text.into();
        let mut in_queue = job();
        in_queue.ce.queue = Some(text.into());
        let mut for_account = job();
        for_account.ce.account = Some(text.into());
        let mut with_qos = job();
        with_qos.ce.qos = Some(text.into());
        for job in [named, in_queue, for_account, with_qos] {
            let refusal = submit_args(&job, None).unwrap_err();
            assert!(matches!(refusal, AdapterError::Refused(_)), "{text:?}");
        }
    }
    let mut two_lines = job();
    two_lines.program.push("a\nb".into());
    assert!(script(&two_lines).is_err());
    let mut no_program = job();
    no_program.program.clear();
    assert!(script(&no_program).is_err());
}

#[test]
fn paths_that_slurm_would_rewrite_are_refused() {
    for path in ["relative", "/a/%j", "/a\\b", "/a\nb"] {
        let site: SiteName = "lyon".parse().unwrap();
        assert!(
            open(
                site,
                &SlurmSettings {
                    work_dir: Some(path.into()),
                    ..SlurmSettings::default()
                },
                Path::new("/nonexistent"),
            )
            .is_err(),
            "{path:?}"
        );
    }
}

#[tokio::test]
async fn the_secret_is_in_the_script_only() {
    let (slurm, recording) = replay(vec![("sbatch", answer(0, "4711;lyon\n", ""))]);
    assert_eq!(slurm.submit(&[job()]).await, [Ok("4711".to_owned())]);
    let asked = recording.asked();
    assert!(asked[0].stdin.contains("s3cr3t"));
    assert!(!format!("{:?} {:?}", asked[0], asked[0].env).contains("s3cr3t"));
    assert!(!format!("{:?}", job()).contains("s3cr3t"));
}

#[tokio::test]
async fn refusals_carry_slurms_words() {
    let cases = [
        (1, fixture!("err-partition.err")),
        (1, fixture!("err-timelimit.err")),
        (1, fixture!("err-cpus.err")),
        (255, fixture!("err-option.err")),
    ];
    let mut words = Vec::new();
    for (code, stderr) in cases {
        let (slurm, _) = replay(vec![("sbatch", answer(code, "", stderr))]);
        match slurm.submit(&[job()]).await.remove(0) {
            Err(AdapterError::Refused(text)) => words.push(text),
            other => panic!("{other:?}"),
        }
    }
    insta::assert_snapshot!(words.join("\n"));
}

#[tokio::test]
async fn a_dead_controller_is_not_asked_for_every_pilot() {
    let (slurm, recording) = replay(vec![(
        "sbatch",
        answer(1, "", fixture!("ctld-down-sbatch.err")),
    )]);
    let results = slurm.submit(&vec![job(); 50]).await;
    assert_eq!(results.len(), 50);
    for result in results {
        assert!(
            matches!(result, Err(AdapterError::Unreachable(_))),
            "{result:?}"
        );
    }
    // The recording has one answer only, and panics when there is a second question.
    assert_eq!(recording.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_id_is_unexpected() {
    for stdout in ["", "Submitted batch job 5\n", "12_3\n"] {
        let (slurm, _) = replay(vec![("sbatch", answer(0, stdout, ""))]);
        let result = slurm.submit(&[job()]).await.remove(0);
        assert!(
            matches!(result, Err(AdapterError::Unexpected(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_command_that_hangs_or_is_missing_is_unreachable() {
    let timeout = ExecError::Timeout {
        program: "squeue".into(),
        limit: COMMAND_TIME_MAX,
    };
    let (slurm, _) = replay(vec![("squeue", Err(timeout))]);
    let error = slurm.poll("fw-", &[]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn polls_all_states_in_one_call() {
    let (slurm, recording) = replay(vec![("squeue", answer(0, fixture!("squeue.out"), ""))]);
    let jobs = slurm.poll("fw-a-", &[]).await.unwrap();
    assert_eq!(recording.asked().len(), 1);
    assert_eq!(jobs.len(), 13, "two jobs of the recording are not ours");
    assert_eq!(*find(&jobs, "10_2"), queued("JobHeldUser"));
    assert_eq!(*find(&jobs, "2"), BatchState::Running);
    assert_eq!(*find(&jobs, "3"), queued("Resources"));
    assert_eq!(*find(&jobs, "7"), queued("JobHeldUser"));
    assert_eq!(
        *find(&jobs, "11"),
        BatchState::Running,
        "COMPLETING is not over"
    );
    assert_eq!(*find(&jobs, "5"), ended("COMPLETED"));
    assert_eq!(*find(&jobs, "4"), ended("FAILED, NonZeroExitCode"));
    assert_eq!(*find(&jobs, "9"), ended("FAILED, JobLaunchFailure"));
    assert_eq!(*find(&jobs, "12"), ended("CANCELLED, JobHeldUser"));
}

#[tokio::test]
async fn the_accounting_knows_what_the_queue_has_forgotten() {
    let (slurm, recording) = replay(vec![
        (
            "squeue",
            answer(0, "8|FAILED|fail.sh|NonZeroExitCode\n", ""),
        ),
        ("sacct", answer(0, fixture!("sacct.out"), "")),
        ("sacct", answer(0, "8|FAILED|3:0|fail.sh\n", "")),
    ]);
    let known = ["5", "8", "9", "37", "99999", "not an id"].map(str::to_owned);
    let jobs = slurm.poll("", &known).await.unwrap();
    assert_eq!(*find(&jobs, "5"), ended("TIMEOUT"));
    assert_eq!(*find(&jobs, "8"), ended("FAILED, exit code 3"));
    assert_eq!(*find(&jobs, "9"), ended("FAILED, signal 11"));
    assert_eq!(*find(&jobs, "37"), ended("CANCELLED by 1001"));
    assert!(jobs.iter().all(|job| job.batch_id != "99999"));
    let questions: Vec<_> = recording
        .asked()
        .into_iter()
        .map(|asked| asked.args)
        .collect();
    assert_eq!(questions[1].last().unwrap(), "--jobs=37,5,9,99999");
    assert_eq!(questions[2].last().unwrap(), "--jobs=8");
}

#[tokio::test]
async fn orphans_of_the_accounting_are_not_alive() {
    let (slurm, _) = replay(vec![
        ("squeue", answer(0, "", "")),
        (
            "sacct",
            answer(0, "5|RUNNING|0:0|fw-a\n6|PENDING|0:0|fw-b\n", ""),
        ),
    ]);
    let jobs = slurm.poll("fw-", &["5".into(), "6".into()]).await;
    assert_eq!(jobs, Ok(vec![]));
}

#[tokio::test]
async fn without_accounting_unknown_jobs_are_left_out() {
    let (slurm, _) = replay(vec![
        ("squeue", answer(0, "", "")),
        ("sacct", answer(1, "", fixture!("nodb-sacct.err"))),
    ]);
    assert_eq!(slurm.poll("fw-", &["5".into()]).await, Ok(vec![]));
}

#[tokio::test]
async fn an_accounting_that_is_away_loses_nobody() {
    let (slurm, _) = replay(vec![
        ("squeue", answer(0, "", "")),
        (
            "sacct",
            answer(1, "", "sacct: error: Problem talking to the database\n"),
        ),
    ]);
    let error = slurm.poll("fw-", &["5".into()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_dead_controller_answers_nothing() {
    let away = || answer(1, "", fixture!("ctld-down-squeue.err"));
    let (slurm, _) = replay(vec![("squeue", away())]);
    let error = slurm.poll("fw-", &["5".into()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");

    let (slurm, _) = replay(vec![(
        "scancel",
        answer(8, "", fixture!("ctld-down-scancel.err")),
    )]);
    let error = slurm.cancel(&["1".into()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn cancels_in_bulk_and_only_ids() {
    let (slurm, recording) = replay(vec![
        ("scancel", answer(0, "", "")),
        ("scancel", answer(210, "", fixture!("err-cancel-other.err"))),
    ]);
    let ids: Vec<String> = (0..501).map(|id| id.to_string()).collect();
    let error = slurm.cancel(&ids).await.unwrap_err();
    assert!(
        matches!(&error, AdapterError::Refused(words) if words.contains("denied")),
        "{error}"
    );
    assert_eq!(recording.asked().len(), 2);

    let (slurm, recording) = replay(vec![]);
    slurm
        .cancel(&["--user=root".into(), String::new()])
        .await
        .unwrap();
    assert!(recording.asked().is_empty());
}

/// All that is asked for what is published, of a cluster with accounting.
fn published() -> Answers {
    vec![
        ("sinfo", answer(0, "slurm-wlm 22.05.8\n", "")),
        ("sinfo", answer(0, fixture!("sinfo.out"), "")),
        ("squeue", answer(0, fixture!("squeue-load.out"), "")),
        (
            "scontrol",
            answer(0, fixture!("scontrol-partition.out"), ""),
        ),
        ("scontrol", answer(0, fixture!("scontrol-node.out"), "")),
        ("scontrol", answer(0, fixture!("scontrol-config.out"), "")),
        ("id", answer(0, "pilots\n", "")),
        ("sacctmgr", answer(0, fixture!("sacctmgr-user.out"), "")),
        ("sacctmgr", answer(0, fixture!("sacctmgr-qos.out"), "")),
    ]
}

#[tokio::test]
async fn publishes_partitions() {
    let (slurm, _) = replay(published());
    let ces = ["short", "long", "tiny", "spare", "nosuch"].map(ce);
    let states = slurm.publish(&ces, Timestamp(0)).await.unwrap();
    insta::assert_json_snapshot!(states);
}

#[tokio::test]
async fn partitions_that_take_nothing_say_why() {
    let sinfo = "a|inactive|infinite|idle|0/4/0/4|4|4096|1|(null)|(null)|none\n\
                 b|down|1-00:00:00|idle|0/4/0/4|4|4096|1|(null)|(null)|none\n\
                 c|up|n/a|n/a|0/0/0/0|0|0|0|(null)|(null)|none\n\
                 d|up|10:00|down*|0/0/4/4|4|4096|1|(null)|(null)|Not responding\n\
                 d|up|10:00|drained|0/0/4/4|4|4096|1|(null)|(null)|a|b\n\
                 e|up|10:00|down|0/0/4/4|4|4096|1|(null)|(null)|none\n\
                 e|up|10:00|maint|0/4/0/4|4|4096|1|(null)|(null)|none\n";
    let (slurm, _) = replay(vec![
        ("sinfo", answer(0, "slurm 25.11.0\n", "")),
        ("sinfo", answer(0, sinfo, "")),
        ("squeue", answer(0, "", "")),
        ("scontrol", answer(0, "", "")),
        ("scontrol", answer(0, "", "")),
        ("scontrol", answer(0, "", "")),
    ]);
    let ces = ["a", "b", "c", "d", "e"].map(ce);
    let states = slurm.publish(&ces, Timestamp(0)).await.unwrap();
    let limits: Vec<_> = states.iter().map(|state| state.walltime_max_s).collect();
    assert_eq!(limits, [None, Some(86_400), None, Some(600), Some(600)]);
    assert!(states.iter().all(|state| state.status == CeStatus::Closed));
    let reasons: Vec<_> = states
        .iter()
        .filter_map(|state| state.reason.as_deref())
        .collect();
    assert_eq!(
        reasons,
        [
            "the partition is inactive",
            "the partition is down",
            "no node is up",
            "no node is up (Not responding; a|b)",
            "every node that is up is reserved for maintenance"
        ]
    );
}

#[tokio::test]
async fn rows_that_nobody_understands_are_unexpected() {
    let (slurm, _) = replay(vec![("squeue", answer(0, "12|RUNNING\n", ""))]);
    let error = slurm.poll("fw-", &[]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unexpected(_)), "{error}");
    assert!(parse::partitions("a|up|soon|idle|0/4/0/4|4|9|1|||\n").is_err());
    assert!(parse::partitions("a|up|infinite|idle|0/4|4|9|1|||\n").is_err());
}

fn numbered(numbers: std::ops::Range<u64>) -> Vec<PilotJob> {
    let job = |number| PilotJob {
        pilot: PilotId(number),
        name: format!("fw-a-p{number}"),
        stdin: format!("document of {number}"),
        ..job()
    };
    numbers.map(job).collect()
}

#[test]
fn renders_everything_that_a_ce_can_ask_for() {
    let mut job = job();
    job.ce.constraint = Some("(intel|amd)&ib*2".into());
    job.ce.gpu_type = Some("a100".into());
    job.ce.reservation = Some("lhc".into());
    job.ce.options = vec!["--licenses=eos@cern:1".into(), "-H".into()];
    job.ce.shape.whole_node = true;
    job.resources.gpus = 2;
    job.resources.memory_mib = 0;
    job.avoid = ["n3", "n4.example.org", "not a node"]
        .map(str::to_owned)
        .into();
    insta::assert_snapshot!(submit_args(&job, None).unwrap().join("\n"));
}

#[test]
fn renders_a_job_of_several_nodes() {
    let mut job = job();
    job.nodes = 3;
    let args = submit_args(&job, None).unwrap();
    let shared = script(&job).unwrap();
    job.ce.shape.whole_node = true;
    let whole = script(&job).unwrap();
    insta::assert_snapshot!(format!(
        "sbatch {}\n\n{shared}\n\n{whole}",
        args.join("\n  ")
    ));
}

#[test]
fn renders_an_array() {
    let mut jobs = numbered(41..44);
    jobs[1].stdin = "END_OF_BOOTSTRAP\n;;\nesac\n".into();
    let rules = bulk::Rules {
        index_end: 1001,
        contiguous: false,
    };
    let batches = bulk::batches(&jobs, rules);
    let place = Place {
        work_dir: Some("/scratch/fairway".into()),
        bin_dir: None,
    };
    let args = render::submit_args(&batches[0], &place).unwrap();
    let script = render::script(&batches[0], &place).unwrap();
    insta::assert_snapshot!(format!("sbatch {}\n\n{script}", args.join("\n  ")));
}

#[test]
fn what_slurm_would_take_for_something_else_is_refused() {
    for constraint in ["", "-x", "a b", "a;b", "a$b", "a\n", "a'", &"x".repeat(513)] {
        let mut job = job();
        job.ce.constraint = Some(constraint.into());
        assert!(submit_args(&job, None).is_err(), "{constraint:?}");
    }
    for option in ["", "-", "--", "script.sh", "--a\nb", "fast"] {
        let mut job = job();
        job.ce.options = vec![option.into()];
        assert!(submit_args(&job, None).is_err(), "{option:?}");
    }
    for text in ["-x", "a,b", "#0", "a b"] {
        let mut account = job();
        account.run_as = Some(text.into());
        let mut reservation = job();
        reservation.ce.reservation = Some(text.into());
        let mut kind = job();
        kind.ce.gpu_type = Some(text.into());
        for job in [account, reservation, kind] {
            assert!(submit_args(&job, None).is_err(), "{text:?}");
        }
    }
    let mut reserved = job();
    reserved.reserve_at = Some(Timestamp(1));
    let refusal = submit_args(&reserved, None).unwrap_err().to_string();
    assert!(refusal.contains("operators"), "{refusal}");
}

#[tokio::test]
async fn equal_pilots_are_one_submission() {
    let (slurm, recording) = replay(vec![
        ("scontrol", answer(0, fixture!("scontrol-config.out"), "")),
        ("sbatch", answer(0, "21\n", "")),
        ("sbatch", answer(0, "22\n", "")),
    ]);
    let mut jobs = numbered(42..46);
    jobs[1].walltime_s = 60;
    let ids = ["21_0", "22", "21_2", "21_3"].map(|id| Ok(id.to_owned()));
    assert_eq!(slurm.submit(&jobs).await, ids);
    assert!(recording.asked()[1].args.contains(&"--array=0,2-3".into()));

    // A name that was refused does not harm the others.
    let (slurm, _) = replay(vec![
        ("scontrol", answer(0, fixture!("scontrol-config.out"), "")),
        ("sbatch", answer(1, "", fixture!("err-partition.err"))),
        ("sbatch", answer(0, "23\n", "")),
    ]);
    let mut jobs = numbered(42..45);
    jobs[1].ce = ce("nosuch");
    jobs[2].ce = ce("nosuch");
    jobs.swap(0, 2);
    let results = slurm.submit(&jobs).await;
    assert!(results[0].is_ok() != results[2].is_ok());
    assert_eq!(results[0].is_ok(), results[1].is_ok());
}

#[tokio::test]
async fn no_arrays_without_an_answer_or_where_there_are_none() {
    let (slurm, recording) = replay(vec![(
        "scontrol",
        answer(
            1,
            "",
            "scontrol: error: Unable to contact slurm controller\n",
        ),
    )]);
    for result in slurm.submit(&numbered(1..9)).await {
        assert!(matches!(result, Err(AdapterError::Unreachable(_))));
    }
    assert_eq!(recording.asked().len(), 1);

    let (slurm, _) = replay(vec![
        ("scontrol", answer(0, "MaxArraySize = 0\n", "")),
        ("sbatch", answer(0, "1\n", "")),
        ("sbatch", answer(0, "2\n", "")),
    ]);
    let ids = ["1", "2"].map(|id| Ok(id.to_owned()));
    assert_eq!(slurm.submit(&numbered(1..3)).await, ids);
}

#[tokio::test]
async fn members_of_arrays_are_told_apart() {
    let (slurm, recording) = replay(vec![
        ("squeue", answer(0, fixture!("squeue-array.out"), "")),
        ("squeue", answer(0, "", "")),
        ("sacct", answer(0, fixture!("sacct-array.out"), "")),
    ]);
    let known = ["21_0", "21_3", "21_6"].map(str::to_owned);
    let jobs = slurm.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 6);
    assert_eq!(*find(&jobs, "21_0"), BatchState::Running);
    assert_eq!(*find(&jobs, "21_6"), queued("Resources"));
    let name = |id: &str| {
        jobs.iter()
            .find(|job| job.batch_id == id)
            .map(|job| &*job.name)
    };
    assert_eq!(
        (name("21_0"), name("21_6")),
        (Some("fw-a-p42"), Some("fw-a-p48"))
    );

    let jobs = slurm.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 3, "only what was asked for");
    assert_eq!(*find(&jobs, "21_6"), ended("CANCELLED by 0"));
    assert_eq!(recording.asked()[2].args.last().unwrap(), "--jobs=21");
}

#[tokio::test]
async fn a_member_that_slurm_forgets_was_cancelled() {
    let (slurm, recording) = replay(vec![
        ("squeue", answer(0, fixture!("squeue-array.out"), "")),
        ("scancel", answer(0, "", "")),
        ("squeue", answer(0, "", "")),
        ("sacct", answer(1, "", fixture!("nodb-sacct.err"))),
    ]);
    let known = ["21_3", "21_5", "21_6"].map(str::to_owned);
    slurm.poll("fw-a-", &known).await.unwrap();
    slurm
        .cancel(&[known[1].clone(), known[2].clone(), "7".into()])
        .await
        .unwrap();
    assert_eq!(recording.asked()[1].args, ["7", "21_[5-6]"]);
    let jobs = slurm.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 2, "of 21_3 nothing is known: {jobs:?}");
    assert_eq!(*find(&jobs, "21_6"), ended("CANCELLED"));
    assert_eq!(jobs[0].name, "fw-a-p47");
}

#[tokio::test]
async fn jobs_of_other_accounts_are_handled_as_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut slurm, recording) = replay(vec![
        ("sbatch", answer(0, "5\n", "")),
        ("squeue", answer(0, "6|RUNNING|fw-b|None\n", "")),
        (
            "squeue",
            answer(0, "5|RUNNING|fw-a|None\n6|RUNNING|fw-b|None\n", ""),
        ),
        ("squeue", answer(0, "5|alice\n", "")),
        ("scancel", answer(0, "", "")),
        ("scancel", answer(0, "", "")),
    ]);
    slurm.accounts = Accounts::in_folder(&folder.path().join("new"));
    let mut hers = job();
    hers.run_as = Some("alice".into());
    assert_eq!(slurm.submit(&[hers]).await, [Ok("5".to_owned())]);
    // As after a restart.
    slurm.accounts = Accounts::in_folder(&folder.path().join("new"));
    assert_eq!(slurm.poll("fw-", &[]).await.unwrap().len(), 2);
    slurm.cancel(&["5".into(), "6".into()]).await.unwrap();
    let asked = recording.asked();
    let whom: Vec<_> = asked.iter().map(|it| it.run_as.as_deref()).collect();
    assert_eq!(whom, [Some("alice"), None, None, None, None, Some("alice")]);
    assert!(asked[2].args.contains(&"--user=alice".into()));
    assert_eq!(
        (&asked[4].args[0], &asked[5].args[0]),
        (&"6".into(), &"5".into())
    );
}

#[tokio::test]
async fn limits_are_held_against_submissions() {
    let (slurm, recording) = replay(published());
    let mut small = ce("short");
    small.account = Some("small".into());
    let mut narrow = small.clone();
    narrow.qos = Some("narrow".into());
    let mut stranger = ce("short");
    stranger.account = Some("nosuch".into());
    let mut kept_out = ce("spare");
    kept_out.account = Some("small".into());
    let spare = ce("spare");
    let ces = [
        small.clone(),
        narrow.clone(),
        stranger.clone(),
        kept_out.clone(),
        spare.clone(),
    ];
    let states = slurm.publish(&ces, Timestamp(0)).await.unwrap();
    let limits: Vec<_> = states
        .iter()
        .map(|state| {
            (
                state.walltime_max_s,
                state.job_cores_max,
                state.job_nodes_max,
                state.own_running_max,
                state.own_jobs_max,
            )
        })
        .collect();
    assert_eq!(limits[0], (Some(1200), Some(3), Some(1), Some(3), Some(5)));
    assert_eq!(limits[1], (Some(600), Some(2), Some(1), Some(2), Some(4)));
    // The partition's QoS holds for those who ask for none.
    assert_eq!(limits[4], (Some(600), Some(2), Some(1), Some(2), Some(4)));
    assert_eq!(states[4].node_cores, Some(3));

    let asked = recording.asked().len();
    let mut words = Vec::new();
    for (ce, cores, nodes, walltime_s) in [
        (&small, 1, 1, 1201),
        (&small, 4, 1, 60),
        (&small, 1, 2, 60),
        (&narrow, 3, 1, 60),
        (&narrow, 1, 1, 601),
        (&spare, 4, 1, 60),
        (&stranger, 1, 1, 60),
        (&kept_out, 1, 1, 60),
    ] {
        let mut job = job();
        job.ce = ce.clone();
        job.resources.cores = cores;
        job.nodes = nodes;
        job.walltime_s = walltime_s;
        match slurm.submit(&[job]).await.remove(0) {
            Err(AdapterError::Refused(text)) => words.push(text),
            other => panic!("{other:?}"),
        }
    }
    insta::assert_snapshot!(words.join("\n"));
    assert_eq!(recording.asked().len(), asked, "nobody was asked");
}

#[tokio::test]
async fn the_accounting_is_asked_from_time_to_time() {
    let mut answers = published();
    let again = published();
    answers.extend(again.into_iter().take(5));
    let (slurm, recording) = replay(answers);
    slurm.publish(&[ce("short")], Timestamp(0)).await.unwrap();
    slurm.publish(&[ce("short")], Timestamp(1)).await.unwrap();
    let asked = recording.asked();
    let sacctmgr = asked.iter().filter(|it| it.program == "sacctmgr").count();
    assert_eq!((sacctmgr, asked.len()), (2, 14));

    // Its absence does not close anything.
    let mut answers = published();
    answers.truncate(7);
    let away = || answer(1, "", "sacctmgr: error: Unable to contact slurmdbd\n");
    answers.extend([("sacctmgr", away()), ("sacctmgr", away())]);
    let (slurm, _) = replay(answers);
    let states = slurm.publish(&[ce("short")], Timestamp(0)).await.unwrap();
    assert_eq!(states[0].status, CeStatus::Production);
    assert_eq!(states[0].own_jobs_max, None);
}

#[tokio::test]
async fn only_nodes_that_are_there_are_avoided() {
    let mut answers = published();
    answers.push(("sbatch", answer(0, "5\n", "")));
    let (slurm, recording) = replay(answers);
    slurm.publish(&[ce("short")], Timestamp(0)).await.unwrap();
    let mut job = job();
    job.avoid = ["n2.example.org", "n3", "gone"].map(str::to_owned).into();
    job.walltime_s = 60;
    slurm.submit(&[job]).await.remove(0).unwrap();
    let args = &recording.asked().pop().unwrap().args;
    assert!(args.contains(&"--exclude=n2,n3".into()), "{args:?}");
}
