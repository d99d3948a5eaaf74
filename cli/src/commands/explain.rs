//! `fairway explain`

use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::OneTask;
use crate::render;
use crate::screen::Format;

/// Tell why a task is where it is: its place in the queue, and what speaks against each CE
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// A task such as 12.0; a job or a node such as 12/fit alone means its first task
    task: OneTask,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Explain {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let task = self.task.find(&client).await?;
        let explanation = client.explain(task).await?;
        self.format
            .show(&explanation, || render::explain::text(&explanation))
    }
}
