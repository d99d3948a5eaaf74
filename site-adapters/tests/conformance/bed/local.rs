//! This machine.

use std::path::PathBuf;
use std::sync::Arc;

use fairway_model::{AdapterSettings, Ce, LocalSettings};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};
use tempfile::TempDir;

use super::{Bed, FULL, ce};

/// Processes on this machine.
pub(crate) struct LocalBed {
    system: Arc<dyn BatchSystem>,
    folder: TempDir,
}

impl LocalBed {
    pub(crate) async fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let settings = AdapterSettings::Local(LocalSettings { cores: Some(FULL) });
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
