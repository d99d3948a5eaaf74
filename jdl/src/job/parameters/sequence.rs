//! The values of a parameter, task by task.

use std::borrow::Cow;
use std::sync::Arc;

/// The values that a parameter takes.
#[derive(Clone, Debug)]
pub(super) enum Sequence {
    List(Box<[Arc<str>]>),
    Integers { start: i64, step: i64, factor: i64 },
    Reals { start: f64, step: f64, factor: f64 },
}

impl Sequence {
    /// The value of the task `index`; `None` if it is too large for its type.
    ///
    /// Each value is `factor * before + step`. Such maps are composed by squaring,
    /// so that any task costs the same few steps.
    pub(super) fn value(&self, index: u32) -> Option<Cow<'_, str>> {
        match self {
            Self::List(values) => values.get(index as usize).map(|value| (&**value).into()),
            Self::Integers {
                start,
                step,
                factor: 1,
            } => {
                let value = start.checked_add(step.checked_mul(i64::from(index))?)?;
                Some(value.to_string().into())
            }
            Self::Integers {
                start,
                step,
                factor,
            } => {
                let compose = |(f, s): (i64, i64), (g, t): (i64, i64)| {
                    Some((f.checked_mul(g)?, f.checked_mul(t)?.checked_add(s)?))
                };
                let (f, s) = repeated((*factor, *step), (1, 0), index, compose)?;
                let value = f.checked_mul(*start)?.checked_add(s)?;
                Some(value.to_string().into())
            }
            Self::Reals {
                start,
                step,
                factor,
            } => {
                let compose = |(f, s): (f64, f64), (g, t): (f64, f64)| Some((f * g, f * t + s));
                let (f, s) = repeated((*factor, *step), (1.0, 0.0), index, compose)?;
                let value = f * start + s;
                value.is_finite().then(|| format!("{value:?}").into())
            }
        }
    }
}

/// `map` applied `times` times, as one map. The power is squared only while it is
/// still needed, so that it overflows only if the result does.
fn repeated<T: Copy>(
    map: (T, T),
    identity: (T, T),
    times: u32,
    compose: impl Fn((T, T), (T, T)) -> Option<(T, T)>,
) -> Option<(T, T)> {
    let (mut result, mut power, mut left) = (identity, map, times);
    while left > 0 {
        if left & 1 == 1 {
            result = compose(power, result)?;
        }
        left >>= 1;
        if left > 0 {
            power = compose(power, power)?;
        }
    }
    Some(result)
}
