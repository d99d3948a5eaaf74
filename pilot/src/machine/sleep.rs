//! Payloads that sleep for others: their cores are free meanwhile, their memory is not, and the
//! time that they sleep does not count as walltime.

use std::time::Duration;

use fairway_api::pilot::ReportKind;
use fairway_model::Resources;

use super::{Cause, Held, Key, LEAVE_GRACE, Machine, Moment, STOP_GRACE, Stage, Step};

/// How a running payload sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sleep {
    /// Since when it does.
    since: Option<Moment>,
    /// Whether it is to go on as soon as its cores are free.
    wakes: bool,
    /// Whether its cores are free for others.
    cores_free: bool,
    /// How long it slept before.
    before: Duration,
}

impl Sleep {
    /// It is to end, and sleeps no more; whether it did. Its cores stay as they are booked.
    pub(super) fn end(&mut self, now: Moment) -> bool {
        let Some(since) = self.since.take() else {
            return false;
        };
        self.before += now.saturating_sub(since);
        self.wakes = false;
        true
    }

    /// How long it has been awake since it was ordered to start.
    pub(super) fn awake(self, ordered: Moment, now: Moment) -> Duration {
        let asleep = self
            .since
            .map_or(Duration::ZERO, |at| now.saturating_sub(at));
        now.saturating_sub(ordered)
            .saturating_sub(self.before + asleep)
    }

    /// When so many seconds of walltime are over; `None` while it sleeps.
    pub(super) fn over_at(self, started: Moment, limit_s: u64) -> Option<Moment> {
        let over_at = started + Duration::from_secs(limit_s) + self.before;
        self.since.is_none().then_some(over_at)
    }
}

impl Held {
    /// What it takes of the pilot's resources.
    pub(super) fn takes(&self) -> Resources {
        let resources = self.lease.payload.resources;
        match self.stage {
            Stage::Running { sleep, .. } if sleep.cores_free => Resources {
                cores: 0,
                ..resources
            },
            _ => resources,
        }
    }
}

impl Machine {
    /// Puts a running payload to sleep. One that is being stopped, or is over, has its cores
    /// free soon anyway.
    pub(super) fn suspend(&mut self, now: Moment, key: Key) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let cores = Resources {
            cores: held.lease.payload.resources.cores,
            ..Resources::default()
        };
        match &mut held.stage {
            Stage::Running {
                kill_at: None,
                sleep,
                ..
            } => {
                sleep.wakes = false;
                if sleep.since.is_none() {
                    sleep.since = Some(now);
                    sleep.cores_free = true;
                    self.free = self.free.plus(cores);
                    self.steps.push(Step::Suspend(key));
                }
                self.report(key, ReportKind::Suspended);
            }
            // It has not started: it is as well off in the queue.
            Stage::Staging | Stage::Waiting { .. } => {
                self.stop(now, key, Cause::GiveWay, STOP_GRACE);
            }
            _ => {}
        }
    }

    /// Lets a payload go on as soon as its cores are free.
    pub(super) fn resume(&mut self, key: Key) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let Stage::Running { sleep, .. } = &mut held.stage else {
            return;
        };
        if sleep.since.is_some() {
            sleep.wakes = true;
        } else {
            // Its report was lost, with the server that was to remember it.
            self.report(key, ReportKind::Resumed);
        }
    }

    /// Lets go on what is to, as far as cores are free: before anything else is started.
    pub(super) fn wake(&mut self, now: Moment) {
        for key in self.sleepers() {
            let Some(held) = self.held.get_mut(&key) else {
                continue;
            };
            let cores = Resources {
                cores: held.lease.payload.resources.cores,
                ..Resources::default()
            };
            let Stage::Running { sleep, .. } = &mut held.stage else {
                continue;
            };
            let Some(free) = self.free.minus(cores).filter(|_| sleep.wakes) else {
                continue;
            };
            self.free = free;
            sleep.end(now);
            sleep.cores_free = false;
            self.steps.push(Step::Resume(key));
            self.report(key, ReportKind::Resumed);
        }
    }

    /// Hands back what sleeps.
    pub(super) fn hand_back_sleepers(&mut self, now: Moment, reason: &str) {
        for key in self.sleepers() {
            let reason = reason.to_owned();
            self.stop(now, key, Cause::HandBack { reason }, LEAVE_GRACE);
        }
    }

    fn sleepers(&self) -> Vec<Key> {
        let sleeps = |held: &Held| match held.stage {
            Stage::Running { sleep, .. } => sleep.since.is_some(),
            _ => false,
        };
        let held = self.held.iter().filter(|(_, held)| sleeps(held));
        held.map(|(key, _)| *key).collect()
    }
}
