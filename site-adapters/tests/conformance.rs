//! What every batch system must do, whatever it is: the same tests run against
//! each adapter, on the real thing.
//!
//! This machine is always there. Slurm is a test bed that somebody started
//! (`deploy/testbed/slurm.sh up DIR`), named by `FAIRWAY_TEST_SLURM=DIR`; without
//! it these tests fail, unless `FAIRWAY_TEST_SKIP_SLURM=1` says that this is meant.
//!
//! A new adapter implements [`Bed`] and adds a line to the list at the end.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what it leaves out it says"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairway_model::{AdapterSettings, Ce, CeState, CeStatus, PilotId, Resources, Timestamp};
use fairway_site_adapters::{AdapterError, BatchJob, BatchState, BatchSystem, PilotJob, connect};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// Longest time for anything to happen.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A batch system to test an adapter on.
trait Bed {
    /// The adapter.
    fn system(&self) -> &dyn BatchSystem;
    /// A queue with room for [`FULL`] cores and nobody in it.
    fn ce(&self) -> Ce;
    /// Takes the batch system away; jobs run on.
    fn take_away(&self);
    /// And brings it back.
    fn bring_back(&self);
    /// Jobs that it must refuse, with words of the refusal.
    fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)>;
    /// A queue that it does not have, if queues matter to it.
    fn absent_ce(&self) -> Option<Ce>;
}

/// Cores that fill the queue of a bed.
const FULL: u32 = 4;

fn ce(queue: &str) -> Ce {
    serde_json::from_value(serde_json::json!({"name": "ce", "queue": queue})).unwrap()
}

// --- the beds ------------------------------------------------------------------------------

/// Processes on this machine.
struct LocalBed {
    system: Arc<dyn BatchSystem>,
    folder: TempDir,
}

impl LocalBed {
    async fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let settings = AdapterSettings::Local { cores: Some(FULL) };
        let system = connect(&"here".parse().unwrap(), &settings, folder.path()).unwrap();
        Some(Self { system, folder })
    }

    fn jobs(&self) -> (PathBuf, PathBuf) {
        (
            self.folder.path().join("local"),
            self.folder.path().join("away"),
        )
    }
}

impl Bed for LocalBed {
    fn system(&self) -> &dyn BatchSystem {
        &*self.system
    }

    fn ce(&self) -> Ce {
        ce("any")
    }

    fn take_away(&self) {
        let (here, away) = self.jobs();
        std::fs::rename(here, away).unwrap();
    }

    fn bring_back(&self) {
        let (here, away) = self.jobs();
        std::fs::rename(away, here).unwrap();
    }

    fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
        let mut big = job.clone();
        big.resources.cores = FULL + 1;
        let mut huge = job.clone();
        huge.resources.memory_mib = 1 << 40;
        vec![
            (big, "5 cores asked for"),
            (huge, "MiB of memory asked for"),
        ]
    }

    fn absent_ce(&self) -> Option<Ce> {
        None
    }
}

/// A cluster that was started for the tests. One test has it at a time.
struct SlurmBed {
    system: Arc<dyn BatchSystem>,
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

static SLURM: Mutex<()> = Mutex::const_new(());

impl SlurmBed {
    async fn new() -> Option<Self> {
        let Some(folder) = std::env::var_os("FAIRWAY_TEST_SLURM").map(PathBuf::from) else {
            let skipped = std::env::var("FAIRWAY_TEST_SKIP_SLURM").is_ok_and(|skip| skip == "1");
            assert!(
                skipped,
                "FAIRWAY_TEST_SLURM does not name a Slurm test bed: run `cargo xtask test`, \
                 which starts one, or leave Slurm out with FAIRWAY_TEST_SKIP_SLURM=1"
            );
            println!("left out: FAIRWAY_TEST_SKIP_SLURM=1");
            return None;
        };
        let alone = SLURM.lock().await;
        let settings = AdapterSettings::Slurm {
            bin_dir: None,
            conf: Some(folder.join("slurm.conf").to_str().unwrap().into()),
            work_dir: None,
        };
        let system = connect(&"bed".parse().unwrap(), &settings, Path::new("/unused")).unwrap();
        Some(Self {
            system,
            folder,
            _alone: alone,
        })
    }

    fn control(&self, command: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/testbed/slurm.sh");
        let status = Command::new(script).arg(command).arg(&self.folder).status();
        assert!(status.unwrap().success(), "{command}");
    }
}

impl Bed for SlurmBed {
    fn system(&self) -> &dyn BatchSystem {
        &*self.system
    }

    fn ce(&self) -> Ce {
        ce("tiny")
    }

