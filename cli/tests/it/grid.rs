//! Several sites at once: work goes where its rules say, flows around a batch system that is
//! away, and leaves no pilot behind.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fairway_api::client::Client;
use fairway_api::public::UsageQuery;
use fairway_model::{EventKind, JobId, TaskState};

use crate::common::own_slurm::OwnSlurm;
use crate::common::{
    Fairway, History, Setup, User, counting_payload, lines, over, submit, sweep, until, until_true,
};

/// A site `bed` on a Slurm cluster: one CE on the partition `short`.
fn slurm_site(slurm: &OwnSlurm, work_dir: &Path, ce: &str) -> String {
    format!(
        "name = \"bed\"\n\
         adapter = {{ kind = \"slurm\", conf = \"{}\", work_dir = \"{}\" }}\n\
         [[ces]]\n\
         name = \"short\"\n\
         {ce}\n",
        slurm.conf(),
        work_dir.display()
    )
}

/// Pilots leave their logs in a folder of the test's.
fn with_work_dir() -> (Setup, PathBuf) {
    let setup = Setup::new();
    let work_dir = setup.folder().join("pilots");
    std::fs::create_dir(&work_dir).unwrap();
    (setup, work_dir)
}

/// How many attempts ended at each site.
async fn ended_at(client: &Client, job: JobId) -> BTreeMap<String, u32> {
    let history = History::of(client, job).await;
    let mut at: BTreeMap<String, u32> = BTreeMap::new();
    let mut place = BTreeMap::new();
    for event in history.events {
        match event.kind {
            EventKind::TaskLeased { task, ce, .. } => {
                place.insert(task, ce.site.to_string());
            }
            EventKind::AttemptEnded { task, end, .. } if end.is_success() => {
                *at.entry(place[&task].clone()).or_default() += 1;
            }
            _ => {}
        }
    }
    at
}

/// A parametric job of so many tasks, with more attributes.
fn rules(name: &str, tasks: u32, program: &Path, more: &str) -> String {
    sweep(name, tasks, program).replacen('[', &format!("[ {more}"), 1)
}

async fn nothing_is_left(fairway: &Fairway, slurm: &OwnSlurm) {
    until_true("no pilot is left", async || {
        fairway.live_pilots().await.is_empty()
    })
    .await;
    until_true("Slurm's queue is empty", async || slurm.jobs().is_empty()).await;
}

/// The OAR test bed that `cargo xtask test` starts.
struct Oar {
    folder: PathBuf,
}

impl Oar {
    /// `None` only if whoever runs the tests said that they do without OAR.
    fn find() -> Option<Self> {
        if std::env::var("FAIRWAY_TEST_SKIP_OAR").is_ok_and(|value| value == "1") {
            return None;
        }
        let folder = std::env::var("FAIRWAY_TEST_OAR").unwrap_or_else(|_| {
            panic!(
                "no OAR to test with: run `cargo xtask test`, or set FAIRWAY_TEST_OAR to the \
                 folder of a test bed; FAIRWAY_TEST_SKIP_OAR=1 does without"
            )
        });
        Some(Self {
            folder: folder.into(),
        })
    }

    /// A site `grenoble`. Its jobs run as a user of the bed's, who sees the bed's folder but not
    /// the test's: the pilot program is copied there.
    fn site(&self) -> String {
        let work = self.folder.join("work");
        let program = work.join(format!("fairway-{}", std::process::id()));
        std::fs::copy(crate::common::cli::FAIRWAY, &program).unwrap();
        let start = program.with_extension("sh");
        let text = format!("#!/bin/sh\nexec {} pilot-agent\n", program.display());
        std::fs::write(&start, text).unwrap();
        std::fs::set_permissions(&start, std::fs::Permissions::from_mode(0o755)).unwrap();
        format!(
            "name = \"grenoble\"\n\
             adapter = {{ kind = \"oar\", bin_dir = \"{}\", work_dir = \"{}\" }}\n\
             [[ces]]\n\
             name = \"default\"\n\
             pilot_program = \"{}\"\n\
             shape = {{ cores = 4, walltime_s = 900 }}\n\
             limits = {{ pilots_max = 2, queued_max = 2 }}\n",
            self.folder.join("bin").display(),
            work.display(),
            start.display()
        )
    }

    /// Whether OAR has no job that waits or runs.
    fn is_empty(&self) -> bool {
        let oarstat = self.folder.join("bin/oarstat");
        let output = std::process::Command::new(oarstat).arg("-J").output();
        output.unwrap().stdout.iter().all(u8::is_ascii_whitespace)
    }
}

