//! Jobs.

use fairway_model::{JobId, TaskVerb};
use reqwest::Method;

use super::transport::Repeat;
use super::{Client, ClientError, Download};
use crate::public::{JobView, JobsQuery, Page, TasksChanged};

impl Client {
    /// A page of jobs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs(&self, query: &JobsQuery) -> Result<Page<JobView>, ClientError> {
        self.get_with(&["jobs"], query).await
    }

    /// A job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job(&self, job: JobId) -> Result<JobView, ClientError> {
        self.get(&["jobs", &job.to_string()]).await
    }

    /// A job's JDL as it was submitted.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job_jdl(&self, job: JobId) -> Result<String, ClientError> {
        let request = self.request(Method::GET, &["jobs", &job.to_string(), "jdl"]);
        let response = self.send(request, Repeat::Harmless).await?;
        response
            .text()
            .await
            .map_err(|error| ClientError::Interrupted(super::error::with_causes(&error)))
    }

    /// Cancels, holds, releases or retries all tasks of a job that are in a state for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_job(
        &self,
        job: JobId,
        verb: TaskVerb,
    ) -> Result<TasksChanged, ClientError> {
        let request = self.request(Method::POST, &["jobs", &job.to_string(), verb.name()]);
        // To ask for the same state twice is harmless.
        let response = self.send(request, Repeat::Harmless).await?;
        self.decode(response).await
    }

    /// The output sandboxes of all tasks of a job: one gzipped tar with a folder for each.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job_output(&self, job: JobId) -> Result<Download, ClientError> {
        let request = self.request(Method::GET, &["jobs", &job.to_string(), "output"]);
        self.download(request).await
    }
}
