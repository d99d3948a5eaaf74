//! What every batch system must do, whatever it is: the same tests run against
//! each adapter, on the real thing.
//!
//! This machine is always there. Slurm is a test bed that somebody started
//! (`deploy/testbed/slurm.sh up DIR`), named by `FAIRWAY_TEST_SLURM=DIR`; without
//! it these tests fail, unless `FAIRWAY_TEST_SKIP_SLURM=1` says that this is meant. The same goes for
//! OAR, with `oar.sh`, `FAIRWAY_TEST_OAR` and `FAIRWAY_TEST_SKIP_OAR`.
//!
//! OpenPBS is a stand-in that each test starts for itself (`deploy/testbed/openpbs-replay`), or,
//! with `FAIRWAY_TEST_PBS=1`, this machine's own. `FAIRWAY_TEST_TORQUE=DIR` names another Slurm,
//! reached through TORQUE's commands (`deploy/testbed/torque.sh up DIR`), or
//! `FAIRWAY_TEST_SKIP_TORQUE=1` leaves it out.
//! Kubernetes is a stand-in too, or the real cluster that `FAIRWAY_TEST_KUBECONFIG=FILE` leads to.
//!
//! A new adapter implements [`bed::Bed`] and adds a line to the list at the end.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what it leaves out it says"
)]

mod bed;
mod bench;
mod on_oar;
mod pbs;
mod slurm_only;
#[path = "../standin/mod.rs"]
mod standin;

use std::time::Instant;

use fairway_model::{CeState, CeStatus, Timestamp};
use fairway_site_adapters::{AdapterError, BatchState};

use bed::{Bed, FULL, Untold};
use bench::{Bench, DEADLINE, DOCUMENT, LOOK};

async fn a_job_waits_runs_and_ends(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let first = bench.submit("first", FULL, "exit 0").await;
    bench.until_running(&first).await;
    let second = bench.submit("second", 1, "exit 3").await;
    match bench.state(&second).await {
        BatchState::Queued { reason } => assert!(!reason.is_empty()),
        other => panic!("there is no room, and yet it is {other:?}"),
    }
    bench.let_go("first");
    bench.until_running(&second).await;
    bench.let_go("second");
    let (good, bad) = (
        bench.until_ended(&first).await,
        bench.until_ended(&second).await,
    );
    assert!(!good.is_empty());
    if !bed.does_not_tell().contains(&Untold::ExitCode) {
        assert_ne!(good, bad, "a failure must not look like a success");
    }
    for name in ["first", "second"] {
        let read = std::fs::read_to_string(bench.path(name, "in")).unwrap();
        assert_eq!(read, DOCUMENT, "the bootstrap document of {name}");
    }
    bench.clear().await;
}

async fn a_bulk_submission_answers_in_order(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
    names.iter().for_each(|name| bench.let_go(name));
    let mut jobs: Vec<_> = names
        .iter()
        .map(|name| bench.job(name, 1, "exit 0"))
        .collect();
    jobs[5].name = "not a name".into();
    let results = bed.system().submit(&jobs).await;
    assert!(
        matches!(results[5], Err(AdapterError::Refused(_))),
        "{:?}",
        results[5]
    );
    for (job, result) in jobs
        .iter()
        .zip(&results)
        .filter(|(_, result)| result.is_ok())
    {
        let id = result.as_ref().unwrap();
        bench.until_ended(id).await;
        let told = bench.jobs(std::slice::from_ref(id)).await;
        let told = told.iter().find(|told| told.batch_id == *id).unwrap();
        assert_eq!(told.name, job.name);
    }
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 11);
    bench.clear().await;
}

