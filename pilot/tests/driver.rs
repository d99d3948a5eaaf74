//! The pilot as a process, against a server that stands in for the real one.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stand_in;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use fairway_api::pilot::{AttemptOrder, InputFile, ReportKind};
use fairway_model::{Attempt, AttemptEnd, JobId, Order, Resources, TaskId};
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use stand_in::{PATIENCE, Pilot, SECRET, StandIn, TOKEN, lease, shell};

const OK: AttemptEnd = AttemptEnd::Exited { code: 0 };

fn order(index: u32, what: Order) -> AttemptOrder {
    AttemptOrder {
        task: TaskId::new(JobId(1), index),
        attempt: Attempt(1),
        what,
    }
}

async fn drain(server: &StandIn, pilot: &mut Pilot) {
    server.change(|books| books.drain = true);
    assert_eq!(pilot.end().await, Some(0));
    assert!(server.look().goodbye.is_some(), "it said no goodbye");
}

/// Whether any process carries this text in its command line.
fn runs(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| line.windows(text.len()).any(|part| part == text.as_bytes()))
}

async fn wait_until_gone(text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while runs(text) {
        assert!(Instant::now() < deadline, "`{text}` still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn input(name: &str, content: &[u8]) -> InputFile {
    let digest = Sha256::digest(content);
    InputFile {
        name: name.to_owned(),
        stored_as: name.to_owned(),
        bytes: content.len() as u64,
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        executable: false,
    }
}

fn unpack(archive: &[u8]) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let files = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    files.collect()
}

#[tokio::test]
async fn runs_a_task_with_all_that_belongs_to_it() {
    let server = StandIn::start().await;
    let script =
        b"#!/bin/sh\nread line; echo \"got $line $1\"; echo bad >&2; cp data out.dat; exit 3\n";
    server.change(|books| {
        books.inputs.insert("run.sh".into(), script.to_vec());
        books.inputs.insert("data".into(), b"content".to_vec());
        books.inputs.insert("in".into(), b"hello\n".to_vec());
    });
    for index in 0..3 {
        let mut task = lease(index, "run.sh", &["arg one"]);
        task.payload.inputs = vec![
            input("run.sh", script),
            input("data", b"content"),
            input("in", b"hello\n"),
        ];
        task.payload.stdin = Some("in".into());
        task.payload.outputs = vec!["*.dat".into(), "stderr".into(), "missing".into()];
        server.submit(task);
    }
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    for index in 0..3 {
        let (end, used) = server.end_of(index).await;
        assert_eq!(end, AttemptEnd::Exited { code: 3 });
        assert!(used.memory_peak_kib > 0);
        let books = server.look();
        assert_eq!(books.stream(index, "stdout"), "got hello arg one\n");
        assert_eq!(books.stream(index, "stderr"), "bad\n");
        let output = unpack(&books.outputs[&(TaskId::new(JobId(1), index), Attempt(1))]);
        let expected = [("out.dat", "content"), ("stderr", "bad\n")];
        assert_eq!(
            output,
            expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
        );
    }
    assert_eq!(
        server.look().input_fetches,
        3,
        "same files are fetched once"
    );
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn runs_many_short_tasks() {
    let server = StandIn::start().await;
    server.change(|books| books.queue.extend((0..1000).map(|i| lease(i, "true", &[]))));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the end of all tasks", |books| {
            books.reports_of_ends == 1000
        })
        .await;
    {
        let books = server.look();
        for index in 0..1000 {
            assert_eq!(books.end_of(index).unwrap().0, OK, "task {index}");
        }
        assert!(
            books.syncs < 1000,
            "{} syncs: reports do not travel together",
            books.syncs
        );
    }
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn a_lost_reply_changes_nothing() {
    let server = StandIn::start().await;
    server.change(|books| {
        books
            .queue
            .extend((0..20).map(|i| shell(i, "echo x >> $TMPDIR/../../ran")));
        books.lose_replies = 3;
    });
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the end of all tasks", |books| books.reports_of_ends == 20)
        .await;
    drain(&server, &mut pilot).await;
    assert_eq!(server.look().reports_of_ends, 20);
}

#[tokio::test]
async fn streams_logs_while_the_task_runs() {
    let server = StandIn::start().await;
    // It goes on only when the test has seen its first line.
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let script = format!(
        "echo first; while [ ! -e {} ]; do sleep 0.02; done; echo second",
        go.display()
    );
    server.submit(shell(0, &script));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the first line", |books| {
            books.stream(0, "stdout") == "first\n"
        })
        .await;
    assert!(server.look().end_of(0).is_none());
    // The server then has more than the pilot knows of.
    server.change(|books| books.lose_chunk_replies = 1);
    std::fs::write(&go, "").unwrap();
    assert_eq!(server.end_of(0).await.0, OK);
    assert_eq!(server.look().stream(0, "stdout"), "first\nsecond\n");
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn large_logs_go_in_chunks_until_the_server_has_enough() {
    let server = StandIn::start().await;
    server.change(|books| books.stream_max = 600_000);
    server.submit(shell(
        0,
        "head -c 3000000 /dev/zero; exec head -c 500000 /dev/zero >&2",
    ));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    assert_eq!(server.end_of(0).await.0, OK);
    let length = |stream| server.look().stream(0, stream).len();
    let (out, err) = (length("stdout"), length("stderr"));
    assert!((600_000..=600_000 + 256 * 1024).contains(&out), "{out}");
    assert_eq!(err, 500_000);
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn cancel_ends_the_whole_tree() {
    let server = StandIn::start().await;
    // One child that ignores SIGTERM, and one in a session of its own whose parent is gone.
    let script = "trap '' TERM; (setsid sleep 86311 &) ; sleep 86312 & echo up; wait; sleep 86313";
    server.submit(shell(0, script));
    server.submit(shell(1, "exec sleep 86314"));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the start", |books| books.stream(0, "stdout") == "up\n")
        .await;
    server
        .wait_until("the start", |books| books.has_started(1))
        .await;
    assert!(runs("86311") && runs("86312"));
    server.change(|books| books.orders.push(order(0, Order::Cancel)));
    assert_eq!(server.end_of(0).await.0, AttemptEnd::Cancelled);
    for process in ["86311", "86312", "86313"] {
        wait_until_gone(process).await;
    }
    assert!(runs("86314"), "the other task is left alone");
    // One that the server has written off is stopped without a word.
    server.change(|books| books.orders.push(order(1, Order::WriteOff)));
    wait_until_gone("86314").await;
    drain(&server, &mut pilot).await;
    assert!(server.look().end_of(1).is_none());
}

/// The states (proc_pid_stat(5)) of the processes that carry this text in their command line.
fn states(text: &str) -> Vec<char> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let of = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let carries = line.windows(text.len()).any(|part| part == text.as_bytes());
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let state = stat.rsplit_once(") ")?.1.chars().next()?;
        carries.then_some(state)
    };
    processes.filter_map(of).collect()
}

