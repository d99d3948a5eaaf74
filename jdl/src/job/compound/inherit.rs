//! What a node takes over from the compound ad: what it does not say itself, and what
//! it names with `root.`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use super::Member;
use crate::diagnostic::Report;
use crate::job::size::parts;
use crate::syntax::{Name, Node, Span};
use crate::{Ad, Expr, Value, eval};

/// What belongs to the compound job as a whole, or is a name of it.
const NOT_SHARED: [&str; 16] = [
    "Account",
    "Type",
    "Nodes",
    "Dependencies",
    "Depends",
    "NodeName",
    "NodeType",
    "Name",
    "JobName",
    "UserTags",
    "NodesCollocation",
    "Max_nodes_running",
    "DefaultNodeRetryCount",
    "DefaultNodeShallowRetryCount",
    "HLRLocation",
    "LBAddress",
];

/// Begins what stands for a file that a node brings back.
pub(in crate::job) const NODE_SCHEME: &str = "node://";

/// What goes with another attribute: taken over only if the node lacks that one too.
const PAIRS: [(&str, &str); 5] = [
    ("InputSandboxDestFileName", "InputSandbox"),
    ("OutputSandboxDestURI", "OutputSandbox"),
    ("OutputSandboxDestURI", "OutputSandboxBaseDestURI"),
    ("OutputSandboxBaseDestURI", "OutputSandboxDestURI"),
    ("PrologueArguments", "Prologue"),
];

/// What is taken over as something else, and goes before what has that name itself.
const DEFAULTS: [(&str, &str); 2] = [
    ("DefaultNodeRetryCount", "RetryCount"),
    ("DefaultNodeShallowRetryCount", "ShallowRetryCount"),
];

/// Most that the nodes together take over, counted in parts of expressions: a short text could
/// describe more than there is memory for.
const PARTS_MAX: usize = 20_000_000;

/// The compound ad as its nodes see it.
pub(in crate::job) struct Shared<'a> {
    root: &'a Ad,
    attributes: Vec<(Name, Span, Expr)>,
    /// How many parts these have.
    attributes_parts: usize,
    /// By name in lower case: what attributes of the compound ad are worth, as far as asked.
    values: RefCell<HashMap<Arc<str>, Option<Worth>>>,
    /// How many parts were taken over.
    parts: Cell<usize>,
}

/// What an attribute is worth, and how many parts that has.
type Worth = (Expr, usize);

