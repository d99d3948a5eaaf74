//! `fairway jdl to-json` and `fairway jdl from-json`

use std::path::PathBuf;

use super::ads;
use crate::exit::Failure;
use crate::screen;
use crate::submission::{listed, read_text};

/// Print a job description as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The JSON has the same attributes under the same names. Requirements, Rank and the like are strings
with the expression in them; elsewhere an expression that is not just a value is an object
{\"$expr\": \"…\"}. `fairway jdl from-json` makes an equal description of it.")]
pub(crate) struct ToJson {
    /// The job description; `-` is standard input
    file: PathBuf,
}

/// Print a job description that is in JSON as JDL
#[derive(Debug, clap::Args)]
pub(crate) struct FromJson {
    /// The JSON; `-` is standard input
    file: PathBuf,
}

impl ToJson {
    pub(super) fn run(self) -> Result<(), Failure> {
        let text = read_text(&self.file)?;
        let ad = ads::parse(&self.file, &text)?;
        screen::write_json(&fairway_jdl::json::to_json(&ad))
    }
}

impl FromJson {
    pub(super) fn run(self) -> Result<(), Failure> {
        let text = read_text(&self.file)?;
        let jdl = fairway_jdl::json::json_to_jdl(&text).map_err(|diagnostics| {
            Failure::Refused(listed(&self.file, "a valid job description", &diagnostics))
        })?;
        screen::write(&jdl)
    }
}
