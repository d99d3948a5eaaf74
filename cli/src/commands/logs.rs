//! `fairway logs`

use fairway_api::client::{Client, LogEvent, LogStream};
use fairway_api::public::LogQuery;
use fairway_model::{Attempt, TaskId, TaskState};

use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::OneTask;
use crate::screen;

/// Show what a task wrote, while it runs too
#[derive(Debug, clap::Args)]
pub(super) struct Logs {
    /// A task such as 12.0; a job or a node such as 12/fit alone means its first task
    task: OneTask,
    /// Go on until the task is over; succeeds only if the task does
    #[arg(long, short)]
    follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Only the last so many lines
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Of this attempt; of the last one if not set
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    #[command(flatten)]
    connect: Connect,
}

impl Logs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let task = self.task.find(&client).await?;
        let stream = if self.stderr {
            LogStream::Stderr
        } else {
            LogStream::Stdout
        };
        let query = LogQuery {
            attempt: self.attempt.map(Attempt),
            tail: self.tail,
            follow: self.follow,
        };
        if !self.follow {
            let mut log = client.log(task, stream, &query).await?;
            while let Some(chunk) = log.chunk().await? {
                screen::write_raw(&chunk)?;
            }
            return Ok(());
        }
        match follow(&client, task, stream, &query, screen::write_raw).await? {
            TaskState::Succeeded => Ok(()),
            state => Err(Failure::Unsuccessful(format!(
                "task {task} {}; `fairway status {task}` tells why",
                state.name()
            ))),
        }
    }
}

/// Hands on what a task writes until it is over, and returns how it ended.
pub(super) async fn follow(
    client: &Client,
    task: TaskId,
    stream: LogStream,
    query: &LogQuery,
    write: impl Fn(&[u8]) -> Result<(), Failure>,
) -> Result<TaskState, Failure> {
    let mut log = client.follow(task, stream, query).await?;
    while let Some(event) = log.next().await? {
        match event {
            LogEvent::Chunk(text) => write(text.as_bytes())?,
            LogEvent::End(state) => return Ok(state),
        }
    }
    Err(Failure::Unreachable(format!(
        "the server ended the log of task {task} before the task was over; follow it again"
    )))
}
