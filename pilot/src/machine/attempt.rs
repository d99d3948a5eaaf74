//! What becomes of one attempt, from its lease to the report of its end.

use std::time::Duration;

use fairway_api::pilot::{Report, ReportKind, Used};
use fairway_model::AttemptEnd;

use super::sleep::Sleep;
use super::{
    Cause, Key, LAST_WORDS, LEAVE_GRACE, Machine, Moment, PATIENCE, Phase, STOP_GRACE, Stage, Step,
    mean,
};

/// Ended attempts that are remembered, so that a late copy of a lease does not run again.
const REMEMBERED_MAX: usize = 4096;

impl Machine {
    /// Inputs are there, or cannot be had.
    pub fn staged(&mut self, now: Moment, key: Key, outcome: Result<(), String>) {
        let Some(held) = self
            .held
            .get_mut(&key)
            .filter(|held| held.stage == Stage::Staging)
        else {
            return; // Stopped meanwhile.
        };
        match outcome {
            Ok(()) => held.stage = Stage::Waiting { since: now },
            Err(reason) => {
                self.report_end(key, AttemptEnd::NotStarted { reason }, Used::default());
            }
        }
        self.settle(now);
    }

    /// The payload runs, or could not be started.
    pub fn started(&mut self, now: Moment, key: Key, outcome: Result<(), String>) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let Stage::Starting { since: ordered } = held.stage else {
            return;
        };
        match outcome {
            Ok(()) => {
                held.stage = Stage::Running {
                    ordered,
                    since: now,
                    kill_at: None,
                    sleep: Sleep::default(),
                };
                if let Some(cause) = held.cause.take() {
                    let grace = if matches!(cause, Cause::HandBack { .. }) {
                        LEAVE_GRACE
                    } else {
                        STOP_GRACE
                    };
                    self.stop(now, key, cause, grace);
                } else {
                    self.report(key, ReportKind::Started);
                }
            }
            Err(reason) => {
                self.give_back_resources(key);
                self.over(key, AttemptEnd::NotStarted { reason }, Used::default());
            }
        }
        self.settle(now);
    }

    /// The payload ended: `end` as the operating system tells it.
    pub fn exited(&mut self, now: Moment, key: Key, end: AttemptEnd, used: Used) {
        let Some(held) = self.held.get(&key) else {
            return;
        };
        let Stage::Running { ordered, sleep, .. } = held.stage else {
            return;
        };
        self.payload_time = Some(mean(self.payload_time, sleep.awake(ordered, now)));
        self.give_back_resources(key);
        self.over(key, end, used);
        self.settle(now);
    }

    /// The payload's tree uses more memory than it asked for.
    pub fn over_memory(&mut self, now: Moment, key: Key, used_mib: u64) {
        let Some(held) = self.held.get(&key) else {
            return;
        };
        let limit_mib = held.lease.payload.resources.memory_mib;
        self.stop(
            now,
            key,
            Cause::Memory {
                limit_mib,
                used_mib,
            },
            STOP_GRACE,
        );
        self.settle(now);
    }

    /// Logs and outputs are at the server, or it refuses the outputs for that reason.
    pub fn delivered(&mut self, now: Moment, key: Key, lost: Option<String>) {
        let Some(held) = self.held.get(&key) else {
            return;
        };
        let Stage::Delivering { end, used } = &held.stage else {
            return;
        };
        let end = match lost {
            Some(reason) if end.is_success() => AttemptEnd::OutputLost { reason },
            _ => end.clone(),
        };
        let used = *used;
        self.report_end(key, end, used);
        self.settle(now);
    }

    pub(super) fn tick_attempt(&mut self, now: Moment, key: Key) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        match &mut held.stage {
            Stage::Running { kill_at, .. } if kill_at.is_some_and(|at| now >= at) => {
                // Asked for again after a while, should the tree grow faster than it is killed.
                *kill_at = Some(now + LEAVE_GRACE);
                self.steps.push(Step::Kill(key));
            }
            Stage::Running {
                since,
                kill_at: None,
                sleep,
                ..
            } => {
                if let Some(limit_s) = held.lease.payload.walltime_s
                    && sleep
                        .over_at(*since, limit_s)
                        .is_some_and(|over_at| now >= over_at)
                {
                    self.stop(now, key, Cause::Walltime { limit_s }, STOP_GRACE);
                }
            }
            Stage::Waiting { since } if now >= *since + PATIENCE => {
                let reason = "it waited for other tasks on the same pilot".to_owned();
                self.stop(now, key, Cause::HandBack { reason }, STOP_GRACE);
            }
            Stage::Delivering { .. } => {
                if let Phase::Leaving { reason, by } = &self.phase
                    && now + LAST_WORDS >= *by
                {
                    let end = AttemptEnd::HandedBack {
                        reason: reason.clone(),
                    };
                    self.report_end(key, end, Used::default());
                }
            }
            _ => {}
        }
    }

    pub(super) fn stop(&mut self, now: Moment, key: Key, cause: Cause, grace: Duration) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        match &mut held.stage {
            Stage::Staging | Stage::Waiting { .. } => {
                self.queue.retain(|queued| *queued != key);
                self.held
                    .entry(key)
                    .and_modify(|held| held.cause = Some(cause));
                self.over(key, AttemptEnd::Cancelled, Used::default());
            }
            Stage::Starting { .. } => held.cause = Some(cause),
            Stage::Running { kill_at, sleep, .. } => {
                let at = now + grace;
                *kill_at = Some(kill_at.map_or(at, |already| already.min(at)));
                let slept = sleep.end(now);
                // The first reason stands, unless nobody wants to hear it any more.
                if held.cause.is_none() || cause == Cause::Stale {
                    held.cause = Some(cause);
                }
                self.steps.push(Step::Terminate(key));
                if slept {
                    self.steps.push(Step::Resume(key));
                }
            }
            Stage::Delivering { .. } | Stage::Over => {
                if cause == Cause::Stale {
                    self.forget(key);
                }
            }
        }
    }

    /// The attempt came to an end; why it was stopped outweighs how its process ended.
    fn over(&mut self, key: Key, end: AttemptEnd, used: Used) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let (end, outputs) = match held.cause.take() {
            None => (end, true),
            Some(Cause::Cancelled) => (AttemptEnd::Cancelled, false),
            Some(Cause::Walltime { limit_s }) => (AttemptEnd::WalltimeExceeded { limit_s }, true),
            Some(Cause::Memory {
                limit_mib,
                used_mib,
            }) => (
                AttemptEnd::MemoryExceeded {
                    limit_mib,
                    used_mib,
                },
                true,
            ),
            Some(Cause::HandBack { reason }) => (AttemptEnd::HandedBack { reason }, false),
            Some(Cause::GiveWay) if end.is_success() => (end, true),
            Some(Cause::GiveWay) => {
                let reason = "it gave way to others".to_owned();
                (AttemptEnd::HandedBack { reason }, false)
            }
            Some(Cause::Stale) => return self.forget(key),
        };
        if matches!(held.stage, Stage::Running { .. }) {
            held.stage = Stage::Delivering { end, used };
            self.steps.push(Step::Deliver { key, outputs });
        } else {
            self.report_end(key, end, used);
        }
    }

    fn give_back_resources(&mut self, key: Key) {
        if let Some(held) = self.held.get(&key) {
            self.free = self.free.plus(held.takes());
        }
    }

    pub(super) fn report(&mut self, key: Key, what: ReportKind) {
        self.reports.push(Report {
            task: key.task,
            attempt: key.attempt,
            what,
        });
    }

    pub(super) fn report_end(&mut self, key: Key, end: AttemptEnd, used: Used) {
        if let Some(held) = self.held.get_mut(&key) {
            held.stage = Stage::Over;
            self.queue.retain(|queued| *queued != key);
            self.report(key, ReportKind::Ended { end, used });
        }
    }

    pub(super) fn forget(&mut self, key: Key) {
        if self.held.remove(&key).is_none() {
            return;
        }
        self.reports
            .retain(|r| (r.task, r.attempt) != (key.task, key.attempt));
        self.steps.push(Step::Drop(key));
        let (order, set) = &mut self.remembered;
        order.push_back(key);
        set.insert(key);
        if order.len() > REMEMBERED_MAX
            && let Some(oldest) = order.pop_front()
        {
            set.remove(&oldest);
        }
    }
}
