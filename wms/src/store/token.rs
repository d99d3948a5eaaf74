//! Tokens. They do not pass through the engine: `fairway token` manages them beside a running
//! server, which looks each one up.

use fairway_model::Timestamp;
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use super::entity::token::{Column, Entity, row};
use super::{StoreError, StoredToken};

pub(super) async fn add(db: &DatabaseConnection, token: &StoredToken) -> Result<(), StoreError> {
    Entity::insert(row(token)?)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

pub(super) async fn find(
    db: &DatabaseConnection,
    id: &str,
) -> Result<Option<StoredToken>, StoreError> {
    let row = Entity::find_by_id(id).one(db).await?;
    row.map(StoredToken::try_from).transpose()
}

pub(super) async fn all(db: &DatabaseConnection) -> Result<Vec<StoredToken>, StoreError> {
    let rows = Entity::find()
        .order_by_desc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .all(db)
        .await?;
    rows.into_iter().map(StoredToken::try_from).collect()
}

pub(super) async fn revoke(
    db: &DatabaseConnection,
    id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let first = Func::coalesce([Expr::col(Column::RevokedAt), Expr::value(now.0)]);
    let done = Entity::update_many()
        .col_expr(Column::RevokedAt, first.into())
        .filter(Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(done.rows_affected > 0)
}
