//! The lowered attributes of one task, and where they stand in the text.

use serde_json::{Map, Value as Json};

use crate::syntax::{Node, Span};
use crate::{Ad, Expr};

/// What the attributes of one task are worth.
pub(super) struct Values<'a> {
    /// Of the first task.
    pub(super) lowered: &'a Map<String, Json>,
    /// What this task has instead.
    pub(super) varied: Vec<(&'static str, Json)>,
    /// The ad that they were made from, for the places.
    pub(super) ad: &'a Ad,
}

impl Values<'_> {
    fn json(&self, name: &str) -> Option<&Json> {
        let varied = self.varied.iter().find(|(known, _)| *known == name);
        varied
            .map(|(_, json)| json)
            .or_else(|| self.lowered.get(name))
    }

    /// A text as it is written.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.json(name).and_then(Json::as_str)
    }

    /// A text without blanks around it; `None` if nothing is left.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.raw(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        // -1, for "none", is as good as 0.
        let number = self.json(name).and_then(Json::as_i64)?;
        Some(u64::try_from(number).unwrap_or(0))
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.json(name).and_then(Json::as_bool).unwrap_or(false)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.json(name).is_some()
    }

    /// The texts of an attribute, with their places. A text alone is a list of one.
    pub(super) fn texts(&self, name: &str) -> Vec<(&str, Option<Span>)> {
        let expr = self.ad.get(name);
        match self.json(name) {
            Some(Json::String(text)) => vec![(text, expr.map(Expr::span))],
            Some(Json::Array(items)) => {
                let place = |i: usize| match expr.map(Expr::node) {
                    Some(Node::List(exprs)) => exprs.get(i).map(Expr::span),
                    _ => expr.map(Expr::span),
                };
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(i, item)| Some((item.as_str()?, place(i))))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn place(&self, name: &str) -> Option<Span> {
        self.ad.get(name).map(Expr::span)
    }
}
