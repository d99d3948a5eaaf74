//! Moments and spans. There is no clock here: the present is the attribute
//! `CurrentTime` (seconds since the epoch) of one of the ads.

use std::fmt::Write as _;

use super::{AdRef, Call, Entry, Fault, Outcome, Val, entry, made};
use crate::eval::operators::Number;
use crate::{Ad, Expr, Value};

pub(super) const TABLE: &[Entry] = &[
    entry("time", 0, 0, |c| Ok(now(c))),
    entry("currenttime", 0, 0, |c| Ok(now(c))),
    entry("abstime", 0, 2, abs_time),
    entry("reltime", 1, 1, rel_time),
    entry("formattime", 0, 2, format_time),
    entry("interval", 1, 1, interval),
    entry("splittime", 1, 1, split_time),
    entry("getyear", 1, 1, |c| part(c, |t| t.year)),
    entry("getmonth", 1, 1, |c| part(c, |t| t.month)),
    entry("getdayofmonth", 1, 1, |c| part(c, |t| t.day)),
    entry("getdayofweek", 1, 1, |c| part(c, |t| t.weekday)),
    entry("getdayofyear", 1, 1, |c| part(c, |t| t.day_of_year)),
    entry("getdays", 1, 1, |c| span_part(c, |s| s / DAY, |_| None)),
    entry("gethours", 1, 1, |c| {
        span_part(c, |s| s % DAY / 3600, |t| Some(t.hour))
    }),
    entry("getminutes", 1, 1, |c| {
        span_part(c, |s| s % 3600 / 60, |t| Some(t.minute))
    }),
    entry("getseconds", 1, 1, |c| {
        span_part(c, |s| s % 60, |t| Some(t.second))
    }),
];

const DAY: i64 = 86_400;

fn now<'a>(call: &Call<'_, 'a>) -> Val<'a> {
    call.evaluator.surrounding("currenttime")
}

/// `absTime("2026-11-22T15:04:05+01:00")`, `absTime(seconds, offset)`, `absTime()`.
fn abs_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let seconds = match if call.len() == 0 {
        now(call)
    } else {
        call.known(0)?
    } {
        Val::Text(text) => return parse_abs(&text).map(Val::from).ok_or(Fault::Error),
        Val::Int(seconds) => seconds,
        Val::Real(seconds) => seconds as i64,
        Val::Undefined => return Err(Fault::Undefined),
        _ => return Err(Fault::Error),
    };
    let offset = if call.len() == 2 { call.int(1)? } else { 0 };
    let offset = i32::try_from(offset)
        .ok()
        .filter(|offset| offset.abs() <= DAY as i32)
        .ok_or(Fault::Error)?;
    Ok(Val::AbsTime { seconds, offset })
}

/// A number is a span; a text such as `1+02:03:04` or `1d2h3m4.5s` is, as in the
/// library, a real.
fn rel_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    match call.known(0)? {
        Val::Int(seconds) => Ok(Val::RelTime(seconds as f64)),
        Val::Real(seconds) => Ok(Val::RelTime(seconds)),
        Val::Text(text) => parse_span(&text).map(Val::Real).ok_or(Fault::Error),
        _ => Err(Fault::Error),
    }
}

/// `3+04:05:06`: days, hours, minutes, seconds; without those that are zero in front.
fn interval<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let seconds = match call.value(0) {
        Val::RelTime(seconds) => seconds as i64,
        value => Number::of(&value).ok_or(Fault::Error)?.real() as i64,
    };
    let sign = if seconds < 0 { "-" } else { "" };
    let span = seconds.unsigned_abs();
    let (days, hours, minutes, rest) = (
        span / DAY as u64,
        span / 3600 % 24,
        span / 60 % 60,
        span % 60,
    );
    made(if days > 0 {
        format!("{sign}{days}+{hours:02}:{minutes:02}:{rest:02}")
    } else if hours > 0 {
        format!("{sign}{hours}:{minutes:02}:{rest:02}")
    } else if minutes > 0 {
        format!("{sign}{minutes}:{rest:02}")
    } else {
        format!("{sign}{rest}")
    })
}

fn split_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let ad = match call.known(0)? {
        Val::AbsTime { seconds, offset } => split_moment(seconds, offset),
        Val::RelTime(seconds) => split_span(seconds),
        // The library takes a number for seconds since the epoch.
        value => {
            let seconds = Number::of(&value).ok_or(Fault::Error)?.real() as i64;
            split_moment(seconds, 0)
        }
    };
    Ok(Val::Ad(AdRef::Known(ad.into())))
}

fn split_moment(seconds: i64, offset: i32) -> Ad {
    let parts = Parts::of(seconds, offset);
    let mut ad = Ad::new();
    ad.insert("Type", "AbsoluteTime");
    ad.insert("Year", parts.year);
    ad.insert("Month", parts.month);
    ad.insert("Day", parts.day);
    ad.insert("Hours", parts.hour);
    ad.insert("Minutes", parts.minute);
    ad.insert("Seconds", parts.second);
    ad.insert("Offset", i64::from(offset));
    ad
}

