//! The adapter against recordings of slurmrestd 22.05 (`tests/fixtures/slurm/rest`), and against
//! the shapes that later releases document.

use std::collections::VecDeque;
use std::sync::Arc;

use fairway_model::{CeStatus, PilotId};

use super::*;
use crate::BatchState;
use crate::slurm::tests::{ce, ended, find, job, queued};

macro_rules! recorded {
    ($name:literal) => {
        read(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/slurm/rest/",
            $name,
            ".http"
        )))
    };
}

/// An answer as `curl -i` shows it.
fn read(recorded: &str) -> Answer {
    let (head, body) = recorded.split_once("\n\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        body: body.into(),
    }
}

fn ok(body: &str) -> Answer {
    Answer {
        status: 200,
        body: body.into(),
    }
}

/// Answers in order, and remembers what was asked for.
#[derive(Default)]
struct Recording {
    answers: Mutex<VecDeque<Result<Answer, AdapterError>>>,
    asked: Mutex<Vec<Call>>,
}

impl Recording {
    fn asked(&self) -> Vec<Call> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Transport for Arc<Recording> {
    async fn call(&self, call: &Call) -> Result<Answer, AdapterError> {
        self.asked.lock().unwrap().push(call.clone());
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| panic!("no recorded answer for {call:?}"))
    }
}

/// A cluster that spoke v0.0.`number` when it was asked.
fn replay(number: u32, answers: Vec<Answer>) -> (Rest, Arc<Recording>) {
    let recording = Arc::new(Recording::default());
    *recording.answers.lock().unwrap() = answers.into_iter().map(Ok).collect();
    let version = (number > 0).then_some(Version {
        number,
        has_accounting: true,
    });
    let rest = Rest {
        site: "lyon".parse().unwrap(),
        user: "root".into(),
        place: Place::default(),
        transport: Box::new(Arc::clone(&recording)),
        version: Mutex::new(version),
        known: Mutex::default(),
        members: Members::default(),
    };
    (rest, recording)
}

fn numbered(numbers: impl IntoIterator<Item = u64>) -> Vec<PilotJob> {
    let job = |number| PilotJob {
        pilot: PilotId(number),
        name: format!("fw-a-p{number}"),
        ..job()
    };
    numbers.into_iter().map(job).collect()
}

fn rendered(version: u32, job: &PilotJob) -> String {
    let version = Version {
        number: version,
        has_accounting: false,
    };
    let rules = bulk::Rules {
        index_end: 0,
        contiguous: true,
    };
    let batches = bulk::batches(std::slice::from_ref(job), rules);
    let body = render::submission(&batches[0], &Place::default(), version).unwrap();
    serde_json::to_string_pretty(&body).unwrap()
}

#[test]
fn renders_submissions_for_old_and_new_releases() {
    let mut job = job();
    job.ce.account = Some("grid".into());
    job.ce.constraint = Some("intel&ib".into());
    job.ce.gpu_type = Some("a100".into());
    job.ce.shape.whole_node = true;
    job.resources.gpus = 2;
    job.nodes = 2;
    job.avoid = vec!["n3".into(), "n4".into()];
    for version in [38, 39, 44] {
        insta::assert_snapshot!(format!("submission_v{version}"), rendered(version, &job));
    }
}

