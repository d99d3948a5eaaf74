//! A disk that is full: what was acknowledged stays, what was not is told, and when there is
//! room again the work goes on.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fairway_api::ProblemCode;
use fairway_api::public::{JobView, SubmitReply};
use fairway_model::JobId;
use insta::assert_snapshot;
use reqwest::StatusCode;

use crate::common::{Fairway, Setup, User, http, problem, until, until_true};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The command that runs a shell script with mounts of its own, as root or not. What follows are
/// the script's arguments.
pub(crate) fn with_own_mounts(script: &str) -> Vec<String> {
    let mut words = vec!["unshare", "--mount"];
    if !is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words.extend(["sh", "-c", script, "sh"]);
    words.into_iter().map(str::to_owned).collect()
}

/// A small file system on the server's state folder that nobody else sees. It goes with this
/// value, not with the server.
struct SmallDisk {
    holder: Child,
    filler: PathBuf,
}

impl SmallDisk {
    const SIZE: &str = "16m";

    async fn mount(setup: &Setup) -> Self {
        let folder = setup.folder();
        let (state, ready) = (folder.join("state"), folder.join("mounted"));
        let script = format!(
            "mount -t tmpfs -o size={} tmpfs {} && echo >{} && exec sleep infinity",
            Self::SIZE,
            state.display(),
            ready.display()
        );
        let words = with_own_mounts(&script);
        let mut command = Command::new(&words[0]);
        let holder = command
            .args(&words[1..])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until_true("the disk is mounted", async || ready.exists()).await;
        // What is mounted there is seen through the holder's eyes only.
        let filler = PathBuf::from(format!("/proc/{}/root{}", holder.id(), state.display()));
        Self {
            holder,
            filler: filler.join("filler"),
        }
    }

    /// What a server must be run by to see the disk.
    fn prefix(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        let mut words = vec!["nsenter", "--target", &target, "--mount"];
        if !is_root() {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.push("--");
        words.into_iter().map(str::to_owned).collect()
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(&self.filler).unwrap();
        for size in [64 << 10, 1 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(&self.filler).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself, which is told by the test.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// One try to submit a job of some size, under an `Idempotency-Key` made from its number.
async fn try_submit(fairway: &Fairway, who: &User, number: u32) -> reqwest::Response {
    let jdl = format!(
        "[ JobName = \"job-{number}\"; Executable = \"/bin/true\"; ]\n# {}",
        "x".repeat(20_000)
    );
    http()
        .post(format!("{}/v1/jobs", fairway.url()))
        .bearer_auth(&who.token)
        .header("content-type", "application/jdl")
        .header("idempotency-key", format!("key-{number}"))
        .body(jdl)
        .send()
        .await
        .unwrap()
}

async fn jobs(who: &User) -> Vec<JobId> {
    let jobs: Vec<JobView> = who
        .run(&["status", "--json", "--limit", "1000"])
        .await
        .json();
    jobs.into_iter().map(|job| job.id).rev().collect()
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let setup = Setup::new();
    let disk = SmallDisk::mount(&setup).await;
    let mut fairway = setup.within(disk.prefix()).start().await;
    let alice = fairway.user("alice").await;

    let mut acknowledged = Vec::new();
    disk.fill();
    // Some still find room in what the database has already.
    let (refused, answer) = loop {
        let number = u32::try_from(acknowledged.len()).unwrap();
        assert!(number < 1000, "the disk is never full");
        let answer = try_submit(&fairway, &alice, number).await;
        if !answer.status().is_success() {
            break (number, answer);
        }
        acknowledged.push(answer.json::<SubmitReply>().await.unwrap().job);
    };
    assert!(answer.headers().contains_key("retry-after"));
    let problem = problem(answer).await;
    assert_eq!(problem.code, ProblemCode::StoreUnavailable, "{problem}");
    assert_snapshot!(problem.detail);
    assert!(jobs(&alice).await.starts_with(&acknowledged));

    disk.make_room();
    let accepted = until("the server accepts jobs again", async || {
        let answer = try_submit(&fairway, &alice, refused).await;
        let accepted = [StatusCode::CREATED, StatusCode::OK].contains(&answer.status());
        if accepted {
            Some(answer.json::<SubmitReply>().await.unwrap())
        } else {
            None
        }
    })
    .await;
    acknowledged.push(accepted.job);
    assert_eq!(jobs(&alice).await, acknowledged);

    fairway.kill();
    fairway.start_again().await;
    assert_eq!(jobs(&alice).await, acknowledged);
}
