//! Texts that hold lists, with separators between the items.

use std::borrow::Cow;

use super::{Call, Entry, Fault, Outcome, Val, entry};
use crate::eval::operators::Number;

pub(super) const TABLE: &[Entry] = &[
    entry("stringlistsize", 1, 2, |c| {
        let (text, separators) = (c.text(0)?, c.text_or(1, SEPARATORS)?);
        Ok(Val::Int(items(&text, &separators).count() as i64))
    }),
    entry("stringlistsum", 1, 2, |c| fold(c, Fold::Sum)),
    entry("stringlistavg", 1, 2, |c| fold(c, Fold::Avg)),
    entry("stringlistmin", 1, 2, |c| fold(c, Fold::Min)),
    entry("stringlistmax", 1, 2, |c| fold(c, Fold::Max)),
    entry("stringlistmember", 2, 3, |c| member(c, str::eq)),
    entry("stringlistimember", 2, 3, |c| {
        member(c, str::eq_ignore_ascii_case)
    }),
    entry("stringlistsubsetmatch", 2, 3, |c| subset(c, str::eq)),
    entry("stringlistisubsetmatch", 2, 3, |c| {
        subset(c, str::eq_ignore_ascii_case)
    }),
    entry("stringlistsintersect", 2, 3, |c| {
        let (a, b, separators) = (c.text(0)?, c.text(1)?, c.text_or(2, SEPARATORS)?);
        let found = items(&a, &separators).any(|x| items(&b, &separators).any(|y| x == y));
        Ok(Val::Bool(found))
    }),
];

/// What stands between items unless something else is said.
pub(super) const SEPARATORS: &str = " ,";

pub(super) fn items<'t>(text: &'t str, separators: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(|c| separators.contains(c))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    Sum,
    Avg,
    Min,
    Max,
}

fn fold<'a>(call: &Call<'_, 'a>, fold: Fold) -> Outcome<'a> {
    let (text, separators) = (call.text(0)?, call.text_or(1, SEPARATORS)?);
    let mut numbers = Vec::new();
    for item in items(&text, &separators) {
        numbers.push(match item.parse() {
            Ok(number) => Number::Int(number),
            Err(_) => Number::Real(item.parse().map_err(|_| Fault::Error)?),
        });
    }
    if numbers.is_empty() {
        return match fold {
            Fold::Sum | Fold::Avg => Ok(Val::Real(0.0)),
            Fold::Min | Fold::Max => Err(Fault::Undefined),
        };
    }
    let integers: Option<Vec<i64>> = numbers
        .iter()
        .map(|number| match number {
            Number::Int(number) => Some(*number),
            Number::Real(_) => None,
        })
        .collect();
    if let Some(integers) = integers {
        let sum = || integers.iter().fold(0_i64, |sum, n| sum.wrapping_add(*n));
        let result = match fold {
            Fold::Sum => Some(sum()),
            Fold::Avg => Some(sum() / integers.len() as i64),
            Fold::Min => integers.iter().min().copied(),
            Fold::Max => integers.iter().max().copied(),
        };
        return result.map(Val::Int).ok_or(Fault::Undefined);
    }
    let reals = numbers.iter().map(|number| number.real());
    Ok(Val::Real(match fold {
        Fold::Sum => reals.sum(),
        Fold::Avg => reals.sum::<f64>() / numbers.len() as f64,
        Fold::Min => reals.fold(f64::INFINITY, f64::min),
        Fold::Max => reals.fold(f64::NEG_INFINITY, f64::max),
    }))
}

/// A text argument; `None` if it is UNDEFINED.
fn known_text<'a>(call: &Call<'_, 'a>, i: usize) -> Result<Option<Cow<'a, str>>, Fault> {
    match call.text(i) {
        Ok(text) => Ok(Some(text)),
        Err(Fault::Undefined) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn member<'a>(call: &Call<'_, 'a>, same: fn(&str, &str) -> bool) -> Outcome<'a> {
    let (Some(item), Some(text)) = (known_text(call, 0)?, known_text(call, 1)?) else {
        return Ok(Val::Bool(false)); // nothing is in a list that is not there
    };
    let separators = call.text_or(2, SEPARATORS)?;
    let found = items(&text, &separators).any(|other| same(other, &item));
    Ok(Val::Bool(found))
}

fn subset<'a>(call: &Call<'_, 'a>, same: fn(&str, &str) -> bool) -> Outcome<'a> {
    let (part, all) = (known_text(call, 0)?, known_text(call, 1)?);
    let (part, all) = (part.unwrap_or_default(), all.unwrap_or_default());
    let separators = call.text_or(2, SEPARATORS)?;
    let found = items(&part, &separators)
        .all(|item| items(&all, &separators).any(|other| same(other, item)));
    Ok(Val::Bool(found))
}