async fn wait_until_all(text: &str, state: impl Fn(char) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let states = states(text);
        if !states.is_empty() && states.iter().all(|it| state(*it)) {
            return;
        }
        assert!(Instant::now() < deadline, "`{text}` is {states:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_gives_way_may_end_well() {
    let server = StandIn::start().await;
    server.submit(shell(
        0,
        "trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.01; done",
    ));
    server.submit(shell(1, "exec sleep 86341"));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the start", |books| {
            books.stream(0, "stdout") == "up\n" && books.has_started(1)
        })
        .await;
    let way = Order::GiveWay { grace_s: 60 };
    server.change(|books| books.orders.extend([order(0, way), order(1, way)]));
    assert_eq!(server.end_of(0).await.0, OK);
    assert_eq!(server.look().stream(0, "stdout"), "up\nsaved\n");
    assert!(matches!(
        server.end_of(1).await.0,
        AttemptEnd::HandedBack { .. }
    ));
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn a_whole_tree_sleeps_and_goes_on() {
    let server = StandIn::start().await;
    let outside = tempfile::tempdir().unwrap();
    let flag = outside.path().join("flag");
    // One child in a session of its own whose parent is gone.
    let script = format!(
        "(setsid sleep 86351 &) ; sleep 86352 & echo up; \
         until [ -e {} ]; do sleep 0.01; done",
        flag.display()
    );
    let began = Instant::now();
    server.submit(shell(0, &script));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the start", |books| books.stream(0, "stdout") == "up\n")
        .await;
    server.change(|books| books.orders.push(order(0, Order::Suspend)));
    let said = |books: &stand_in::Books, wanted: fn(&ReportKind) -> bool| {
        books.reports.iter().any(|report| wanted(&report.what))
    };
    server
        .wait_until("its sleep", |books| {
            said(books, |what| matches!(what, ReportKind::Suspended))
        })
        .await;
    let asleep = Instant::now();
    for process in ["86351", "86352", "until [ -e"] {
        wait_until_all(process, |state| state == 'T').await;
    }
    std::fs::write(&flag, "").unwrap();
    let syncs = server.look().syncs;
    server
        .wait_until("another sync", |books| books.syncs > syncs)
        .await;
    assert!(server.look().end_of(0).is_none(), "it sleeps");
    let slept = asleep.elapsed();
    server.change(|books| books.orders.push(order(0, Order::Resume)));
    let (end, used) = server.end_of(0).await;
    assert_eq!(end, OK);
    assert!(said(&server.look(), |what| matches!(
        what,
        ReportKind::Resumed
    )));
    let awake = began.elapsed().saturating_sub(slept);
    assert!(Duration::from_millis(used.wall_ms) <= awake, "{used:?}");
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn nothing_that_a_task_leaves_behind_outlives_it() {
    let server = StandIn::start().await;
    server.submit(shell(0, "(setsid sleep 86321 &); sleep 86322 & exit 0"));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    assert_eq!(server.end_of(0).await.0, OK);
    wait_until_gone("86321").await;
    wait_until_gone("86322").await;
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn only_a_clean_folder_is_used_again() {
    let server = StandIn::start().await;
    let outside = tempfile::tempdir().unwrap();
    let (list, lock) = (outside.path().join("list"), outside.path().join("lock"));
    let lock = lock.display();
    let mut bootstrap = server.bootstrap();
    bootstrap.resources.cores = 1;
    let mut pilot = Pilot::start(&bootstrap).await;
    // The lock is held for as long as what is left behind lives.
    let leave_behind = format!(
        "exec 9> {lock}; flock 9; setsid sh -c 'echo >> {lock}.up; exec sleep 86381' & \
         while [ ! -e {lock}.up ]; do sleep 0.01; done"
    );
    let is_left = format!("flock -n {lock} true || echo left >> {lock}.left");
    let scripts = [
        "true",
        "true",
        "touch left",
        "true",
        &leave_behind,
        &is_left,
    ];
    for (index, script) in (0..).zip(scripts) {
        let script = format!("pwd >> {}; {script}", list.display());
        server.submit(shell(index, &script));
        assert_eq!(server.end_of(index).await.0, OK);
    }
    let ran_in = std::fs::read_to_string(&list).unwrap();
    let ran_in: Vec<&str> = ran_in.lines().collect();
    let again: Vec<bool> = ran_in.windows(2).map(|two| two[0] == two[1]).collect();
    assert_eq!(again[..4], [true, true, false, true], "{ran_in:?}");
    let is_left = outside.path().join("lock.left").exists();
    assert!(
        !(again[4] && is_left),
        "a process is left in a folder that is used again"
    );
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn walltime_and_memory_are_limited() {
    let server = StandIn::start().await;
    let mut long = shell(0, "sleep 86331");
    long.payload.walltime_s = Some(1);
    server.submit(long);
    // What has no line break is kept whole by `sort`.
    let mut big = shell(1, "{ head -c 200000000 /dev/zero; sleep 86332; } | sort");
    big.payload.resources = Resources {
        cores: 1,
        memory_mib: 50,
        gpus: 0,
    };
    server.submit(big);
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    let (end, used) = server.end_of(0).await;
    assert_eq!(end, AttemptEnd::WalltimeExceeded { limit_s: 1 });
    assert!(used.wall_ms >= 1000);
    let (end, used) = server.end_of(1).await;
    assert!(
        matches!(end, AttemptEnd::MemoryExceeded { limit_mib: 50, used_mib } if used_mib > 50),
        "{end:?}"
    );
    assert!(used.memory_peak_kib > 50 * 1024);
    wait_until_gone("86331").await;
    wait_until_gone("86332").await;
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn processor_time_of_children_is_counted() {
    let server = StandIn::start().await;
    let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    server.submit(shell(0, &format!("sh -c '{burn}' & sh -c '{burn}'; wait")));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    let (end, used) = server.end_of(0).await;
    assert_eq!(end, OK);
    assert!(used.cpu_ms > 50, "{used:?}");
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn a_pilot_that_is_told_to_end_hands_back() {
    let server = StandIn::start().await;
    for index in 0..2 {
        server.submit(shell(index, "trap '' TERM; sleep 86341; sleep 86342"));
    }
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the start", |books| {
            books.has_started(0) && books.has_started(1)
        })
        .await;
    pilot.signal(Signal::TERM);
    assert_eq!(pilot.end().await, Some(0));
    for index in 0..2 {
        let end = server.end_of(index).await.0;
        assert!(matches!(end, AttemptEnd::HandedBack { .. }), "{end:?}");
    }
    assert!(server.look().goodbye.as_ref().unwrap().contains("SIGTERM"));
    assert!(!runs("86341") && !runs("86342"));
}

#[tokio::test]
async fn the_end_of_the_allocation_hands_back() {
    let server = StandIn::start().await;
    server.submit(shell(0, "sleep 86351"));
    let mut bootstrap = server.bootstrap();
    bootstrap.walltime_s = 6;
    let mut pilot = Pilot::start(&bootstrap).await;
    assert_eq!(pilot.end().await, Some(0));
    let end = server.end_of(0).await.0;
    assert!(matches!(end, AttemptEnd::HandedBack { .. }), "{end:?}");
}

#[tokio::test]
async fn the_batch_system_s_word_on_the_end_of_the_allocation_counts() {
    for variables in [
        [("OAR_JOB_ID", "77"), ("OAR_JOB_WALLTIME_SECONDS", "6")],
        [("PBS_JOBID", "77.server"), ("PBS_WALLTIME", "6")],
    ] {
        let server = StandIn::start().await;
        server.submit(shell(0, "sleep 86352"));
        let document = serde_json::to_vec(&server.bootstrap()).unwrap();
        let mut pilot = Pilot::start_with(&document, &variables).await;
        assert_eq!(pilot.end().await, Some(0), "{variables:?}");
        let end = server.end_of(0).await.0;
        assert!(matches!(end, AttemptEnd::HandedBack { .. }), "{end:?}");
    }
}

#[tokio::test]
async fn each_node_of_an_allocation_is_the_pilot_that_is_meant() {
    let server = StandIn::start().await;
    server.submit(shell(0, "echo here"));
    let own = server.bootstrap();
    let mut another = own.clone();
    another.secret = "another".to_owned();
    let document = serde_json::to_vec(&[another.clone(), own, another]).unwrap();
    let mut pilot = Pilot::start_with(&document, &[("FAIRWAY_NODE", "1")]).await;
    assert_eq!(server.end_of(0).await.0, OK);
    drain(&server, &mut pilot).await;

    let mut nobody = Pilot::start_with(&document, &[("FAIRWAY_NODE", "3")]).await;
    assert_eq!(nobody.end().await, Some(2));
}

#[tokio::test]
async fn no_payload_outlives_a_killed_pilot() {
    for (victim, marks) in [("guard", ["86361", "86362"]), ("inner", ["86363", "86364"])] {
        let server = StandIn::start().await;
        server.submit(shell(
            0,
            &format!("(setsid sleep {} &); exec sleep {}", marks[0], marks[1]),
        ));
        let mut pilot = Pilot::start(&server.bootstrap()).await;
        server
            .wait_until("the start", |books| books.has_started(0))
            .await;
        if victim == "guard" {
            pilot.signal(Signal::KILL);
        } else {
            let children = format!("/proc/{0}/task/{0}/children", pilot.pid());
            let inner = std::fs::read_to_string(children).unwrap();
            let inner = rustix::process::Pid::from_raw(inner.trim().parse().unwrap()).unwrap();
            rustix::process::kill_process(inner, Signal::KILL).unwrap();
        }
        for mark in marks {
            wait_until_gone(mark).await;
        }
        let code = pilot.end().await;
        assert_eq!(code, if victim == "guard" { None } else { Some(6) });
    }
}

#[tokio::test]
async fn results_survive_a_server_that_is_away() {
    let server = StandIn::start().await;
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.02; done; echo done > out",
        go.display()
    );
    let mut task = shell(0, &script);
    task.payload.outputs = vec!["out".into()];
    server.submit(task);
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the start", |books| books.has_started(0))
        .await;
    server.change(|books| books.away = true);
    std::fs::write(&go, "").unwrap();
    wait_until_gone(&go.display().to_string()).await;
    server.change(|books| books.away = false);
    assert_eq!(server.end_of(0).await.0, OK);
    let output = unpack(server.look().outputs.values().next().unwrap());
    assert_eq!(output["out"], "done\n");
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn refused_outputs_are_told() {
    let server = StandIn::start().await;
    server.change(|books| books.refuse_outputs = true);
    let mut task = shell(0, "echo x > out");
    task.payload.outputs = vec!["out".into()];
    server.submit(task);
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    let end = server.end_of(0).await.0;
    assert!(
        matches!(&end, AttemptEnd::OutputLost { reason } if reason.contains("allowed")),
        "{end:?}"
    );
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let server = StandIn::start().await;
    server.submit(lease(0, "no-such-program", &[]));
    let mut missing = lease(1, "true", &[]);
    missing.payload.inputs = vec![input("gone", b"x")];
    server.submit(missing);
    server.change(|books| books.inputs.insert("bent".into(), b"other".to_vec()));
    let mut damaged = lease(2, "true", &[]);
    damaged.payload.inputs = vec![input("bent", b"right")];
    server.submit(damaged);
    let mut escaping = lease(3, "true", &[]);
    escaping.payload.stdout = Some("../out".into());
    server.submit(escaping);
    let mut large = lease(4, "true", &[]);
    large.payload.resources.cores = 64;
    server.submit(large);
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    for (index, word) in ["PATH", "no such input", "checksum", "folder", "more than"]
        .iter()
        .enumerate()
    {
        let end = server.end_of(u32::try_from(index).unwrap()).await.0;
        assert!(
            matches!(&end, AttemptEnd::NotStarted { reason } if reason.contains(word)),
            "{index}: {end:?}"
        );
    }
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn payloads_see_no_secret() {
    let server = StandIn::start().await;
    let mut task = shell(
        0,
        "env; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -a -e secret-7f -e token-91; ls -l /proc/self/fd; echo end",
    );
    task.payload.environment = vec![("OWN".into(), "value".into())];
    server.submit(task);
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    assert_eq!(server.end_of(0).await.0, OK);
    let out = server.look().stream(0, "stdout");
    for wanted in [
        "OWN=value",
        "FAIRWAY_TASK=1.0",
        "FAIRWAY_CORES=1",
        "TMPDIR=/",
        "PATH=",
        "\nend\n",
    ] {
        assert!(out.contains(wanted), "{wanted} is missing in {out}");
    }
    let own_script = "grep -a -e secret-7f -e token-91";
    let seen = out.replace(own_script, "");
    for secret in [
        SECRET,
        TOKEN,
        "BATCH_SECRET=",
        "SLURM_JOB_ID=",
        "FAIRWAY_PILOT",
    ] {
        assert!(
            !seen.lines().any(|line| line.starts_with(secret)),
            "{secret} is in {out}"
        );
    }
    assert!(!out.contains(SECRET) && !out.contains(TOKEN), "{out}");
    assert!(!out.contains("socket:"), "a connection leaked: {out}");
    drain(&server, &mut pilot).await;
}

#[tokio::test]
async fn a_wrong_secret_ends_the_pilot() {
    let server = StandIn::start().await;
    let mut bootstrap = server.bootstrap();
    bootstrap.secret = "wrong".into();
    assert_eq!(Pilot::start(&bootstrap).await.end().await, Some(3));
}

#[tokio::test]
async fn a_server_that_is_never_there_ends_the_pilot() {
    let server = StandIn::start().await;
    let mut bootstrap = server.bootstrap();
    bootstrap.server = "http://127.0.0.1:1".into();
    bootstrap.idle_s = 1;
    assert_eq!(Pilot::start(&bootstrap).await.end().await, Some(4));
}

#[tokio::test]
async fn a_session_that_is_over_ends_payloads_and_pilot() {
    let server = StandIn::start().await;
    server.submit(shell(0, "exec sleep 86371"));
    let mut pilot = Pilot::start(&server.bootstrap()).await;
    server
        .wait_until("the start", |books| books.has_started(0))
        .await;
    server.change(|books| books.ended_session = true);
    assert_eq!(pilot.end().await, Some(5));
    assert!(!runs("86371"));
}

#[tokio::test]
async fn a_pilot_without_work_ends() {
    let server = StandIn::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut bootstrap = server.bootstrap();
    bootstrap.idle_s = 1;
    bootstrap.work_dir = Some(folder.path().join("work").display().to_string());
    server.submit(lease(0, "true", &[]));
    let mut pilot = Pilot::start(&bootstrap).await;
    assert_eq!(pilot.end().await, Some(0));
    assert_eq!(server.look().end_of(0).unwrap().0, OK);
    assert!(server.look().goodbye.as_ref().unwrap().contains("no work"));
    let left = std::fs::read_dir(folder.path().join("work"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "its work folder is left behind");
}
