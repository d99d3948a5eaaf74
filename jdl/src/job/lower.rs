//! An ad → JSON: what each known attribute is worth, in the type that it should have.
//!
//! Forgives what the old systems forgave (a number in quotes, a text without
//! them), with a warning. What cannot be forgiven goes into the JSON as it is,
//! for the schema to refuse.

use serde_json::{Map, Value as Json, json};

use super::attributes::{Attribute, Kind, MEBIBYTES_MAX, attribute};
use super::moment;
use super::parameters::{GLITE_MARK, sequence_name};
use crate::diagnostic::Report;
use crate::syntax::Node;
use crate::{Ad, Expr, Value, eval};

/// Turns texts that lack their quotes (`std.out`, `jobName`) into texts. They were
/// read as names, but of nothing that is there.
pub(super) fn quote_bare_texts(ad: &mut Ad, source: &str, report: &mut Report) {
    let is_text = |name: &str| match attribute(name) {
        Some(attribute) => !attribute.kind.is_kept(),
        None => sequence_name(name).is_some(),
    };
    let names = ad.iter().map(|(name, _)| name.to_owned());
    let names: Vec<String> = names.filter(|name| is_text(name)).collect();
    for name in names {
        let Some(expr) = ad.get(&name) else { continue };
        let replaced = match expr.node() {
            Node::List(items) => quoted_items(items, ad, source, report)
                .map(|items| Expr::at(Node::List(items), expr.span())),
            _ => quoted(expr, ad, source, report),
        };
        if let Some(replaced) = replaced {
            ad.replace(&name, replaced);
        }
    }
}

/// The items with quotes where they lacked them; `None` if none did.
fn quoted_items(items: &[Expr], ad: &Ad, source: &str, report: &mut Report) -> Option<Box<[Expr]>> {
    let quoted: Vec<Option<Expr>> = items
        .iter()
        .map(|item| quoted(item, ad, source, report))
        .collect();
    if quoted.iter().all(Option::is_none) {
        return None;
    }
    let pairs = items.iter().zip(quoted);
    Some(
        pairs
            .map(|(item, quoted)| quoted.unwrap_or_else(|| item.clone()))
            .collect(),
    )
}

fn quoted(expr: &Expr, ad: &Ad, source: &str, report: &mut Report) -> Option<Expr> {
    if matches!(
        expr.node(),
        Node::Literal(_) | Node::List(_) | Node::Record(_) | Node::Call(..)
    ) || !matches!(eval(expr, ad, None), Value::Undefined | Value::Error)
    {
        return None;
    }
    let text = expr.span().of(source).trim();
    let is_word = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || "_./:%+-*".contains(c));
    // gLite's placeholder stands for a number as well.
    if !is_word || text.contains(GLITE_MARK) {
        return None;
    }
    report.warn(
        expr.span(),
        format!("`{text}` is taken as a text"),
        format!("write it in quotes: \"{text}\""),
    );
    Some(Expr::at(Node::Literal(text.into()), expr.span()))
}

/// All known attributes of the ad, under their usual names; without `Parameters`, which may be
/// as long as the text and are read by themselves.
pub(super) fn lower(ad: &Ad, report: &mut Report) -> Map<String, Json> {
    let mut lowered = Map::new();
    for (name, expr) in ad.iter() {
        if let Some(attribute) = attribute(name)
            && attribute.name != "Parameters"
        {
            let json = attribute_value(attribute, expr, ad, report);
            lowered.insert(attribute.name.to_owned(), json);
        }
    }
    lowered
}

/// The value of one attribute, whose expression is `expr`.
pub(super) fn attribute_value(
    attribute: &Attribute,
    expr: &Expr,
    ad: &Ad,
    report: &mut Report,
) -> Json {
    match (attribute.kind, expr.node()) {
        (kind, _) if kind.is_kept() => Json::String(expr.to_string()),
        (Kind::Texts | Kind::Parameters, Node::List(items)) => items
            .iter()
            .map(|item| value(attribute, item, ad, report))
            .collect(),
        // AliEn lists where one value is meant.
        (_, Node::List(items)) if items.len() == 1 => {
            value(attribute, items.first().unwrap_or(expr), ad, report)
        }
        _ => value(attribute, expr, ad, report),
    }
}

