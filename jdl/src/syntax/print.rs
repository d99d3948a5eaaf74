//! The canonical form: what is printed reads back as an equal tree.

use std::fmt::{self, Formatter, Write as _};

use super::{Ad, BinaryOp, Expr, Name, Node, UnaryOp};
use crate::Value;
use crate::eval::functions::time;

/// How tightly operators bind; an operand that binds less tightly stands in parentheses.
mod tightness {
    pub(super) const CONDITIONAL: u8 = 1;
    pub(super) const OR: u8 = 2;
    pub(super) const AND: u8 = 3;
    pub(super) const UNARY: u8 = 20;
    pub(super) const POSTFIX: u8 = 21;
    pub(super) const ATOM: u8 = 22;
}

impl BinaryOp {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::ShiftRightLogical => ">>>",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::GreaterEqual => ">=",
            Self::Greater => ">",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Is => "=?=",
            Self::IsNot => "=!=",
            Self::BitAnd => "&",
            Self::BitXor => "^",
            Self::BitOr => "|",
        }
    }

    /// How tightly it binds: between `&&` and the unary operators.
    pub(crate) fn tightness(self) -> u8 {
        match self {
            Self::BitOr => 4,
            Self::BitXor => 5,
            Self::BitAnd => 6,
            Self::Equal | Self::NotEqual | Self::Is | Self::IsNot => 7,
            Self::Less | Self::LessEqual | Self::GreaterEqual | Self::Greater => 8,
            Self::ShiftLeft | Self::ShiftRight | Self::ShiftRightLogical => 9,
            Self::Add | Self::Subtract => 10,
            Self::Multiply | Self::Divide | Self::Modulo => 11,
        }
    }
}

fn tightness_of(expr: &Expr) -> u8 {
    match expr.node() {
        Node::Conditional(..) | Node::Default(..) => tightness::CONDITIONAL,
        Node::Or(_) => tightness::OR,
        Node::And(_) => tightness::AND,
        Node::Binary(op, ..) => op.tightness(),
        Node::Unary(..) => tightness::UNARY,
        Node::Literal(Value::Integer(n)) if *n < 0 => tightness::UNARY,
        Node::Literal(Value::Real(x)) if x.is_sign_negative() => tightness::UNARY,
        Node::Literal(Value::Integer(_) | Value::Real(_)) => tightness::POSTFIX,
        Node::Select(..) | Node::Subscript(..) => tightness::POSTFIX,
        _ => tightness::ATOM,
    }
}

pub(crate) fn expr(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match expr.node() {
        Node::Literal(literal) => value(f, literal),
        Node::Name(n) => name(f, n),
        Node::Absolute(n) => {
            f.write_char('.')?;
            name(f, n)
        }
        Node::Select(base, n) => {
            let tight = match base.node() {
                Node::Literal(_) => tightness::ATOM, // `1.x` would be read as a number
                _ => tightness::POSTFIX,
            };
            operand(f, base, tight)?;
            f.write_char('.')?;
            name(f, n)
        }
        Node::Subscript(base, index) => {
            operand(f, base, tightness::POSTFIX)?;
            f.write_char('[')?;
            operand(f, index, tightness::CONDITIONAL)?;
            f.write_char(']')
        }
        Node::Unary(op, inner) => unary(f, *op, inner),
        Node::Binary(op, left, right) => {
            operand(f, left, op.tightness())?;
            write!(f, " {} ", op.text())?;
            operand(f, right, op.tightness() + 1)
        }
        Node::And(operands) => chain(f, operands, " && ", tightness::AND + 1),
        Node::Or(operands) => chain(f, operands, " || ", tightness::OR + 1),
        Node::Conditional(condition, yes, no) => {
            operand(f, condition, tightness::OR)?;
            f.write_str(" ? ")?;
            operand(f, yes, tightness::CONDITIONAL)?;
            f.write_str(" : ")?;
            operand(f, no, tightness::CONDITIONAL)
        }
        Node::Default(left, right) => {
            operand(f, left, tightness::OR)?;
            f.write_str(" ?: ")?;
            operand(f, right, tightness::CONDITIONAL)
        }
        Node::Call(n, _, arguments) => {
            f.write_str(if f.alternate() { &n.key } else { &n.text })?;
            f.write_char('(')?;
            separated(f, arguments)?;
            f.write_char(')')
        }
        Node::List(items) if items.is_empty() => f.write_str("{ }"),
        Node::List(items) => {
            f.write_str("{ ")?;
            separated(f, items)?;
            f.write_str(" }")
        }
        Node::Record(record) => ad(f, record),
    }
}