#[tokio::test]
async fn speaks_the_newest_version_that_both_know() {
    let (rest, recording) = replay(0, vec![recorded!("openapi"), recorded!("jobs")]);
    rest.poll("fw-", &[]).await.unwrap();
    let asked = recording.asked();
    let paths: Vec<&str> = asked.iter().map(|call| call.path.as_str()).collect();
    assert_eq!(paths, ["/openapi/v3", "/slurm/v0.0.38/jobs"]);

    let spoken = |paths: &[&str]| {
        let paths: Vec<String> = paths
            .iter()
            .map(|path| format!("\"{path}\":{{}}"))
            .collect();
        parse::version(&ok(&format!("{{\"paths\":{{{}}}}}", paths.join(","))))
    };
    let version = spoken(&[
        "/slurm/v0.0.43/jobs/",
        "/slurm/v0.0.45/jobs/",
        "/slurm/v0.0.46/jobs/",
        "/slurmdb/v0.0.46/jobs/",
    ]);
    assert_eq!(
        version,
        Ok(Version {
            number: 45,
            has_accounting: false
        })
    );
    let later = spoken(&[
        "/slurm/v0.0.52/jobs/",
        "/slurm/v0.0.51/jobs/",
        "/slurmdb/v0.0.51/x",
    ]);
    assert_eq!(
        later,
        Ok(Version {
            number: 51,
            has_accounting: true
        })
    );
    assert!(matches!(
        spoken(&["/slurm/v0.0.36/jobs"]),
        Err(AdapterError::Unexpected(_))
    ));
}