async fn pilots_in_bulk_are_told_apart(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let jobs = bench.pilots(9, "exit 0");
    let ids: Vec<String> = bed
        .system()
        .submit(&jobs)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    // As many run as there is room for. All are known by their names, also to somebody who has
    // never got the reply.
    let told = bench.jobs(&[]).await;
    assert_eq!(told.len(), jobs.len(), "{told:?}");
    for (job, id) in jobs.iter().zip(&ids) {
        let found = told.iter().find(|told| told.batch_id == *id).unwrap();
        assert_eq!(found.name, job.name);
    }
    // Which of them run is for the batch system to say.
    let begin = Instant::now();
    let (up, down) = loop {
        let all = 0..jobs.len();
        let (up, down): (Vec<_>, Vec<_>) = all.partition(|place| {
            let name = format!("p{}", jobs[*place].pilot.0);
            bench.path(&name, "up").exists()
        });
        if up.len() == FULL as usize {
            break (up, down);
        }
        assert!(begin.elapsed() < DEADLINE, "only {up:?} are up");
        tokio::time::sleep(LOOK).await;
    };
    // One that waits and one that runs are cancelled, and no other.
    let (runs, waits) = (up[0], down[down.len() - 1]);
    let gone = [ids[runs].clone(), ids[waits].clone()];
    bed.system().cancel(&gone).await.unwrap();
    for id in &gone {
        bench.until_ended(id).await;
    }
    for job in &jobs {
        bench.let_go(&format!("p{}", job.pilot.0));
    }
    for (job, id) in jobs.iter().zip(&ids) {
        let end = bench.until_ended(id).await;
        if gone.contains(id) {
            continue;
        }
        assert!(!end.contains("CANCELLED"), "{id}: {end}");
        let read = std::fs::read_to_string(bench.path(&format!("p{}", job.pilot.0), "in"));
        assert_eq!(read.unwrap(), job.stdin);
    }
    assert!(
        !bench
            .path(&format!("p{}", jobs[waits].pilot.0), "up")
            .exists(),
        "a cancelled job was started"
    );
    bench.clear().await;
}

async fn a_program_starts_once_on_every_node(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let (ce, nodes) = bed.wide_ce().unwrap();
    let mut job = bench.job("wide", 1, "");
    job.ce = ce;
    job.nodes = nodes;
    // Each hears of the end by itself, and has time to do something about it.
    job.program[2] = format!(
        "trap 'sleep 0.2; touch \"$0.warned\"; exit 0' TERM; \
         mkdir \"$0.$FAIRWAY_NODE\" || exit 1; set -- \"$0\"; {}",
        job.program[2].replace("$0", "$0.$FAIRWAY_NODE")
    )
    .replace("touch \"$0.warned\"", "touch \"$0.$FAIRWAY_NODE.warned\"");
    let id = bed.system().submit(&[job.clone()]).await.remove(0).unwrap();
    for node in 0..nodes {
        bench.until_exists(&format!("wide.{node}"), "up").await;
        let read = std::fs::read_to_string(bench.path(&format!("wide.{node}"), "in")).unwrap();
        assert_eq!(read, DOCUMENT, "on node {node}");
    }
    // The job lasts until the last of them is over.
    for node in 1..nodes {
        bench.let_go(&format!("wide.{node}"));
    }
    assert_eq!(bench.state(&id).await, BatchState::Running);
    bench.let_go("wide.0");
    bench.until_ended(&id).await;
    assert!(!bench.path(&format!("wide.{nodes}"), "up").exists());

    job.name.push_str("-again");
    job.program[3].push_str("-again");
    let id = bed.system().submit(&[job]).await.remove(0).unwrap();
    for node in 0..nodes {
        bench
            .until_exists(&format!("wide-again.{node}"), "up")
            .await;
    }
    bed.system()
        .cancel(std::slice::from_ref(&id))
        .await
        .unwrap();
    bench.until_ended(&id).await;
    for node in 0..nodes {
        let warned = bench.path(&format!("wide-again.{node}"), "warned");
        assert!(warned.exists(), "no warning before the end on node {node}");
    }
    bench.clear().await;
}

