//! The sweep on a real Slurm with three partitions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fairway_api::public::{SubmitReply, UsageQuery, UsageView};
use fairway_model::AttemptEnd;

use crate::common::{
    Fairway, History, Setup, assert_each_once, checkout, cli, counting_payload, lines, over,
    submit, sweep, until, until_true,
};
use crate::graphs::collection;

/// The test bed, started by `cargo xtask test`.
struct Bed {
    conf: String,
}

impl Bed {
    /// `None` only if whoever runs the tests said that they do without Slurm.
    fn find() -> Option<Self> {
        if std::env::var("FAIRWAY_TEST_SKIP_SLURM").is_ok_and(|value| value == "1") {
            return None;
        }
        let folder = std::env::var("FAIRWAY_TEST_SLURM").unwrap_or_else(|_| {
            panic!(
                "no Slurm to test with: run `cargo xtask test`, or set FAIRWAY_TEST_SLURM to the \
                 folder of a test bed; FAIRWAY_TEST_SKIP_SLURM=1 does without"
            )
        });
        Some(Self {
            conf: format!("{folder}/slurm.conf"),
        })
    }

    fn command(&self, program: &str) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.env("SLURM_CONF", &self.conf);
        command
    }

    /// The site `bed`: a CE for each partition, with that many pilots of two cores at most.
    fn site(&self, work_dir: &Path, limits: &[(&str, u32)]) -> String {
        let mut text = format!(
            "name = \"bed\"\n\
             adapter = {{ kind = \"slurm\", conf = \"{}\", work_dir = \"{}\" }}\n",
            self.conf,
            work_dir.display()
        );
        for (partition, pilots) in limits {
            // `tiny` takes no longer jobs than five minutes.
            text.push_str(&format!(
                "[[ces]]\n\
                 name = \"{partition}\"\n\
                 shape = {{ cores = 2, memory_mib = 200, walltime_s = 240 }}\n\
                 limits = {{ pilots_max = {pilots}, queued_max = {pilots} }}\n"
            ));
        }
        text
    }
}

/// A server with the bed as its site. Its jobs end with this value.
struct OnSlurm {
    fairway: Fairway,
    bed: Bed,
}

/// A job in Slurm's queue.
#[derive(Clone, Debug)]
struct Job {
    id: String,
    name: String,
    partition: String,
    state: String,
}

impl OnSlurm {
    async fn start(limits: &[(&str, u32)]) -> Option<Self> {
        let bed = Bed::find()?;
        let setup = Setup::new();
        let work_dir = work_dir(setup.folder());
        std::fs::create_dir(&work_dir).unwrap();
        let fairway = setup.site(&bed.site(&work_dir, limits)).start().await;
        Some(Self { fairway, bed })
    }

