//! Slurm, by its commands and by its API.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fairway_model::{AdapterSettings, Ce, RestSettings, SecretRef, SlurmSettings};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::{Bed, FULL, ce, control, started};

/// A cluster that was started for the tests. One test has it at a time.
pub(crate) struct SlurmBed {
    system: Arc<dyn BatchSystem>,
    folder: PathBuf,
    _state: TempDir,
    _alone: MutexGuard<'static, ()>,
}

static SLURM: Mutex<()> = Mutex::const_new(());

impl SlurmBed {
    /// By its commands.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(|folder| SlurmSettings {
            conf: Some(folder.join("slurm.conf").to_str().unwrap().into()),
            ..SlurmSettings::default()
        })
        .await
    }

    /// With the settings that are made for the bed's folder; `None` if Slurm is left out.
    pub(crate) async fn with(settings: impl FnOnce(&Path) -> SlurmSettings) -> Option<Self> {
        let folder = started("SLURM")?;
        let alone = SLURM.lock().await;
        let settings = AdapterSettings::Slurm(settings(&folder));
        let state = tempfile::tempdir().unwrap();
        let system = connect(&"bed".parse().unwrap(), &settings, state.path()).unwrap();
        Some(Self {
            system,
            folder,
            _state: state,
            _alone: alone,
        })
    }

    fn control(&self, command: &str) {
        control("slurm", command, &self.folder);
    }

    /// An account besides our own that we may run pilots under.
    pub(crate) fn other_account(&self) -> Option<String> {
        std::fs::read_to_string(self.folder.join("other-user")).ok()
    }

    /// Whether it has accounts and qualities of service, with limits.
    pub(crate) fn has_accounting(&self) -> bool {
        self.folder.join("slurmdbd.conf").exists()
    }
}

/// What Slurm refuses, by whatever commands it is asked.
pub(super) fn refused(job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
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
        let mut elsewhere = job.clone();
        elsewhere.ce.constraint = Some("nosuch&bed".into());
        let mut refused = refused(job);
        refused.push((elsewhere, "Invalid feature specification"));
        refused
    }

    fn absent_ce(&self) -> Option<Ce> {
        Some(ce("nosuch"))
    }

    fn wide_ce(&self) -> Option<(Ce, u32)> {
        Some((ce("short"), 3))
    }
}

/// The same cluster through `slurmrestd`.
pub(crate) struct SlurmRestBed(SlurmBed);

impl SlurmRestBed {
    pub(crate) async fn new() -> Option<Self> {
        if std::env::var("FAIRWAY_TEST_SKIP_SLURM_REST").is_ok_and(|skip| skip == "1") {
            println!("left out: FAIRWAY_TEST_SKIP_SLURM_REST=1");
            return None;
        }
        let settings = |folder: &Path| SlurmSettings {
            rest: Some(RestSettings {
                url: read(&folder.join("rest.url")),
                user: Some(read(&folder.join("rest.user"))),
                secret: Some(SecretRef::File(
                    folder.join("rest.token").to_str().unwrap().into(),
                )),
                ca: None,
            }),
            ..SlurmSettings::default()
        };
        SlurmBed::with(settings).await.map(Self)
    }

    pub(crate) fn has_accounting(&self) -> bool {
        self.0.has_accounting()
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).map_or_else(
        |error| {
            panic!(
                "{}: {error}. Start the test bed with --rest, or leave slurmrestd out with \
                 FAIRWAY_TEST_SKIP_SLURM_REST=1",
                path.display()
            )
        },
        |text| text.trim().to_owned(),
    )
}

impl Bed for SlurmRestBed {
    fn system(&self) -> &dyn BatchSystem {
        self.0.system()
    }

    fn ce(&self) -> Ce {
        self.0.ce()
    }

    fn take_away(&self) {
        self.0.take_away();
    }

    fn bring_back(&self) {
        self.0.bring_back();
    }

    fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
        let mut others = self.0.refused(job);
        // Of this the controller says less without what `sbatch` itself adds.
        for (_, words) in &mut others {
            if words.starts_with("Memory specification") {
                *words = "Requested node configuration is not available";
            }
        }
        let mut as_another = job.clone();
        as_another.run_as = Some("somebody".into());
        others.push((as_another, "token's user only"));
        others
    }

    fn absent_ce(&self) -> Option<Ce> {
        self.0.absent_ce()
    }

    fn wide_ce(&self) -> Option<(Ce, u32)> {
        self.0.wide_ce()
    }
}
