//! The real programs at work: servers as processes of their own, pilots on this machine and in
//! Slurm, and the command line that users have. Nothing in here looks inside a program; what
//! there is to see is what users, operators and batch systems see.
//!
//! One crate, so that the tests of all files run side by side. What needs Slurm takes the test
//! bed that `FAIRWAY_TEST_SLURM` names; `cargo xtask test` starts one.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::print_stdout, reason = "shown only if the test fails")]

mod bad_input;
mod common;
mod crash;
mod depends;
mod disk;
mod explain;
mod gang;
mod graphs;
mod grid;
mod jdl;
mod policies;
mod preempt;
mod run;
mod site_agent;
mod sites;
mod slurm;
mod tls;
mod users;
