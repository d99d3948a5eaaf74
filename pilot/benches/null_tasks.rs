//! Null tasks a second through a pilot of 1 and of 2 cores, beside a bare loop that
//! spawns the same program and waits for it, and the memory of the pilot afterwards.
//!
//! `cargo bench -p fairway-pilot`. The server is the tests' stand-in, so this is what
//! the pilot itself costs; it shares the machine's cores with it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and may panic"
)]

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

use std::process::Command;
use std::time::Instant;

use stand_in::{Pilot, StandIn, lease};

const TASKS: u32 = 5_000;
const PROGRAM: &str = "/bin/true";

fn main() {
    let bare = bare_loop(1);
    println!("bare loop, 1 thread:  {bare:7.0} tasks/s");
    let bare_2 = bare_loop(2);
    println!("bare loop, 2 threads: {bare_2:7.0} tasks/s");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (cores, bare) in [(1, bare), (2, bare_2)] {
        let (rate, memory) = runtime.block_on(through_a_pilot(cores));
        let share = rate / bare * 100.0;
        println!(
            "pilot of {cores} core(s):   {rate:7.0} tasks/s, {share:.0} % of the bare loop; {memory}"
        );
    }
}

fn bare_loop(threads: u32) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..TASKS / threads {
                    let status = Command::new(PROGRAM).status().unwrap();
                    assert!(status.success());
                }
            });
        }
    });
    f64::from(TASKS) / start.elapsed().as_secs_f64()
}

async fn through_a_pilot(cores: u32) -> (f64, String) {
    let server = StandIn::start().await;
    let mut bootstrap = server.bootstrap();
    bootstrap.resources.cores = cores;
    let mut pilot = Pilot::start(&bootstrap).await;
    server
        .wait_until("registration", |books| !books.registrations.is_empty())
        .await;
    let start = Instant::now();
    server.change(|books| {
        books
            .queue
            .extend((0..TASKS).map(|i| lease(i, PROGRAM, &[])))
    });
    server
        .wait_until("the end", |books| books.reports_of_ends == TASKS)
        .await;
    let rate = f64::from(TASKS) / start.elapsed().as_secs_f64();
    let children = format!("/proc/{0}/task/{0}/children", pilot.pid());
    let inner = std::fs::read_to_string(children).unwrap();
    let memory = format!(
        "resident: pilot {}, guard {}; {} syncs",
        resident(inner.trim()),
        resident(&pilot.pid().to_string()),
        server.look().syncs,
    );
    server.change(|books| books.drain = true);
    assert_eq!(pilot.end().await, Some(0));
    (rate, memory)
}

fn resident(pid: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name| {
        status
            .lines()
            .find_map(|line: &str| line.strip_prefix(name))
            .unwrap()
            .trim()
    };
    format!("{} (anonymous {})", line("VmHWM:"), line("RssAnon:"))
}
