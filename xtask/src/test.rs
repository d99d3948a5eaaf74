//! The one test command.

use std::time::Instant;

use crate::beds::{Bed, Running};
use crate::run::cargo;
use crate::{classad, packages};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to `cargo test`, e.g. `-p fairway-jdl`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let began = Instant::now();
    packages::ensure()?;
    let python = classad::ensure()?;
    let folder = tempfile::Builder::new().prefix("fairway-test-").tempdir()?;
    // The beds' daemons do not all run as the one who starts them.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open)?;
    let postgres = Running::up(Bed::Postgres, &folder.path().join("postgres"))?;
    let slurm = Running::up(Bed::Slurm, &folder.path().join("slurm"))?;
    // OAR is started by root only; whoever is not leaves it out knowingly.
    let oar = match std::env::var("FAIRWAY_TEST_SKIP_OAR").as_deref() {
        Ok("1") => None,
        _ => Some(Running::up(Bed::Oar, &folder.path().join("oar"))?),
    };
    println!(
        "test beds are up after {:.1} s",
        began.elapsed().as_secs_f32()
    );
    let mut tests = cargo();
    tests
        .arg("test")
        .env("FAIRWAY_TEST_POSTGRES", &postgres.told)
        .env("FAIRWAY_TEST_SLURM", slurm.folder())
        .envs(oar.iter().map(|oar| ("FAIRWAY_TEST_OAR", oar.folder())))
        .env("FAIRWAY_TEST_CLASSAD_PYTHON", &python)
        // A snapshot that differs fails; it is not written anew.
        .env("INSTA_UPDATE", "no");
    if args.cargo_args.is_empty() {
        tests.arg("--workspace");
    } else {
        tests.args(&args.cargo_args);
    }
    let result = crate::run::run(&mut tests);
    drop((postgres, slurm, oar));
    println!("all of it took {:.0} s", began.elapsed().as_secs_f32());
    result
}
