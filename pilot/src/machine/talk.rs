//! When a pilot speaks to the server, and what it says: reports that travel together,
//! one open wish for work, and otherwise a heartbeat.

use std::time::Duration;

use fairway_api::pilot::{SyncRequest, Want};

use super::{LAST_WORDS, Machine, Moment, Outgoing, PATIENCE, Phase, Stage};

/// Reports wait so long for others to travel with.
const COALESCE: Duration = Duration::from_millis(5);
/// The same while more tasks wait here for a slot: then no slot waits for the reply.
const COALESCE_BUSY: Duration = Duration::from_millis(25);
/// A pilot without an open wish is heard of at least this often, and so hears of orders.
const BEAT: Duration = Duration::from_secs(2);
/// While tasks wait here, a wish of its own is not sent sooner than this after the last sync:
/// the next reports carry one.
const WISH_PAUSE: Duration = Duration::from_millis(250);
/// Work that is held in advance when payloads are short.
const WORK_AHEAD: Duration = Duration::from_millis(250);
/// Payloads that take longer than this are not worth holding in advance.
const SHORT: Duration = Duration::from_secs(1);
/// Most tasks held in advance.
pub(super) const BACKLOG_MAX: u32 = 256;

impl Machine {
    /// The next sync, if one is due. At most one carries reports, and at most one a wish.
    pub fn next_sync(&mut self, now: Moment) -> Option<Outgoing> {
        if now < self.retry_at {
            return None;
        }
        let may_wish = self.phase == Phase::Working && self.remaining(now) > Duration::ZERO;
        let backlog = self.backlog(now);
        let carries =
            self.carrier.is_none() && !self.reports.is_empty() && now >= self.reports_due();
        let wishes = may_wish
            && match self.wish {
                Some((_, open)) => carries && differs(open, backlog),
                None => carries || now >= self.wish_due(),
            };
        let beats = !wishes && !carries && self.beat.is_none() && now >= self.beat_due();
        if !(carries || wishes || beats) {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut request = SyncRequest {
            reports: Vec::new(),
            holding: self
                .held
                .keys()
                .map(|key| (key.task, key.attempt))
                .collect(),
            want: None,
        };
        if carries {
            request.reports = std::mem::take(&mut self.reports);
            self.reports_since = Moment::MAX;
            self.carrier = Some((id, now, request.reports.clone()));
        }
        if wishes {
            self.round += 1;
            let remaining_s = self.remaining(now).as_secs();
            request.want = Some(Want {
                round: self.round,
                remaining_s,
                backlog,
                staying: self.staying,
            });
            self.wish = Some((id, backlog));
        }
        if beats {
            self.beat = Some(id);
        }
        self.last_sync = now;
        Some(Outgoing { id, request })
    }

    /// The moment at which [`tick`](Self::tick) or [`next_sync`](Self::next_sync) has
    /// something to do if nothing happens before.
    pub fn next_moment(&self, now: Moment) -> Moment {
        let mut next = self.beat_due().max(self.retry_at);
        let mut sooner = |moment: Moment| next = next.min(moment);
        if self.carrier.is_none() && !self.reports.is_empty() {
            sooner(self.reports_due().max(self.retry_at));
        }
        match &self.phase {
            Phase::Leaving { by, .. } => sooner((*by - LAST_WORDS).max(now + COALESCE).min(*by)),
            phase => {
                sooner(self.leave_at());
                if *phase == Phase::Working && self.wish.is_none() {
                    sooner(self.wish_due().max(self.retry_at));
                }
                if let Some(since) = self.idle_since {
                    sooner(since + self.terms.idle);
                }
            }
        }
        for held in self.held.values() {
            match held.stage {
                Stage::Running {
                    kill_at: Some(at), ..
                } => sooner(at),
                Stage::Running {
                    since,
                    kill_at: None,
                    sleep,
                    ..
                } => {
                    let limit_s = held.lease.payload.walltime_s;
                    if let Some(over_at) = limit_s.and_then(|limit_s| sleep.over_at(since, limit_s))
                    {
                        sooner(over_at);
                    }
                }
                Stage::Waiting { since } => sooner(since + PATIENCE),
                _ => {}
            }
        }
        next
    }

    pub(super) fn remaining(&self, now: Moment) -> Duration {
        self.leave_at().saturating_sub(now)
    }

    fn reports_due(&self) -> Moment {
        let pause = if self.queue.is_empty() {
            COALESCE
        } else {
            COALESCE_BUSY
        };
        self.reports_since.saturating_add(pause)
    }

    /// When a wish without reports is due. While short tasks still wait here, the next
    /// reports are near, and the wish travels with them.
    fn wish_due(&self) -> Moment {
        if self.carrier.is_some() {
            return Moment::MAX; // Its reply may bring work.
        }
        if self.queue.is_empty() {
            Moment::ZERO
        } else {
            self.last_sync + WISH_PAUSE
        }
    }

    /// When a heartbeat is due. An open wish is one by itself, as the server ends it in time.
    fn beat_due(&self) -> Moment {
        if self.beat.is_some() {
            return Moment::MAX;
        }
        let pause = self.terms.heartbeat / 3;
        self.last_sync
            + if self.wish.is_some() {
                pause
            } else {
                pause.min(BEAT)
            }
    }

    /// How many tasks are to wait here, so that slots stay busy through a round trip:
    /// slots × (work ahead + round trip) / payload time; none if payloads are long.
    pub(super) fn backlog(&self, now: Moment) -> u32 {
        let Some(usual) = self.payload_time else {
            return 0;
        };
        // A running payload that already took longer than usual tells more than the past.
        let (mut sum, mut count) = (usual, 1);
        for held in self.held.values() {
            if let Stage::Running { ordered, sleep, .. } = held.stage {
                sum += usual.max(sleep.awake(ordered, now));
                count += 1;
            }
        }
        let payload_time = sum / count;
        if payload_time > SHORT {
            return 0;
        }
        let ahead = (WORK_AHEAD + self.round_trip).as_micros();
        let slots = u128::from(self.terms.capacity.cores.max(1));
        let tasks = (slots * ahead).div_ceil(payload_time.as_micros().max(1));
        u32::try_from(tasks).map_or(BACKLOG_MAX, |tasks| tasks.min(BACKLOG_MAX))
    }
}

/// Whether an open wish for `open` tasks in advance is worth replacing.
fn differs(open: u32, wished: u32) -> bool {
    wished > open.saturating_mul(2) || wished < open / 2
}
