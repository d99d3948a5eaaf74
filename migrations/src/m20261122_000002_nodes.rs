//! The nodes of compound jobs, so that a task's node is named without reading its JDL.
//!
//! Written once, with the job. A job that is not compound has no rows here; of one that is,
//! every task belongs to a node, so that a task's node is the last one that begins at it or
//! before it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    // The parents come last: they may be many, and counts and names are found without them.
    "CREATE TABLE node (
        job_id BIGINT NOT NULL,
        idx BIGINT NOT NULL,
        name TEXT NOT NULL,
        first_task BIGINT NOT NULL,
        task_count BIGINT NOT NULL,
        parents TEXT NOT NULL,
        PRIMARY KEY (job_id, idx)
    ) {clustered}",
    "CREATE UNIQUE INDEX node_by_task ON node (job_id, first_task)",
    "CREATE UNIQUE INDEX node_by_name ON node (job_id, name)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let clustered = match manager.get_database_backend() {
            DbBackend::Sqlite => "WITHOUT ROWID",
            _ => "",
        };
        for statement in UP {
            let sql = statement.replace("{clustered}", clustered);
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let node = Table::drop().table(Alias::new("node")).to_owned();
        manager.drop_table(node).await
    }
}
