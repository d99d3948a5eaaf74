//! Slurm.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fairway_model::{AdapterSettings, Ce, SlurmSettings};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};
use tokio::sync::{Mutex, MutexGuard};

use super::{Bed, FULL, ce};

/// A cluster that was started for the tests. One test has it at a time.
pub(crate) struct SlurmBed {
    system: Arc<dyn BatchSystem>,
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

static SLURM: Mutex<()> = Mutex::const_new(());

impl SlurmBed {
    pub(crate) async fn new() -> Option<Self> {
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
        let settings = AdapterSettings::Slurm(SlurmSettings {
            conf: Some(folder.join("slurm.conf").to_str().unwrap().into()),
            ..SlurmSettings::default()
        });
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
