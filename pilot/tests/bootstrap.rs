//! Where the pilot program has its bootstrap document from.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Command, Output, Stdio};

fn pilot(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway-pilot"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs the pilot on a document in a file.
fn pilot_with(document: &str) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), document).unwrap();
    let output = pilot(&["--bootstrap", file.path().to_str().unwrap()]);
    let told = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), told)
}

#[test]
fn a_document_in_a_file_is_read_and_handed_on() {
    let document = serde_json::json!({
        "server": "no address at all", "pilot": "p7", "ce": "lyon/short",
        "secret": "hush", "resources": {"cores": 1, "memory_mib": 0, "gpus": 0},
        "walltime_s": 600, "idle_s": 1,
    });
    let (code, told) = pilot_with(&document.to_string());
    // The process that talks to the server has read it too: it is the one to give up.
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("not registered yet"), "{told}");
    assert!(!told.contains("bootstrap document"), "{told}");
}

#[test]
fn a_document_that_cannot_be_read_is_told_without_its_words() {
    let (code, told) = pilot_with("{\"secret\": \"hush\", ");
    assert_eq!(code, Some(2));
    assert!(told.contains("bootstrap document cannot be read"), "{told}");
    assert!(!told.contains("hush"), "{told}");
}

#[test]
fn other_arguments_are_refused() {
    for arguments in [&["--bootstrap"][..], &["--bootstrap", "a", "b"], &["file"]] {
        let output = pilot(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
