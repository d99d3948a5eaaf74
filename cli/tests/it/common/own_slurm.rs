//! A Slurm of a test's own, for what others must not be disturbed by.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::checkout;

/// A cluster that goes down with this value.
pub(crate) struct OwnSlurm {
    folder: PathBuf,
}

impl OwnSlurm {
    /// `None` only if whoever runs the tests said that they do without Slurm.
    pub(crate) fn up(nodes: u32) -> Option<Self> {
        if std::env::var("FAIRWAY_TEST_SKIP_SLURM").is_ok_and(|value| value == "1") {
            return None;
        }
        // Not in the test's own folder, whose processes are ended one by one.
        let folder = tempfile::Builder::new()
            .prefix("fairway-slurm-")
            .tempdir()
            .unwrap()
            .keep();
        let slurm = Self { folder };
        let nodes = nodes.to_string();
        slurm.script(&["up"], &["--nodes", &nodes]);
        Some(slurm)
    }

    pub(crate) fn conf(&self) -> String {
        self.folder.join("slurm.conf").display().to_string()
    }

    /// The batch system goes away; its jobs run on.
    pub(crate) fn stop_controller(&self) {
        self.script(&["stop-controller"], &[]);
    }

    pub(crate) fn start_controller(&self) {
        self.script(&["start-controller"], &[]);
    }

    /// Runs one of Slurm's commands and returns what it prints.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = command
            .args(args)
            .env("SLURM_CONF", self.conf())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The names of the jobs that wait or run.
    pub(crate) fn jobs(&self) -> Vec<String> {
        let names = self.run("squeue", &["--noheader", "--array", "-o", "%j"]);
        names.lines().map(str::to_owned).collect()
    }

    fn script(&self, verb: &[&str], options: &[&str]) {
        let mut command = Command::new(script());
        let output = command
            .args(verb)
            .arg(&self.folder)
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{verb:?}: {output:?}");
    }
}

fn script() -> PathBuf {
    Path::new(&checkout()).join("deploy/testbed/slurm.sh")
}

impl Drop for OwnSlurm {
    fn drop(&mut self) {
        let down = Command::new(script())
            .arg("down")
            .arg(&self.folder)
            .output();
        if !down.is_ok_and(|output| output.status.success()) {
            println!("the test bed in {} did not stop", self.folder.display());
        }
    }
}
