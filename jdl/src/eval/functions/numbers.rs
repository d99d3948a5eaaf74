//! Numbers.

use super::types::parse_real;
use super::{Call, Entry, Fault, Outcome, Val, entry};
use crate::eval::operators::Number;

pub(super) const TABLE: &[Entry] = &[
    entry("floor", 1, 1, |c| rounded(c, f64::floor)),
    entry("ceiling", 1, 1, |c| rounded(c, f64::ceil)),
    entry("round", 1, 1, |c| rounded(c, f64::round_ties_even)),
    entry("pow", 2, 2, pow),
    entry("quantize", 2, 2, quantize),
    entry("random", 0, 1, random),
];

fn rounded<'a>(call: &Call<'_, 'a>, round: fn(f64) -> f64) -> Outcome<'a> {
    let number = match call.known(0)? {
        Val::Int(number) => return Ok(Val::Int(number)),
        Val::Real(number) => number,
        Val::Bool(truth) => return Ok(Val::Int(i64::from(truth))),
        Val::Text(text) => parse_real(&text).ok_or(Fault::Error)?,
        _ => return Err(Fault::Error),
    };
    Ok(Val::Int(round(number) as i64))
}

/// An integer if both are, the exponent is not negative and the result fits.
fn pow<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (base, exponent) = (call.number(0)?, call.number(1)?);
    if let (Number::Int(base), Number::Int(exponent @ 0..)) = (base, exponent)
        && let Some(power) = u32::try_from(exponent)
            .ok()
            .and_then(|exponent| base.checked_pow(exponent))
    {
        return Ok(Val::Int(power));
    }
    Ok(Val::Real(base.real().powf(exponent.real())))
}

/// The next multiple of the second number, or the next number of a list that is
/// not smaller; beyond the list, multiples of its last one.
fn quantize<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let number = call.number(0)?;
    let mut last = None;
    match call.known(1)? {
        Val::List(items) => {
            for item in call.items(&items) {
                let step = Number::of(&item).ok_or(Fault::Error)?;
                if step.real() >= number.real() {
                    return Ok(step.value());
                }
                last = Some(step);
            }
        }
        step => last = Some(Number::of(&step).ok_or(Fault::Error)?),
    }
    match (number, last.ok_or(Fault::Error)?) {
        (_, step) if step.real() == 0.0 => Ok(number.value()),
        (Number::Int(number), Number::Int(step)) => {
            let steps = (number as f64 / step as f64).ceil() as i64;
            Ok(Val::Int(steps.wrapping_mul(step)))
        }
        (number, step) => {
            let steps = (number.real() / step.real()).ceil();
            Ok(Val::Real(steps * step.real()))
        }
    }
}

/// `random()` is a real in 0..1, `random(n)` one of the type of `n` in 0..n.
///
/// Decisions must be repeatable, so the draw depends on what is seen alone: on
/// `CurrentTime` and `GlueCEUniqueID`, and on how many draws came before.
fn random<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let limit = if call.len() == 1 {
        call.number(0)?
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
