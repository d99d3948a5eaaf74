//! Checking a lowered ad against the schema, and telling what is wrong where it stands.

use std::sync::LazyLock;

use serde_json::Value as Json;

use super::lowered;
use crate::Ad;
use crate::diagnostic::Report;
use crate::job::attributes::{Attribute, Kind, attribute};
use crate::syntax::{Node, Span};

static VALIDATOR: LazyLock<Option<jsonschema::Validator>> =
    LazyLock::new(|| jsonschema::validator_for(&lowered()).ok());

/// Checks `lowered`, which was made from `ad`, and reports what is wrong where it stands;
/// what is missing, at `place`.
pub(in crate::job) fn check(lowered: &Json, ad: &Ad, place: Option<Span>, report: &mut Report) {
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
        Kind::Moment => "seconds since the epoch up to the year 9999, or a text such as \
                         \"2027-03-01T08:00:00Z\""
            .into(),
        Kind::Ads | Kind::Nodes => "an ad or a list".into(),
        Kind::Dependencies => "a list of pairs".into(),
        Kind::Amounts => "an ad of integers".into(),
        Kind::Any => "a value".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_checked_against_is_a_schema() {
        assert!(jsonschema::meta::is_valid(&lowered()));
        assert!(VALIDATOR.is_some());
    }
}
