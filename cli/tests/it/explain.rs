//! What a task waits for, when it will start, and what would be if.

use fairway_api::public::Explanation;
use fairway_model::{SiteMode, TaskState};
use serde_json::Value;

use crate::common::{Setup, over, submit, sweep, task};

#[tokio::test]
async fn a_waiting_task_is_told_when_it_starts_and_one_that_is_over_what_became_of_it() {
    let fairway = Setup::new().local(1, 1).start().await;
    fairway.set_mode(SiteMode::Closed).await;
    let anna = fairway.user("anna").await;
    let program = std::path::Path::new("/bin/true");
    let job = submit(&anna.client, sweep("few", 3, program)).await;
    let id = task(job, 2).to_string();

    let told: Explanation = anna.run(&["explain", &id, "--json"]).await.json();
    let forecast = told.forecast.unwrap();
    assert!(
        forecast.likely.is_some() || forecast.why_none.is_some(),
        "{forecast:?}"
    );
    let text = anna.run(&["explain", &id]).await.ok();
    assert!(text.contains("is waiting"), "{text}");
    assert!(
        text.contains("will likely start") || text.contains("Nobody can say when it starts"),
        "{text}"
    );

    fairway.set_mode(SiteMode::Open).await;
    let view = over(&anna.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), 3);
    let text = anna.run(&["explain", &id]).await.ok();
    for part in ["submitted by anna", "given to pilot", ", since ", "started"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn the_queue_of_a_server_plays_out_under_another_policy() {
    let fairway = Setup::new().local(1, 1).start().await;
    fairway.set_mode(SiteMode::Closed).await;
    let anna = fairway.user("anna").await;
    let program = std::path::Path::new("/bin/true");
    submit(&anna.client, sweep("many", 5, program)).await;
    let report = fairway.folder().join("what-if.html");
    let report = report.to_str().unwrap();
    let line = [
        "simulate",
        "--from-server",
        "--what-if",
        "fifo",
        "--report",
        report,
    ];

    let table = fairway.operator.run(&line).await.ok();
    let first = table.lines().next().unwrap();
    assert!(first.contains("now") && first.contains("fifo"), "{table}");
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("What becomes of the queue"), "{page}");
    let json: Value = fairway
        .operator
        .run(&["simulate", "--from-server", "--horizon", "1h", "--json"])
        .await
        .json();
    assert_eq!(json["outcomes"].as_array().unwrap().len(), 1);
    assert_eq!(json["outcomes"][0]["tasks"]["submitted"], 5);
    anna.run(&line).await.fails(3);
}
