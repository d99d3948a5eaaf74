//! Trees and values as text: in the canonical form, which reads back as an equal
//! tree, and in the form that HTCondor's library prints.

use std::fmt::{self, Formatter, Write as _};

use super::{Ad, BinaryOp, Expr, Name, Node, ScopeWord, UnaryOp};
use crate::Value;
use crate::eval::functions::calendar;

/// How a tree is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Reads back as an equal tree.
    Canonical,
    /// Canonical with names in lower case: equal trees have the same text.
    Folded,
    /// As HTCondor's library prints it, in one line: reals with sixteen digits and an
    /// exponent, shorter names first in an ad, bytes beyond ASCII as escapes.
    Library,
    /// As the library writes it into texts: as above, without blanks behind commas.
    Compact,
}

impl Style {
    pub(crate) fn of(f: &Formatter<'_>) -> Self {
        if f.alternate() {
            Self::Folded
        } else {
            Self::Canonical
        }
    }

    fn is_library(self) -> bool {
        matches!(self, Self::Library | Self::Compact)
    }

    fn empty_list(self) -> &'static str {
        if self == Self::Compact { "{  }" } else { "{ }" }
    }

    fn comma(self) -> &'static str {
        if self == Self::Compact { "," } else { ", " }
    }
}

/// How tightly operators bind; an operand that binds less tightly stands in parentheses.
mod tightness {
    pub(super) const CONDITIONAL: u8 = 1;
    pub(super) const OR: u8 = 2;
    pub(super) const AND: u8 = 3;
    pub(super) const UNARY: u8 = 20;
    pub(super) const DEFAULT: u8 = 21;
    pub(super) const POSTFIX: u8 = 22;
    pub(super) const ATOM: u8 = 23;
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
        Node::Conditional(..) => tightness::CONDITIONAL,
        Node::Default(..) => tightness::DEFAULT,
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

pub(crate) fn expr(f: &mut Formatter<'_>, style: Style, expr: &Expr) -> fmt::Result {
    match expr.node() {
        Node::Literal(Value::RelTime(seconds)) => span(f, style, *seconds),
        Node::Literal(literal) => value(f, style, literal),
        Node::Name(n) => name(f, style, n),
        Node::Absolute(n) => {
            f.write_char('.')?;
            name(f, style, n)
        }
        Node::Select(base, n) => {
            let tight = match base.node() {
                Node::Literal(_) => tightness::ATOM, // `1.x` would be read as a number
                _ => tightness::POSTFIX,
            };
            operand(f, style, base, tight)?;
            f.write_char('.')?;
            name(f, style, n)
        }
        Node::Subscript(base, index) => {
            operand(f, style, base, tightness::POSTFIX)?;
            f.write_char('[')?;
            operand(f, style, index, tightness::CONDITIONAL)?;
            f.write_char(']')
        }
        Node::Unary(op, inner) => unary(f, style, *op, inner),
        Node::Binary(op, left, right) => {
            operand(f, style, left, op.tightness())?;
            let text = match op {
                BinaryOp::Is if style.is_library() => "is",
                BinaryOp::IsNot if style.is_library() => "isnt",
                op => op.text(),
            };
            write!(f, " {text} ")?;
            operand(f, style, right, op.tightness() + 1)
        }
        Node::And(operands) => chain(f, style, operands, " && ", tightness::AND + 1),
        Node::Or(operands) => chain(f, style, operands, " || ", tightness::OR + 1),
        Node::Conditional(condition, yes, no) => {
            operand(f, style, condition, tightness::OR)?;
            f.write_str(" ? ")?;
            operand(f, style, yes, tightness::CONDITIONAL)?;
            f.write_str(" : ")?;
            operand(f, style, no, tightness::CONDITIONAL)
        }
        Node::Default(left, right) => {
            operand(f, style, left, tightness::POSTFIX)?;
            f.write_str(" ?: ")?;
            operand(f, style, right, tightness::DEFAULT)
        }
        Node::Call(n, _, arguments) if style.is_library() && &*n.key == "reltime" => {
            match literal_span(arguments) {
                Some(text) => write!(f, "relTime(\"{text}\")"),
                None => call(f, style, n, arguments),
            }
        }
        Node::Call(n, _, arguments) => call(f, style, n, arguments),
        Node::List(items) => list(f, style, items),
        Node::Record(record) => ad(f, style, record),
    }
}

/// The span that the only argument stands for: the library reads it where it stands.
fn literal_span(arguments: &[Expr]) -> Option<String> {
    match arguments {
        [argument] => match argument.literal()? {
            Value::String(text) => calendar::parse_span(text).map(calendar::exact_span_text),
            _ => None,
        },
        _ => None,
    }
}

fn call(f: &mut Formatter<'_>, style: Style, n: &Name, arguments: &[Expr]) -> fmt::Result {
    f.write_str(spelling(n, style))?;
    f.write_char('(')?;
    separated(f, style, arguments)?;
    f.write_char(')')
}

fn unary(f: &mut Formatter<'_>, style: Style, op: UnaryOp, inner: &Expr) -> fmt::Result {
    if style == Style::Compact {
        f.write_char(' ')?;
    }
    f.write_char(match op {
        UnaryOp::Negate => '-',
        UnaryOp::Plus => '+',
        UnaryOp::Not => '!',
        UnaryOp::BitNot => '~',
    })?;
    // `-1[0]` would be read as the number -1 and a subscript.
    let tight = match op {
        UnaryOp::Negate if begins_with_number(inner) => tightness::ATOM,
        _ => tightness::UNARY,
    };
    operand(f, style, inner, tight)
}

fn begins_with_number(expr: &Expr) -> bool {
    match expr.node() {
        Node::Select(base, _) | Node::Subscript(base, _) | Node::Default(base, _) => {
            begins_with_number(base)
        }
        Node::Literal(Value::Integer(_) | Value::Real(_)) => true,
        _ => false,
    }
}

fn operand(f: &mut Formatter<'_>, style: Style, inner: &Expr, tight: u8) -> fmt::Result {
    if tightness_of(inner) < tight {
        f.write_char('(')?;
        expr(f, style, inner)?;
        f.write_char(')')
    } else {
        expr(f, style, inner)
    }
}

fn chain(
    f: &mut Formatter<'_>,
    style: Style,
    operands: &[Expr],
    mark: &str,
    tight: u8,
) -> fmt::Result {
    for (i, inner) in operands.iter().enumerate() {
        if i > 0 {
            f.write_str(mark)?;
        }
        operand(f, style, inner, tight)?;
    }
    Ok(())
}

fn list(f: &mut Formatter<'_>, style: Style, items: &[Expr]) -> fmt::Result {
    if items.is_empty() {
        return f.write_str(style.empty_list());
    }
    f.write_str("{ ")?;
    separated(f, style, items)?;
    f.write_str(" }")
}

fn separated(f: &mut Formatter<'_>, style: Style, items: &[Expr]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(style.comma())?;
        }
        expr(f, style, item)?;
    }
    Ok(())
}

