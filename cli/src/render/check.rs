//! A site that is tried, step by step.

use anstyle::{AnsiColor, Style};
use fairway_api::public::{CheckEnd, CheckOutcome, CheckStage, CheckStep};
use fairway_model::SiteName;

use super::table::harmless;
use super::words;

/// One step: how it came out, what was looked at, what was found, and what to do about it.
pub(crate) fn step(step: &CheckStep) -> String {
    let (word, style) = outcome(step.outcome);
    let stage = stage(step.stage);
    let what = match &step.ce {
        Some(ce) => format!("{stage} of {ce}"),
        None => stage.to_owned(),
    };
    let took = match (step.outcome, step.took_ms) {
        (CheckOutcome::Skipped, _) | (_, 0..100) => String::new(),
        (_, millis) => format!(" ({})", words::span_ms(millis)),
    };
    let mut text = format!(
        "{style}{word:<8}{style:#} {what}: {}{took}\n",
        harmless(&step.found)
    );
    if let Some(remedy) = &step.remedy {
        text.push_str(&format!("         -> {}\n", harmless(remedy)));
    }
    text
}

/// The last word.
pub(crate) fn end(site: &SiteName, end: CheckEnd) -> String {
    let parts: Vec<String> = [(end.failed, "failure"), (end.remarks, "remark")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| words::count(number, noun))
        .collect();
    match parts.as_slice() {
        [] => format!("{site} is fine\n"),
        parts => format!("{site}: {}\n", parts.join(" and ")),
    }
}

const fn outcome(outcome: CheckOutcome) -> (&'static str, Style) {
    match outcome {
        CheckOutcome::UnderWay => ("...", Style::new().dimmed()),
        CheckOutcome::Ok => ("ok", AnsiColor::Green.on_default()),
        CheckOutcome::Remark => ("remark", AnsiColor::Yellow.on_default()),
        CheckOutcome::Failed => ("failed", AnsiColor::Red.on_default()),
        CheckOutcome::Skipped => ("skipped", Style::new().dimmed()),
    }
}

const fn stage(stage: CheckStage) -> &'static str {
    match stage {
        CheckStage::Description => "description",
        CheckStage::Connection => "connection",
        CheckStage::Version => "version",
        CheckStage::Queue => "queue",
        CheckStage::Limits => "limits",
        CheckStage::Pilot => "pilot",
    }
}
