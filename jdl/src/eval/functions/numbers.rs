//! Numbers.

use super::types::{cut, real_of};
use super::{Call, Entry, Fault, Outcome, Val, entry};
use crate::eval::operators::Number;

pub(super) const TABLE: &[Entry] = &[
    entry("floor", 1, 1, |c| rounded(c, f64::floor)),
    entry("ceil", 1, 1, |c| rounded(c, f64::ceil)),
    entry("ceiling", 1, 1, |c| rounded(c, f64::ceil)),
    entry("round", 1, 1, |c| rounded(c, f64::round_ties_even)),
    entry("pow", 2, 2, pow),
    entry("quantize", 2, 2, quantize),
    entry("random", 0, 1, random),
];

fn rounded<'a>(call: &Call<'_, 'a>, round: fn(f64) -> f64) -> Outcome<'a> {
    match call.value(0) {
        Val::Int(number) => Ok(Val::Int(number)),
        value => Ok(Val::Int(cut(round(real_of(&value)?)))),
    }
}

/// An integer if both are, the exponent is not negative and the result fits.
fn pow<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (base, exponent) = (call.value(0), call.value(1));
    if let (Val::Int(base), Val::Int(exponent @ 0..)) = (&base, &exponent)
        && let Some(power) = u32::try_from(*exponent)
            .ok()
            .and_then(|exponent| base.checked_pow(exponent))
    {
        return Ok(Val::Int(power));
    }
    Ok(Val::Real(real_of(&base)?.powf(real_of(&exponent)?)))
}

/// The next multiple of the second number, or the first item of a list that is
/// not smaller; beyond the list, multiples of its last one.
fn quantize<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let value = call.value(0);
    let number = real_of(&value)?;
    let step = match call.value(1) {
        Val::List(items) => {
            let mut last = Val::Int(0);
            for item in call.items(&items) {
                if real_of(&item)? >= number {
                    return Ok(item);
                }
                last = item;
            }
            last
        }
        step => step,
    };
    let size = real_of(&step)?;
    match (&value, &step) {
        _ if size.abs() <= 1e-8 => Ok(value),
        // Towards zero, as the library divides.
        (Val::Int(number), Val::Int(step)) => Ok(Val::Int(
            number
                .wrapping_add(step.wrapping_sub(1))
                .wrapping_div(*step)
                .wrapping_mul(*step),
        )),
        _ => Ok(Val::Real((number / size).ceil() * size)),
    }
}

/// `random()` is a real in 0..1, `random(n)` one of the type of `n` in 0..n.
///
/// Decisions must be repeatable, so the draw depends on what is seen alone: on
/// `CurrentTime` and `GlueCEUniqueID`, and on how many draws came before.
fn random<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let limit = if call.len() == 1 {
        Number::of(&call.value(0)).ok_or(Fault::Error)?
    } else {
        Number::Real(1.0)
    };
    let mut seed = call.evaluator.draw();
    for key in ["currenttime", "glueceuniqueid"] {
        let value = call.evaluator.surrounding(key);
        let text = call.evaluator.finish(value).to_string();
        seed = text
            .bytes()
            .fold(seed, |seed, byte| mixed(seed ^ u64::from(byte)));
    }
    let drawn = mixed(seed);
    match limit {
        Number::Int(limit @ 1..) => Ok(Val::Int((drawn % limit as u64) as i64)),
        Number::Real(limit) => {
            let unit = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
            Ok(Val::Real(unit * limit))
        }
        Number::Int(_) => Err(Fault::Error),
    }
}

/// The finalizer of SplitMix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
