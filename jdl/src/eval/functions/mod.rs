//! The built-in functions, one file per family. A family is a table of names and
//! Rust functions; to add one, write it and put it into its table.
//!
//! What takes a text takes UNDEFINED too and gives it back; a wrong type or a
//! wrong number of arguments is ERROR.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::{AdRef, Evaluator, Fault, Items, Scope, Val};
use crate::diagnostic::nearest;
use crate::syntax::fold;
use crate::syntax::print::{self, Style::Compact};
use crate::{Expr, Value};

pub(crate) mod calendar;
mod environment;
mod lists;
mod numbers;
mod references;
mod regexes;
mod string_lists;
mod strings;
mod time;
mod types;
mod versions;

type Outcome<'a> = Result<Val<'a>, Fault>;

/// A row of a family's table: the name, the fewest and the most arguments.
pub(crate) struct Entry {
    name: &'static str,
    arguments_min: usize,
    arguments_max: usize,
    run: for<'a> fn(&Call<'_, 'a>) -> Outcome<'a>,
}

const fn entry(
    name: &'static str,
    arguments_min: usize,
    arguments_max: usize,
    run: for<'a> fn(&Call<'_, 'a>) -> Outcome<'a>,
) -> Entry {
    Entry {
        name,
        arguments_min,
        arguments_max,
        run,
    }
}

const ANY: usize = usize::MAX;

/// Each family with what it is about.
pub(super) const FAMILIES: [(&str, &[Entry]); 10] = [
    ("types and conversions", types::TABLE),
    ("references", references::TABLE),
    ("texts", strings::TABLE),
    ("regular expressions", regexes::TABLE),
    ("lists in a text", string_lists::TABLE),
    ("lists and ads", lists::TABLE),
    ("numbers", numbers::TABLE),
    ("times", time::TABLE),
    ("versions", versions::TABLE),
    ("surroundings", environment::TABLE),
];

/// By their names in lower case.
static BY_NAME: LazyLock<HashMap<String, &'static Entry, foldhash::fast::RandomState>> =
    LazyLock::new(|| {
        let all = FAMILIES.into_iter().flat_map(|(_, family)| family);
        all.map(|entry| (entry.name.to_ascii_lowercase(), entry))
            .collect()
    });

/// A function that is known by its name.
#[derive(Clone, Copy)]
pub(crate) struct Function(&'static Entry);

impl Function {
    pub(crate) fn named(name: &str) -> Option<Self> {
        BY_NAME.get(&*fold(name)).copied().map(Self)
    }

    /// The function whose name is nearly this one.
    pub(crate) fn like(name: &str) -> Option<&'static str> {
        nearest(name, Self::names())
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.name
    }

    /// The names of all functions, as they are usually written.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        let all = FAMILIES.into_iter().flat_map(|(_, family)| family);
        all.map(|entry| entry.name)
    }

    /// Whether it may be called with so many arguments.
    pub(crate) fn takes(self, count: usize) -> bool {
        (self.0.arguments_min..=self.0.arguments_max).contains(&count)
    }

    /// The function of a row.
    pub(super) fn of(entry: &'static Entry) -> Self {
        Self(entry)
    }

    /// How many arguments it takes, in figures: `2`, `1–3`, `1–`.
    pub(super) fn arity_short(self) -> String {
        match (self.0.arguments_min, self.0.arguments_max) {
            (min, ANY) => format!("{min}–"),
            (min, max) if min == max => min.to_string(),
            (min, max) => format!("{min}–{max}"),
        }
    }

    /// How many arguments it takes, in words.
    pub(crate) fn arity(self) -> String {
        let (min, max) = (self.0.arguments_min, self.0.arguments_max);
        let plural = if max == 1 { "" } else { "s" };
        match max {
            ANY => format!("at least {min} arguments"),
            _ if min == max => format!("{max} argument{plural}"),
            _ => format!("{min} to {max} arguments"),
        }
    }

    pub(crate) fn call<'a>(
        self,
        evaluator: &Evaluator<'a>,
        arguments: &'a [Expr],
        scope: Scope,
    ) -> Val<'a> {
        if !self.takes(arguments.len()) {
            return Val::Error;
        }
        let call = Call {
            evaluator,
            arguments,
            scope,
        };
        match (self.0.run)(&call) {
            Ok(value) if evaluator.spend_on(&value) => value,
            Ok(_) => Val::Error,
            Err(fault) => fault.into(),
        }
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// A call with its arguments, evaluated when they are asked for.
pub(crate) struct Call<'e, 'a> {
    evaluator: &'e Evaluator<'a>,
    arguments: &'a [Expr],
    scope: Scope,
}

