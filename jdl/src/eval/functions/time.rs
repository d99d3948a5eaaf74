//! Moments and spans. There is no clock here: the present is the attribute
//! `CurrentTime` (seconds since the epoch) of one of the ads.

use super::calendar::{DAY, Parts, parse_moment, parse_span, strftime};
use super::types::{cut, real_of};
use super::{AdRef, Call, Entry, Fault, Outcome, Val, entry, made};
use crate::{Ad, Expr, Value};

pub(super) const TABLE: &[Entry] = &[
    entry("time", 0, 0, |c| Ok(now(c))),
    entry("currentTime", 0, 0, |c| moment(now(c), 0)),
    entry("timeZoneOffset", 0, 0, |_| Ok(Val::RelTime(0.0))),
    entry("dayTime", 0, 0, |c| {
        let seconds = cut(real_of(&now(c)).map_err(|_| Fault::Undefined)?);
        Ok(Val::RelTime(seconds.rem_euclid(DAY) as f64))
    }),
    entry("absTime", 0, 2, abs_time),
    entry("relTime", 1, 1, rel_time),
    entry("formatTime", 0, 2, format_time),
    entry("interval", 1, 1, interval),
    entry("splitTime", 1, 1, split_time),
    entry("getYear", 1, 1, |c| part(c, |t| t.year)),
    entry("getMonth", 1, 1, |c| part(c, |t| t.month)),
    entry("getDayOfMonth", 1, 1, |c| part(c, |t| t.day)),
    entry("getDayOfWeek", 1, 1, |c| part(c, |t| t.weekday)),
    entry("getDayOfYear", 1, 1, |c| part(c, |t| t.day_of_year)),
    entry("getDays", 1, 1, |c| span_part(c, |s| s / DAY, |_| None)),
    entry("getHours", 1, 1, |c| {
        span_part(c, |s| s % DAY / 3600, |t| Some(t.hour))
    }),
    entry("getMinutes", 1, 1, |c| {
        span_part(c, |s| s % 3600 / 60, |t| Some(t.minute))
    }),
    entry("getSeconds", 1, 1, |c| {
        span_part(c, |s| s % 60, |t| Some(t.second))
    }),
];

fn now<'a>(call: &Call<'_, 'a>) -> Val<'a> {
    call.evaluator.surrounding("currenttime")
}

/// `absTime("2026-11-22T15:04:05+01:00")`, `absTime(seconds, offset)`, `absTime()`.
fn abs_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let offset = match call.value(1) {
        _ if call.len() < 2 => 0,
        Val::Int(offset) => offset,
        Val::Real(offset) | Val::RelTime(offset) => cut(offset),
        _ => return Err(Fault::Error),
    };
    match call.len() {
        0 => moment(now(call), 0),
        _ => moment(call.value(0), offset),
    }
}

fn moment<'a>(value: Val<'a>, offset: i64) -> Outcome<'a> {
    let seconds = match value {
        Val::Text(text) => return parse_moment(&text).map(Val::from).ok_or(Fault::Error),
        Val::Int(seconds) => seconds,
        Val::Real(seconds) | Val::RelTime(seconds) => cut(seconds),
        Val::Undefined => return Err(Fault::Undefined),
        moment @ Val::AbsTime { .. } => return Ok(moment),
        _ => return Err(Fault::Error),
    };
    let offset = i32::try_from(offset).map_err(|_| Fault::Error)?;
    Ok(Val::AbsTime { seconds, offset })
}

/// A number is a span; a text such as `1+02:03:04` or `1d2h3m4.5s` is, as in the
/// library, a real.
fn rel_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    match call.known(0)? {
        Val::Int(seconds) => Ok(Val::RelTime(seconds as f64)),
        Val::Real(seconds) | Val::RelTime(seconds) => Ok(Val::RelTime(seconds)),
        Val::AbsTime { seconds, .. } => Ok(Val::RelTime(seconds as f64)),
        Val::Text(text) => parse_span(&text).map(Val::Real).ok_or(Fault::Error),
        _ => Err(Fault::Error),
    }
}

