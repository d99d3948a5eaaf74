//! `fairway`: the one program of Fairway's users, site admins and operators.
//!
//! - [`commands`]: one file for each command: its arguments and what it does.
//! - [`connect`]: which server to speak to, and as whom.
//! - [`render`]: what people read; programs get the same values as JSON.
//! - [`exit`]: how a command ends: the exit codes and the last words.
//! - [`embedded`]: the server inside this program, for `run`.
//! - [`submission`]: from JDL files to what is sent; [`unpack`]: from an archive
//!   of outputs to files; [`wait`]: from a running job to its end.

mod commands;
mod connect;
mod descendants;
mod embedded;
mod exit;
mod interrupt;
mod names;
mod progress;
mod render;
mod screen;
mod submission;
mod unpack;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    exit::finish(commands::Fairway::parse().run())
}