impl<'a> Shared<'a> {
    pub(in crate::job) fn of(root: &'a Ad, report: &mut Report) -> Self {
        let mut shared = Self {
            root,
            attributes: Vec::new(),
            attributes_parts: 0,
            values: RefCell::default(),
            parts: Cell::new(0),
        };
        let is_shared = |name: &str| {
            !NOT_SHARED
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name))
        };
        let mut attributes = Vec::new();
        for (name, expr) in root.iter().filter(|(name, _)| is_shared(name)) {
            let default = DEFAULTS
                .iter()
                .find(|(_, own)| own.eq_ignore_ascii_case(name));
            if default.is_some_and(|(default, _)| root.get(default).is_some()) {
                continue;
            }
            let span = root.name_span(name).unwrap_or_default();
            attributes.push((Name::new(name), span, shared.resolved(expr, report)));
        }
        for (default, own) in DEFAULTS {
            if let Some(expr) = root.get(default) {
                let span = root.name_span(default).unwrap_or_default();
                attributes.push((Name::new(own), span, expr.clone()));
            }
        }
        shared.attributes_parts = attributes.iter().map(|(_, _, expr)| parts(expr)).sum();
        shared.attributes = attributes;
        shared
    }

    /// Puts in what a node names of the compound ad.
    pub(in crate::job) fn resolve(&self, own: &mut Ad, report: &mut Report) {
        let names: Vec<String> = own.iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let resolved = own.get(&name).map(|expr| self.resolved(expr, report));
            if let Some(resolved) = resolved {
                own.replace(&name, resolved);
            }
        }
    }

    /// Adds what a node does not say itself.
    pub(in crate::job) fn complete(&self, member: &mut Member) {
        let own = &member.own;
        let mut ad = own.clone();
        if !self.take(self.attributes_parts) {
            return;
        }
        for (name, span, expr) in &self.attributes {
            let goes_with = |(with, lead): &(&str, &str)| {
                with.eq_ignore_ascii_case(&name.text) && own.get(lead).is_some()
            };
            if own.find(&name.key).is_none() && !PAIRS.iter().any(goes_with) {
                ad.put(name.clone(), *span, expr.clone());
            }
        }
        member.ad = ad;
    }

    /// The expression with what it names of the compound ad put in.
    fn resolved(&self, expr: &Expr, report: &mut Report) -> Expr {
        if !refers(expr) {
            return expr.clone();
        }
        let missing = RefCell::new(Vec::new());
        let resolved = expr.rewrite(&|expr| match expr.node() {
            Node::Select(..) | Node::Subscript(..) if output_of(expr).is_some() => {
                self.output(expr)
            }
            Node::Select(_, name) if is_reference(expr) => {
                let found = self.value(name);
                if found.is_none() {
                    missing.borrow_mut().push((expr.span(), name.text.clone()));
                }
                Some(found.unwrap_or_else(|| Expr::at(Node::List([].into()), expr.span())))
            }
            Node::List(items) if items.iter().any(is_reference) => {
                let items = items.iter().flat_map(|item| self.spliced(item, &missing));
                Some(Expr::at(Node::List(items.collect()), expr.span()))
            }
            _ => None,
        });
        for (span, name) in missing.into_inner() {
            report.error_with(
                span,
                format!("`{name}` is not an attribute of the compound job"),
                "set it beside `Nodes`, or write what is meant here",
            );
        }
        resolved
    }

    /// What a node brings back, by names that tell whose it is: files that the submitter
    /// does not have.
    fn output(&self, expr: &Expr) -> Option<Expr> {
        let node = output_of(expr)?;
        let file = |value: &Value| {
            let file = value.as_str().unwrap_or_default();
            Value::from(format!("{NODE_SCHEME}{}/{file}", node.text))
        };
        let inside = expr.rewrite(&|expr| match expr.node() {
            Node::Select(_, name) if is_reference(expr) => self.value(name),
            _ => None,
        });
        let files = match eval(&inside, self.root, None) {
            Value::List(items) => Value::List(items.iter().map(file).collect()),
            value @ Value::String(_) => file(&value),
            _ => return None,
        };
        Some(placed(files, expr.span()))
    }

    /// The items that stand in a list for one of its items: several, if that is a
    /// list of the compound ad.
    fn spliced(&self, item: &Expr, missing: &RefCell<Vec<(Span, Arc<str>)>>) -> Vec<Expr> {
        let Node::Select(_, name) = item.node() else {
            return vec![item.clone()];
        };
        if !is_reference(item) {
            return vec![item.clone()];
        }
        match self.value(name) {
            Some(found) => match found.node() {
                Node::List(items) => items.to_vec(),
                _ => vec![found],
            },
            None => {
                missing.borrow_mut().push((item.span(), name.text.clone()));
                Vec::new()
            }
        }
    }

    /// An attribute of the compound ad: its value, if it has one without a site.
    fn value(&self, name: &Name) -> Option<Expr> {
        let mut values = self.values.borrow_mut();
        let value = values.entry(Arc::clone(&name.key)).or_insert_with(|| {
            let value = worth(self.root.find(&name.key)?, self.root);
            let parts = parts(&value);
            Some((value, parts))
        });
        let (value, parts) = value.as_ref()?;
        if self.take(*parts) {
            Some(value.clone())
        } else {
            Some(Expr::at(Node::List([].into()), value.span()))
        }
    }

    /// Counts parts that a node takes over; whether that is still allowed.
    fn take(&self, parts: usize) -> bool {
        self.parts.set(self.parts.get().saturating_add(parts));
        self.parts.get() <= PARTS_MAX
    }

    /// Refuses nodes that take over too much.
    pub(in crate::job) fn check_size(&self, report: &mut Report) -> Option<()> {
        if self.take(0) {
            return Some(());
        }
        report.error_with(
            self.root.name_span("Nodes"),
            "the nodes take over too much from the ad around them",
            "shorten its lists, pack its files, or split the job",
        );
        None
    }
}

/// An expression that stands for itself, or else its value, if it has one without a site.
fn worth(expr: &Expr, root: &Ad) -> Expr {
    let is_plain = |expr: &Expr| expr.literal().is_some();
    let stands = match expr.node() {
        Node::List(items) => items.iter().all(is_plain),
        _ => is_plain(expr),
    };
    if stands {
        return expr.clone();
    }
    match eval(expr, root, None) {
        Value::Undefined | Value::Error => expr.clone(),
        value => placed(value, expr.span()),
    }
}

/// `root.name`; in a node's ad the ad around it is the compound job's.
fn is_reference(expr: &Expr) -> bool {
    match expr.node() {
        Node::Select(base, _) => match base.node() {
            Node::Name(name) => ["root", "toplevel", "parent"].contains(&&*name.key),
            _ => false,
        },
        _ => false,
    }
}

/// The node whose outputs are meant: `root.nodes.a.description.OutputSandbox`, or one of them.
fn output_of(expr: &Expr) -> Option<&Name> {
    let list = match expr.node() {
        Node::Subscript(list, _) => list,
        _ => expr,
    };
    let Node::Select(base, attribute) = list.node() else {
        return None;
    };
    if &*attribute.key != "outputsandbox" {
        return None;
    }
    let mut base = base;
    while let Node::Select(inner, name) = base.node() {
        match inner.node() {
            Node::Select(_, nodes) if is_reference(inner) && &*nodes.key == "nodes" => {
                return Some(name);
            }
            _ => base = inner,
        }
    }
    None
}

fn refers(expr: &Expr) -> bool {
    is_reference(expr) || expr.children().into_iter().any(refers)
}

/// A value as an expression that stands at a place.
fn placed(value: Value, span: Span) -> Expr {
    let node = match value {
        Value::List(items) => Node::List(
            items
                .iter()
                .map(|item| placed(item.clone(), span))
                .collect(),
        ),
        Value::Ad(ad) => Node::Record(ad),
        value => Node::Literal(value),
    };
    Expr::at(node, span)
}
