//! The first schema: jobs and their tasks, pilots, sites, shares, usage, events, tokens.
//!
//! Plain SQL, because what matters here is what the two databases do with it:
//!
//! - `{id}` is a key that SQLite identifies with its row number (only `INTEGER` does that),
//!   and `{clustered}` makes SQLite keep a table in the order of its primary key.
//! - A task that nothing has happened to has only its first four columns set, so that the many
//!   rows of a new job are quickly written.
//! - Every index costs on the way of each task through its life. Each one here serves a query
//!   that would otherwise read a table from end to end.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE meta (
        id BIGINT PRIMARY KEY,
        instance TEXT NOT NULL,
        epoch BIGINT NOT NULL
    )",
    // The text of the JDL comes last: SQLite then finds the other columns without reading it.
    "CREATE TABLE job (
        id {id} PRIMARY KEY,
        name TEXT NOT NULL,
        owner TEXT NOT NULL,
        group_name TEXT,
        submitted_at BIGINT NOT NULL,
        ended_at BIGINT,
        task_count BIGINT NOT NULL,
        sandbox TEXT,
        idempotency_key TEXT,
        request_hash TEXT,
        jdl TEXT NOT NULL
    )",
    "CREATE INDEX job_by_owner ON job (owner, id)",
    "CREATE INDEX job_active ON job (id) WHERE ended_at IS NULL",
    "CREATE UNIQUE INDEX job_by_idempotency ON job (owner, idempotency_key)
        WHERE idempotency_key IS NOT NULL",
    "CREATE TABLE task (
        job_id BIGINT NOT NULL,
        idx BIGINT NOT NULL,
        state TEXT NOT NULL,
        since BIGINT NOT NULL,
        attempt BIGINT NOT NULL DEFAULT 0,
        pilot_id BIGINT,
        leased_at BIGINT,
        started_at BIGINT,
        deep_failures BIGINT NOT NULL DEFAULT 0,
        shallow_failures BIGINT NOT NULL DEFAULT 0,
        losses BIGINT NOT NULL DEFAULT 0,
        hold_on_return BOOLEAN NOT NULL DEFAULT FALSE,
        last_end TEXT,
        PRIMARY KEY (job_id, idx)
    ) {clustered}",
    // Serves both the counts of a job by state and lists of all tasks in a state.
    "CREATE INDEX task_by_state ON task (state, job_id, idx)",
    "CREATE INDEX task_by_pilot ON task (pilot_id) WHERE pilot_id IS NOT NULL",
    "CREATE TABLE pilot (
        id {id} PRIMARY KEY,
        site TEXT NOT NULL,
        ce TEXT NOT NULL,
        state TEXT NOT NULL,
        since BIGINT NOT NULL,
        planned_at BIGINT NOT NULL,
        batch_id TEXT,
        cores BIGINT NOT NULL,
        memory_mib BIGINT NOT NULL,
        gpus BIGINT NOT NULL,
        walltime_s BIGINT NOT NULL,
        bootstrap_hash TEXT NOT NULL,
        session_hash TEXT,
        nonce_hash TEXT,
        host TEXT,
        started_at BIGINT,
        ends_at BIGINT,
        end_json TEXT
    )",
    "CREATE INDEX pilot_active ON pilot (id) WHERE state <> 'ended'",
    "CREATE TABLE site (
        name TEXT PRIMARY KEY,
        description TEXT NOT NULL
    )",
    "CREATE TABLE policy (
        id BIGINT PRIMARY KEY,
        description TEXT NOT NULL
    )",
    "CREATE TABLE share (
        user_name TEXT NOT NULL,
        interval_start BIGINT NOT NULL,
        tasks_started BIGINT NOT NULL,
        core_ms BIGINT NOT NULL,
        PRIMARY KEY (user_name, interval_start)
    ) {clustered}",
    "CREATE TABLE usage (
        job_id BIGINT NOT NULL,
        idx BIGINT NOT NULL,
        attempt BIGINT NOT NULL,
        user_name TEXT NOT NULL,
        group_name TEXT,
        site TEXT NOT NULL,
        ce TEXT NOT NULL,
        pilot_id BIGINT NOT NULL,
        cores BIGINT NOT NULL,
        leased_at BIGINT NOT NULL,
        started_at BIGINT,
        ended_at BIGINT NOT NULL,
        wall_ms BIGINT NOT NULL,
        cpu_ms BIGINT NOT NULL,
        memory_peak_kib BIGINT NOT NULL,
        success BOOLEAN NOT NULL,
        end_json TEXT NOT NULL,
        PRIMARY KEY (job_id, idx, attempt)
    ) {clustered}",
    "CREATE INDEX usage_by_user ON usage (user_name, ended_at)",
    "CREATE INDEX usage_by_end ON usage (ended_at)",
    "CREATE TABLE event (
        seq {id} PRIMARY KEY,
        at BIGINT NOT NULL,
        job_id BIGINT,
        idx BIGINT,
        range_from BIGINT,
        range_to BIGINT,
        pilot_id BIGINT,
        body TEXT NOT NULL
    )",
    "CREATE INDEX event_by_job ON event (job_id, seq) WHERE job_id IS NOT NULL",
    "CREATE INDEX event_by_task ON event (job_id, idx, seq) WHERE job_id IS NOT NULL",
    "CREATE INDEX event_by_pilot ON event (pilot_id, seq) WHERE pilot_id IS NOT NULL",
    "CREATE TABLE token (
        id TEXT PRIMARY KEY,
        hash TEXT NOT NULL,
        name TEXT NOT NULL,
        group_name TEXT,
        role TEXT NOT NULL,
        sites TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        revoked_at BIGINT
    )",
];

const TABLES: [&str; 10] = [
    "meta", "job", "task", "pilot", "site", "policy", "share", "usage", "event", "token",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (id, clustered) = match manager.get_database_backend() {
            DbBackend::Sqlite => ("INTEGER", "WITHOUT ROWID"),
            _ => ("BIGINT", ""),
        };
        for statement in UP {
            let sql = statement
                .replace("{id}", id)
                .replace("{clustered}", clustered);
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager
                .drop_table(Table::drop().table(Alias::new(table)).to_owned())
                .await?;
        }
        Ok(())
    }
}
