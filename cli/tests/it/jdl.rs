//! The tools for job descriptions, as people use them: on files, folders, and in pipes.

use std::path::Path;
use std::process::Stdio;

use insta::assert_snapshot;
use tokio::io::AsyncWriteExt as _;

use crate::common::checkout;
use crate::common::cli::{FAIRWAY, Ran, command, run};

const SWEEP: &str = r#"# A sweep
JobType = "Parametric";
Executable = "fit.sh"; Arguments = "--run _PARAM_ 'two words'";
Parameters = 30; RetryCount = 2; MyProxyServer = "px.example.org";
InputSandbox = { "fit.sh", "in/_PARAM_.dat" };
OutputSandbox = { "result__PARAM_.csv" };
Requirements = other.GlueCEPolicyMaxWallClockTime >= 120
            && Member("VO-biomed", other.GlueHostApplicationSoftwareRunTimeEnvironment);
Rank = other.GlueCEStateFreeCPUs
"#;

const DAG: &str = r#"[
  Type = "dag";
  DefaultNodeRetryCount = 1;
  Nodes = [
    prepare = [ Description = [ Executable = "prepare.sh" ] ];
    left = [ Description = [ Executable = "side.sh"; Arguments = "left" ] ];
    right = [ File = "right.jdl" ];
    merge = [ Description = [ Executable = "merge.sh" ] ];
    Dependencies = { { prepare, { left, right } }, { { left, right }, merge } }
  ];
]
"#;

const BROKEN: &str = "[\n  Executable = \"/bin/true\"\n  RetryCont = 3;\n  CpuNumber = 0;\n]\n";

const CE: &str = r#"{
  "GlueCEUniqueID": "ce.example.org/short", "GlueCEPolicyMaxWallClockTime": 60,
  "GlueCEStateFreeCPUs": 12,
  "GlueHostApplicationSoftwareRunTimeEnvironment": ["VO-atlas", "VO-biomed"]
}"#;

/// A folder with job descriptions.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir_all(folder.path().join("sub")).unwrap();
    write("sweep.jdl", SWEEP);
    write("sub/dag.jdl", DAG);
    write(
        "sub/right.jdl",
        "Executable = \"side.sh\"; Arguments = \"right\";",
    );
    write("broken.jdl", BROKEN);
    write("ce.json", CE);
    write("notes.txt", "not a job");
    folder
}

async fn jdl(folder: &Path, args: &[&str]) -> Ran {
    let mut command = command(FAIRWAY, folder);
    command.arg("jdl").args(args);
    run(command).await
}

