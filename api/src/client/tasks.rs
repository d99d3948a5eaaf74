//! Tasks: their state, history and output.

use fairway_model::{Event, TaskId, TaskVerb};
use reqwest::Method;

use super::transport::Repeat;
use super::{Client, ClientError, Download, Follow};
use crate::public::{
    EventsQuery, ExplainQuery, Explanation, LogQuery, Page, TaskView, TasksChange, TasksChanged,
    TasksQuery,
};

/// Which of a task's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The name used in paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Client {
    /// A page of tasks.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tasks(&self, query: &TasksQuery) -> Result<Page<TaskView>, ClientError> {
        self.get_with(&["tasks"], query).await
    }

    /// A task.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task(&self, task: TaskId) -> Result<TaskView, ClientError> {
        self.get(&["tasks", &task.to_string()]).await
    }

    /// A page of a task's history, oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task_events(
        &self,
        task: TaskId,
        query: &EventsQuery,
    ) -> Result<Page<Event>, ClientError> {
        self.get_with(&["tasks", &task.to_string(), "events"], query)
            .await
    }

    /// Why a task is where it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain(&self, task: TaskId) -> Result<Explanation, ClientError> {
        self.get(&["tasks", &task.to_string(), "explain"]).await
    }

    /// As [`explain`](Self::explain), without a forecast of its start: quick.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain_briefly(&self, task: TaskId) -> Result<Explanation, ClientError> {
        let query = ExplainQuery {
            forecast: Some(false),
        };
        self.get_with(&["tasks", &task.to_string(), "explain"], &query)
            .await
    }

    /// Cancels, holds, releases or retries a task.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_task(
        &self,
        task: TaskId,
        verb: TaskVerb,
    ) -> Result<TasksChanged, ClientError> {
        let request = self.request(Method::POST, &["tasks", &task.to_string(), verb.name()]);
        // To ask for the same state twice is harmless.
        let response = self.send(request, Repeat::Harmless).await?;
        self.decode(response).await
    }

    /// Cancels, holds, releases, retries, suspends or resumes many tasks; at most 10,000 at a time.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_tasks(
        &self,
        change: &TasksChange,
        verb: TaskVerb,
    ) -> Result<TasksChanged, ClientError> {
        let request = self
            .request(Method::POST, &["tasks", verb.name()])
            .json(change);
        // To ask for the same state twice is harmless.
        let response = self.send(request, Repeat::Harmless).await?;
        self.decode(response).await
    }

    /// What a task wrote so far.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn log(
        &self,
        task: TaskId,
        stream: LogStream,
        query: &LogQuery,
    ) -> Result<Download, ClientError> {
        let query = LogQuery {
            follow: false,
            ..query.clone()
        };
        let path = ["tasks", &task.to_string(), stream.name()];
        self.download(self.request(Method::GET, &path).query(&query))
            .await
    }

    /// What a task writes, until it is over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn follow(
        &self,
        task: TaskId,
        stream: LogStream,
        query: &LogQuery,
    ) -> Result<Follow, ClientError> {
        let query = LogQuery {
            follow: true,
            ..query.clone()
        };
        let path = ["tasks", &task.to_string(), stream.name()];
        let request = self
            .request(Method::GET, &path)
            .header(reqwest::header::ACCEPT, "text/event-stream")
            .query(&query);
        Ok(Follow::new(self.download(request).await?))
    }

    /// A task's output sandbox: a gzipped tar.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task_output(&self, task: TaskId) -> Result<Download, ClientError> {
        let request = self.request(Method::GET, &["tasks", &task.to_string(), "output"]);
        self.download(request).await
    }
}
