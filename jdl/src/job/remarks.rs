//! Remarks on names: what is unknown, misspelt or not done yet.

use std::collections::HashSet;

use super::attributes::{self, Attribute, Status, attribute};
use super::{needs, parameters};
use crate::diagnostic::{Report, nearest};
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
        match attribute(name) {
            Some(attribute) => remark_on_known(attribute, expr, ad, report),
            None if report.is_crowded() => {}
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
    if let Status::NotDone(what) = attribute.status {
        let message = format!("`{name}` is read but not acted upon");
        report.notice(place, message, what);
    }
}

/// Attributes whose texts are names of others.
const LISTS_OF_NAMES: [&str; 2] = ["SignificantAttributes", "JDLVariables"];

/// The names (in lower case) that known attributes refer to, directly or by way of others.
fn used_names(ad: &Ad) -> HashSet<String> {
    let known = |name: &&str| attribute(name).is_some();
    let names = ad.iter().map(|(name, _)| name).filter(known);
    let listed = LISTS_OF_NAMES.iter().filter_map(|name| ad.get(name));
    let listed = listed.flat_map(|expr| match expr.node() {
        Node::List(items) => items.iter().collect(),
        _ => vec![expr],
    });
    let listed = listed.filter_map(|expr| expr.literal()?.as_str());
    let mut open: Vec<String> = names
        .chain(listed)
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
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
    nearest(name, attributes::all().map(|attribute| attribute.name))
}
