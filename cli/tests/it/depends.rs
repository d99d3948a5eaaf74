//! Jobs that wait for other jobs, from the command line to the payload, and over a restart.

use fairway_model::{JobId, TaskState};

use crate::common::{Setup, lines, over, task, until_true};

#[tokio::test]
async fn a_job_begins_when_what_it_waits_for_is_over() {
    let mut fairway = Setup::new().local(1, 4).start().await;
    let alice = fairway.user("alice").await;
    let notes = fairway.folder().join("notes");
    let gate = fairway.folder().join("gate");
    let work = fairway.script(
        "work.sh",
        &format!(
            "while [ $1 = first ] && ! test -e {}; do sleep 0.1; done\n\
             echo $1 >>{}\n[ $1 != first ] || test -e {}.good",
            gate.display(),
            notes.display(),
            gate.display()
        ),
    );
    let describe = |name: &str| {
        let text = format!(
            "[\n  Executable = \"{}\";\n  Arguments = \"{name}\";\n]",
            work.display()
        );
        let path = fairway.folder().join(format!("{name}.jdl"));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let first = alice.run(&["submit", &describe("first")]).await.ok();
    assert!(first.starts_with("job 1 "), "{first}");
    for (name, after) in [("good", "afterok:1"), ("repair", "afternotok:1")] {
        let file = describe(name);
        alice.run(&["submit", "--after", after, &file]).await.ok();
    }
    let told = alice.run(&["explain", "2.0"]).await.ok();
    assert!(
        told.contains("It waits until job 1 has succeeded."),
        "{told}"
    );
    let file = describe("never");
    let refused = alice.run(&["submit", "--after", "afterok:99", &file]).await;
    assert!(refused.stderr.contains("there is no job 99"), "{refused:?}");

    // Who waits for whom is known again after a restart.
    fairway.kill();
    fairway.start_again().await;
    std::fs::write(&gate, "").unwrap();
    let skipped = over(&alice.client, JobId(2)).await;
    assert_eq!(skipped.states[&TaskState::Skipped], 1);
    over(&alice.client, JobId(3)).await;
    assert_eq!(lines(&notes), ["first", "repair"]);

    // What was in the way is put right.
    std::fs::write(fairway.folder().join("gate.good"), "").unwrap();
    alice.run(&["retry", "1"]).await.ok();
    alice.run(&["retry", "2"]).await.ok();
    let last = task(JobId(2), 0);
    until_true("the job that waited has run", async || {
        let view = alice.client.task(last).await.unwrap();
        view.state == TaskState::Succeeded
    })
    .await;
    assert_eq!(lines(&notes), ["first", "repair", "first", "good"]);
}
