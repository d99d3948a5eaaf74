//! Remarks on names: what is unknown, misspelt or not done yet.

use std::collections::HashSet;

use super::attributes::{ATTRIBUTES, Attribute};
use super::{needs, parameters};
use crate::diagnostic::Report;
use crate::syntax::Node;
use crate::{Ad, Expr, Value};

/// Remarks on the attributes of `own`, which is a part of `ad` or the whole of it.
pub(super) fn remark_on_names(own: &Ad, ad: &Ad, report: &mut Report) {
    let used = used_names(ad);
    for (name, expr) in own.iter() {
        if parameters::sequence_name(name).is_some() {
            continue;
        }
        let place = ad.name_span(name);
        match Attribute::named(name) {
            Some(attribute) => remark_on_known(attribute, expr, ad, report),
            None if used.contains(&name.to_ascii_lowercase()) => {}
            None => {
                let help = match suggestion(name) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "it is kept, and means nothing: no other attribute uses it".into(),
                };
                report.warn(place, format!("`{name}` is not a known attribute"), help);
            }
        }
    }
}

fn remark_on_known(attribute: &Attribute, expr: &Expr, ad: &Ad, report: &mut Report) {
    let place = ad.name_span(attribute.name);
    let is_empty = match (expr.literal(), expr.node()) {
        (Some(Value::String(text)), _) => text.trim().is_empty(),
        (Some(Value::Boolean(truth)), _) => !truth,
        (_, Node::List(items)) => items.is_empty(),
        _ => false,
    };
    if is_empty {
        return;
    }
    let name = attribute.name;
    if let Some(not_yet) = attribute.not_yet {
        let message = format!("`{name}` is read but not acted upon");
        report.notice(place, message, format!("for now, {not_yet}"));
    }
    if name == "OutputData" {
        let help = "name the files in `OutputSandbox` too; the server keeps them";
        report.notice(place, "`OutputData` is not stored as data yet", help);
    }
}

/// The names (in lower case) that known attributes refer to, directly or by way of others.
fn used_names(ad: &Ad) -> HashSet<String> {
    let known = |name: &&str| Attribute::named(name).is_some();
    let names = ad.iter().map(|(name, _)| name).filter(known);
    let mut open: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    let mut used = HashSet::new();
    while let Some(name) = open.pop() {
        if let Some(expr) = ad.find(&name)
            && used.insert(name)
        {
            open.extend(needs::names(expr, ad));
        }
    }
    used
}

/// The known attribute that a name is probably meant to be.
fn suggestion(name: &str) -> Option<&'static str> {
    nearest(name, ATTRIBUTES.iter().map(|attribute| attribute.name))
}

/// The one of `known` that a name is probably meant to be; names do not distinguish case.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_ascii_lowercase();
    let distance_max = match name.len() {
        0..=3 => return None,
        4..=7 => 1,
        8..=64 => 2,
        _ => return None,
    };
    known
        .map(|known| (edit_distance(&name, &known.to_ascii_lowercase()), known))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance of two short texts, by bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
