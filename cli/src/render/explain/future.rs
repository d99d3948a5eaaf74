//! What is ahead of a task, and what is behind it.

use std::fmt::Write as _;
use std::time::Duration;

use fairway_api::public::{Explanation, ForecastView};
use fairway_model::Timestamp;

use super::super::table::harmless;
use super::words;

/// When it will start, as the end of the first paragraph; begins with a space.
pub(super) fn sentence(explanation: &Explanation) -> String {
    if let Some(why) = &explanation.no_forecast {
        return format!(" There is no forecast of its start: {}.", harmless(why));
    }
    let Some(forecast) = &explanation.forecast else {
        return String::new();
    };
    let told = match (forecast.earliest, forecast.likely, forecast.latest) {
        (Some(earliest), Some(likely), Some(latest)) => format!(
            "It will likely start {}, between {} and {} from now",
            within(forecast, likely),
            span(forecast, earliest),
            span(forecast, latest)
        ),
        (Some(earliest), Some(likely), None) => format!(
            "It will likely start {}, {} from now at the earliest, and without luck not within {}",
            within(forecast, likely),
            span(forecast, earliest),
            span(forecast, forecast.horizon)
        ),
        (Some(earliest), None, _) => format!(
            "With luck it starts {}; nobody can say what is likely: {}",
            within(forecast, earliest),
            why(forecast)
        ),
        (None, ..) => format!("Nobody can say when it starts: {}", why(forecast)),
    };
    format!(" {told}.")
}

fn why(forecast: &ForecastView) -> String {
    let why = forecast.why_none.as_deref();
    harmless(why.unwrap_or("nothing is known of what is ahead")).to_string()
}

fn span(forecast: &ForecastView, at: Timestamp) -> String {
    words::span(at.since(forecast.made_at))
}

/// `at once`, or `in 3 min`.
fn within(forecast: &ForecastView, at: Timestamp) -> String {
    match at.since(forecast.made_at) {
        Duration::ZERO => "at once".to_owned(),
        wait => format!("in {}", words::span(wait)),
    }
}

/// Who comes before its owner, with the numbers on both sides.
pub(super) fn before(explanation: &Explanation) -> Option<String> {
    if explanation.before.is_empty() {
        return None;
    }
    let mut text = String::from("Before its owner come:\n");
    for rival in &explanation.before {
        let waiting = words::count(rival.waiting, "task");
        let (path, because) = (harmless(&rival.path), harmless(&rival.because));
        let _ = writeln!(text, "  {path}, with {waiting} waiting: {because}");
    }
    let told = u32::try_from(explanation.before.len()).unwrap_or(u32::MAX);
    if let Some(more) = explanation
        .accounts_before
        .checked_sub(told)
        .filter(|it| *it > 0)
    {
        let _ = writeln!(text, "  and {more} more");
    }
    Some(text)
}

/// Its priority and what that is made of, its tier, and how long it has waited.
pub(super) fn priority(explanation: &Explanation) -> Option<String> {
    let mut text = String::new();
    if let Some(waited_s) = explanation.waited_s {
        let waited = words::span(Duration::from_secs(waited_s));
        let overdue = match explanation.overdue {
            true => ", longer than anybody is to wait: it comes before all who have not",
            false => "",
        };
        let _ = writeln!(text, "It has been in the queue for {waited}{overdue}.");
    }
    if let Some(qos) = &explanation.qos {
        let (qos, tier) = (harmless(qos), explanation.tier);
        let _ = writeln!(text, "Its quality of service is {qos}, of tier {tier}.");
    }
    if let Some(priority) = &explanation.priority {
        let parts = priority.parts.iter();
        let parts: Vec<String> = parts
            .map(|part| format!("{} {:.1}", harmless(&part.name), part.value))
            .collect();
        let capped = match priority.capped {
            true => "; a cap is reached, and it is not started",
            false => "",
        };
        let (total, parts) = (priority.total, parts.join(", "));
        let _ = writeln!(text, "Its priority is {total:.1}: {parts}{capped}.");
    }
    (!text.is_empty()).then_some(text)
}

/// What became of it so far.
pub(super) fn history(explanation: &Explanation) -> Option<String> {
    if explanation.history.is_empty() {
        return None;
    }
    let mut text = String::from("What became of it:\n");
    for line in &explanation.history {
        let _ = writeln!(text, "  {}  {}", line.at, harmless(&line.what));
    }
    Some(text)
}