    /// Our jobs in Slurm's queue, by the folder that they run in.
    fn jobs(&self) -> Vec<Job> {
        let mut squeue = self.bed.command("squeue");
        let output = squeue
            .args(["--noheader", "--me", "--array", "-o", "%i|%j|%P|%T|%Z"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let ours = work_dir(self.fairway.folder()).display().to_string();
        let job = |line: &str| {
            let fields: Vec<_> = line.split('|').map(str::to_owned).collect();
            let [id, name, partition, state, folder] = fields.try_into().unwrap();
            (folder == ours).then_some(Job {
                id,
                name,
                partition,
                state,
            })
        };
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter_map(job)
            .collect()
    }

    fn scancel(&self, ids: &[&str]) -> std::io::Result<std::process::Output> {
        self.bed.command("scancel").args(ids).output()
    }
}

impl Drop for OnSlurm {
    fn drop(&mut self) {
        let jobs = self.jobs();
        let ids: Vec<_> = jobs.iter().map(|job| job.id.as_str()).collect();
        if !ids.is_empty() {
            self.scancel(&ids).unwrap();
        }
    }
}

fn work_dir(folder: &Path) -> PathBuf {
    folder.join("pilots")
}

async fn usage_by(fairway: &Fairway, by: &str) -> Vec<UsageView> {
    let query = UsageQuery {
        by: Some(by.into()),
        ..UsageQuery::default()
    };
    fairway.operator.client.usage(&query).await.unwrap()
}

#[tokio::test]
async fn a_sweep_over_three_partitions() {
    const TASKS: u32 = 200;
    let limits = [("short", 2), ("long", 2), ("tiny", 1)];
    let Some(on) = OnSlurm::start(&limits).await else {
        return;
    };
    let fairway = &on.fairway;
    let alice = fairway.user("alice").await;

    // A single task is worth a single pilot.
    let one = submit(&alice.client, "[ Executable = \"/bin/true\"; ]").await;
    over(&alice.client, one).await;
    assert_eq!(
        History::all(&fairway.operator.client)
            .await
            .pilots_planned(),
        1
    );
    until_true("the pilot without work has left", async || {
        on.jobs().is_empty()
    })
    .await;

    let payload = fairway.script("work.sh", "sleep 0.4; echo \"$1 on $(hostname)\"");
    let job = submit(&alice.client, sweep("sweep", TASKS, &payload)).await;
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    until("the sweep is over", async || {
        let mut now: BTreeMap<String, usize> = BTreeMap::new();
        for job in on.jobs() {
            assert!(job.name.starts_with("fw-"), "{job:?}");
            // A job that completes is no pilot any more for the limits.
            if ["PENDING", "RUNNING"].contains(&job.state.as_str()) {
                *now.entry(job.partition).or_default() += 1;
            }
        }
        for (partition, count) in now {
            let seen = most.entry(partition).or_default();
            *seen = count.max(*seen);
        }
        let view = alice.client.job(job).await.unwrap();
        view.ended_at.is_some().then_some(())
    })
    .await;
    let limits: BTreeMap<_, _> = limits
        .map(|(name, pilots)| (name.to_owned(), pilots as usize))
        .into();
    assert_eq!(
        most, limits,
        "pilots in each partition: as many as allowed, while there is work"
    );

    let history = History::of(&alice.client, job).await;
    assert_eq!(history.assert_each_succeeded_once(job, TASKS), 0);
    let all = u64::from(TASKS) + 1;
    let by_user = usage_by(fairway, "user").await;
    let [line] = by_user.as_slice() else {
        panic!("{by_user:?}")
    };
    assert_eq!(
        (line.key.as_str(), line.attempts, line.succeeded),
        ("alice", all, all)
    );
    // 200 payloads of 0.4 s each.
    assert!(line.wall_ms >= 80_000, "{line:?}");
    let by_ce = usage_by(fairway, "ce").await;
    assert_eq!(by_ce.iter().map(|line| line.attempts).sum::<u64>(), all);
    let ces: Vec<_> = by_ce.iter().map(|line| line.key.as_str()).collect();
    assert_eq!(ces, ["bed/long", "bed/short", "bed/tiny"]);

    until_true("the queue is empty", async || on.jobs().is_empty()).await;
    until_true("no pilot is left", async || {
        fairway.live_pilots().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn compound_jobs_run_to_their_end() {
    const NODES: u32 = 100;
    let Some(on) = OnSlurm::start(&[("short", 2), ("long", 1)]).await else {
        return;
    };
    let fairway = &on.fairway;
    let alice = fairway.user("alice").await;
    let collection = submit(&alice.client, collection(NODES)).await;
    let example = checkout().join("examples/dag");
    let jdl = example.join("dag.jdl").display().to_string();
    let submitted: Vec<SubmitReply> = alice.run(&["submit", "--json", &jdl]).await.json();
    let [dag] = submitted.as_slice() else {
        panic!("{submitted:?}")
    };

    let history = async |job| {
        over(&alice.client, job).await;
        History::of(&alice.client, job).await
    };
    let of_collection = history(collection).await;
    assert_eq!(
        of_collection.assert_each_succeeded_once(collection, NODES),
        0
    );
    let of_dag = history(dag.job).await;
    assert_eq!(of_dag.assert_each_succeeded_once(dag.job, dag.tasks), 0);

    let results = fairway.folder().join("results").display().to_string();
    let fetch = ["output", &dag.job.to_string(), "--output-dir", &results];
    alice.run(&fetch).await.ok();
    let mut check = cli::command("sh", fairway.folder());
    check.arg(example.join("check.sh")).arg(&results);
    cli::run(check).await.ok();
}

#[tokio::test]
async fn tasks_of_a_cancelled_allocation_run_elsewhere() {
    const TASKS: u32 = 16;
    let Some(on) = OnSlurm::start(&[("short", 2)]).await else {
        return;
    };
    let fairway = &on.fairway;
    let alice = fairway.user("alice").await;
    let started = fairway.folder().join("started");
    let payload = fairway.script(
        "work.sh",
        &format!("echo $1 >>{}\nsleep 1.5", started.display()),
    );
    let job = submit(&alice.client, sweep("sweep", TASKS, &payload)).await;
    until_true("payloads run", async || lines(&started).len() >= 3).await;
    let pilot = until("a pilot has tasks", async || {
        let pilots = fairway.live_pilots().await;
        pilots.into_iter().find(|pilot| !pilot.tasks.is_empty())
    })
    .await;
    let batch_id = pilot.batch_id.unwrap();
    let cancelled = on.scancel(&[&batch_id]).unwrap();
    assert!(cancelled.status.success(), "{cancelled:?}");

    over(&alice.client, job).await;
    let history = History::of(&alice.client, job).await;
    let repeated = history.assert_each_succeeded_once(job, TASKS);
    assert!(
        repeated >= 1,
        "the pilot had tasks when its job was cancelled"
    );
    let ends = history.ends();
    let given_back = |end: &AttemptEnd| {
        matches!(
            end,
            AttemptEnd::HandedBack { .. } | AttemptEnd::PilotLost { .. }
        )
    };
    let wrong: Vec<_> = ends
        .values()
        .flatten()
        .filter(|it| !it.end.is_success() && !given_back(&it.end))
        .collect();
    assert!(wrong.is_empty(), "preemption is no failure: {wrong:?}");
    let usage = usage_by(fairway, "user").await;
    let attempts = u64::from(TASKS) + u64::try_from(repeated).unwrap();
    assert_eq!(
        (usage[0].attempts, usage[0].succeeded),
        (attempts, u64::from(TASKS))
    );
    until_true("the queue is empty", async || on.jobs().is_empty()).await;
}

#[tokio::test]
async fn pilots_in_slurm_outlive_a_killed_server() {
    const TASKS: u32 = 40;
    let Some(mut on) = OnSlurm::start(&[("short", 2)]).await else {
        return;
    };
    let alice = on.fairway.user("alice").await;
    let payload = counting_payload(&on.fairway, "0.4");
    let folder = on.fairway.folder().to_owned();
    let (started, ended) = (folder.join("started"), folder.join("ended"));
    let job = submit(&alice.client, sweep("sweep", TASKS, &payload)).await;
    until_true("the sweep is under way", async || lines(&ended).len() >= 8).await;
    on.fairway.kill();
    let before = lines(&ended).len();
    until_true("pilots carry on", async || lines(&ended).len() > before).await;
    on.fairway.start_again().await;

    over(&alice.client, job).await;
    assert_each_once(&lines(&started), TASKS);
    assert_each_once(&lines(&ended), TASKS);
    let history = History::all(&on.fairway.operator.client).await;
    assert_eq!(history.assert_each_succeeded_once(job, TASKS), 0);
    assert!(history.pilots_planned() <= 2, "{history:?}");
    until_true("the queue is empty", async || on.jobs().is_empty()).await;
}

/// What a user sees who asks why nothing happens, when Slurm is what refuses.
#[tokio::test]
async fn the_words_of_slurm_reach_the_operator() {
    let Some(bed) = Bed::find() else { return };
    let setup = Setup::new();
    let work_dir = work_dir(setup.folder());
    std::fs::create_dir(&work_dir).unwrap();
    let site = bed.site(&work_dir, &[("nowhere", 1)]);
    let on = OnSlurm {
        fairway: setup.site(&site).start().await,
        bed,
    };
    let alice = on.fairway.user("alice").await;
    let job = submit(&alice.client, "[ Executable = \"/bin/true\"; ]").await;
    let explained = until("the reason is told", async || {
        let text = alice.run(&["explain", &job.to_string()]).await.ok();
        text.contains("nowhere").then_some(text)
    })
    .await;
    assert!(explained.contains("bed/nowhere"), "{explained}");
}
