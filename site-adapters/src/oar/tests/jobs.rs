//! What becomes of jobs: polls and deletions.

use super::*;

/// A row as `oarstat -J` has it.
pub(super) fn row(id: u32, name: &str, index: u32, state: &str, exit_code: Option<u32>) -> Value {
    serde_json::json!({
        "Job_Id": id, "name": name, "array_index": index, "state": state, "message": "",
        "queue": "default", "exit_code": exit_code, "assigned_resources": [],
        "command": format!("{WORK}/{name}=alice.pilot.$OAR_ARRAY_INDEX"),
    })
}

fn table(rows: &[Value]) -> String {
    let rows = rows
        .iter()
        .map(|row| (row["Job_Id"].to_string(), row.clone()));
    Value::Object(rows.collect()).to_string()
}

#[tokio::test]
async fn polls_in_one_call_and_one_more_for_what_is_over() {
    let listed = table(&[
        row(3, "fw-a-p9", 1, "Running", None),
        row(4, "fw-a-p9", 2, "Waiting", None),
        row(5, "fw-a-p9", 3, "Terminated", None),
        row(6, "fw-a-p12", 1, "Error", None),
        row(99, "somebody", 1, "Running", None),
    ]);
    let ends = table(&[
        row(5, "fw-a-p9", 3, "Terminated", Some(256)),
        row(6, "fw-a-p12", 1, "Error", None),
    ]);
    let (oar, recording) = replay(vec![
        ("oarstat", answer(0, &listed, "")),
        ("oarstat", answer(0, &ends, "")),
        ("sh", answer(0, "", "")),
        ("oarstat", answer(0, &listed, "")),
        ("oarstat", answer(0, &ends, "")),
    ]);
    let known = ["5", "6", "4", "8", "--help", "99999999999"].map(str::to_owned);
    let jobs = oar.poll("fw-a-p10", &known).await.unwrap();
    let told: Vec<String> = jobs
        .iter()
        .map(|job| format!("{} {} {:?}", job.batch_id, job.name, job.state))
        .collect();
    // The prefix fits one, the others are known.
    assert_eq!(
        told,
        [
            r#"4 fw-a-p10 Queued { reason: "Waiting" }"#,
            r#"5 fw-a-p11 Ended { detail: "Terminated, exit code 1" }"#,
            r#"6 fw-a-p12 Ended { detail: "Error" }"#,
        ]
    );
    // What is left of the sixth is removed once, by whom it belongs to.
    oar.poll("fw-a-p10", &known).await.unwrap();
    let asked = recording.asked();
    assert_eq!(asked[2].run_as.as_deref(), Some("alice"));
    assert!(asked[2].stdin.contains("'fw-a-p12=alice.pilot.1'"));
    let condition = &asked[0].args[1];
    assert!(
        condition.starts_with("(job_name LIKE 'fw-a-p%' AND (state NOT IN"),
        "{condition}"
    );
    assert!(condition.ends_with(
        " OR job_id BETWEEN 4 AND 6 OR job_id BETWEEN 8 AND 8 OR \
         job_id = (SELECT MAX(job_id) FROM jobs)"
    ));
    assert_eq!(
        asked[1].args,
        ["-f", "--sql", "job_id BETWEEN 5 AND 6", "-J"]
    );
}

#[tokio::test]
async fn no_answer_is_not_an_empty_one() {
    // What `oarstat` says if there is no job at all, and also if the query failed.
    let (oar, _) = replay(vec![("oarstat", answer(0, "", ""))]);
    assert_eq!(oar.poll("fw-", &[]).await, Ok(vec![]));
    let (oar, _) = replay(vec![("oarstat", answer(0, "", ""))]);
    let error = oar.poll("fw-", &["5".to_owned()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_job_is_warned_before_it_is_deleted() {
    let running = table(&[
        row(3, "fw-p9", 1, "Running", None),
        row(4, "fw-p9", 2, "Waiting", None),
        row(5, "fw-p9", 3, "Error", None),
    ]);
    let ended = table(&[row(3, "fw-p9", 1, "Terminated", None)]);
    let (oar, recording) = replay(vec![
        ("oarstat", answer(0, &running, "")),
        ("oardel", answer(0, "", "")),
        ("oarstat", answer(0, &running, "")),
        ("oarstat", answer(0, &ended, "")),
        (
            "oardel",
            answer(6, "", fixture!("err-oardel-already-killed.err")),
        ),
        ("sh", answer(0, "", "")),
    ]);
    let ids = ["3", "4", "5", "x"].map(str::to_owned);
    oar.cancel(&ids).await.unwrap();
    let asked = recording.asked();
    assert_eq!(asked[1].args, ["-s", "SIGTERM", "3"]);
    assert_eq!(asked[4].args, ["3", "4"]);
    assert_eq!(asked[4].run_as.as_deref(), Some("alice"));
    assert!(asked[5].stdin.contains("'fw-p9=alice.pilot.2'"));
    assert!(!asked[5].stdin.contains("pilot.1'"), "it has started");

    let (oar, recording) = replay(vec![]);
    oar.cancel(&["--help".to_owned(), String::new()])
        .await
        .unwrap();
    assert!(recording.asked().is_empty());
}

#[tokio::test]
async fn a_deletion_that_nobody_hears_is_unreachable() {
    let (oar, _) = replay(vec![
        (
            "oarstat",
            answer(0, &table(&[row(4, "fw-p9", 2, "Waiting", None)]), ""),
        ),
        ("oardel", answer(2, "", fixture!("down-oardel.err"))),
    ]);
    let error = oar.cancel(&["4".to_owned()]).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
}