/// `3+04:05:06`: days, hours, minutes, seconds; without those that are zero in front.
fn interval<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let seconds = match call.value(0) {
        Val::Int(seconds) => seconds,
        value => cut(real_of(&value)?),
    };
    let sign = if seconds < 0 { "-" } else { "" };
    let span = seconds.unsigned_abs();
    let (days, hours, minutes, rest) = (
        span / DAY.unsigned_abs(),
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

/// The library takes a number for seconds since the epoch.
fn split_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let ad = match call.known(0)? {
        Val::AbsTime { seconds, offset } => split_moment(seconds, offset),
        Val::RelTime(seconds) => split_span(seconds),
        Val::Int(seconds) => split_moment(seconds, 0),
        Val::Real(seconds) => split_moment(cut(seconds), 0),
        _ => return Err(Fault::Error),
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

/// The greatest part that is not zero has the sign.
fn split_span(seconds: f64) -> Ad {
    let whole = seconds.abs() as i64;
    let fraction = seconds.abs().fract();
    let mut parts = [whole / DAY, whole % DAY / 3600, whole % 3600 / 60];
    let mut rest = (whole % 60) as f64 + fraction;
    if seconds < 0.0 {
        match parts.iter_mut().find(|part| **part > 0) {
            Some(part) => *part = -*part,
            None => rest = -rest,
        }
    }
    let mut ad = Ad::new();
    ad.insert("Type", "RelativeTime");
    ad.insert("Days", parts[0]);
    ad.insert("Hours", parts[1]);
    ad.insert("Minutes", parts[2]);
    ad.insert("Seconds", Value::Real(rest));
    ad
}

/// As shown by a clock in UTC, whatever offset the moment has.
fn part<'a>(call: &Call<'_, 'a>, part: fn(&Parts) -> i64) -> Outcome<'a> {
    match call.value(0) {
        Val::AbsTime { seconds, .. } => Ok(Val::Int(part(&Parts::of(seconds, 0)))),
        _ => Err(Fault::Error),
    }
}

fn span_part<'a>(
    call: &Call<'_, 'a>,
    of_span: fn(i64) -> i64,
    of_moment: fn(&Parts) -> Option<i64>,
) -> Outcome<'a> {
    match call.value(0) {
        Val::RelTime(seconds) => Ok(Val::Int(of_span(cut(seconds)))),
        Val::AbsTime { seconds, .. } => of_moment(&Parts::of(seconds, 0))
            .map(Val::Int)
            .ok_or(Fault::Error),
        _ => Err(Fault::Error),
    }
}

/// As `strftime` has it. The moment is a number, a moment, or an ad of `splitTime`.
fn format_time<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let moment = match call.len() {
        0 => now(call),
        _ => call.value(0),
    };
    let parts = match moment {
        Val::Int(seconds) => Parts::of(seconds, 0),
        Val::Real(seconds) => Parts::of(cut(seconds), 0),
        Val::AbsTime { seconds, offset } => Parts::of(seconds, offset),
        Val::Ad(AdRef::Known(ad)) => joined(&ad),
        Val::Ad(AdRef::Scope(ad, _)) => joined(ad),
        _ => return Err(Fault::Error),
    };
    let format = match call.len() {
        2 => call.only_text(1)?,
        _ => "%c".into(),
    };
    if format.len() > FORMAT_BYTES_MAX {
        return Err(Fault::Error);
    }
    made(strftime(&format, &parts))
}

/// Longest format of a time, in bytes.
const FORMAT_BYTES_MAX: usize = 1 << 12;

/// The parts of an ad of `splitTime`, as they stand there.
fn joined(ad: &Ad) -> Parts {
    let part = |name: &str| match ad.get(name).and_then(Expr::literal) {
        Some(Value::Integer(number)) => *number,
        _ => 0,
    };
    // Without a year the library is in 1900, without a month in January.
    let year = if ad.get("Year").is_some() {
        part("Year")
    } else {
        1900
    };
    let month = if ad.get("Month").is_some() {
        part("Month")
    } else {
        1
    };
    let clamped = |name: &str| part(name).clamp(-DAY, DAY);
    Parts::new(
        [year, month, clamped("Day")],
        [clamped("Hours"), clamped("Minutes"), clamped("Seconds")],
    )
}
