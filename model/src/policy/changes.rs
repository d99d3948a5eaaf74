//! What differs between two policies, setting by setting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::Policy;

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Which: `fairshare.decay_rate`, `shares[physics/atlas].share`,
    /// `limits[user=*].running_tasks_max`.
    pub field: String,
    /// Its value before, as JSON; absent if it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value after, as JSON; absent if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// By what entries of lists are told apart.
const IDENTITY: [&str; 9] = [
    "path", "name", "user", "group", "qos", "tag", "queue", "site", "every",
];

impl Policy {
    /// What differs in `after`, by the settings' names.
    pub fn changes(&self, after: &Self) -> Vec<FieldChange> {
        let (before, after) = (settings(self), settings(after));
        let names: std::collections::BTreeSet<&String> =
            before.keys().chain(after.keys()).collect();
        let differs = |name: &&String| before.get(*name) != after.get(*name);
        let change = |name: &String| FieldChange {
            field: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        };
        names.into_iter().filter(differs).map(change).collect()
    }
}

/// All settings by name, each as JSON.
fn settings(policy: &Policy) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    flatten(
        "",
        serde_json::to_value(policy).unwrap_or_default(),
        &mut all,
    );
    all
}

fn flatten(name: &str, value: Json, all: &mut BTreeMap<String, String>) {
    match value {
        Json::Null => {}
        Json::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{field}"), value, all);
            }
        }
        Json::Array(entries) if entries.iter().any(Json::is_object) => {
            let mut alike: BTreeMap<String, usize> = BTreeMap::new();
            for entry in entries {
                let (who, rest) = identified(name, entry);
                let seen = alike.entry(who.clone()).or_default();
                *seen += 1;
                let place = match *seen {
                    1 => format!("{name}[{who}]"),
                    n => format!("{name}[{who} #{n}]"),
                };
                flatten(&place, rest, all);
            }
        }
        value => {
            all.insert(name.to_owned(), value.to_string());
        }
    }
}

/// What an entry is told by, and what else it has.
fn identified(list: &str, entry: Json) -> (String, Json) {
    let Json::Object(fields) = entry else {
        return (entry.to_string(), entry);
    };
    let (own, rest): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|(field, value)| IDENTITY.contains(&field.as_str()) && value.is_string());
    let plain = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let who: Vec<String> = own
        .iter()
        .map(|(field, value)| match (list, field.as_str()) {
            ("shares", "path") | ("qos", "name") => plain(value),
            _ => format!("{field}={}", plain(value)),
        })
        .collect();
    let who = match who.is_empty() {
        true => "all".to_owned(),
        false => who.join(" "),
    };
    (who, Json::Object(rest.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, after: &str) -> Vec<String> {
        let read = |text| Policy::read(text).unwrap();
        let changes = read(before).changes(&read(after));
        let value = |value: Option<String>| value.unwrap_or("-".into());
        changes
            .into_iter()
            .map(|it| format!("{}: {} -> {}", it.field, value(it.before), value(it.after)))
            .collect()
    }

    #[test]
    fn settings_and_entries_are_told_by_name() {
        let before = r#"
            shares = [{ path = "a", share = 1 }, { path = "b", share = 2 }]
            limits = [{ user = "*", running_tasks_max = 10 }, { running_cores_max = 9 }]
            paused = [{ user = "eve" }]
        "#;
        let after = r#"
            kind = "fair-tree"
            wait_max_s = 0
            shares = [{ path = "b", share = 3 }, { path = "a", share = 1 }]
            limits = [{ user = "*", running_tasks_max = 20 }, { user = "*", running_tasks_max = 5 }]
        "#;
        assert_eq!(
            told(before, after),
            [
                "kind: \"fairshare\" -> \"fair-tree\"",
                "limits[all].running_cores_max: 9 -> -",
                "limits[user=* #2].running_tasks_max: - -> 5",
                "limits[user=*].running_tasks_max: 10 -> 20",
                "paused[user=eve].why: \"\" -> -",
                "shares[b].share: 2.0 -> 3.0",
                "wait_max_s: 604800 -> -",
            ]
        );
        assert!(told(before, before).is_empty());
    }
}
