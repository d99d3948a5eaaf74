//! What is measured of a run, each with the source of its formula.

use std::collections::BTreeMap;

use fairway_model::UserName;
use serde::{Deserialize, Serialize};

/// What each user's part should be, in proportion: 1 for who is not named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets(BTreeMap<UserName, f64>);

impl Targets {
    /// Targets of some users.
    ///
    /// # Errors
    /// If one of them is not a number of 0 or more.
    pub fn new(weights: BTreeMap<UserName, f64>) -> Result<Self, String> {
        let sound = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        match weights.iter().find(|(_, weight)| !sound(weight)) {
            Some((user, weight)) => Err(format!(
                "the share of {user} must be a number of 0 or more, not {weight}"
            )),
            None => Ok(Self(weights)),
        }
    }

    /// A user's part.
    pub fn weight(&self, user: &UserName) -> f64 {
        self.0.get(user).copied().unwrap_or(1.0)
    }
}

/// How far shares are from what they should be: half of the sum of all distances
/// (`½ Σ |usage share − target share|`, the total variation distance): the part of all usage that
/// would have to go to others. 0 is ideal. `usage` and `targets` are of the same users in the
/// same order, in any unit. `None` if nothing is used, or nobody should use anything.
pub fn share_error(usage: &[f64], targets: &[f64]) -> Option<f64> {
    let (used, wanted): (f64, f64) = (usage.iter().sum(), targets.iter().sum());
    if used <= 0.0 || wanted <= 0.0 {
        return None;
    }
    let distance = |(u, t): (&f64, &f64)| (u / used - t / wanted).abs();
    Some(usage.iter().zip(targets).map(distance).sum::<f64>() / 2.0)
}

/// Jain's index of fairness of `usage / target` over the users with a target: `(Σx)² / (n Σx²)`,
/// from `1/n` (one has everything) to 1 (Jain, Chiu, Hawe: "A quantitative measure of fairness and
/// discrimination for resource allocation in shared computer systems", DEC-TR-301, 1984). `None`
/// as in [`share_error`].
pub fn jain(usage: &[f64], targets: &[f64]) -> Option<f64> {
    let with_target = usage
        .iter()
        .zip(targets)
        .filter(|(_, target)| **target > 0.0);
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (usage, target) in with_target {
        let x = usage / target;
        n += 1.0;
        sum += x;
        squares += x * x;
    }
    (squares > 0.0).then(|| sum * sum / (n * squares))
}

/// Shorter runtimes count as this in the slowdown, in seconds.
pub(crate) const SLOWDOWN_THRESHOLD_S: f64 = 10.0;

/// Bounded slowdown: `max(1, response / max(runtime, 10 s))`, where the response is the time
/// from submission to end (Feitelson: "Metrics for parallel job scheduling and their
/// convergence", JSSPP 2001). Both in seconds.
pub(crate) fn bounded_slowdown(response_s: f64, runtime_s: f64) -> f64 {
    (response_s / runtime_s.max(SLOWDOWN_THRESHOLD_S)).max(1.0)
}

/// The value that a part of all (0 to 1) is not above, of sorted values: nearest rank.
pub(crate) fn quantile<T: Copy + Default>(sorted: &[T], part: f64) -> T {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// How long tasks waited from their submission to their first start, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// The mean.
    pub mean_s: f64,
    /// Half waited no longer.
    pub median_s: f64,
    /// 95 % waited no longer.
    pub p95_s: f64,
    /// The longest.
    pub max_s: f64,
}

/// Bounded slowdowns of tasks: 1 is ideal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slowdowns {
    /// The mean.
    pub mean: f64,
    /// Half had no more.
    pub median: f64,
    /// 95 % had no more.
    pub p95: f64,
    /// The most.
    pub max: f64,
}

/// What became of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// All that were submitted.
    pub submitted: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed for good.
    pub failed: u64,
    /// Those that were cancelled, or skipped because of what they depend on.
    pub cancelled: u64,
    /// Those that were not over at the end.
    pub unfinished: u64,
    /// Attempts that ended without the task being over.
    pub retried: u64,
    /// Those that were not submitted: no node has their cores, memory or GPUs.
    pub too_large: u64,
    /// Those that were not submitted: no pilot lasts for their walltime.
    pub too_long: u64,
}

