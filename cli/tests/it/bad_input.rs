//! Input that is wrong, hostile or too large, tokens that are no good, and settings that cannot
//! be used: each is a clear error, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairway_api::ProblemCode;
use fairway_api::public::{TaskView, TokenCreated, TokenRequest};
use fairway_model::Role;
use insta::assert_snapshot;
use regex::Regex;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, StatusCode};

use crate::common::{Fairway, Ran, Setup, User, http, problem, submit, task, until};

/// A submission of a body as it is.
async fn post(
    fairway: &Fairway,
    who: &User,
    kind: &str,
    body: impl Into<Body>,
) -> reqwest::Response {
    http()
        .post(format!("{}/v1/jobs", fairway.url()))
        .bearer_auth(&who.token)
        .header("content-type", kind)
        .body(body)
        .send()
        .await
        .unwrap()
}

async fn post_form(fairway: &Fairway, who: &User, form: Form) -> reqwest::Response {
    let request = http().post(format!("{}/v1/jobs", fairway.url()));
    request
        .bearer_auth(&who.token)
        .multipart(form)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn texts_that_are_no_jdl() {
    let fairway = Setup::new().start().await;
    let alice = fairway.user("alice").await;
    let jdl = "application/jdl";
    let mut told = String::new();
    for (what, body) in [
        ("nothing", &b""[..]),
        ("an open string", b"[ Executable = \"/bin/true; ]"),
        ("several mistakes", b"[ Executable = ; RetryCount = \"three\"; CpuNumber = 0; ]"),
        ("wrong types", b"[ Executable = 7; Arguments = {1}; RetryCount = \"three\"; Environment = 5; ]"),
        ("no executable", b"[ JobName = \"idle\"; ]"),
        ("paths that leave the folder", b"[ Executable = \"/bin/true\"; StdOutput = \"../out\"; OutputSandbox = {\"../../etc/passwd\", \"/etc/shadow\"}; ]"),
        ("brackets without end", b"[[[[[[[[[["),
    ] {
        let problem = problem(post(&fairway, &alice, jdl, body.to_vec()).await).await;
        assert_eq!(problem.code, ProblemCode::InvalidJdl, "{what}: {problem}");
        told.push_str(&format!("# {what}\n{}\n", problem.detail));
        for diagnostic in &problem.diagnostics {
            told.push_str(&format!("{}\n", diagnostic.rendered));
        }
    }
    assert_snapshot!(told);

    // Deeper than any stack, and bytes that are no text.
    let deep = "(".repeat(1_000_000);
    let deep = problem(post(&fairway, &alice, jdl, format!("[ Executable = {deep}")).await).await;
    assert_eq!(deep.code, ProblemCode::InvalidJdl);
    let garbage: Vec<u8> = (0..100_000_u32)
        .map(|it| (it.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for (kind, code) in [
        (jdl, ProblemCode::InvalidJdl),
        ("application/json", ProblemCode::BadRequest),
        ("multipart/form-data; boundary=x", ProblemCode::BadRequest),
        ("multipart/form-data", ProblemCode::BadRequest),
        ("image/png", ProblemCode::UnsupportedMediaType),
    ] {
        let problem = problem(post(&fairway, &alice, kind, garbage.clone()).await).await;
        assert_eq!(problem.code, code, "{kind}: {problem}");
    }
    assert!(
        alice
            .run(&["status", "--json"])
            .await
            .json::<Vec<TaskView>>()
            .is_empty()
    );
}

/// A body of a GiB of zeros that tells how much of it was taken.
fn gigabyte() -> (Body, Arc<AtomicU64>) {
    const CHUNK: usize = 64 << 10;
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let chunks = (0..(1 << 30) / CHUNK).map(move |_| {
        counter.fetch_add(CHUNK as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![0_u8; CHUNK])
    });
    (Body::wrap_stream(futures::stream::iter(chunks)), taken)
}

/// The most memory that a process has had, in KiB.
fn peak_memory_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_gigabyte_is_refused_early() {
    const EARLY: u64 = 64 << 20;
    let fairway = Setup::new()
        .set("sandbox.input_bytes_max", 1 << 20)
        .start()
        .await;
    let alice = fairway.user("alice").await;
    let before_kib = peak_memory_kib(fairway.pid());

    for kind in ["application/jdl", "application/json", "image/png"] {
        let (body, taken) = gigabyte();
        let answer = post(&fairway, &alice, kind, body).await;
        let taken = taken.load(Ordering::Relaxed);
        let problem = problem(answer).await;
        let expected = if kind == "image/png" {
            ProblemCode::UnsupportedMediaType
        } else {
            ProblemCode::TooLarge
        };
        assert_eq!(problem.code, expected, "{problem}");
        assert!(taken < EARLY, "{kind}: {taken} bytes were taken");
    }

    // As a file of a sandbox.
    let (body, taken) = gigabyte();
    let jdl = "[ Executable = \"/bin/true\"; InputSandbox = {\"zeros\"}; ]";
    let form = Form::new()
        .text("jdl", jdl)
        .part("input", Part::stream(body).file_name("zeros"));
    let answer = post_form(&fairway, &alice, form).await;
    assert!(taken.load(Ordering::Relaxed) < EARLY);
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(problem(answer).await.code, ProblemCode::TooLarge);

    // Announced: refused before anything is read.
    let (body, taken) = gigabyte();
    let announced = http()
        .post(format!("{}/v1/jobs", fairway.url()))
        .bearer_auth(&alice.token)
        .header("content-type", "application/jdl")
        .header("content-length", 1_u64 << 30)
        .body(body);
    let answer = announced.send().await.unwrap();
    assert!(taken.load(Ordering::Relaxed) < EARLY);
    assert_snapshot!(problem(answer).await.detail);

    let grown_kib = peak_memory_kib(fairway.pid()) - before_kib;
    assert!(grown_kib < 64 << 10, "the server grew by {grown_kib} KiB");
    // The server is as well as before.
    submit(&alice.client, "[ Executable = \"/bin/true\"; ]").await;
}

#[tokio::test]
async fn requirements_that_nothing_can_meet_are_explained() {
    let fairway = Setup::new().local(1, 1).start().await;
    let alice = fairway.user("alice").await;
    let jdl = "[ Executable = \"/bin/true\"; \
               Requirements = other.GlueCEInfoTotalCPUs >= 4096 && other.GlueCEInfoLRMSType == \"local\"; ]";
    let job = submit(&alice.client, jdl).await;
    let explained = until("the site has published", async || {
        let explained = alice.client.explain(task(job, 0)).await.unwrap();
        let refusal = explained.ces.first()?.refusals.first()?;
        refusal
            .clause
            .contains("GlueCEInfoTotalCPUs")
            .then_some(explained)
    })
    .await;
    let [ce] = explained.ces.as_slice() else {
        panic!("{explained:?}")
    };
    assert!(!ce.eligible);
    let [refusal] = ce.refusals.as_slice() else {
        panic!("{explained:?}")
    };
    assert_snapshot!(format!(
        "{}\n{}\n{}",
        explained.summary, refusal.clause, refusal.because
    ));
    let text = alice.run(&["explain", &job.to_string()]).await.ok();
    assert!(text.contains(&refusal.because), "{text}");
}

#[tokio::test]
async fn sandbox_names_cannot_leave_their_folder() {
    let fairway = Setup::new().start().await;
    let alice = fairway.user("alice").await;
    let jdl = |names: &str| format!("[ Executable = \"/bin/cat\"; InputSandbox = {{{names}}}; ]");
    let file = |name: &str| Part::bytes(b"x".to_vec()).file_name(name.to_owned());
    let mut told = String::new();
    for (what, form) in [
        (
            "not sent",
            Form::new().text("jdl", jdl("\"../../etc/passwd\"")),
        ),
        (
            "a path that the JDL does not name",
            Form::new()
                .text("jdl", jdl("\"a\""))
                .part("input", file("../../etc/passwd")),
        ),
        (
            "a folder",
            Form::new()
                .text("jdl", jdl("\"..\""))
                .part("input", file("..")),
        ),
        (
            "two of one name",
            Form::new()
                .text("jdl", jdl("\"a\""))
                .part("input", file("a"))
                .part("input", file("a")),
        ),
    ] {
        let problem = problem(post_form(&fairway, &alice, form).await).await;
        told.push_str(&format!(
            "{what}: {}: {}\n",
            problem.code.name(),
            problem.detail
        ));
        for diagnostic in &problem.diagnostics {
            told.push_str(&format!("{}\n", diagnostic.rendered));
        }
    }
    assert_snapshot!(told);

    // The command line reads no more than the JDL names, and says what is not there.
    let path = fairway.folder().join("passwd.jdl");
    std::fs::write(&path, jdl("\"../nowhere/etc/passwd\"")).unwrap();
    let refused = alice
        .run(&["submit", path.to_str().unwrap()])
        .await
        .fails(5);
    assert!(
        refused.contains("passwd.jdl:1: the input sandbox names `../nowhere/etc/passwd`"),
        "{refused}"
    );
}

/// What the command line says to a token, without what differs from run to run.
fn said(ran: Ran) -> String {
    let moment = Regex::new("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z").unwrap();
    moment.replace_all(&ran.fails(3), "[moment]").into_owned()
}

#[tokio::test]
async fn tokens_that_are_no_good() {
    let fairway = Setup::new().start().await;
    let alice = fairway.user("alice").await;
    let job = submit(&alice.client, "[ Executable = \"/bin/true\"; ]").await;
    let subject = job.to_string();
    let status = ["status", subject.as_str()];
    alice.run(&status).await.ok();

    let brief = TokenRequest {
        name: "brief".parse().unwrap(),
        group: None,
        role: Role::User,
        sites: Vec::new(),
        valid_s: Some(1),
    };
    let brief: TokenCreated = fairway.operator.client.create_token(&brief).await.unwrap();
    let brief = fairway.holder(brief);
    let expired = until("the token has expired", async || {
        let ran = brief.run(&["status"]).await;
        (ran.code != Some(0)).then_some(ran)
    })
    .await;

    let revoked = fairway.user("revoked").await;
    revoked.run(&["status"]).await.ok();
    fairway
        .operator
        .run(&["token", "revoke", &revoked.id])
        .await
        .ok();

    let (known, secret) = alice.token.rsplit_once('_').unwrap();
    let wrong_secret = format!("{known}_{}", secret.chars().rev().collect::<String>());
    let pilot = format!("fwp_1_{secret}");
    let mut told = format!("# expired\n{}", said(expired));
    for (what, who) in [
        ("revoked", revoked.clone()),
        ("wrong secret", alice.with_token(&wrong_secret)),
        ("unknown", alice.with_token("fwu_nobody_nothing")),
        ("garbage", alice.with_token("let me in")),
        ("a pilot's", alice.with_token(&pilot)),
        ("none", alice.with_token("")),
    ] {
        told.push_str(&format!("# {what}\n{}", said(who.run(&status).await)));
    }
    // Good, but not for this.
    let mallory = fairway.user("mallory").await;
    let theirs = mallory.run(&status).await;
    told.push_str(&format!("# another user's job\n{}", said(theirs)));
    told.push_str(&format!(
        "# no such job\n{}",
        said(mallory.run(&["status", "4711"]).await)
    ));
    for args in [
        &["policy", "set", "--kind", "fifo"][..],
        &["token", "create", "mallory2", "--role", "operator"],
        &["token", "list"],
        &["site", "close", "here"],
        &["pilot", "kill", "p1"],
    ] {
        told.push_str(&format!(
            "# {}\n{}",
            args.join(" "),
            said(mallory.run(args).await)
        ));
    }
    assert_snapshot!(told);
}

#[tokio::test]
async fn settings_that_cannot_be_used() {
    let mut told = String::new();
    let mut note = |what: &str, setup: &Setup, ran: Ran, code: i32| {
        let stderr = ran.fails(code);
        let last_words = &stderr[stderr.find("error:").unwrap()..];
        let last_words = last_words.replace(setup.folder().to_str().unwrap(), "[folder]");
        told.push_str(&format!("# {what}\n{last_words}\n"));
    };

    let setup = Setup::new().set("http.listen", "0.0.0.0:8470");
    note(
        "no TLS, and not on loopback",
        &setup,
        setup.refused().await,
        3,
    );

    let setup = Setup::new().set("http.listen_on", "127.0.0.1:8470");
    note("an unknown setting", &setup, setup.refused().await, 3);

    let setup = Setup::new().set("pilots.idle_s", "soon");
    note("a wrong type", &setup, setup.refused().await, 3);

    let setup = Setup::new();
    let file = setup.folder().join("file");
    std::fs::write(&file, "x").unwrap();
    let setup = setup.set("state_dir", file.to_str().unwrap());
    note(
        "a file for a state folder",
        &setup,
        setup.refused().await,
        5,
    );

    let setup = Setup::new();
    let state = setup.folder().join("state").display().to_string();
    let read_only = format!("mount -t tmpfs -o ro tmpfs {state} && exec \"$@\"");
    let setup = setup.within(crate::disk::with_own_mounts(&read_only));
    note(
        "a state folder on a read-only file system",
        &setup,
        setup.refused().await,
        5,
    );
    assert_snapshot!(told);
}

#[tokio::test]
async fn a_second_server_on_the_same_state() {
    let first = Setup::new().start().await;
    let state = first.folder().join("state").display().to_string();
    let second = Setup::new().set("state_dir", state.clone());
    let told = second.refused().await.fails(5);
    assert!(
        told.contains(&format!(
            "process {} holds {state}/fairway.db.lock",
            first.pid()
        )),
        "{told}"
    );
    // The first one is none the worse for it.
    let alice = first.user("alice").await;
    submit(&alice.client, "[ Executable = \"/bin/true\"; ]").await;
}