async fn a_job_is_cancelled_in_every_state(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    // The program itself hears SIGTERM, and has time to do something about it.
    let mut job = bench.job("runs", FULL, "");
    job.program[2] = format!(
        "trap 'sleep 0.2; touch \"$0.warned\"; exit 0' TERM; {}",
        job.program[2]
    );
    let running = bed.system().submit(&[job]).await.remove(0).unwrap();
    bench.until_exists("runs", "up").await;
    let queued = bench.submit("waits", 1, "").await;
    assert!(matches!(
        bench.state(&queued).await,
        BatchState::Queued { .. }
    ));

    bed.system()
        .cancel(std::slice::from_ref(&queued))
        .await
        .unwrap();
    bench.until_ended(&queued).await;
    assert_eq!(bench.state(&running).await, BatchState::Running);

    bed.system()
        .cancel(std::slice::from_ref(&running))
        .await
        .unwrap();
    bench.until_ended(&running).await;
    // Some batch systems say that a job is over while it is just ending.
    bench.until_exists("runs", "warned").await;
    assert!(
        !bench.path("waits", "up").exists(),
        "a cancelled job was started"
    );

    // Once more, now that both are over.
    bed.system().cancel(&[running, queued]).await.unwrap();
    bench.clear().await;
}

async fn the_batch_system_goes_away_and_comes_back(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let id = bench.submit("runs", 1, "exit 0").await;
    bench.until_exists("runs", "up").await;
    bench.until_running(&id).await;

    bed.take_away();
    let known = [id.clone()];
    let late = [bench.job("late", 1, ""), bench.job("later", 1, "")];
    let ces = [bed.ce()];
    // All at once, because each may take as long as its batch system tries for.
    let (submitted, polled, cancelled, published) = tokio::join!(
        bed.system().submit(&late),
        bed.system().poll(&bench.prefix, &known),
        bed.system().cancel(&known),
        bed.system().publish(&ces, Timestamp(0)),
    );
    bed.bring_back();

    assert_eq!(submitted.len(), 2);
    for result in submitted {
        assert!(
            matches!(result, Err(AdapterError::Unreachable(_))),
            "{result:?}"
        );
    }
    assert!(
        matches!(polled, Err(AdapterError::Unreachable(_))),
        "{polled:?}"
    );
    assert!(
        matches!(cancelled, Err(AdapterError::Unreachable(_))),
        "{cancelled:?}"
    );
    assert!(
        matches!(published, Err(AdapterError::Unreachable(_))),
        "{published:?}"
    );

    assert_eq!(bench.state(&id).await, BatchState::Running);
    assert_eq!(
        bench.jobs(&known).await.len(),
        1,
        "the late jobs were not submitted"
    );
    bench.let_go("runs");
    bench.until_ended(&id).await;
    bench.clear().await;
}

async fn a_submission_whose_reply_was_lost_is_found_by_its_name(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let forgotten = bench.job("forgotten", 1, "exit 0");
    let id = bed
        .system()
        .submit(std::slice::from_ref(&forgotten))
        .await
        .remove(0)
        .unwrap();
    let found = bench.jobs(&[]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].batch_id, &found[0].name), (&id, &forgotten.name));
    // It is not taken for somebody else's.
    assert_eq!(bed.system().poll("fw-nobody-", &[]).await, Ok(vec![]));
    bench.let_go("forgotten");
    bench.clear().await;
}

