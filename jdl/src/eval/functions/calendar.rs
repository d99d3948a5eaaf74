//! Dates, clock times and spans as text and back. The time zone is UTC.

use std::fmt::Write as _;

use fairway_model::time::civil_from_days;

use crate::Value;

/// A day in seconds.
pub(super) const DAY: i64 = 86_400;

/// Latest year, either way, that is reckoned with.
const YEARS_MAX: i64 = 1_000_000_000;

/// A moment on the calendar and the clock.
pub(super) struct Parts {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    /// From 0, Sunday.
    pub(super) weekday: i64,
    /// From 0.
    pub(super) day_of_year: i64,
}

impl Parts {
    /// What calendar and clock show where they are `offset` seconds ahead of UTC.
    pub(super) fn of(seconds: i64, offset: i32) -> Self {
        let local = seconds.saturating_add(i64::from(offset));
        let (days, clock) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        Self::new(
            [year, month, day],
            [clock / 3600, clock / 60 % 60, clock % 60],
        )
    }

    /// A date and a clock time, which need not be real ones.
    pub(super) fn new([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Self {
        let days = days_from_civil(year, month, day);
        Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            weekday: (days + 4).rem_euclid(7),
            day_of_year: days - days_from_civil(year, 1, 1),
        }
    }

    /// Seconds since the epoch, if this is UTC.
    fn seconds(&self) -> i64 {
        days_from_civil(self.year, self.month, self.day) * DAY
            + self.hour * 3600
            + self.minute * 60
            + self.second
    }

    /// The week of the year that begins with the first day `first` (0: Sunday).
    fn week(&self, first: i64) -> i64 {
        (self.day_of_year + 7 - (self.weekday - first).rem_euclid(7)) / 7
    }

    /// Year and week by ISO 8601: weeks begin on Mondays and belong to the year of
    /// their Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let thursday = self.day_of_year - (self.weekday + 6) % 7 + 3;
        let length = |year| days_from_civil(year + 1, 1, 1) - days_from_civil(year, 1, 1);
        if thursday < 0 {
            (self.year - 1, (thursday + length(self.year - 1)) / 7 + 1)
        } else if thursday >= length(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, thursday / 7 + 1)
        }
    }
}

/// The inverse of `civil_from_days`. Months and days beyond the year's and the
/// month's end count on.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let month = month.clamp(-YEARS_MAX, YEARS_MAX) - 1;
    let year = year.clamp(-YEARS_MAX, YEARS_MAX) + month.div_euclid(12);
    let month = month.rem_euclid(12) + 1;
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day.clamp(-YEARS_MAX, YEARS_MAX) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn named<'n>(names: &[&'n str], index: i64) -> &'n str {
    let name = usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index));
    name.copied().unwrap_or("?")
}

/// As C's function of this name, in its own locale.
pub(super) fn strftime(format: &str, t: &Parts) -> String {
    let mut text = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        // The modifiers ask for other digits and eras, which this locale does not have.
        let modifier = chars.next_if(|c| "EO".contains(*c));
        match chars.next_if(|c| modifier.is_none() || "cCxXyYdeHImMSuUVwW".contains(*c)) {
            Some(code) => directive(&mut text, code, t),
            None => {
                text.push('%');
                text.extend(modifier);
            }
        }
    }
    text
}