    fn take_away(&self) {
        self.control("stop-controller");
    }

    fn bring_back(&self) {
        self.control("start-controller");
    }

    fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
        let mut nowhere = job.clone();
        nowhere.ce.queue = Some("nosuch".into());
        let mut long = job.clone();
        long.walltime_s = 3600;
        let mut big = job.clone();
        big.resources.cores = FULL + 1;
        let mut huge = job.clone();
        huge.resources.memory_mib = 1 << 30;
        vec![
            (nowhere, "Invalid partition name specified"),
            (long, "Requested time limit is invalid"),
            (big, "More processors requested than permitted"),
            (huge, "Memory specification can not be satisfied"),
        ]
    }

    fn absent_ce(&self) -> Option<Ce> {
        Some(ce("nosuch"))
    }
}

// --- the bench -----------------------------------------------------------------------------

/// Jobs under control of a test: each tells that it is up by a file `NAME.up`, and runs until
/// there is a file `NAME.go`.
struct Bench<'a> {
    bed: &'a dyn Bed,
    folder: TempDir,
    prefix: String,
}

/// What the jobs read. Nothing in it may mean anything to a shell.
const DOCUMENT: &str = "{\"secret\": \"it's $HOME `id` \\\\ %j\"}\nEND_OF_BOOTSTRAP\nEOF\n";