pub(crate) fn ad(f: &mut Formatter<'_>, style: Style, ad: &Ad) -> fmt::Result {
    if ad.is_empty() {
        return f.write_str(if style == Style::Compact {
            "[  ]"
        } else {
            "[ ]"
        });
    }
    f.write_str("[ ")?;
    let mut attributes: Vec<_> = ad.named().collect();
    if style.is_library() {
        attributes.sort_by(|(a, _), (b, _)| (a.key.len(), &a.key).cmp(&(b.key.len(), &b.key)));
    }
    for (i, (n, inner)) in attributes.into_iter().enumerate() {
        if i > 0 {
            f.write_str("; ")?;
        }
        name(f, style, n)?;
        f.write_str(" = ")?;
        expr(f, style, inner)?;
    }
    f.write_str(" ]")
}

fn spelling(name: &Name, style: Style) -> &str {
    if style == Style::Folded {
        &name.key
    } else {
        &name.text
    }
}

/// A name, in quotes if it would not be read as one.
fn name(f: &mut Formatter<'_>, style: Style, name: &Name) -> fmt::Result {
    let text = spelling(name, style);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !is_reserved(text)
        && !(style.is_library() && name.word == Some(ScopeWord::Parent));
    if plain {
        f.write_str(text)
    } else {
        quoted(f, style, text, '\'')
    }
}