fn directive(text: &mut String, code: char, t: &Parts) {
    let weekday = named(&DAYS, t.weekday);
    let month = named(&MONTHS, t.month - 1);
    let hour12 = (t.hour + 11) % 12 + 1;
    let short = |name: &'static str| name.get(..3).unwrap_or(name);
    let composed = match code {
        'c' => "%a %b %e %H:%M:%S %Y",
        'D' | 'x' => "%m/%d/%y",
        'F' => "%Y-%m-%d",
        'r' => "%I:%M:%S %p",
        'R' => "%H:%M",
        'T' | 'X' => "%H:%M:%S",
        _ => "",
    };
    text.push_str(&strftime(composed, t));
    // Writing into a String cannot fail.
    let _ = match code {
        _ if !composed.is_empty() => Ok(()),
        'a' => write!(text, "{}", short(weekday)),
        'A' => write!(text, "{weekday}"),
        'b' | 'h' => write!(text, "{}", short(month)),
        'B' => write!(text, "{month}"),
        'C' => write!(text, "{:02}", t.year.div_euclid(100)),
        'd' => write!(text, "{:02}", t.day),
        'e' => write!(text, "{:2}", t.day),
        'g' => write!(text, "{:02}", t.iso_week().0.rem_euclid(100)),
        'G' => write!(text, "{}", t.iso_week().0),
        'H' => write!(text, "{:02}", t.hour),
        'I' => write!(text, "{hour12:02}"),
        'j' => write!(text, "{:03}", t.day_of_year + 1),
        'k' => write!(text, "{:2}", t.hour),
        'l' => write!(text, "{hour12:2}"),
        'm' => write!(text, "{:02}", t.month),
        'M' => write!(text, "{:02}", t.minute),
        'n' => text.write_char('\n'),
        'p' => write!(text, "{}", if t.hour < 12 { "AM" } else { "PM" }),
        'P' => write!(text, "{}", if t.hour < 12 { "am" } else { "pm" }),
        's' => write!(text, "{}", t.seconds()),
        'S' => write!(text, "{:02}", t.second),
        't' => text.write_char('\t'),
        'u' => write!(text, "{}", (t.weekday + 6) % 7 + 1),
        'U' => write!(text, "{:02}", t.week(0)),
        'V' => write!(text, "{:02}", t.iso_week().1),
        'w' => write!(text, "{}", t.weekday),
        'W' => write!(text, "{:02}", t.week(1)),
        'y' => write!(text, "{:02}", t.year.rem_euclid(100)),
        'Y' => write!(text, "{}", t.year),
        'z' => write!(text, "+0000"),
        'Z' => write!(text, "UTC"),
        '%' => write!(text, "%"),
        other => write!(text, "%{other}"),
    };
}

/// `2026-11-22T15:04:05+01:00`; the library writes `-00:00` for UTC.
pub(crate) fn rfc3339(seconds: i64, offset: i32) -> String {
    let mut text = strftime("%Y-%m-%dT%H:%M:%S", &Parts::of(seconds, offset));
    let sign = if offset > 0 { '+' } else { '-' };
    let minutes = offset.unsigned_abs() / 60;
    let _ = write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    text
}

