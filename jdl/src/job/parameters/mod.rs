//! Parametric jobs: the values of each task, and putting them into the text.
//!
//! gLite's `_PARAM_` is replaced wherever it stands, also in names and as a number
//! of an expression. DIRAC's `%s`, `%(X)s` (the list `Parameters.X`), `%n` (the
//! task's number, with leading zeros) and `%j` (the task's id) are replaced in texts.

use std::sync::Arc;

use super::Dialect;
use crate::diagnostic::Report;
use crate::syntax::{Node, Span};
use crate::{Ad, Expr, Value, eval};
use sequence::Sequence;

mod sequence;
mod template;

pub(super) use template::{Bindings, Item, Placeholders, Template};

/// Most tasks of one job.
pub const TASKS_MAX: u32 = 10_000_000;

/// gLite's placeholder.
pub(super) const GLITE_MARK: &str = "_PARAM_";

/// The beginning of AliEn's placeholder: `#alien_counter#`, or `#alien_counter_03i#` with
/// the number of digits.
pub(super) const ALIEN_MARK: &str = "#alien_counter";

/// What the tasks of a parametric job differ in.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    count: u32,
    /// The sequence of `%s` or `_PARAM_`.
    main: Option<Sequence>,
    /// The sequences of `%(X)s`.
    named: Vec<(String, Sequence)>,
}