impl<'a> Call<'_, 'a> {
    fn len(&self) -> usize {
        self.arguments.len()
    }

    /// The argument `i`; UNDEFINED if there are not so many.
    fn value(&self, i: usize) -> Val<'a> {
        let Some(expr) = self.arguments.get(i) else {
            return Val::Undefined;
        };
        let value = self.evaluator.eval(expr, self.scope);
        if self.evaluator.spend_on(&value) {
            value
        } else {
            Val::Error
        }
    }

    /// As `value`, where UNDEFINED and ERROR end the call.
    fn known(&self, i: usize) -> Outcome<'a> {
        match self.value(i) {
            Val::Undefined => Err(Fault::Undefined),
            Val::Error => Err(Fault::Error),
            value => Ok(value),
        }
    }

    fn text(&self, i: usize) -> Result<Cow<'a, str>, Fault> {
        match self.known(i)? {
            Val::Text(text) => Ok(text),
            _ => Err(Fault::Error),
        }
    }

    /// A text where nothing else will do, not even UNDEFINED.
    fn only_text(&self, i: usize) -> Result<Cow<'a, str>, Fault> {
        match self.value(i) {
            Val::Text(text) => Ok(text),
            _ => Err(Fault::Error),
        }
    }

    /// Any value, written as text.
    fn any_text(&self, i: usize) -> Result<Cow<'a, str>, Fault> {
        self.written(self.known(i)?)
    }

    fn written(&self, value: Val<'a>) -> Result<Cow<'a, str>, Fault> {
        match value {
            Val::Undefined => Err(Fault::Undefined),
            Val::Error => Err(Fault::Error),
            Val::Text(text) => Ok(text),
            // What is in a list or an ad is written as it stands there, not evaluated.
            Val::List(Items::Lazy(exprs, _)) => limited(print::Printed(exprs, Compact)),
            Val::Ad(AdRef::Scope(ad, _)) => limited(print::Printed(ad, Compact)),
            value => Ok(Cow::Owned(classic(&self.evaluator.finish(value)))),
        }
    }

    /// The arguments as the library looks at those of most text functions: an ERROR
    /// among them first, then an UNDEFINED, whatever the others are.
    fn errors_first(&self) -> Result<Vec<Val<'a>>, Fault> {
        let values = self.values();
        check(&values, Fault::Error)?;
        check(&values, Fault::Undefined)?;
        Ok(values)
    }

    /// As `errors_first`, but an UNDEFINED is looked for first.
    fn undefined_first(&self) -> Result<Vec<Val<'a>>, Fault> {
        let values = self.values();
        check(&values, Fault::Undefined)?;
        check(&values, Fault::Error)?;
        Ok(values)
    }

    fn values(&self) -> Vec<Val<'a>> {
        (0..self.len()).map(|i| self.value(i)).collect()
    }

    fn list(&self, i: usize) -> Result<Items<'a>, Fault> {
        match self.known(i)? {
            Val::List(items) => Ok(items),
            _ => Err(Fault::Error),
        }
    }

    fn items(&self, items: &Items<'a>) -> impl Iterator<Item = Val<'a>> {
        (0..items.len()).map(|i| self.evaluator.item(items, i))
    }
}

fn check(values: &[Val<'_>], fault: Fault) -> Result<(), Fault> {
    let found = values.iter().any(|value| match fault {
        Fault::Undefined => matches!(value, Val::Undefined),
        Fault::Error => matches!(value, Val::Error),
    });
    if found { Err(fault) } else { Ok(()) }
}

/// The text of one of the `values`.
fn text_of<'v>(values: &'v [Val<'_>], i: usize) -> Result<&'v str, Fault> {
    match values.get(i) {
        Some(Val::Text(text)) => Ok(text),
        _ => Err(Fault::Error),
    }
}

/// As `text_of`, for one that may be left out.
fn text_or<'v>(values: &'v [Val<'_>], i: usize, default: &'v str) -> Result<&'v str, Fault> {
    if i < values.len() {
        text_of(values, i)
    } else {
        Ok(default)
    }
}

/// What is printed, if it is not too long. Stops printing there.
fn limited<'a>(printed: impl std::fmt::Display) -> Result<Cow<'a, str>, Fault> {
    struct Limited(String);
    impl std::fmt::Write for Limited {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            if self.0.len() + part.len() > super::TEXT_BYTES_MAX {
                return Err(std::fmt::Error);
            }
            self.0.push_str(part);
            Ok(())
        }
    }
    let mut text = Limited(String::new());
    match std::fmt::write(&mut text, format_args!("{printed}")) {
        Ok(()) => Ok(Cow::Owned(text.0)),
        Err(_) => Err(Fault::Error),
    }
}

fn made<'a>(text: String) -> Outcome<'a> {
    if text.len() > super::TEXT_BYTES_MAX {
        return Err(Fault::Error);
    }
    Ok(Val::Text(Cow::Owned(text)))
}

fn list_of<'a>(values: impl IntoIterator<Item = Value>) -> Val<'a> {
    Val::List(Items::Known(values.into_iter().collect()))
}

/// A value as the library writes it into texts: strings and times bare.
fn classic(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::AbsTime { seconds, offset } => calendar::rfc3339(*seconds, *offset),
        Value::RelTime(seconds) => calendar::span_text(*seconds),
        value => print::Printed(value, Compact).to_string(),
    }
}
