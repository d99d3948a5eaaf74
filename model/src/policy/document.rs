//! A policy as a text: read, with its mistakes each at its place, and written so that it can be
//! read again.
//!
//! The text is TOML or JSON. What cannot be read is told part by part (settings one by one,
//! entries of lists one by one); only what can be read as a whole is then checked for sense.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use utoipa::ToSchema;

use super::Policy;
use crate::Timestamp;

/// What is wrong in a policy's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mistake {
    /// Where: `maui.decay`, `limits[0]`, `shares[physics/atlas]`; empty if the text is neither
    /// TOML nor JSON there.
    pub place: String,
    /// The line of the text, from 1, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match self.place.as_str() {
            place if place.is_empty() || self.message.starts_with(place) => {
                write!(f, "{}", self.message)
            }
            place => write!(f, "{place}: {}", self.message),
        }
    }
}

/// The lines of places.
type Lines = BTreeMap<String, u32>;

impl Policy {
    /// Reads a policy from TOML or JSON and checks it. What is not named is as usual.
    ///
    /// # Errors
    /// All that cannot be read; if everything can be, all that makes no sense. In the order of the
    /// text as far as lines are known: those of TOML are.
    pub fn read(text: &str) -> Result<Self, Vec<Mistake>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (policy, lines) = if text.trim_start().starts_with('{') {
            (from_json(text)?, Lines::new())
        } else {
            from_toml(text)?
        };
        policy.check().map_err(|complaints| {
            let mistake = |complaint| located(&lines, complaint);
            in_order(complaints.into_iter().map(mistake).collect())
        })?;
        Ok(policy)
    }

    /// The policy as TOML: its kind, and what differs from the usual. The same policy gives the
    /// same text, which [`read`](Self::read) makes the same policy of.
    ///
    /// # Errors
    /// A number is larger than TOML can write (2^63).
    pub fn to_toml(&self) -> Result<String, String> {
        let as_table = |policy: &Self| {
            toml::Table::try_from(policy).map_err(|error| format!("not to be written: {error}"))
        };
        let (mut own, usual) = (as_table(self)?, as_table(&Self::default())?);
        if self.wait_max_s.is_none() {
            own.insert("wait_max_s".into(), toml::Value::Integer(0));
        }
        let paused = own.get_mut("paused").and_then(toml::Value::as_array_mut);
        for pause in paused.into_iter().flatten() {
            let until = pause.get_mut("until");
            // Moments with parts of a second stay numbers: nothing is to be lost.
            if let Some(until) = until
                && let Some(millis) = until.as_integer().filter(|millis| millis % 1000 == 0)
            {
                *until = toml::Value::String(Timestamp(millis).to_string());
            }
        }
        leave_out_usual(&mut own, &usual);
        own.insert("kind".into(), toml::Value::String(self.kind.name().into()));
        toml::to_string(&own).map_err(|error| format!("not to be written: {error}"))
    }
}

/// Takes out what is as usual.
fn leave_out_usual(own: &mut toml::Table, usual: &toml::Table) {
    own.retain(|name, value| match (value, usual.get(name)) {
        (toml::Value::Table(own), Some(toml::Value::Table(usual))) => {
            leave_out_usual(own, usual);
            !own.is_empty()
        }
        (value, Some(usual)) => value != usual,
        (_, None) => true,
    });
}

fn in_order(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    mistakes.sort_by_key(|mistake| mistake.line.unwrap_or(u32::MAX));
    mistakes
}

/// The line of a byte of a text, from 1.
fn line_of(text: &str, at: usize) -> u32 {
    let before = &text.as_bytes()[..at.min(text.len())];
    let ends = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(ends + 1).unwrap_or(u32::MAX)
}