impl<'a> Bench<'a> {
    fn new(bed: &'a dyn Bed) -> Self {
        // Names tell this run's jobs from those of all others.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            bed,
            folder: tempfile::tempdir().unwrap(),
            prefix: format!("fw-test{}x{count}-", std::process::id()),
        }
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.{kind}"))
    }

    /// A job that does its part of the agreement, then runs `last`. Nobody is waited for longer
    /// than the tests take.
    fn job(&self, name: &str, cores: u32, last: &str) -> PilotJob {
        let script = format!(
            "cat >\"$0.in\"; touch \"$0.up\"; n=0; \
             while [ ! -e \"$0.go\" ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n+1)); done; \
             {last}"
        );
        let files = self.folder.path().join(name);
        PilotJob {
            pilot: PilotId(1),
            ce: self.bed.ce(),
            name: format!("{}{name}", self.prefix),
            resources: Resources {
                cores,
                memory_mib: 64,
                gpus: 0,
            },
            walltime_s: 120,
            program: ["/bin/sh", "-c", &script, files.to_str().unwrap()]
                .map(str::to_owned)
                .to_vec(),
            stdin: DOCUMENT.into(),
        }
    }

    async fn submit(&self, name: &str, cores: u32, last: &str) -> String {
        let job = self.job(name, cores, last);
        let mut ids = self.bed.system().submit(&[job]).await;
        assert_eq!(ids.len(), 1);
        ids.remove(0).unwrap()
    }

    fn let_go(&self, name: &str) {
        std::fs::write(self.path(name, "go"), "").unwrap();
    }

    async fn jobs(&self, known: &[String]) -> Vec<BatchJob> {
        self.bed.system().poll(&self.prefix, known).await.unwrap()
    }

    async fn state(&self, id: &str) -> BatchState {
        let jobs = self.jobs(&[id.to_owned()]).await;
        let mut found = jobs.into_iter().filter(|job| job.batch_id == id);
        let job = found
            .next()
            .unwrap_or_else(|| panic!("job {id} is not told of"));
        assert!(found.next().is_none(), "job {id} is told of twice");
        assert!(job.name.starts_with(&self.prefix));
        job.state
    }

    async fn until(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&BatchState) -> bool,
    ) -> BatchState {
        let begin = Instant::now();
        loop {
            let state = self.state(id).await;
            if wanted(&state) {
                return state;
            }
            assert!(
                begin.elapsed() < DEADLINE,
                "job {id} is {state:?}, not {what}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn until_running(&self, id: &str) {
        self.until(id, "running", |state| *state == BatchState::Running)
            .await;
    }

    /// Waits for the end and tells how it came.
    async fn until_ended(&self, id: &str) -> String {
        match self
            .until(id, "ended", |state| {
                matches!(state, BatchState::Ended { .. })
            })
            .await
        {
            BatchState::Ended { detail } => detail,
            other => unreachable!("{other:?}"),
        }
    }

    /// Waits for a file that a job writes.
    async fn until_exists(&self, name: &str, kind: &str) {
        let begin = Instant::now();
        while !self.path(name, kind).exists() {
            assert!(begin.elapsed() < DEADLINE, "{name}.{kind} does not appear");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn published(&self, ce: Ce) -> CeState {
        let now = Timestamp::from_secs(1_800_000_000);
        let mut states = self.bed.system().publish(&[ce], now).await.unwrap();
        assert_eq!(states.len(), 1);
        assert_eq!(states[0].observed_at, now);
        states.remove(0)
    }

    /// Ends what is left and waits until the queue is empty for the next test.
    async fn clear(&self) {
        let ids: Vec<String> = self
            .jobs(&[])
            .await
            .into_iter()
            .map(|job| job.batch_id)
            .collect();
        self.bed.system().cancel(&ids).await.unwrap();
        for id in ids {
            self.until_ended(&id).await;
        }
    }
}

// --- the tests -----------------------------------------------------------------------------

async fn a_job_waits_runs_and_ends(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let first = bench.submit("first", FULL, "exit 0").await;
    bench.until_running(&first).await;
    let second = bench.submit("second", 1, "exit 3").await;
    match bench.state(&second).await {
        BatchState::Queued { reason } => assert!(!reason.is_empty()),
        other => panic!("there is no room, and yet it is {other:?}"),
    }
    bench.let_go("first");
    bench.until_running(&second).await;
    bench.let_go("second");
    let (good, bad) = (
        bench.until_ended(&first).await,
        bench.until_ended(&second).await,
    );
    assert!(!good.is_empty());
    assert_ne!(good, bad, "a failure must not look like a success");
    for name in ["first", "second"] {
        let read = std::fs::read_to_string(bench.path(name, "in")).unwrap();
        assert_eq!(read, DOCUMENT, "the bootstrap document of {name}");
    }
    bench.clear().await;
}

async fn a_bulk_submission_answers_in_order(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
    names.iter().for_each(|name| bench.let_go(name));
    let mut jobs: Vec<_> = names
        .iter()
        .map(|name| bench.job(name, 1, "exit 0"))
        .collect();
    jobs[5].name = "not a name".into();
    let results = bed.system().submit(&jobs).await;
    assert!(
        matches!(results[5], Err(AdapterError::Refused(_))),
        "{:?}",
        results[5]
    );
    for (job, result) in jobs
        .iter()
        .zip(&results)
        .filter(|(_, result)| result.is_ok())
    {
        let id = result.as_ref().unwrap();
        bench.until_ended(id).await;
        let told = bench.jobs(std::slice::from_ref(id)).await;
        let told = told.iter().find(|told| told.batch_id == *id).unwrap();
        assert_eq!(told.name, job.name);
    }
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 11);
    bench.clear().await;
}

async fn a_job_is_cancelled_in_every_state(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    // The program itself hears SIGTERM, and has time to do something about it.
    let mut job = bench.job("runs", FULL, "");
    job.program[2] = format!(
        "trap 'sleep 0.2; touch \"$0.warned\"; exit 0' TERM; {}",
        job.program[2]
    );
    let running = bed.system().submit(&[job]).await.remove(0).unwrap();
    bench.until_exists("runs", "up").await;
    let queued = bench.submit("waits", 1, "").await;
    assert!(matches!(
        bench.state(&queued).await,
        BatchState::Queued { .. }
    ));

    bed.system()
        .cancel(std::slice::from_ref(&queued))
        .await
        .unwrap();
    bench.until_ended(&queued).await;
    assert_eq!(bench.state(&running).await, BatchState::Running);

    bed.system()
        .cancel(std::slice::from_ref(&running))
        .await
        .unwrap();
    bench.until_ended(&running).await;
    assert!(
        bench.path("runs", "warned").exists(),
        "no warning before the end"
    );
    assert!(
        !bench.path("waits", "up").exists(),
        "a cancelled job was started"
    );

    // Once more, now that both are over.
    bed.system().cancel(&[running, queued]).await.unwrap();
    bench.clear().await;
}

async fn the_batch_system_goes_away_and_comes_back(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let id = bench.submit("runs", 1, "exit 0").await;
    bench.until_exists("runs", "up").await;
    bench.until_running(&id).await;

    bed.take_away();
    let known = [id.clone()];
    let late = [bench.job("late", 1, ""), bench.job("later", 1, "")];
    let ces = [bed.ce()];
    // All at once, because each may take as long as its batch system tries for.
    let (submitted, polled, cancelled, published) = tokio::join!(
        bed.system().submit(&late),
        bed.system().poll(&bench.prefix, &known),
        bed.system().cancel(&known),
        bed.system().publish(&ces, Timestamp(0)),
    );
    bed.bring_back();

    assert_eq!(submitted.len(), 2);
    for result in submitted {
        assert!(
            matches!(result, Err(AdapterError::Unreachable(_))),
            "{result:?}"
        );
    }
    assert!(
        matches!(polled, Err(AdapterError::Unreachable(_))),
        "{polled:?}"
    );
    assert!(
        matches!(cancelled, Err(AdapterError::Unreachable(_))),
        "{cancelled:?}"
    );
    assert!(
        matches!(published, Err(AdapterError::Unreachable(_))),
        "{published:?}"
    );

    assert_eq!(bench.state(&id).await, BatchState::Running);
    assert_eq!(
        bench.jobs(&known).await.len(),
        1,
        "the late jobs were not submitted"
    );
    bench.let_go("runs");
    bench.until_ended(&id).await;
    bench.clear().await;
}

async fn a_submission_whose_reply_was_lost_is_found_by_its_name(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let forgotten = bench.job("forgotten", 1, "exit 0");
    let id = bed
        .system()
        .submit(std::slice::from_ref(&forgotten))
        .await
        .remove(0)
        .unwrap();
    let found = bench.jobs(&[]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].batch_id, &found[0].name), (&id, &forgotten.name));
    // It is not taken for somebody else's.
    assert_eq!(bed.system().poll("fw-nobody-", &[]).await, Ok(vec![]));
    bench.let_go("forgotten");
    bench.clear().await;
}

