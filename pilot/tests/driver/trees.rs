//! All processes of a payload: stopped, asleep, limited and counted, and never left behind.

use std::time::{Duration, Instant};

use fairway_api::pilot::{AttemptOrder, ReportKind};
use fairway_model::{Attempt, AttemptEnd, JobId, Order, Resources, TaskId};
use rustix::process::Signal;

use super::stand_in::{self, PATIENCE, Pilot, StandIn, shell};
use super::{OK, drain, runs, states, wait_until_gone};

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

fn order(index: u32, what: Order) -> AttemptOrder {
    AttemptOrder {
        task: TaskId::new(JobId(1), index),
        attempt: Attempt(1),
        what,
    }
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
