//! Whose manners a text follows, and how that is seen.

use super::attributes::{Attribute, Origin};
use super::parameters::{self, GLITE_MARK};
use crate::syntax::Node;
use crate::{Ad, Expr, Value};

/// Whose manners a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// gLite WMS.
    Glite,
    /// DIRAC.
    Dirac,
}

impl Dialect {
    /// Whose attributes and placeholders prevail in the ads of a text. Without any
    /// evidence: gLite.
    pub(super) fn of<'a>(ads: impl IntoIterator<Item = &'a Ad>) -> Self {
        let score: i32 = ads.into_iter().map(score).sum();
        if score > 0 { Self::Dirac } else { Self::Glite }
    }
}

/// Above zero: DIRAC; below: gLite.
fn score(ad: &Ad) -> i32 {
    let mut score = 0;
    for (name, expr) in ad.iter() {
        score += match Attribute::named(name).map(|attribute| attribute.origin) {
            Some(Origin::Glite) if !["Type", "Name"].contains(&name) => -1,
            Some(Origin::Dirac) => 1,
            _ if parameters::sequence_name(name).is_some() => 3,
            _ => 0,
        };
        if holds_text(expr, &|text| text.contains(GLITE_MARK)) {
            score -= 3;
        } else if holds_text(expr, &|text| has_percent_mark(text)) {
            score += 1;
        }
    }
    let says_parametric = job_types(ad).iter().any(|word| word == "parametric");
    if says_parametric {
        score -= 3;
    } else if ad.get("Parameters").is_some() {
        score += 2; // gLite asks for the job type
    }
    score
}

/// The words of `JobType`, in lower case.
pub(super) fn job_types(ad: &Ad) -> Vec<String> {
    let word = |expr: &Expr| Some(expr.literal()?.as_str()?.trim().to_ascii_lowercase());
    match ad.get("JobType") {
        Some(expr) => match expr.node() {
            Node::List(items) => items.iter().filter_map(word).collect(),
            _ => word(expr).into_iter().collect(),
        },
        None => Vec::new(),
    }
}

pub(super) fn has_percent_mark(text: &str) -> bool {
    ["%s", "%n", "%j"].iter().any(|mark| text.contains(mark))
        || text.contains("%(") && text.contains(")s")
}

/// Whether a text or name in the expression passes the test.
pub(super) fn holds_text(expr: &Expr, test: &impl Fn(&str) -> bool) -> bool {
    let here = match expr.node() {
        Node::Literal(Value::String(text)) => test(text),
        Node::Name(name) | Node::Absolute(name) | Node::Select(_, name) => test(&name.text),
        Node::Record(ad) => ad.iter().any(|(_, expr)| holds_text(expr, test)),
        _ => false,
    };
    here || expr
        .children()
        .into_iter()
        .any(|child| holds_text(child, test))
}