#[tokio::test]
async fn work_goes_where_its_rules_say_and_around_a_site_that_is_away() {
    const RANKED: u32 = 8;
    const EACH: u32 = 248;
    let Some(slurm) = OwnSlurm::up(4) else { return };
    let (setup, work_dir) = with_work_dir();
    let at_bed = slurm_site(
        &slurm,
        &work_dir,
        "shape = { cores = 4, memory_mib = 400, walltime_s = 900 }\n\
         limits = { pilots_max = 3, queued_max = 3 }\n\
         tags = [\"VO-biomed-GATE\"]",
    );
    let setup = setup.site(&at_bed).local(2, 4);
    let oar = Oar::find();
    let setup = match &oar {
        Some(oar) => setup.site(&oar.site()),
        None => setup,
    };
    let fairway = setup.start().await;
    let alice = fairway.user("alice").await;
    // Not a script of the test's: OAR's jobs are somebody else's.
    let sleep = |name: &str, tasks: u32, more: &str| {
        rules(name, tasks, Path::new("/bin/sleep"), more).replace("\"_PARAM_\"", "\"0.1_PARAM_\"")
    };
    let gate = "Requirements = Member(\"VO-biomed-GATE\", \
                other.GlueHostApplicationSoftwareRunTimeEnvironment);";
    // While there is room for all of them, Rank decides alone.
    let rank = "Rank = other.GlueSiteName == \"here\" ? 1 : 0;";
    let ranked = submit(&alice.client, sleep("ranked", RANKED, rank)).await;
    over(&alice.client, ranked).await;
    let at = ended_at(&alice.client, ranked).await;
    assert_eq!(at, [("here".to_owned(), RANKED)].into());

    let jobs = [
        ("tagged", gate),
        (
            "here",
            "Requirements = other.GlueCEInfoLRMSType == \"local\";",
        ),
        ("oar", "Requirements = other.GlueCEInfoLRMSType == \"oar\";"),
        ("free", ""),
    ];
    let mut ids = BTreeMap::new();
    for (name, more) in jobs {
        if name == "oar" && oar.is_none() {
            continue;
        }
        let job = submit(&alice.client, sleep(name, EACH, more)).await;
        ids.insert(name, job);
    }
    until_true("work is done at Slurm", async || {
        !ended_at(&alice.client, ids["tagged"]).await.is_empty()
    })
    .await;

    slurm.stop_controller();
    // What does not need Slurm is finished without it.
    for (_, job) in ids.iter().filter(|(name, _)| **name != "tagged") {
        over(&alice.client, *job).await;
    }
    slurm.start_controller();
    over(&alice.client, ids["tagged"]).await;

    for (name, job) in &ids {
        let history = History::of(&alice.client, *job).await;
        history.assert_each_succeeded_once(*job, EACH);
        let at = ended_at(&alice.client, *job).await;
        println!("{name}: {at:?}");
        match *name {
            "tagged" => assert_eq!(at, [("bed".to_owned(), EACH)].into()),
            "here" => assert_eq!(at, [("here".to_owned(), EACH)].into()),
            "oar" => assert_eq!(at, [("grenoble".to_owned(), EACH)].into()),
            _ => {}
        }
    }
    nothing_is_left(&fairway, &slurm).await;
    if let Some(oar) = oar {
        until_true("OAR's queue is empty", async || oar.is_empty()).await;
    }
}

#[tokio::test]
async fn a_pilot_on_each_node_of_an_allocation() {
    const NODES: usize = 4;
    let Some(slurm) = OwnSlurm::up(4) else { return };
    let (setup, work_dir) = with_work_dir();
    let site = slurm_site(
        &slurm,
        &work_dir,
        "shape = { cores = 1, memory_mib = 200, walltime_s = 900, nodes = 4 }\n\
         limits = { pilots_max = 4, queued_max = 4 }",
    );
    let fairway = setup.site(&site).start().await;
    let alice = fairway.user("alice").await;
    // Each waits for the others, so that they succeed only side by side.
    let folder = fairway.folder().display().to_string();
    let payload = fairway.script(
        "meet.sh",
        &format!(
            "touch {folder}/here.$1\nfor i in 0 1 2 3; do\n\
             while [ ! -e {folder}/here.$i ]; do sleep 0.1; done\ndone"
        ),
    );
    let job = submit(&alice.client, sweep("meet", 4, &payload)).await;
    over(&alice.client, job).await;
    let pilots = fairway.pilots().await;
    assert_eq!(pilots.len(), NODES, "{pilots:?}");
    let batch_ids: std::collections::BTreeSet<_> =
        pilots.iter().map(|pilot| pilot.batch_id.clone()).collect();
    assert_eq!(batch_ids.len(), 1, "one allocation: {pilots:?}");
    let history = History::of(&alice.client, job).await;
    history.assert_each_succeeded_once(job, 4);
    nothing_is_left(&fairway, &slurm).await;
}

/// A pilot program that behaves on all nodes but `n3`: what payloads find there is broken.
fn black_hole(fairway_folder: &Path) -> String {
    let bad = fairway_folder.join("black-hole");
    std::fs::create_dir(&bad).unwrap();
    format!(
        "[ \"$SLURMD_NODENAME\" != n3 ] || export TMPDIR={}\n\
         exec {} pilot-agent",
        bad.display(),
        crate::common::cli::FAIRWAY
    )
}

