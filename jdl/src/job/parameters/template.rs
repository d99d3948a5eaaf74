//! Texts with placeholders, and filling them.
//!
//! A text is taken apart once; filling it for a task joins the parts with that task's values.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use fairway_model::TaskId;

use super::{ALIEN_MARK, GLITE_MARK, Parameters};
use crate::job::{Dialect, words};
use crate::syntax::{Name, Node, Span};
use crate::{Expr, Value};

/// A text, taken apart at its placeholders.
#[derive(Clone, Debug)]
pub(in crate::job) struct Template {
    parts: Box<[Part]>,
    /// How long it is about when it is filled, in bytes.
    length: usize,
}

#[derive(Clone, Debug)]
enum Part {
    Fixed(Box<str>),
    /// gLite's `_PARAM_`, DIRAC's `%s`, AliEn's `#alien_counter#`; with at least so many
    /// characters.
    Main(usize),
    /// DIRAC's `%(X)s`: a place in the list of sequences.
    Named(usize),
    /// DIRAC's `%n`.
    Number,
    /// DIRAC's `%j`.
    Id,
}

/// What can be filled in.
#[derive(Clone, Copy, Debug)]
pub(in crate::job) struct Placeholders<'p> {
    dialect: Dialect,
    /// `None` in a job that is not parametric.
    parameters: Option<&'p Parameters>,
}

impl<'p> Placeholders<'p> {
    pub(in crate::job) fn new(dialect: Dialect, parameters: Option<&'p Parameters>) -> Self {
        Self {
            dialect,
            parameters,
        }
    }

    /// The values of a task. Without an id, `%j` stays.
    pub(in crate::job) fn bindings(self, index: u32, id: Option<TaskId>) -> Bindings<'p> {
        let parameters = self.parameters;
        let value = |sequence: &'p super::Sequence| sequence.value(index).unwrap_or_default();
        Bindings {
            placeholders: self,
            main: parameters.and_then(|it| it.main.as_ref()).map(value),
            named: match parameters {
                Some(it) => it
                    .named
                    .iter()
                    .map(|(_, sequence)| value(sequence))
                    .collect(),
                None => Vec::new(),
            },
            index,
            id,
        }
    }

    /// The template of a text; `None` if there is nothing to fill in.
    pub(in crate::job) fn template(self, text: &str) -> Option<Template> {
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        let mark = match self.dialect {
            Dialect::Glite => GLITE_MARK,
            Dialect::Dirac => "%",
            Dialect::Alien => ALIEN_MARK,
        };
        while let Some(at) = rest.find(mark) {
            let after = &rest[at + mark.len()..];
            fixed.push_str(&rest[..at]);
            match self.placeholder(after) {
                Some((part, length)) => {
                    if !fixed.is_empty() {
                        parts.push(Part::Fixed(std::mem::take(&mut fixed).into()));
                    }
                    parts.push(part);
                    rest = &after[length..];
                }
                None => {
                    fixed.push_str(mark);
                    rest = after;
                }
            }
        }
        if parts.is_empty() {
            return None;
        }
        fixed.push_str(rest);
        if !fixed.is_empty() {
            parts.push(Part::Fixed(fixed.into()));
        }
        Some(Template {
            length: text.len() + 16,
            parts: parts.into(),
        })
    }

    /// The placeholder whose mark stands before `after`, and how much of that belongs to it.
    fn placeholder(self, after: &str) -> Option<(Part, usize)> {
        let parameters = self.parameters;
        let main = |width| parameters?.main.as_ref().map(|_| Part::Main(width));
        match self.dialect {
            Dialect::Glite => Some((main(0)?, 0)),
            Dialect::Alien => {
                let form = &after[..after.find('#')?];
                Some((main(counter_width(form)?)?, form.len() + 1))
            }
            Dialect::Dirac => match after.bytes().next()? {
                b's' => Some((main(0)?, 1)),
                b'n' => parameters.map(|_| (Part::Number, 1)),
                b'j' => Some((Part::Id, 1)),
                b'(' => {
                    let name = &after[1..after.find(")s")?];
                    let named = &parameters?.named;
                    let place = named.iter().position(|(known, _)| known == name)?;
                    Some((Part::Named(place), name.len() + 3))
                }
                _ => None,
            },
        }
    }
}

/// The digits that are asked for between `#alien_counter` and `#`: `_03i` is 3.
fn counter_width(form: &str) -> Option<usize> {
    if form.is_empty() {
        return Some(0);
    }
    let digits = form.strip_prefix('_')?.trim_end_matches(['i', 'd']);
    let width = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    (width <= 20).then_some(width)
}

/// The values of one task.
#[derive(Clone, Debug)]
pub(in crate::job) struct Bindings<'p> {
    placeholders: Placeholders<'p>,
    main: Option<Cow<'p, str>>,
    named: Vec<Cow<'p, str>>,
    index: u32,
    id: Option<TaskId>,
}

impl Template {
    pub(in crate::job) fn fill(&self, bindings: &Bindings<'_>) -> String {
        let mut filled = String::with_capacity(self.length);
        self.fill_into(bindings, &mut filled);
        filled
    }