async fn refusals_are_in_the_batch_systems_words(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let job = bench.job("refused", 1, "");
    for (bad, words) in bed.refused(&job) {
        match bed.system().submit(&[bad]).await.remove(0) {
            Err(AdapterError::Refused(text)) => assert!(text.contains(words), "{text}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    // Slurm keeps a record of some that it refused; none of them may live.
    for job in bench.jobs(&[]).await {
        assert!(matches!(job.state, BatchState::Ended { .. }), "{job:?}");
    }
}

async fn unknown_ids_are_no_error(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let ids = ["4000000", "no-such-job", "--help", "; touch x"].map(str::to_owned);
    assert_eq!(bench.jobs(&ids).await, []);
    bed.system().cancel(&ids).await.unwrap();
    bed.system().cancel(&[]).await.unwrap();
    assert_eq!(bed.system().publish(&[], Timestamp(0)).await, Ok(vec![]));
}

async fn what_is_published_follows_the_load(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    // A controller that has just come back learns what its nodes are only when they report.
    let begin = Instant::now();
    let mut idle = bench.published(bed.ce()).await;
    while idle.architecture.is_none() || idle.operating_system.is_none() {
        assert!(begin.elapsed() < DEADLINE, "{idle:?}");
        tokio::time::sleep(LOOK).await;
        idle = bench.published(bed.ce()).await;
    }
    assert_eq!((idle.status, &idle.reason), (CeStatus::Production, &None));
    assert_eq!(
        (idle.cores_total, idle.cores_free),
        (Some(FULL), Some(FULL))
    );
    assert_eq!((idle.jobs_running, idle.jobs_waiting), (Some(0), Some(0)));
    assert_eq!((idle.cores_offline, idle.node_cores), (Some(0), Some(FULL)));
    assert!(idle.node_memory_mib > Some(0));
    assert!(!idle.lrms.0.is_empty() && !idle.lrms.1.is_empty());

    let running = bench.submit("runs", FULL, "").await;
    bench.until_running(&running).await;
    bench.submit("waits", 1, "").await;
    let busy = bench.published(bed.ce()).await;
    assert_eq!(busy.cores_free, Some(0));
    assert_eq!((busy.jobs_running, busy.jobs_waiting), (Some(1), Some(1)));
    bench.clear().await;

    if let Some(absent) = bed.absent_ce() {
        let state = bench.published(absent).await;
        assert_eq!(state.status, CeStatus::Closed);
        assert!(state.reason.is_some());
    }
}

// --- the list ------------------------------------------------------------------------------

macro_rules! conformance {
    ($module:ident, $bed:ty: $($test:ident),* $(,)?) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(bed) = <$bed>::new().await {
                        super::$test(&bed).await;
                    }
                }
            )*
        }
    };
    ($($module:ident: $bed:ty;)*) => {
        $(
            conformance!(
                $module, $bed:
                a_job_waits_runs_and_ends,
                a_bulk_submission_answers_in_order,
                a_job_is_cancelled_in_every_state,
                the_batch_system_goes_away_and_comes_back,
                a_submission_whose_reply_was_lost_is_found_by_its_name,
                refusals_are_in_the_batch_systems_words,
                unknown_ids_are_no_error,
                what_is_published_follows_the_load,
            );
        )*
    };
}

conformance! {
    local: super::LocalBed;
    slurm: super::SlurmBed;
}
