//! How a task gave way to others.

use sea_orm_migration::prelude::*;

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // `NULL` is what the version before means: a task that never did.
        let sql = "ALTER TABLE task ADD COLUMN preemption_json TEXT";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE task DROP COLUMN preemption_json";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
