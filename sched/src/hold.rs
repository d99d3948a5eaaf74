//! How many holding jobs an HPC site is to have for work that waits elsewhere (BeBiDa).
//!
//! A holding job is a batch job that holds a node's cores, which the site then hands over, say to
//! a Kubernetes cluster. What waits there is answered in three ways: time-critical work at once;
//! work with a deadline in time for it, given how long jobs of the site wait; other work as soon
//! as more than a threshold of it waits (Ti'Punch). A holding job that nobody uses any more is
//! given back.

use fairway_model::Timestamp;

/// A holding job is asked for so long before the last moment for a deadline, in seconds: for the
/// hand-over, and for estimates that were too good.
const MARGIN_S: u64 = 120;

/// The limits of holding jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPolicy {
    /// Work without a deadline is answered when more than so many pieces of it wait.
    pub threshold: u64,
    /// Holding jobs at a time, at most.
    pub holds_max: usize,
    /// Cores of one.
    pub cores: u32,
    /// The longest walltime of one, in seconds; also of work that tells no duration.
    pub walltime_max_s: u64,
    /// One that runs and is not used is given back after so many seconds.
    pub idle_s: u64,
    /// How long a job of the site waits before it starts, in seconds, as it was seen.
    pub delay_s: u64,
}

/// A piece of work that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldDemand {
    /// Cores that it needs, on one node.
    pub cores: u32,
    /// How long it will run, in seconds, if it tells.
    pub duration_s: Option<u64>,
    /// When it must be done, if it tells.
    pub deadline: Option<Timestamp>,
    /// Whether it must run at once.
    pub time_critical: bool,
}

/// A holding job that there is, or that was asked for without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its number.
    pub number: u64,
    /// How it is used.
    pub usage: HoldUsage,
}

/// How a holding job is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldUsage {
    /// It waits in the batch system.
    Queued,
    /// It runs, and something runs on what it holds.
    Busy,
    /// It runs, and nothing has run on what it holds for so many seconds.
    Idle {
        /// In seconds.
        for_s: u64,
    },
}

/// A holding job to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldOrder {
    /// The walltime to ask for, in seconds.
    pub walltime_s: u64,
}

/// What to do about holding jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldPlan {
    /// To ask for.
    pub orders: Vec<HoldOrder>,
    /// Numbers of those to end.
    pub cancels: Vec<u64>,
    /// Pieces of work that need more cores than a holding job has: they wait in vain.
    pub too_large: usize,
}

/// Plans holding jobs for `demand`, given those that there are.
pub fn plan(
    policy: &HoldPolicy,
    demand: &[HoldDemand],
    holds: &[Hold],
    now: Timestamp,
) -> HoldPlan {
    let (fitting, large): (Vec<&HoldDemand>, Vec<&HoldDemand>) =
        demand.iter().partition(|work| work.cores <= policy.cores);
    let needed = bins(policy, due(policy, &fitting, now));
    let mut plan = HoldPlan {
        too_large: large.len(),
        ..HoldPlan::default()
    };
    let (busy, free): (Vec<&Hold>, Vec<&Hold>) =
        holds.iter().partition(|hold| hold.usage == HoldUsage::Busy);
    if needed.len() > free.len() {
        let room = policy.holds_max.saturating_sub(busy.len() + free.len());
        // The fullest come first; those that there are answer them.
        plan.orders = needed[free.len()..].iter().take(room).copied().collect();
    } else {
        plan.cancels = surplus(policy, &free, free.len() - needed.len());
    }
    plan
}

/// The work that is to be answered now.
fn due<'a>(policy: &HoldPolicy, demand: &[&'a HoldDemand], now: Timestamp) -> Vec<&'a HoldDemand> {
    let is_plain = |work: &HoldDemand| !work.time_critical && work.deadline.is_none();
    let plain = demand.iter().filter(|work| is_plain(work)).count() as u64;
    let is_due = |work: &HoldDemand| {
        if work.time_critical {
            return true;
        }
        match work.deadline {
            Some(deadline) => {
                let takes_s = policy
                    .delay_s
                    .saturating_add(runs_s(policy, work))
                    .saturating_add(MARGIN_S);
                // Also when it is too late: late is better than never.
                deadline.since(now).as_secs() <= takes_s
            }
            None => plain > policy.threshold,
        }
    };
    demand.iter().copied().filter(|work| is_due(work)).collect()
}

/// How long a piece of work is taken to run, in seconds.
fn runs_s(policy: &HoldPolicy, work: &HoldDemand) -> u64 {
    let told_s = work.duration_s.unwrap_or(policy.walltime_max_s);
    told_s.min(policy.walltime_max_s)
}

/// The holding jobs that the work fits into, the largest pieces first, each into the first that
/// has room. Not more than the policy allows.
fn bins(policy: &HoldPolicy, mut work: Vec<&HoldDemand>) -> Vec<HoldOrder> {
    work.sort_by_key(|work| std::cmp::Reverse(work.cores));
    let mut bins: Vec<(u32, HoldOrder)> = Vec::new();
    for piece in work {
        let walltime_s = runs_s(policy, piece)
            .saturating_add(MARGIN_S)
            .min(policy.walltime_max_s);
        let cores = piece.cores.max(1);
        if let Some((free, order)) = bins.iter_mut().find(|(free, _)| *free >= cores) {
            *free -= cores;
            order.walltime_s = order.walltime_s.max(walltime_s);
        } else if bins.len() < policy.holds_max {
            bins.push((policy.cores.saturating_sub(cores), HoldOrder { walltime_s }));
        }
    }
    bins.into_iter().map(|(_, order)| order).collect()
}

