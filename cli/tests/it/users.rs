//! A user's day on the command line, what one user sees of another, and where no secret may be.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use fairway_api::public::{
    Explanation, JobView, PilotView, SharesView, SiteView, SubmitReply, TaskView, TasksChanged,
    UsageView,
};
use fairway_model::{AttemptEnd, Event, JobId, SiteMode, TaskState};
use serde::Deserialize;

use crate::common::{
    Fairway, Setup, User, lines, over, process, submit, sweep, task, tasks, until, until_true,
};

/// What `fairway status JOB --json` prints.
#[derive(Deserialize)]
struct JobStatus {
    job: JobView,
    tasks: Vec<TaskView>,
}

/// What `fairway status TASK --json` prints.
#[derive(Deserialize)]
struct TaskStatus {
    task: TaskView,
    events: Vec<Event>,
}

/// Submits a JDL file through the command line.
async fn submit_file(fairway: &Fairway, who: &User, name: &str, jdl: &str) -> JobId {
    let path = fairway.folder().join(name);
    std::fs::write(&path, jdl).unwrap();
    let replies: Vec<SubmitReply> = who
        .run(&["submit", path.to_str().unwrap(), "--json"])
        .await
        .json();
    replies[0].job
}

async fn state(who: &User, job: JobId, index: u32) -> TaskState {
    who.client.task(task(job, index)).await.unwrap().state
}

async fn until_state(who: &User, job: JobId, index: u32, wanted: TaskState) {
    until_true(&format!("{job}.{index} is {}", wanted.name()), async || {
        state(who, job, index).await == wanted
    })
    .await;
}

