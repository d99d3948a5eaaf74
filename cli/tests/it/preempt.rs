//! Running tasks give way to urgent ones, and finish later.

use fairway_model::policy::Qos;
use fairway_model::{Attempt, EventKind, PreemptionSettings, TaskState};

use crate::common::{Fairway, History, Setup, over, submit, task, tasks, until_true};

/// A pilot of one core, and tasks of the quality of service `urgent` to whom others give way.
async fn one_core() -> Fairway {
    let fairway = Setup::new().local(1, 1).start().await;
    let operator = &fairway.operator.client;
    let mut policy = operator.policy().await.unwrap();
    policy.preemption = PreemptionSettings {
        enabled: true,
        wait_min_s: 1,
        ..PreemptionSettings::default()
    };
    policy.qos = vec![Qos {
        name: "urgent".to_owned(),
        tier: 1,
        usage_factor: 1.0,
        ..Qos::default()
    }];
    operator.set_policy(&policy).await.unwrap();
    fairway
}

fn jdl(program: &std::path::Path, more: &str) -> String {
    format!("[ Executable = \"{}\"; {more} ]", program.display())
}

#[tokio::test]
async fn a_preemptible_task_gives_way_and_finishes_later() {
    let fairway = one_core().await;
    let client = &fairway.operator.client;
    let script = "[ $FAIRWAY_ATTEMPT = 1 ] && exec sleep 1000; exit 0";
    let polite = jdl(&fairway.script("polite.sh", script), "Preemptible = true;");
    let polite = submit(client, polite).await;
    until_true("it runs", async || {
        tasks(client, polite).await[0].state == TaskState::Running
    })
    .await;

    let urgent = jdl(std::path::Path::new("/bin/true"), "QoS = \"urgent\";");
    let urgent = submit(client, urgent).await;
    assert_eq!(over(client, urgent).await.count(TaskState::Succeeded), 1);
    assert_eq!(over(client, polite).await.count(TaskState::Succeeded), 1);
    let view = &tasks(client, polite).await[0];
    assert_eq!((view.attempt, view.preemptions), (Attempt(2), 1));
    let history = History::all(client).await;
    let gave_way = history.events.iter().find_map(|event| match event.kind {
        EventKind::TaskGivesWay { task, to, .. } => Some((task, to)),
        _ => None,
    });
    assert_eq!(gave_way, Some((task(polite, 0), task(urgent, 0))));
    let polite = task(polite, 0).to_string();
    let told = fairway.operator.run(&["status", &polite]).await;
    assert!(told.ok().contains("gives way to"), "the command line tells");
}

#[tokio::test]
async fn a_suspendable_task_sleeps_and_goes_on() {
    let fairway = one_core().await;
    let client = &fairway.operator.client;
    let flag = |name: &str| fairway.folder().join(name);
    let wait_for = |name: &str| {
        let flag = flag(name);
        let script = format!("until [ -e {} ]; do sleep 0.05; done", flag.display());
        fairway.script(&format!("{name}.sh"), &script)
    };
    let more = "Preemptible = true; Suspendable = true;";
    let sleepy = submit(client, jdl(&wait_for("sleepy"), more)).await;
    until_true("it runs", async || {
        tasks(client, sleepy).await[0].state == TaskState::Running
    })
    .await;

    let urgent = submit(client, jdl(&wait_for("urgent"), "QoS = \"urgent\";")).await;
    until_true("the urgent one runs", async || {
        tasks(client, urgent).await[0].state == TaskState::Running
    })
    .await;
    let view = &tasks(client, sleepy).await[0];
    assert_eq!(view.state, TaskState::Running);
    assert!(view.suspended_at.is_some());
    for name in ["sleepy", "urgent"] {
        std::fs::write(flag(name), "").unwrap();
    }
    assert_eq!(over(client, urgent).await.count(TaskState::Succeeded), 1);
    assert_eq!(over(client, sleepy).await.count(TaskState::Succeeded), 1);
    let view = &tasks(client, sleepy).await[0];
    assert_eq!((view.attempt, view.preemptions), (Attempt(1), 1));
    assert_eq!(view.suspended_at, None);
}