/// What the reader of a part said, in words for people who write documents, at the place where it
/// was read.
fn plain(place: &str, message: &str) -> String {
    if place == "metric" {
        return "it stands under `usage` now: write `[usage]` and below it `metric = \"…\"`".into();
    }
    let negative = message.strip_prefix("invalid value: integer `-");
    match negative.and_then(|rest| rest.split_once("`, expected u")) {
        Some((digits, _)) => format!("must be a whole number of 0 or more, not -{digits}"),
        None => message.trim_end().to_owned(),
    }
}

/// What is told of a text that is a server's whole configuration.
fn configuration(line: Option<u32>) -> Vec<Mistake> {
    vec![Mistake {
        place: "policy".into(),
        line,
        message: "this is a server's configuration, or a part of it; a policy file has only what \
                  stands under `policy` there, without that name before it: `[fairshare]` instead of \
                  `[policy.fairshare]`"
            .into(),
    }]
}

/// The place that a complaint of [`Policy::check`] begins with, and its line.
fn located(lines: &Lines, complaint: String) -> Mistake {
    let end = complaint.find([' ', ':']).unwrap_or(complaint.len());
    let mut place = complaint[..end].to_owned();
    // Entries that have names are told by these.
    let named = complaint.split('`').nth(1);
    if let ("shares" | "qos", Some(name)) = (place.as_str(), named) {
        place = format!("{place}[{name}]");
    }
    let mut known = Some(place.as_str());
    let mut line = None;
    while let (Some(at), None) = (known, line) {
        line = lines.get(at).copied();
        known = at.rsplit_once('.').map(|(above, _)| above);
    }
    let message = complaint
        .get(end..)
        .and_then(|rest| rest.strip_prefix(": "));
    Mistake {
        message: message.unwrap_or(&complaint).to_owned(),
        place,
        line,
    }
}

fn from_json(text: &str) -> Result<Policy, Vec<Mistake>> {
    let whole: serde_json::Map<String, Json> = serde_json::from_str(text).map_err(|error| {
        vec![Mistake {
            place: String::new(),
            line: u32::try_from(error.line()).ok(),
            message: error.to_string(),
        }]
    })?;
    if whole.get("policy").is_some_and(Json::is_object) {
        return Err(configuration(None));
    }
    let mut mistakes = Vec::new();
    let mut try_part = |place: String, part: Json| {
        if let Err(error) = Policy::deserialize(part) {
            mistakes.push(Mistake {
                line: None,
                message: plain(&place, &error.to_string()),
                place,
            });
        }
    };
    for (key, value) in &whole {
        match value {
            Json::Object(settings) => {
                for (name, value) in settings {
                    let part = serde_json::json!({ key: { name: value } });
                    try_part(format!("{key}.{name}"), part);
                }
            }
            Json::Array(entries) => {
                for (place, entry) in entries.iter().enumerate() {
                    let part = serde_json::json!({ key: [entry] });
                    try_part(format!("{key}[{place}]"), part);
                }
            }
            _ => try_part(key.clone(), serde_json::json!({ key: value })),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Policy::deserialize(Json::Object(whole)).map_err(|error| {
        vec![Mistake {
            place: String::new(),
            line: None,
            message: plain("", &error.to_string()),
        }]
    })
}

fn from_toml(text: &str) -> Result<(Policy, Lines), Vec<Mistake>> {
    let mistake = |place: &str, error: &toml::de::Error| Mistake {
        place: place.to_owned(),
        line: error.span().map(|span| line_of(text, span.start)),
        message: plain(place, error.message()),
    };
    let (whole, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mistakes = errors.iter().map(|error| mistake("", error));
        return Err(in_order(mistakes.collect()));
    }
    let inner = whole.get_ref().get_key_value("policy");
    if let Some((key, _)) = inner.filter(|(_, value)| value.get_ref().is_table()) {
        return Err(configuration(Some(line_of(text, key.span().start))));
    }
    let mut lines = Lines::new();
    let mut mistakes = Vec::new();
    for part in parts(whole.get_ref()) {
        lines.insert(part.place.clone(), line_of(text, part.at.start));
        if let Some(name) = &part.name {
            lines.insert(name.clone(), line_of(text, part.at.start));
        }
        let table = Spanned::new(part.at, part.table);
        if let Err(error) = Policy::deserialize(toml::Deserializer::from(table)) {
            mistakes.push(mistake(&part.place, &error));
        }
    }
    if !mistakes.is_empty() {
        return Err(in_order(mistakes));
    }
    let policy = toml::from_str(text).map_err(|error| vec![mistake("", &error)])?;
    Ok((policy, lines))
}

/// A part of a document that can be read for itself: a setting, or an entry of a list.
struct Part<'a> {
    place: String,
    /// The place by the entry's own name, if it has one.
    name: Option<String>,
    at: Range<usize>,
    /// A document with this part alone.
    table: DeTable<'a>,
}

fn parts<'a>(whole: &DeTable<'a>) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for (key, value) in whole {
        let name = key.get_ref();
        let mut add = |place: String, entry: Option<String>, at: Range<usize>, value| {
            let table = DeTable::from_iter([(key.clone(), value)]);
            parts.push(Part {
                place,
                name: entry.map(|entry| format!("{name}[{entry}]")),
                at,
                table,
            });
        };
        match value.get_ref() {
            DeValue::Table(settings) => {
                for (setting, inner) in settings {
                    let alone = DeTable::from_iter([(setting.clone(), inner.clone())]);
                    let place = format!("{name}.{}", setting.get_ref());
                    let alone = Spanned::new(value.span(), DeValue::Table(alone));
                    add(place, None, setting.span(), alone);
                }
            }
            DeValue::Array(entries) => {
                for (place, entry) in entries.iter().enumerate() {
                    let own = entry.get_ref().get("path");
                    let own = own.or_else(|| entry.get_ref().get("name"));
                    let own = own
                        .and_then(|own| own.get_ref().as_str())
                        .map(str::to_owned);
                    let alone = DeValue::Array([entry.clone()].into_iter().collect());
                    let alone = Spanned::new(value.span(), alone);
                    add(format!("{name}[{place}]"), own, entry.span(), alone);
                }
            }
            _ => add(name.to_string(), None, key.span(), value.clone()),
        }
    }
    parts
}

