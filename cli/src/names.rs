//! Names on the command line: jobs, tasks, and the words of a closed list.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use fairway_api::client::{Client, ClientError};
use fairway_model::{CeName, JobId, SiteName, TaskId};
use serde::de::DeserializeOwned;

/// A job, a node of one, or a task: `12`, `12/fit` or `12.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A job.
    Job(JobId),
    /// A node of a compound job, by its name.
    Node(JobId, String),
    /// A task.
    Task(TaskId),
}

impl FromStr for Subject {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = if let Some((job, node)) = text.split_once('/') {
            let job = job.parse().ok().filter(|_| !node.is_empty());
            job.map(|job| Self::Node(job, node.to_owned()))
        } else if text.contains('.') {
            text.parse().ok().map(Self::Task)
        } else {
            text.parse().ok().map(Self::Job)
        };
        parsed.ok_or_else(|| {
            "write a job such as 12, a task such as 12.0, or a node of a compound job such as \
             12/fit"
                .into()
        })
    }
}

/// A task; a job or node alone means its first task, which for most is the only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OneTask(Subject);

impl OneTask {
    /// The task itself; where a node is named, the server knows it.
    pub(crate) async fn find(self, client: &Client) -> Result<TaskId, ClientError> {
        Ok(match self.0 {
            Subject::Job(job) => TaskId::new(job, 0),
            Subject::Node(job, node) => TaskId::new(job, client.node(job, &node).await?.first),
            Subject::Task(task) => task,
        })
    }
}

impl FromStr for OneTask {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// A site, or one of its CEs: `lyon` or `lyon/short`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteOrCe {
    pub(crate) site: SiteName,
    pub(crate) ce: Option<CeName>,
}

impl FromStr for SiteOrCe {
    type Err = fairway_model::id::IdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (site, ce) = match text.split_once('/') {
            Some((site, ce)) => (site, Some(ce.parse()?)),
            None => (text, None),
        };
        Ok(Self {
            site: site.parse()?,
            ce,
        })
    }
}

/// A parser for the words by which a type goes on the wire.
pub(crate) fn one_of<T>(
    names: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names)
        .try_map(|name| serde_json::from_value(serde_json::Value::String(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_tasks_are_told_apart() {
        assert_eq!("12".parse(), Ok(Subject::Job(JobId(12))));
        let task = TaskId::new(JobId(12), 3);
        assert_eq!("12.3".parse(), Ok(Subject::Task(task)));
        assert_eq!("12/a.b".parse(), Ok(Subject::Node(JobId(12), "a.b".into())));
        assert!("12/".parse::<Subject>().is_err());
        assert!("fit/12".parse::<Subject>().is_err());
        assert!("p12".parse::<Subject>().is_err());
        assert!("12.".parse::<Subject>().is_err());
    }

    #[test]
    fn a_ce_is_named_with_its_site() {
        let parsed: SiteOrCe = "lyon/short".parse().unwrap();
        assert_eq!(parsed.site.as_str(), "lyon");
        assert_eq!(parsed.ce.unwrap().as_str(), "short");
        assert!("lyon/".parse::<SiteOrCe>().is_err());
    }
}
