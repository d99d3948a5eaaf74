//! Compound jobs: collections, and DAGs whose nodes wait for each other.
//!
//! - [`members`]: the nodes as they are written;
//! - [`files`]: nodes that are in files of their own;
//! - [`inherit`]: what they take over from the ad around them;
//! - [`dependencies`]: who waits for whom.

use std::sync::Arc;

use super::JobNode;
use super::description::Description;
use crate::syntax::Span;
use crate::{Ad, Expr};

pub(super) mod dependencies;
mod files;
pub(super) mod inherit;
pub(super) mod members;

pub use dependencies::EDGES_MAX;
pub use files::{inline_files, node_files};
pub use members::NODES_MAX;

/// A node as it is written, with what it took over.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Arc<str>,
    /// Where it is named, or stands.
    pub(super) place: Span,
    pub(super) ad: Ad,
    /// What it says itself.
    pub(super) own: Ad,
}

/// The nodes in their order, from what each of them makes and who waits for whom.
pub(super) fn nodes(
    names: Vec<Arc<str>>,
    descriptions: &[Description],
    edges: &[(u32, u32)],
) -> Vec<JobNode> {
    let mut parents = vec![Vec::new(); names.len()];
    let mut children = vec![Vec::new(); names.len()];
    for &(parent, child) in edges {
        children[parent as usize].push(child);
        parents[child as usize].push(parent);
    }
    let mut start = 0;
    let relations = parents.into_iter().zip(children);
    names
        .into_iter()
        .zip(descriptions)
        .zip(relations)
        .map(|((name, description), (parents, children))| {
            let end = start + description.task_count();
            let tasks = start..end;
            start = end;
            JobNode {
                name,
                tasks,
                parents: sorted(parents),
                children: sorted(children),
            }
        })
        .collect()
}

fn sorted(mut nodes: Vec<u32>) -> Box<[u32]> {
    nodes.sort_unstable();
    nodes.into()
}

/// A text that stands for itself, or a name without quotes.
fn word(expr: &Expr) -> Option<&str> {
    match expr.node() {
        crate::syntax::Node::Name(name) => Some(&name.text),
        _ => expr.literal()?.as_str().map(str::trim),
    }
}
