//! The batch systems that the tests run against.

mod gate;
mod kubernetes;
mod local;
mod oar;
mod pbs;
mod slurm;
mod ssh;

use std::path::{Path, PathBuf};
use std::process::Command;

use fairway_model::Ce;
use fairway_site_adapters::{BatchSystem, PilotJob};

pub(crate) use kubernetes::KubernetesBed;
pub(crate) use local::LocalBed;
pub(crate) use oar::{OarBed, OarRestBed};
pub(crate) use pbs::{OpenPbsBed, StandIn, TorqueBed, open};
pub(crate) use slurm::{SlurmBed, SlurmRestBed};
pub(crate) use ssh::OverSsh;

/// A batch system to test an adapter on.
pub(crate) trait Bed {
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
    /// A queue that gives several nodes to one job, and to how many of one core each, if it can.
    fn wide_ce(&self) -> Option<(Ce, u32)> {
        None
    }
    /// Lets whoever runs the jobs into a folder of the tests.
    fn open_folder(&self, _folder: &Path) {}
    /// What it has no words for.
    fn does_not_tell(&self) -> &'static [Untold] {
        &[]
    }
}

/// What some batch systems never tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untold {
    /// How a job ended.
    ExitCode,
    /// The processors' architecture.
    Architecture,
}

/// The folder of the test bed that somebody started for `name`, e.g. `SLURM`: what the variable
/// `FAIRWAY_TEST_SLURM` holds. `None` only if `FAIRWAY_TEST_SKIP_SLURM=1` says that this is meant.
fn started(name: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(format!("FAIRWAY_TEST_{name}")) {
        return Some(folder.into());
    }
    let skip = format!("FAIRWAY_TEST_SKIP_{name}");
    assert!(
        std::env::var(&skip).is_ok_and(|skip| skip == "1"),
        "FAIRWAY_TEST_{name} does not name a test bed: run `cargo xtask test`, which starts one, \
         or leave it out with {skip}=1"
    );
    println!("left out: {skip}=1");
    None
}

/// Runs the script of a test bed: `deploy/testbed/NAME.sh COMMAND FOLDER`.
fn control(name: &str, command: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/testbed/{name}.sh"));
    let status = Command::new(script).arg(command).arg(folder).status();
    assert!(status.unwrap().success(), "{command}");
}

/// Cores that fill the queue of a bed.
pub(crate) const FULL: u32 = 4;

pub(crate) fn ce(queue: &str) -> Ce {
    serde_json::from_value(serde_json::json!({"name": "ce", "queue": queue})).unwrap()
}