async fn refusals_are_in_the_batch_systems_words(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let job = bench.job("refused", 1, "");
    for (bad, words) in bed.refused(&job) {
        // The process of a web server that answers may be lost: no answer is no refusal yet.
        let begin = Instant::now();
        let answer = loop {
            match bed
                .system()
                .submit(std::slice::from_ref(&bad))
                .await
                .remove(0)
            {
                Err(AdapterError::Unreachable(_)) if begin.elapsed() < DEADLINE => {}
                answer => break answer,
            }
        };
        match answer {
            Err(AdapterError::Refused(text)) => assert!(text.contains(words), "{text}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    // Slurm keeps a record of some that it refused; none of them may live.
    for job in bench.jobs(&[]).await {
        assert!(matches!(job.state, BatchState::Ended { .. }), "{job:?}");
    }
}

async fn unknown_ids_are_no_error(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let ids = ["4000000", "no-such-job", "--help", "; touch x"].map(str::to_owned);
    assert_eq!(bench.jobs(&ids).await, []);
    bed.system().cancel(&ids).await.unwrap();
    bed.system().cancel(&[]).await.unwrap();
    assert_eq!(bed.system().publish(&[], Timestamp(0)).await, Ok(vec![]));
}

async fn what_is_published_follows_the_load(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    // A controller that has just come back learns what its nodes are only when they report.
    let begin = Instant::now();
    let mut idle = bench.published(bed.ce()).await;
    let is_told = |state: &CeState| {
        let silent = bed.does_not_tell().contains(&Untold::Architecture);
        (silent || state.architecture.is_some()) && state.operating_system.is_some()
    };
    while !is_told(&idle) {
        assert!(begin.elapsed() < DEADLINE, "{idle:?}");
        tokio::time::sleep(LOOK).await;
        idle = bench.published(bed.ce()).await;
    }
    assert_eq!((idle.status, &idle.reason), (CeStatus::Production, &None));
    assert_eq!(
        (idle.cores_total, idle.cores_free),
        (Some(FULL), Some(FULL))
    );
    assert_eq!((idle.jobs_running, idle.jobs_waiting), (Some(0), Some(0)));
    assert_eq!((idle.cores_offline, idle.node_cores), (Some(0), Some(FULL)));
    assert!(idle.node_memory_mib > Some(0));
    assert!(!idle.lrms.0.is_empty() && !idle.lrms.1.is_empty());

    let running = bench.submit("runs", FULL, "").await;
    bench.until_running(&running).await;
    bench.submit("waits", 1, "").await;
    let busy = bench.published(bed.ce()).await;
    assert_eq!(busy.cores_free, Some(0));
    assert_eq!((busy.jobs_running, busy.jobs_waiting), (Some(1), Some(1)));
    bench.clear().await;

    if let Some(absent) = bed.absent_ce() {
        let state = bench.published(absent).await;
        assert_eq!(state.status, CeStatus::Closed);
        assert!(state.reason.is_some());
    }
}

macro_rules! conformance {
    ($module:ident, $bed:ty: $($test:ident),* $(,)?) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(bed) = <$bed>::new().await {
                        super::$test(&bed).await;
                    }
                }
            )*
        }
    };
    ($($module:ident: $bed:ty $(, also $($more:ident),+)?;)*) => {
        $(
            conformance!(
                $module, $bed:
                $($($more,)+)?
                a_job_waits_runs_and_ends,
                a_bulk_submission_answers_in_order,
                pilots_in_bulk_are_told_apart,
                a_job_is_cancelled_in_every_state,
                the_batch_system_goes_away_and_comes_back,
                a_submission_whose_reply_was_lost_is_found_by_its_name,
                refusals_are_in_the_batch_systems_words,
                unknown_ids_are_no_error,
                what_is_published_follows_the_load,
            );
        )*
    };
}

conformance! {
    kubernetes: crate::bed::KubernetesBed;
    local: crate::bed::LocalBed;
    oar: crate::bed::OarBed;
    oar_rest: crate::bed::OarRestBed;
    openpbs: crate::bed::OpenPbsBed;
    torque: crate::bed::TorqueBed;
    slurm: crate::bed::SlurmBed, also a_program_starts_once_on_every_node;
    slurm_rest: crate::bed::SlurmRestBed, also a_program_starts_once_on_every_node;
    slurm_ssh: crate::bed::OverSsh<crate::bed::SlurmBed>, also a_program_starts_once_on_every_node;
    oar_ssh: crate::bed::OverSsh<crate::bed::OarBed>;
    torque_ssh: crate::bed::OverSsh<crate::bed::TorqueBed>;
}
