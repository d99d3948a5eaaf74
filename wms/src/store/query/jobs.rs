//! Jobs, with how many of their tasks are in each state.

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::public::{JobView, JobsQuery, Page};
use fairway_model::{Job, JobId, TaskState, Timestamp, UserName};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::super::StoreError;
use super::super::entity::job::{Column, Entity, Head};
use super::super::entity::{int, parse, read, task};

/// How many tasks of each job are in each state; states with none are left out.
pub(crate) type Counts = BTreeMap<JobId, BTreeMap<TaskState, u32>>;

/// Counts the tasks of these jobs by state.
pub(crate) async fn counts(db: &DatabaseConnection, jobs: &[JobId]) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    for jobs in jobs.chunks(1000) {
        // All states are named so that the index by state and job serves this without a look at a task.
        let rows: Vec<(i64, String, i64)> = task::Entity::find()
            .select_only()
            .column(task::Column::JobId)
            .column(task::Column::State)
            .column_as(task::Column::Idx.count(), "count")
            .filter(task::Column::State.is_in(TaskState::ALL.map(TaskState::name)))
            .filter(task::Column::JobId.is_in(jobs.iter().map(|job| int(job.0))))
            .group_by(task::Column::State)
            .group_by(task::Column::JobId)
            .into_tuple()
            .all(db)
            .await?;
        for (job, state, count) in rows {
            counts
                .entry(JobId(read(job, "task.job_id")?))
                .or_default()
                .insert(task::state(&state)?, read(count, "count")?);
        }
    }
    Ok(counts)
}

pub(crate) async fn row(db: &DatabaseConnection, job: JobId) -> Result<Option<Job>, StoreError> {
    let row = Entity::find_by_id(int(job.0)).one(db).await?;
    row.map(Job::try_from).transpose()
}

/// The owner of each of these jobs and how many tasks it has; those that are not there are left
/// out.
pub(crate) async fn owners(
    db: &DatabaseConnection,
    jobs: &BTreeSet<JobId>,
) -> Result<BTreeMap<JobId, (UserName, u32)>, StoreError> {
    let jobs: Vec<i64> = jobs.iter().map(|job| int(job.0)).collect();
    let mut owners = BTreeMap::new();
    for jobs in jobs.chunks(1000) {
        let rows: Vec<(i64, String, i64)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::Owner, Column::TaskCount])
            .filter(Column::Id.is_in(jobs.iter().copied()))
            .into_tuple()
            .all(db)
            .await?;
        for (job, owner, tasks) in rows {
            let owner = parse(&owner, "job.owner")?;
            let tasks = read(tasks, "job.task_count")?;
            owners.insert(JobId(read(job, "job.id")?), (owner, tasks));
        }
    }
    Ok(owners)
}

pub(crate) async fn find_idempotent(
    db: &DatabaseConnection,
    owner: &UserName,
    key: &str,
) -> Result<Option<(JobId, u32, String)>, StoreError> {
    let found: Option<(i64, i64, String)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::TaskCount, Column::RequestHash])
        .filter(Column::Owner.eq(owner.as_str()))
        .filter(Column::IdempotencyKey.eq(key))
        .into_tuple()
        .one(db)
        .await?;
    found
        .map(|(id, tasks, hash)| {
            Ok((
                JobId(read(id, "job.id")?),
                read(tasks, "job.task_count")?,
                hash,
            ))
        })
        .transpose()
}

pub(crate) async fn sandboxes(db: &DatabaseConnection) -> Result<Vec<String>, StoreError> {
    Ok(Entity::find()
        .select_only()
        .column(Column::Sandbox)
        .filter(Column::Sandbox.is_not_null())
        .into_tuple()
        .all(db)
        .await?)
}

pub(crate) async fn one(
    db: &DatabaseConnection,
    job: JobId,
) -> Result<Option<JobView>, StoreError> {
    let head = Entity::find_by_id(int(job.0))
        .into_partial_model::<Head>()
        .one(db)
        .await?;
    let Some(head) = head else {
        return Ok(None);
    };
    let mut counts = counts(db, &[job]).await?;
    let nodes = super::nodes::counts(db, &[job]).await?;
    view(head, &mut counts, &nodes).map(Some)
}

pub(crate) async fn page(
    db: &DatabaseConnection,
    query: &JobsQuery,
    owner: Option<&UserName>,
) -> Result<Page<JobView>, StoreError> {
    let limit = super::limit(query.limit)?;
    let order = super::order(query.sort.as_deref(), &["-id", "id"])?;
    let mut select = Entity::find();
    for owner in owner.into_iter().chain(&query.owner) {
        select = select.filter(Column::Owner.eq(owner.as_str()));
    }
    if let Some(name) = &query.name {
        select = select.filter(Column::Name.eq(name.as_str()));
    }
    select = match query.state.as_deref() {
        None => select,
        Some("active") => select.filter(Column::EndedAt.is_null()),
        Some("ended") => select.filter(Column::EndedAt.is_not_null()),
        Some(other) => {
            return Err(StoreError::BadQuery(format!(
                "state must be active or ended, not `{other}`"
            )));
        }
    };
    let after = super::key(query.cursor.as_deref(), order)?;
    if order == "id" {
        if let Some([id]) = after {
            select = select.filter(Column::Id.gt(id));
        }
        select = select.order_by_asc(Column::Id);
    } else {
        if let Some([id]) = after {
            select = select.filter(Column::Id.lt(id));
        }
        select = select.order_by_desc(Column::Id);
    }
    let heads = select
        .limit(limit + 1)
        .into_partial_model::<Head>()
        .all(db)
        .await?;
    let ids: Vec<JobId> = heads
        .iter()
        .map(|head| read(head.id, "job.id").map(JobId))
        .collect::<Result<_, _>>()?;
    let mut counts = counts(db, &ids).await?;
    let nodes = super::nodes::counts(db, &ids).await?;
    super::page(
        heads,
        limit,
        |head| super::cursor(order, &[head.id]),
        |heads| {
            heads
                .into_iter()
                .map(|head| view(head, &mut counts, &nodes))
                .collect()
        },
    )
}

fn view(
    head: Head,
    counts: &mut Counts,
    nodes: &BTreeMap<JobId, u32>,
) -> Result<JobView, StoreError> {
    let id = JobId(read(head.id, "job.id")?);
    Ok(JobView {
        id,
        name: head.name,
        owner: parse(&head.owner, "job.owner")?,
        group: head
            .group_name
            .map(|name| parse(&name, "job.group_name"))
            .transpose()?,
        submitted_at: Timestamp(head.submitted_at),
        tasks: read(head.task_count, "job.task_count")?,
        states: counts.remove(&id).unwrap_or_default(),
        ended_at: head.ended_at.map(Timestamp),
        nodes: nodes.get(&id).copied().unwrap_or(0),
    })
}
