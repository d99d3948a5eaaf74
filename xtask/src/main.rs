//! The developers' tasks: `cargo xtask help`.
//!
//! - `test`: installs what the tests need, starts it on loopback, runs every test, stops it.
//! - `generate`: writes the pages and documents that are made from the code; `--check` only compares.
//! - `bench`: prints the figures of speed and memory.
//! - `soak`: tries random cases, many of them, on all cores.
//! - `testbed`: a Slurm, OAR or PostgreSQL of one's own, up and down.
//! - `dist`: the static pilot program for worker nodes.

mod beds;
mod bench;
mod classad;
mod dist;
mod generate;
mod packages;
mod run;
mod soak;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The developers' tasks of Fairway")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need, start it on loopback, run every test, stop it
    Test(test::Args),
    /// Write the documents that are made from the code (OpenAPI, references)
    Generate(generate::Args),
    /// Print the figures of speed and memory
    Bench(bench::Args),
    /// Try random histories, simulated machines and fairness, a case for each seed, on all cores
    Soak(soak::Args),
    /// Bring a test bed up or down
    Testbed(beds::Args),
    /// Build the static pilot program for worker nodes
    Dist,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Generate(args) => generate::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Testbed(args) => beds::run(&args),
        Task::Dist => dist::run(),
    }
}
