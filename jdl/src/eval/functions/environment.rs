//! HTCondor's notations of environments and argument lists, and what it knows of
//! users. Blanks separate; single quotes keep blanks; `''` inside of quotes is one.

use std::collections::BTreeMap;

use super::{ANY, Call, Entry, Fault, Outcome, Val, entry, list_of, made};
use crate::Value;

pub(super) const TABLE: &[Entry] = &[
    entry("envV1ToV2", 1, 1, v1_to_v2),
    entry("mergeEnvironment", 0, ANY, merge),
    entry("argsToList", 1, 2, args_to_list),
    entry("listToArgs", 1, 2, list_to_args),
    entry("userHome", 1, 2, user_home),
    // There are no maps of users here, and of a map that is not there nothing is known.
    entry("userMap", 2, 4, |_| Err(Fault::Undefined)),
];

/// `NAME=value` for each name, in the order of the names; a later value of a name
/// replaces an earlier one.
#[derive(Default)]
struct Environment(BTreeMap<String, String>);

impl Environment {
    fn set(&mut self, word: &str) -> Result<(), Fault> {
        let (name, value) = word.split_once('=').ok_or(Fault::Error)?;
        if name.is_empty() {
            return Err(Fault::Error);
        }
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn written<'a>(&self) -> Outcome<'a> {
        let entries = self.0.iter();
        let entries: Vec<String> = entries
            .map(|(name, value)| quoted(&format!("{name}={value}")))
            .collect();
        made(entries.join(" "))
    }
}

/// The old notation: `;` between the entries, blanks belong to them.
fn v1_to_v2<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let mut environment = Environment::default();
    for entry in call.text(0)?.split(';').map(str::trim_start) {
        if !entry.is_empty() {
            environment.set(entry)?;
        }
    }
    environment.written()
}

fn merge<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let mut environment = Environment::default();
    for value in call.values() {
        let text = match value {
            Val::Undefined => continue,
            Val::Text(text) => text,
            _ => return Err(Fault::Error),
        };
        for word in words(&text).ok_or(Fault::Error)? {
            environment.set(&word)?;
        }
    }
    environment.written()
}

/// The notation that is asked for: 1 (no quotes, no blanks in an argument) or 2.
fn is_old_notation(call: &Call<'_, '_>) -> Result<bool, Fault> {
    match call.value(1) {
        _ if call.len() == 1 => Ok(false),
        Val::Int(2) => Ok(false),
        Val::Int(1) => Ok(true),
        _ => Err(Fault::Error),
    }
}

fn args_to_list<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (text, old) = (call.only_text(0)?, is_old_notation(call)?);
    let words = if old {
        text.split_ascii_whitespace().map(str::to_owned).collect()
    } else {
        words(&text).ok_or(Fault::Error)?
    };
    Ok(list_of(words.into_iter().map(Value::from)))
}

fn list_to_args<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let Val::List(items) = call.value(0) else {
        return Err(Fault::Error);
    };
    let old = is_old_notation(call)?;
    let mut arguments = Vec::new();
    for item in call.items(&items) {
        match item {
            Val::Text(text) if !old => arguments.push(quoted(&text)),
            Val::Text(text) if !text.is_empty() && !text.contains(char::is_whitespace) => {
                arguments.push(text.into_owned());
            }
            _ => return Err(Fault::Error),
        }
    }
    made(arguments.join(" "))
}

/// Home folders are not known here: the second argument, if it is a text.
fn user_home<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    match call.value(1) {
        folder @ Val::Text(_) => Ok(folder),
        _ => Err(Fault::Undefined),
    }
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
