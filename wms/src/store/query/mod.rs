//! Lists and views, for people. A page goes on behind the last key of the page before, so it
//! costs the same wherever it is, and rows that come and go do not shift it.

use fairway_api::public::Page;

use super::StoreError;

pub(super) mod events;
pub(super) mod jobs;
pub(super) mod nodes;
pub(super) mod pilots;
pub(super) mod policy;
pub(super) mod tasks;
pub(super) mod usage;

/// Rows to a page, if the query does not say.
const LIMIT_DEFAULT: u32 = 100;
/// Most rows to a page.
const LIMIT_MAX: u32 = 1000;

/// How many rows to a page.
fn limit(asked: Option<u32>) -> Result<u64, StoreError> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit.into()),
        limit => Err(StoreError::BadQuery(format!(
            "limit must be 1 to {LIMIT_MAX}, not {limit}"
        ))),
    }
}

/// A page of `limit` rows of a query that asked for one more, to know whether there are more.
fn page<R, T>(
    mut rows: Vec<R>,
    limit: u64,
    cursor: impl Fn(&R) -> String,
    view: impl FnOnce(Vec<R>) -> Result<Vec<T>, StoreError>,
) -> Result<Page<T>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(cursor) } else { None };
    Ok(Page {
        items: view(rows)?,
        next,
    })
}

/// The cursor behind a row: the list's order, then the row's key in it.
fn cursor(order: &str, key: &[i64]) -> String {
    let mut text = order.to_owned();
    for number in key {
        text.push('~');
        text.push_str(&number.to_string());
    }
    text
}

/// The key in a cursor, which must be of a list in this order.
fn key<const N: usize>(cursor: Option<&str>, order: &str) -> Result<Option<[i64; N]>, StoreError> {
    let Some(text) = cursor else {
        return Ok(None);
    };
    let mut parts = text.split('~');
    let numbers = if parts.next() == Some(order) {
        parts.map(str::parse).collect::<Result<Vec<i64>, _>>().ok()
    } else {
        None
    };
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .map(Some)
        .ok_or_else(|| {
            StoreError::BadQuery(
                "this cursor is not of this list: give `next` of the page before, with the same \
                 sort, or none to begin at the first page"
                    .into(),
            )
        })
}

/// The parts of a list of states separated by commas, each of which must be known.
fn states<S: Copy>(
    asked: Option<&str>,
    all: &[S],
    name: impl Fn(S) -> &'static str,
) -> Result<Option<Vec<&'static str>>, StoreError> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let names: Vec<&'static str> = all.iter().map(|state| name(*state)).collect();
    asked
        .split(',')
        .map(|part| {
            let known = names.iter().find(|name| **name == part.trim());
            known.copied().ok_or_else(|| {
                StoreError::BadQuery(format!(
                    "state `{}` is not one of {}",
                    part.trim(),
                    names.join(", ")
                ))
            })
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

/// The order asked for, which must be one of these; the first if none is.
fn order<'a>(asked: Option<&str>, allowed: &[&'a str]) -> Result<&'a str, StoreError> {
    match asked {
        None => Ok(allowed[0]),
        Some(asked) => allowed
            .iter()
            .find(|order| **order == asked)
            .copied()
            .ok_or_else(|| {
                StoreError::BadQuery(format!(
                    "sort must be one of {}, not `{asked}`",
                    allowed.join(", ")
                ))
            }),
    }
}
