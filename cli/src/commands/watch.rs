//! `fairway watch`

use fairway_model::JobId;

use super::now;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::progress::{Counts, Progress};
use crate::render;
use crate::screen::Format;
use crate::wait;

/// Watch jobs until they are over; succeeds only if all their tasks do
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Jobs such as 12
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobId>,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Watch {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let mut progress = if self.quiet {
            Progress::Silent
        } else {
            let mut total = 0;
            for job in &self.jobs {
                total += u64::from(client.job(*job).await?.tasks);
            }
            Progress::new(total)
        };
        let jobs = wait::until_over(&client, &self.jobs, &mut progress).await?;
        self.format
            .show(&jobs, || render::jobs::list(&jobs, now()))?;
        let counts = Counts::of(&jobs);
        if counts.all_succeeded() {
            Ok(())
        } else {
            Err(Failure::Unsuccessful(format!(
                "{} of {} tasks did not succeed; `fairway status {} --state failed,cancelled{}` \
                 lists them",
                counts.total - counts.succeeded,
                counts.total,
                match self.jobs[..] {
                    [job] => job.to_string(),
                    _ => "JOB".to_owned(),
                },
                if counts.skipped > 0 { ",skipped" } else { "" }
            )))
        }
    }
}
