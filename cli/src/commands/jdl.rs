//! `fairway jdl`

use std::path::PathBuf;

use fairway_jdl::JobSpec;

use crate::exit::Failure;
use crate::render::words;
use crate::screen;
use crate::submission::{listed, read_text};

/// Check job descriptions on this machine
#[derive(Debug, clap::Subcommand)]
pub(super) enum Jdl {
    Check(Check),
}

/// Check job descriptions without submitting them: all mistakes are told at once
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// JDL files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Jdl {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Check(check) = self;
        let mut refused = Vec::new();
        for file in &check.files {
            let text = read_text(file)?;
            match JobSpec::read(&text) {
                Ok((spec, warnings)) => {
                    for warning in warnings {
                        screen::remark(warning.rendered.trim_end());
                    }
                    screen::write(&format!(
                        "{}: job `{}` with {}\n",
                        file.display(),
                        spec.name(),
                        words::count(spec.task_count(), "task")
                    ))?;
                }
                Err(diagnostics) => refused.push(listed(file, &diagnostics)),
            }
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(Failure::Refused(refused.join("\n\n")))
        }
    }
}
