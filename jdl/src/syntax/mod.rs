//! Text → syntax tree, and back.
//!
//! The [lexer](lexer) gives tokens with places, the [parser](parser) makes the
//! tree, [print](print) writes it in canonical form, [`format()`](format()) lays a text
//! out without reading it anew. A tree is shared: cloning an
//! [`Expr`] copies a pointer. Its depth is bounded where it is read, so walking
//! and dropping it cannot exhaust the stack.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::diagnostic::Report;
use crate::eval::functions::Function;
use crate::{Diagnostic, Value};

mod format;
pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod print;

pub use format::format;

/// Longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Deepest nesting of an expression.
pub const DEPTH_MAX: usize = 200;

/// A place in a text: byte offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let clip = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: clip(start),
            end: clip(end),
        }
    }

    pub(crate) fn to(self, end: Self) -> Self {
        Self {
            start: self.start,
            end: end.end.max(self.end),
        }
    }

    /// The text at this place.
    pub(crate) fn of(self, source: &str) -> &str {
        source
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// An expression. `Display` prints the canonical form, which parses back to an equal
/// expression; `{:#}` prints it with names in lower case.
///
/// Two expressions are equal if their canonical forms are; where they stood in a
/// text does not matter.
#[derive(Clone)]
pub struct Expr {
    node: Arc<Node>,
    span: Span,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Node {
    /// A value that stands for itself. Lists and ads have nodes of their own.
    Literal(Value),
    /// A name, to be looked up.
    Name(Name),
    /// `.x`: a name, to be looked up in the outermost ad.
    Absolute(Name),
    /// `ad.name`
    Select(Expr, Name),
    /// `list[number]`, `ad["name"]`
    Subscript(Expr, Expr),
    Unary(UnaryOp, Expr),
    Binary(BinaryOp, Expr, Expr),
    /// `a && b && …`: flat, so that a long chain is not a deep tree.
    And(Box<[Expr]>),
    /// `a || b || …`
    Or(Box<[Expr]>),
    /// `a ? b : c`
    Conditional(Expr, Expr, Expr),
    /// `a ?: b`
    Default(Expr, Expr),
    /// `f(a, b)`; `None` is a function that nobody knows.
    Call(Name, Option<Function>, Box<[Expr]>),
    List(Box<[Expr]>),
    Record(Arc<Ad>),
}

/// A name as written, and how it is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: Arc<str>,
    /// In lower case: names do not distinguish case.
    pub(crate) key: Arc<str>,
    pub(crate) word: Option<ScopeWord>,
}

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let text: Arc<str> = text.into();
        let key = match fold(&text) {
            Cow::Borrowed(_) => Arc::clone(&text),
            Cow::Owned(key) => key.into(),
        };
        let word = ScopeWord::of(&key);
        Self { text, key, word }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// Names that stand for an ad, where no attribute has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeWord {
    /// `other`, `target`: the ad on the other side.
    Other,
    /// `my`, `self`: the innermost ad.
    My,
    /// `root`, `toplevel`: the outermost ad on this side.
    Root,
    /// `parent`: the ad around the innermost.
    Parent,
}

impl ScopeWord {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "other" | "target" => Self::Other,
            "my" | "self" => Self::My,
            "root" | "toplevel" => Self::Root,
            "parent" => Self::Parent,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Negate,
    Plus,
    Not,
    BitNot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Multiply,
    Divide,
    Modulo,
    Add,
    Subtract,
    ShiftLeft,
    ShiftRight,
    ShiftRightLogical,
    Less,
    LessEqual,
    GreaterEqual,
    Greater,
    Equal,
    NotEqual,
    Is,
    IsNot,
    BitAnd,
    BitXor,
    BitOr,
}

/// `name` in lower case; ASCII only, as the language has it.
pub(crate) fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

