//! What a task was given, and what a pilot has beside cores, memory and GPUs.

use sea_orm_migration::prelude::*;

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The columns that are new, with their tables and types. `NULL` is what the version before
/// means: a task has the cores that it asks for, on one node; a pilot has nothing more, and no
/// node for itself.
const COLUMNS: [(&str, &str, &str); 4] = [
    ("task", "cores", "BIGINT"),
    ("task", "seats", "TEXT"),
    ("pilot", "custom_json", "TEXT"),
    ("pilot", "whole_node", "BOOLEAN"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column, kind) in COLUMNS {
            let sql = format!("ALTER TABLE {table} ADD COLUMN {column} {kind}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column, _) in COLUMNS {
            let sql = format!("ALTER TABLE {table} DROP COLUMN {column}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
