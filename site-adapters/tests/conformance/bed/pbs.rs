//! OpenPBS, or its stand-in, and TORQUE's commands over Slurm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use fairway_model::{AdapterSettings, Ce, PbsDialect, PbsSettings, SshSettings};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::{Bed, FULL, Untold, ce, control, slurm, started};

/// The machine's own OpenPBS, if `FAIRWAY_TEST_PBS=1` says that there is one (see
/// `deploy/testbed/README.md` for what it must have); else a stand-in of each test's own.
pub(crate) struct OpenPbsBed {
    system: Arc<dyn BatchSystem>,
    pub(crate) at: At,
}

pub(crate) enum At {
    StandIn(StandIn),
    /// One test has it at a time.
    Real(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>),
}

static REAL: Mutex<()> = Mutex::const_new(());

impl OpenPbsBed {
    pub(crate) async fn new() -> Option<Self> {
        if std::env::var("FAIRWAY_TEST_PBS").is_ok_and(|real| real == "1") {
            let settings = PbsSettings {
                bin_dir: std::env::var("FAIRWAY_TEST_PBS_BIN_DIR").ok(),
                ..PbsSettings::default()
            };
            let alone = REAL.lock().await;
            return Some(Self {
                system: open(settings),
                at: At::Real(alone),
            });
        }
        let stand_in = StandIn::up(&[]);
        Some(Self {
            system: open(stand_in.settings()),
            at: At::StandIn(stand_in),
        })
    }

    fn control(&self, verb: &str, variable: &str) {
        match &self.at {
            At::StandIn(stand_in) => stand_in.control(verb, &[]),
            At::Real(_) => {
                let command = std::env::var(variable).unwrap_or_else(|_| {
                    panic!("{variable} must hold a command that does {verb} to PBS")
                });
                let status = Command::new("sh").args(["-c", &command]).status();
                assert!(status.unwrap().success(), "{command}");
            }
        }
    }
}

/// The adapter with some settings.
pub(crate) fn open(settings: PbsSettings) -> Arc<dyn BatchSystem> {
    let settings = AdapterSettings::Pbs(settings);
    connect(&"bed".parse().unwrap(), &settings, Path::new("/unused")).unwrap()
}

impl Bed for OpenPbsBed {
    fn system(&self) -> &dyn BatchSystem {
        &*self.system
    }

    fn ce(&self) -> Ce {
        match std::env::var("FAIRWAY_TEST_PBS_QUEUE") {
            Ok(queue) if matches!(self.at, At::Real(_)) => ce(&queue),
            _ => ce("short"),
        }
    }

    fn take_away(&self) {
        self.control("stop-server", "FAIRWAY_TEST_PBS_STOP");
    }

    fn bring_back(&self) {
        self.control("start-server", "FAIRWAY_TEST_PBS_START");
    }

    fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
        let mut nowhere = job.clone();
        nowhere.ce.queue = Some("nosuch".into());
        let mut long = job.clone();
        long.walltime_s = 7 * 86_400;
        let mut big = job.clone();
        big.resources.cores = FULL + 1;
        let mut odd = job.clone();
        odd.ce.constraint = Some("nosuchresource=1".into());
        vec![
            (nowhere, "Unknown queue"),
            (long, "Job violates queue and/or server resource limits"),
            (big, "Job violates queue and/or server resource limits"),
            (odd, "Unknown resource"),
        ]
    }

    fn absent_ce(&self) -> Option<Ce> {
        Some(ce("nosuch"))
    }

    fn does_not_tell(&self) -> &'static [Untold] {
        &[Untold::Architecture]
    }
}

/// `deploy/testbed/openpbs-replay` in a folder of its own. It goes with this value.
pub(crate) struct StandIn {
    folder: TempDir,
}

impl StandIn {
    pub(crate) fn up(options: &[&str]) -> Self {
        let stand_in = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        stand_in.control("up", options);
        stand_in
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("pbs")
    }

    /// A folder that all of its nodes share.
    pub(crate) fn shared(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn settings(&self) -> PbsSettings {
        PbsSettings {
            bin_dir: Some(self.site().join("bin").to_str().unwrap().into()),
            ..PbsSettings::default()
        }
    }

    /// The path of one of its commands.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.site().join("bin").join(name)
    }

    fn run(&self, name: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.program(name));
        command.args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// What a command answers.
    pub(crate) fn command(&self, name: &str, args: &[&str]) -> String {
        String::from_utf8(self.run(name, args).stdout).unwrap()
    }

    /// The exit code of a command, and what it says went wrong.
    pub(crate) fn refusal(&self, name: &str, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(name, args);
        let words = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), words)
    }

    pub(crate) fn stop(&self) {
        self.control("stop-server", &[]);
    }

    fn control(&self, verb: &str, options: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/testbed/openpbs-replay/openpbs.py");
        let output = Command::new(script)
            .arg(verb)
            .arg(self.site())
            .args(options)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{verb}: {output:?}");
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.control("down", &[]);
    }
}

/// TORQUE's commands over a Slurm that was started for the tests. One test has it at a time.
pub(crate) struct TorqueBed {
    system: Arc<dyn BatchSystem>,
    pub(crate) folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

static TORQUE: Mutex<()> = Mutex::const_new(());

impl TorqueBed {
    pub(crate) async fn new() -> Option<Self> {
        Self::over(None).await
    }

    /// With its commands run on another machine, if one is given.
    pub(crate) async fn over(ssh: Option<SshSettings>) -> Option<Self> {
        let folder = started("TORQUE")?;
        let alone = TORQUE.lock().await;
        let conf = folder.join("slurm.conf").to_str().unwrap().to_owned();
        let settings = PbsSettings {
            dialect: PbsDialect::Torque,
            ssh,
            env: BTreeMap::from([("SLURM_CONF".to_owned(), conf)]),
            ..PbsSettings::default()
        };
        Some(Self {
            system: open(settings),
            folder,
            _alone: alone,
        })
    }

    fn control(&self, command: &str) {
        control("torque", command, &self.folder);
    }
}

impl Bed for TorqueBed {
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
        slurm::refused(job)
    }

    fn absent_ce(&self) -> Option<Ce> {
        Some(ce("nosuch"))
    }

    fn does_not_tell(&self) -> &'static [Untold] {
        &[Untold::ExitCode]
    }
}
