//! Who waits for whom: `Dependencies = { { a, b }, { { a, b }, c } }`.

use std::collections::HashMap;

use super::{Member, word};
use crate::diagnostic::{Report, nearest};
use crate::syntax::{Node, Span};
use crate::{Ad, Expr};

/// Most dependencies of one job, each between two nodes.
pub const EDGES_MAX: usize = 1_000_000;

/// Most cycles that are told of.
const CYCLES_TOLD_MAX: usize = 5;

/// Most nodes of a cycle that are told of.
const CYCLE_NODES_TOLD_MAX: usize = 12;

/// What is told of a dependency that is written wrongly.
const PAIR_HELP: &str = "write `{ before, after }`; either side may be a group: `{ { a, b }, c }`";

/// What must end before what may start, by place, each pair once.
pub(in crate::job) fn read(
    root: &Ad,
    members: &[Member],
    report: &mut Report,
) -> Option<Vec<(u32, u32)>> {
    let before = report.len();
    let names = members.iter().zip(0_u32..);
    let mut reader = Reader {
        members,
        places: names
            .map(|(member, place)| (member.name.to_ascii_lowercase(), place))
            .collect(),
        edges: Vec::new(),
        report,
    };
    for expr in written(root) {
        reader.dependencies(expr)?;
    }
    let mut edges = reader.edges;
    edges.sort_unstable_by_key(|edge| (edge.before, edge.after));
    edges.dedup_by_key(|edge| (edge.before, edge.after));
    refuse_cycles(members, &edges, report);
    let fine = report.len() == before || !report.has_errors();
    fine.then(|| edges.iter().map(|edge| (edge.before, edge.after)).collect())
}

/// `Dependencies` beside the nodes and among them.
pub(in crate::job) fn written(root: &Ad) -> impl Iterator<Item = &Expr> {
    let among = match root.get("Nodes").map(Expr::node) {
        Some(Node::Record(record)) => record.get("Dependencies"),
        _ => None,
    };
    root.get("Dependencies").into_iter().chain(among)
}

struct Edge {
    before: u32,
    after: u32,
    place: Span,
}

struct Reader<'a> {
    members: &'a [Member],
    /// By name in lower case: names do not distinguish case.
    places: HashMap<String, u32>,
    edges: Vec<Edge>,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn dependencies(&mut self, expr: &Expr) -> Option<()> {
        let Node::List(items) = expr.node() else {
            let message = "`Dependencies` must be a list of pairs";
            self.report.error_with(expr.span(), message, PAIR_HELP);
            return None;
        };
        // One pair that stands alone, without the list around it.
        if let [first, second] = &**items
            && (word(first).is_some() || word(second).is_some())
        {
            self.report.warn(
                expr.span(),
                "this is taken as one dependency",
                "`Dependencies` is a list of pairs: `{ { before, after } }`",
            );
            return self.pair(expr, items);
        }
        for item in items {
            match item.node() {
                Node::List(sides) => self.pair(item, sides)?,
                _ => {
                    let message = "a dependency has two sides";
                    self.report.error_with(item.span(), message, PAIR_HELP);
                }
            }
        }
        Some(())
    }

    fn pair(&mut self, pair: &Expr, sides: &[Expr]) -> Option<()> {
        let [first, second] = sides else {
            let message = format!("a dependency has two sides, not {}", sides.len());
            self.report.error_with(pair.span(), message, PAIR_HELP);
            return Some(());
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        self.group(first, &mut before);
        self.group(second, &mut after);
        let count = before.len().saturating_mul(after.len());
        if count > EDGES_MAX.saturating_sub(self.edges.len()) {
            self.report.error_with(
                pair.span(),
                "the job has too many dependencies",
                format!(
                    "it may have {EDGES_MAX} between two nodes each; put a node between two large groups"
                ),
            );
            return None;
        }
        for &before in &before {
            for &after in &after {
                if before == after {
                    self.refuse_self(before, pair.span());
                    continue;
                }
                self.edges.push(Edge {
                    before,
                    after,
                    place: pair.span(),
                });
            }
        }
        Some(())
    }

    fn refuse_self(&mut self, node: u32, place: Span) {
        let name = &self.members[node as usize].name;
        self.report.error_with(
            place,
            format!("`{name}` would wait for itself"),
            "take it out of one of the two sides",
        );
    }

    /// The nodes of one side: a name, or a list of such sides.
    fn group(&mut self, expr: &Expr, nodes: &mut Vec<u32>) {
        if let Node::List(items) = expr.node() {
            if items.is_empty() {
                let message = "this side of the dependency names no node";
                self.report.error_with(expr.span(), message, PAIR_HELP);
            }
            for item in items {
                self.group(item, nodes);
            }
            return;
        }
        let Some(name) = word(expr) else {
            let message = "this is not the name of a node";
            self.report.error_with(expr.span(), message, PAIR_HELP);
            return;
        };
        match self.places.get(&*name.to_ascii_lowercase()) {
            Some(node) => nodes.push(*node),
            None if self.report.is_crowded() => {
                self.report.error(expr.span(), "there is no such node");
            }
            None => {
                let known = self.members.iter().map(|member| &*member.name);
                let help = match nearest(name, known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("the nodes are {}", self.told_names()),
                };
                let message = format!("there is no node `{name}`");
                self.report.error_with(expr.span(), message, help);
            }
        }
    }

    fn told_names(&self) -> String {
        let names = self.members.iter().take(CYCLE_NODES_TOLD_MAX);
        let mut told: Vec<String> = names.map(|member| format!("`{}`", member.name)).collect();
        if self.members.len() > told.len() {
            told.push(format!("and {} more", self.members.len() - told.len()));
        }
        told.join(", ")
    }
}