fn split_span(seconds: f64) -> Ad {
    let whole = seconds as i64;
    let mut ad = Ad::new();
    ad.insert("Type", "RelativeTime");
    ad.insert("Days", whole / DAY);
    ad.insert("Hours", whole % DAY / 3600);
    ad.insert("Minutes", whole % 3600 / 60);
    ad.insert(
        "Seconds",
        Value::Real((whole % 60) as f64 + seconds.fract()),
    );
    ad
}

fn part<'a>(call: &Call<'_, 'a>, part: fn(&Parts) -> i64) -> Outcome<'a> {
    match call.known(0)? {
        Val::AbsTime { seconds, offset } => Ok(Val::Int(part(&Parts::of(seconds, offset)))),
        _ => Err(Fault::Error),
    }
}

fn span_part<'a>(
    call: &Call<'_, 'a>,
    of_span: fn(i64) -> i64,
    of_moment: fn(&Parts) -> Option<i64>,
) -> Outcome<'a> {
    match call.known(0)? {
        Val::RelTime(seconds) => Ok(Val::Int(of_span(seconds as i64))),
        Val::AbsTime { seconds, offset } => of_moment(&Parts::of(seconds, offset))
            .map(Val::Int)
            .ok_or(Fault::Error),
        _ => Err(Fault::Error),
    }
}

/// As `strftime` has it. The moment is a number, a moment, or an ad of `splitTime`.
fn format_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let moment = if call.len() == 0 {
        now(call)
    } else {
        call.known(0)?
    };
    let (seconds, offset) = match moment {
        Val::Int(seconds) => (seconds, 0),
        Val::Real(seconds) => (seconds as i64, 0),
        Val::AbsTime { seconds, offset } => (seconds, offset),
        Val::Ad(AdRef::Known(ad)) => joined(&ad).ok_or(Fault::Error)?,
        Val::Ad(AdRef::Scope(ad, _)) => joined(ad).ok_or(Fault::Error)?,
        Val::Undefined => return Err(Fault::Undefined),
        _ => return Err(Fault::Error),
    };
    let format = call.text_or(1, "%c")?;
    made(strftime(&format, &Parts::of(seconds, offset)))
}

/// The moment that an ad of `splitTime` stands for.
fn joined(ad: &Ad) -> Option<(i64, i32)> {
    let part = |name: &str| match ad.get(name).and_then(Expr::literal) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    let offset = part("Offset").unwrap_or(0);
    let days = days_from_civil(part("Year")?, part("Month")?, part("Day")?)?;
    let seconds = days * DAY
        + part("Hours").unwrap_or(0).clamp(0, 24) * 3600
        + part("Minutes").unwrap_or(0).clamp(0, 60) * 60
        + part("Seconds").unwrap_or(0).clamp(0, 60)
        - offset.clamp(-DAY, DAY);
    Some((seconds, i32::try_from(offset.clamp(-DAY, DAY)).ok()?))
}

/// A moment on the calendar and the clock of its offset.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// From 0, Sunday.
    weekday: i64,
    /// From 0.
    day_of_year: i64,
    offset: i64,
}

impl Parts {
    fn of(seconds: i64, offset: i32) -> Self {
        let offset = i64::from(offset);
        let local = seconds.saturating_add(offset);
        let (days, clock) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let new_year = days_from_civil(year, 1, 1).unwrap_or(days);
        Self {
            year,
            month,
            day,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
            weekday: (days + 4).rem_euclid(7),
            day_of_year: days - new_year,
            offset,
        }
    }
}

/// Year, month and day of a day count from 1970-01-01 in the proleptic Gregorian
/// calendar, by 400-year eras of years that begin in March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
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
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of `civil_from_days`; `None` for what is no date or very far away.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year.abs() > 1_000_000_000 {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
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

fn strftime(format: &str, t: &Parts) -> String {
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some(code) => directive(&mut text, code, t),
            None => text.push('%'),
        }
    }
    text
}

