//! Version numbers: texts in which runs of digits compare as numbers.

use super::{Call, Entry, Fault, Outcome, Val, check, entry};

pub(super) const TABLE: &[Entry] = &[
    entry("versioncmp", 2, 2, |c| Ok(Val::Int(compare(c)?))),
    entry("versionGT", 2, 2, |c| Ok(Val::Bool(compare(c)? > 0))),
    entry("versionGE", 2, 2, |c| Ok(Val::Bool(compare(c)? >= 0))),
    entry("versionLT", 2, 2, |c| Ok(Val::Bool(compare(c)? < 0))),
    entry("versionLE", 2, 2, |c| Ok(Val::Bool(compare(c)? <= 0))),
    entry("versionEQ", 2, 2, |c| Ok(Val::Bool(compare(c)? == 0))),
    entry("version_in_range", 3, 3, in_range),
];

fn compare(call: &Call<'_, '_>) -> Result<i64, Fault> {
    let [a, b] = texts(call.undefined_first()?, call)?;
    Ok(natural(a.as_bytes(), b.as_bytes()))
}

fn in_range<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let values = call.values();
    check(&values[1..], Fault::Undefined)?;
    if matches!(values[0], Val::Undefined) {
        return Err(Fault::Error);
    }
    let [version, low, high] = texts(values, call)?;
    let (version, low, high) = (version.as_bytes(), low.as_bytes(), high.as_bytes());
    Ok(Val::Bool(
        natural(low, version) <= 0 && natural(version, high) <= 0,
    ))
}

fn texts<'a, const N: usize>(
    values: Vec<Val<'a>>,
    call: &Call<'_, 'a>,
) -> Result<[std::borrow::Cow<'a, str>; N], Fault> {
    let texts: Result<Vec<_>, Fault> = values.into_iter().map(|v| call.written(v)).collect();
    texts?.try_into().map_err(|_| Fault::Error)
}

/// Negative, zero or positive as `a` is before, equal to or behind `b`, by the rules
/// of `strverscmp(3)`: where both differ within a run of digits, the longer run is
/// the greater number; a run with leading zeros is a fraction.
fn natural(a: &[u8], b: &[u8]) -> i64 {
    let Some(at) = (0..=a.len().max(b.len())).find(|at| a.get(*at) != b.get(*at)) else {
        return 0;
    };
    let is_digit = |text: &[u8], at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    // Bytes count as signed, the end as zero, and the difference is handed out.
    let byte = |text: &[u8]| text.get(at).map_or(0, |byte| i64::from(byte.cast_signed()));
    let difference = byte(a) - byte(b);
    let run = at
        - a[..at]
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_digit())
            .count();
    if run == at && !(is_digit(a, at) && is_digit(b, at)) {
        return difference;
    }
    let zeros = |text: &[u8]| {
        let zeros = text[run..].iter().take_while(|b| **b == b'0').count();
        let all = zeros > 0 && !is_digit(text, run + zeros);
        (zeros - usize::from(all)) as i64
    };
    let (zeros_a, zeros_b) = (zeros(a), zeros(b));
    if zeros_a != zeros_b {
        return zeros_b - zeros_a;
    }
    let digits = |text: &[u8]| {
        text[run..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count() as i64
    };
    match digits(a) - digits(b) {
        longer if zeros_a == 0 && longer != 0 => longer,
        _ => difference,
    }
}
