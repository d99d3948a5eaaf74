//! Times, spans and amounts in words.

use std::time::Duration;

use fairway_model::{Resources, Timestamp};

/// A span in its two largest units: `3 d 4 h`, `2 min 5 s`, `0.3 s`.
pub(crate) fn span(span: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let seconds = span.as_secs();
    if seconds == 0 {
        return match span.subsec_millis() / 100 {
            0 => "0 s".into(),
            tenths => format!("0.{tenths} s"),
        };
    }
    let largest = UNITS
        .iter()
        .position(|(length, _)| seconds >= *length)
        .unwrap_or(3);
    let (length, unit) = UNITS[largest];
    let mut text = format!("{} {unit}", seconds / length);
    if let Some((next_length, next_unit)) = UNITS.get(largest + 1) {
        let rest = seconds % length / next_length;
        if rest > 0 {
            text.push_str(&format!(" {rest} {next_unit}"));
        }
    }
    text
}

/// A span in milliseconds.
pub(crate) fn span_ms(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// How long ago `then` was.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> String {
    span(now.since(then))
}

/// An amount of memory given in KiB.
pub(crate) fn memory_kib(kib: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale = 1;
    while kib / scale >= 1024 && unit + 1 < UNITS.len() {
        scale *= 1024;
        unit += 1;
    }
    let (whole, tenths) = (kib / scale, kib % scale * 10 / scale);
    if tenths == 0 || whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{tenths} {}", UNITS[unit])
    }
}

/// An amount of memory given in MiB.
pub(crate) fn memory_mib(mib: u64) -> String {
    memory_kib(mib.saturating_mul(1024))
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    match number.into() {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// Cores, memory and GPUs; amounts of zero are left out.
pub(crate) fn resources(resources: Resources) -> String {
    let mut parts = vec![count(resources.cores, "core")];
    if resources.memory_mib > 0 {
        parts.push(format!("{} of memory", memory_mib(resources.memory_mib)));
    }
    if resources.gpus > 0 {
        parts.push(count(resources.gpus, "GPU"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_two_units() {
        for (millis, expected) in [
            (0, "0 s"),
            (340, "0.3 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (3_605_000, "1 h"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(span_ms(millis), expected);
        }
    }

    #[test]
    fn memory_is_told_in_the_unit_that_fits() {
        for (kib, expected) in [
            (0, "0 KiB"),
            (1023, "1023 KiB"),
            (1536, "1.5 MiB"),
            (1024 * 1024 * 4, "4 GiB"),
            (1024 * 1024 * 130 + 600 * 1024, "130 GiB"),
        ] {
            assert_eq!(memory_kib(kib), expected);
        }
    }
}
