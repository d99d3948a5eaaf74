//! The one test command.

use std::time::Instant;

use crate::beds::{Bed, Running, is_root};
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
    // OAR insists on folders of the system's, which its bed covers with its own.
    let possible = |bed: &Bed| *bed != Bed::Oar || is_root();
    let beds = Bed::ALL
        .into_iter()
        .filter(possible)
        .map(|bed| Running::up(bed, &folder.path().join(bed.name())))
        .collect::<anyhow::Result<Vec<_>>>()?;
    println!(
        "test beds are up after {:.1} s",
        began.elapsed().as_secs_f32()
    );
    let mut tests = cargo();
    tests
        .arg("test")
        .envs(
            beds.iter()
                .map(|running| (running.bed().variable(), &running.told)),
        )
        .env("FAIRWAY_TEST_CLASSAD_PYTHON", &python)
        // A snapshot that differs fails; it is not written anew.
        .env("INSTA_UPDATE", "no");
    if !is_root() {
        println!("left out, because their test beds take root: OAR, slurmrestd");
        tests
            .env("FAIRWAY_TEST_SKIP_OAR", "1")
            .env("FAIRWAY_TEST_SKIP_SLURM_REST", "1");
    }
    if args.cargo_args.is_empty() {
        // One run tells of everything that fails.
        tests.args(["--workspace", "--no-fail-fast"]);
    } else {
        tests.args(&args.cargo_args);
    }
    let result = crate::run::run(&mut tests);
    drop(beds);
    println!("all of it took {:.0} s", began.elapsed().as_secs_f32());
    result
}