/// Nodes that wait for each other in a circle never start.
fn refuse_cycles(members: &[Member], edges: &[Edge], report: &mut Report) {
    let mut gone = vec![false; members.len()];
    for _ in 0..CYCLES_TOLD_MAX {
        let Some(cycle) = cycle(edges, &mut gone) else {
            return;
        };
        let mut names: Vec<&str> = cycle
            .iter()
            .take(CYCLE_NODES_TOLD_MAX)
            .map(|&node| &*members[node as usize].name)
            .collect();
        if cycle.len() > names.len() {
            names.push("…");
        }
        names.extend(cycle.first().map(|&node| &*members[node as usize].name));
        let closing =
            |edge: &&Edge| Some(&edge.before) == cycle.last() && Some(&edge.after) == cycle.first();
        report.error_with(
            edges.iter().find(closing).map(|edge| edge.place),
            format!("these nodes wait for each other: {}", names.join(" -> ")),
            "take one of these dependencies away",
        );
        for node in cycle {
            gone[node as usize] = true;
        }
    }
}

/// Nodes in a circle, each before the next. Nodes that are in none are marked as gone:
/// those that wait for nobody, then those that wait only for them, and so on.
fn cycle(edges: &[Edge], gone: &mut [bool]) -> Option<Vec<u32>> {
    let counted =
        |edge: &&Edge, gone: &[bool]| !gone[edge.before as usize] && !gone[edge.after as usize];
    let mut waits_for = vec![0_u32; gone.len()];
    for edge in edges.iter().filter(|edge| counted(edge, gone)) {
        waits_for[edge.after as usize] += 1;
    }
    let nodes = 0..u32::try_from(gone.len()).unwrap_or(u32::MAX);
    let is_open = |node: &u32| !gone[*node as usize] && waits_for[*node as usize] == 0;
    let mut open: Vec<u32> = nodes.clone().filter(is_open).collect();
    while let Some(node) = open.pop() {
        gone[node as usize] = true;
        for edge in after(edges, node)
            .iter()
            .filter(|edge| !gone[edge.after as usize])
        {
            let waits = &mut waits_for[edge.after as usize];
            *waits -= 1;
            if *waits == 0 {
                open.push(edge.after);
            }
        }
    }
    // Each that is left waits for another that is left: going back comes round.
    let mut waited_for = HashMap::new();
    for edge in edges.iter().filter(|edge| counted(edge, gone)) {
        waited_for.entry(edge.after).or_insert(edge.before);
    }
    let mut node = nodes.clone().find(|node| waited_for.contains_key(node))?;
    let mut path = Vec::new();
    let mut steps = HashMap::new();
    let start = loop {
        if let Some(step) = steps.insert(node, path.len()) {
            break step;
        }
        path.push(node);
        node = *waited_for.get(&node)?;
    };
    let mut cycle = path.split_off(start);
    cycle.reverse();
    // Told from the node that is written first.
    let first = cycle.iter().enumerate().min_by_key(|(_, node)| **node)?.0;
    cycle.rotate_left(first);
    Some(cycle)
}

/// The dependencies in which `node` goes before; `edges` are sorted.
fn after(edges: &[Edge], node: u32) -> &[Edge] {
    let start = edges.partition_point(|edge| edge.before < node);
    let end = edges.partition_point(|edge| edge.before <= node);
    &edges[start..end]
}
