//! Why an expression is what it is: its `&&` operands one by one, with the
//! values that they were made from.

use super::eval;
use crate::syntax::{BinaryOp, Node, ScopeWord};
use crate::{Ad, Expr, Value};

/// Longest value that is told, in characters.
const VALUE_CHARS_MAX: usize = 120;

/// Most values that are told of one clause.
const VALUES_MAX: usize = 8;

/// One operand of the `&&`s that an expression consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// The operand in canonical form.
    pub text: String,
    /// What it is worth.
    pub value: Value,
    /// The values on its sides in words, e.g.
    /// `other.GlueCEPolicyMaxWallClockTime is 60, needed >= 720`.
    pub because: String,
}

/// Evaluates each top-level `&&` operand of `expr` by itself.
pub fn clauses(expr: &Expr, my: &Ad, other: &Ad) -> Vec<Clause> {
    let mut operands = Vec::new();
    flatten(expr, &mut operands);
    operands
        .into_iter()
        .map(|operand| Clause {
            text: operand.to_string(),
            value: eval(operand, my, Some(other)),
            because: Because { my, other }.tell(operand),
        })
        .collect()
}

fn flatten<'e>(expr: &'e Expr, operands: &mut Vec<&'e Expr>) {
    match expr.node() {
        Node::And(inner) => {
            for operand in inner {
                flatten(operand, operands);
            }
        }
        _ => operands.push(expr),
    }
}

struct Because<'a> {
    my: &'a Ad,
    other: &'a Ad,
}

impl Because<'_> {
    fn tell(&self, expr: &Expr) -> String {
        match expr.node() {
            Node::Binary(op, left, right) if flipped(*op).is_some() => {
                self.comparison(*op, left, right)
            }
            Node::Call(name, _, arguments) if arguments.len() == 2 => match &*name.key {
                "member" | "identicalmember" => {
                    self.needed(&arguments[1], "needed to contain", &arguments[0])
                }
                "regexp" => self.needed(&arguments[1], "needed to match", &arguments[0]),
                _ => self.references(expr),
            },
            _ => self.references(expr),
        }
    }

    /// Told from the side that the other ad decides.
    fn comparison(&self, op: BinaryOp, left: &Expr, right: &Expr) -> String {
        let ours = |expr: &Expr| expr.literal().is_some();
        let (subject, op, object) =
            if self.is_theirs(right) && !self.is_theirs(left) || ours(left) && !ours(right) {
                (right, flipped(op).unwrap_or(op), left)
            } else {
                (left, op, right)
            };
        self.needed(subject, &format!("needed {}", op.text()), object)
    }

    fn needed(&self, subject: &Expr, needed: &str, object: &Expr) -> String {
        let subject = self.fact(subject);
        match object.literal() {
            Some(value) => format!("{subject}, {needed} {}", shortened(&value.to_string())),
            None => {
                let value = eval(object, self.my, Some(self.other));
                let (value, object) = (value.to_string(), object.to_string());
                format!(
                    "{subject}, {needed} {} ({})",
                    shortened(&value),
                    shortened(&object)
                )
            }
        }
    }

    /// `x is 5`, or that nobody tells.
    fn fact(&self, expr: &Expr) -> String {
        let text = shortened(&expr.to_string());
        match eval(expr, self.my, Some(self.other)) {
            Value::Undefined if matches!(expr.node(), Node::Name(_) | Node::Select(..)) => {
                format!("{text} is not published")
            }
            value => format!("{text} is {}", shortened(&value.to_string())),
        }
    }

    /// Every name in the expression with its value.
    fn references(&self, expr: &Expr) -> String {
        let mut found = Vec::new();
        collect(expr, &mut found);
        let more = found.len().saturating_sub(VALUES_MAX);
        let mut facts: Vec<String> = found
            .into_iter()
            .take(VALUES_MAX)
            .map(|reference| self.fact(reference))
            .collect();
        if more > 0 {
            facts.push(format!("and {more} more"));
        }
        if facts.is_empty() {
            let value = eval(expr, self.my, Some(self.other));
            return format!("it is always {}", shortened(&value.to_string()));
        }
        facts.join(", ")
    }

    /// Whether the expression looks at the other ad.
    fn is_theirs(&self, expr: &Expr) -> bool {
        match expr.node() {
            Node::Select(base, _) if is_word(base, ScopeWord::Other) => true,
            Node::Name(name) => self.my.find(&name.key).is_none(),
            _ => expr
                .children()
                .into_iter()
                .any(|child| self.is_theirs(child)),
        }
    }
}

fn is_word(expr: &Expr, word: ScopeWord) -> bool {
    matches!(expr.node(), Node::Name(name) if name.word == Some(word))
}

/// Each name and selection in the expression once, from the left.
fn collect<'e>(expr: &'e Expr, found: &mut Vec<&'e Expr>) {
    match expr.node() {
        Node::Name(_) | Node::Absolute(_) | Node::Select(..) => {
            if !found.contains(&expr) {
                found.push(expr);
            }
        }
        _ => {
            for child in expr.children() {
                collect(child, found);
            }
        }
    }
}

/// The comparison that says the same with the sides exchanged.
fn flipped(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Is | BinaryOp::IsNot => op,
        _ => return None,
    })
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(VALUE_CHARS_MAX - 1).collect();
    short.push('…');
    short
}
