//! Usage summed up, and the attempts of one task.

use fairway_api::public::{UsageQuery, UsageView};
use fairway_model::{Attempt, TaskId, UserName};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, SimpleExpr};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::super::StoreError;
use super::super::entity::usage::{Column, Entity};
use super::super::entity::{int, read, task};

/// A line of a summary as the database gives it.
#[derive(FromQueryResult)]
struct Sums {
    key: Option<String>,
    attempts: i64,
    succeeded: i64,
    wall_ms: i64,
    core_ms: i64,
    cpu_ms: i64,
    memory_peak_kib: i64,
}

pub(crate) async fn sums(
    db: &DatabaseConnection,
    query: &UsageQuery,
    user: Option<&UserName>,
) -> Result<Vec<UsageView>, StoreError> {
    let by = query.by.as_deref().unwrap_or("user");
    let key = key(by)?;
    let mut select = Entity::find()
        .select_only()
        .expr_as(key.clone(), "key")
        .expr_as(Column::Attempt.count(), "attempts")
        .expr_as(
            sum(Expr::case(Column::Success.eq(true), 1).finally(0).into()),
            "succeeded",
        )
        .expr_as(sum(Expr::col(Column::WallMs)), "wall_ms")
        .expr_as(
            sum(Expr::col(Column::WallMs).mul(Expr::col(Column::Cores))),
            "core_ms",
        )
        .expr_as(sum(Expr::col(Column::CpuMs)), "cpu_ms")
        .expr_as(Column::MemoryPeakKib.max(), "memory_peak_kib")
        .group_by(key);
    if let Some(from) = query.from {
        select = select.filter(Column::EndedAt.gte(from));
    }
    if let Some(until) = query.until {
        select = select.filter(Column::EndedAt.lt(until));
    }
    for user in user.into_iter().chain(&query.user) {
        select = select.filter(Column::UserName.eq(user.as_str()));
    }
    let rows: Vec<Sums> = select.into_model().all(db).await?;
    let mut lines = rows
        .into_iter()
        .map(line)
        .collect::<Result<Vec<UsageView>, _>>()?;
    // Sorted here, because databases differ in how they order texts; numbers among them (jobs) as such.
    lines.sort_by_cached_key(|line| (line.key.parse::<u64>().ok(), line.key.clone()));
    Ok(lines)
}

/// What stands in each line. Attempts without a group are summed up under `-`, which cannot be a name.
fn key(by: &str) -> Result<SimpleExpr, StoreError> {
    let column = |column: Column| Expr::col(column);
    Ok(match by {
        "user" => column(Column::UserName),
        "group" => column(Column::GroupName),
        "site" => column(Column::Site),
        "ce" => column(Column::Site)
            .binary(concat(), Expr::cust("'/'"))
            .binary(concat(), column(Column::Ce)),
        "job" => column(Column::JobId).cast_as(Alias::new("TEXT")),
        other => {
            return Err(StoreError::BadQuery(format!(
                "by must be one of user, group, site, ce, job, not `{other}`"
            )));
        }
    })
}

/// The operator that joins two texts.
fn concat() -> sea_orm::sea_query::BinOper {
    sea_orm::sea_query::BinOper::Custom("||")
}

/// A sum as the integer that it is: PostgreSQL makes it a decimal.
fn sum(of: SimpleExpr) -> SimpleExpr {
    Func::sum(of).cast_as(Alias::new("BIGINT"))
}

fn line(sums: Sums) -> Result<UsageView, StoreError> {
    Ok(UsageView {
        key: sums.key.unwrap_or_else(|| "-".into()),
        attempts: read(sums.attempts, "attempts")?,
        succeeded: read(sums.succeeded, "succeeded")?,
        wall_ms: read(sums.wall_ms, "wall_ms")?,
        core_ms: read(sums.core_ms, "core_ms")?,
        cpu_ms: read(sums.cpu_ms, "cpu_ms")?,
        memory_peak_kib: read(sums.memory_peak_kib, "memory_peak_kib")?,
    })
}

/// How long the last attempts of a user ran that succeeded, in milliseconds; at most `most`.
pub(crate) async fn last_runtimes(
    db: &DatabaseConnection,
    user: &UserName,
    most: u64,
) -> Result<Vec<u64>, StoreError> {
    let walls: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::WallMs)
        .filter(Column::UserName.eq(user.as_str()))
        .filter(Column::Success.eq(true))
        .order_by_desc(Column::EndedAt)
        .limit(most)
        .into_tuple()
        .all(db)
        .await?;
    let read = |ms: i64| read(ms, "usage.wall_ms");
    walls.into_iter().map(read).collect()
}

pub(crate) async fn attempts(
    db: &DatabaseConnection,
    id: TaskId,
) -> Result<Vec<Attempt>, StoreError> {
    let job = int(id.job.0);
    let index = i64::from(id.index);
    let mut numbers: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::Attempt)
        .filter(Column::JobId.eq(job))
        .filter(Column::Idx.eq(index))
        .order_by_asc(Column::Attempt)
        .into_tuple()
        .all(db)
        .await?;
    let task = task::Entity::find_by_id((job, index)).one(db).await?;
    let last = task.map_or(0, |task| task.attempt);
    if last > 0 && numbers.last() != Some(&last) {
        numbers.push(last);
    }
    numbers
        .into_iter()
        .map(|number| read(number, "usage.attempt").map(Attempt))
        .collect()
}