/// `1+02:03:04`, without the days, hours and minutes that are zero in front.
pub(crate) fn span_text(seconds: f64) -> String {
    let sign = if seconds <= -1.0 { "-" } else { "" };
    let whole = seconds.abs() as i64;
    let (days, hours, minutes, rest) =
        (whole / DAY, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    if days > 0 {
        format!("{sign}{days}+{hours:02}:{minutes:02}:{rest:02}")
    } else if hours > 0 {
        format!("{sign}{hours:02}:{minutes:02}:{rest:02}")
    } else if minutes > 0 {
        format!("{sign}{minutes:02}:{rest:02}")
    } else {
        format!("{sign}{rest:02}")
    }
}

/// As [`span_text`], with the fraction of the seconds in six digits.
pub(crate) fn exact_span_text(seconds: f64) -> String {
    let rest = seconds.abs() % 60.0;
    if rest.fract() == 0.0 {
        return span_text(seconds);
    }
    let whole = span_text(seconds.signum() * (seconds.abs() - rest));
    let before = whole.strip_suffix("00").unwrap_or(&whole);
    let sign = if seconds < 0.0 && before.is_empty() {
        "-"
    } else {
        ""
    };
    let places = if rest < 10.0 { 5 } else { 4 };
    let rest = format!("{rest:.places$}");
    format!(
        "{before}{sign}{}",
        rest.trim_end_matches('0').trim_end_matches('.')
    )
}

/// A moment: year, month, day, hour, minute, second as 4, 2, 2, … digits with
/// anything but digits between, before and behind them; what is missing at the end is
/// zero. An offset, `Z`, `+01:00` or `-0600`, may stand at the very end.
pub(crate) fn parse_moment(text: &str) -> Option<Value> {
    let (body, offset) = split_offset(text)?;
    let mut rest = body;
    let mut number = |digits: usize| -> Option<i64> {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
        let number = rest.get(..digits)?;
        rest = &rest[digits..];
        // What does not follow as digits counts no more, as in C's `atoi`.
        let end = number.bytes().take_while(u8::is_ascii_digit).count();
        number[..end].parse().ok()
    };
    let year = number(4)?;
    let [month, day, hour, minute, second] = [(); 5].map(|()| number(2));
    if rest.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let date = [year, month.unwrap_or(1), day.unwrap_or(0)];
    let clock = [hour, minute, second].map(Option::unwrap_or_default);
    Some(Value::AbsTime {
        seconds: Parts::new(date, clock).seconds() - i64::from(offset),
        offset,
    })
}

/// The text without the offset at its end, and the offset in seconds; `None` if it
/// is none.
fn split_offset(text: &str) -> Option<(&str, i32)> {
    let trimmed = text.trim_end();
    if let Some(body) = trimmed.strip_suffix(['z', 'Z']) {
        return Some((body, 0));
    }
    for (length, colon) in [(5, false), (6, true)] {
        let Some(at) = text.len().checked_sub(length).filter(|at| *at > 0) else {
            continue;
        };
        let Some((body, offset)) = text.split_at_checked(at) else {
            continue;
        };
        let sign = match offset.as_bytes()[0] {
            b'+' => 1,
            b'-' => -1,
            _ => continue,
        };
        if colon && offset.as_bytes()[3] != b':' {
            continue;
        }
        let digits: String = offset[1..]
            .chars()
            .filter(|c| !colon || *c != ':')
            .collect();
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number: i32 = digits.parse().ok()?;
        return Some((body, sign * (number / 100 * 3600 + number % 100 * 60)));
    }
    Some((text, 0))
}

/// A span in seconds: `1+02:03:04.5`, `1d2h3m4.5s`, or a mixture; each part may be
/// missing. Read from its end, since only there it is clear which part is which.
pub(crate) fn parse_span(text: &str) -> Option<f64> {
    let mut rest = Backwards(text.trim_end());
    let mut seconds = 0.0;
    if rest
        .0
        .ends_with(|c: char| c.is_ascii_digit() || "sS".contains(c))
    {
        rest.take("sS");
        let fraction = rest.digits();
        let number = match rest.0.strip_suffix('.') {
            Some(before) => {
                rest.0 = before;
                format!("{}.{fraction}", rest.digits())
            }
            None => fraction.to_owned(),
        };
        seconds = format!("0{number}").parse().ok()?;
    }
    for (marks, unit) in [("mM:", 60.0), ("hH:", 3600.0), ("dD+", DAY as f64)] {
        if rest.take(marks) {
            seconds += unit * format!("0{}", rest.digits()).parse::<f64>().ok()?;
        }
    }
    let sign = if rest.take("-") { -1.0 } else { 1.0 };
    (rest.0.trim().is_empty() && seconds.is_finite()).then_some(sign * seconds)
}

/// A text that is read from its end; blanks between the parts do not count.
struct Backwards<'t>(&'t str);

impl<'t> Backwards<'t> {
    fn take(&mut self, marks: &str) -> bool {
        self.0 = self.0.trim_end();
        let rest = self.0.strip_suffix(|c| marks.contains(c));
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn digits(&mut self) -> &'t str {
        self.0 = self.0.trim_end();
        let start = self.0.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (rest, digits) = self.0.split_at(start);
        self.0 = rest;
        digits
    }
}
