//! What an attribute refers to.

use std::collections::BTreeMap;

use super::regexes;
use super::{Call, Entry, Fault, Outcome, Val, entry, made};
use crate::Expr;
use crate::eval::{AdRef, Evaluator, Scope};
use crate::syntax::{Node, ScopeWord};

pub(super) const TABLE: &[Entry] = &[entry("unresolved", 1, 2, unresolved)];

/// `unresolved(name)`: what the attribute refers to, itself or through others, that its
/// ad does not have, with commas between; `unresolved(name, pattern)`: whether one of
/// them matches, in any case.
fn unresolved<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (name, scope) = match call.arguments[0].node() {
        Node::Name(name) => (name, call.scope),
        Node::Select(base, name) => match call.evaluator.eval(base, call.scope) {
            Val::Ad(AdRef::Scope(_, scope)) => (name, scope),
            _ => return Err(Fault::Undefined),
        },
        _ => return Err(Fault::Error),
    };
    let found = call.evaluator.find(&name.key, scope);
    let (expr, place) = found.ok_or(Fault::Undefined)?;
    let mut search = Search {
        evaluator: call.evaluator,
        found: BTreeMap::new(),
        seen: Vec::new(),
    };
    search.look(expr, place)?;
    let names: Vec<String> = search.found.into_values().collect();
    if call.len() == 1 {
        return made(names.join(","));
    }
    let pattern = call.only_text(1)?;
    for name in &names {
        if regexes::matches(call, &pattern, "i", name)? {
            return Ok(Val::Bool(true));
        }
    }
    // Also tells that a pattern is none.
    regexes::matches(call, &pattern, "i", "").map(|_| Val::Bool(false))
}

struct Search<'e, 'a> {
    evaluator: &'e Evaluator<'a>,
    /// By their texts in lower case.
    found: BTreeMap<String, String>,
    /// The definitions that were looked through.
    seen: Vec<*const Node>,
}

impl<'a> Search<'_, 'a> {
    fn look(&mut self, expr: &'a Expr, scope: Scope) -> Result<(), Fault> {
        if !self.evaluator.spend(1) {
            return Err(Fault::Error);
        }
        match expr.node() {
            Node::Name(name) if name.word.is_some() => {}
            Node::Name(name) => match self.evaluator.find(&name.key, scope) {
                Some((definition, place)) => self.follow(definition, place)?,
                None => self.add(&name.text, &name.text),
            },
            Node::Select(base, name) => match base.node() {
                Node::Name(word) if word.word == Some(ScopeWord::Other) => {
                    let text = format!("{}.{}", word.text, name.text);
                    // The library leaves out `target`, but not `other`.
                    let shown = if &*word.key == "target" {
                        &*name.text
                    } else {
                        &text
                    };
                    self.add(&text, shown);
                }
                Node::Name(word) if word.word.is_some() => {
                    if let Some((definition, place)) = self.evaluator.find(&name.key, scope) {
                        self.follow(definition, place)?;
                    }
                }
                Node::Name(ad) if self.evaluator.find(&ad.key, scope).is_none() => {
                    let text = format!("{}.{}", ad.text, name.text);
                    self.add(&text, &text);
                }
                _ => self.look(base, scope)?,
            },
            Node::Record(ad) => {
                let inner = self.evaluator.enter(ad, scope);
                for (_, expr) in ad.iter() {
                    self.look(expr, inner)?;
                }
            }
            _ => {
                for child in expr.children() {
                    self.look(child, scope)?;
                }
            }
        }
        Ok(())
    }

    fn follow(&mut self, definition: &'a Expr, place: Scope) -> Result<(), Fault> {
        let node = std::ptr::from_ref(definition.node());
        if self.seen.contains(&node) {
            return Ok(());
        }
        self.seen.push(node);
        self.look(definition, place)
    }

    fn add(&mut self, text: &str, shown: &str) {
        let key = text.to_ascii_lowercase();
        self.found.entry(key).or_insert_with(|| shown.to_owned());
    }
}
