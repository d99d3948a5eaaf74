//! Whose manners a text follows, and how that is seen.

use std::fmt;

use super::attributes::attribute;
use super::parameters::{self, ALIEN_MARK, GLITE_MARK};
use crate::syntax::Node;
use crate::{Ad, Expr, Value};

/// Most reasons that are told.
const REASONS_TOLD_MAX: usize = 4;

/// Whose manners a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// gLite WMS.
    Glite,
    /// DIRAC.
    Dirac,
    /// AliEn.
    Alien,
}

/// The types of jobs of gLite; DIRAC takes any word.
const GLITE_TYPES: [&str; 7] = [
    "",
    "normal",
    "parametric",
    "interactive",
    "checkpointable",
    "partitionable",
    "mpich",
];

/// All, the likeliest first where nothing tells.
const DIALECTS: [Dialect; 3] = [Dialect::Glite, Dialect::Dirac, Dialect::Alien];

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glite => "gLite",
            Self::Dirac => "DIRAC",
            Self::Alien => "AliEn",
        })
    }
}

/// What speaks for each dialect.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// In the order of [`DIALECTS`].
    scores: [u32; 3],
    reasons: Vec<(Dialect, String)>,
}

impl Evidence {
    /// From the attributes and placeholders of the ads of a text.
    pub(super) fn of<'a>(ads: impl IntoIterator<Item = &'a Ad>) -> Self {
        let mut evidence = Self::default();
        for ad in ads {
            evidence.look_at(ad);
        }
        evidence
    }

    /// The dialect that most speaks for, and why it is that one.
    pub(super) fn verdict(self) -> (Dialect, String) {
        let mut best = (Dialect::Glite, 0);
        for (dialect, score) in DIALECTS.into_iter().zip(self.scores) {
            if score > best.1 {
                best = (dialect, score);
            }
        }
        let (dialect, score) = best;
        if score == 0 {
            return (dialect, "nothing tells whose manners it follows".into());
        }
        let mut reasons: Vec<String> = Vec::new();
        for (of, reason) in self.reasons {
            if of == dialect && !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        let more = reasons.len().saturating_sub(REASONS_TOLD_MAX);
        reasons.truncate(REASONS_TOLD_MAX);
        if more > 0 {
            reasons.push(format!("{more} more"));
        }
        (dialect, format!("it has {}", reasons.join(", ")))
    }

    fn count(&mut self, dialect: Dialect, weight: u32, reason: impl FnOnce() -> String) {
        let place = DIALECTS.iter().position(|known| *known == dialect);
        if let Some(score) = place.and_then(|place| self.scores.get_mut(place)) {
            *score += weight;
        }
        if self.reasons.len() < 100 {
            self.reasons.push((dialect, reason()));
        }
    }

    fn look_at(&mut self, ad: &Ad) {
        for (name, expr) in ad.iter() {
            if parameters::sequence_name(name).is_some() {
                self.count(Dialect::Dirac, 3, || format!("`{name}`"));
            }
            if let Some([dialect]) = attribute(name).map(|attribute| attribute.origins)
                && !["Type", "Name"].contains(&name)
            {
                self.count(*dialect, 1, || format!("`{name}`"));
            }
            if name.eq_ignore_ascii_case("Nodes") {
                continue; // its jobs are looked at by themselves
            }
            if holds_text(expr, &|text| text.contains(GLITE_MARK)) {
                self.count(Dialect::Glite, 3, || format!("`{GLITE_MARK}`"));
            } else if holds_text(expr, &|text| text.contains(ALIEN_MARK)) {
                self.count(Dialect::Alien, 3, || format!("`{ALIEN_MARK}…#`"));
            } else if holds_text(expr, &has_percent_mark) {
                self.count(Dialect::Dirac, 1, || "`%` placeholders".into());
            }
        }
        let types = job_types(ad);
        if let Some(word) = types.iter().find(|word| !GLITE_TYPES.contains(&&***word)) {
            self.count(Dialect::Dirac, 1, || format!("`JobType = \"{word}\"`"));
        }
        if types.iter().any(|word| word == "parametric") {
            self.count(Dialect::Glite, 3, || "`JobType = \"Parametric\"`".into());
        } else if ad.get("Parameters").is_some() {
            // gLite asks for the job type.
            self.count(Dialect::Dirac, 2, || {
                "`Parameters` without `JobType = \"Parametric\"`".into()
            });
        }
    }
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
    text.contains('%')
        && (["%s", "%n", "%j"].iter().any(|mark| text.contains(mark))
            || text.contains("%(") && text.contains(")s"))
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
