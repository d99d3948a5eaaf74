//! The figures of speed and memory, in one run on one machine: the server is a
//! process of its own, the clients and pilots speak to it over HTTP.
//!
//! Figures, not verdicts: nothing fails here because a machine is slow.

mod matches;
mod null_tasks;
mod server;
mod shares;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use server::{Server, Shape};

#[derive(Parser)]
#[command(about = "Prints the figures of speed and memory of Fairway")]
struct Args {
    /// The `fairway` program; beside this one if not given
    #[arg(long)]
    fairway: Option<PathBuf>,
    /// Tasks of the large job
    #[arg(long, default_value_t = 100_000)]
    tasks: u32,
    /// Matches to make
    #[arg(long, default_value_t = 20_000)]
    matches: u32,
    /// Pilots that ask for work at the same time
    #[arg(long, default_value_t = 64)]
    pilots: u32,
    /// Tasks that do nothing
    #[arg(long, default_value_t = 5_000)]
    null_tasks: u32,
    /// Measure only what users get of a full platform against their shares
    #[arg(long)]
    shares_only: bool,
    #[command(flatten)]
    shares: shares::Args,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Stands in for the pilot program: leaves the bootstrap document in a folder and stays until
    /// that is gone, so that the benchmark can speak as that pilot
    #[command(hide = true)]
    Catch { folder: PathBuf },
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Role::Catch { folder }) = &args.role {
        return matches::catch(folder);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let here = std::env::current_exe()?;
    let fairway = match &args.fairway {
        Some(path) => path.clone(),
        None => here.with_file_name("fairway"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if args.shares_only {
            return shares::measure(&fairway, args.shares).await;
        }
        large_job(&fairway, "SQLite", None, &args).await?;
        match std::env::var("FAIRWAY_BENCH_POSTGRES") {
            Ok(url) => large_job(&fairway, "PostgreSQL", Some(&url), &args).await?,
            Err(_) => println!("PostgreSQL: not measured, FAIRWAY_BENCH_POSTGRES is not set"),
        }
        null_tasks::measure(&fairway, args.null_tasks).await?;
        shares::measure(&fairway, args.shares).await
    })
}

/// Submission, memory, matches and restart with one large job in the queue.
async fn large_job(
    fairway: &std::path::Path,
    store: &str,
    url: Option<&str>,
    args: &Args,
) -> anyhow::Result<()> {
    let catcher = std::env::current_exe()?;
    let shape = Shape {
        pilots: args.pilots,
        pilot_cores: 1,
    };
    let mut server = Server::start(fairway, url, shape, |folder| {
        vec![
            catcher.display().to_string(),
            "catch".into(),
            folder.join("caught").display().to_string(),
        ]
    })
    .await?;
    let before_kib = server.resident_kib()?;
    let jdl = format!(
        "[ JobType = \"Parametric\"; Executable = \"/bin/true\"; Arguments = \"_PARAM_\"; \
         Parameters = {}; ParameterStart = 0; ParameterStep = 1; \
         Requirements = other.GlueCEStateStatus == \"Production\"; ]",
        args.tasks
    );
    let began = Instant::now();
    server
        .submit(&jdl)
        .await
        .context("submitting the large job")?;
    println!(
        "{store}: submit of one job of {} tasks: {:.3} s",
        args.tasks,
        began.elapsed().as_secs_f64()
    );
    let grown_kib = server.resident_kib()?.saturating_sub(before_kib);
    println!(
        "{store}: resident memory grew by {grown_kib} KiB: {} bytes a waiting task",
        grown_kib * 1024 / u64::from(args.tasks)
    );
    matches::measure(&server, store, args).await?;
    let took = server.kill_and_restart().await?;
    println!(
        "{store}: restart after kill -9, until ready: {:.3} s",
        took.as_secs_f64()
    );
    server.stop().await
}
