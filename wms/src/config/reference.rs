//! The reference page of all settings, made from the code: names and
//! descriptions from the types, defaults from `Config::default()`.

use std::fmt::Write as _;

use serde_json::Value;
use utoipa::OpenApi;

use super::Config;

#[derive(OpenApi)]
#[openapi(components(schemas(Config)))]
struct Schemas;

/// The reference of all settings, in Markdown.
///
/// # Errors
/// None of a user's making: if the types cannot be described.
pub fn reference() -> Result<String, serde_json::Error> {
    let document = serde_json::to_value(Schemas::openapi())?;
    let defaults = serde_json::to_value(Config::default())?;
    let mut page = String::from(
        "# Settings of the server\n\n\
         Read from the file given with `--config`, then from the environment: the variable of \
         `http.listen` is `FAIRWAY__HTTP__LISTEN`. Unknown keys are errors; `fairway config check` \
         tells them.\n\n| setting | default | meaning |\n| --- | --- | --- |\n",
    );
    let schemas = &document["components"]["schemas"];
    describe(schemas, &schemas["Config"], &defaults, "", &mut page);
    Ok(page)
}

/// Adds a row for each setting of `schema`, and goes into the tables in it.
fn describe(schemas: &Value, schema: &Value, default: &Value, path: &str, page: &mut String) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let default = &default[name];
        match table(schemas, property) {
            Some(inner) => describe(schemas, inner, default, &path, page),
            None => row(property, default, &path, page),
        }
    }
}

/// The schema of the table that `property` is, if it is one: directly or optionally.
fn table<'a>(schemas: &'a Value, property: &Value) -> Option<&'a Value> {
    let candidates = ["oneOf", "allOf", "anyOf"]
        .into_iter()
        .filter_map(|key| property[key].as_array())
        .flatten()
        .chain(std::iter::once(property));
    candidates
        .filter_map(|candidate| candidate["$ref"].as_str())
        .filter_map(|reference| reference.rsplit('/').next())
        .map(|name| &schemas[name])
        .find(|schema| schema["properties"].is_object())
}

fn row(property: &Value, default: &Value, path: &str, page: &mut String) {
    let meaning = property["description"]
        .as_str()
        .unwrap_or_default()
        .replace('\n', " ");
    let default = match default {
        Value::Null => "–".to_owned(),
        value => format!("`{value}`"),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "| `{path}` | {default} | {} |",
        meaning.replace('|', "\\|")
    );
}
