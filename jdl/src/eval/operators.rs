//! Operators on values. Strict: ERROR wins over UNDEFINED, and both over a value.

use std::cmp::Ordering;

use super::Val;
use crate::syntax::{BinaryOp, UnaryOp};

pub(super) fn unary<'a>(op: UnaryOp, operand: Val<'a>) -> Val<'a> {
    match (op, operand) {
        (_, Val::Undefined) => Val::Undefined,
        (UnaryOp::Not, operand) => match operand.truth() {
            Ok(truth) => Val::Bool(!truth),
            Err(fault) => fault.into(),
        },
        (UnaryOp::Negate, Val::Int(number)) => Val::Int(number.wrapping_neg()),
        (UnaryOp::Negate, Val::Real(number)) => Val::Real(-number),
        (UnaryOp::Negate, Val::RelTime(seconds)) => Val::RelTime(-seconds),
        (UnaryOp::Plus, number @ (Val::Int(_) | Val::Real(_) | Val::RelTime(_))) => number,
        (UnaryOp::BitNot, Val::Int(number)) => Val::Int(!number),
        _ => Val::Error,
    }
}

pub(super) fn binary<'a>(op: BinaryOp, left: &Val<'a>, right: &Val<'a>) -> Val<'a> {
    match op {
        BinaryOp::Is => identical(left, right).map_or(Val::Error, Val::Bool),
        BinaryOp::IsNot => identical(left, right).map_or(Val::Error, |same| Val::Bool(!same)),
        _ => match (left, right) {
            (Val::Error, _) | (_, Val::Error) => Val::Error,
            (Val::Undefined, _) | (_, Val::Undefined) => Val::Undefined,
            _ => strict(op, left, right),
        },
    }
}

fn strict<'a>(op: BinaryOp, left: &Val<'a>, right: &Val<'a>) -> Val<'a> {
    use BinaryOp as Op;
    // The most frequent comparison needs no order.
    if let (Op::Equal, Val::Text(a), Val::Text(b)) = (op, left, right) {
        return Val::Bool(a.eq_ignore_ascii_case(b));
    }
    match op {
        Op::Less | Op::LessEqual | Op::GreaterEqual | Op::Greater | Op::Equal | Op::NotEqual => {
            match compare(left, right) {
                Some(ordering) => Val::Bool(holds(op, ordering)),
                None => Val::Error,
            }
        }
        Op::Multiply | Op::Divide | Op::Modulo | Op::Add | Op::Subtract => {
            arithmetic(op, left, right).unwrap_or(Val::Error)
        }
        _ => match (left, right) {
            (Val::Int(a), Val::Int(b)) => Val::Int(bits(op, *a, *b)),
            _ => Val::Error,
        },
    }
}

/// What `=?=` says; `None` for lists and ads, which have no identity.
pub(crate) fn identical(left: &Val<'_>, right: &Val<'_>) -> Option<bool> {
    Some(match (left, right) {
        (Val::Undefined, Val::Undefined) | (Val::Error, Val::Error) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Int(a), Val::Int(b)) => a == b,
        (Val::Real(a), Val::Real(b)) | (Val::RelTime(a), Val::RelTime(b)) => a == b,
        (Val::Text(a), Val::Text(b)) => a == b,
        (
            Val::AbsTime { seconds, offset },
            Val::AbsTime {
                seconds: other_seconds,
                offset: other_offset,
            },
        ) => seconds == other_seconds && offset == other_offset,
        (Val::List(_), Val::List(_)) | (Val::Ad(_), Val::Ad(_)) => return None,
        _ => false,
    })
}

/// How two values compare: strings without case, numbers as numbers (a boolean
/// counts as 0 or 1). The outer `None`: they do not; the inner: as NaN does.
#[expect(
    clippy::option_option,
    reason = "not comparable is an error, NaN is merely not equal"
)]
pub(crate) fn compare(left: &Val<'_>, right: &Val<'_>) -> Option<Option<Ordering>> {
    match (left, right) {
        (Val::Int(a), Val::Int(b)) => Some(Some(a.cmp(b))),
        (Val::Text(a), Val::Text(b)) => Some(Some(compare_folded(a, b))),
        (Val::AbsTime { seconds: a, .. }, Val::AbsTime { seconds: b, .. }) => Some(Some(a.cmp(b))),
        (Val::RelTime(a), Val::RelTime(b)) => Some(a.partial_cmp(b)),
        _ => match (Number::of(left)?, Number::of(right)?) {
            (Number::Int(a), Number::Int(b)) => Some(Some(a.cmp(&b))),
            (a, b) => Some(a.real().partial_cmp(&b.real())),
        },
    }
}

/// Byte by byte, ASCII letters without case.
pub(crate) fn compare_folded(a: &str, b: &str) -> Ordering {
    let fold = |b: u8| b.to_ascii_lowercase();
    a.bytes().map(fold).cmp(b.bytes().map(fold))
}

