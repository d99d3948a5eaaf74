//! Whose tasks a pilot may run, and which allocation it shares with others.

use sea_orm_migration::prelude::*;

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The columns that are new in `pilot`, with their types. `NULL` is what the version before
/// means: a pilot of everybody, alone in its allocation.
const COLUMNS: [(&str, &str); 2] = [("owner_json", "TEXT"), ("allocation", "BIGINT")];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (column, kind) in COLUMNS {
            let sql = format!("ALTER TABLE pilot ADD COLUMN {column} {kind}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (column, _) in COLUMNS {
            let sql = format!("ALTER TABLE pilot DROP COLUMN {column}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