fn value(attribute: &Attribute, expr: &Expr, ad: &Ad, report: &mut Report) -> Json {
    let value = eval(expr, ad, None);
    if matches!(value, Value::Undefined | Value::Error) {
        let name = attribute.name;
        let help = "a text needs quotes; a name must be that of another attribute";
        report.error_with(expr.span(), format!("`{name}` has no value: {expr}"), help);
        return placeholder(attribute.kind);
    }
    if attribute.kind == Kind::Size
        && let Some(mebibytes) = mebibytes(&value)
    {
        return json!(mebibytes);
    }
    if attribute.kind == Kind::Moment
        && let Some(seconds) = moment_of(attribute, &value, expr, report)
    {
        return json!(seconds);
    }
    let coerced = match attribute.kind {
        Kind::Integer { .. } | Kind::Moment => as_integer(&value),
        Kind::Number => as_number(&value),
        Kind::Boolean => as_boolean(&value),
        Kind::Text | Kind::Texts => as_text(&value),
        _ => None,
    };
    match coerced {
        Some((json, wanted)) => {
            report.warn(
                expr.span(),
                format!("`{}` should be {wanted}", attribute.name),
                format!("write {json}"),
            );
            json
        }
        None => to_json(&value),
    }
}

/// Passes the schema: what is wrong has been told already.
fn placeholder(kind: Kind) -> Json {
    match kind {
        Kind::Integer { min, .. } => json!(min.max(1)),
        Kind::Boolean => json!(false),
        Kind::Number | Kind::Parameters | Kind::Size | Kind::Moment => json!(1),
        _ => unread(),
    }
}

/// Stands for a text that could not be read, which has been told.
pub(super) fn unread() -> Json {
    json!("?")
}

/// MiB, rounded up: a number of them, or a text such as `8GB`.
fn mebibytes(value: &Value) -> Option<i64> {
    let text = value.as_str()?.trim().to_ascii_uppercase();
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.trim().parse().ok()?;
    let unit = unit.strip_suffix('B').unwrap_or(unit);
    let mebibytes = number
        * match unit.strip_suffix('I').unwrap_or(unit) {
            "K" => 1.0 / 1024.0,
            "" | "M" => 1.0,
            "G" => 1024.0,
            "T" => 1024.0 * 1024.0,
            _ => return None,
        };
    let fits = (0.0..=MEBIBYTES_MAX as f64).contains(&mebibytes);
    fits.then(|| mebibytes.ceil() as i64)
}

/// Seconds since the epoch, of a moment that is not given as such.
fn moment_of(
    attribute: &Attribute,
    value: &Value,
    expr: &Expr,
    report: &mut Report,
) -> Option<i64> {
    if let Value::AbsTime { seconds, .. } = value {
        return Some(*seconds);
    }
    let (seconds, zoned) = moment::parse(value.as_str()?)?;
    if !zoned {
        report.warn(
            expr.span(),
            format!("`{}` names no time zone: UTC is taken", attribute.name),
            "write `Z` behind it, or an offset such as `+01:00`",
        );
    }
    Some(seconds)
}

fn as_integer(value: &Value) -> Option<(Json, &'static str)> {
    match value {
        Value::String(text) => {
            let number: i64 = text.trim().parse().ok()?;
            Some((json!(number), "a number without quotes"))
        }
        Value::Real(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            Some((json!(*number as i64), "a whole number"))
        }
        _ => None,
    }
}

fn as_number(value: &Value) -> Option<(Json, &'static str)> {
    match value {
        Value::String(text) => {
            let number: f64 = text.trim().parse().ok()?;
            let integer = text.trim().parse::<i64>().map(Json::from);
            let json = integer.unwrap_or_else(|_| json!(number));
            Some((json, "a number without quotes"))
        }
        _ => None,
    }
}

fn as_boolean(value: &Value) -> Option<(Json, &'static str)> {
    let truth = match value {
        Value::String(text) if text.eq_ignore_ascii_case("true") => true,
        Value::String(text) if text.eq_ignore_ascii_case("false") => false,
        Value::Integer(number @ (0 | 1)) => *number == 1,
        _ => return None,
    };
    Some((json!(truth), "true or false"))
}

fn as_text(value: &Value) -> Option<(Json, &'static str)> {
    match value {
        Value::Integer(_) | Value::Real(_) | Value::Boolean(_) => {
            Some((json!(value.to_string()), "a text in quotes"))
        }
        _ => None,
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Undefined | Value::Error => Json::Null,
        Value::Boolean(truth) => json!(truth),
        Value::Integer(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::String(text) => json!(&**text),
        Value::List(items) => items.iter().map(to_json).collect(),
        value => json!({ "expression": value.to_string() }),
    }
}