#[tokio::test]
async fn a_version_that_is_gone_is_looked_up_again() {
    let (rest, recording) = replay(
        41,
        vec![
            recorded!("notfound"),
            recorded!("openapi"),
            recorded!("jobs"),
        ],
    );
    let error = rest.poll("fw-", &[]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    rest.poll("fw-", &[]).await.unwrap();
    assert_eq!(recording.asked()[2].path, "/slurm/v0.0.38/jobs");
}

#[tokio::test]
async fn submits_and_tells_refusals_from_absence() {
    let cases = [
        (recorded!("submit"), "45"),
        (
            recorded!("submit-badpart"),
            "refused: Invalid partition name specified",
        ),
        (recorded!("submit-unknownfield"), "refused: Unknown key"),
        (recorded!("wronguser"), "cannot be reached: Zero Bytes"),
        (
            recorded!("noauth"),
            "cannot be reached: slurmrestd does not accept the token",
        ),
        (
            Answer {
                status: 502,
                body: b"<html>\nBad Gateway".to_vec(),
            },
            "cannot be reached: HTTP 502: <html>",
        ),
        (
            // Held by the site's plugin: accepted, with words.
            ok("{\"errors\":[{\"error\":\"held\"}],\"job_id\":7,\"step_id\":\"BATCH\"}"),
            "7",
        ),
        (
            ok("{\"errors\":[],\"result\":{\"job_id\":{\"set\":true,\"number\":8}}}"),
            "8",
        ),
    ];
    for (answer, words) in cases {
        let (rest, _) = replay(38, vec![answer]);
        let told = match rest.submit(&[job()]).await.remove(0) {
            Ok(id) => id,
            Err(error) => error.to_string(),
        };
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn the_secret_is_in_no_error_and_no_log() {
    let (rest, recording) = replay(44, vec![recorded!("submit-badpart")]);
    let result = rest.submit(&[job()]).await.remove(0);
    let call = recording.asked().remove(0);
    assert!(call.body.as_ref().unwrap().to_string().contains("s3cr3t"));
    assert!(!format!("{call:?} {result:?}").contains("s3cr3t"));
}

#[tokio::test]
async fn equal_pilots_are_one_array_without_gaps() {
    let (rest, recording) = replay(38, vec![recorded!("submit"), recorded!("submit")]);
    let results = rest.submit(&numbered([1, 2, 3, 9])).await;
    let ids = ["45_0", "45_1", "45_2", "45"].map(|id| Ok(id.to_owned()));
    assert_eq!(results, ids);
    let body = recording.asked()[0].body.clone().unwrap();
    assert_eq!(body["job"]["array"], "0-2");

    // A site may let arrays be shorter than Slurm does by default, or not let them be.
    let refused = || Answer {
        status: 500,
        body: b"{\"errors\":[{\"error\":\"Invalid job array specification\"}]}".to_vec(),
    };
    let (rest, _) = replay(
        38,
        vec![refused(), recorded!("submit"), recorded!("submit")],
    );
    let results = rest.submit(&numbered([1, 2])).await;
    assert_eq!(results, [Ok("45".to_owned()), Ok("45".to_owned())]);
}

#[tokio::test]
async fn what_only_commands_can_do_is_refused() {
    let mut options = job();
    options.ce.options = vec!["--comment=x".into()];
    let mut another = job();
    another.run_as = Some("alice".into());
    let mut reserved = job();
    reserved.reserve_at = Some(Timestamp(1));
    let (rest, recording) = replay(44, vec![]);
    for result in rest.submit(&[options, another, reserved]).await {
        assert!(
            matches!(result, Err(AdapterError::Refused(_))),
            "{result:?}"
        );
    }
    assert!(recording.asked().is_empty());
}

#[tokio::test]
async fn polls_all_jobs_at_once() {
    let (rest, _) = replay(38, vec![recorded!("jobs")]);
    let jobs = rest.poll("fw-a-", &["158_3".into()]).await.unwrap();
    assert_eq!(jobs.len(), 7, "{jobs:?}");
    assert_eq!(*find(&jobs, "157"), ended("FAILED, exit code 3"));
    assert_eq!(*find(&jobs, "158_0"), BatchState::Running);
    let waiting = jobs.iter().find(|job| job.batch_id == "158_6").unwrap();
    assert_eq!(waiting.name, "fw-a-p48");
    assert!(matches!(waiting.state, BatchState::Queued { .. }));

    let (rest, _) = replay(38, vec![recorded!("jobs")]);
    assert_eq!(rest.poll("fw-nobody-", &[]).await, Ok(vec![]));
}

/// As from 23.11 on: states are lists, numbers and exit codes objects.
const NEWER_JOBS: &str = r#"{
  "jobs": [
    {"job_id": 1, "name": "fw-a-p1", "user_name": "root", "job_state": ["RUNNING"],
     "state_reason": "None", "array_job_id": {"set": true, "infinite": false, "number": 0},
     "array_task_id": {"set": false, "infinite": false, "number": 0}},
    {"job_id": 2, "name": "fw-a-p2", "user_name": "root", "job_state": ["COMPLETED", "COMPLETING"]},
    {"job_id": 3, "name": "fw-a-p3", "user_name": "root", "job_state": ["FAILED"],
     "state_reason": "NonZeroExitCode",
     "exit_code": {"status": ["ERROR"], "return_code": {"set": true, "infinite": false, "number": 4},
                   "signal": {"id": {"set": false, "infinite": false, "number": 0}, "name": ""}}},
    {"job_id": 4, "name": "fw-a-p4", "user_name": "mallory", "job_state": ["RUNNING"]},
    {"job_id": 6, "name": "fw-a-p10", "user_name": "root", "job_state": ["PENDING"],
     "state_reason": "Priority", "array_job_id": {"set": true, "infinite": false, "number": 6},
     "array_task_id": {"set": false, "infinite": false, "number": 0},
     "array_task_string": "1,3,5,7,1..."},
    {"job_id": 7, "name": "fw-a-p10", "user_name": "root", "job_state": ["CANCELLED"],
     "state_reason": "None", "array_job_id": {"set": true, "infinite": false, "number": 6},
     "array_task_id": {"set": true, "infinite": false, "number": 0},
     "exit_code": {"status": ["SIGNALED"], "return_code": {"set": false, "number": 0},
                   "signal": {"id": {"set": true, "number": 15}, "name": "SIGTERM"}}}
  ],
  "last_update": {"set": true, "infinite": false, "number": 1},
  "meta": {"slurm": {"release": "24.11.1"}}, "errors": [], "warnings": []
}"#;

#[tokio::test]
async fn reads_jobs_of_later_releases() {
    let (rest, _) = replay(42, vec![ok(NEWER_JOBS)]);
    // What the text of the waiting array was cut off from is known to be in it.
    let known = ["6_11", "6_19"].map(str::to_owned);
    let jobs = rest.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 10, "{jobs:?}");
    assert_eq!(*find(&jobs, "1"), BatchState::Running);
    assert_eq!(
        *find(&jobs, "2"),
        BatchState::Running,
        "COMPLETING is not over"
    );
    assert_eq!(*find(&jobs, "3"), ended("FAILED, exit code 4"));
    assert_eq!(*find(&jobs, "6_0"), ended("CANCELLED, signal 15"));
    assert_eq!(*find(&jobs, "6_7"), queued("Priority"));
    assert_eq!(*find(&jobs, "6_19"), queued("Priority"));
    assert!(
        jobs.iter()
            .all(|job| job.batch_id != "4" && job.batch_id != "6_1...")
    );
    assert_eq!(
        jobs.iter().find(|job| job.batch_id == "6_19").unwrap().name,
        "fw-a-p29"
    );
}

#[tokio::test]
async fn an_empty_list_with_errors_is_no_answer() {
    let quiet = ok("{\"jobs\":[],\"errors\":[{\"error\":\"Unable to contact slurm controller\"}]}");
    for answer in [recorded!("badtoken"), quiet] {
        let (rest, _) = replay(38, vec![answer]);
        let error = rest.poll("fw-", &["5".into()]).await.unwrap_err();
        assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    }
    let (rest, _) = replay(38, vec![ok("{\"pings\":[]}")]);
    let error = rest.poll("fw-", &[]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unexpected(_)), "{error}");
}

