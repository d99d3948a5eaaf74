//! Jobs.

use fairway_model::{JobId, TaskVerb};
use reqwest::Method;

use super::transport::Repeat;
use super::{Client, ClientError, Download};
use crate::public::{JobView, JobsQuery, NodeView, NodesQuery, Page, TasksChanged};

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

    /// A page of the nodes of a compound job, in order; empty if it is not compound.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn nodes(
        &self,
        job: JobId,
        query: &NodesQuery,
    ) -> Result<Page<NodeView>, ClientError> {
        self.get_with(&["jobs", &job.to_string(), "nodes"], query)
            .await
    }

    /// A node of a compound job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn node(&self, job: JobId, node: &str) -> Result<NodeView, ClientError> {
        self.get(&["jobs", &job.to_string(), "nodes", node]).await
    }

    /// Cancels, holds, releases or retries all tasks of a node that are in a state for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_node(
        &self,
        job: JobId,
        node: &str,
        verb: TaskVerb,
    ) -> Result<TasksChanged, ClientError> {
        let path = ["jobs", &job.to_string(), "nodes", node, verb.name()];
        let request = self.request(Method::POST, &path);
        // To ask for the same state twice is harmless.
        let response = self.send(request, Repeat::Harmless).await?;
        self.decode(response).await
    }

    /// The output sandboxes of all tasks of a node, in folders as in that of the job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn node_output(&self, job: JobId, node: &str) -> Result<Download, ClientError> {
        let path = ["jobs", &job.to_string(), "nodes", node, "output"];
        self.download(self.request(Method::GET, &path)).await
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
