//! What a payload gets, what it gives, and what is told where it cannot start.

use std::collections::BTreeMap;
use std::io::Read;

use fairway_api::pilot::InputFile;
use fairway_model::{Attempt, AttemptEnd, JobId, TaskId};
use sha2::{Digest, Sha256};

use super::stand_in::{Pilot, SECRET, StandIn, TOKEN, lease, shell};
use super::{OK, drain};

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

pub(super) fn unpack(archive: &[u8]) -> BTreeMap<String, String> {
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
