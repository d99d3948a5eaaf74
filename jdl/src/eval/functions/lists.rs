//! Lists, and what is asked of all their items.

use super::{AdRef, Call, Entry, Fault, Outcome, Val, entry, list_of};
use crate::eval::operators::{self, Number};
use crate::syntax::BinaryOp;

pub(super) const TABLE: &[Entry] = &[
    entry("size", 1, 1, size),
    entry("member", 2, 2, |c| member(c, BinaryOp::Equal)),
    entry("identicalmember", 2, 2, |c| member(c, BinaryOp::Is)),
    entry("anycompare", 3, 3, |c| compare(c, true)),
    entry("allcompare", 3, 3, |c| compare(c, false)),
    entry("sum", 1, 1, |c| Ok(numbers(c)?.sum().value())),
    entry("avg", 1, 1, avg),
    entry("min", 1, 1, |c| extreme(c, f64::min, i64::min)),
    entry("max", 1, 1, |c| extreme(c, f64::max, i64::max)),
    entry("countmatches", 2, 2, count_matches),
    entry("evalineachcontext", 2, 2, eval_in_each_context),
    entry("fqanmember", 2, 2, fqan_member),
];

/// Items of a list, attributes of an ad, bytes of a text.
fn size<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let size = match call.known(0)? {
        Val::List(items) => items.len(),
        Val::Ad(AdRef::Scope(ad, _)) => ad.len(),
        Val::Ad(AdRef::Known(ad)) => ad.len(),
        Val::Text(text) => text.len(),
        _ => return Err(Fault::Error),
    };
    Ok(Val::Int(size as i64))
}

fn member<'a>(call: &Call<'_, 'a>, op: BinaryOp) -> Outcome<'a> {
    let (item, items) = (call.known(0)?, call.list(1)?);
    if matches!(item, Val::List(_) | Val::Ad(_)) {
        return Err(Fault::Error);
    }
    let found = call
        .items(&items)
        .any(|other| matches!(operators::binary(op, item.clone(), other), Val::Bool(true)));
    Ok(Val::Bool(found))
}

/// `anyCompare("<", list, value)`: whether the comparison holds for some item
/// (with `any`) or for every one.
fn compare<'a>(call: &Call<'_, 'a>, any: bool) -> Outcome<'a> {
    let op = match &*call.text(0)? {
        "<" => BinaryOp::Less,
        "<=" => BinaryOp::LessEqual,
        ">" => BinaryOp::Greater,
        ">=" => BinaryOp::GreaterEqual,
        "==" => BinaryOp::Equal,
        "!=" => BinaryOp::NotEqual,
        "is" | "=?=" => BinaryOp::Is,
        "isnt" | "=!=" => BinaryOp::IsNot,
        _ => return Err(Fault::Error),
    };
    let (items, value) = (call.list(1)?, call.value(2));
    let mut holds = call
        .items(&items)
        .map(|item| matches!(operators::binary(op, item, value.clone()), Val::Bool(true)));
    Ok(Val::Bool(if any {
        holds.any(|holds| holds)
    } else {
        holds.all(|holds| holds)
    }))
}

struct Numbers(Vec<Number>);

/// The numbers of a list; items that are UNDEFINED are left out.
fn numbers(call: &Call<'_, '_>) -> Result<Numbers, Fault> {
    let items = call.list(0)?;
    let mut numbers = Vec::new();
    for item in call.items(&items) {
        if !matches!(item, Val::Undefined) {
            numbers.push(Number::of(&item).ok_or(Fault::Error)?);
        }
    }
    Ok(Numbers(numbers))
}

impl Numbers {
    /// All as integers, if all are.
    fn integers(&self) -> Option<Vec<i64>> {
        self.0
            .iter()
            .map(|number| match number {
                Number::Int(number) => Some(*number),
                Number::Real(_) => None,
            })
            .collect()
    }

    fn sum(&self) -> Number {
        match self.integers() {
            Some(all) => Number::Int(all.into_iter().fold(0, i64::wrapping_add)),
            None => Number::Real(self.0.iter().map(|number| number.real()).sum()),
        }
    }
}

fn avg<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let numbers = numbers(call)?;
    if numbers.0.is_empty() {
        return Ok(Val::Int(0));
    }
    Ok(Val::Real(numbers.sum().real() / numbers.0.len() as f64))
}

fn extreme<'a>(
    call: &Call<'_, 'a>,
    real: fn(f64, f64) -> f64,
    int: fn(i64, i64) -> i64,
) -> Outcome<'a> {
    let numbers = numbers(call)?;
    let result = match numbers.integers() {
        Some(all) => all.into_iter().reduce(int).map(Number::Int),
        None => {
            let all = numbers.0.iter().map(|number| number.real());
            all.reduce(real).map(Number::Real)
        }
    };
    result.map(Number::value).ok_or(Fault::Undefined)
}

/// For how many ads of a list an expression is true, looked at from inside of each.
fn count_matches<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let items = match call.list(1) {
        Err(Fault::Undefined) => return Ok(Val::Int(0)),
        items => items?,
    };
    let count = call
        .items(&items)
        .filter(|item| matches!(inside(call, item).truth(), Ok(true)))
        .count();
    Ok(Val::Int(count as i64))
}

/// The values of an expression, looked at from inside of each ad of a list.
fn eval_in_each_context<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let items = call.list(1)?;
    let values: Vec<_> = call
        .items(&items)
        .map(|item| call.evaluator.finish(inside(call, &item)))
        .collect();
    Ok(list_of(values))
}

fn inside<'a>(call: &Call<'_, 'a>, ad: &Val<'a>) -> Val<'a> {
    // What the expression is may be told by a name.
    let expr = call.evaluator.definition(&call.arguments[0], call.scope);
    match ad {
        Val::Ad(AdRef::Scope(_, scope)) => call.evaluator.eval(expr, *scope),
        Val::Ad(AdRef::Known(ad)) => call.evaluator.eval_apart(expr, Some(ad), call.scope),
        Val::Undefined => Val::Undefined,
        _ => Val::Error,
    }
}

/// gLite's `FQANmember`: whether a VOMS name is in a list. A name covers the same
/// group without a role and capability (`/Role=NULL`, `/Capability=NULL` say "none").
fn fqan_member<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (name, items) = (call.text(0)?, call.list(1)?);
    let name = bare_fqan(&name);
    for item in call.items(&items) {
        match item {
            Val::Text(other) if bare_fqan(&other) == name => return Ok(Val::Bool(true)),
            Val::Text(_) | Val::Undefined => {}
            _ => return Err(Fault::Error),
        }
    }
    Ok(Val::Bool(false))
}

fn bare_fqan(name: &str) -> &str {
    let name = name.strip_suffix("/Capability=NULL").unwrap_or(name);
    name.strip_suffix("/Role=NULL").unwrap_or(name)
}
