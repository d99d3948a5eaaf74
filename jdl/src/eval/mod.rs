//! Evaluation: what an expression is worth, seen from one ad against another.
//!
//! The rules are those of the ClassAd language as HTCondor's library has them:
//! three-valued logic, strict operators, names that are looked up from the inner
//! ad outwards and then (the habit of the old language) in the other ad. Nothing
//! is copied while an expression is walked: lists and ads stay where they are
//! until somebody asks for what is in them.
//!
//! Evaluation is total and bounded: beyond [`STEPS_MAX`] steps or [`DEPTH_MAX`]
//! levels the value is ERROR; a name that leads back to itself is UNDEFINED.
//! It reads no clock: `time()` is the attribute `CurrentTime` of one of the ads.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::syntax::{Name, Node, ScopeWord, fold};
use crate::{Ad, Expr, Value};

mod clauses;
mod differences;
pub(crate) mod functions;
mod operators;
mod reference;

pub use clauses::{Clause, clauses};
pub use differences::{DIFFERENCES, Difference};
pub use reference::reference;

/// Most steps that one evaluation takes.
pub const STEPS_MAX: u32 = 100_000;

/// Deepest nesting of expressions that refer to each other.
pub const DEPTH_MAX: u32 = 400;

/// Longest text that an expression makes, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// So many bytes of a text, or items of a list, are one step for whoever handles them.
const SIZE_PER_STEP: usize = 32;

/// The value of `expr` as seen from `my`, with `other` as the ad on the other side.
/// Total: never panics, never hangs, bounded in time and depth.
pub fn eval(expr: &Expr, my: &Ad, other: Option<&Ad>) -> Value {
    if let Some(value) = expr.literal() {
        return value.clone();
    }
    let limits = Limits::default();
    let evaluator = Evaluator::new(my, other, &limits);
    let value = evaluator.eval(expr, Scope::MY);
    evaluator.finish(value)
}

/// What remains of an evaluation's budget; shared by all its parts.
#[derive(Default)]
pub(crate) struct Limits {
    steps: Cell<u32>,
    depth: Cell<u32>,
    /// How many random numbers were drawn.
    draws: Cell<u64>,
    /// The definitions that are being evaluated, to find cycles of names.
    open: RefCell<Vec<*const Node>>,
}

