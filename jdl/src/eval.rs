//! Evaluation.

use crate::{Ad, Expr, Value};

/// The value of `expr` as seen from `my`, with `other` as the ad on the other side.
/// Total: never panics, never hangs, bounded in time and depth.
pub fn eval(_expr: &Expr, _my: &Ad, _other: Option<&Ad>) -> Value {
    todo!()
}

/// One operand of the `&&`s that an expression consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// The operand in canonical form.
    pub text: String,
    /// What it is worth.
    pub value: Value,
    /// The values on its sides in words, e.g.
    /// `other.GlueCEPolicyMaxWallClockTime is 60, needed >= 720`.
    pub because: String,
}

/// Evaluates each top-level `&&` operand of `expr` by itself.
pub fn clauses(_expr: &Expr, _my: &Ad, _other: &Ad) -> Vec<Clause> {
    todo!()
}
