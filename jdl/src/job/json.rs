//! A job description as JSON, and back, without loss.
//!
//! An ad is an object, a list an array, and a value the JSON value of its type. An expression
//! that is more than a value is an object `{"$expr": "…"}` with its text; those attributes that
//! always are expressions (Requirements, Rank and the like) are their text alone.
//! Comments and layout are not part of an ad.

use serde_json::{Map, Number, Value as Json, json};

use super::attributes::{Kind, attribute};
use super::decode;
use crate::diagnostic::Report;
use crate::syntax::{DEPTH_MAX, Node, Span};
use crate::{Ad, Diagnostic, Expr, Value};

/// The one key of an object that stands for an expression.
pub(super) const EXPRESSION_KEY: &str = "$expr";

/// Deeper than this, an ad is written as the text of an expression: readers of JSON refuse
/// deep texts.
const NESTING_MAX: usize = 60;

/// The ad as JSON.
pub fn to_json(ad: &Ad) -> Json {
    object(ad, 0)
}

fn object(ad: &Ad, depth: usize) -> Json {
    let member = |(name, expr): (&str, &Expr)| {
        let json = match is_expression(name) {
            true => json!(expr.to_string()),
            false => value(expr, depth + 1),
        };
        (name.to_owned(), json)
    };
    Json::Object(ad.iter().map(member).collect())
}

/// An expression as JSON, `depth` levels deep in an ad.
pub(super) fn value(expr: &Expr, depth: usize) -> Json {
    let json = match expr.node() {
        Node::Literal(Value::Boolean(truth)) => Some(json!(truth)),
        Node::Literal(Value::Integer(number)) => Some(json!(number)),
        // Infinities are no numbers of JSON.
        Node::Literal(Value::Real(number)) => Number::from_f64(*number).map(Json::Number),
        Node::Literal(Value::String(text)) => Some(json!(&**text)),
        Node::List(items) if depth < NESTING_MAX => {
            Some(items.iter().map(|item| value(item, depth + 1)).collect())
        }
        Node::Record(ad) if depth < NESTING_MAX && !is_ambiguous(ad) => Some(object(ad, depth)),
        _ => None,
    };
    json.unwrap_or_else(|| json!({ EXPRESSION_KEY: expr.to_string() }))
}

/// Whether the ad would be read back as an expression.
fn is_ambiguous(ad: &Ad) -> bool {
    ad.len() == 1 && ad.get(EXPRESSION_KEY).is_some()
}

fn is_expression(name: &str) -> bool {
    attribute(name).is_some_and(|attribute| attribute.kind == Kind::Expression)
}

/// The ad that JSON stands for; the inverse of [`to_json`]. `null` is UNDEFINED.
///
/// # Errors
/// Every place that stands for no ad, by its JSON pointer.
pub fn from_json(json: &Json) -> Result<Ad, Vec<Diagnostic>> {
    let mut reader = Reader::default();
    let ad = match json {
        Json::Object(members) => reader.ad(members),
        _ => {
            let help = "write an object: { \"Executable\": \"program\" }";
            reader.refuse("a job description is an object", help);
            Ad::new()
        }
    };
    if reader.report.has_errors() {
        return Err(reader.report.into_diagnostics(""));
    }
    Ok(ad)
}

/// Whether a text is meant to be JSON: no JDL begins with a brace.
pub fn is_json(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.trim_start().starts_with('{')
}

/// The JDL text of a description in either form, from bytes of which nothing is known. The
/// second value holds the warnings, which are errors if `strict`.
///
/// # Errors
/// Why the bytes are no text, or are JSON that describes no job.
pub fn jdl_of(bytes: &[u8], strict: bool) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (text, warnings) = decode(bytes, strict)?;
    if is_json(&text) {
        Ok((json_to_jdl(&text)?, warnings))
    } else {
        Ok((text, warnings))
    }
}

/// The JDL text, one attribute a line, of a description in JSON.
///
/// # Errors
/// What is no JSON, with its place; and what [`from_json`] refuses.
pub fn json_to_jdl(text: &str) -> Result<String, Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json: Json = serde_json::from_str(text).map_err(|error| no_json(text, &error))?;
    let ad = from_json(&json)?;
    let mut jdl = String::from("[\n");
    for (name, expr) in ad.iter() {
        let mut one = Ad::new();
        one.insert(name, expr.clone());
        let one = one.to_string();
        let inner = one
            .strip_prefix("[ ")
            .and_then(|one| one.strip_suffix(" ]"));
        jdl.push_str(&format!("  {};\n", inner.unwrap_or_default()));
    }
    jdl.push_str("]\n");
    Ok(jdl)
}

fn no_json(text: &str, error: &serde_json::Error) -> Vec<Diagnostic> {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let at = (line_start + error.column().saturating_sub(1)).min(text.len());
    let mut report = Report::default();
    let message = error.to_string();
    // The place is told in our own way.
    let message = message.split(" at line ").next().unwrap_or(&message);
    report.error_with(
        Span::new(at, at + 1),
        format!("this is not JSON: {message}"),
        "a text that begins with `{` is read as JSON; a JDL text begins with `[` or a name",
    );
    report.into_diagnostics(text)
}