/// A value in the making: refers to the tree where it can.
#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    Undefined,
    Error,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(Cow<'a, str>),
    AbsTime { seconds: i64, offset: i32 },
    RelTime(f64),
    List(Items<'a>),
    Ad(AdRef<'a>),
}

#[derive(Clone, Debug)]
pub(crate) enum Items<'a> {
    /// Not evaluated yet.
    Lazy(&'a [Expr], Scope),
    Known(Arc<[Value]>),
}

#[derive(Clone, Debug)]
pub(crate) enum AdRef<'a> {
    /// The ad of a scope.
    Scope(&'a Ad, Scope),
    /// One that a function made.
    Known(Arc<Ad>),
}

/// An ad that names are looked up in: an index into the evaluator's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope(u32);

impl Scope {
    pub(crate) const MY: Self = Self(0);
    const OTHER: Self = Self(1);
}

#[derive(Clone, Copy)]
struct Frame<'a> {
    ad: Option<&'a Ad>,
    /// The scope around it; itself if there is none.
    parent: Scope,
    /// The outermost ad on its side.
    root: Scope,
}

pub(crate) struct Evaluator<'a> {
    roots: [Frame<'a>; 2],
    /// Nested ads, numbered after the two outermost.
    nested: RefCell<Vec<Frame<'a>>>,
    limits: &'a Limits,
}

impl<'a> Evaluator<'a> {
    fn new(my: &'a Ad, other: Option<&'a Ad>, limits: &'a Limits) -> Self {
        let root = |ad, scope| Frame {
            ad,
            parent: scope,
            root: scope,
        };
        Self {
            roots: [root(Some(my), Scope::MY), root(other, Scope::OTHER)],
            nested: RefCell::default(),
            limits,
        }
    }

    fn frame(&self, scope: Scope) -> Frame<'a> {
        match scope.0 as usize {
            root @ (0 | 1) => self.roots[root],
            nested => self.nested.borrow()[nested - 2],
        }
    }

    /// The scope of `ad`, which stands inside of `parent`.
    pub(crate) fn enter(&self, ad: &'a Ad, parent: Scope) -> Scope {
        let root = self.frame(parent).root;
        let mut nested = self.nested.borrow_mut();
        nested.push(Frame {
            ad: Some(ad),
            parent,
            root,
        });
        Scope(nested.len() as u32 + 1) // at most STEPS_MAX
    }

    pub(crate) fn eval(&self, expr: &'a Expr, scope: Scope) -> Val<'a> {
        if let Node::Literal(value) = expr.node() {
            return Val::from(value);
        }
        let (steps, depth) = (self.limits.steps.get(), self.limits.depth.get());
        if steps >= STEPS_MAX || depth >= DEPTH_MAX {
            // Let everything else end soon too: a part that is missing would
            // make the rest mean something else.
            self.limits.steps.set(STEPS_MAX);
            return Val::Error;
        }
        self.limits.steps.set(steps + 1);
        self.limits.depth.set(depth + 1);
        let value = self.eval_node(expr.node(), scope);
        self.limits.depth.set(depth);
        value
    }

    /// Counts steps that something takes besides the one of its expression; `false` if
    /// they are more than there are.
    pub(crate) fn spend(&self, steps: usize) -> bool {
        let steps = u32::try_from(steps).unwrap_or(STEPS_MAX);
        let spent = self.limits.steps.get().saturating_add(steps).min(STEPS_MAX);
        self.limits.steps.set(spent);
        spent < STEPS_MAX
    }

    /// Counts what it takes to handle a value.
    pub(crate) fn spend_on(&self, value: &Val<'_>) -> bool {
        match value {
            Val::Text(text) => self.spend(text.len() / SIZE_PER_STEP),
            Val::List(items) => self.spend(items.len() / SIZE_PER_STEP),
            _ => true,
        }
    }

    fn eval_node(&self, node: &'a Node, scope: Scope) -> Val<'a> {
        match node {
            Node::Literal(value) => Val::from(value),
            Node::Name(name) => self.name(name, scope),
            Node::Absolute(name) => self.absolute(name, scope),
            Node::Select(base, name) => self.select(base, name, scope),
            Node::Subscript(base, index) => self.subscript(base, index, scope),
            Node::Unary(op, operand) => operators::unary(*op, self.eval(operand, scope)),
            Node::Binary(op, left, right) => {
                let left = self.eval(left, scope);
                operators::binary(*op, &left, &self.eval(right, scope))
            }
            Node::And(operands) => self.chain(operands, false, scope),
            Node::Or(operands) => self.chain(operands, true, scope),
            Node::Conditional(condition, yes, no) => match self.eval(condition, scope).truth() {
                Ok(true) => self.eval(yes, scope),
                Ok(false) => self.eval(no, scope),
                Err(fault) => fault.into(),
            },
            Node::Default(left, right) => match self.eval(left, scope) {
                Val::Undefined => self.eval(right, scope),
                value => value,
            },
            Node::Call(_, Some(function), arguments) => function.call(self, arguments, scope),
            Node::Call(_, None, _) => Val::Error,
            Node::List(items) => Val::List(Items::Lazy(items, scope)),
            Node::Record(ad) => Val::Ad(AdRef::Scope(ad, self.enter(ad, scope))),
        }
    }

    /// `&&` (`decisive` is false) or `||` (`decisive` is true), from the left:
    /// a decisive operand settles it, even behind UNDEFINED; an ERROR does at once.
    fn chain(&self, operands: &'a [Expr], decisive: bool, scope: Scope) -> Val<'a> {
        let mut unknown = false;
        for operand in operands {
            match self.eval(operand, scope).truth() {
                Ok(truth) if truth == decisive => return Val::Bool(decisive),
                Ok(_) => {}
                Err(Fault::Undefined) => unknown = true,
                Err(Fault::Error) => return Val::Error,
            }
        }
        if unknown {
            Val::Undefined
        } else {
            Val::Bool(!decisive)
        }
    }

    // Names.

    fn name(&self, name: &Name, scope: Scope) -> Val<'a> {
        if let Some((expr, place)) = self.find(&name.key, scope) {
            return self.defined(expr, place);
        }
        match name.word {
            Some(word) => self.scope_word(word, scope),
            // The habit of the old language, where ads were not nested.
            None if self.frame(scope).parent == scope => self.attribute(self.across(scope), name),
            None => Val::Undefined,
        }
    }

    /// The value of a name that stands for `expr`. A name that leads back to itself
    /// is UNDEFINED.
    fn defined(&self, expr: &'a Expr, place: Scope) -> Val<'a> {
        if let Node::Literal(value) = expr.node() {
            return Val::from(value);
        }
        let node = std::ptr::from_ref(expr.node());
        if self.limits.open.borrow().contains(&node) {
            return Val::Undefined;
        }
        self.limits.open.borrow_mut().push(node);
        let value = self.eval(expr, place);
        self.limits.open.borrow_mut().pop();
        value
    }

    /// What a name (in lower case) is defined as, and where: the innermost ad from
    /// `scope` outwards that has it.
    pub(crate) fn find(&self, key: &str, mut scope: Scope) -> Option<(&'a Expr, Scope)> {
        loop {
            let frame = self.frame(scope);
            if let Some(expr) = frame.ad.and_then(|ad| ad.find(key)) {
                return Some((expr, scope));
            }
            if frame.parent == scope {
                return None;
            }
            scope = frame.parent;
        }
    }

    /// The outermost ad on the other side.
    fn across(&self, scope: Scope) -> Scope {
        if self.frame(scope).root == Scope::MY {
            Scope::OTHER
        } else {
            Scope::MY
        }
    }

    fn scope_word(&self, word: ScopeWord, scope: Scope) -> Val<'a> {
        let target = self.word_scope(word, scope);
        match target.and_then(|target| Some((self.frame(target).ad?, target))) {
            Some((ad, target)) => Val::Ad(AdRef::Scope(ad, target)),
            None => Val::Undefined,
        }
    }

    fn word_scope(&self, word: ScopeWord, scope: Scope) -> Option<Scope> {
        let frame = self.frame(scope);
        match word {
            ScopeWord::Other => Some(self.across(scope)),
            ScopeWord::Root => Some(frame.root),
            ScopeWord::My => Some(scope),
            ScopeWord::Parent => (frame.parent != scope).then_some(frame.parent),
        }
    }

    fn absolute(&self, name: &Name, scope: Scope) -> Val<'a> {
        self.attribute(self.frame(scope).root, name)
    }

    /// An attribute of the ad of `scope`, or of one around it, or an ad that is named by
    /// its place as seen from there; attributes of the other side do not count.
    fn attribute(&self, scope: Scope, name: &Name) -> Val<'a> {
        match (self.find(&name.key, scope), name.word) {
            (Some((expr, place)), _) => self.defined(expr, place),
            (None, Some(word)) if self.frame(scope).ad.is_some() => self.scope_word(word, scope),
            (None, _) => Val::Undefined,
        }
    }

    fn select(&self, base: &'a Expr, name: &Name, scope: Scope) -> Val<'a> {
        // `other.X` and the like, by far the most frequent selections, go without
        // the detour over a value.
        if let Node::Name(Name {
            word: Some(word), ..
        }) = base.node()
            && !self.hides_scopes(scope)
        {
            return match self.word_scope(*word, scope) {
                Some(target) => self.attribute(target, name),
                None => Val::Undefined,
            };
        }
        let base = self.eval(base, scope);
        self.select_from(base, name)
    }

    fn hides_scopes(&self, mut scope: Scope) -> bool {
        loop {
            let frame = self.frame(scope);
            if frame.ad.is_some_and(Ad::hides_scopes) {
                return true;
            }
            if frame.parent == scope {
                return false;
            }
            scope = frame.parent;
        }
    }

    fn select_from(&self, base: Val<'a>, name: &Name) -> Val<'a> {
        match base {
            Val::Ad(AdRef::Scope(_, scope)) => self.attribute(scope, name),
            Val::Ad(ad @ AdRef::Known(_)) => self.own_attribute(&ad, &name.key),
            Val::List(items) => {
                let selected = (0..items.len()).map(|i| {
                    let selected = self.select_from(self.item(&items, i), name);
                    self.finish(selected)
                });
                Val::List(Items::Known(selected.collect()))
            }
            Val::Undefined => Val::Undefined,
            _ => Val::Error,
        }
    }

    /// Evaluates a tree that does not live as long as the ads: what a function
    /// made. With `ad`, names are looked up in it first, and in `scope` after it.
    pub(crate) fn eval_apart(&self, expr: &Expr, ad: Option<&Ad>, scope: Scope) -> Val<'a> {
        let apart = Evaluator {
            roots: self.roots,
            nested: RefCell::new(self.nested.borrow().clone()),
            limits: self.limits,
        };
        let scope = ad.map_or(scope, |ad| apart.enter(ad, scope));
        let value = apart.eval(expr, scope);
        apart.finish(value).into()
    }

    fn subscript(&self, base: &'a Expr, index: &'a Expr, scope: Scope) -> Val<'a> {
        let base = self.eval(base, scope);
        let index = self.eval(index, scope);
        match (base, index) {
            (Val::Error, _) | (_, Val::Error) => Val::Error,
            (Val::Undefined, _) | (_, Val::Undefined) => Val::Undefined,
            (Val::List(items), Val::Int(index)) => match usize::try_from(index) {
                Ok(index) if index < items.len() => self.item(&items, index),
                _ => Val::Error,
            },
            (Val::Ad(ad), Val::Text(name)) => self.own_attribute(&ad, &fold(&name)),
            _ => Val::Error,
        }
    }

    /// `ad["name"]` looks at this ad alone, not at those around it.
    fn own_attribute(&self, ad: &AdRef<'a>, key: &str) -> Val<'a> {
        match ad {
            AdRef::Scope(ad, scope) => match ad.find(key) {
                Some(expr) => self.defined(expr, *scope),
                None => Val::Undefined,
            },
            AdRef::Known(ad) => match ad.find(key) {
                Some(expr) => self.eval_apart(expr, Some(ad), Scope::MY),
                None => Val::Undefined,
            },
        }
    }

    /// The item `index` of a list, which must be there.
    pub(crate) fn item(&self, items: &Items<'a>, index: usize) -> Val<'a> {
        match items {
            Items::Lazy(exprs, scope) => self.eval(&exprs[index], *scope),
            Items::Known(values) => values[index].clone().into(),
        }
    }

    /// The value to hand out: lists evaluated, nothing borrowed. An ad keeps its
    /// expressions.
    pub(crate) fn finish(&self, value: Val<'a>) -> Value {
        match value {
            Val::Undefined => Value::Undefined,
            Val::Error => Value::Error,
            Val::Bool(truth) => Value::Boolean(truth),
            Val::Int(number) => Value::Integer(number),
            Val::Real(number) => Value::Real(number),
            Val::Text(text) => Value::String(text.into()),
            Val::AbsTime { seconds, offset } => Value::AbsTime { seconds, offset },
            Val::RelTime(seconds) => Value::RelTime(seconds),
            Val::List(Items::Known(values)) => Value::List(values),
            Val::List(items) => {
                let depth = self.limits.depth.get();
                if depth >= DEPTH_MAX || !self.spend(items.len() / SIZE_PER_STEP) {
                    return Value::Error;
                }
                self.limits.depth.set(depth + 1);
                let values = (0..items.len())
                    .map(|i| {
                        let item = self.item(&items, i);
                        self.finish(item)
                    })
                    .collect();
                self.limits.depth.set(depth);
                Value::List(values)
            }
            Val::Ad(AdRef::Known(ad)) => Value::Ad(ad),
            Val::Ad(AdRef::Scope(ad, _)) => Value::Ad(Arc::new(ad.clone())),
        }
    }

    /// An attribute by its name on either side, for functions that need to know
    /// something of their surroundings.
    pub(crate) fn surrounding(&self, key: &str) -> Val<'a> {
        for scope in [Scope::MY, Scope::OTHER] {
            if let Some(expr) = self.frame(scope).ad.and_then(|ad| ad.find(key)) {
                return self.eval(expr, scope);
            }
        }
        Val::Undefined
    }

    /// `expr`, or what it is defined as if it is a name.
    pub(crate) fn definition(&self, expr: &'a Expr, scope: Scope) -> &'a Expr {
        match expr.node() {
            Node::Name(name) => self.find(&name.key, scope).map_or(expr, |found| found.0),
            _ => expr,
        }
    }

    /// The number of this random draw within the evaluation.
    pub(crate) fn draw(&self) -> u64 {
        let draw = self.limits.draws.get();
        self.limits.draws.set(draw + 1);
        draw
    }
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Undefined,
    Error,
}

impl From<Fault> for Val<'_> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Undefined => Self::Undefined,
            Fault::Error => Self::Error,
        }
    }
}

