//! `fairway status`

use fairway_api::client::{Client, ClientError};
use fairway_api::public::{
    EventsQuery, JobView, JobsQuery, NodeView, NodesQuery, Page, TaskView, TasksQuery,
};
use fairway_model::{Event, JobId, TaskId, UserName};
use serde::Serialize;

use super::now;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::Subject;
use crate::render;
use crate::screen::Format;

/// Largest page that the server gives.
const PAGE_MAX: u32 = 1000;

/// Show jobs, one job with its nodes or tasks, one node with its tasks, or one task with its history
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// A job such as 12, a node of a compound job such as 12/fit, or a task such as 12.0; all your
    /// jobs if not set
    #[arg(value_name = "JOB|NODE|TASK")]
    subject: Option<Subject>,
    /// Only jobs that are `active` or `ended`; of one job or node: only tasks in these states,
    /// separated by commas
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only jobs of this user (operators)
    #[arg(long, value_name = "USER")]
    owner: Option<UserName>,
    /// How many jobs, nodes or tasks to show at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct JobStatus {
    job: JobView,
    /// Of a compound job, unless tasks in certain states are asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<NodeView>,
    tasks: Vec<TaskView>,
}

#[derive(Serialize)]
struct NodeStatus {
    node: NodeView,
    tasks: Vec<TaskView>,
}

#[derive(Serialize)]
struct TaskStatus {
    task: TaskView,
    events: Vec<Event>,
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        match &self.subject {
            None => self.jobs(&client).await,
            Some(Subject::Job(job)) => self.job(&client, *job).await,
            Some(Subject::Node(job, node)) => self.node(&client, *job, node).await,
            Some(Subject::Task(task)) => self.task(&client, *task).await,
        }
    }

    async fn jobs(&self, client: &Client) -> Result<(), Failure> {
        let jobs = collect(self.limit, async |cursor, limit| {
            let query = JobsQuery {
                owner: self.owner.clone(),
                state: self.state.clone(),
                cursor,
                limit: Some(limit),
                ..JobsQuery::default()
            };
            client.jobs(&query).await
        })
        .await?;
        self.format.show(&jobs, || render::jobs::list(&jobs, now()))
    }

    async fn job(&self, client: &Client, job: JobId) -> Result<(), Failure> {
        let view = client.job(job).await?;
        let nodes = if view.nodes > 0 && self.state.is_none() {
            collect(self.limit, async |cursor, limit| {
                let limit = Some(limit);
                client.nodes(job, &NodesQuery { cursor, limit }).await
            })
            .await?
        } else {
            Vec::new()
        };
        let status = JobStatus {
            job: view,
            nodes,
            tasks: self.tasks(client, job, None).await?,
        };
        self.format.show(&status, || {
            let now = now();
            let mut text = render::jobs::one(&status.job, now);
            text.push('\n');
            if status.nodes.is_empty() {
                text.push_str(&render::tasks::list(&status.tasks, now));
                text.push_str(&self.more(status.tasks.len(), status.job.tasks, "--state chooses"));
            } else {
                text.push_str(&render::jobs::nodes(&status.nodes));
                let tasks = format!("`fairway status {job}/NODE` shows a node's tasks");
                text.push_str(&self.more(status.nodes.len(), status.job.nodes, &tasks));
            }
            text
        })
    }

    async fn node(&self, client: &Client, job: JobId, name: &str) -> Result<(), Failure> {
        let status = NodeStatus {
            node: client.node(job, name).await?,
            tasks: self.tasks(client, job, Some(name)).await?,
        };
        self.format.show(&status, || {
            format!(
                "{}\n{}{}",
                render::jobs::node(job, &status.node),
                render::tasks::list(&status.tasks, now()),
                self.more(status.tasks.len(), status.node.tasks, "--state chooses")
            )
        })
    }

    async fn tasks(
        &self,
        client: &Client,
        job: JobId,
        node: Option<&str>,
    ) -> Result<Vec<TaskView>, Failure> {
        collect(self.limit, async |cursor, limit| {
            let query = TasksQuery {
                job: Some(job),
                node: node.map(str::to_owned),
                state: self.state.clone(),
                cursor,
                limit: Some(limit),
                ..TasksQuery::default()
            };
            client.tasks(&query).await
        })
        .await
    }

    /// What to say if not all are shown, though no choice was made.
    fn more(&self, shown: usize, all: u32, hint: &str) -> String {
        if self.state.is_some() || shown >= all as usize {
            return String::new();
        }
        format!("the first {shown} of {all}; --limit shows more, {hint}\n")
    }

    async fn task(&self, client: &Client, task: TaskId) -> Result<(), Failure> {
        let status = TaskStatus {
            task: client.task(task).await?,
            events: collect(self.limit, async |cursor, limit| {
                let query = EventsQuery {
                    cursor,
                    limit: Some(limit),
                    ..EventsQuery::default()
                };
                client.task_events(task, &query).await
            })
            .await?,
        };
        self.format.show(&status, || {
            format!(
                "{}\n{}",
                render::tasks::one(&status.task, now()),
                render::events::list(&status.events)
            )
        })
    }
}

/// The first `limit` items of a list, over as many pages as that takes.
pub(super) async fn collect<T>(
    limit: u32,
    page: impl AsyncFn(Option<String>, u32) -> Result<Page<T>, ClientError>,
) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        if missing == 0 {
            return Ok(items);
        }
        let next = page(cursor, missing.min(PAGE_MAX)).await?;
        items.extend(next.items);
        cursor = next.next;
        if cursor.is_none() {
            return Ok(items);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_are_put_together_up_to_the_limit() {
        let page = async |cursor: Option<String>, limit: u32| {
            let from: u32 = cursor.map_or(0, |it| it.parse().unwrap());
            let until = (from + limit.min(3)).min(8);
            Ok(Page {
                items: (from..until).collect(),
                next: (until < 8).then(|| until.to_string()),
            })
        };
        assert_eq!(collect(5, page).await.unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(collect(100, page).await.unwrap().len(), 8);
        assert!(collect(0, page).await.unwrap().is_empty());
    }
}
