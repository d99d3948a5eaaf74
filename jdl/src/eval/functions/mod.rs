//! The built-in functions, one file per family. A family is a table of names and
//! Rust functions; to add one, write it and put it into its table.
//!
//! What takes a text takes UNDEFINED too and gives it back; a wrong type or a
//! wrong number of arguments is ERROR.

use std::borrow::Cow;

use super::{AdRef, Evaluator, Fault, Items, Scope, Val};
use crate::eval::operators::Number;
use crate::{Expr, Value};

mod environment;
mod lists;
mod numbers;
mod regexes;
mod string_lists;
mod strings;
pub(crate) mod time;
mod types;
mod versions;

type Outcome<'a> = Result<Val<'a>, Fault>;

/// A row of a family's table: the name in lower case, the fewest and the most arguments.
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

const FAMILIES: [&[Entry]; 9] = [
    types::TABLE,
    strings::TABLE,
    regexes::TABLE,
    string_lists::TABLE,
    lists::TABLE,
    numbers::TABLE,
    time::TABLE,
    versions::TABLE,
    environment::TABLE,
];

/// A function that is known by its name.
#[derive(Clone, Copy)]
pub(crate) struct Function(&'static Entry);

impl Function {
    pub(crate) fn named(name: &str) -> Option<Self> {
        FAMILIES
            .into_iter()
            .flatten()
            .find(|entry| entry.name.eq_ignore_ascii_case(name))
            .map(Self)
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.name
    }

    pub(crate) fn call<'a>(
        self,
        evaluator: &Evaluator<'a>,
        arguments: &'a [Expr],
        scope: Scope,
    ) -> Val<'a> {
        if !(self.0.arguments_min..=self.0.arguments_max).contains(&arguments.len()) {
            return Val::Error;
        }
        let call = Call {
            evaluator,
            arguments,
            scope,
        };
        (self.0.run)(&call).unwrap_or_else(Val::from)
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
        match self.arguments.get(i) {
            Some(expr) => self.evaluator.eval(expr, self.scope),
            None => Val::Undefined,
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

    /// A text argument that may be left out.
    fn text_or(&self, i: usize, default: &'a str) -> Result<Cow<'a, str>, Fault> {
        if i < self.len() {
            self.text(i)
        } else {
            Ok(Cow::Borrowed(default))
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
            value => Ok(Cow::Owned(classic(&self.evaluator.finish(value)))),
        }
    }

    fn int(&self, i: usize) -> Result<i64, Fault> {
        match self.known(i)? {
            Val::Int(number) => Ok(number),
            _ => Err(Fault::Error),
        }
    }

    fn number(&self, i: usize) -> Result<Number, Fault> {
        Number::of(&self.known(i)?).ok_or(Fault::Error)
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

fn made<'a>(text: String) -> Outcome<'a> {
    if text.len() > super::TEXT_BYTES_MAX {
        return Err(Fault::Error);
    }
    Ok(Val::Text(Cow::Owned(text)))
}

fn list_of<'a>(values: impl IntoIterator<Item = Value>) -> Val<'a> {
    Val::List(Items::Known(values.into_iter().collect()))
}

/// A value as the library writes it into texts: reals with an exponent, times bare.
fn classic(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::Real(number) => classic_real(*number),
        Value::AbsTime { seconds, offset } => time::rfc3339(*seconds, *offset),
        Value::RelTime(seconds) => time::span_text(*seconds),
        Value::List(items) if !items.is_empty() => {
            let items: Vec<String> = items.iter().map(classic_item).collect();
            format!("{{ {} }}", items.join(","))
        }
        value => value.to_string(),
    }
}

fn classic_item(value: &Value) -> String {
    match value {
        Value::Real(_) | Value::List(_) => classic(value),
        value => value.to_string(),
    }
}

/// Sixteen digits and an exponent of at least two, as C's `%1.15E` has it.
fn classic_real(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return Value::Real(number).to_string();
    }
    let text = format!("{number:.15E}");
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}E{sign}{digits:0>2}")
}
