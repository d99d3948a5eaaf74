//! The adapter against recordings of a real cluster (`tests/fixtures/oar`).

use std::sync::Arc;

use fairway_model::{PilotId, Resources};

use super::*;
use crate::exec::recording::Recording;
use crate::exec::{ExecError, Output};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/oar/",
            $name
        ))
    };
}

mod jobs;
mod queues;

const WORK: &str = "/home/fairway/pilots";

fn ce(queue: &str) -> Ce {
    serde_json::from_value(serde_json::json!({"name": "ce", "queue": queue})).unwrap()
}

fn job() -> PilotJob {
    PilotJob {
        pilot: PilotId(7),
        ce: ce("default"),
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
        walltime_s: 3661,
        program: vec!["/opt/fairway/fairway-pilot".into(), "it's; $HOME".into()],
        stdin: "{\"secret\":\"s3cr3t\"}".into(),
    }
}

fn numbered(number: u32) -> PilotJob {
    PilotJob {
        name: format!("fw-0badcafe-p{number}"),
        ..job()
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

fn replay(answers: Answers) -> (Oar, Arc<Recording>) {
    let recording = Arc::new(Recording::new(answers));
    let settings = OarSettings::default();
    let mut front = cli::CommandLine::new(&settings, WORK.into()).unwrap();
    front.runner = Box::new(Arc::clone(&recording));
    let site: SiteName = "lyon".parse().unwrap();
    let oar = Oar::new(site, &settings, WORK.into(), Box::new(front)).unwrap();
    (oar, recording)
}

fn levels() -> Levels {
    Levels {
        node: "host".into(),
        core: "core".into(),
    }
}

fn options(job: &PilotJob) -> String {
    let submission = render::submission(job, &levels(), WORK).unwrap();
    let mut options = submission.own_options(WORK);
    options.extend(submission.options.iter().cloned());
    let lines: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    format!("{}\n{}", lines.join("\n"), submission.command(WORK))
}

#[test]
fn renders_a_submission() {
    let mut all = job();
    all.ce.account = Some("grid".into());
    all.ce.constraint = Some("cluster = 'graphene'".into());
    all.ce.types = vec!["besteffort".into()];
    all.ce.reservation = Some("4711".into());
    all.ce.options = vec!["--hold".into(), "--notify=mail:a@b".into()];
    all.nodes = 2;
    all.run_as = Some("alice".into());
    all.avoid = vec!["n1".into(), "n2.lyon.fr".into(), "'; --".into()];
    let mut whole = job();
    whole.ce.shape.whole_node = true;
    let mut gpus = job();
    gpus.resources.gpus = 3;
    gpus.ce.gpu_type = Some("A100".into());
    gpus.walltime_s = 90;
    let rendered: Vec<String> = [job(), all, whole, gpus].iter().map(options).collect();
    insta::assert_snapshot!(rendered.join("\n\n"));
}

#[test]
fn renders_scripts() {
    let mut several = job();
    several.nodes = 2;
    let scripts = [job(), several].map(|job| launch::script(&job).unwrap());
    insta::assert_snapshot!(scripts.join("\n\n"));
}

#[test]
fn nothing_in_a_script_ends_its_writing_early() {
    let mut job = job();
    job.stdin = "END_OF_BOOTSTRAP\nEND_OF_BOOTSTRAP_\n$(id)\n".into();
    let text = launch::place(
        WORK,
        &[("a=.pilot.1".into(), launch::script(&job).unwrap())],
    );
    let folder = tempfile::tempdir().unwrap();
    let text = text.replace(WORK, folder.path().to_str().unwrap());
    // The same shell as at a site; a file of that name is replaced, a link not followed.
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("a=.pilot.1")).unwrap();
    let mut shell = std::process::Command::new("sh")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
    let written = std::fs::read_to_string(folder.path().join("a=.pilot.1")).unwrap();
    assert_eq!(written, launch::script(&job).unwrap());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
}

#[test]
fn what_could_be_sql_or_an_option_is_refused() {
    let bad = ["", "-x", "it's", "a b", "a;b", "../a", "é", "a\nb"];
    for text in bad {
        let mut named = job();
        named.name = text.into();
        let mut in_queue = job();
        in_queue.ce.queue = Some(text.into());
        let mut for_account = job();
        for_account.ce.account = Some(text.into());
        let mut as_user = job();
        as_user.run_as = Some(text.into());
        let mut in_container = job();
        in_container.ce.reservation = Some(text.into());
        let mut typed = job();
        typed.ce.types = vec![text.into()];
        let mut with_option = job();
        with_option.ce.options = vec![text.into()];
        for job in [
            named,
            in_queue,
            for_account,
            as_user,
            in_container,
            typed,
            with_option,
        ] {
            if text == "../a" && !job.ce.types.is_empty() {
                continue;
            }
            let refusal = render::submission(&job, &levels(), WORK);
            assert!(matches!(refusal, Err(AdapterError::Refused(_))), "{job:?}");
        }
        assert!(
            text.is_empty() || render::named(text, 0).is_err(),
            "{text:?}"
        );
    }
    let mut again = job();
    again.ce.types = vec!["idempotent".into()];
    assert!(render::submission(&again, &levels(), WORK).is_err());
}

#[test]
fn settings_that_would_be_more_than_settings_are_refused() {
    let site: SiteName = "lyon".parse().unwrap();
    for path in ["", "/", "relative", "/a b", "/a'b", "/a$b", "/%jobid%"] {
        let settings = OarSettings {
            work_dir: Some(path.into()),
            ..OarSettings::default()
        };
        assert!(open(site.clone(), &settings).is_err(), "{path:?}");
    }
    for (node, fine) in [
        ("host", true),
        ("cluster=1/switch=1/host", true),
        ("cluster/host", false),
        ("host=1", false),
        ("host,walltime=1", false),
        ("", false),
    ] {
        let levels = Levels {
            node: node.into(),
            core: "core".into(),
        };
        assert_eq!(levels.check().is_ok(), fine, "{node:?}");
    }
}

#[test]
fn names_of_array_members_are_found_again() {
    assert_eq!(render::member_name("fw-p7", 1).as_deref(), Some("fw-p7"));
    assert_eq!(render::member_name("fw-p99", 2).as_deref(), Some("fw-p100"));
    assert_eq!(render::member_name("fw-p", 1).as_deref(), Some("fw-p"));
    assert_eq!(render::member_name("fw-p", 2), None);
    assert_eq!(render::member_name("fw-p07", 2), None);
    assert_eq!(render::member_name("fw-p18446744073709551615", 2), None);
}

#[tokio::test]
async fn pilots_in_a_row_are_one_array() {
    let (oar, recording) = replay(vec![
        ("oarstat", answer(0, "{}\n", "")),
        ("sh", answer(0, "", "")),
        ("oarsub", answer(0, fixture!("sub-array.out"), "")),
        ("sh", answer(0, "", "")),
        ("oarsub", answer(0, fixture!("sub-plain.out"), "")),
    ]);
    let mut other = numbered(10);
    other.walltime_s = 60;
    let mut bad = numbered(8);
    bad.name = "not a name".into();
    let jobs = [numbered(7), bad, numbered(8), numbered(9), other];
    let results = oar.submit(&jobs).await;
    let ids: Vec<Option<&str>> = results
        .iter()
        .map(|result| result.as_ref().ok().map(String::as_str))
        .collect();
    assert_eq!(ids, [Some("9"), None, Some("10"), Some("11"), Some("2")]);
    let asked = recording.asked();
    let array = asked
        .iter()
        .find(|asked| asked.program == "oarsub")
        .unwrap();
    assert!(array.args.contains(&"--array=3".to_owned()), "{array:?}");
    for asked in &asked {
        assert!(!format!("{asked:?} {:?}", asked.env).contains("s3cr3t"));
        assert_eq!(asked.stdin.contains("s3cr3t"), asked.program == "sh");
    }
    insta::assert_snapshot!(asked[1].stdin);
}

#[tokio::test]
async fn refusals_carry_the_sites_words() {
    let cases = [
        (248, fixture!("err-queue.out"), fixture!("err-queue.err")),
        (254, "", fixture!("err-admission-queue.err")),
        (
            8,
            fixture!("err-resources.out"),
            fixture!("err-resources.err"),
        ),
        (
            8,
            fixture!("err-name-quote.out"),
            fixture!("err-name-quote.err"),
        ),
        (
            8,
            fixture!("err-property-sql.out"),
            fixture!("err-property-sql.err"),
        ),
        (254, fixture!("err-type.out"), fixture!("err-type.err")),
        (1, fixture!("err-option.out"), fixture!("err-option.err")),
        (255, "", ""),
    ];
    let mut words = Vec::new();
    for (code, stdout, stderr) in cases {
        let (oar, recording) = replay(vec![
            ("oarstat", answer(0, "{}\n", "")),
            ("sh", answer(0, "", "")),
            ("oarsub", answer(code, stdout, stderr)),
            ("sh", answer(0, "", "")),
        ]);
        match oar.submit(&[job()]).await.remove(0) {
            Err(AdapterError::Refused(text)) => words.push(text),
            other => panic!("{other:?}"),
        }
        let last = recording.asked().pop().unwrap();
        assert_eq!(
            last.stdin,
            format!("cd '{WORK}' && rm -f -- 'fw-0badcafe-p7=.pilot.1'\n")
        );
    }
    insta::assert_snapshot!(words.join("\n"));
}

#[tokio::test]
async fn a_reservation_that_is_refused_is_withdrawn() {
    let (oar, recording) = replay(vec![
        ("oarstat", answer(0, "{}\n", "")),
        ("date", answer(0, "2026-11-22 12:46:56\n", "")),
        ("sh", answer(0, "", "")),
        ("oarsub", answer(10, fixture!("err-resa-conflict.out"), "")),
        ("oardel", answer(0, "", "")),
        ("sh", answer(0, "", "")),
    ]);
    let mut reserved = job();
    reserved.reserve_at = Some(Timestamp::from_secs(1_795_351_616));
    match oar.submit(&[reserved]).await.remove(0) {
        Err(AdapterError::Refused(words)) => assert_eq!(
            words,
            "Reservation not valid --> KO (This reservation could run at 2026-11-22 12:56:58)"
        ),
        other => panic!("{other:?}"),
    }
    let asked = recording.asked();
    let submitted = &asked[3].args;
    assert!(submitted.contains(&"--reservation=2026-11-22 12:46:56".to_owned()));
    assert_eq!(asked[4].args, ["36"]);
}

#[tokio::test]
async fn without_a_server_nothing_is_left_to_start_later() {
    let (oar, recording) = replay(vec![
        ("oarstat", answer(0, "{}\n", "")),
        ("sh", answer(0, "", "")),
        (
            "oarsub",
            answer(9, fixture!("down-oarsub.out"), fixture!("down-oarsub.err")),
        ),
        ("oardel", answer(2, "", fixture!("down-oardel.err"))),
    ]);
    let error = oar.submit(&[job()]).await.remove(0).unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    assert_eq!(recording.asked()[3].args, ["51"]);
}

#[tokio::test]
async fn without_a_database_nothing_is_submitted() {
    let away = || answer(25, "", fixture!("dbdown-oarstat.err"));
    let (oar, recording) = replay(vec![("oarstat", away())]);
    let results = oar.submit(&[job(), numbered(20), numbered(30)]).await;
    assert_eq!(results.len(), 3);
    for result in results {
        assert!(
            matches!(result, Err(AdapterError::Unreachable(_))),
            "{result:?}"
        );
    }
    assert_eq!(recording.asked().len(), 1);

    for known in [vec![], vec!["5".to_owned()]] {
        let (oar, _) = replay(vec![("oarstat", away())]);
        let error = oar.poll("fw-", &known).await.unwrap_err();
        assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    }
    let (oar, _) = replay(vec![("oarstat", away())]);
    let error = oar.cancel(&["5".to_owned()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_submission_that_hangs_is_abandoned_with_its_script() {
    let timeout = ExecError::Timeout {
        program: "oarsub".into(),
        limit: cli::COMMAND_TIME_MAX,
    };
    let (oar, recording) = replay(vec![
        ("oarstat", answer(0, "{}\n", "")),
        ("sh", answer(0, "", "")),
        ("oarsub", Err(timeout)),
    ]);
    let error = oar.submit(&[job()]).await.remove(0).unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    // It may still happen, and then needs what is in the file.
    assert_eq!(recording.asked().len(), 3);
}

#[tokio::test]
async fn answers_without_the_ids_are_unexpected() {
    for stdout in [
        "",
        "OAR_JOB_ID=-5\n",
        "OAR_JOB_ID=\n",
        "OAR_JOB_ID=1\nOAR_JOB_ID=2\n",
    ] {
        let (oar, _) = replay(vec![
            ("oarstat", answer(0, "{}\n", "")),
            ("sh", answer(0, "", "")),
            ("oarsub", answer(0, stdout, "")),
        ]);
        let result = oar.submit(&[job()]).await.remove(0);
        assert!(
            matches!(result, Err(AdapterError::Unexpected(_))),
            "{result:?}"
        );
    }
}

#[test]
fn tells_states_as_they_are() {
    let recordings = [
        fixture!("job-terminated-exit3.out"),
        fixture!("job-array-done.out"),
        fixture!("job-signalled.out"),
        fixture!("job-walltime-killed.out"),
        fixture!("job-deleted-running.out"),
        fixture!("job-deleted-waiting.out"),
        fixture!("job-besteffort-preempted.out"),
        fixture!("job-job-nodir.out"),
        fixture!("job-job-badstdout.out"),
        fixture!("job-job-resa-refused.out"),
        fixture!("job-dir-quote.out"),
        fixture!("job-quota-never.out"),
        fixture!("job-quota-wait.out"),
        fixture!("job-hold.out"),
        fixture!("job-resa-waiting.out"),
        fixture!("job-suspended.out"),
        fixture!("job-running.out"),
    ];
    let mut told = Vec::new();
    for recording in recordings {
        for job in parse::jobs("oarstat", parse::rows("oarstat", recording).unwrap()).unwrap() {
            told.push(format!("{:?}", job.batch_job()));
        }
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn bytes_that_are_no_text_hide_nobody() {
    let bytes = include_bytes!("../../tests/fixtures/oar/job-latin1.out");
    let text = String::from_utf8_lossy(bytes);
    let jobs = parse::jobs("oarstat", parse::rows("oarstat", &text).unwrap()).unwrap();
    assert_eq!(jobs[0].job_id, 40);
}

#[tokio::test]
async fn garbage_is_told_as_such_and_never_panics() {
    let garbage = [
        "[]",
        "{\"1\": 3}",
        "{\"1\": {\"Job_Id\": {}, \"state\": [], \"array_index\": -1, \"name\": null}}",
        "{\"1\": {\"Job_Id\": 9223372036854775807, \"array_index\": 9223372036854775807, \
          \"name\": \"fw-p1\", \"state\": \"Error\", \"events\": [1, {}, null]}}",
        "DBD::Pg::st execute failed",
        "\u{fffd}\u{0}{{{",
    ];
    for text in garbage {
        let (oar, _) = replay(vec![
            ("oarstat", answer(0, text, "")),
            ("oarstat", answer(0, text, "")),
            ("sh", answer(0, "", "")),
        ]);
        drop(oar.poll("fw-", &["1".to_owned()]).await);
        drop(parse::submitted_ids(text, 1));
        drop(parse::version(text));
        drop(parse::clean(text, None));
        let (oar, _) = replay(vec![
            ("oarstat", answer(0, text, "")),
            ("oarstat", answer(0, text, "")),
            ("oarnodes", answer(0, text, "")),
            ("oarnodes", answer(0, text, "")),
            ("oarnodes", answer(0, text, "")),
        ]);
        drop(oar.publish(&[ce("default")], Timestamp(0)).await);
    }
    for commands in [
        "",
        "/",
        WORK,
        "/home/fairway/pilots/=.pilot.$OAR_ARRAY_INDEX",
    ] {
        assert_eq!(render::script_of(commands, 1, WORK), None);
    }
}

#[test]
fn conditions_stay_short() {
    let ids: Vec<u32> = (0..2000).map(|id| id * 2).collect();
    let conditions = render::with_ids(&ids, 1000);
    assert!(conditions.iter().all(|text| text.len() <= 1000));
    let count: usize = conditions
        .iter()
        .map(|text| text.matches("BETWEEN").count())
        .sum();
    assert_eq!(count, 2000);
    assert_eq!(
        render::with_ids(&[3, 1, 2, 2], 1000),
        ["job_id BETWEEN 1 AND 3"]
    );
    assert_eq!(render::with_ids(&[], 1000), [""; 0]);
}
