//! `fairway run`: the first thing that anybody tries.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use insta::assert_snapshot;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::cli::{self, FAIRWAY, Ran};
use crate::common::{checkout, lines, process, until, until_true};

/// A user's folder, with a home and a place for temporary files in it.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("fairway-run-")
        .tempdir()
        .unwrap();
    for name in ["home", "tmp"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}

async fn fairway_run(folder: &Path, args: &[&str]) -> Ran {
    let mut command = cli::command(FAIRWAY, folder);
    command.arg("run").args(args);
    let ran = cli::run(command).await;
    assert_nothing_left(folder);
    ran
}

/// No process of the run, and nothing of its state.
#[track_caller]
fn assert_nothing_left(folder: &Path) {
    let left = process::of(folder);
    assert!(left.is_empty(), "{left:?}");
    for name in ["tmp", "home"] {
        let entries: Vec<_> = std::fs::read_dir(folder.join(name)).unwrap().collect();
        assert!(entries.is_empty(), "{entries:?}");
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn example(path: &str) -> String {
    checkout()
        .join("examples")
        .join(path)
        .to_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn hello_prints_what_the_task_prints() {
    let folder = folder();
    let ran = fairway_run(folder.path(), &[&example("hello/hello.jdl")]).await;
    let printed = ran.ok();
    assert!(printed.to_lowercase().contains("hello"), "{printed}");
}

/// Runs an example and returns the folder that its outputs came to.
async fn run_example(folder: &Path, path: &str) -> PathBuf {
    let results = folder.join("results");
    let args = [&example(path), "--output-dir", results.to_str().unwrap()];
    fairway_run(folder, &args).await.ok();
    results
}

#[tokio::test]
async fn the_sweep_computes_what_its_check_expects() {
    let folder = folder();
    let results = run_example(folder.path(), "sweep/sweep.jdl").await;
    let mut check = cli::command("sh", folder.path());
    check.arg(example("sweep/check.sh")).arg(&results);
    cli::run(check).await.ok();
}

#[tokio::test]
async fn the_collection_and_the_dag_compute_what_their_checks_expect() {
    for name in ["collection", "dag"] {
        let folder = folder();
        let results = run_example(folder.path(), &format!("{name}/{name}.jdl")).await;
        let mut check = cli::command("sh", folder.path());
        check
            .arg(example(&format!("{name}/check.sh")))
            .arg(&results);
        cli::run(check).await.ok();
    }
}

#[tokio::test]
async fn the_example_in_the_other_dialect_counts_all_primes() {
    let folder = folder();
    let results = run_example(folder.path(), "dirac/primes.jdl").await;
    let counts = (0..10).map(|index| {
        let path = results.join(format!("{index}/primes-{index}.txt"));
        std::fs::read_to_string(path)
            .unwrap()
            .trim()
            .parse::<u32>()
            .unwrap()
    });
    // The number of primes below 10,000.
    assert_eq!(counts.sum::<u32>(), 1229);
}

#[tokio::test]
async fn the_example_with_requirements_finds_this_machine() {
    let folder = folder();
    let results = run_example(folder.path(), "requirements/requirements.jdl").await;
    let statistics = std::fs::read_to_string(results.join("statistics.txt")).unwrap();
    assert_eq!(statistics.lines().count(), 4, "{statistics}");
}

#[tokio::test]
async fn files_of_equal_base_names_reach_their_own_tasks() {
    let folder = folder();
    for (node, content) in [("node0", "zero"), ("node1", "one")] {
        std::fs::create_dir(folder.path().join(node)).unwrap();
        write(folder.path(), &format!("{node}/in.txt"), content);
    }
    let jdl = write(
        folder.path(),
        "each.jdl",
        r#"[ JobType = "Parametric"; Executable = "/bin/cat"; Arguments = "in.txt";
             InputSandbox = {"node_PARAM_/in.txt"}; StdOutput = "out.txt";
             OutputSandbox = {"out.txt"};
             Parameters = 2; ParameterStart = 0; ParameterStep = 1; ]"#,
    );
    let results = folder.path().join("results");
    let args = [&jdl, "--output-dir", results.to_str().unwrap()];
    fairway_run(folder.path(), &args).await.ok();
    for (path, content) in [("0/out.txt", "zero"), ("1/out.txt", "one")] {
        assert_eq!(
            std::fs::read_to_string(results.join(path)).unwrap(),
            content
        );
    }
}

#[tokio::test]
async fn a_failing_payload_fails_the_run() {
    let folder = folder();
    let jdl = write(
        folder.path(),
        "fails.jdl",
        r#"[ Executable = "/bin/sh"; Arguments = "-c 'echo so far; echo too bad >&2; exit 7'"; ]"#,
    );
    let ran = fairway_run(folder.path(), &[&jdl]).await;
    assert_eq!(ran.stdout, "so far\n");
    let told = ran.fails(1);
    assert!(told.contains("too bad"), "{told}");
    assert!(told.contains("exited with 7"), "{told}");
}

#[tokio::test]
async fn one_failing_task_of_many_fails_the_run() {
    let folder = folder();
    let jdl = write(
        folder.path(),
        "some.jdl",
        r#"[ JobType = "Parametric"; Executable = "/bin/sh"; Arguments = "-c 'exit _PARAM_'";
             Parameters = {0, 3, 0}; ]"#,
    );
    let told = fairway_run(folder.path(), &[&jdl]).await.fails(1);
    assert!(told.contains("1 of 3 tasks did not succeed"), "{told}");
    assert!(told.contains("exited with 3"), "{told}");
}

#[tokio::test]
async fn a_broken_text_is_told_with_its_places() {
    let folder = folder();
    let jdl = write(
        folder.path(),
        "broken.jdl",
        "[\n  Executable = \"/bin/true;\n  RetryCount = \"three\";\n]\n",
    );
    let first = fairway_run(folder.path(), &[&jdl]).await.fails(3);
    let jdl = write(
        folder.path(),
        "wrong.jdl",
        "[\n  Executable = 5;\n  RetryCount = \"three\";\n  CpuNumber = -1;\n]\n",
    );
    let second = fairway_run(folder.path(), &[&jdl]).await.fails(3);
    let told = format!("{first}\n{second}").replace(folder.path().to_str().unwrap(), "[folder]");
    assert!(told.contains('^'), "{told}");
    assert_snapshot!(told);
}

#[tokio::test]
async fn an_interrupt_leaves_nothing_behind() {
    let folder = folder();
    let mark = folder.path().join("started");
    let jdl = write(
        folder.path(),
        "long.jdl",
        &format!(
            r#"[ Executable = "/bin/sh"; Arguments = "-c 'echo $$ > {}; sleep 600'"; ]"#,
            mark.display()
        ),
    );
    let mut command = cli::command(FAIRWAY, folder.path());
    command
        .args(["run", &jdl])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut run = command.spawn().unwrap();
    until_true("the payload runs", async || !lines(&mark).is_empty()).await;
    process::signal(i32::try_from(run.id()).unwrap(), Signal::INT);
    let status = until("the run has ended", async || run.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(130));
    assert_nothing_left(folder.path());
}
