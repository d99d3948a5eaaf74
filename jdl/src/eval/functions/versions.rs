//! Version numbers: texts in which runs of digits compare as numbers.

use std::cmp::Ordering;

use super::strings::ordinal;
use super::{Call, Entry, Fault, Outcome, Val, entry};

pub(super) const TABLE: &[Entry] = &[
    entry("versioncmp", 2, 2, |c| Ok(ordinal(compare(c)?))),
    entry("versiongt", 2, 2, |c| Ok(Val::Bool(compare(c)?.is_gt()))),
    entry("versionge", 2, 2, |c| Ok(Val::Bool(compare(c)?.is_ge()))),
    entry("versionlt", 2, 2, |c| Ok(Val::Bool(compare(c)?.is_lt()))),
    entry("versionle", 2, 2, |c| Ok(Val::Bool(compare(c)?.is_le()))),
    entry("versioneq", 2, 2, |c| Ok(Val::Bool(compare(c)?.is_eq()))),
    entry("version_in_range", 3, 3, in_range),
];

fn compare(call: &Call<'_, '_>) -> Result<Ordering, Fault> {
    Ok(natural(&call.any_text(0)?, &call.any_text(1)?))
}

fn in_range<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (version, low, high) = (call.any_text(0)?, call.any_text(1)?, call.any_text(2)?);
    let inside = natural(&low, &version).is_le() && natural(&version, &high).is_le();
    Ok(Val::Bool(inside))
}

fn natural(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let (run_a, run_b) = (digits(a), digits(b));
        if !run_a.is_empty() && !run_b.is_empty() {
            let number = |run: &str| run.trim_start_matches('0').to_owned();
            let (number_a, number_b) = (number(run_a), number(run_b));
            let ordering = (number_a.len(), number_a).cmp(&(number_b.len(), number_b));
            if ordering.is_ne() {
                return ordering;
            }
            (a, b) = (&a[run_a.len()..], &b[run_b.len()..]);
            continue;
        }
        let (mut chars_a, mut chars_b) = (a.chars(), b.chars());
        match (chars_a.next(), chars_b.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) if x != y => return x.cmp(&y),
            _ => (a, b) = (chars_a.as_str(), chars_b.as_str()),
        }
    }
}

fn digits(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    &text[..end]
}
