//! The test beds: real services, in folders of their own, on loopback.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};

use crate::run::{output, root};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start a test bed in a folder of its own
    Up {
        /// Which
        bed: Bed,
        /// The folder; made if it is not there
        folder: PathBuf,
    },
    /// Stop the test bed in a folder
    Down {
        /// Which
        bed: Bed,
        /// The folder
        folder: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Bed {
    Slurm,
    Oar,
    Postgres,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Up { bed, folder } => crate::run::run(script(*bed).arg("up").arg(folder)),
        Verb::Down { bed, folder } => crate::run::run(script(*bed).arg("down").arg(folder)),
    }
}

fn script(bed: Bed) -> Command {
    let name = match bed {
        Bed::Slurm => "slurm.sh",
        Bed::Oar => "oar.sh",
        Bed::Postgres => "postgres.sh",
    };
    let mut command = Command::new("bash");
    command.arg(root().join("deploy/testbed").join(name));
    command
}

/// A test bed that goes down with this value.
pub(crate) struct Running {
    bed: Bed,
    folder: PathBuf,
    /// What `up` printed last: for PostgreSQL the URL.
    pub(crate) told: String,
}

impl Running {
    pub(crate) fn up(bed: Bed, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.to_owned();
        // From here on `down` is owed, also if `up` gets stuck half-way.
        let mut running = Self {
            bed,
            folder,
            told: String::new(),
        };
        let printed = output(script(bed).arg("up").arg(&running.folder)).with_context(|| {
            format!("the test bed in {} did not start", running.folder.display())
        })?;
        running.told = printed.lines().last().unwrap_or_default().to_owned();
        Ok(running)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = crate::run::run(script(self.bed).arg("down").arg(&self.folder)) {
            eprintln!(
                "the test bed in {} did not stop: {error:#}",
                self.folder.display()
            );
        }
    }
}
