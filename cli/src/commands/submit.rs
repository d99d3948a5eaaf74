//! `fairway submit`

use std::path::PathBuf;

use fairway_api::public::SubmitReply;
use fairway_model::GroupName;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::render::words;
use crate::screen::{self, Format};
use crate::submission;

/// Submit jobs
///
/// The files that a job's InputSandbox names are sent along; their paths are relative to the
/// folder of the JDL file.
#[derive(Debug, clap::Args)]
pub(super) struct Submit {
    /// JDL files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Group to submit for, if you are in several; the JDL's `Account` if not set, or the token's
    #[arg(long, visible_alias = "account", value_name = "GROUP")]
    group: Option<GroupName>,
    /// What the jobs wait for, such as `afterok:12`; instead of their `Depends`
    #[arg(long, value_name = "DEPENDENCIES")]
    after: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Submit {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        // All are read before the first is sent: a mistake in the last one submits none.
        let mut loaded = Vec::with_capacity(self.files.len());
        for file in &self.files {
            loaded.push(submission::load(
                file,
                self.group.clone(),
                self.after.as_deref(),
            )?);
        }
        let mut replies: Vec<SubmitReply> = Vec::with_capacity(loaded.len());
        for one in &loaded {
            let reply = client.submit(&one.submission).await?;
            tell_warnings(&reply);
            if !self.format.json {
                let tasks = words::count(reply.tasks, "task");
                screen::write(&format!("job {} with {tasks}\n", reply.job))?;
            }
            replies.push(reply);
        }
        if self.format.json {
            screen::write_json(&replies)?;
        }
        Ok(())
    }
}

/// Shows what was noticed in the JDL and did not prevent the submission.
pub(super) fn tell_warnings(reply: &SubmitReply) {
    for warning in &reply.warnings {
        screen::remark(warning.rendered.trim_end());
    }
}