impl Expr {
    /// Reads one expression.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut report = Report::default();
        match parser::expression(text, &mut report) {
            Some(expr) if !report.has_errors() => Ok(expr),
            _ => Err(report.into_diagnostics(text)),
        }
    }

    pub(crate) fn at(node: Node, span: Span) -> Self {
        Self {
            node: Arc::new(node),
            span,
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The value, if the expression is one: no name, operator or call.
    pub fn literal(&self) -> Option<&Value> {
        match &*self.node {
            Node::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The expressions right below this one, without those of a nested ad.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match &*self.node {
            Node::Literal(_) | Node::Name(_) | Node::Absolute(_) | Node::Record(_) => Vec::new(),
            Node::Select(a, _) | Node::Unary(_, a) => vec![a],
            Node::Subscript(a, b) | Node::Binary(_, a, b) | Node::Default(a, b) => vec![a, b],
            Node::Conditional(a, b, c) => vec![a, b, c],
            Node::And(all) | Node::Or(all) | Node::Call(_, _, all) | Node::List(all) => {
                all.iter().collect()
            }
        }
    }

    /// All of these with `&&` between them; `None` if there are none.
    pub fn all(operands: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut flat = Vec::new();
        for operand in operands {
            match operand.node() {
                Node::And(inner) if flat.is_empty() => flat.extend(inner.iter().cloned()),
                _ => flat.push(operand),
            }
        }
        match flat.len() {
            0 | 1 => flat.pop(),
            _ => Some(Self::at(Node::And(flat.into()), Span::default())),
        }
    }

    /// This expression with every node below it, and it, replaced where `change` says so.
    /// Parts that do not change are shared, not copied.
    pub(crate) fn rewrite(&self, change: &impl Fn(&Self) -> Option<Self>) -> Self {
        if let Some(changed) = change(self) {
            return changed;
        }
        let one = |expr: &Self| expr.rewrite(change);
        let many = |all: &[Self]| all.iter().map(one).collect::<Box<[_]>>();
        let node = match &*self.node {
            Node::Literal(_) | Node::Name(_) | Node::Absolute(_) => return self.clone(),
            Node::Select(a, name) => Node::Select(one(a), name.clone()),
            Node::Subscript(a, b) => Node::Subscript(one(a), one(b)),
            Node::Unary(op, a) => Node::Unary(*op, one(a)),
            Node::Binary(op, a, b) => Node::Binary(*op, one(a), one(b)),
            Node::And(all) => Node::And(many(all)),
            Node::Or(all) => Node::Or(many(all)),
            Node::Conditional(a, b, c) => Node::Conditional(one(a), one(b), one(c)),
            Node::Default(a, b) => Node::Default(one(a), one(b)),
            Node::Call(name, function, all) => Node::Call(name.clone(), *function, many(all)),
            Node::List(all) => Node::List(many(all)),
            Node::Record(ad) => Node::Record(Arc::new(ad.rewrite(change))),
        };
        Self::at(node, self.span)
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node) || self.node == other.node
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::expr(f, print::Style::of(f), self)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl From<Value> for Expr {
    fn from(value: Value) -> Self {
        let node = match value {
            Value::List(items) => Node::List(items.iter().cloned().map(Self::from).collect()),
            Value::Ad(ad) => Node::Record(ad),
            value => Node::Literal(value),
        };
        Self::at(node, Span::default())
    }
}

impl From<&str> for Expr {
    fn from(text: &str) -> Self {
        Value::from(text).into()
    }
}

impl From<i64> for Expr {
    fn from(number: i64) -> Self {
        Value::from(number).into()
    }
}

impl From<bool> for Expr {
    fn from(truth: bool) -> Self {
        Value::from(truth).into()
    }
}

/// A ClassAd: names (case-insensitive, order kept) with expressions.
#[derive(Clone, Default)]
pub struct Ad {
    attributes: IndexMap<Arc<str>, Attribute, foldhash::fast::RandomState>,
    /// Whether an attribute has the name of a scope, such as `other`, and hides it.
    hides_scopes: bool,
}

#[derive(Clone)]
struct Attribute {
    name: Name,
    /// Where the name stood.
    span: Span,
    expr: Expr,
}

impl Ad {
    /// An ad without attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one ad, as the language writes it: `[ name = expression; … ]`.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_with(text, parser::Manners::Strict)
    }

    /// Reads one ad with the leniency of job descriptions: the brackets may be left out, and
    /// there may be comments of every kind.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn parse_lenient(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_with(text, parser::Manners::Jdl)
    }

    fn parse_with(text: &str, manners: parser::Manners) -> Result<Self, Vec<Diagnostic>> {
        let mut report = Report::default();
        let ad = parser::document(text, manners, &mut report);
        if report.has_errors() {
            return Err(report.into_diagnostics(text));
        }
        Ok(ad)
    }

    /// Reads all ads of a text: one behind the other, with or without `;` between them.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Vec<Diagnostic>> {
        let mut report = Report::default();
        let ads = parser::documents(text, parser::Manners::Strict, &mut report);
        if report.has_errors() {
            return Err(report.into_diagnostics(text));
        }
        Ok(ads)
    }

    /// Sets an attribute, replacing one of the same name.
    pub fn insert(&mut self, name: &str, expr: impl Into<Expr>) {
        self.put(Name::new(name), Span::default(), expr.into());
    }

    /// As `insert`; gives back the place of the name that was replaced.
    pub(crate) fn put(&mut self, name: Name, span: Span, expr: Expr) -> Option<Span> {
        self.hides_scopes |= name.word.is_some();
        let attribute = Attribute { name, span, expr };
        self.attributes
            .insert(Arc::clone(&attribute.name.key), attribute)
            .map(|old| old.span)
    }

    /// The expression of an attribute.
    pub fn get(&self, name: &str) -> Option<&Expr> {
        self.attributes
            .get(&*fold(name))
            .map(|attribute| &attribute.expr)
    }

    /// As `get`, for a name that is in lower case already.
    pub(crate) fn find(&self, key: &str) -> Option<&Expr> {
        self.attributes.get(key).map(|attribute| &attribute.expr)
    }

    pub(crate) fn hides_scopes(&self) -> bool {
        self.hides_scopes
    }

    /// Where the name of an attribute stood.
    pub(crate) fn name_span(&self, name: &str) -> Option<Span> {
        self.attributes
            .get(&*fold(name))
            .map(|attribute| attribute.span)
    }

    /// Gives an attribute that is there another expression; its place stays.
    pub(crate) fn replace(&mut self, name: &str, expr: Expr) {
        if let Some(attribute) = self.attributes.get_mut(&*fold(name)) {
            attribute.expr = expr;
        }
    }

    /// Takes an attribute out.
    pub fn remove(&mut self, name: &str) -> Option<Expr> {
        self.attributes
            .shift_remove(&*fold(name))
            .map(|attribute| attribute.expr)
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Whether there is no attribute.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// All attributes in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Expr)> {
        self.attributes
            .values()
            .map(|attribute| (&*attribute.name.text, &attribute.expr))
    }

    fn named(&self) -> impl Iterator<Item = (&Name, &Expr)> {
        self.attributes
            .values()
            .map(|attribute| (&attribute.name, &attribute.expr))
    }

    fn rewrite(&self, change: &impl Fn(&Expr) -> Option<Expr>) -> Self {
        let mut ad = self.clone();
        for attribute in ad.attributes.values_mut() {
            attribute.expr = attribute.expr.rewrite(change);
        }
        ad
    }
}

/// The same names with equal expressions; their order does not matter.
impl PartialEq for Ad {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .attributes
                .iter()
                .all(|(key, attribute)| other.find(key) == Some(&attribute.expr))
    }
}

impl fmt::Display for Ad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::ad(f, print::Style::of(f), self)
    }
}

impl fmt::Debug for Ad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
