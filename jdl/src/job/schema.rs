//! The JSON Schema of a job description, and checking against it.
//!
//! An ad is lowered to JSON (an expression becomes its text), checked with the
//! same schema that is handed out for editors and clients, and what is wrong is
//! told at the place in the text that it comes from.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json, json};

use super::attributes::{self, Attribute, Kind, Status, attribute};
use crate::Ad;
use crate::diagnostic::Report;
use crate::syntax::{Node, Span};

/// The JSON Schema (draft 2020-12) of a job description in JSON form: an object
/// with the attributes under their usual names. Expressions are texts in the
/// ClassAd language. Attributes that it does not name are allowed.
pub fn schema() -> Json {
    let properties: Map<String, Json> = attributes::all()
        .map(|attribute| (attribute.name.to_owned(), property(attribute)))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fairway job description",
        "description": "A job in the manner of gLite's or DIRAC's JDL.",
        "type": "object",
        "required": ["Executable"],
        "properties": properties,
        "additionalProperties": true,
    })
}

fn property(attribute: &Attribute) -> Json {
    let mut property = shape(attribute.kind);
    let mut description = format!("{} ({})", attribute.doc, attribute.origin());
    if let Status::NotDone(what) = attribute.status {
        description.push_str(&format!(" For now, {what}."));
    }
    if attribute.name == "Executable" {
        property["minLength"] = json!(1);
    }
    property["description"] = json!(description);
    property
}

fn shape(kind: Kind) -> Json {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Texts => json!({
            "type": ["string", "array"],
            "items": { "type": "string" },
        }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Expression => json!({ "type": "string", "format": "classad-expression" }),
        Kind::Parameters => json!({
            "type": ["integer", "array"],
            "items": { "type": ["string", "number", "boolean"] },
        }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Size => json!({ "type": "integer", "minimum": 0 }),
        Kind::Ads | Kind::Nodes | Kind::Dependencies => {
            json!({ "type": ["string", "array", "object"] })
        }
        Kind::Any => json!({}),
    }
}

static VALIDATOR: LazyLock<Option<jsonschema::Validator>> =
    LazyLock::new(|| jsonschema::validator_for(&schema()).ok());

/// Checks `lowered`, which was made from `ad`, and reports what is wrong where it stands;
/// what is missing, at `place`.
pub(super) fn check(lowered: &Json, ad: &Ad, place: Option<Span>, report: &mut Report) {
    let Some(validator) = &*VALIDATOR else {
        report.error(None, "the schema of job descriptions is broken");
        return;
    };
    for error in validator.iter_errors(lowered) {
        let path = error.instance_path().as_str().to_owned();
        let mut parts = path.trim_start_matches('/').split('/');
        let name = parts.next().unwrap_or_default();
        let item = parts.next().and_then(|item| item.parse::<usize>().ok());
        match attribute(name) {
            Some(attribute) => tell(attribute, item, &error, ad, report),
            None => report.error_with(
                place,
                "`Executable` is missing",
                "say what to run: `Executable = \"program\";`",
            ),
        }
    }
}

fn tell(
    attribute: &Attribute,
    item: Option<usize>,
    error: &jsonschema::ValidationError<'_>,
    ad: &Ad,
    report: &mut Report,
) {
    let name = attribute.name;
    let expr = ad.get(name);
    let place = match (expr.map(crate::Expr::node), item) {
        (Some(Node::List(items)), Some(item)) => items.get(item),
        _ => expr,
    };
    let message = match error.instance().as_str() {
        Some("") => format!("`{name}` is empty"),
        _ => {
            let found = match place {
                Some(expr) => format!("{expr:.60}"),
                None => format!("{:.60}", error.instance().to_string()),
            };
            let what = if item.is_some() {
                format!("an item of `{name}`")
            } else {
                format!("`{name}`")
            };
            format!("{what} must be {}, not {found}", expected(attribute.kind))
        }
    };
    report.error_with(place.map(crate::Expr::span), message, attribute.doc);
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "a text".into(),
        Kind::Texts => "a text or a list of texts".into(),
        Kind::Integer { min, max: i64::MAX } => format!("an integer of at least {min}"),
        Kind::Integer { min, max } => format!("an integer from {min} to {max}"),
        Kind::Boolean => "true or false".into(),
        Kind::Expression => "an expression".into(),
        Kind::Parameters => "an integer or a list of values".into(),
        Kind::Number => "a number".into(),
        Kind::Size => "a number of MiB, or a text such as \"8GB\"".into(),
        Kind::Ads | Kind::Nodes => "an ad or a list".into(),
        Kind::Dependencies => "a list of pairs".into(),
        Kind::Any => "a value".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_a_valid_schema() {
        assert!(jsonschema::meta::is_valid(&schema()));
        assert!(VALIDATOR.is_some());
    }
}
