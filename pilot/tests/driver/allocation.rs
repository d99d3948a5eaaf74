//! The pilot and its allocation: which of its pilots it is, when it ends, and what it hands back.

use fairway_model::AttemptEnd;
use rustix::process::Signal;

use super::stand_in::{Pilot, StandIn, lease, shell};
use super::{OK, drain, runs};

#[tokio::test]
async fn a_pilot_that_is_told_to_end_hands_back() {
    let server = StandIn::start().await;
    for index in 0..2 {
        server.submit(shell(index, "trap '' TERM; sleep 86343; sleep 86344"));
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
    assert!(!runs("86343") && !runs("86344"));
}

#[tokio::test]
async fn the_end_of_the_allocation_hands_back() {
    let server = StandIn::start().await;
    server.submit(shell(0, "sleep 86353"));
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
        server.submit(shell(0, "sleep 86354"));
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
