//! Outcomes as a table: a row for each measure, a column for each policy.

use super::{measure, number, percent, span};
use crate::record::metrics::Outcome;

/// One row: its label, and how its values are made.
pub(super) type Row = (&'static str, fn(&Outcome) -> String);

/// All rows, in groups.
pub(super) const ROWS: &[&[Row]] = &[
    &[
        ("wait, mean", |it| span(it.wait.mean_s)),
        ("wait, median", |it| span(it.wait.median_s)),
        ("wait, 95 %", |it| span(it.wait.p95_s)),
        ("wait, longest", |it| span(it.wait.max_s)),
    ],
    &[
        ("bounded slowdown, mean", |it| number(it.slowdown.mean)),
        ("bounded slowdown, median", |it| number(it.slowdown.median)),
        ("bounded slowdown, 95 %", |it| number(it.slowdown.p95)),
    ],
    &[
        ("utilisation", |it| percent(it.utilisation)),
        ("makespan", |it| span(it.makespan_s)),
    ],
    &[
        ("share error", |it| measure(it.share_error)),
        ("Jain's index", |it| measure(it.jain)),
    ],
    &[
        ("pilots started", |it| it.pilots.started.to_string()),
        ("pilots called back", |it| it.pilots.recalled.to_string()),
        ("pilots without a task", |it| it.pilots.wasted.to_string()),
        ("idle core-hours of pilots", |it| {
            number(it.pilots.idle_core_s / 3600.0)
        }),
    ],
    &[
        ("tasks submitted", |it| it.tasks.submitted.to_string()),
        ("tasks succeeded", |it| it.tasks.succeeded.to_string()),
        ("tasks failed", |it| it.tasks.failed.to_string()),
        ("tasks cancelled or skipped", |it| {
            it.tasks.cancelled.to_string()
        }),
        ("tasks unfinished", |it| it.tasks.unfinished.to_string()),
        ("attempts tried again", |it| it.tasks.retried.to_string()),
        ("tasks left out: too large", |it| {
            it.tasks.too_large.to_string()
        }),
        ("tasks left out: too long", |it| {
            it.tasks.too_long.to_string()
        }),
    ],
];

/// Outcomes side by side, in plain text.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let names = outcomes.iter().map(|it| it.policy.clone());
    lines.push(std::iter::once("policy".to_owned()).chain(names).collect());
    for group in ROWS {
        lines.push(Vec::new());
        for (label, value) in *group {
            let values = outcomes.iter().map(value);
            lines.push(std::iter::once((*label).to_owned()).chain(values).collect());
        }
    }
    let mut text = aligned(&lines);
    for outcome in outcomes {
        if let Some(stopped) = &outcome.stopped {
            text.push_str(&format!("\n{}: {stopped}.\n", outcome.policy));
        }
    }
    text
}

/// The first column to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                text.push_str(&format!("{cell:<width$}"));
            } else {
                text.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push('\n');
    }
    text
}
