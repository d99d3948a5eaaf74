//! Jobs under control of a test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairway_model::{Ce, CeState, PilotId, Resources, Timestamp};
use fairway_site_adapters::{BatchJob, BatchState, PilotJob};
use tempfile::TempDir;

use crate::bed::Bed;

/// Longest time for anything to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Time between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Jobs under control of a test: each tells that it is up by a file `NAME.up`, and runs until
/// there is a file `NAME.go`.
pub(crate) struct Bench<'a> {
    pub(crate) bed: &'a dyn Bed,
    folder: TempDir,
    pub(crate) prefix: String,
}

/// What the jobs read. Nothing in it may mean anything to a shell.
pub(crate) const DOCUMENT: &str =
    "{\"secret\": \"it's $HOME `id` \\\\ %j\"}\nEND_OF_BOOTSTRAP\nEOF\n";

impl<'a> Bench<'a> {
    pub(crate) fn new(bed: &'a dyn Bed) -> Self {
        // Names tell this run's jobs from those of all others.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        bed.open_folder(folder.path());
        Self {
            bed,
            folder,
            prefix: format!("fw-test{}x{count}-", std::process::id()),
        }
    }

    pub(crate) fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.{kind}"))
    }

    /// A job that does its part of the agreement, then runs `last`. Nobody is waited for longer
    /// than the tests take.
    pub(crate) fn job(&self, name: &str, cores: u32, last: &str) -> PilotJob {
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
            nodes: 1,
            run_as: None,
            reserve_at: None,
            avoid: Vec::new(),
            walltime_s: 120,
            program: ["/bin/sh", "-c", &script, files.to_str().unwrap()]
                .map(str::to_owned)
                .to_vec(),
            stdin: DOCUMENT.into(),
        }
    }

    pub(crate) async fn submit(&self, name: &str, cores: u32, last: &str) -> String {
        let job = self.job(name, cores, last);
        let mut ids = self.bed.system().submit(&[job]).await;
        assert_eq!(ids.len(), 1);
        ids.remove(0).unwrap()
    }

    pub(crate) fn let_go(&self, name: &str) {
        std::fs::write(self.path(name, "go"), "").unwrap();
    }

    pub(crate) async fn jobs(&self, known: &[String]) -> Vec<BatchJob> {
        self.bed.system().poll(&self.prefix, known).await.unwrap()
    }

    pub(crate) async fn state(&self, id: &str) -> BatchState {
        let jobs = self.jobs(&[id.to_owned()]).await;
        let mut found = jobs.into_iter().filter(|job| job.batch_id == id);
        let job = found
            .next()
            .unwrap_or_else(|| panic!("job {id} is not told of"));
        assert!(found.next().is_none(), "job {id} is told of twice");
        assert!(job.name.starts_with(&self.prefix));
        job.state
    }

    pub(crate) async fn until(
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

    pub(crate) async fn until_running(&self, id: &str) {
        self.until(id, "running", |state| *state == BatchState::Running)
            .await;
    }

    /// Waits for the end and tells how it came.
    pub(crate) async fn until_ended(&self, id: &str) -> String {
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
    pub(crate) async fn until_exists(&self, name: &str, kind: &str) {
        let begin = Instant::now();
        while !self.path(name, kind).exists() {
            assert!(begin.elapsed() < DEADLINE, "{name}.{kind} does not appear");
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn published(&self, ce: Ce) -> CeState {
        let now = Timestamp::from_secs(1_800_000_000);
        let mut states = self.bed.system().publish(&[ce], now).await.unwrap();
        assert_eq!(states.len(), 1);
        assert_eq!(states[0].observed_at, now);
        states.remove(0)
    }

    /// Ends what is left and waits until the queue is empty for the next test.
    pub(crate) async fn clear(&self) {
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