#[tokio::test]
async fn logs_come_while_the_task_runs() {
    let fairway = Setup::new().local(1, 1).start().await;
    let alice = fairway.user("alice").await;
    let go = fairway.folder().join("go");
    let payload = fairway.script(
        "talk.sh",
        &format!(
            "echo first\necho aside >&2\nwhile [ ! -e {} ]; do sleep 0.05; done\necho second",
            go.display()
        ),
    );
    let jdl = format!("[ Executable = \"{}\"; ]", payload.display());
    let job = submit_file(&fairway, &alice, "talk.jdl", &jdl).await;
    let mut follow = alice.command(&["logs", "-f", &format!("{job}.0")]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(follow.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert_eq!(first, "first\n");
    assert_eq!(state(&alice, job, 0).await, TaskState::Running);
    // Without -f: what there is so far.
    assert_eq!(alice.run(&["logs", &job.to_string()]).await.ok(), "first\n");
    std::fs::write(&go, "").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second\n");
    assert!(follow.wait().unwrap().success());
    let tail = ["logs", &job.to_string(), "--tail", "1"].map(str::to_owned);
    assert_eq!(
        alice.run(&tail.each_ref().map(String::as_str)).await.ok(),
        "second\n"
    );
    assert_eq!(
        alice
            .run(&["logs", &job.to_string(), "--stderr"])
            .await
            .ok(),
        "aside\n"
    );
}

#[tokio::test]
async fn sandboxes_travel_there_and_back() {
    let fairway = Setup::new().local(1, 2).start().await;
    let alice = fairway.user("alice").await;
    std::fs::write(fairway.folder().join("words.txt"), "three small words\n").unwrap();
    fairway.script(
        "count.sh",
        "wc -w <words.txt >result-$1.txt\nmkdir sub\necho $1 >sub/deep.txt",
    );
    let jdl = "[ JobName = \"count\"; JobType = \"Parametric\"; Executable = \"count.sh\"; \
               Arguments = \"_PARAM_\"; Parameters = 3; ParameterStart = 0; ParameterStep = 1; \
               InputSandbox = {\"count.sh\", \"words.txt\"}; \
               OutputSandbox = {\"result-*.txt\", \"sub/deep.txt\"}; ]";
    let job = submit_file(&fairway, &alice, "count.jdl", jdl).await;
    let watched = alice.run(&["watch", &job.to_string()]).await;
    assert_eq!(watched.code, Some(0), "{watched}");

    alice
        .run(&["output", &job.to_string(), "-o", "all"])
        .await
        .ok();
    for index in 0..3 {
        let text = read(
            &fairway
                .folder()
                .join(format!("all/{index}/result-{index}.txt")),
        );
        assert_eq!(text.trim(), "3");
        let deep = read(&fairway.folder().join(format!("all/{index}/sub/deep.txt")));
        assert_eq!(deep.trim(), index.to_string());
    }
    // Of one task, to the folder that the command chooses.
    alice.run(&["output", &format!("{job}.1")]).await.ok();
    let text = read(&fairway.folder().join(format!("count-{job}/result-1.txt")));
    assert_eq!(text.trim(), "3");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn waiting_tasks_are_held_released_cancelled_and_retried() {
    let fairway = Setup::new().local(1, 2).start().await;
    fairway.set_mode(SiteMode::Closed).await;
    let alice = fairway.user("alice").await;
    let job = submit(&alice.client, sweep("work", 4, Path::new("/bin/true"))).await;
    let (one, two) = (format!("{job}.1"), format!("{job}.2"));
    let held: TasksChanged = alice.run(&["hold", &one, "--json"]).await.json();
    assert_eq!(held.changed, 1);
    let cancelled: TasksChanged = alice.run(&["cancel", &two, "--json"]).await.json();
    assert_eq!(cancelled.changed, 1);
    // What cannot be done is told, task by task.
    let again = alice.run(&["cancel", &two]).await.ok();
    assert!(again.contains(&two), "{again}");

    fairway.operator.run(&["site", "open", "here"]).await.ok();
    until_state(&alice, job, 0, TaskState::Succeeded).await;
    until_state(&alice, job, 3, TaskState::Succeeded).await;
    let status: JobStatus = alice
        .run(&["status", &job.to_string(), "--json"])
        .await
        .json();
    let states: Vec<_> = status.tasks.iter().map(|task| task.state).collect();
    let done = TaskState::Succeeded;
    assert_eq!(states, [done, TaskState::Held, TaskState::Cancelled, done]);
    assert_eq!(status.job.ended_at, None);

    alice.run(&["release", &one]).await.ok();
    alice.run(&["retry", &two]).await.ok();
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), 4);
    let status: TaskStatus = alice.run(&["status", &two, "--json"]).await.json();
    assert_eq!(status.task.state, TaskState::Succeeded);
    assert!(status.events.len() >= 4, "{:?}", status.events);
}

#[tokio::test]
async fn running_tasks_are_cancelled_and_held() {
    let fairway = Setup::new().local(1, 2).start().await;
    let alice = fairway.user("alice").await;
    let pids = fairway.folder().join("pids");
    // Its children must go as well.
    let stubborn = format!(
        "echo $$ >>{}\ntrap '' TERM\nsleep 600 & sleep 600",
        pids.display()
    );
    let payload = fairway.script("stubborn.sh", &stubborn);
    let job = submit(&alice.client, sweep("stubborn", 1, &payload)).await;
    until_true("the payload runs", async || !lines(&pids).is_empty()).await;
    // Runs on, and is held only if it comes back.
    let held = alice.run(&["hold", &job.to_string()]).await;
    assert!(held.stdout.contains("held only if it comes back"), "{held}");
    assert_eq!(state(&alice, job, 0).await, TaskState::Running);
    alice.run(&["cancel", &job.to_string()]).await.ok();
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Cancelled), 1);
    let pid: i32 = lines(&pids)[0].parse().unwrap();
    until_true("the payload and its children are gone", async || {
        let left = process::of(fairway.folder());
        !left
            .iter()
            .any(|it| it.pid == pid || it.command.starts_with("sleep"))
    })
    .await;
}

#[tokio::test]
async fn failures_are_retried_told_and_retried_by_hand() {
    let fairway = Setup::new().local(1, 1).start().await;
    let alice = fairway.user("alice").await;
    let good = fairway.folder().join("good");
    let tries = fairway.folder().join("tries");
    let payload = fairway.script(
        "moody.sh",
        &format!(
            "echo x >>{}\n[ -e {} ] || exit 9",
            tries.display(),
            good.display()
        ),
    );
    let jdl = format!(
        "[ Executable = \"{}\"; RetryCount = 2; ]",
        payload.display()
    );
    let job = submit_file(&fairway, &alice, "moody.jdl", &jdl).await;
    let watched = alice.run(&["watch", &job.to_string()]).await;
    watched.fails(1);
    assert_eq!(lines(&tries).len(), 3, "one try and two retries");
    let status = alice.run(&["status", &format!("{job}.0")]).await.ok();
    assert!(status.contains("exited with 9"), "{status}");
    std::fs::write(&good, "").unwrap();
    alice.run(&["retry", &job.to_string()]).await.ok();
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), 1);
    assert_eq!(lines(&tries).len(), 4);
}

