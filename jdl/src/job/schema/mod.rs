//! The JSON Schema of job descriptions, made from the table of attributes, in two forms.
//!
//! The published one is for editors and clients: it takes a description as JSON writes it,
//! with expressions and with what is forgiven. The other is what an ad is [checked](check)
//! against after it was lowered: there, every attribute has its value in the type that it
//! should have.

use serde_json::{Map, Value as Json, json};

use super::attributes::{self, Attribute, Kind, Status};
use super::json;
use crate::Expr;

mod check;

pub(super) use check::check;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The JSON Schema (draft 2020-12) of a job description in JSON form: an object with the
/// attributes under their usual names, or a compound job whose `Nodes` are such objects.
/// What is more than a value is `{"$expr": "…"}` with its text in the ClassAd language;
/// attributes that always are expressions are that text alone. Attributes that it does not
/// name are allowed.
pub fn schema() -> Json {
    let properties: Map<String, Json> = attributes::all()
        .map(|attribute| (attribute.name.to_owned(), published(attribute)))
        .collect();
    json!({
        "$schema": DRAFT,
        "title": "Fairway job description",
        "description": "A job in the manner of gLite's, DIRAC's or AliEn's JDL.",
        "$ref": "#/$defs/attributes",
        "anyOf": [
            { "required": ["Executable"] },
            { "required": ["Nodes"] },
            // Names do not distinguish case.
            has_property("Executable"),
            has_property("Nodes"),
        ],
        "$defs": {
            "attributes": {
                "type": "object",
                "properties": properties,
                "patternProperties": {
                    "^[Pp]arameters\\.": shape(Kind::Parameters),
                    "^[Pp]arameter(Start|Step|Factor)\\.": shape(Kind::Number),
                },
            },
            "expression": {
                "description": "An expression of the ClassAd language, as its text.",
                "type": "object",
                "properties": { json::EXPRESSION_KEY: { "type": "string" } },
                "required": [json::EXPRESSION_KEY],
                "additionalProperties": false,
            },
            "node": {
                "description": "A job of a compound job. What it does not say it takes over \
                                from the object around it.",
                "$ref": "#/$defs/attributes",
            },
            "side": {
                "description": "A node's name, or a group of them.",
                "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "$ref": "#/$defs/side" } },
                    { "$ref": "#/$defs/expression" },
                ],
            },
        },
    })
}

/// The schema that lowered ads are checked against.
fn lowered() -> Json {
    let property = |attribute: &Attribute| match attribute.kind {
        kind if kind.is_kept() => json!({ "type": "string" }),
        kind => shape(kind),
    };
    let mut properties: Map<String, Json> = attributes::all()
        .map(|attribute| (attribute.name.to_owned(), property(attribute)))
        .collect();
    properties["Executable"]["minLength"] = json!(1);
    json!({
        "$schema": DRAFT,
        "type": "object",
        "required": ["Executable"],
        "properties": properties,
    })
}

/// One attribute as an author writes it.
fn published(attribute: &Attribute) -> Json {
    let mut description = format!("{} ({})", attribute.doc, attribute.origin());
    match attribute.status {
        Status::Honoured => {}
        Status::NotDone(what) => description.push_str(&format!(" For now, {what}.")),
        Status::Noted => description.push_str(" It is kept with the job."),
    }
    let mut property = Map::new();
    property.insert("description".into(), json!(description));
    let value = |text: &str| example(attribute.kind, text);
    if let Some(default) = attribute.default.and_then(value) {
        property.insert("default".into(), default);
    }
    if let Some(example) = attribute.example.and_then(value) {
        property.insert("examples".into(), json!([example]));
    }
    let shape = if attribute.words.is_empty() {
        shape(attribute.kind)
    } else {
        json!({ "enum": attribute.words })
    };
    let mut shapes = vec![shape];
    shapes.extend(forgiven(attribute));
    match attribute.kind {
        Kind::Any => {}
        Kind::Expression => property.extend(object(shapes.swap_remove(0))),
        _ => {
            shapes.push(json!({ "$ref": "#/$defs/expression" }));
            property.insert("anyOf".into(), Json::Array(shapes));
        }
    }
    Json::Object(property)
}

fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// A value that the language writes as `text`, in JSON.
fn example(kind: Kind, text: &str) -> Option<Json> {
    if kind == Kind::Expression {
        return Some(json!(text));
    }
    Some(json::value(&Expr::parse(text).ok()?, 0))
}

