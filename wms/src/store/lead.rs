//! The right to be the one writer.
//!
//! A lock keeps a second server from starting by mistake: an exclusive lock on a file beside a
//! SQLite database, or an advisory lock held by a session of its own on PostgreSQL. A lock can
//! be lost without the holder noticing (a broken session), so it is not what keeps the data
//! safe. That is the epoch: each leader makes it grow, and each transaction fails unless the
//! epoch is still its leader's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait as _,
    QueryFilter as _, Statement,
};
use tokio::sync::Mutex;

use super::entity::meta;
use super::{StoreError, connect};

/// The lock's two numbers, the second of which tells apart several Fairways in schemas of one database.
const KEY: &str = "hashtext('fairway leader'), hashtext(current_schema())";

/// The right to write, and where it comes from.
pub(super) struct Leadership {
    lock: connect::Lock,
    held: Mutex<Option<Held>>,
}

struct Held {
    epoch: i64,
    by: HeldBy,
}

enum HeldBy {
    /// Locked as long as it is open.
    File {
        #[expect(dead_code, reason = "held, not used: closing it gives the lock back")]
        file: File,
    },
    /// Locked as long as it lives.
    Session(DatabaseConnection),
}

impl Leadership {
    pub(super) fn new(lock: connect::Lock) -> Self {
        Self {
            lock,
            held: Mutex::new(None),
        }
    }

    /// Takes the lock, unless it is held already, and a new epoch.
    pub(super) async fn take(&self, writer: &DatabaseConnection) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        let by = match held.take() {
            Some(before) => before.by,
            None => match &self.lock {
                connect::Lock::File(path) => HeldBy::File {
                    file: lock_file(path)?,
                },
                connect::Lock::Session(url) => {
                    let session = connect::session(url).await?;
                    lock_session(&session).await?;
                    HeldBy::Session(session)
                }
            },
        };
        let epoch = next_epoch(writer).await?;
        *held = Some(Held { epoch, by });
        Ok(())
    }

    /// Proves, within a transaction, that nobody has taken over, and keeps it so until the
    /// transaction ends.
    pub(super) async fn fence(&self, transaction: &impl ConnectionTrait) -> Result<(), StoreError> {
        let Some(epoch) = self.held.lock().await.as_ref().map(|held| held.epoch) else {
            return Err(StoreError::InUse("this process does not lead it".into()));
        };
        let fenced = meta::Entity::update_many()
            .col_expr(meta::Column::Epoch, epoch.into())
            .filter(meta::Column::Id.eq(meta::ID))
            .filter(meta::Column::Epoch.eq(epoch))
            .exec(transaction)
            .await?;
        if fenced.rows_affected == 1 {
            Ok(())
        } else {
            Err(StoreError::Superseded)
        }
    }

    /// Writes to the database to see that it takes it. A leader also checks that it still is
    /// one, and takes the lock again if the session that held it had broken.
    pub(super) async fn check(&self, writer: &DatabaseConnection) -> Result<(), StoreError> {
        {
            let held = self.held.lock().await;
            match held.as_ref().map(|held| &held.by) {
                None => {
                    meta::Entity::update_many()
                        .col_expr(
                            meta::Column::Epoch,
                            sea_orm::sea_query::Expr::col(meta::Column::Epoch),
                        )
                        .exec(writer)
                        .await?;
                    return Ok(());
                }
                Some(HeldBy::File { .. }) => {}
                Some(HeldBy::Session(session)) => keep_locked(session).await?,
            }
        }
        self.fence(writer).await
    }

    /// Gives the lock back.
    pub(super) async fn give_back(&self) -> Result<(), StoreError> {
        if let Some(Held {
            by: HeldBy::Session(session),
            ..
        }) = self.held.lock().await.take()
        {
            session.close().await?;
        }
        Ok(())
    }
}

fn lock_file(path: &Path) -> Result<File, StoreError> {
    let failed = |error: std::io::Error| {
        StoreError::Database(format!("cannot lock {}: {error}", path.display()))
    };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failed)?;
            return Err(StoreError::InUse(format!(
                "process {} holds {}",
                pid.trim(),
                path.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn postgres(sql: String) -> Statement {
    Statement::from_string(DbBackend::Postgres, sql)
}

async fn lock_session(session: &DatabaseConnection) -> Result<(), StoreError> {
    let row = session
        .query_one_raw(postgres(format!(
            "SELECT pg_try_advisory_lock({KEY}) AS got"
        )))
        .await?;
    if row.is_some_and(|row| row.try_get("", "got").unwrap_or(false)) {
        return Ok(());
    }
    let holder = session
        .query_one_raw(postgres(format!(
            "SELECT 'session ' || l.pid || ' of ' || a.usename || ' from ' \
                 || COALESCE(host(a.client_addr), 'this host') AS holder \
             FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database() \
                 AND (l.classid::bigint::bit(32)::int, l.objid::bigint::bit(32)::int) = ({KEY})"
        )))
        .await?;
    let holder = holder.map_or(Ok(None), |row| row.try_get::<Option<String>>("", "holder"))?;
    Err(StoreError::InUse(holder.unwrap_or_else(|| {
        "its session has just ended; try again".into()
    })))
}

/// Sees to it that the session holds the lock, also when it had broken.
async fn keep_locked(session: &DatabaseConnection) -> Result<(), StoreError> {
    // A broken session answers with an error, and the next statement gets a new one.
    if is_locked(session).await.unwrap_or(false) {
        return Ok(());
    }
    lock_session(session).await.map_err(|error| match error {
        StoreError::InUse(_) => StoreError::Superseded,
        other => other,
    })
}

/// Whether the session still is the one that took the lock: one that was made anew in its
/// place holds none.
async fn is_locked(session: &DatabaseConnection) -> Result<bool, StoreError> {
    let row = session
        .query_one_raw(postgres(
            "SELECT 1 AS held FROM pg_locks \
             WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
                .into(),
        ))
        .await?;
    Ok(row.is_some())
}

async fn next_epoch(writer: &DatabaseConnection) -> Result<i64, StoreError> {
    let rows = meta::Entity::update_many()
        .col_expr(
            meta::Column::Epoch,
            sea_orm::sea_query::Expr::col(meta::Column::Epoch).add(1),
        )
        .filter(meta::Column::Id.eq(meta::ID))
        .exec_with_returning(writer)
        .await?;
    rows.first()
        .map(|row| row.epoch)
        .ok_or_else(|| StoreError::Schema("table meta is empty".into()))
}
