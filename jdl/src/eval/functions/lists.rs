//! Lists, and what is asked of all their items.

use super::{AdRef, Call, Entry, Fault, Items, Outcome, Val, entry, list_of};
use crate::Value;
use crate::eval::operators::{self, Number};
use crate::syntax::BinaryOp;

pub(super) const TABLE: &[Entry] = &[
    entry("size", 1, 1, size),
    entry("member", 2, 2, member),
    entry("identicalMember", 2, 2, identical_member),
    entry("anyCompare", 3, 3, |c| compare(c, true)),
    entry("allCompare", 3, 3, |c| compare(c, false)),
    entry("sum", 1, 1, |c| fold(c, Fold::Sum)),
    entry("avg", 1, 1, |c| fold(c, Fold::Avg)),
    entry("min", 1, 1, |c| fold(c, Fold::Min)),
    entry("max", 1, 1, |c| fold(c, Fold::Max)),
    entry("countMatches", 2, 2, count_matches),
    entry("evalInEachContext", 2, 2, eval_in_each_context),
    entry("FQANMember", 2, 2, fqan_member),
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

fn member<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (wanted, list) = (call.value(0), call.value(1));
    match (&wanted, &list) {
        (Val::Undefined, _) | (_, Val::Undefined) => Err(Fault::Undefined),
        (Val::Error, _) => Err(Fault::Error),
        _ => find(call, &wanted, &list, BinaryOp::Equal),
    }
}

/// Whether an item of a list is the same; also finds UNDEFINED and ERROR.
fn identical_member<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (wanted, list) = (call.value(0), call.value(1));
    match list {
        Val::Undefined => Err(Fault::Undefined),
        list => find(call, &wanted, &list, BinaryOp::Is),
    }
}

fn find<'a>(call: &Call<'_, 'a>, wanted: &Val<'a>, list: &Val<'a>, op: BinaryOp) -> Outcome<'a> {
    let Val::List(items) = list else {
        return Err(Fault::Error);
    };
    if matches!(wanted, Val::List(_) | Val::Ad(_)) {
        return Err(Fault::Error);
    }
    let is_it = |item: &Val<'a>| matches!(operators::binary(op, item, wanted), Val::Bool(true));
    let found = match (items, wanted) {
        // What sites publish: a long list of texts, looked through without evaluating them.
        (Items::Lazy(exprs, scope), Val::Text(wanted)) => {
            exprs.iter().any(|expr| match expr.literal() {
                Some(Value::String(item)) if op == BinaryOp::Is => **item == **wanted,
                Some(Value::String(item)) => item.eq_ignore_ascii_case(wanted),
                _ => is_it(&call.evaluator.eval(expr, *scope)),
            })
        }
        _ => call.items(items).any(|item| is_it(&item)),
    };
    Ok(Val::Bool(found))
}

/// `anyCompare("<", list, value)`: whether the comparison holds for some item (with
/// `any`) or for every one. One that is unknown settles it: it does not hold.
fn compare<'a>(call: &Call<'_, 'a>, any: bool) -> Outcome<'a> {
    let op = match &*call.text(0)? {
        "<" => BinaryOp::Less,
        "<=" => BinaryOp::LessEqual,
        ">" => BinaryOp::Greater,
        ">=" => BinaryOp::GreaterEqual,
        "==" => BinaryOp::Equal,
        "!=" => BinaryOp::NotEqual,
        "is" => BinaryOp::Is,
        "isnt" => BinaryOp::IsNot,
        _ => return Err(Fault::Error),
    };
    let (items, value) = (call.list(1)?, call.value(2));
    for item in call.items(&items) {
        match operators::binary(op, &item, &value) {
            Val::Bool(holds) if holds == any => return Ok(Val::Bool(any)),
            Val::Bool(_) => {}
            Val::Undefined => return Ok(Val::Bool(false)),
            _ => return Err(Fault::Error),
        }
    }
    Ok(Val::Bool(!any))
}

/// What is made of the numbers of a list, or of a text that lists them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Sum,
    Avg,
    Min,
    Max,
}

/// Items that are UNDEFINED are left out; a single one is handed out as it is. The
/// result is an integer if all are.
fn fold<'a>(call: &Call<'_, 'a>, fold: Fold) -> Outcome<'a> {
    let items = call.list(0)?;
    let mut numbers = Vec::new();
    let mut single = Val::Undefined;
    for item in call.items(&items) {
        if !matches!(item, Val::Undefined) {
            numbers.push(Number::of(&item).ok_or(Fault::Error)?);
            single = item;
        }
    }
    match (numbers.len(), fold) {
        (0, Fold::Sum | Fold::Avg) => return Ok(Val::Int(0)),
        (0 | 1, Fold::Sum | Fold::Min | Fold::Max) => return Ok(single),
        _ => {}
    }
    let count = numbers.len() as f64;
    let whole: Option<Vec<i64>> = numbers.iter().map(|number| number.integer()).collect();
    let reals = numbers.iter().map(|number| number.real());
    let result = match (whole, fold) {
        (Some(all), Fold::Sum) => Some(Number::Int(all.into_iter().fold(0, i64::wrapping_add))),
        (Some(all), Fold::Avg) => {
            let sum = all.into_iter().fold(0, i64::wrapping_add);
            Some(Number::Real(sum as f64 / count))
        }
        (Some(all), Fold::Min) => all.into_iter().min().map(Number::Int),
        (Some(all), Fold::Max) => all.into_iter().max().map(Number::Int),
        (None, Fold::Sum) => Some(Number::Real(reals.sum())),
        (None, Fold::Avg) => Some(Number::Real(reals.sum::<f64>() / count)),
        (None, Fold::Min) => reals.reduce(f64::min).map(Number::Real),
        (None, Fold::Max) => reals.reduce(f64::max).map(Number::Real),
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