#[tokio::test]
async fn limits_that_a_task_asked_for_are_kept() {
    let fairway = Setup::new().local(1, 2).start().await;
    let alice = fairway.user("alice").await;
    // Two commands, so that the shell does not become the first one.
    let sleeper = fairway.script("sleep.sh", "sleep 600\ntrue");
    let jdl = format!("[ Executable = \"{}\"; WallTime = 1; ]", sleeper.display());
    let long = submit_file(&fairway, &alice, "sleep.jdl", &jdl).await;
    let view = over(&alice.client, long).await;
    assert_eq!(view.count(TaskState::Failed), 1);
    let end = alice
        .client
        .task(task(long, 0))
        .await
        .unwrap()
        .last_end
        .unwrap();
    assert_eq!(end, AttemptEnd::WalltimeExceeded { limit_s: 1 });
    assert!(
        !process::of(fairway.folder())
            .iter()
            .any(|it| it.command.starts_with("sleep"))
    );

    // A string of 100 MB, where 50 were asked for.
    let hungry = fairway.script(
        "hungry.sh",
        "awk 'BEGIN { s = \"x\"; while (length(s) < 100000000) s = s s; system(\"sleep 600\") }'",
    );
    let jdl = format!("[ Executable = \"{}\"; Memory = 50; ]", hungry.display());
    let large = submit_file(&fairway, &alice, "hungry.jdl", &jdl).await;
    let view = over(&alice.client, large).await;
    assert_eq!(view.count(TaskState::Failed), 1);
    let end = alice
        .client
        .task(task(large, 0))
        .await
        .unwrap()
        .last_end
        .unwrap();
    assert!(
        matches!(end, AttemptEnd::MemoryExceeded { limit_mib: 50, .. }),
        "{end:?}"
    );
}

#[tokio::test]
async fn users_see_only_their_own() {
    let fairway = Setup::new().local(1, 1).start().await;
    let (alice, bob) = (fairway.user("alice").await, fairway.user("bob").await);
    let hers = submit(
        &alice.client,
        "[ Executable = \"/bin/echo\"; Arguments = \"hers\"; ]",
    )
    .await;
    let his = submit(
        &bob.client,
        "[ Executable = \"/bin/echo\"; Arguments = \"his\"; ]",
    )
    .await;
    over(&alice.client, hers).await;
    over(&bob.client, his).await;

    let (job, first) = (hers.to_string(), format!("{hers}.0"));
    for args in [
        &["status", &job][..],
        &["status", &first],
        &["logs", &first],
        &["output", &job],
        &["explain", &first],
        &["cancel", &job],
        &["hold", &job],
        &["retry", &job],
        &["watch", &job],
    ] {
        let told = bob.run(args).await.fails(3);
        assert!(told.contains("there is no"), "{args:?}: {told}");
        assert!(!told.contains("alice"), "{args:?}: {told}");
    }
    // Among many, too, and while they wait.
    fairway.set_mode(SiteMode::Closed).await;
    let waiting = submit(&alice.client, "[ Executable = \"/bin/true\"; ]").await;
    let (hers_too, his_own) = (format!("{waiting}.0"), format!("{his}.0"));
    let told = bob.run(&["cancel", &hers_too, &his_own]).await.fails(3);
    assert!(
        told.contains(&format!("there is no task {hers_too}")),
        "{told}"
    );
    assert_eq!(state(&alice, waiting, 0).await, TaskState::Waiting);

    let jobs: Vec<JobView> = bob.run(&["status", "--json"]).await.json();
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [his]);
    assert_eq!(tasks(&bob.client, hers).await.len(), 0);
    let usage: Vec<UsageView> = bob.run(&["usage", "--json"]).await.json();
    assert_eq!(
        usage.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(),
        ["bob"]
    );
    let events = crate::common::History::all(&bob.client).await;
    assert!(events.leases().iter().all(|task| task.job == his));
    assert!(!events.leases().is_empty());
    // An operator sees all.
    let all: Vec<UsageView> = fairway.operator.run(&["usage", "--json"]).await.json();
    assert_eq!(
        all.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
}