/// Words that are literals or operators, not names.
pub(crate) fn is_reserved(word: &str) -> bool {
    ["true", "false", "undefined", "error", "is", "isnt"]
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}

fn quoted(f: &mut Formatter<'_>, style: Style, text: &str, quote: char) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if !c.is_ascii() && style.is_library() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    write!(f, "\\{byte:03o}")?;
                }
            }
            '\0' => f.write_char('\0')?, // has no escape
            c if c.is_ascii_control() => write!(f, "\\{:03o}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

pub(crate) fn value(f: &mut Formatter<'_>, style: Style, value: &Value) -> fmt::Result {
    match value {
        Value::Undefined => f.write_str("undefined"),
        Value::Error => f.write_str("error"),
        Value::Boolean(truth) => write!(f, "{truth}"),
        Value::Integer(number) => write!(f, "{number}"),
        Value::Real(number) => real(f, style, *number),
        Value::String(text) => quoted(f, style, text, '"'),
        Value::AbsTime { seconds, offset } => moment(f, style, *seconds, *offset),
        Value::RelTime(seconds) if style.is_library() => {
            write!(f, "relTime(\"{}\")", calendar::span_text(*seconds))
        }
        Value::RelTime(seconds) => span(f, style, *seconds),
        Value::List(items) if items.is_empty() => f.write_str(style.empty_list()),
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                f.write_str(if i == 0 { "{ " } else { style.comma() })?;
                self::value(f, style, item)?;
            }
            f.write_str(" }")
        }
        Value::Ad(inner) => ad(f, style, inner),
    }
}

/// Years that have not four digits cannot be read back.
fn moment(f: &mut Formatter<'_>, style: Style, seconds: i64, offset: i32) -> fmt::Result {
    let text = calendar::rfc3339(seconds, offset);
    let year = text.find('-').unwrap_or_default();
    if style.is_library() || year == 4 {
        write!(f, "absTime(\"{text}\")")
    } else {
        write!(f, "absTime({seconds}, {offset})")
    }
}

fn span(f: &mut Formatter<'_>, style: Style, seconds: f64) -> fmt::Result {
    f.write_str("relTime(")?;
    real(f, style, seconds)?;
    f.write_char(')')
}

fn real(f: &mut Formatter<'_>, style: Style, number: f64) -> fmt::Result {
    if number.is_nan() {
        f.write_str("real(\"NaN\")")
    } else if number.is_infinite() {
        let sign = if number < 0.0 { "-" } else { "" };
        write!(f, "real(\"{sign}INF\")")
    } else if style.is_library() && number != 0.0 {
        library_real(f, number)
    } else {
        write!(f, "{number:?}")
    }
}

/// Sixteen digits and an exponent of at least two, as C's `%1.15E` has it.
fn library_real(f: &mut Formatter<'_>, number: f64) -> fmt::Result {
    let text = format!("{number:.15E}");
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    write!(f, "{mantissa}E{sign}{digits:0>2}")
}

/// What a style prints; for `Display`.
pub(crate) struct Printed<'a, T: ?Sized>(pub(crate) &'a T, pub(crate) Style);

impl fmt::Display for Printed<'_, Value> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        value(f, self.1, self.0)
    }
}

impl fmt::Display for Printed<'_, Ad> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        ad(f, self.1, self.0)
    }
}

/// A list.
impl fmt::Display for Printed<'_, [Expr]> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, self.1, self.0)
    }
}

impl fmt::Display for Printed<'_, Expr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        expr(f, self.1, self.0)
    }
}
