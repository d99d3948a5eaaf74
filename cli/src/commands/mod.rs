//! The commands, one file for each: its arguments, and what it does.

mod change;
mod completions;
mod config;
mod explain;
mod jdl;
mod logs;
mod output;
mod pilot;
mod pilot_agent;
mod policy;
mod reference;
mod run;
mod serve;
mod shares;
mod simulate;
mod site;
mod site_agent;
mod status;
mod submit;
mod token;
mod usage;
mod watch;

#[cfg(test)]
mod tests;

use std::future::Future;

use clap::{Parser, Subcommand};
use fairway_model::{TaskVerb, Timestamp};

use crate::exit::{EXIT_CODES, Failure};

/// Runs jobs, described in JDL, on batch systems through pilots
#[derive(Debug, Parser)]
#[command(name = "fairway", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Fairway {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Submit(submit::Submit),
    Status(status::Status),
    Watch(watch::Watch),
    Logs(logs::Logs),
    Output(output::Output),
    /// Stop jobs or tasks for good
    Cancel(change::Change),
    /// Keep jobs or tasks out of the queue; what runs already runs on
    Hold(change::Change),
    /// Let jobs or tasks that were held into the queue again
    Release(change::Change),
    /// Queue tasks again that failed or were cancelled, with their retries restored
    Retry(change::Change),
    /// Put running tasks that say `Suspendable` to sleep; they keep their memory
    Suspend(change::Change),
    /// Let suspended tasks go on as soon as their cores are free
    Resume(change::Change),
    Explain(explain::Explain),
    #[command(subcommand)]
    Jdl(jdl::Jdl),
    Shares(shares::Shares),
    Usage(usage::Usage),
    #[command(subcommand)]
    Site(site::Site),
    #[command(subcommand)]
    Pilot(pilot::Pilot),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    Token(token::Token),
    Serve(serve::Serve),
    Simulate(simulate::Simulate),
    #[command(subcommand)]
    Config(config::Config),
    Completions(completions::Completions),
    #[command(hide = true)]
    PilotAgent(pilot_agent::PilotAgent),
    #[command(hide = true)]
    Reference(reference::Reference),
}

impl Fairway {
    /// Does what the command line says.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(run) => on_all_cores(run.run()),
            Command::Submit(submit) => on_this_thread(submit.run()),
            Command::Status(status) => on_this_thread(status.run()),
            Command::Watch(watch) => on_this_thread(watch.run()),
            Command::Logs(logs) => on_this_thread(logs.run()),
            Command::Output(output) => on_this_thread(output.run()),
            Command::Cancel(change) => on_this_thread(change.run(TaskVerb::Cancel)),
            Command::Hold(change) => on_this_thread(change.run(TaskVerb::Hold)),
            Command::Release(change) => on_this_thread(change.run(TaskVerb::Release)),
            Command::Retry(change) => on_this_thread(change.run(TaskVerb::Retry)),
            Command::Suspend(change) => on_this_thread(change.run(TaskVerb::Suspend)),
            Command::Resume(change) => on_this_thread(change.run(TaskVerb::Resume)),
            Command::Explain(explain) => on_this_thread(explain.run()),
            Command::Jdl(jdl) => jdl.run(),
            Command::Shares(shares) => on_this_thread(shares.run()),
            Command::Usage(usage) => on_this_thread(usage.run()),
            Command::Site(site) => on_this_thread(site.run()),
            Command::Pilot(pilot) => on_this_thread(pilot.run()),
            Command::Policy(policy) => on_this_thread(policy.run()),
            Command::Token(token) => on_this_thread(token.run()),
            Command::Serve(serve) => on_all_cores(serve.run()),
            Command::Simulate(simulate) => on_this_thread(simulate.run()),
            Command::Config(config) => config.run(),
            Command::Completions(completions) => completions.run(),
            Command::PilotAgent(agent) => on_this_thread(agent.run()),
            Command::Reference(reference) => reference.run(),
        }
    }
}

/// Runs a client's command: it mostly waits for the server.
fn on_this_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    block_on(&mut tokio::runtime::Builder::new_current_thread(), work)
}

/// Runs a command that has a server in it.
fn on_all_cores(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    block_on(&mut tokio::runtime::Builder::new_multi_thread(), work)
}

fn block_on(
    builder: &mut tokio::runtime::Builder,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::Local(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}

/// The moment by this machine's clock.
fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(0).plus(since_epoch.unwrap_or_default())
}
