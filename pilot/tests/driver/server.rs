//! A server that is away, loses replies, or does not let the pilot in.

use super::payloads::unpack;
use super::stand_in::{Pilot, StandIn, shell};
use super::{OK, drain, runs, wait_until_gone};

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
