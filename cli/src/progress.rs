//! How far a job is: a bar on a terminal, lines elsewhere. On stderr, since
//! stdout belongs to the results.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use fairway_api::public::JobView;
use fairway_model::TaskState;
use indicatif::{ProgressBar, ProgressStyle};

use crate::screen;

/// Shortest time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// How many tasks are where, over all jobs that are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) blocked: u64,
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// The sum over `jobs`.
    pub(crate) fn of(jobs: &[JobView]) -> Self {
        let sum = |states: &[TaskState]| {
            jobs.iter()
                .flat_map(|job| states.iter().map(|state| u64::from(job.count(*state))))
                .sum()
        };
        Self {
            total: jobs.iter().map(|job| u64::from(job.tasks)).sum(),
            blocked: sum(&[TaskState::Blocked]),
            waiting: sum(&[TaskState::Waiting, TaskState::Held]),
            running: sum(&[TaskState::Leased, TaskState::Running, TaskState::Cancelling]),
            succeeded: sum(&[TaskState::Succeeded]),
            failed: sum(&[TaskState::Failed]),
            cancelled: sum(&[TaskState::Cancelled]),
            skipped: sum(&[TaskState::Skipped]),
        }
    }

    /// Tasks that are over.
    pub(crate) fn done(self) -> u64 {
        self.succeeded + self.failed + self.cancelled + self.skipped
    }

    /// Whether every task succeeded.
    pub(crate) fn all_succeeded(self) -> bool {
        self.succeeded == self.total
    }

    /// The counts in words; beside what runs and what is done, only what there is.
    pub(crate) fn words(self) -> String {
        let mut words = format!("{} running, {} done", self.running, self.succeeded);
        let others = [
            (self.blocked, "blocked"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
            (self.skipped, "skipped"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            words.push_str(&format!(", {count} {what}"));
        }
        words
    }
}

/// Shows how far the jobs are.
pub(crate) enum Progress {
    /// Says nothing.
    Silent,
    /// A bar that is drawn over and over.
    Bar(ProgressBar),
    /// A line whenever something changed, but not too often.
    Lines {
        last: Counts,
        last_at: Option<Instant>,
        /// How many were over at the first look, and when that was.
        first: Option<(u64, Instant)>,
    },
}

impl Progress {
    /// What suits stderr.
    pub(crate) fn new(total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                last: Counts::default(),
                last_at: None,
                first: None,
            };
        }
        let bar = ProgressBar::new(total);
        // The template is a constant; were it wrong, the library's own would do.
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:30.green} {pos}/{len}  {msg}  {per_sec}  {elapsed_precise}  {eta} left",
        ) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar(bar)
    }

    /// Tells how far the jobs are now.
    pub(crate) fn update(&mut self, counts: Counts) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                bar.set_position(counts.done());
                bar.set_message(counts.words());
            }
            Self::Lines {
                last,
                last_at,
                first,
            } => {
                let (done_before, began_at) =
                    *first.get_or_insert_with(|| (counts.done(), Instant::now()));
                let due = last_at.is_none_or(|at| at.elapsed() >= LINE_EVERY);
                let over = counts.done() == counts.total;
                if *last != counts && (due || over) {
                    *last = counts;
                    *last_at = Some(Instant::now());
                    let since = counts.done().saturating_sub(done_before);
                    screen::remark(&line(counts, since, began_at.elapsed()));
                }
            }
        }
    }

    /// Says something without disturbing the bar.
    pub(crate) fn remark(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| screen::remark(text)),
            Self::Silent | Self::Lines { .. } => screen::remark(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The counts, and the rate at which `since` tasks ended in `elapsed`, if any did.
fn line(counts: Counts, since: u64, elapsed: Duration) -> String {
    let line = format!("{}/{}: {}", counts.done(), counts.total, counts.words());
    if since == 0 {
        return line;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate for people does not need more than 52 bits"
    )]
    let rate = since as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{line}, {rate:.1} a second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_jobs() {
        let job: JobView = serde_json::from_value(serde_json::json!({
            "id": 1, "name": "a", "owner": "alice", "group": null, "submitted_at": 0, "tasks": 8,
            "states": {"blocked": 1, "waiting": 1, "leased": 1, "running": 1, "succeeded": 2,
                       "failed": 1, "skipped": 1},
            "ended_at": null,
        }))
        .unwrap();
        let counts = Counts::of(&[job.clone(), job]);
        assert_eq!(counts.total, 16);
        assert_eq!(counts.done(), 8);
        assert_eq!(
            counts.words(),
            "4 running, 4 done, 2 blocked, 2 failed, 2 skipped"
        );
        assert_eq!(
            line(counts, 6, Duration::from_secs(4)),
            "8/16: 4 running, 4 done, 2 blocked, 2 failed, 2 skipped, 1.5 a second"
        );
        // What was over before anybody looked is no rate.
        assert_eq!(
            line(counts, 0, Duration::ZERO),
            "8/16: 4 running, 4 done, 2 blocked, 2 failed, 2 skipped"
        );
    }
}
