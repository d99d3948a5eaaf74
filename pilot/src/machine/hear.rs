//! What the server says: replies to syncs, with leases and orders, or no reply at all.

use std::sync::Arc;
use std::time::Duration;

use fairway_api::pilot::{AttemptOrder, Lease, ReportKind, SyncReply, Used};
use fairway_model::{AttemptEnd, Order};

use super::{Cause, Held, Key, Machine, Moment, Phase, STOP_GRACE, Stage, Step, mean};

impl Machine {
    /// A sync succeeded.
    pub fn synced(&mut self, now: Moment, id: u64, reply: SyncReply) {
        self.last_sync = now;
        self.retry_at = now;
        if let Some((_, sent_at, reports)) = self.carrier.take_if(|(carrier, ..)| *carrier == id) {
            self.round_trip = mean(Some(self.round_trip), now.saturating_sub(sent_at));
            for report in reports {
                if matches!(report.what, ReportKind::Ended { .. }) {
                    self.forget(Key {
                        task: report.task,
                        attempt: report.attempt,
                    });
                }
            }
        }
        self.wish.take_if(|(wish, _)| *wish == id);
        self.beat.take_if(|beat| *beat == id);
        // Orders come first: what is to be stopped may be among the leases as well.
        for order in reply.orders {
            self.obey(now, order);
        }
        self.staying = reply.stay.unwrap_or(self.staying);
        if reply.drain {
            self.drain(now, "the server asked it to finish");
        }
        for lease in reply.leases {
            self.accept(lease);
        }
        self.settle(now);
    }

    /// A sync failed for a reason that may pass; nothing is to be sent before `retry_at`.
    pub fn sync_failed(&mut self, now: Moment, id: u64, retry_at: Moment) {
        if let Some((_, _, mut reports)) = self.carrier.take_if(|(carrier, ..)| *carrier == id) {
            reports.retain(|r| {
                self.held.contains_key(&Key {
                    task: r.task,
                    attempt: r.attempt,
                })
            });
            reports.append(&mut self.reports);
            self.reports = reports;
        }
        self.wish.take_if(|(wish, _)| *wish == id);
        self.beat.take_if(|beat| *beat == id);
        self.retry_at = self.retry_at.max(retry_at);
        self.settle(now);
    }

    fn accept(&mut self, lease: Lease) {
        let key = Key::from(&lease);
        if self.held.contains_key(&key) || self.remembered.1.contains(&key) {
            return; // A copy of one that it has or had.
        }
        let lease = Arc::new(lease);
        let fits = self.terms.capacity.holds(lease.payload.resources);
        let held = Held {
            lease: Arc::clone(&lease),
            stage: Stage::Staging,
            cause: None,
        };
        self.held.insert(key, held);
        match &self.phase {
            Phase::Leaving { reason, .. } => {
                let end = AttemptEnd::HandedBack {
                    reason: reason.clone(),
                };
                self.report_end(key, end, Used::default());
            }
            _ if !fits => {
                let reason = "it asks for more than this pilot has".to_owned();
                self.report_end(key, AttemptEnd::NotStarted { reason }, Used::default());
            }
            _ => {
                self.queue.push_back(key);
                self.steps.push(Step::Stage(lease));
            }
        }
    }

    fn obey(&mut self, now: Moment, order: AttemptOrder) {
        let key = Key {
            task: order.task,
            attempt: order.attempt,
        };
        match order.what {
            Order::Cancel => self.stop(now, key, Cause::Cancelled, STOP_GRACE),
            Order::WriteOff => self.stop(now, key, Cause::Stale, STOP_GRACE),
            Order::GiveWay { grace_s } => {
                self.give_way(now, key, Duration::from_secs(grace_s));
            }
            Order::Suspend => self.suspend(now, key),
            Order::Resume => self.resume(key),
        }
    }

    /// Told again, this changes nothing: the payload has its grace from the first time.
    fn give_way(&mut self, now: Moment, key: Key, grace: Duration) {
        let is_stopped = |held: &Held| held.cause.is_some();
        if !self.held.get(&key).is_some_and(is_stopped) {
            self.stop(now, key, Cause::GiveWay, grace);
        }
    }
}