#[tokio::test]
async fn an_operator_looks_at_everything() {
    let fairway = Setup::new().local(1, 1).start().await;
    let (alice, boss) = (fairway.user("alice").await, &fairway.operator);
    let pids = fairway.folder().join("pids");
    let payload = fairway.script(
        "wait.sh",
        &format!("echo $$ >>{}\nsleep 600", pids.display()),
    );
    let job = submit(&alice.client, sweep("long", 2, &payload)).await;
    until_true("the first task runs", async || lines(&pids).len() == 1).await;

    let sites: Vec<SiteView> = boss.run(&["site", "list", "--json"]).await.json();
    let published = sites[0].states[0].published.as_ref().unwrap();
    assert_eq!(published.cores_total, Some(1));
    assert_eq!(sites[0].states[0].glue["GlueCEStateStatus"], "Production");
    let pilots: Vec<PilotView> = boss.run(&["pilot", "list", "--json"]).await.json();
    let [pilot] = pilots.as_slice() else {
        panic!("{pilots:?}")
    };
    assert_eq!(pilot.tasks.first(), Some(&task(job, 0)));
    let shares: SharesView = alice.run(&["shares", "--json"]).await.json();
    let [share] = shares.users.as_slice() else {
        panic!("{shares:?}")
    };
    assert_eq!(share.user.as_str(), "alice");
    assert_eq!(share.waiting + share.running, 2);
    let explained: Explanation = alice
        .run(&["explain", &format!("{job}.0"), "--json"])
        .await
        .json();
    assert_eq!(explained.state, TaskState::Running);

    // A killed pilot gives its tasks back, whatever they are doing.
    boss.run(&["site", "close", "here"]).await.ok();
    boss.run(&["pilot", "kill", &pilot.id.to_string()])
        .await
        .ok();
    until_state(&alice, job, 0, TaskState::Waiting).await;
    until_true("pilot and payload are gone", async || {
        process::of(fairway.folder())
            .iter()
            .all(|it| !it.is_pilot() && it.command != "sleep 600 ")
    })
    .await;
    let explained = alice.run(&["explain", &format!("{job}.0")]).await.ok();
    assert!(explained.contains("here/queue"), "{explained}");
    assert!(explained.contains("closed"), "{explained}");
}

/// Secrets: bootstrap and session secrets of pilots, and tokens of users. A payload that looks
/// for them finds none, and neither does anybody who lists processes or reads the server's files.
#[tokio::test]
async fn no_secret_is_where_others_can_read_it() {
    let fairway = Setup::new().local(1, 1).start().await;
    let alice = fairway.user("alice").await;
    let go = fairway.folder().join("go");
    let payload = fairway.script(
        "spy.sh",
        &format!(
            "env\n(cat /proc/$PPID/environ /proc/$PPID/cmdline || true) | tr '\\000' '\\n'\n\
             (cat /proc/[0-9]*/cmdline 2>/dev/null || true) | tr '\\000' '\\n'\n\
             ls -la . .. || true\n\
             while [ ! -e {} ]; do sleep 0.05; done",
            go.display()
        ),
    );
    let job = submit(&alice.client, sweep("spy", 1, &payload)).await;
    until_state(&alice, job, 0, TaskState::Running).await;

    let secret = regex::Regex::new("fwp_[0-9]|[0-9a-f]{64}").unwrap();
    let (_, token_secret) = alice.token.rsplit_once('_').unwrap();
    let all = process::of(fairway.folder());
    assert!(all.iter().any(process::Process::is_pilot), "{all:?}");
    for process in &all {
        assert!(!secret.is_match(&process.command), "{process:?}");
        assert!(!secret.is_match(&process.environment), "{process:?}");
        assert!(!process.command.contains(token_secret), "{process:?}");
    }
    std::fs::write(&go, "").unwrap();
    over(&alice.client, job).await;
    let text = alice.run(&["logs", &job.to_string()]).await.ok();
    assert!(text.contains("FAIRWAY_TASK="), "{text}");
    let lines_with_secrets: Vec<_> = text.lines().filter(|line| secret.is_match(line)).collect();
    assert!(lines_with_secrets.is_empty(), "{lines_with_secrets:?}");

    // Neither tokens nor bootstrap secrets are in what the server keeps; hashes are.
    let log = read(&fairway.log());
    assert!(!secret.is_match(&log) && !log.contains(token_secret));
    for path in files(&fairway.folder().join("state")) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(token_secret), "{}", path.display());
        assert!(!text.contains("\"secret\":"), "{}", path.display());
        assert!(!text.contains("fwp_1_"), "{}", path.display());
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files.extend(self::files(&entry.path())),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

#[tokio::test]
async fn a_server_that_stops_in_order_is_found_again() {
    let mut fairway = Setup::new().local(1, 2).start().await;
    let alice = fairway.user("alice").await;
    let ended = fairway.folder().join("ended");
    let payload = fairway.script(
        "work.sh",
        &format!("sleep 0.3\necho $1 >>{}", ended.display()),
    );
    let job = submit(&alice.client, sweep("work", 12, &payload)).await;
    until_true("the work is under way", async || lines(&ended).len() >= 3).await;
    fairway.stop().await;
    let told = alice.run(&["status"]).await.fails(4);
    assert!(told.contains("cannot reach"), "{told}");
    fairway.start_again().await;
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), 12);
    assert_eq!(lines(&ended).len(), 12);
    let pilots = until("the pilot has left", async || {
        let pilots = fairway.pilots().await;
        pilots.iter().all(|it| it.end.is_some()).then_some(pilots)
    })
    .await;
    assert_eq!(pilots.len(), 1, "the pilot carried on: {pilots:?}");
}
