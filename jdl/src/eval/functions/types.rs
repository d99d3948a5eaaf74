//! What a value is, and making one type from another.

use super::{Call, Entry, Fault, Outcome, Val, entry};
use crate::Expr;
use crate::syntax::Node;

pub(super) const TABLE: &[Entry] = &[
    entry("isundefined", 1, 1, |c| {
        is(c, |v| matches!(v, Val::Undefined))
    }),
    entry("iserror", 1, 1, |c| is(c, |v| matches!(v, Val::Error))),
    entry("isstring", 1, 1, |c| is(c, |v| matches!(v, Val::Text(_)))),
    entry("isinteger", 1, 1, |c| is(c, |v| matches!(v, Val::Int(_)))),
    entry("isreal", 1, 1, |c| is(c, |v| matches!(v, Val::Real(_)))),
    entry("isboolean", 1, 1, |c| is(c, |v| matches!(v, Val::Bool(_)))),
    entry("islist", 1, 1, |c| is(c, |v| matches!(v, Val::List(_)))),
    entry("isclassad", 1, 1, |c| is(c, |v| matches!(v, Val::Ad(_)))),
    entry("isabstime", 1, 1, |c| {
        is(c, |v| matches!(v, Val::AbsTime { .. }))
    }),
    entry("isreltime", 1, 1, |c| {
        is(c, |v| matches!(v, Val::RelTime(_)))
    }),
    entry("ifthenelse", 3, 3, if_then_else),
    entry("int", 1, 1, int),
    entry("real", 1, 1, real),
    entry("bool", 1, 1, boolean),
    entry("string", 1, 1, |c| Ok(Val::Text(c.any_text(0)?))),
    entry("eval", 1, 1, eval),
    entry("unparse", 1, 1, unparse),
    entry("debug", 1, 1, |c| Ok(c.value(0))),
];

fn is<'a>(call: &Call<'_, 'a>, test: fn(&Val<'_>) -> bool) -> Outcome<'a> {
    Ok(Val::Bool(test(&call.value(0))))
}

fn if_then_else<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let condition = call.value(0).truth()?;
    Ok(call.value(if condition { 1 } else { 2 }))
}

fn int<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    Ok(Val::Int(match call.known(0)? {
        Val::Int(number) => number,
        Val::Bool(truth) => i64::from(truth),
        Val::Real(number) | Val::RelTime(number) => number as i64,
        Val::AbsTime { seconds, .. } => seconds,
        Val::Text(text) => parse_int(&text).ok_or(Fault::Error)?,
        _ => return Err(Fault::Error),
    }))
}

fn real<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    Ok(Val::Real(match call.known(0)? {
        Val::Int(number) => number as f64,
        Val::Bool(truth) => f64::from(u8::from(truth)),
        Val::Real(number) | Val::RelTime(number) => number,
        Val::AbsTime { seconds, .. } => seconds as f64,
        Val::Text(text) => parse_real(&text).ok_or(Fault::Error)?,
        _ => return Err(Fault::Error),
    }))
}

fn boolean<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    match call.known(0)? {
        Val::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Val::Bool(true)),
        Val::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Val::Bool(false)),
        Val::Text(_) => Err(Fault::Undefined),
        value => value.truth().map(Val::Bool),
    }
}

/// The number that a text begins with, cut to an integer; hexadecimal behind `0x`.
fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim_start();
    if let Some(hex) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        let end = hex
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(hex.len());
        return i64::from_str_radix(&hex[..end], 16).ok();
    }
    let number = numeric_prefix(text)?;
    number
        .parse()
        .ok()
        .or_else(|| number.parse::<f64>().ok().map(|number| number as i64))
}

/// The number that a text begins with; also `INF` and `NaN`.
pub(super) fn parse_real(text: &str) -> Option<f64> {
    let text = text.trim_start();
    match numeric_prefix(text) {
        Some(number) => number.parse().ok(),
        None => ["inf", "-inf", "nan", "infinity"]
            .contains(&text.to_ascii_lowercase().as_str())
            .then(|| text.parse().ok())?,
    }
}

/// The longest beginning of `text` that is a decimal number.
pub(super) fn numeric_prefix(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let start = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let mut end = digits(start);
    let mut any = end > start;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        any |= fraction > end + 1;
        end = fraction;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    any.then(|| &text[..end])
}

/// A text is read as an expression and evaluated in the place of the call.
fn eval<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    match call.value(0) {
        Val::Undefined | Val::Error => Err(Fault::Error),
        Val::Text(text) => {
            let expr = Expr::parse(&text).map_err(|_| Fault::Error)?;
            Ok(call.evaluator.eval_apart(&expr, None, call.scope))
        }
        value => Ok(value),
    }
}

/// The expression of the attribute that is named, as text.
fn unparse<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let Node::Name(name) = call.arguments[0].node() else {
        return Err(Fault::Error);
    };
    let expr = call.evaluator.find(&name.key, call.scope);
    super::made(expr.map(|(expr, _)| expr.to_string()).unwrap_or_default())
}
