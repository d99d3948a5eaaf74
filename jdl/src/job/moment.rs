//! A moment as a text by RFC 3339, read strictly: a deadline that is misunderstood is worse
//! than one that is refused.

use crate::Value;
use crate::eval::functions::calendar::{parse_moment, rfc3339};

/// The last second of the year 9999.
pub(super) const SECONDS_MAX: i64 = 253_402_300_799;

/// Seconds since the epoch, and whether the text says in which time zone: `2027-03-01`,
/// `2027-03-01T08:00`, with seconds and their fraction (which does not count), with `Z` or an
/// offset. Where nothing is said, it is UTC; a date alone is its first moment.
pub(super) fn parse(text: &str) -> Option<(i64, bool)> {
    let text = text.trim();
    let (date, clock) = match text.split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, clock),
        None => (text, "00:00"),
    };
    let end = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(end);
    if !is_like(date, "dddd-dd-dd") || !is_zone(zone) {
        return None;
    }
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    if !digits || !(is_like(clock, "dd:dd") || is_like(clock, "dd:dd:dd")) {
        return None;
    }
    let minutes: String = format!("{clock}:00").chars().take(8).collect();
    let Value::AbsTime { seconds, offset } = parse_moment(&format!("{date}T{minutes}{zone}"))?
    else {
        return None;
    };
    // What is not on the calendar or the clock would have counted on: 30 February, 25 o'clock.
    let real = rfc3339(seconds, offset).starts_with(&format!("{date}T{minutes}"));
    real.then_some((seconds, !zone.is_empty()))
}

/// Whether the text has a digit for every `d` of the shape, and its other characters.
fn is_like(text: &str, shape: &str) -> bool {
    let fits = |(byte, shape): (u8, u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

/// `Z`, an offset of less than a day, or nothing.
fn is_zone(zone: &str) -> bool {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return true;
    }
    let offset = zone.get(1..).unwrap_or_default();
    let hours = offset.get(..2).and_then(|hours| hours.parse::<u8>().ok());
    let minutes = offset.get(offset.len().saturating_sub(2)..);
    let minutes = minutes.and_then(|minutes| minutes.parse::<u8>().ok());
    (is_like(offset, "dd:dd") || is_like(offset, "dddd"))
        && hours.is_some_and(|hours| hours < 24)
        && minutes.is_some_and(|minutes| minutes < 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_rfc_3339_has_them() {
        for (text, seconds, zoned) in [
            ("2027-03-01T08:00:00Z", 1_803_888_000, true),
            ("2027-03-01T08:00:00+01:00", 1_803_884_400, true),
            ("2027-03-01t08:00:00.75z", 1_803_888_000, true),
            ("2027-03-01 02:30-0530", 1_803_888_000, true),
            ("2027-03-01T08:00", 1_803_888_000, false),
            (" 2027-03-01 ", 1_803_859_200, false),
            ("2028-02-29T23:59:59Z", 1_835_481_599, true),
        ] {
            assert_eq!(parse(text), Some((seconds, zoned)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_not_guessed() {
        for text in [
            "",
            "tomorrow",
            "2027-02-29T00:00:00Z",
            "2027-13-01",
            "2027-03-01T24:00:00Z",
            "2027-03-01T08:60:00Z",
            "2027-03-01T08:00:60Z",
            "2027-03-01T08:00:00.Z",
            "2027-03-01T08:00:00+1",
            "2027-03-01T08:00:00+25:00",
            "2027-03-01T08:00:00 CET",
            "01/03/2027",
            "20270301",
            "2027-03-01T08:00:00Zebra",
            "2027-03-01T０8:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
