//! Moments and spans. The clock is read at the edges (engine, pilot, CLI); all
//! deciding code is handed the moment as a value.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(transparent)]
#[schema(example = 1_760_000_000_000_i64)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `seconds` after the epoch.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment moved later by `span` (saturating).
    pub fn plus(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with whole seconds, e.g. `2026-11-22T15:04:05Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.secs();
        let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        );
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Year, month and day of a day count from 1970-01-01 in the proleptic
/// Gregorian calendar. The year is taken to begin in March, so that the leap
/// day comes last and month lengths follow one linear formula.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    let shifted = days.saturating_add(719_468); // days from 0000-03-01
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar: the inverse of
/// [`civil_from_days`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let march_year = year - i64::from(month <= 2);
    let (era, year_of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Why a text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a moment; write it as 2026-12-01T08:00:00Z or 2026-12-01T09:00:00+01:00")]
pub struct TimestampError(String);

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339, with an offset or `Z`. Fractions of a second are kept to the millisecond;
    /// a leap second counts as the second before it.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse_rfc3339(text)
            .map(Self)
            .ok_or_else(|| TimestampError(text.to_owned()))
    }
}

/// Milliseconds since the epoch.
fn parse_rfc3339(text: &str) -> Option<i64> {
    // All that follows cuts at fixed places.
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let separated = [(4, "-"), (7, "-"), (13, ":"), (16, ":")]
        .into_iter()
        .all(|(at, separator)| &text[at..=at] == separator);
    if !separated || !matches!(&text[10..11], "T" | "t" | " ") {
        return None;
    }
    let (year, month) = (digits(&text[0..4])?, digits(&text[5..7])?);
    let day = digits(&text[8..10])?;
    let (hour, minute) = (digits(&text[11..13])?, digits(&text[14..16])?);
    let second = digits(&text[17..19])?;
    let days = days_from_civil(year, month, day);
    // A day that the month does not have comes out as another date.
    if !(1..=12).contains(&month) || civil_from_days(days) != (year, month, day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (millis, zone) = fraction(&text[19..])?;
    let local_s = days * 86_400 + hour * 3600 + minute * 60 + second.min(59);
    Some((local_s - offset_s(zone)?) * 1000 + millis)
}

/// The number that a text of digits alone is.
fn digits(text: &str) -> Option<i64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The milliseconds that a text begins with, and what follows.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return None;
    }
    let (fraction, zone) = rest.split_at(length);
    let millis = format!("{fraction:0<3}");
    Some((digits(&millis[..3])?, zone))
}

/// How many seconds local time is ahead of UTC.
fn offset_s(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    if zone.len() != 6 || &zone[3..4] != ":" {
        return None;
    }
    let (hours, minutes) = (digits(&zone[1..3])?, digits(&zone[4..6])?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// For moments that people write: RFC 3339 out; RFC 3339 or milliseconds since the epoch in.
/// Used with `#[serde(with = "…")]`.
pub mod rfc3339 {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    use super::Timestamp;

    /// Writes the moment in whole seconds.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(moment: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(moment)
    }

    /// Reads a moment.
    ///
    /// # Errors
    /// If it is neither of the two.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        from.deserialize_any(Moment)
    }

    struct Moment;

    impl Visitor<'_> for Moment {
        type Value = Timestamp;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a moment such as \"2026-12-01T08:00:00Z\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, millis: i64) -> Result<Timestamp, E> {
            Ok(Timestamp(millis))
        }

        fn visit_u64<E: Error>(self, millis: u64) -> Result<Timestamp, E> {
            i64::try_from(millis).map(Timestamp).map_err(E::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints_and_what_others_write() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696_000),
            ("2000-02-29 13:34:56.7+01:00", 951_827_696_700),
            ("2000-02-29t07:04:56.123456-05:30", 951_827_696_123),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp(millis)), "{text}");
        }
        for seconds in (-62_000_000_000..250_000_000_000).step_by(7_654_321_111) {
            let moment = Timestamp::from_secs(seconds);
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
    }

    #[test]
    fn refuses_what_is_no_moment() {
        for text in [
            "",
            "tomorrow",
            "2026-12-01",
            "2026-12-01T08:00:00",
            "2026-02-29T08:00:00Z",
            "2026-00-01T08:00:00Z",
            "2026-13-01T08:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T08:60:00Z",
            "2026-12-01T08:00:00.Z",
            "2026-12-01T08:00:00+1:00",
            "2026-12-01T08:00:00+25:00",
            "+026-12-01T08:00:00Z",
            "2026-12-01T08:00:00é",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_rfc3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::from_secs(951_827_696).to_string(),
            "2000-02-29T12:34:56Z"
        );
        assert_eq!(
            Timestamp::from_secs(4_102_444_799).to_string(),
            "2099-12-31T23:59:59Z"
        );
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn spans_never_go_below_zero() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_millis(4));
        assert_eq!(Timestamp(i64::MAX).plus(Duration::MAX), Timestamp(i64::MAX));
    }
}
