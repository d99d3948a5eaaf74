//! Answers as named rows of attributes, out of the JSON of OpenPBS or out of text, where both
//! dialects agree. Pure.
//!
//! The JSON cannot be trusted: OpenPBS 23.06 writes whatever looks like a number as one, so that
//! anybody's job named `inf` makes the listing of all jobs unreadable. The text has no such corner.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A job, queue, node or server with what is said of it. Names of nested attributes are joined by
/// a dot (`Resource_List.walltime`), lists by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) name: String,
    attributes: BTreeMap<String, String>,
}

impl Stanza {
    /// The value of an attribute; nothing if it is empty.
    pub(super) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes
            .get(attribute)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// An attribute that is a number.
    pub(super) fn number<T: std::str::FromStr>(&self, attribute: &str) -> Option<T> {
        self.get(attribute)?.parse().ok()
    }

    /// Whether an attribute is true: `True` in OpenPBS and TORQUE, `yes` over Slurm.
    pub(super) fn is_true(&self, attribute: &str) -> bool {
        self.get(attribute)
            .is_some_and(|value| matches!(value, "True" | "true" | "yes" | "1"))
    }

    /// The attributes under a name, without it: those of `resources_available` …
    pub(super) fn under<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.attributes.iter().filter_map(move |(key, value)| {
            let key = key.strip_prefix(name)?.strip_prefix('.')?;
            Some((key, value.as_str()))
        })
    }
}

/// The answer of a command that was asked for JSON.
#[derive(Deserialize)]
struct Answer {
    #[serde(
        rename = "Jobs",
        alias = "Queue",
        alias = "Server",
        alias = "nodes",
        default
    )]
    rows: BTreeMap<String, BTreeMap<String, Value>>,
}

/// Reads JSON. An answer without rows is an empty one; whether the server gave it at all, only the
/// exit code tells.
pub(super) fn from_json(text: &str) -> Result<Vec<Stanza>, serde_json::Error> {
    let answer: Answer = serde_json::from_str(text)?;
    let stanza = |(name, values): (String, BTreeMap<String, Value>)| {
        let mut attributes = BTreeMap::new();
        for (key, value) in values {
            flatten(key, value, &mut attributes);
        }
        Stanza { name, attributes }
    };
    Ok(answer.rows.into_iter().map(stanza).collect())
}

fn flatten(key: String, value: Value, attributes: &mut BTreeMap<String, String>) {
    match value {
        // The job's environment: of no use, and the larger part of a listing.
        Value::Object(_) if key == "Variable_List" => {}
        Value::Object(values) => {
            for (name, value) in values {
                flatten(format!("{key}.{name}"), value, attributes);
            }
        }
        Value::Array(values) => {
            let words: Vec<String> = values.into_iter().filter_map(scalar).collect();
            attributes.insert(key, words.join(","));
        }
        value => {
            attributes.extend(scalar(value).map(|value| (key, value)));
        }
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads text. A stanza begins with a line that is not indented: `heading` and a name, or the name
/// alone if `heading` is empty. Attributes are indented lines of `name = value`. Long values are
/// folded with a newline and a tab.
pub(super) fn from_text(text: &str, heading: &str) -> Vec<Stanza> {
    let mut stanzas: Vec<Stanza> = Vec::new();
    let mut last = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let is_indented = line.starts_with([' ', '\t']);
        if let Some(name) = line.strip_prefix(heading).filter(|_| !is_indented) {
            stanzas.push(Stanza {
                name: name.trim().to_owned(),
                ..Stanza::default()
            });
            last.clear();
            continue;
        }
        let Some(stanza) = stanzas.last_mut() else {
            continue;
        };
        match attribute(line).filter(|_| is_indented) {
            Some((key, value)) => {
                key.clone_into(&mut last);
                stanza.attributes.insert(last.clone(), value.to_owned());
            }
            // The rest of a folded value.
            None => {
                if let Some(value) = stanza.attributes.get_mut(&last) {
                    value.push_str(line.trim_start());
                }
            }
        }
    }
    stanzas
}

/// `name = value`, where the name is one. The value may be empty.
fn attribute(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (key, value) = match line.split_once(" = ") {
        Some(pair) => pair,
        None => (line.strip_suffix(" =")?, ""),
    };
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    is_name.then_some((key, value))
}
