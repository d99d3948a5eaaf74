//! How the program ends when something about its call is wrong: exit codes and last words.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program in an empty folder, away from the settings of whoever runs the tests.
fn fairway(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command
        .current_dir(folder)
        .env_remove("FAIRWAY_SERVER")
        .env_remove("FAIRWAY_TOKEN")
        .env("XDG_CONFIG_HOME", folder);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    fairway(folder)
        .args(arguments)
        .output()
        .expect("the program can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn inputs_that_cannot_be_used_start_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name, jdl| std::fs::write(folder.path().join(name), jdl).unwrap();
    write("broken.jdl", "[ Executable = ; ]");
    write(
        "missing.jdl",
        "[ Executable = \"a.sh\";\n InputSandbox = \"a.sh\"; ]",
    );
    for (file, code, told) in [
        ("broken.jdl", 3, "broken.jdl"),
        ("missing.jdl", 5, "missing.jdl:1"),
        ("nowhere.jdl", 5, "nowhere.jdl"),
    ] {
        let output = run(folder.path(), &["run", file]);
        assert_eq!(output.status.code(), Some(code), "{file}");
        let remarks = text(&output.stderr);
        assert!(remarks.contains(told), "{file}: {remarks}");
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = fairway(folder.path())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn without_a_server_the_user_is_told_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("FAIRWAY_SERVER"));
}