/// Which of the holding jobs to give back, `count` at most: those that wait, the newest first,
/// then those that have not been used for long enough.
fn surplus(policy: &HoldPolicy, free: &[&Hold], count: usize) -> Vec<u64> {
    let mut candidates: Vec<(bool, u64)> = free
        .iter()
        .filter_map(|hold| match hold.usage {
            HoldUsage::Queued => Some((false, hold.number)),
            HoldUsage::Idle { for_s } if for_s >= policy.idle_s => Some((true, hold.number)),
            HoldUsage::Idle { .. } | HoldUsage::Busy => None,
        })
        .collect();
    candidates.sort_by_key(|(runs, number)| (*runs, std::cmp::Reverse(*number)));
    candidates
        .into_iter()
        .take(count)
        .map(|(_, number)| number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    const POLICY: HoldPolicy = HoldPolicy {
        threshold: 2,
        holds_max: 4,
        cores: 8,
        walltime_max_s: 3600,
        idle_s: 100,
        delay_s: 600,
    };

    fn work(cores: u32) -> HoldDemand {
        HoldDemand {
            cores,
            duration_s: Some(300),
            deadline: None,
            time_critical: false,
        }
    }

    fn critical(cores: u32) -> HoldDemand {
        HoldDemand {
            time_critical: true,
            ..work(cores)
        }
    }

    fn until(seconds: i64) -> HoldDemand {
        HoldDemand {
            deadline: Some(Timestamp::from_secs(NOW.secs() + seconds)),
            ..work(8)
        }
    }

    fn hold(number: u64, usage: HoldUsage) -> Hold {
        Hold { number, usage }
    }

    fn orders(demand: &[HoldDemand], holds: &[Hold]) -> usize {
        plan(&POLICY, demand, holds, NOW).orders.len()
    }

    #[test]
    fn nothing_waits_and_nothing_is_asked_for() {
        assert_eq!(plan(&POLICY, &[], &[], NOW), HoldPlan::default());
    }

    #[test]
    fn work_waits_until_there_is_more_than_the_threshold() {
        assert_eq!(orders(&[work(8); 2], &[]), 0);
        assert_eq!(orders(&[work(8); 3], &[]), 3);
    }

    #[test]
    fn time_critical_work_is_answered_at_once() {
        assert_eq!(orders(&[critical(1)], &[]), 1);
    }

    #[test]
    fn a_deadline_is_answered_in_time_and_not_before() {
        // 600 s of waiting, 300 s of work, 120 s to spare.
        assert_eq!(orders(&[until(1021)], &[]), 0);
        assert_eq!(orders(&[until(1020)], &[]), 1);
        assert_eq!(orders(&[until(-5000)], &[]), 1);
        let untold = HoldDemand {
            duration_s: None,
            ..until(4000)
        };
        assert_eq!(orders(&[untold], &[]), 1);
    }

    #[test]
    fn small_pieces_share_a_holding_job() {
        let demand = [critical(3), critical(5), critical(2), critical(6)];
        assert_eq!(orders(&demand, &[]), 2);
        let long = HoldDemand {
            duration_s: Some(1000),
            ..critical(1)
        };
        let plan = plan(&POLICY, &[critical(1), long], &[], NOW);
        assert_eq!(plan.orders, [HoldOrder { walltime_s: 1120 }]);
    }

    #[test]
    fn a_walltime_is_never_longer_than_allowed() {
        let endless = HoldDemand {
            duration_s: Some(u64::MAX),
            ..critical(1)
        };
        let plan = plan(&POLICY, &[endless], &[], NOW);
        assert_eq!(plan.orders, [HoldOrder { walltime_s: 3600 }]);
    }

    #[test]
    fn what_is_on_its_way_or_free_counts() {
        let holds = [
            hold(1, HoldUsage::Queued),
            hold(2, HoldUsage::Idle { for_s: 5000 }),
            hold(3, HoldUsage::Busy),
        ];
        assert_eq!(
            plan(&POLICY, &[critical(8); 2], &holds, NOW),
            HoldPlan::default()
        );
        assert_eq!(orders(&[critical(8); 3], &holds), 1);
        assert_eq!(orders(&[critical(8); 30], &holds), 1, "four at most");
    }

    #[test]
    fn what_nobody_uses_is_given_back() {
        let holds = [
            hold(1, HoldUsage::Queued),
            hold(2, HoldUsage::Queued),
            hold(3, HoldUsage::Busy),
            hold(4, HoldUsage::Idle { for_s: 99 }),
            hold(5, HoldUsage::Idle { for_s: 100 }),
        ];
        assert_eq!(plan(&POLICY, &[], &holds, NOW).cancels, [2, 1, 5]);
        assert_eq!(plan(&POLICY, &[critical(8); 3], &holds, NOW).cancels, [2]);
    }

    #[test]
    fn work_that_fits_no_holding_job_is_told() {
        let plan = plan(&POLICY, &[critical(9), critical(8)], &[], NOW);
        assert_eq!((plan.orders.len(), plan.too_large), (1, 1));
    }
}