#[tokio::test]
async fn the_accounting_knows_what_the_controller_has_forgotten() {
    let nothing = || ok("{\"jobs\":[],\"errors\":[]}");
    let (rest, recording) = replay(
        38,
        vec![
            nothing(),
            recorded!("past-array"),
            recorded!("past-unknown"),
        ],
    );
    let known = ["21_0", "21_5", "999999", "no id"].map(str::to_owned);
    let jobs = rest.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert_eq!(*find(&jobs, "21_0"), ended("CANCELLED, signal 15"));
    assert_eq!(*find(&jobs, "21_5"), ended("CANCELLED"));
    assert_eq!(recording.asked()[1].path, "/slurmdb/v0.0.38/job/21");

    let newer = r#"{"jobs": [{"job_id": 5, "name": "fw-a-p5",
        "array": {"job_id": 0, "task_id": {"set": false, "number": 0}, "task": ""},
        "state": {"current": ["TIMEOUT"], "reason": "TimeLimit"},
        "exit_code": {"status": ["SUCCESS"], "return_code": {"set": true, "number": 0},
                      "signal": {"id": {"set": false, "number": 0}, "name": ""}}}],
        "errors": []}"#;
    let (rest, _) = replay(42, vec![nothing(), ok(newer)]);
    let jobs = rest.poll("fw-a-", &["5".into()]).await.unwrap();
    assert_eq!(*find(&jobs, "5"), ended("TIMEOUT"));
}

#[tokio::test]
async fn cancels_one_by_one_and_what_is_gone_is_no_error() {
    let (rest, recording) = replay(38, vec![recorded!("delete"), recorded!("delete-unknown")]);
    rest.cancel(&["45_3".into(), "999999".into(), "../jobs".into()])
        .await
        .unwrap();
    let asked = recording.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(format!("{:?}", asked[0]), "Delete /slurm/v0.0.38/job/45_3");

    let denied = Answer {
        status: 500,
        body: b"{\"errors\":[{\"error\":\"Access/permission denied\",\"error_number\":2002}]}"
            .to_vec(),
    };
    let (rest, _) = replay(38, vec![denied]);
    let error = rest.cancel(&["5".into()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Refused(_)), "{error}");
}

#[tokio::test]
async fn publishes_partitions_with_their_limits() {
    let (rest, _) = replay(
        38,
        vec![
            recorded!("partitions"),
            recorded!("nodes"),
            recorded!("jobs"),
            recorded!("associations"),
            recorded!("qos"),
        ],
    );
    let mut small = ce("short");
    small.account = Some("small".into());
    let mut narrow = small.clone();
    narrow.qos = Some("narrow".into());
    let ces = [ce("short"), small, narrow, ce("pilot"), ce("nosuch")];
    let states = rest.publish(&ces, Timestamp(0)).await.unwrap();
    insta::assert_json_snapshot!(states);
}