fn unary(f: &mut Formatter<'_>, op: UnaryOp, inner: &Expr) -> fmt::Result {
    f.write_char(match op {
        UnaryOp::Negate => '-',
        UnaryOp::Plus => '+',
        UnaryOp::Not => '!',
        UnaryOp::BitNot => '~',
    })?;
    operand(f, inner, tightness::UNARY)
}

fn operand(f: &mut Formatter<'_>, inner: &Expr, tight: u8) -> fmt::Result {
    if tightness_of(inner) < tight {
        f.write_char('(')?;
        expr(f, inner)?;
        f.write_char(')')
    } else {
        expr(f, inner)
    }
}

fn chain(f: &mut Formatter<'_>, operands: &[Expr], mark: &str, tight: u8) -> fmt::Result {
    for (i, inner) in operands.iter().enumerate() {
        if i > 0 {
            f.write_str(mark)?;
        }
        operand(f, inner, tight)?;
    }
    Ok(())
}

fn separated(f: &mut Formatter<'_>, items: &[Expr]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        expr(f, item)?;
    }
    Ok(())
}

pub(crate) fn ad(f: &mut Formatter<'_>, ad: &Ad) -> fmt::Result {
    if ad.is_empty() {
        return f.write_str("[ ]");
    }
    f.write_str("[ ")?;
    for (i, (n, inner)) in ad.named().enumerate() {
        if i > 0 {
            f.write_str("; ")?;
        }
        name(f, n)?;
        f.write_str(" = ")?;
        expr(f, inner)?;
    }
    f.write_str(" ]")
}

/// A name, in quotes if it would not be read as one; in lower case if asked for (`{:#}`).
fn name(f: &mut Formatter<'_>, name: &Name) -> fmt::Result {
    let text = if f.alternate() { &name.key } else { &name.text };
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !is_reserved(text);
    if plain {
        f.write_str(text)
    } else {
        quoted(f, text, '\'')
    }
}

/// Words that are literals or operators, not names.
pub(crate) fn is_reserved(word: &str) -> bool {
    ["true", "false", "undefined", "error", "is", "isnt"]
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}

fn quoted(f: &mut Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_ascii_control() => write!(f, "\\{:03o}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

pub(crate) fn value(f: &mut Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Undefined => f.write_str("undefined"),
        Value::Error => f.write_str("error"),
        Value::Boolean(truth) => write!(f, "{truth}"),
        Value::Integer(number) => write!(f, "{number}"),
        Value::Real(number) => real(f, *number),
        Value::String(text) => quoted(f, text, '"'),
        Value::AbsTime { seconds, offset } => {
            write!(f, "absTime(\"{}\")", time::rfc3339(*seconds, *offset))
        }
        Value::RelTime(seconds) => {
            f.write_str("relTime(")?;
            real(f, *seconds)?;
            f.write_char(')')
        }
        Value::List(items) if items.is_empty() => f.write_str("{ }"),
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                f.write_str(if i == 0 { "{ " } else { ", " })?;
                self::value(f, item)?;
            }
            f.write_str(" }")
        }
        Value::Ad(inner) => ad(f, inner),
    }
}

fn real(f: &mut Formatter<'_>, number: f64) -> fmt::Result {
    if number.is_nan() {
        f.write_str("real(\"NaN\")")
    } else if number.is_infinite() {
        let sign = if number < 0.0 { "-" } else { "" };
        write!(f, "real(\"{sign}INF\")")
    } else {
        write!(f, "{number:?}")
    }
}
