//! The database schema of Fairway and its history.
//!
//! Each migration is a module named by date, number and purpose, and runs on SQLite and on
//! PostgreSQL. Expand, then contract: a migration adds what the next version needs in such a way
//! that the version before still works, and what nobody uses any more goes in a later one.
//! A migration that was released is never edited.

pub use sea_orm_migration::{MigratorTrait, prelude::DbErr};

mod m20261122_000001_first_tables;
mod m20261122_000002_nodes;
mod m20261128_000003_private_pilots;
mod m20261128_000004_packing;
mod m20261128_000005_preemption;
mod m20261128_000006_accounts;
mod m20261128_000008_policy_events;

/// All migrations, in order.
#[derive(Clone, Copy, Debug)]
pub struct Migrator;

#[sea_orm_migration::async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn sea_orm_migration::MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_first_tables::Migration),
            Box::new(m20261122_000002_nodes::Migration),
            Box::new(m20261128_000003_private_pilots::Migration),
            Box::new(m20261128_000004_packing::Migration),
            Box::new(m20261128_000005_preemption::Migration),
            Box::new(m20261128_000006_accounts::Migration),
            Box::new(m20261128_000008_policy_events::Migration),
        ]
    }
}
