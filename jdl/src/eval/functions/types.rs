//! What a value is, and making one type from another.

use super::{Call, Entry, Fault, Outcome, Val, entry};
use crate::Expr;
use crate::syntax::Node;
use crate::syntax::print::{self, Style::Compact};

pub(super) const TABLE: &[Entry] = &[
    entry("isUndefined", 1, 1, |c| {
        is(c, |v| matches!(v, Val::Undefined))
    }),
    entry("isError", 1, 1, |c| is(c, |v| matches!(v, Val::Error))),
    entry("isString", 1, 1, |c| is(c, |v| matches!(v, Val::Text(_)))),
    entry("isInteger", 1, 1, |c| is(c, |v| matches!(v, Val::Int(_)))),
    entry("isReal", 1, 1, |c| is(c, |v| matches!(v, Val::Real(_)))),
    entry("isBoolean", 1, 1, |c| is(c, |v| matches!(v, Val::Bool(_)))),
    entry("isList", 1, 1, |c| is(c, |v| matches!(v, Val::List(_)))),
    entry("isClassAd", 1, 1, |c| is(c, |v| matches!(v, Val::Ad(_)))),
    entry("isAbsTime", 1, 1, |c| {
        is(c, |v| matches!(v, Val::AbsTime { .. }))
    }),
    entry("isRelTime", 1, 1, |c| {
        is(c, |v| matches!(v, Val::RelTime(_)))
    }),
    entry("ifThenElse", 3, 3, if_then_else),
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
        Val::Real(number) | Val::RelTime(number) => cut(number),
        Val::AbsTime { seconds, .. } => seconds,
        Val::Text(text) => parse_int(&text).ok_or(Fault::Error)?,
        _ => return Err(Fault::Error),
    }))
}

fn real<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    real_of(&call.known(0)?).map(Val::Real)
}

/// The number that a value stands for; a span counts in whole seconds.
pub(super) fn real_of(value: &Val<'_>) -> Result<f64, Fault> {
    Ok(match value {
        Val::Int(number) => *number as f64,
        Val::Bool(truth) => f64::from(u8::from(*truth)),
        Val::Real(number) => *number,
        Val::RelTime(seconds) => seconds.trunc(),
        Val::AbsTime { seconds, .. } => *seconds as f64,
        Val::Text(text) => parse_real(text).ok_or(Fault::Error)?,
        _ => return Err(Fault::Error),
    })
}

/// As an integer, cut towards zero; the smallest integer stands for what does not
/// fit, as it does in the library (and in x86 processors).
pub(super) fn cut(number: f64) -> i64 {
    // 2^63 is the first that does not fit; NaN is not below it.
    if number.abs() < 9_223_372_036_854_775_808.0 {
        number as i64
    } else {
        i64::MIN
    }
}

fn boolean<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    match call.known(0)? {
        Val::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Val::Bool(true)),
        Val::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Val::Bool(false)),
        Val::Text(_) => Err(Fault::Undefined),
        Val::RelTime(seconds) => Ok(Val::Bool(seconds.trunc() != 0.0)),
        value => value.truth().map(Val::Bool),
    }
}

/// The number that a text begins with, cut to an integer.
fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let whole = numeric_prefix(text).filter(|number| !text[number.len()..].starts_with(['x', 'X']));
    let whole = whole.and_then(|number| number.parse().ok());
    whole.or_else(|| parse_real(text).map(cut))
}

/// The number that a text begins with: decimal, hexadecimal behind `0x`, `INF`, `NaN`.
pub(super) fn parse_real(text: &str) -> Option<f64> {
    let text = text.trim_start();
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1.0, body),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some(hex) = body.strip_prefix("0x").or(body.strip_prefix("0X")) {
        return Some(sign * parse_hex(hex));
    }
    if let Some(number) = numeric_prefix(text) {
        return number.parse().ok();
    }
    let begins = |word: &str| {
        body.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    if begins("inf") {
        Some(sign * f64::INFINITY)
    } else {
        begins("nan").then_some(f64::NAN)
    }
}

/// Hexadecimal digits, with a fraction if there is a point; 0 if there are none.
fn parse_hex(text: &str) -> f64 {
    let digits = |text: &str| -> usize { text.bytes().take_while(u8::is_ascii_hexdigit).count() };
    let value = |text: &str| {
        let digits = text.chars().filter_map(|c| c.to_digit(16));
        digits.fold(0.0, |sum, digit| sum * 16.0 + f64::from(digit))
    };
    let (whole, rest) = text.split_at(digits(text));
    let fraction = rest.strip_prefix('.').unwrap_or_default();
    let fraction = &fraction[..digits(fraction)];
    value(whole) + value(fraction) / 16_f64.powi(fraction.len() as i32)
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

/// A text is read as an expression and evaluated in the place of the call; another
/// value is written as text before.
fn eval<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let text = match call.value(0) {
        Val::Undefined => return Err(Fault::Error),
        value => call.written(value)?,
    };
    let expr = Expr::parse(&text).map_err(|_| Fault::Error)?;
    Ok(call.evaluator.eval_apart(&expr, None, call.scope))
}

/// The expression of the attribute that is named, as text.
fn unparse<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let Node::Name(name) = call.arguments[0].node() else {
        return match call.arguments[0].node() {
            Node::Select(..) | Node::Absolute(_) => super::made(String::new()),
            _ => Err(Fault::Error),
        };
    };
    match call.evaluator.find(&name.key, call.scope) {
        Some((expr, _)) => super::limited(print::Printed(expr, Compact)).map(Val::Text),
        None => super::made(String::new()),
    }
}
