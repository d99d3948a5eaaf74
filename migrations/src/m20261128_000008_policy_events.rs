//! An index of the events that are about neither a job nor a pilot: few, and among them who
//! changed the policy.

use sea_orm_migration::prelude::*;

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE INDEX event_of_platform ON event (seq)
            WHERE job_id IS NULL AND pilot_id IS NULL";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "DROP INDEX event_of_platform";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