/// Reads JSON, and knows where it is in it.
#[derive(Default)]
struct Reader {
    path: Vec<String>,
    report: Report,
}

impl Reader {
    fn refuse(&mut self, what: &str, help: &str) {
        let pointer: String = self
            .path
            .iter()
            .map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1")))
            .collect();
        let place = match &*pointer {
            "" => String::new(),
            pointer => format!(" (at `{pointer}`)"),
        };
        self.report.error_with(None, format!("{what}{place}"), help);
    }

    fn within<T>(&mut self, part: String, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(part);
        let result = read(self);
        self.path.pop();
        result
    }

    fn ad(&mut self, members: &Map<String, Json>) -> Ad {
        let mut ad = Ad::new();
        for (name, json) in members {
            self.within(name.clone(), |reader| {
                if name.is_empty() {
                    reader.refuse("an attribute has no name", "give it one");
                } else if ad.get(name).is_some() {
                    let help = "names do not distinguish case: remove one";
                    reader.refuse(&format!("`{name}` is there twice"), help);
                }
                let expr = match json {
                    Json::String(text) if is_expression(name) => reader.expression(text),
                    json => reader.expr(json),
                };
                ad.insert(name, expr);
            });
        }
        ad
    }

    fn expr(&mut self, json: &Json) -> Expr {
        if self.path.len() > DEPTH_MAX {
            self.refuse("it is nested too deeply", "make it flatter");
            return Value::Error.into();
        }
        match json {
            Json::Null => Value::Undefined.into(),
            Json::Bool(truth) => Value::Boolean(*truth).into(),
            Json::Number(number) => self::number(number),
            Json::String(text) => text.as_str().into(),
            Json::Array(items) => {
                let item = |(place, item): (usize, &Json)| {
                    self.within(place.to_string(), |reader| reader.expr(item))
                };
                let items = items.iter().enumerate().map(item).collect();
                Expr::at(Node::List(items), Span::default())
            }
            Json::Object(members) => match members.get(EXPRESSION_KEY) {
                Some(Json::String(text)) if members.len() == 1 => self.expression(text),
                _ => Value::Ad(self.ad(members).into()).into(),
            },
        }
    }

    fn expression(&mut self, text: &str) -> Expr {
        match Expr::parse(text) {
            Ok(expr) => expr,
            Err(diagnostics) => {
                for diagnostic in diagnostics {
                    let what = format!("`{text}`: {}", diagnostic.message);
                    let help = diagnostic.help.unwrap_or_else(|| {
                        "write an expression of the ClassAd language".to_owned()
                    });
                    self.refuse(&what, &help);
                }
                Value::Error.into()
            }
        }
    }
}

/// An integer if it is one of 64 bits, otherwise a real.
fn number(number: &Number) -> Expr {
    match number.as_i64() {
        Some(integer) => integer.into(),
        None => Value::Real(number.as_f64().unwrap_or(f64::NAN)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ad(text: &str) -> Ad {
        Ad::parse(text).unwrap()
    }

    #[test]
    fn values_are_values_and_expressions_are_texts() {
        let ad = ad(
            r#"[ Executable = "a"; Rank = 1; n = -1; x = 1.0; s = {"b", c};
            Requirements = other.x > 1; u = undefined; sub = [ '$expr' = "1" ]; big = real("INF") ]"#,
        );
        assert_eq!(
            to_json(&ad),
            json!({
                "Executable": "a", "Rank": "1", "n": -1, "x": 1.0, "s": ["b", {"$expr": "c"}],
                "Requirements": "other.x > 1", "u": {"$expr": "undefined"},
                "sub": {"$expr": "[ '$expr' = \"1\" ]"}, "big": {"$expr": "real(\"INF\")"},
            })
        );
        assert_eq!(from_json(&to_json(&ad)).unwrap(), ad);
    }

    #[test]
    fn order_stays() {
        let jdl = json_to_jdl(r#"{"b": 1, "a": [ {"z": 2, "y": 3} ]}"#).unwrap();
        assert_eq!(jdl, "[\n  b = 1;\n  a = { [ z = 2; y = 3 ] };\n]\n");
    }

    #[test]
    fn deep_ads_come_back() {
        let deep = format!("[ a = {}1{} ]", "{".repeat(150), "}".repeat(150));
        let text = to_json(&ad(&deep)).to_string();
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(from_json(&json).unwrap(), ad(&deep));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let refused = |text: &str| {
            let told = json_to_jdl(text).unwrap_err();
            let told: Vec<_> = told.into_iter().map(|it| it.rendered).collect();
            told.join("\n")
        };
        insta::assert_snapshot!(
            [
                refused("{\n  \"Executable\": \"a\",\n}"),
                refused("[1]"),
                refused(r#"{"a": 1, "A": 2, "Requirements": "1 +", "x": [{"$expr": "("}], "": 1}"#),
            ]
            .join("\n\n")
        );
    }
}