    /// As [`fill`](Self::fill), appended to a text.
    pub(in crate::job) fn fill_into(&self, bindings: &Bindings<'_>, filled: &mut String) {
        for part in &*self.parts {
            match part {
                Part::Fixed(text) => filled.push_str(text),
                Part::Main(width) => {
                    let value = bindings.main.as_deref().unwrap_or_default();
                    let zeros = width.saturating_sub(value.len());
                    filled.extend(std::iter::repeat_n('0', zeros));
                    filled.push_str(value);
                }
                Part::Named(place) => {
                    filled.push_str(bindings.named.get(*place).map_or("", |value| value));
                }
                Part::Number => {
                    let _ = write!(
                        filled,
                        "{:0width$}",
                        bindings.index,
                        width = bindings.digits()
                    );
                }
                Part::Id => match bindings.id {
                    Some(id) => {
                        let _ = write!(filled, "{id}");
                    }
                    None => filled.push_str("%j"),
                },
            }
        }
    }

    /// The words of the text as a shell would split it, if each value becomes part of one
    /// word: if they are [plain](Bindings::are_plain). `None` if it cannot be split.
    pub(in crate::job) fn words(&self) -> Option<Vec<Item>> {
        let mut line = String::new();
        for (part, mark) in self.parts.iter().zip(STAND_INS) {
            match part {
                Part::Fixed(text) if text.contains(|c| STAND_INS.contains(&c)) => return None,
                Part::Fixed(text) => line.push_str(text),
                _ => line.push(mark),
            }
        }
        let words = words::split(line.trim()).ok()?;
        let fits = self.parts.len() <= STAND_INS.clone().count();
        fits.then(|| words.iter().map(|word| self.word(word)).collect())
    }

    /// A word in which characters stand for placeholders.
    fn word(&self, word: &str) -> Item {
        let mut parts = Vec::new();
        let mut fixed = String::new();
        for c in word.chars() {
            let place = STAND_INS
                .contains(&c)
                .then(|| c as usize - *STAND_INS.start() as usize);
            let Some(part) = place.and_then(|place| self.parts.get(place)) else {
                fixed.push(c);
                continue;
            };
            if !fixed.is_empty() {
                parts.push(Part::Fixed(std::mem::take(&mut fixed).into()));
            }
            parts.push(part.clone());
        }
        if parts.is_empty() {
            return Item::Fixed(fixed.into());
        }
        if !fixed.is_empty() {
            parts.push(Part::Fixed(fixed.into()));
        }
        Item::Filled(Self {
            length: word.len() + 16,
            parts: parts.into(),
        })
    }
}

/// Characters for private use, which stand for placeholders while a line is split.
const STAND_INS: std::ops::RangeInclusive<char> = '\u{100000}'..='\u{100fff}';

/// A text of a list.
#[derive(Clone, Debug)]
pub(in crate::job) enum Item {
    Fixed(Arc<str>),
    Filled(Template),
}

impl Bindings<'_> {
    /// gLite's variable `ParameterValue`; the others have none.
    pub(in crate::job) fn parameter_value(&self) -> Option<&str> {
        self.main
            .as_deref()
            .filter(|_| self.placeholders.dialect == Dialect::Glite)
    }

    /// Whether the values mean nothing to a shell and are not empty.
    pub(in crate::job) fn are_plain(&self) -> bool {
        let is_special = |b: u8| b.is_ascii_whitespace() || b"'\"\\".contains(&b);
        let is_plain = |value: &str| !value.is_empty() && !value.bytes().any(is_special);
        self.main
            .iter()
            .chain(&self.named)
            .all(|value| is_plain(value))
    }

    /// How many digits the number of a task has.
    fn digits(&self) -> usize {
        let last = self.placeholders.parameters.map_or(0, |it| it.count - 1);
        last.checked_ilog10().unwrap_or(0) as usize + 1
    }

    /// The values, for a message.
    pub(in crate::job) fn told(&self) -> String {
        let main = self.main.iter();
        let main = main.map(|value| format!("the parameter is `{value}`"));
        let names = self.placeholders.parameters.map_or(&[][..], |it| &it.named);
        let named = names.iter().zip(&self.named);
        let named = named.map(|((name, _), value)| format!("`{name}` is `{value}`"));
        let told: Vec<String> = main.chain(named).collect();
        told.join(", ")
    }

    /// `expr` with the values filled in.
    pub(in crate::job) fn fill(&self, expr: &Expr) -> Expr {
        let is_glite = self.placeholders.dialect == Dialect::Glite;
        expr.rewrite(&|expr| match expr.node() {
            Node::Literal(Value::String(text)) => {
                let filled = self.placeholders.template(text)?.fill(self);
                Some(Expr::at(Node::Literal(filled.into()), expr.span()))
            }
            Node::Name(name) if is_glite => self.fill_name(name, expr.span()),
            Node::Select(base, name) if is_glite && name.text.contains(GLITE_MARK) => {
                let name = Name::new(&name.text.replace(GLITE_MARK, self.main.as_deref()?));
                Some(Expr::at(Node::Select(self.fill(base), name), expr.span()))
            }
            _ => None,
        })
    }

    fn fill_name(&self, name: &Name, span: Span) -> Option<Expr> {
        let value = self
            .main
            .as_deref()
            .filter(|_| name.text.contains(GLITE_MARK))?;
        if &*name.text != GLITE_MARK {
            let name = Name::new(&name.text.replace(GLITE_MARK, value));
            return Some(Expr::at(Node::Name(name), span));
        }
        let number = value.parse().map(Value::Integer);
        let value = number.or_else(|_| value.parse().map(Value::Real));
        let value = value.unwrap_or_else(|_| self.main.as_deref().unwrap_or_default().into());
        Some(Expr::at(Node::Literal(value), span))
    }
}
