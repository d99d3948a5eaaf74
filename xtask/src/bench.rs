//! The figures of speed and memory, in one run on one machine.

use crate::beds::{Bed, Running};
use crate::packages;
use crate::run::cargo;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to the benchmark, e.g. `--tasks 10000`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    packages::ensure()?;
    let folder = tempfile::Builder::new()
        .prefix("fairway-bench-")
        .tempdir()?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open)?;
    let postgres = Running::up(Bed::Postgres, &folder.path().join("postgres"))?;
    crate::run::run(cargo().args(["build", "--release", "--package", "fairway-cli"]))?;
    crate::run::run(
        cargo()
            .args([
                "run",
                "--release",
                "--quiet",
                "--package",
                "fairway-bench",
                "--",
            ])
            .args(&args.arguments)
            .env("FAIRWAY_BENCH_POSTGRES", &postgres.told),
    )
}
