//! The pilot as a process, against a server that stands in for the real one.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod allocation;
mod payloads;
mod server;
#[path = "../stand_in/mod.rs"]
mod stand_in;
mod trees;

use std::time::{Duration, Instant};

use fairway_model::AttemptEnd;

use stand_in::{PATIENCE, Pilot, StandIn};

const OK: AttemptEnd = AttemptEnd::Exited { code: 0 };

async fn drain(server: &StandIn, pilot: &mut Pilot) {
    server.change(|books| books.drain = true);
    assert_eq!(pilot.end().await, Some(0));
    assert!(server.look().goodbye.is_some(), "it said no goodbye");
}

/// The states (proc_pid_stat(5)) of the processes that carry this text in their command line.
fn states(text: &str) -> Vec<char> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let of = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let carries = line.windows(text.len()).any(|part| part == text.as_bytes());
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let state = stat.rsplit_once(") ")?.1.chars().next()?;
        carries.then_some(state)
    };
    processes.filter_map(of).collect()
}

/// Whether any process carries this text in its command line. Tests run at once: each has texts of
/// its own.
fn runs(text: &str) -> bool {
    !states(text).is_empty()
}

async fn wait_until_gone(text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while runs(text) {
        assert!(Instant::now() < deadline, "`{text}` still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