/// As from 23.02 on: what belongs together is grouped.
#[tokio::test]
async fn reads_partitions_and_nodes_of_later_releases() {
    let partitions = r#"{"partitions": [{
        "name": "batch", "partition": {"state": ["UP"]},
        "accounts": {"allowed": "", "deny": "guests"},
        "qos": {"allowed": "normal,long", "deny": "", "assigned": "part"},
        "maximums": {"cpus_per_node": {"set": true, "infinite": false, "number": 48},
                     "nodes": {"set": true, "infinite": false, "number": 8},
                     "time": {"set": true, "infinite": false, "number": 60}}},
        {"name": "free", "partition": {"state": ["DRAIN"]},
         "maximums": {"time": {"set": false, "infinite": true, "number": 0}}}],
        "meta": {"slurm": {"release": "24.11.1"}}, "errors": []}"#;
    let node = |name: &str, state: &str| {
        format!(
            r#"{{"name": "{name}", "state": {state}, "cpus": 64, "alloc_cpus": 16,
                "real_memory": 256000, "features": ["ib", "amd"], "gres": "gpu:a100:4(S:0-1)",
                "partitions": ["batch"], "architecture": "x86_64", "reason": "",
                "operating_system": "Linux 5.14.0 #1 SMP"}}"#
        )
    };
    let nodes = format!(
        r#"{{"nodes": [{}, {}, {}], "errors": []}}"#,
        node("a", r#"["MIXED"]"#),
        node("b", r#"["MIXED", "DRAIN"]"#),
        node("c", r#"["IDLE", "MAINTENANCE", "RESERVED"]"#)
    );
    let (rest, _) = replay(
        42,
        vec![
            ok(partitions),
            ok(&nodes),
            ok(NEWER_JOBS),
            recorded!("noauth"),
            recorded!("noauth"),
        ],
    );
    let states = rest
        .publish(&[ce("batch"), ce("free")], Timestamp(0))
        .await
        .unwrap();
    let batch = &states[0];
    assert_eq!(
        (batch.status, &*batch.lrms.1),
        (CeStatus::Production, "24.11.1")
    );
    assert_eq!(
        (batch.walltime_max_s, batch.job_nodes_max),
        (Some(3600), Some(8))
    );
    assert_eq!((batch.node_cores, batch.gpus_total), (Some(48), Some(12)));
    assert_eq!(
        (batch.cores_free, batch.cores_used, batch.cores_offline),
        (Some(48), Some(48), Some(96))
    );
    assert_eq!(
        (batch.nodes_total, batch.nodes_free, batch.nodes_offline),
        (Some(3), Some(0), Some(2))
    );
    assert_eq!(batch.features, ["amd", "ib"]);
    assert_eq!(states[1].status, CeStatus::Draining);
    assert_eq!(states[1].walltime_max_s, None);
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let rest = |url: &str, user: Option<&str>, secret: bool| RestSettings {
        url: url.into(),
        user: user.map(str::to_owned),
        secret: secret.then(|| fairway_model::SecretRef::Env("NO_SUCH_VARIABLE".into())),
        ca: None,
    };
    let open =
        |rest: &RestSettings| Rest::new("lyon".parse().unwrap(), &SlurmSettings::default(), rest);
    assert!(open(&rest("http://127.0.0.1:6820", Some("pilots"), true)).is_ok());
    for (url, user, secret) in [
        ("127.0.0.1:6820", Some("pilots"), true),
        ("unix:///run/slurmrestd", Some("pilots"), true),
        ("http://127.0.0.1:6820", None, true),
        ("http://127.0.0.1:6820", Some("a b"), true),
        ("http://127.0.0.1:6820", Some("pilots"), false),
    ] {
        let refused = open(&rest(url, user, secret)).err();
        assert!(
            matches!(refused, Some(AdapterError::Refused(_))),
            "{url} {user:?}"
        );
    }
}