/// The values of a kind.
fn shape(kind: Kind) -> Json {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Texts => json!({
            "type": ["string", "array"],
            "items": { "type": "string" },
        }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Expression => json!({ "type": "string" }),
        Kind::Parameters => json!({
            "type": ["integer", "array"],
            "items": { "type": ["string", "number", "boolean"] },
        }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Size => json!({ "type": "integer", "minimum": 0 }),
        Kind::Moment => {
            json!({ "type": "integer", "minimum": 1, "maximum": super::moment::SECONDS_MAX })
        }
        Kind::Ads => json!({ "type": ["object", "array", "string"] }),
        Kind::Nodes => json!({
            "type": ["array", "object"],
            "items": { "$ref": "#/$defs/node" },
            "properties": { "Dependencies": shape(Kind::Dependencies) },
            "additionalProperties": {
                "anyOf": [{ "$ref": "#/$defs/node" }, shape(Kind::Dependencies)],
            },
        }),
        Kind::Dependencies => json!({
            "type": "array",
            "items": { "$ref": "#/$defs/side" },
        }),
        Kind::Amounts => json!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    { "type": "integer", "minimum": 0, "maximum": attributes::UNITS_MAX },
                    { "$ref": "#/$defs/expression" },
                ],
            },
        }),
        Kind::Any => json!({}),
    }
}

/// What is taken for a value of the attribute's kind, with a warning.
fn forgiven(attribute: &Attribute) -> Option<Json> {
    Some(match attribute.kind {
        Kind::Text if !attribute.words.is_empty() => {
            let words: Vec<String> = attribute.words.iter().map(|word| any_case(word)).collect();
            json!({ "type": "string", "pattern": format!("^\\s*({})\\s*$", words.join("|")) })
        }
        Kind::Text => json!({ "type": ["number", "boolean", "array"], "maxItems": 1 }),
        Kind::Texts => json!({
            "type": ["number", "boolean", "array"],
            "items": {
                "anyOf": [
                    { "type": ["string", "number", "boolean"] },
                    { "$ref": "#/$defs/expression" },
                ],
            },
        }),
        Kind::Integer { .. } => json!({ "type": "string", "pattern": "^\\s*-?[0-9]+\\s*$" }),
        Kind::Number => json!({
            "type": "string",
            "pattern": "^\\s*-?[0-9]+(\\.[0-9]*)?([eE][-+]?[0-9]+)?\\s*$",
        }),
        Kind::Parameters => json!({
            "type": ["string", "array"],
            "pattern": "^\\s*-?[0-9]+\\s*$",
            "items": { "$ref": "#/$defs/expression" },
        }),
        Kind::Size => json!({
            "type": ["string", "array"],
            "pattern": "^\\s*[0-9.]+\\s*([KMGTkmgt][Ii]?)?[Bb]?\\s*$",
            "items": { "type": "string" },
            "maxItems": 1,
        }),
        Kind::Moment => json!({
            "type": "string",
            "pattern": "^\\s*([0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}\
                        (:[0-9]{2}(\\.[0-9]+)?)?([Zz]|[-+][0-9]{2}:?[0-9]{2})?)?)\\s*$",
        }),
        Kind::Boolean => json!({
            "anyOf": [
                { "enum": [0, 1] },
                { "type": "string", "pattern": format!("^({}|{})$", any_case("true"), any_case("false")) },
            ],
        }),
        _ => return None,
    })
}

/// Whether there is a property of this name, in any case.
fn has_property(name: &str) -> Json {
    let pattern = format!("^{}$", any_case(name));
    json!({ "not": { "propertyNames": { "not": { "pattern": pattern } } } })
}

/// A pattern for a word in any case.
fn any_case(word: &str) -> String {
    word.chars()
        .map(|c| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_a_schema_with_all_attributes() {
        let schema = schema();
        assert!(jsonschema::meta::is_valid(&schema));
        for attribute in attributes::all() {
            let property = &schema["$defs"]["attributes"]["properties"][attribute.name];
            assert!(property["description"].is_string(), "{}", attribute.name);
        }
    }

    #[test]
    fn what_no_author_means_is_refused() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for job in [
            json!({}),
            json!([]),
            json!({ "Arguments": "a" }),
            json!({ "Executable": {} }),
            json!({ "Executable": "a", "CpuNumber": 0 }),
            json!({ "Executable": "a", "CpuNumber": "two" }),
            json!({ "Executable": "a", "Type": "Jobs" }),
            json!({ "Executable": "a", "Requirements": true }),
            json!({ "Executable": "a", "Environment": [["A=1"]] }),
            json!({ "Executable": "a", "FuzzyRank": "maybe" }),
            json!({ "Nodes": 3 }),
            json!({ "Nodes": [{ "RetryCount": 1.5 }] }),
            json!({ "Nodes": { "a": { "Description": { "Executable": 1 } } }, "Dependencies": "a" }),
        ] {
            assert!(!validator.is_valid(&job), "{job}");
        }
    }

    #[test]
    fn defaults_and_examples_are_as_they_should_be() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for attribute in attributes::all() {
            let texts = attribute.default.iter().chain(&attribute.example);
            for json in texts.filter_map(|text| example(attribute.kind, text)) {
                let mut job = json!({ "Executable": "a" });
                job[attribute.name] = json;
                assert!(validator.is_valid(&job), "{job}");
            }
        }
    }
}
