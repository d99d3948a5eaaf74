//! Text → syntax tree, and back.

use crate::{Diagnostic, Value};

/// An expression. `Display` prints the canonical form, which parses back to an equal expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr;

impl Expr {
    /// Reads one expression.
    ///
    /// # Errors
    /// Every diagnostic, at least one of them an error.
    pub fn parse(_text: &str) -> Result<Self, Vec<Diagnostic>> {
        todo!()
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

impl From<Value> for Expr {
    fn from(_: Value) -> Self {
        todo!()
    }
}

/// A ClassAd: names (case-insensitive, order kept) with expressions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ad;

impl Ad {
    /// An ad without attributes.
    pub fn new() -> Self {
        Self
    }

    /// Sets an attribute, replacing one of the same name.
    pub fn insert(&mut self, _name: &str, _expr: impl Into<Expr>) {
        todo!()
    }

    /// The expression of an attribute.
    pub fn get(&self, _name: &str) -> Option<&Expr> {
        todo!()
    }

    /// All attributes in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Expr)> {
        std::iter::empty()
    }
}