/// A moment as documents have it: milliseconds since 1970, or RFC 3339 with or without quotes.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write a moment such as 2026-12-01T08:00:00Z")]
enum Moment {
    Millis(i64),
    Text(String),
    /// As TOML has it without quotes.
    Native(toml::value::Datetime),
}

/// Reads a moment in either form.
pub(super) fn moment<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let text = match Option::<Moment>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Moment::Millis(millis)) => return Ok(Some(Timestamp(millis))),
        Some(Moment::Text(text)) => text,
        Some(Moment::Native(moment)) => moment.to_string(),
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Reads seconds of which 0 stands for none, since TOML has no `null`.
pub(super) fn seconds_or_none<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let seconds = Option::<u64>::deserialize(deserializer)?;
    Ok(seconds.filter(|seconds| *seconds > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Pause, PolicyKind};

    fn mistakes(text: &str) -> Vec<String> {
        let mistakes = Policy::read(text).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let text = r#"
            kind = "maui"
            wait_max_s = 0
            [maui]
            users = { alice = "25+", "*" = 10 }
            [[shares]]
            path = "physics"
            share = 3
            [[qos]]
            name = "express"
            tier = 1
            [[limits]]
            user = "*"
            running_cores_max = 40
            [[budgets]]
            group = "physics"
            core_hours = 12.5
            [[paused]]
            tag = "old"
            until = "2026-12-01T08:00:00Z"
        "#;
        let policy = Policy::read(text).unwrap();
        assert_eq!((policy.kind, policy.wait_max_s), (PolicyKind::Maui, None));
        let written = policy.to_toml().unwrap();
        assert_eq!(Policy::read(&written).as_ref(), Ok(&policy), "{written}");
        assert!(
            written.contains("until = \"2026-12-01T08:00:00Z\""),
            "{written}"
        );
        assert!(!written.contains("fairshare"), "{written}");
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(Policy::read(&json), Ok(policy));
    }

    #[test]
    fn the_usual_policy_is_its_kind_alone() {
        let written = Policy::default().to_toml().unwrap();
        assert_eq!(written, "kind = \"fairshare\"\n");
        let bare = "paused = [{ tag = \"a\", until = 2026-12-01T08:00:00Z }]";
        let quoted = "paused = [{ tag = \"a\", until = \"2026-12-01T08:00:00Z\" }]";
        assert_eq!(Policy::read(bare).unwrap(), Policy::read(quoted).unwrap());
        let odd = Policy {
            paused: vec![Pause {
                user: Some("alice".into()),
                until: Some(Timestamp(1_234_567)),
                ..Pause::default()
            }],
            ..Policy::default()
        };
        assert_eq!(Policy::read(&odd.to_toml().unwrap()), Ok(odd));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let text = "kind = \"fare-share\"\n[fairshare]\ndecay = 1\nduration_s = \"1h\"\n\
                    [[limits]]\nuser = \"*\"\nrunning_max = 3\n[[limits]]\nuser = 1\n";
        let told = mistakes(text);
        let lines: Vec<&str> = told
            .iter()
            .map(|it| it.split(':').next().unwrap())
            .collect();
        assert_eq!(
            lines,
            ["line 1", "line 3", "line 4", "line 7", "line 9"],
            "{told:#?}"
        );
        assert!(told[3].contains("limits[0]: unknown field `running_max`"));
        assert!(mistakes("kind = ")[0].starts_with("line 1: "));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        let text = "[fairshare]\nmax_depth = 0\n[[shares]]\npath = \"a\"\nshare = 1\n\
                    [[shares]]\npath = \"b/c\"\nshare = 1\n[[limits]]\nqos = \"x\"\nrunning_tasks_max = 1\n";
        let told = mistakes(text);
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].starts_with("line 2: fairshare.max_depth must be"));
        assert!(told[1].starts_with("line 6: shares[b/c]: `b/c` is in `b`, which is not there"));
        assert!(told[2].starts_with("line 9: limits[0]: there is no qos `x`"));
    }

    #[test]
    fn what_is_often_written_is_told_what_to_do_about() {
        let told = mistakes("[fairshare]\nduration_s = -4\n");
        assert_eq!(
            told,
            ["line 2: fairshare.duration_s: must be a whole number of 0 or more, not -4"]
        );
        let told = mistakes(r#"{"limits": [{"running_tasks_max": -1}]}"#);
        assert_eq!(
            told,
            ["limits[0]: must be a whole number of 0 or more, not -1"]
        );
        let told = mistakes("kind = \"fifo\"\nmetric = \"core-seconds\"\n");
        assert_eq!(
            told,
            [
                "line 2: metric: it stands under `usage` now: write `[usage]` and below it `metric = \"…\"`"
            ]
        );
        let server = mistakes("[http]\nlisten = \"x\"\n[policy]\nkind = \"fifo\"\n");
        let part = mistakes("[policy.fairshare]\nmax_depth = 3\n");
        let json = mistakes(r#"{"http": {}, "policy": {"kind": "fifo"}}"#);
        for told in [server, part, json] {
            assert_eq!(told.len(), 1, "{told:#?}");
            assert!(
                told[0].contains("this is a server's configuration"),
                "{told:#?}"
            );
        }
    }

    #[test]
    fn json_is_told_of_by_place() {
        let told =
            mistakes(r#"{"kind": "fifo", "maui": {"decay": "x"}, "limits": [{}, {"a": 1}]}"#);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].starts_with("maui.decay: invalid type"), "{told:#?}");
        assert!(
            told[1].starts_with("limits[1]: unknown field `a`"),
            "{told:#?}"
        );
        assert!(mistakes("{\n \"kind\": }")[0].starts_with("line 2: "));
    }
}