impl Val<'_> {
    /// As a truth value: a number counts as true if it is not zero, a string is an error.
    pub(crate) fn truth(&self) -> Result<bool, Fault> {
        match self {
            Self::Bool(truth) => Ok(*truth),
            Self::Int(number) => Ok(*number != 0),
            Self::Real(number) => Ok(*number != 0.0),
            Self::Undefined => Err(Fault::Undefined),
            _ => Err(Fault::Error),
        }
    }
}

impl Items<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Lazy(exprs, _) => exprs.len(),
            Self::Known(values) => values.len(),
        }
    }
}

impl<'a> From<&'a Value> for Val<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::String(text) => Val::Text(Cow::Borrowed(text)),
            other => other.clone().into(),
        }
    }
}

impl From<Value> for Val<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Undefined => Val::Undefined,
            Value::Error => Val::Error,
            Value::Boolean(truth) => Val::Bool(truth),
            Value::Integer(number) => Val::Int(number),
            Value::Real(number) => Val::Real(number),
            Value::String(text) => Val::Text(Cow::Owned(text.as_ref().to_owned())),
            Value::AbsTime { seconds, offset } => Val::AbsTime { seconds, offset },
            Value::RelTime(seconds) => Val::RelTime(seconds),
            Value::List(values) => Val::List(Items::Known(values)),
            Value::Ad(ad) => Val::Ad(AdRef::Known(ad)),
        }
    }
}