#[tokio::test]
async fn a_node_that_eats_tasks_is_set_aside() {
    const TASKS: u32 = 1000;
    let Some(slurm) = OwnSlurm::up(8) else { return };
    let (setup, work_dir) = with_work_dir();
    let program = setup.folder().join("pilot.sh");
    let text = format!("#!/bin/sh\n{}\n", black_hole(setup.folder()));
    std::fs::write(&program, text).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let site = slurm_site(
        &slurm,
        &work_dir,
        &format!(
            "pilot_program = \"{}\"\n\
             shape = {{ cores = 4, memory_mib = 400, walltime_s = 900 }}\n\
             limits = {{ pilots_max = 8, queued_max = 8 }}",
            program.display()
        ),
    );
    let fairway = setup.site(&site).start().await;
    let (alice, bob) = (fairway.user("alice").await, fairway.user("bob").await);
    let payload = fairway.script(
        "work.sh",
        "case $PWD in *black-hole*) exit 1;; esac\nsleep 0.3",
    );
    let jobs = [
        (
            &alice,
            submit(&alice.client, sweep("one", TASKS / 2, &payload)).await,
        ),
        (
            &bob,
            submit(&bob.client, sweep("two", TASKS / 2, &payload)).await,
        ),
    ];
    let mut failed = 0;
    for (user, job) in jobs {
        failed += failed_tasks(user, job).await;
    }
    println!("{failed} of {TASKS} tasks failed");
    assert!(failed < TASKS / 100, "{failed} of {TASKS} failed");
    let why = fairway.operator.run(&["site", "why", "bed"]).await.ok();
    assert!(why.contains("n3"), "{why}");
    nothing_is_left(&fairway, &slurm).await;
}

async fn failed_tasks(user: &User, job: JobId) -> u32 {
    over(&user.client, job).await.count(TaskState::Failed)
}

/// A cluster with a hole: one node is busy for minutes, the other idle until a large job of
/// somebody else's gets both. What fits into the hole may start now, all else comes after.
#[tokio::test]
async fn a_deadline_is_met_where_the_same_task_without_hints_waits() {
    let Some(slurm) = OwnSlurm::up(2) else { return };
    let (setup, work_dir) = with_work_dir();
    let busy = ["--parsable", "-p", "short", "-o", "/dev/null", "-D", "/tmp"];
    let sbatch = |more: &[&str]| slurm.run("sbatch", &[&busy[..], more].concat());
    sbatch(&["-w", "n1", "-c", "4", "-t", "4", "--wrap", "sleep 600"]);
    let large = sbatch(&["-N", "2", "--exclusive", "-t", "20", "--wrap", "true"]);
    until_true("the large job has its place in the plan", async || {
        slurm.run("squeue", &["-h", "-j", &large, "-o", "%S"]) != "N/A"
    })
    .await;
    let site = slurm_site(
        &slurm,
        &work_dir,
        "shape = { cores = 4, memory_mib = 400, walltime_s = 1500 }\n\
         limits = { pilots_max = 4, queued_max = 4 }",
    );
    let fairway = setup.site(&site).start().await;
    let alice = fairway.user("alice").await;
    let payload = counting_payload(&fairway, "0.2");
    // Too long for the hole: what is left of it after the hinted task is for all.
    let plain = submit(
        &alice.client,
        rules("plain", 1, &payload, "WallTime = 1200;"),
    )
    .await;
    until_true("a pilot waits for it", async || {
        fairway
            .live_pilots()
            .await
            .iter()
            .any(|pilot| pilot.batch_id.is_some())
    })
    .await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let hints = format!(
        "Deadline = {}; ExpectedDuration = 10; WallTime = 30; CpuNumber = 1;",
        now.as_secs() + 150
    );
    let hinted = submit(&alice.client, rules("hinted", 1, &payload, &hints)).await;
    over(&alice.client, hinted).await;
    let view = alice.client.job(plain).await.unwrap();
    assert!(
        view.ended_at.is_none(),
        "the plain task cannot have run: {view:?}"
    );
    assert_eq!(lines(&fairway.folder().join("ended")).len(), 1);
    // And what cannot be done in time is told at once.
    let late = format!(
        "[ Executable = \"/bin/true\"; Deadline = {}; ExpectedDuration = 3600; ]",
        now.as_secs() + 60
    );
    let file = fairway.folder().join("late.jdl");
    std::fs::write(&file, late).unwrap();
    let told = alice.run(&["submit", file.to_str().unwrap()]).await;
    let told = format!("{told:?}");
    assert!(told.to_lowercase().contains("deadline"), "{told}");
    for job in [plain, JobId(hinted.0 + 1)] {
        alice.run(&["cancel", &job.to_string()]).await.ok();
    }
    until("the pilots are called back", async || {
        fairway.live_pilots().await.is_empty().then_some(())
    })
    .await;
    let usage = UsageQuery::default();
    assert!(!alice.client.usage(&usage).await.unwrap().is_empty());
}