fn directive(text: &mut String, code: char, t: &Parts) {
    let weekday = DAYS[t.weekday as usize];
    let month = MONTHS[(t.month - 1) as usize];
    let hour12 = (t.hour + 11) % 12 + 1;
    // Writing into a String cannot fail.
    let _ = match code {
        'a' => write!(text, "{}", &weekday[..3]),
        'A' => write!(text, "{weekday}"),
        'b' | 'h' => write!(text, "{}", &month[..3]),
        'B' => write!(text, "{month}"),
        'c' => {
            text.push_str(&strftime("%a %b %e %H:%M:%S %Y", t));
            Ok(())
        }
        'd' => write!(text, "{:02}", t.day),
        'D' | 'x' => write!(
            text,
            "{:02}/{:02}/{:02}",
            t.month,
            t.day,
            t.year.rem_euclid(100)
        ),
        'e' => write!(text, "{:2}", t.day),
        'F' => write!(text, "{:04}-{:02}-{:02}", t.year, t.month, t.day),
        'H' => write!(text, "{:02}", t.hour),
        'I' => write!(text, "{hour12:02}"),
        'j' => write!(text, "{:03}", t.day_of_year + 1),
        'm' => write!(text, "{:02}", t.month),
        'M' => write!(text, "{:02}", t.minute),
        'n' => text.write_char('\n'),
        'p' => write!(text, "{}", if t.hour < 12 { "AM" } else { "PM" }),
        'S' => write!(text, "{:02}", t.second),
        't' => text.write_char('\t'),
        'T' | 'X' => write!(text, "{:02}:{:02}:{:02}", t.hour, t.minute, t.second),
        'w' => write!(text, "{}", t.weekday),
        'y' => write!(text, "{:02}", t.year.rem_euclid(100)),
        'Y' => write!(text, "{}", t.year),
        'z' => write!(text, "{}", offset_text(t.offset, "")),
        'Z' => write!(text, "UTC"),
        '%' => write!(text, "%"),
        other => write!(text, "%{other}"),
    };
}

/// `2026-11-22T15:04:05+01:00`; the library writes `-00:00` for UTC.
pub(crate) fn rfc3339(seconds: i64, offset: i32) -> String {
    let t = Parts::of(seconds, offset);
    format!(
        "{}{}",
        strftime("%Y-%m-%dT%H:%M:%S", &t),
        offset_text(t.offset, ":")
    )
}

fn offset_text(offset: i64, colon: &str) -> String {
    let sign = if offset > 0 { '+' } else { '-' };
    let minutes = offset.abs() / 60;
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

/// `1+02:03:04`, in seconds alone below a minute.
pub(super) fn span_text(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
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

/// A moment as text: date, time, offset, with any separators between the
/// numbers; what is missing is zero, and the offset UTC.
pub(crate) fn parse_abs(text: &str) -> Option<Value> {
    let text = text.trim();
    let mut numbers = Numbers { rest: text };
    let year = numbers.take(4)?;
    let month = numbers.take(2)?;
    let day = numbers.take(2)?;
    let mut clock = [0; 3];
    for part in &mut clock {
        match numbers.take(2) {
            Some(number) => *part = number,
            None => break,
        }
    }
    let [hour, minute, second] = clock;
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let offset = parse_offset(numbers.rest.trim_start())?;
    let days = days_from_civil(year, month, day)?;
    Some(Value::AbsTime {
        seconds: days * DAY + hour * 3600 + minute * 60 + second - i64::from(offset),
        offset,
    })
}

struct Numbers<'a> {
    rest: &'a str,
}

impl Numbers<'_> {
    /// The next number of at most so many digits; what is between numbers is skipped,
    /// except for a sign behind the date, which begins the offset.
    fn take(&mut self, digits_max: usize) -> Option<i64> {
        let rest = self
            .rest
            .trim_start_matches(|c: char| !c.is_ascii_digit() && !"+Zz".contains(c));
        let skipped = &self.rest[..self.rest.len() - rest.len()];
        let is_offset = digits_max == 2 && skipped.starts_with('-') && self.behind_date();
        if is_offset || rest.starts_with(['+', 'Z', 'z']) {
            return None;
        }
        let end = rest
            .bytes()
            .take(digits_max)
            .take_while(u8::is_ascii_digit)
            .count();
        let number = rest[..end].parse().ok()?;
        self.rest = &rest[end..];
        Some(number)
    }

    /// Whether a `-` here begins an offset: at most an offset follows it.
    fn behind_date(&self) -> bool {
        let body = &self.rest[1..];
        body.len() >= 4
            && body.len() <= 5
            && body.bytes().filter(u8::is_ascii_digit).count() == 4
            && !body.contains('-')
    }
}

fn parse_offset(text: &str) -> Option<i32> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i32 = digits.parse().ok()?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

/// `1+02:03:04.5`, `1d2h3m4.5s`, or seconds.
fn parse_span(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    if text.contains(['d', 'h', 'm', 's']) {
        return parse_units(text).map(|seconds| sign * seconds);
    }
    let (days, clock) = match text.split_once('+') {
        Some((days, clock)) => (days.parse::<u32>().ok()?, clock),
        None => (0, text),
    };
    let mut seconds = 0.0;
    for part in clock.split(':') {
        let number: f64 = part.parse().ok()?;
        seconds = seconds * 60.0 + number;
    }
    let span = sign * (f64::from(days) * DAY as f64 + seconds);
    span.is_finite().then_some(span)
}

fn parse_units(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(['d', 'h', 'm', 's'])?;
        let number: f64 = rest[..at].trim().parse().ok()?;
        seconds += number
            * match rest.as_bytes()[at] {
                b'd' => DAY as f64,
                b'h' => 3600.0,
                b'm' => 60.0,
                _ => 1.0,
            };
        rest = rest[at + 1..].trim_start();
    }
    Some(seconds)
}
