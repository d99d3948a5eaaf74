//! HTCondor's notations of environments and argument lists, and what it knows of
//! users. Blanks separate; single quotes keep blanks; `''` inside of quotes is one.

use indexmap::IndexMap;

use super::{ANY, Call, Entry, Fault, Outcome, Val, entry, list_of, made};
use crate::Value;

pub(super) const TABLE: &[Entry] = &[
    entry("envv1tov2", 1, 1, v1_to_v2),
    entry("mergeenvironment", 0, ANY, merge),
    entry("argstolist", 1, 2, |c| {
        Ok(list_of(
            words(&c.text(0)?)
                .ok_or(Fault::Error)?
                .into_iter()
                .map(Value::from),
        ))
    }),
    entry("listtoargs", 1, 2, list_to_args),
    entry("userhome", 1, 2, user_home),
];

fn v1_to_v2<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0)?;
    let entries: Vec<String> = text
        .split(';')
        .filter(|entry| !entry.trim().is_empty())
        .map(quoted)
        .collect();
    made(entries.join(" "))
}

/// Later settings of a name replace earlier ones.
fn merge<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let mut merged: IndexMap<String, String> = IndexMap::new();
    for i in 0..call.len() {
        let text = match call.value(i) {
            Val::Undefined => continue,
            Val::Text(text) => text,
            _ => return Err(Fault::Error),
        };
        for word in words(&text).ok_or(Fault::Error)? {
            let (name, value) = word.split_once('=').ok_or(Fault::Error)?;
            merged.insert(name.to_owned(), value.to_owned());
        }
    }
    let entries: Vec<String> = merged
        .iter()
        .map(|(name, value)| quoted(&format!("{name}={value}")))
        .collect();
    made(entries.join(" "))
}

fn list_to_args<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let items = call.list(0)?;
    let mut arguments = Vec::new();
    for item in call.items(&items) {
        match item {
            Val::Text(text) => arguments.push(quoted(&text)),
            _ => return Err(Fault::Error),
        }
    }
    made(arguments.join(" "))
}

/// Home folders are not known here: the second argument, if there is one.
fn user_home<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    call.text(0)?;
    Ok(call.value(1))
}

/// Every blank and quote in single quotes, as HTCondor writes it.
fn quoted(word: &str) -> String {
    if word.is_empty() {
        return "''".to_owned();
    }
    let mut text = String::with_capacity(word.len() + 2);
    for c in word.chars() {
        match c {
            '\'' => text.push_str("''''"),
            c if c.is_whitespace() => text.extend(['\'', c, '\'']),
            c => text.push(c),
        }
    }
    text
}

/// `None` if a quote is left open.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut inside = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if inside && chars.peek() == Some(&'\'') => {
                chars.next();
                word.get_or_insert_default().push('\'');
            }
            '\'' => {
                inside = !inside;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !inside => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (!inside).then_some(words)
}
