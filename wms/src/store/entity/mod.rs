//! The rows of the database, one module a table, with the way from and to the model.
//!
//! All numbers are `BIGINT` in the database, because it knows no unsigned ones.

#![expect(
    unreachable_pub,
    reason = "the entity macros make public items, and want public ones"
)]

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

pub(super) mod event;
pub(super) mod interval_usage;
pub(super) mod job;
pub(super) mod meta;
pub(super) mod node;
pub(super) mod pilot;
pub(super) mod policy;
pub(super) mod site;
pub(super) mod spent;
pub(super) mod task;
pub(super) mod token;
pub(super) mod usage;

/// A number for the database. What is too large for it (a span of 292 million years, a memory of
/// 9 million TiB) is written as the largest that it knows.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number, name or id from the database that must be one of the model.
pub(super) fn read<T, U>(value: T, column: &str) -> Result<U, StoreError>
where
    T: Copy + std::fmt::Display,
    U: TryFrom<T>,
{
    U::try_from(value)
        .map_err(|_| StoreError::Schema(format!("column {column} cannot hold {value}")))
}

/// A name from the database that must be one of the model.
pub(super) fn parse<T: std::str::FromStr>(text: &str, column: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Schema(format!("column {column} cannot hold `{text}`")))
}

/// A state or role from the database that must have a name of the model.
pub(super) fn named<T>(found: Option<T>, name: &str, column: &str) -> Result<T, StoreError> {
    found.ok_or_else(|| StoreError::Schema(format!("column {column} cannot hold `{name}`")))
}

/// A value as JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Schema(error.to_string()))
}

/// A value from JSON text.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, column: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Schema(format!("column {column}: {error}")))
}