/// Whether a comparison holds, given how the sides compare.
pub(crate) fn holds(op: BinaryOp, ordering: Option<Ordering>) -> bool {
    match op {
        BinaryOp::Less => ordering == Some(Ordering::Less),
        BinaryOp::LessEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        BinaryOp::GreaterEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        BinaryOp::Greater => ordering == Some(Ordering::Greater),
        BinaryOp::NotEqual => ordering != Some(Ordering::Equal),
        _ => ordering == Some(Ordering::Equal),
    }
}

/// A number in an operation: integer arithmetic if both sides are integers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i64),
    Real(f64),
}

impl Number {
    pub(crate) fn of(value: &Val<'_>) -> Option<Self> {
        match value {
            Val::Bool(truth) => Some(Self::Int(i64::from(*truth))),
            Val::Int(number) => Some(Self::Int(*number)),
            Val::Real(number) => Some(Self::Real(*number)),
            _ => None,
        }
    }

    pub(crate) fn real(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    pub(crate) fn integer(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Real(_) => None,
        }
    }

    pub(crate) fn value<'a>(self) -> Val<'a> {
        match self {
            Self::Int(number) => Val::Int(number),
            Self::Real(number) => Val::Real(number),
        }
    }
}

fn arithmetic<'a>(op: BinaryOp, left: &Val<'a>, right: &Val<'a>) -> Option<Val<'a>> {
    if let Some(value) = time_arithmetic(op, left, right) {
        return Some(value);
    }
    match (Number::of(left)?, Number::of(right)?) {
        (Number::Int(a), Number::Int(b)) => Some(Val::Int(match op {
            BinaryOp::Add => a.wrapping_add(b),
            BinaryOp::Subtract => a.wrapping_sub(b),
            BinaryOp::Multiply => a.wrapping_mul(b),
            BinaryOp::Divide if b != 0 => a.saturating_div(b),
            BinaryOp::Modulo if b != 0 => a.wrapping_rem(b),
            _ => return None,
        })),
        (a, b) => reals(op, a.real(), b.real()).map(Val::Real),
    }
}

/// There is no `%` of reals, and what overflows upwards is an error (downwards, in
/// the library, it is not).
fn reals(op: BinaryOp, a: f64, b: f64) -> Option<f64> {
    let result = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide => a / b,
        _ => return None,
    };
    (result != f64::INFINITY).then_some(result)
}

/// Moments and spans: their difference, a moment moved, a span scaled.
fn time_arithmetic<'a>(op: BinaryOp, left: &Val<'a>, right: &Val<'a>) -> Option<Val<'a>> {
    let moved = |seconds: i64, offset: i32, by: f64| Val::AbsTime {
        seconds: seconds.saturating_add(by as i64),
        offset,
    };
    match (op, left, right) {
        (BinaryOp::Subtract, Val::AbsTime { seconds: a, .. }, Val::AbsTime { seconds: b, .. }) => {
            Some(Val::RelTime(a.saturating_sub(*b) as f64))
        }
        (BinaryOp::Add, Val::AbsTime { seconds, offset }, Val::RelTime(by))
        | (BinaryOp::Add, Val::RelTime(by), Val::AbsTime { seconds, offset }) => {
            Some(moved(*seconds, *offset, *by))
        }
        (BinaryOp::Subtract, Val::AbsTime { seconds, offset }, Val::RelTime(by)) => {
            Some(moved(*seconds, *offset, -by))
        }
        (BinaryOp::Add | BinaryOp::Subtract, Val::RelTime(a), Val::RelTime(b)) => {
            reals(op, *a, *b).map(Val::RelTime)
        }
        (BinaryOp::Multiply | BinaryOp::Divide, Val::RelTime(a), Val::Int(_) | Val::Real(_)) => {
            reals(op, *a, Number::of(right)?.real()).map(Val::RelTime)
        }
        (BinaryOp::Multiply, Val::Int(_) | Val::Real(_), Val::RelTime(b)) => {
            reals(op, Number::of(left)?.real(), *b).map(Val::RelTime)
        }
        _ => None,
    }
}

/// Shifts use the low six bits of their right side, as processors do. The logical
/// shift of a negative number by nothing is 0, the arithmetic one by more than it has
/// bits is -1, as in the library.
fn bits(op: BinaryOp, a: i64, b: i64) -> i64 {
    let by = (b & 63) as u32;
    match op {
        BinaryOp::ShiftLeft => a.wrapping_shl(by),
        BinaryOp::ShiftRight if a < 0 && b > 63 => -1,
        BinaryOp::ShiftRight => a.wrapping_shr(by),
        BinaryOp::ShiftRightLogical if a < 0 && by == 0 => 0,
        BinaryOp::ShiftRightLogical => (a as u64).wrapping_shr(by) as i64,
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitXor => a ^ b,
        _ => a | b,
    }
}
