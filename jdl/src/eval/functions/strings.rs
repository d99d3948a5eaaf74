//! Texts. Lengths and places count bytes, as the library does.

use std::cmp::Ordering;

use super::{ANY, Call, Entry, Fault, Outcome, Val, entry, list_of, made, text_of};
use crate::Value;
use crate::eval::operators::compare_folded;

pub(super) const TABLE: &[Entry] = &[
    entry("strcat", 0, ANY, strcat),
    entry("join", 0, ANY, join),
    entry("substr", 2, 3, substr),
    entry("split", 1, 2, split),
    entry("toLower", 1, 1, |c| {
        made(c.any_text(0)?.to_ascii_lowercase())
    }),
    entry("toUpper", 1, 1, |c| {
        made(c.any_text(0)?.to_ascii_uppercase())
    }),
    entry("strcmp", 2, 2, |c| compare(c, Ord::cmp)),
    entry("stricmp", 2, 2, |c| compare(c, compare_folded)),
    entry("splitUserName", 1, 1, |c| halves(c, true)),
    entry("splitSlotName", 1, 1, |c| halves(c, false)),
];

fn compare<'a>(call: &Call<'_, 'a>, order: fn(&str, &str) -> Ordering) -> Outcome<'a> {
    let values = call.undefined_first()?.into_iter();
    let texts: Result<Vec<_>, Fault> = values.map(|value| call.written(value)).collect();
    let texts = texts?;
    Ok(Val::Int(order(&texts[0], &texts[1]) as i64))
}

fn strcat<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let mut text = String::new();
    for i in 0..call.len() {
        text.push_str(&call.any_text(i)?);
        if text.len() > crate::eval::TEXT_BYTES_MAX {
            return Err(Fault::Error);
        }
    }
    made(text)
}

/// `join(separator, items…)` or `join(separator, list)`; a list alone is joined
/// with nothing between. Items that are UNDEFINED are left out, unless all are.
fn join<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    if call.len() == 0 {
        return made(String::new());
    }
    let mut separator = String::new();
    let items: Vec<Val<'a>> = match (call.len(), call.value(call.len() - 1)) {
        (1, Val::List(items)) => call.items(&items).collect(),
        (1, separator) => {
            call.written(separator)?;
            Vec::new()
        }
        (len, last) => {
            separator = match call.any_text(0) {
                Ok(text) => text.into_owned(),
                Err(Fault::Undefined) => String::new(),
                Err(Fault::Error) => return Err(Fault::Error),
            };
            match last {
                Val::List(items) if len == 2 => call.items(&items).collect(),
                last => {
                    let between = (1..len - 1).map(|i| call.value(i));
                    between.chain([last]).collect()
                }
            }
        }
    };
    if !items.is_empty() && items.iter().all(|item| matches!(item, Val::Undefined)) {
        return Err(Fault::Undefined);
    }
    let mut text = String::new();
    for item in items {
        if matches!(item, Val::Undefined) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(&separator);
        }
        text.push_str(&call.written(item)?);
        if text.len() > crate::eval::TEXT_BYTES_MAX {
            return Err(Fault::Error);
        }
    }
    made(text)
}

/// From `offset` (negative: from the end) on, `length` bytes (negative: up to so
/// many before the end). Never cuts through a character.
fn substr<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let values = call.undefined_first()?;
    let text = text_of(&values, 0)?;
    let number = |i: usize| match values.get(i) {
        Some(Val::Int(number)) => Ok(*number),
        _ => Err(Fault::Error),
    };
    let size = text.len() as i64;
    let offset = number(1)?;
    let start = if offset < 0 { size + offset } else { offset }.clamp(0, size);
    let end = match values.len() {
        3 => match number(2)? {
            length @ ..0 => size.saturating_add(length),
            length => start.saturating_add(length),
        },
        _ => size,
    }
    .clamp(start, size);
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at += 1;
        }
        at
    };
    made(text[boundary(start as usize)..boundary(end as usize)].to_owned())
}

/// The parts between separators (without any given: commas, blanks, tabs). Blanks next
/// to another separator belong to it; the same separator twice has an empty part between.
fn split<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let text = call.only_text(0)?;
    let separators = match call.len() {
        1 => ", \t".into(),
        _ => call.only_text(1)?,
    };
    let mut parts = Vec::new();
    let mut before = None;
    let mut rest = &*text;
    while let Some((at, separator)) = rest.char_indices().find(|(_, c)| separators.contains(*c)) {
        if at > 0 || before == Some(separator) {
            parts.push(Value::from(&rest[..at]));
        }
        if !separator.is_ascii_whitespace() {
            before = Some(separator);
        }
        rest = &rest[at + separator.len_utf8()..];
    }
    if !rest.is_empty() {
        parts.push(Value::from(rest));
    }
    Ok(list_of(parts))
}

/// `name@host` in two; without `@`, all is the name (or else the host).
fn halves<'a>(call: &Call<'_, 'a>, name_first: bool) -> Outcome<'a> {
    let text = call.only_text(0)?;
    let (name, host) = match text.split_once('@') {
        Some(halves) => halves,
        None if name_first => (&*text, ""),
        None => ("", &*text),
    };
    Ok(list_of([name, host].map(Value::from)))
}
