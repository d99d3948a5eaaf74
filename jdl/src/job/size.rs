//! How large an expression is, to bound what a short text can ask for.

use crate::syntax::Node;
use crate::{Expr, Value};

/// Bytes of a text that count as one part.
const PART_BYTES: usize = 8;

/// How many parts an expression has; of long texts, their pieces.
pub(super) fn parts(expr: &Expr) -> usize {
    1 + match expr.node() {
        Node::Literal(Value::String(text)) => text.len() / PART_BYTES,
        Node::Record(ad) => ad.iter().map(|(_, expr)| parts(expr)).sum(),
        _ => expr.children().into_iter().map(parts).sum(),
    }
}