/// With something on its standard input.
async fn jdl_with(folder: &Path, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = command(FAIRWAY, folder);
    command.arg("jdl").args(args);
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn a_folder_is_checked_as_a_whole() {
    let folder = folder();
    assert_snapshot!(jdl(folder.path(), &["check", "."]).await);
    let quiet = jdl(folder.path(), &["check", "--quiet", "sub", "sweep.jdl"]).await;
    assert_snapshot!("checked_quietly", quiet.ok());
    let strict = jdl(folder.path(), &["check", "--strict", "sweep.jdl"]).await;
    assert_snapshot!("checked_strictly", strict);
    let json: serde_json::Value = serde_json::from_str(
        &jdl(folder.path(), &["check", "--json", "broken.jdl"])
            .await
            .stdout,
    )
    .unwrap();
    assert_eq!(json["summary"]["refused"], 1);
    let latin1 = b"[ Executable = \"a\" ] // caf\xe9";
    std::fs::write(folder.path().join("latin1.jdl"), latin1).unwrap();
    jdl(folder.path(), &["check", "latin1.jdl"]).await.ok();
    let strict = jdl(folder.path(), &["check", "--strict", "latin1.jdl"]).await;
    assert!(strict.stdout.contains("not UTF-8"), "{strict}");
    strict.fails(3);
    assert_eq!(json["files"][0]["diagnostics"][0]["line"], 2);
}

#[tokio::test]
async fn texts_are_laid_out() {
    let folder = folder();
    let differ = jdl(folder.path(), &["fmt", "--check", "sweep.jdl"]).await;
    assert_eq!(differ.code, Some(1), "{differ}");
    jdl(folder.path(), &["fmt", "sweep.jdl", "sub/dag.jdl"])
        .await
        .ok();
    jdl(
        folder.path(),
        &["fmt", "--check", "sweep.jdl", "sub/dag.jdl"],
    )
    .await
    .ok();
    assert_snapshot!(std::fs::read_to_string(folder.path().join("sweep.jdl")).unwrap());
    let refused = jdl(folder.path(), &["fmt", "broken.jdl"]).await.fails(3);
    assert!(refused.contains("line 2"), "{refused}");
    let untouched = std::fs::read_to_string(folder.path().join("broken.jdl")).unwrap();
    assert_eq!(untouched, BROKEN);
}

/// The examples are what people begin with: without a warning, and in the one layout.
#[tokio::test]
async fn the_examples_are_as_they_should_be() {
    let examples = checkout().join("examples");
    let told = jdl(&examples, &["check", "."]).await.ok();
    assert!(!told.contains("warning:"), "{told}");
    let names = told.lines().filter_map(|line| line.split_once(':'));
    let names = names
        .map(|(name, _)| name)
        .filter(|name| name.ends_with(".jdl"));
    let args: Vec<_> = ["fmt", "--check"].into_iter().chain(names).collect();
    assert!(args.len() > 7, "{args:?}");
    jdl(&examples, &args).await.ok();
}

#[tokio::test]
async fn tasks_are_shown_before_they_run() {
    let folder = folder();
    assert_snapshot!(jdl(folder.path(), &["expand", "sweep.jdl", "--limit", "2"]).await);
    assert_snapshot!(
        "expanded_dag",
        jdl(folder.path(), &["expand", "sub/dag.jdl"]).await
    );
    let all = jdl(folder.path(), &["expand", "--json", "--all", "sweep.jdl"])
        .await
        .ok();
    let last: serde_json::Value = serde_json::from_str(all.lines().nth(29).unwrap()).unwrap();
    assert_eq!(last["outputs"][0], "result_29.csv");
}

#[tokio::test]
async fn a_description_is_explained() {
    let folder = folder();
    assert_snapshot!(jdl(folder.path(), &["explain", "sweep.jdl"]).await);
    assert_snapshot!(
        "explained_dag",
        jdl(folder.path(), &["explain", "sub/dag.jdl"]).await
    );
}

#[tokio::test]
async fn json_comes_back_as_it_went() {
    let folder = folder();
    for file in ["sweep.jdl", "sub/dag.jdl"] {
        let json = jdl(folder.path(), &["to-json", file]).await.ok();
        let (code, back, _) = jdl_with(folder.path(), &["from-json", "-"], &json).await;
        assert_eq!(code, Some(0));
        let (_, again, _) = jdl_with(folder.path(), &["to-json", "-"], &back).await;
        assert_eq!(again, json);
    }
    assert_snapshot!(jdl(folder.path(), &["to-json", "sweep.jdl"]).await.ok());
    let (code, _, told) = jdl_with(folder.path(), &["check", "-"], "{\"CpuNumber\": 0}").await;
    assert_eq!(code, Some(3), "{told}");
}

#[tokio::test]
async fn a_site_is_tried_out() {
    let folder = folder();
    let tried = jdl(folder.path(), &["match", "sweep.jdl", "--site", "ce.json"]).await;
    assert_eq!(tried.code, Some(1));
    assert_snapshot!(tried);
}

#[tokio::test]
async fn expressions_in_bulk() {
    let folder = folder();
    let lines = "1 + 1\n1/0\nsize({1, 2, 3})\n1 +\nRank\n\"a\\nb\"\n";
    let args = [
        "eval",
        "--lines",
        "--ad",
        "sweep.jdl",
        "--target",
        "ce.json",
    ];
    let (code, values, told) = jdl_with(folder.path(), &args, lines).await;
    assert_eq!(code, Some(3));
    assert_eq!(values, "2\nerror\n3\nerror\n12\n\"a\\nb\"\n");
    assert_snapshot!(told);
    let one = jdl(folder.path(), &["eval", "--json", "2.5 * 2"])
        .await
        .ok();
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["type"], "real");
}
