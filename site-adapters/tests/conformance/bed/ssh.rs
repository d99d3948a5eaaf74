//! Batch systems whose commands are run over SSH.

use std::path::{Path, PathBuf};

use fairway_model::{Ce, SlurmSettings, SshSettings};
use fairway_site_adapters::{BatchSystem, PilotJob};
use tokio::sync::{Mutex, MutexGuard};

use super::{Bed, OarBed, SlurmBed, TorqueBed, Untold, control, started};

/// A bed whose front end is reached over SSH. What goes away is the front end.
pub(crate) struct OverSsh<B> {
    bed: B,
    front_end: FrontEnd,
}

/// The SSH server that was started for the tests. One test has it at a time.
struct FrontEnd {
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

static SSH: Mutex<()> = Mutex::const_new(());

impl FrontEnd {
    async fn new() -> Option<Self> {
        let folder = started("SSH")?;
        Some(Self {
            folder,
            _alone: SSH.lock().await,
        })
    }

    fn settings(&self) -> SshSettings {
        SshSettings {
            host: "bed".into(),
            config: Some(self.folder.join("ssh_config").to_str().unwrap().into()),
        }
    }

    fn control(&self, command: &str) {
        control("ssh", command, &self.folder);
    }
}

impl OverSsh<SlurmBed> {
    pub(crate) async fn new() -> Option<Self> {
        let front_end = FrontEnd::new().await?;
        let settings = |folder: &Path| SlurmSettings {
            ssh: Some(front_end.settings()),
            conf: Some(folder.join("slurm.conf").to_str().unwrap().into()),
            ..SlurmSettings::default()
        };
        let bed = SlurmBed::with(settings).await?;
        Some(Self { bed, front_end })
    }
}

impl OverSsh<OarBed> {
    pub(crate) async fn new() -> Option<Self> {
        let front_end = FrontEnd::new().await?;
        let bed = OarBed::over(Some(front_end.settings())).await?;
        Some(Self { bed, front_end })
    }
}

impl OverSsh<TorqueBed> {
    pub(crate) async fn new() -> Option<Self> {
        let front_end = FrontEnd::new().await?;
        let bed = TorqueBed::over(Some(front_end.settings())).await?;
        Some(Self { bed, front_end })
    }
}

impl<B: Bed> Bed for OverSsh<B> {
    fn system(&self) -> &dyn BatchSystem {
        self.bed.system()
    }

    fn ce(&self) -> Ce {
        self.bed.ce()
    }

    fn take_away(&self) {
        self.front_end.control("stop");
    }

    fn bring_back(&self) {
        self.front_end.control("start");
    }

    fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
        self.bed.refused(job)
    }

    fn absent_ce(&self) -> Option<Ce> {
        self.bed.absent_ce()
    }

    fn wide_ce(&self) -> Option<(Ce, u32)> {
        self.bed.wide_ce()
    }

    fn open_folder(&self, folder: &Path) {
        self.bed.open_folder(folder);
    }

    fn does_not_tell(&self) -> &'static [Untold] {
        self.bed.does_not_tell()
    }
}
