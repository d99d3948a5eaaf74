//! Texts. Lengths and places count bytes, as the library does.

use std::cmp::Ordering;

use super::{ANY, Call, Entry, Fault, Outcome, Val, entry, list_of, made};
use crate::Value;
use crate::eval::operators::compare_folded;

pub(super) const TABLE: &[Entry] = &[
    entry("strcat", 0, ANY, strcat),
    entry("join", 0, ANY, join),
    entry("substr", 2, 3, substr),
    entry("split", 1, 2, split),
    entry("tolower", 1, 1, |c| {
        made(c.any_text(0)?.to_ascii_lowercase())
    }),
    entry("toupper", 1, 1, |c| {
        made(c.any_text(0)?.to_ascii_uppercase())
    }),
    entry("strcmp", 2, 2, |c| {
        Ok(ordinal(c.any_text(0)?.cmp(&c.any_text(1)?)))
    }),
    entry("stricmp", 2, 2, |c| {
        Ok(ordinal(compare_folded(&c.any_text(0)?, &c.any_text(1)?)))
    }),
    entry("splitusername", 1, 1, |c| halves(c, true)),
    entry("splitslotname", 1, 1, |c| halves(c, false)),
];

pub(super) fn ordinal<'a>(ordering: Ordering) -> Val<'a> {
    Val::Int(ordering as i64)
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
/// with nothing between. Items that are UNDEFINED are left out; if the last one
/// is, so is what there was before it.
fn join<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    if call.len() == 0 {
        return made(String::new());
    }
    let mut separator = String::new();
    let items: Vec<Val<'a>> = match (call.len(), call.value(call.len() - 1)) {
        (1, Val::List(items)) => call.items(&items).collect(),
        (1, Val::Text(_)) => Vec::new(),
        (1, _) => return Err(call.known(0).err().unwrap_or(Fault::Error)),
        (2, Val::List(items)) => {
            separator = call.any_text(0)?.into_owned();
            call.items(&items).collect()
        }
        (_, last) => {
            if let Ok(text) = call.any_text(0) {
                separator = text.into_owned();
            }
            let mut items: Vec<Val<'a>> = (1..call.len() - 1).map(|i| call.value(i)).collect();
            items.push(last);
            if items.iter().all(|item| matches!(item, Val::Undefined)) {
                return Err(Fault::Undefined);
            }
            items
        }
    };
    let mut text = String::new();
    let mut first = true;
    for item in items {
        if matches!(item, Val::Undefined) {
            continue;
        }
        if !first {
            text.push_str(&separator);
        }
        first = false;
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
    let text = call.text(0)?;
    let size = text.len() as i64;
    let offset = call.int(1)?;
    let start = if offset < 0 { size + offset } else { offset }.clamp(0, size);
    let end = if call.len() == 3 {
        match call.int(2)? {
            length @ ..0 => size.saturating_add(length),
            length => start.saturating_add(length),
        }
    } else {
        size
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

/// The parts between separators; without separators given, between blanks and commas.
fn split<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0)?;
    if call.len() == 1 {
        let parts = text
            .split([',', ' ', '\t', '\n', '\r'])
            .filter(|part| !part.is_empty());
        return Ok(list_of(parts.map(Value::from)));
    }
    let separators = call.text(1)?;
    let parts = text.split(|c| separators.contains(c));
    Ok(list_of(parts.map(|part| Value::from(part.trim()))))
}

/// `name@host` in two; without `@`, all is the name (or else the host).
fn halves<'a>(call: &Call<'_, 'a>, name_first: bool) -> Outcome<'a> {
    let text = call.text(0)?;
    let (name, host) = match text.split_once('@') {
        Some(halves) => halves,
        None if name_first => (&*text, ""),
        None => ("", &*text),
    };
    Ok(list_of([name, host].map(Value::from)))
}
