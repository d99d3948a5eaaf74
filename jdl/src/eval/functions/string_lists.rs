//! Texts that hold lists, with separators between the items.

use std::borrow::Cow;

use super::lists::Fold;
use super::types::{cut, parse_real};
use super::{Call, Entry, Fault, Outcome, Val, entry, text_of, text_or};

pub(super) const TABLE: &[Entry] = &[
    entry("stringListSize", 1, 2, |c| {
        let (text, separators) = text_and_separators(c)?;
        Ok(Val::Int(items(&text, &separators).count() as i64))
    }),
    entry("stringListSum", 1, 2, |c| fold(c, Fold::Sum)),
    entry("stringListAvg", 1, 2, |c| fold(c, Fold::Avg)),
    entry("stringListMin", 1, 2, |c| fold(c, Fold::Min)),
    entry("stringListMax", 1, 2, |c| fold(c, Fold::Max)),
    entry("stringListMember", 2, 3, |c| member(c, str::eq)),
    entry("stringListIMember", 2, 3, |c| {
        member(c, str::eq_ignore_ascii_case)
    }),
    entry("stringListSubsetMatch", 2, 3, |c| subset(c, str::eq)),
    entry("stringListISubsetMatch", 2, 3, |c| {
        subset(c, str::eq_ignore_ascii_case)
    }),
    entry("stringListsIntersect", 2, 3, intersect),
];

/// What stands between items unless something else is said.
pub(super) const SEPARATORS: &str = " ,";

/// Items without the blanks around them; none is empty.
pub(super) fn items<'t>(text: &'t str, separators: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(|c| separators.contains(c))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn text_and_separators<'a>(call: &Call<'_, 'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), Fault> {
    let text = call.only_text(0)?;
    let separators = match call.len() {
        1 => Cow::Borrowed(SEPARATORS),
        _ => call.only_text(1)?,
    };
    Ok((text, separators))
}

/// An integer if every item is written as one; computed in doubles as the library does.
fn fold<'a>(call: &Call<'_, 'a>, fold: Fold) -> Outcome<'a> {
    let (text, separators) = text_and_separators(call)?;
    let mut numbers = Vec::new();
    let mut whole = true;
    for item in items(&text, &separators) {
        numbers.push(parse_real(item).ok_or(Fault::Error)?);
        whole &= item.bytes().all(|b| b"+-0123456789".contains(&b));
    }
    let all = numbers.iter().copied();
    let sum = all.clone().sum::<f64>();
    let result = match fold {
        Fold::Sum | Fold::Avg if numbers.is_empty() => return Ok(Val::Real(0.0)),
        Fold::Sum => Some(sum),
        Fold::Avg => Some(sum / numbers.len() as f64),
        Fold::Min => all.reduce(f64::min),
        Fold::Max => all.reduce(f64::max),
    };
    let result = result.ok_or(Fault::Undefined)?;
    Ok(if whole {
        Val::Int(cut(result))
    } else {
        Val::Real(result)
    })
}

/// A text argument; `None` if it is UNDEFINED or not there.
fn known_text<'a>(call: &Call<'_, 'a>, i: usize) -> Result<Option<Cow<'a, str>>, Fault> {
    match call.text(i) {
        Ok(text) => Ok(Some(text)),
        Err(Fault::Undefined) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn member<'a>(call: &Call<'_, 'a>, same: fn(&str, &str) -> bool) -> Outcome<'a> {
    let (item, text) = (known_text(call, 0)?, known_text(call, 1)?);
    let separators = known_text(call, 2)?.unwrap_or(Cow::Borrowed(SEPARATORS));
    let (item, text) = match (item, text) {
        (Some(item), Some(text)) => (item, text),
        (None, None) => return Err(Fault::Undefined),
        _ => return Ok(Val::Bool(false)), // nothing is in a list that is not there
    };
    let found = items(&text, &separators).any(|other| same(other, &item));
    Ok(Val::Bool(found))
}

fn subset<'a>(call: &Call<'_, 'a>, same: fn(&str, &str) -> bool) -> Outcome<'a> {
    let (part, all) = (known_text(call, 0)?, known_text(call, 1)?);
    let separators = known_text(call, 2)?.unwrap_or(Cow::Borrowed(SEPARATORS));
    if part.is_none() && all.is_none() {
        return Err(Fault::Undefined);
    }
    let (part, all) = (part.unwrap_or_default(), all.unwrap_or_default());
    if !part.is_empty() && items(&part, &separators).next().is_none() {
        return Ok(Val::Bool(false)); // nothing but separators is not nothing
    }
    let found = items(&part, &separators)
        .all(|item| items(&all, &separators).any(|other| same(other, item)));
    Ok(Val::Bool(found))
}

fn intersect<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let values = call.errors_first()?;
    let (a, b) = (text_of(&values, 0)?, text_of(&values, 1)?);
    let separators = match text_or(&values, 2, SEPARATORS)? {
        "" => SEPARATORS,
        separators => separators,
    };
    // Here blanks belong to the items.
    let parts = |text: &'_ str| -> Vec<String> {
        let parts = text.split(|c| separators.contains(c));
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let others = parts(b);
    let found = parts(a).iter().any(|part| others.contains(part));
    Ok(Val::Bool(found))
}
