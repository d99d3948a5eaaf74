//! `fairway output`

use std::path::PathBuf;

use fairway_model::TaskId;
use serde::Serialize;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::Subject;
use crate::render::words;
use crate::screen::{self, Format};
use crate::submission::output_folder;
use crate::unpack::{self, Unpacked};

/// Fetch the output sandbox of a task, or of all tasks of a job
///
/// A job's outputs come with a folder for each task, named by its number; those of a compound job
/// with a folder for each node, named as it is, and in that, if the node has several tasks, one
/// for each of them, numbered from 0.
#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// A job such as 12, a node of a compound job such as 12/fit, or a task such as 12.0
    #[arg(value_name = "JOB|NODE|TASK")]
    subject: Subject,
    /// Folder to unpack to; files in it are overwritten. A new ./<name>-<job> if not set
    #[arg(long, short, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct Fetched {
    folder: PathBuf,
    files: u64,
}

impl Output {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let (Subject::Job(job) | Subject::Node(job, _) | Subject::Task(TaskId { job, .. })) =
            self.subject;
        let folder = match self.output_dir {
            Some(folder) => folder,
            None => output_folder(&client.job(job).await?.name, job),
        };
        let download = match &self.subject {
            Subject::Job(job) => client.job_output(*job).await?,
            Subject::Node(job, node) => client.node_output(*job, node).await?,
            Subject::Task(task) => client.task_output(*task).await?,
        };
        let unpacked = unpack::download(download, &folder).await?;
        tell_left_out(&unpacked);
        let fetched = Fetched {
            folder,
            files: unpacked.files,
        };
        self.format.show(&fetched, || {
            let files = words::count(fetched.files, "file");
            format!("{files} in {}\n", fetched.folder.display())
        })
    }
}

/// Says what of an archive was not unpacked.
pub(super) fn tell_left_out(unpacked: &Unpacked) {
    if let Some(first) = unpacked.left_out.first() {
        screen::remark(&format!(
            "{} left out, since they could point anywhere: {first} …",
            words::count(unpacked.left_out.len() as u64, "link or special file")
        ));
    }
}
