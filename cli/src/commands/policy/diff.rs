//! `fairway policy diff`

use std::path::PathBuf;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// Tell what a policy file would change, on the queue as it is now (operators); nothing is changed
///
/// Which settings differ; whose place in the order of service and due part change; whose tasks
/// limits, budgets and pauses would keep back or let go; and which tasks would be served next.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// Policy file (TOML or JSON); `-` is standard input
    file: PathBuf,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Diff {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let document = super::document::read(&self.file)?;
        let client = self.connect.client()?;
        let diff = client.diff_policy(&document.policy).await?;
        self.format.show(&diff, || render::policy::diff(&diff))
    }
}