impl Parameters {
    /// What the ad says about parameters; `None` for a job of one task.
    pub(super) fn read(ad: &Ad, dialect: Dialect, report: &mut Report) -> Option<Self> {
        match dialect {
            Dialect::Glite => Self::read_glite(ad, report),
            Dialect::Dirac => Self::read_dirac(ad, report),
            Dialect::Alien => Self::read_alien(ad, report),
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether the values are listed, not computed.
    pub(super) fn has_lists(&self) -> bool {
        let is_list = |sequence: &Sequence| matches!(sequence, Sequence::List(_));
        self.main.as_ref().is_some_and(is_list)
            || self.named.iter().any(|(_, sequence)| is_list(sequence))
    }

    /// gLite: a list, or start, start + step … as long as they are less than `Parameters`.
    fn read_glite(ad: &Ad, report: &mut Report) -> Option<Self> {
        let parameters = ad.get("Parameters")?;
        if let Some(values) = listed(parameters, ad) {
            let values = values.map_err(|span| not_a_value(span, report)).ok()?;
            let count = counted(values.len() as u64, parameters, report)?;
            return Some(Self::main_only(count, Sequence::List(values.into())));
        }
        let end = integer(ad, "Parameters", None, report)?;
        let start = integer(ad, "ParameterStart", Some(0), report)?;
        let step = integer(ad, "ParameterStep", Some(1), report)?;
        if step < 1 {
            let place = ad.get("ParameterStep").map(Expr::span);
            let help = "values go from ParameterStart up to Parameters, which they do not reach";
            report.error_with(place, "`ParameterStep` must be at least 1", help);
            return None;
        }
        let range = (i128::from(end) - i128::from(start)).max(0);
        let count = (range + i128::from(step) - 1) / i128::from(step);
        if count == 0 {
            report.error_with(
                parameters.span(),
                format!("there is no value from {start} to below {end}: the job has no task"),
                "`Parameters` is where values end (it is not a value itself); make it greater than `ParameterStart`",
            );
            return None;
        }
        let count = counted(u64::try_from(count).unwrap_or(u64::MAX), parameters, report)?;
        let sequence = Sequence::Integers {
            start,
            step,
            factor: 1,
        };
        Some(Self::main_only(count, sequence))
    }

    /// AliEn: `production:first-last`. What depends on the files of a catalogue is one task.
    fn read_alien(ad: &Ad, report: &mut Report) -> Option<Self> {
        let split = ad.get("Split")?;
        let value = eval(split, ad, None);
        let text = value.as_str().unwrap_or_default().trim();
        if let Some(arguments) = ad.get("SplitArguments")
            && listed(arguments, ad).is_some_and(|listed| listed.is_ok_and(|all| all.len() > 1))
        {
            report.error_with(
                arguments.span(),
                "several `SplitArguments` are not possible",
                "make a job of each, or a collection",
            );
            return None;
        }
        let Some((kind, range)) = text.split_once(':') else {
            report.notice(
                split.span(),
                format!("a job that is split by `{text:.40}` is one task"),
                "there is no catalogue that says which files there are; split it by `production:1-10`",
            );
            return None;
        };
        let (first, last) = range.split_once('-').unwrap_or(("1", range));
        let bounds = (first.trim().parse::<i64>(), last.trim().parse::<i64>());
        let (true, (Ok(first), Ok(last))) =
            (kind.trim().eq_ignore_ascii_case("production"), bounds)
        else {
            let help = "write `Split = \"production:1-10\";`";
            report.error_with(split.span(), "this is not a way to split a job", help);
            return None;
        };
        let count = (i128::from(last) - i128::from(first) + 1).max(0);
        let count = counted(u64::try_from(count).unwrap_or(u64::MAX), split, report)?;
        let sequence = Sequence::Integers {
            start: first,
            step: 1,
            factor: 1,
        };
        Some(Self::main_only(count, sequence))
    }

    fn main_only(count: u32, main: Sequence) -> Self {
        Self {
            count,
            main: Some(main),
            named: Vec::new(),
        }
    }

    /// DIRAC: `Parameters` is a count or a list; `Parameters.X`, `ParameterStart.X`
    /// and so on make further sequences. All have the same length.
    fn read_dirac(ad: &Ad, report: &mut Report) -> Option<Self> {
        let names = sequence_names(ad);
        let parameters = ad.get("Parameters");
        if parameters.is_none()
            && !names
                .iter()
                .any(|name| ad.get(&keyed("Parameters", name)).is_some())
        {
            return None;
        }
        let mut lists: Vec<(Option<String>, Span, Vec<Arc<str>>)> = Vec::new();
        let mut count: Option<(u64, &Expr)> = None;
        let suffixes = std::iter::once(None).chain(names.iter().cloned().map(Some));
        for suffix in suffixes.clone() {
            let key = suffix
                .as_ref()
                .map_or("Parameters".into(), |name| keyed("Parameters", name));
            let Some(expr) = ad.get(&key) else { continue };
            let length = match listed(expr, ad) {
                Some(values) => {
                    let values = values.map_err(|span| not_a_value(span, report)).ok()?;
                    let length = values.len() as u64;
                    lists.push((suffix, expr.span(), values));
                    length
                }
                None => u64::try_from(integer(ad, &key, None, report)?).unwrap_or(0),
            };
            match count {
                Some((other, _)) if other != length => {
                    report.error_with(
                        expr.span(),
                        format!("`{key}` gives {length} values, but there are {other} before it"),
                        "all parameters need the same number of values",
                    );
                    return None;
                }
                _ => count = Some((length, expr)),
            }
        }
        let (length, expr) = count?;
        let count = counted(length, expr, report)?;
        let mut result = Self {
            count,
            main: None,
            named: Vec::new(),
        };
        for suffix in suffixes {
            let at = lists.iter().position(|(name, ..)| *name == suffix);
            let sequence = match at {
                Some(at) => Sequence::List(lists.swap_remove(at).2.into()),
                None if suffix.is_none() && parameters.is_none() => continue,
                None => progression(ad, suffix.as_deref(), report)?,
            };
            check_last(&sequence, count, expr.span(), report)?;
            match suffix {
                Some(name) => result.named.push((name, sequence)),
                None => result.main = Some(sequence),
            }
        }
        Some(result)
    }
}

fn keyed(key: &str, suffix: &str) -> String {
    format!("{key}.{suffix}")
}

/// The `X` of every `Parameters.X`, `ParameterStart.X` …
fn sequence_names(ad: &Ad) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (key, _) in ad.iter() {
        if let Some(name) = sequence_name(key)
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

pub(super) fn sequence_name(key: &str) -> Option<&str> {
    let (stem, name) = key.split_once('.')?;
    [
        "Parameters",
        "ParameterStart",
        "ParameterStep",
        "ParameterFactor",
    ]
    .iter()
    .any(|known| known.eq_ignore_ascii_case(stem))
    .then_some(name)
}

fn progression(ad: &Ad, suffix: Option<&str>, report: &mut Report) -> Option<Sequence> {
    let mut part = |key: &str, default: i64| {
        let key = suffix.map_or_else(|| key.to_owned(), |name| keyed(key, name));
        number(ad, &key, Some(default), report)
    };
    let parts = (
        part("ParameterStart", 1)?,
        part("ParameterStep", 0)?,
        part("ParameterFactor", 1)?,
    );
    Some(match parts {
        (Value::Integer(start), Value::Integer(step), Value::Integer(factor)) => {
            Sequence::Integers {
                start,
                step,
                factor,
            }
        }
        (start, step, factor) => Sequence::Reals {
            start: start.as_f64()?,
            step: step.as_f64()?,
            factor: factor.as_f64()?,
        },
    })
}

/// Sequences grow away from zero, so the last value tells whether all fit.
fn check_last(sequence: &Sequence, count: u32, span: Span, report: &mut Report) -> Option<()> {
    if sequence.value(count - 1).is_none() {
        report.error_with(
            span,
            "the parameter's values become too large",
            "use fewer tasks or a smaller `ParameterFactor`",
        );
        return None;
    }
    Some(())
}

fn counted(count: u64, expr: &Expr, report: &mut Report) -> Option<u32> {
    match u32::try_from(count) {
        Ok(0) => {
            let help = "give at least one value";
            report.error_with(
                expr.span(),
                "there is no value here: the job has no task",
                help,
            );
            None
        }
        Ok(count) if count <= TASKS_MAX => Some(count),
        _ => {
            report.error_with(
                expr.span(),
                format!("the job would have {count} tasks"),
                format!("a job may have {TASKS_MAX}; split it into several"),
            );
            None
        }
    }
}

fn not_a_value(span: Span, report: &mut Report) {
    report.error_with(
        span,
        "this is not a value for a parameter",
        "list texts or numbers: `Parameters = { \"a\", \"b\" };`",
    );
}

/// The items of a list as texts, or the place of one that is none. `None` if
/// `expr` is no list.
fn listed(expr: &Expr, ad: &Ad) -> Option<Result<Vec<Arc<str>>, Span>> {
    let Node::List(items) = expr.node() else {
        return None;
    };
    let text = |item: &Expr| match eval(item, ad, None) {
        Value::String(text) => Ok(text),
        value @ (Value::Integer(_) | Value::Real(_) | Value::Boolean(_)) => {
            Ok(value.to_string().into())
        }
        _ => Err(item.span()),
    };
    Some(items.iter().map(text).collect())
}

fn integer(ad: &Ad, key: &str, default: Option<i64>, report: &mut Report) -> Option<i64> {
    match number(ad, key, default, report)? {
        Value::Integer(number) => Some(number),
        value => {
            let place = ad.get(key).map(Expr::span);
            let help = "write a whole number";
            report.error_with(
                place,
                format!("`{key}` must be an integer, not {value}"),
                help,
            );
            None
        }
    }
}

/// A number, also one in quotes.
fn number(ad: &Ad, key: &str, default: Option<i64>, report: &mut Report) -> Option<Value> {
    let Some(expr) = ad.get(key) else {
        return default.map(Value::Integer);
    };
    let found = eval(expr, ad, None);
    let number = match &found {
        Value::Integer(_) => Some(found.clone()),
        Value::Real(number) if number.is_finite() => Some(found.clone()),
        Value::String(text) => {
            let integer = text.trim().parse().map(Value::Integer);
            let real = text.trim().parse::<f64>();
            integer
                .ok()
                .or(real.ok().filter(|n| n.is_finite()).map(Value::Real))
        }
        _ => None,
    };
    if number.is_none() {
        report.error_with(
            expr.span(),
            format!("`{key}` must be a number, not {found}"),
            "write a number without quotes; values are listed: `Parameters = { \"a\", \"b\" };`",
        );
    }
    number
}
