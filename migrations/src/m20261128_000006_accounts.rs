//! Usage by account (a user in a group), quality of service and queue, in all that it is counted
//! in; and what accounts spent on each day.
//!
//! `share`, where the version before counts by user alone, stays as it is.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// No group is `''`, since keys are never `NULL`.
const UP: &[&str] = &[
    "CREATE TABLE interval_usage (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        group_name TEXT NOT NULL,
        interval_start BIGINT NOT NULL,
        tasks_started BIGINT NOT NULL,
        core_ms BIGINT NOT NULL,
        cpu_ms BIGINT NOT NULL,
        normalised_ms BIGINT NOT NULL,
        memory_gib_ms BIGINT NOT NULL,
        gpu_ms BIGINT NOT NULL,
        PRIMARY KEY (kind, name, group_name, interval_start)
    ) {clustered}",
    "CREATE TABLE spent (
        user_name TEXT NOT NULL,
        group_name TEXT NOT NULL,
        day BIGINT NOT NULL,
        core_ms BIGINT NOT NULL,
        PRIMARY KEY (user_name, group_name, day)
    ) {clustered}",
    "INSERT INTO interval_usage
        SELECT 'user', user_name, '', interval_start, tasks_started, core_ms, 0, core_ms, 0, 0
        FROM share",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let clustered = match manager.get_database_backend() {
            DbBackend::Sqlite => "WITHOUT ROWID",
            _ => "",
        };
        for sql in UP {
            let sql = sql.replace("{clustered}", clustered);
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["interval_usage", "spent"] {
            let sql = format!("DROP TABLE {table}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