/// What became of pilots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PilotCounts {
    /// Those that were asked for.
    pub asked: u64,
    /// Those that the batch systems started.
    pub started: u64,
    /// Those that were called back before they were started.
    pub recalled: u64,
    /// Those that were started and never had a task.
    pub wasted: u64,
    /// Core-seconds of all that were started.
    pub core_s: f64,
    /// Core-seconds of these in which no task ran.
    pub idle_core_s: f64,
}

/// What one user got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserOutcome {
    /// Who.
    pub user: UserName,
    /// Tasks that ran to their end, failed ones included.
    pub tasks: u64,
    /// Core-seconds.
    pub core_s: f64,
    /// Mean wait, in seconds.
    pub wait_mean_s: f64,
    /// Mean bounded slowdown.
    pub slowdown_mean: f64,
}

/// A stretch of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When it begins, in seconds from the first submission.
    pub at_s: f64,
    /// Part of all cores that ran tasks.
    pub utilisation: f64,
    /// Part of all cores that pilots had.
    pub pilots: f64,
    /// See [`share_error`]; against the targets of the users with work, each as long as they
    /// had some.
    pub share_error: Option<f64>,
    /// See [`jain`]; as `share_error`.
    pub jain: Option<f64>,
    /// Part of all usage of each of [`Outcome::shown`], and of all others together.
    pub shares: Vec<f64>,
}

/// What is measured of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The name of the policy.
    pub policy: String,
    /// Tasks.
    pub tasks: TaskCounts,
    /// Waits.
    pub wait: Waits,
    /// Bounded slowdowns.
    pub slowdown: Slowdowns,
    /// Part of the core-seconds of all nodes, from the first submission to the last end, in which
    /// tasks ran.
    pub utilisation: f64,
    /// From the first submission to the last end, in seconds.
    pub makespan_s: f64,
    /// Mean over time, each moment by the work that was done in it.
    pub share_error: Option<f64>,
    /// As `share_error`.
    pub jain: Option<f64>,
    /// Pilots.
    pub pilots: PilotCounts,
    /// How the run ended, if not because all was done.
    pub stopped: Option<String>,
    /// The users with most core-seconds, in that order, whose shares are shown.
    pub shown: Vec<UserName>,
    /// Over time, in stretches of equal length.
    pub series: Vec<Point>,
    /// The length of a stretch, in seconds.
    pub stretch_s: f64,
    /// Every user, by name.
    pub users: Vec<UserOutcome>,
    /// Who ran where and when.
    #[serde(skip)]
    pub(crate) gantt: super::gantt::Gantt,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: Option<f64>, wanted: f64) {
        assert!(
            (got.unwrap() - wanted).abs() < 1e-12,
            "{got:?} is not {wanted}"
        );
    }

    #[test]
    fn share_errors_worked_by_hand() {
        near(share_error(&[1.0, 1.0], &[1.0, 1.0]), 0.0);
        near(share_error(&[3.0, 1.0], &[1.0, 1.0]), 0.25);
        near(share_error(&[4.0, 0.0, 0.0, 0.0], &[1.0; 4]), 0.75);
        near(share_error(&[2.0, 2.0], &[3.0, 1.0]), 0.25);
        assert_eq!(share_error(&[0.0], &[1.0]), None);
        assert_eq!(share_error(&[1.0], &[0.0]), None);
    }

    #[test]
    fn jain_worked_by_hand() {
        near(jain(&[5.0, 5.0, 5.0], &[1.0; 3]), 1.0);
        near(jain(&[5.0, 0.0, 0.0, 0.0], &[1.0; 4]), 0.25);
        near(jain(&[6.0, 2.0], &[3.0, 1.0]), 1.0);
        near(jain(&[1.0, 3.0], &[1.0, 1.0]), 16.0 / 20.0);
        assert_eq!(jain(&[0.0], &[1.0]), None);
    }

    #[test]
    fn slowdowns_are_bounded_on_both_sides() {
        assert_eq!(bounded_slowdown(30.0, 20.0), 1.5);
        assert_eq!(bounded_slowdown(30.0, 1.0), 3.0);
        assert_eq!(bounded_slowdown(1.0, 1.0), 1.0);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), 2);
        assert_eq!(quantile(&[1, 2, 3, 4], 0.95), 4);
        assert_eq!(quantile(&[7], 0.5), 7);
        assert_eq!(quantile::<u64>(&[], 0.5), 0);
    }
}
