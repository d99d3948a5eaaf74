//! The test beds: real services, in folders of their own, on loopback.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};

use crate::run::{output, root, target};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start a test bed, or all of them, side by side
    Up(Which),
    /// Stop it, and all that runs in it
    Down(Which),
}

#[derive(clap::Args)]
struct Which {
    /// Which
    #[arg(default_value = "all")]
    bed: BedOrAll,
    /// The folder; `target/testbed/<bed>` if not given
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BedOrAll {
    Slurm,
    Torque,
    Ssh,
    Postgres,
    All,
}

/// A service that can be started for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bed {
    Slurm,
    Torque,
    Ssh,
    Postgres,
}

impl Bed {
    pub(crate) const ALL: [Self; 4] = [Self::Slurm, Self::Torque, Self::Ssh, Self::Postgres];

    /// Its name, which its script and its folder have too.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Slurm => "slurm",
            Self::Torque => "torque",
            Self::Ssh => "ssh",
            Self::Postgres => "postgres",
        }
    }

    /// The variable that tells the tests where it is.
    pub(crate) const fn variable(self) -> &'static str {
        match self {
            Self::Slurm => "FAIRWAY_TEST_SLURM",
            Self::Torque => "FAIRWAY_TEST_TORQUE",
            Self::Ssh => "FAIRWAY_TEST_SSH",
            Self::Postgres => "FAIRWAY_TEST_POSTGRES",
        }
    }

    fn script(self) -> Command {
        let mut command = Command::new("bash");
        let name = format!("{}.sh", self.name());
        command.arg(root().join("deploy/testbed").join(name));
        command
    }
}

impl Which {
    fn beds(&self) -> Vec<Bed> {
        match self.bed {
            BedOrAll::Slurm => vec![Bed::Slurm],
            BedOrAll::Torque => vec![Bed::Torque],
            BedOrAll::Ssh => vec![Bed::Ssh],
            BedOrAll::Postgres => vec![Bed::Postgres],
            BedOrAll::All => Bed::ALL.to_vec(),
        }
    }

    fn folder(&self, bed: Bed) -> PathBuf {
        match (&self.folder, self.bed) {
            (Some(folder), BedOrAll::All) => folder.join(bed.name()),
            (Some(folder), _) => folder.clone(),
            (None, _) => target().join("testbed").join(bed.name()),
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Up(which) => {
            crate::packages::ensure()?;
            for bed in which.beds() {
                let folder = which.folder(bed);
                println!("{}: {}", bed.name(), folder.display());
                crate::run::run(bed.script().arg("up").arg(&folder))?;
                println!("  export {}={}", bed.variable(), told(bed, &folder)?);
            }
            Ok(())
        }
        Verb::Down(which) => {
            let beds = which.beds().into_iter();
            for bed in beds.filter(|bed| which.bed != BedOrAll::All || which.folder(*bed).exists())
            {
                crate::run::run(bed.script().arg("down").arg(which.folder(bed)))?;
            }
            Ok(())
        }
    }
}

/// What the tests are told of a bed that is up: its folder, or for PostgreSQL its URL.
fn told(bed: Bed, folder: &Path) -> anyhow::Result<String> {
    match bed {
        Bed::Postgres => {
            let printed = output(bed.script().arg("up").arg(folder))?;
            Ok(printed.lines().last().unwrap_or_default().to_owned())
        }
        _ => Ok(folder.display().to_string()),
    }
}

/// A test bed that goes down with this value.
pub(crate) struct Running {
    bed: Bed,
    folder: PathBuf,
    /// What its [variable](Bed::variable) is to hold.
    pub(crate) told: String,
}

impl Running {
    pub(crate) fn up(bed: Bed, folder: &Path) -> anyhow::Result<Self> {
        // From here on `down` is owed, also if `up` gets stuck half-way.
        let mut running = Self {
            bed,
            folder: folder.to_owned(),
            told: String::new(),
        };
        output(bed.script().arg("up").arg(folder))
            .with_context(|| format!("the test bed in {} did not start", folder.display()))?;
        running.told = told(bed, folder)?;
        Ok(running)
    }

    pub(crate) fn bed(&self) -> Bed {
        self.bed
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut down = self.bed.script();
        if let Err(error) = crate::run::run(down.arg("down").arg(&self.folder)) {
            eprintln!(
                "the test bed in {} did not stop: {error:#}",
                self.folder.display()
            );
        }
    }
}
