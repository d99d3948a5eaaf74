//! Opening a database: the connections, their durability, and the schema.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairway_migrations::{Migrator, MigratorTrait as _};
use sea_orm::sea_query::OnConflict;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, EntityTrait as _, Set, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait as _,
};

use super::StoreError;
use super::entity::meta;

/// How long a write waits for another process's write on SQLite, and a query for a connection.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Connections for queries.
const READERS_MAX: u32 = 4;
/// Prepared statements kept a connection: batches come in powers of two rows for each table.
const STATEMENTS_MAX: usize = 250;

/// Where the right to write is kept.
pub(super) enum Lock {
    /// A file beside the SQLite database.
    File(PathBuf),
    /// A PostgreSQL session of its own, opened when it is needed.
    Session(String),
}

/// An open database.
pub(super) struct Connected {
    pub(super) writer: DatabaseConnection,
    pub(super) readers: DatabaseConnection,
    pub(super) lock: Lock,
}

/// Opens the database that `url` names and brings its schema up to date.
pub(super) async fn open(url: &str) -> Result<Connected, StoreError> {
    let connected = if let Some(path) = url.strip_prefix("sqlite:") {
        sqlite(Path::new(path.strip_prefix("//").unwrap_or(path))).await?
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        postgres(url).await?
    } else {
        return Err(StoreError::Database(
            "the database's URL must begin with `sqlite:` or `postgres:`".into(),
        ));
    };
    migrate(&connected.writer).await?;
    Ok(connected)
}

async fn sqlite(path: &Path) -> Result<Connected, StoreError> {
    let explain = |error: DbErr| StoreError::Database(format!("{}: {error}", path.display()));
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) if folder.is_dir() => folder,
        _ => {
            return Err(StoreError::Database(format!(
                "{}: the folder for the database does not exist",
                path.display()
            )));
        }
    };
    // The writer comes first: it makes the file and sets its journal mode.
    let writer = {
        let _one_at_a_time = turn_to_open(folder).await?;
        Database::connect(sqlite_options(path, false))
            .await
            .map_err(explain)?
    };
    let readers = Database::connect(sqlite_options(path, true))
        .await
        .map_err(explain)?;
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    Ok(Connected {
        writer,
        readers,
        lock: Lock::File(lock.into()),
    })
}

/// Waits until no other process makes a database in the folder, and keeps others out until the
/// file is closed: a change of the journal mode beside another is refused, whatever time it is
/// given to wait.
async fn turn_to_open(folder: &Path) -> Result<File, StoreError> {
    let opened = folder.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::open(opened)?;
        file.lock()?;
        Ok::<_, io::Error>(file)
    });
    locked
        .await
        .unwrap_or_else(|failed| Err(failed.into()))
        .map_err(|error| StoreError::Database(format!("{}: {error}", folder.display())))
}

fn sqlite_options(path: &Path, reads_only: bool) -> ConnectOptions {
    // The path is handed over as a path, because within a URL it would have to be escaped.
    let mut options = options("sqlite://", if reads_only { READERS_MAX } else { 1 });
    options.test_before_acquire(false);
    let path = path.to_owned();
    options.map_sqlx_sqlite_opts(move |sqlite| {
        let sqlite = sqlite
            .filename(&path)
            .create_if_missing(!reads_only)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            .busy_timeout(WAIT_MAX)
            .statement_cache_capacity(STATEMENTS_MAX)
            .pragma("cache_size", "-65536");
        if reads_only {
            sqlite.pragma("query_only", "ON")
        } else {
            sqlite.journal_mode(SqliteJournalMode::Wal)
        }
    });
    options
}

async fn postgres(url: &str) -> Result<Connected, StoreError> {
    Ok(Connected {
        writer: Database::connect(postgres_options(url, 1)).await?,
        readers: Database::connect(postgres_options(url, READERS_MAX)).await?,
        lock: Lock::Session(url.to_owned()),
    })
}

/// A PostgreSQL session of its own, which lives until it is closed or broken.
pub(super) async fn session(url: &str) -> Result<DatabaseConnection, StoreError> {
    Ok(Database::connect(postgres_options(url, 1)).await?)
}

fn postgres_options(url: &str, connections_max: u32) -> ConnectOptions {
    let mut options = options(url, connections_max);
    options.test_before_acquire_if_idle_for(Duration::from_secs(5));
    options.set_application_name("fairway");
    // Whatever the server's default: what was acknowledged is on disk.
    options.map_sqlx_postgres_opts(|postgres| {
        postgres
            .options([("synchronous_commit", "on")])
            .statement_cache_capacity(STATEMENTS_MAX)
    });
    options
}

fn options(url: &str, connections_max: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections_max)
        .connect_timeout(WAIT_MAX)
        .acquire_timeout(WAIT_MAX)
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

/// A transaction that will write. SQLite is told so at once, because a transaction that began
/// as a reading one is refused, not made to wait, if somebody else writes meanwhile.
pub(super) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    db.begin_with_options(TransactionOptions {
        sqlite_transaction_mode: (db.get_database_backend() == DbBackend::Sqlite)
            .then_some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    })
    .await
}

/// Brings the schema up to date, in one transaction: of several that open a new database at
/// the same time, one does it and the others wait.
async fn migrate(db: &DatabaseConnection) -> Result<(), StoreError> {
    let transaction = begin(db).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction
            .execute_raw(Statement::from_string(
                DbBackend::Postgres,
                "SELECT pg_advisory_xact_lock(hashtext('fairway schema'), hashtext(current_schema()))",
            ))
            .await?;
    }
    Migrator::up(&transaction, None)
        .await
        .map_err(|error| match error {
            // The migrator's word for a migration that the database has and this program lacks.
            DbErr::Custom(text) => StoreError::Schema(format!(
                "the database was made by a newer version of Fairway: {text}"
            )),
            other => other.into(),
        })?;
    meta::Entity::insert(meta::ActiveModel {
        id: Set(meta::ID),
        instance: Set(format!("{:08x}", rand::random::<u32>())),
        epoch: Set(0),
    })
    .on_conflict(OnConflict::column(meta::Column::Id).do_nothing().to_owned())
    .exec_without_returning(&transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
