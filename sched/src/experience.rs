//! What was learnt of a CE from the pilots that were asked of it: how long they wait, whether
//! they are of use, and what was decided about them.

use std::collections::VecDeque;
use std::time::Duration;

use fairway_model::Timestamp;

/// The start delays of so many pilots make the estimate for the next.
const DELAYS_MAX: usize = 8;

/// How long no pilots are asked for after the first useless one; doubles with each.
const BACKOFF_MIN: Duration = Duration::from_secs(30);

/// The doubling ends here.
const BACKOFF_MAX: Duration = Duration::from_secs(30 * 60);

/// So many decisions are kept for people to read.
const DECISIONS_MAX: usize = 50;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Something that was decided about the pilots of a CE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When; of several alike in a row, when the last of them was made.
    pub at: Timestamp,
    /// What.
    pub what: Decided,
    /// Why, in a sentence.
    pub because: String,
}

/// What was decided about the pilots of a CE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// So many pilots were asked for.
    Ordered(u32),
    /// So many pilots were called back.
    Recalled(u32),
    /// So many pilots were refused, lost, or of no use: no more are asked for for a while.
    Useless(u32),
    /// None is asked for. Noted only when the kind of reason, named here, is a new one.
    Nothing(&'static str),
}

impl Decided {
    /// Both as one, if they are of one kind.
    fn and(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Ordered(a), Self::Ordered(b)) => Some(Self::Ordered(a.saturating_add(b))),
            (Self::Recalled(a), Self::Recalled(b)) => Some(Self::Recalled(a.saturating_add(b))),
            (Self::Useless(a), Self::Useless(b)) => Some(Self::Useless(a.saturating_add(b))),
            _ => None,
        }
    }
}

/// What was learnt of a CE. Not durable, but for how many pilots were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Experience {
    delays_s: VecDeque<u64>,
    /// Useless pilots in a row, several at once counted once.
    useless: u32,
    /// No pilots are asked for before this moment, because of what is said.
    backoff: Option<(Timestamp, String)>,
    /// Pilots that got a task since the CE was last without any; halved by useless ones.
    proven: u32,
    /// How many pilots were asked for in each minute of the last day that there were any.
    asked: VecDeque<(i64, u32)>,
    /// Pilots that never called home.
    silent: u64,
    decisions: VecDeque<Decision>,
}

impl Experience {
    /// What the last pilots waited from the decision to their first call, in seconds: the mean.
    pub(crate) fn mean_delay_s(&self) -> Option<u64> {
        let sum: u64 = self.delays_s.iter().sum();
        sum.checked_div(self.delays_s.len() as u64)
    }

    /// The longest that one of the last pilots waited, in seconds.
    pub(crate) fn longest_delay_s(&self) -> Option<u64> {
        self.delays_s.iter().max().copied()
    }

    pub(crate) fn note_delay(&mut self, delay: Duration) {
        if self.delays_s.len() == DELAYS_MAX {
            self.delays_s.pop_front();
        }
        self.delays_s.push_back(delay.as_secs());
    }

    /// Notes a pilot that was refused, or ended without use. Several at once count once.
    pub(crate) fn note_useless(&mut self, reason: String, now: Timestamp) {
        self.note(Decided::Useless(1), &reason, now);
        if self.backing_off(now).is_some() {
            return;
        }
        let doubled = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(self.useless));
        self.useless = self.useless.saturating_add(1);
        self.backoff = Some((now.plus(doubled.min(BACKOFF_MAX)), reason));
        self.proven /= 2;
    }

    /// No pilots are asked for before a moment.
    pub(crate) fn rest(&mut self, until: Timestamp, reason: String) {
        self.backoff = Some((until, reason));
    }

    /// Notes that a pilot got a task; `first`: its first.
    pub(crate) fn note_useful(&mut self, first: bool) {
        self.useless = 0;
        self.backoff = None;
        self.proven = self.proven.saturating_add(u32::from(first));
    }

    /// Notes a pilot that ended without ever calling home.
    pub(crate) fn note_silent(&mut self) {
        self.silent += 1;
    }

    /// Pilots that never called home, since the server started.
    pub(crate) fn silent(&self) -> u64 {
        self.silent
    }

    /// Notes that the CE has no pilot any more: trust begins anew.
    pub(crate) fn note_empty(&mut self) {
        self.proven = 0;
    }

    /// How many pilots without a task yet the CE may have: twice as many each time that all of
    /// them prove useful.
    pub(crate) fn window(&self, ramp_min: u32) -> u32 {
        ramp_min.saturating_add(self.proven)
    }

    /// Until when no pilots are asked for, and why.
    pub(crate) fn backing_off(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        let (until, reason) = self.backoff.as_ref()?;
        (now < *until).then_some((*until, reason))
    }

    /// Notes pilots that were asked for at a moment.
    pub(crate) fn note_asked(&mut self, pilots: u32, at: Timestamp) {
        let minute = at.0.div_euclid(MINUTE_MS);
        let place = self.asked.partition_point(|(known, _)| *known < minute);
        match self.asked.get_mut(place) {
            Some((known, n)) if *known == minute => *n = n.saturating_add(pilots),
            _ => self.asked.insert(place, (minute, pilots)),
        }
        let newest = self.asked.back().map_or(minute, |(minute, _)| *minute);
        while self
            .asked
            .front()
            .is_some_and(|(old, _)| is_past(*old, newest * MINUTE_MS))
        {
            self.asked.pop_front();
        }
    }

    /// How many pilots were asked for in the last 24 hours. Counted by the minute, so that one
    /// may count up to a minute longer, never shorter.
    pub(crate) fn asked_in_a_day(&self, now: Timestamp) -> u64 {
        let counted = self
            .asked
            .iter()
            .filter(|(minute, _)| !is_past(*minute, now.0));
        counted.map(|(_, n)| u64::from(*n)).sum()
    }

    /// Notes a decision, as one with the last if that was of the same kind for the same reason.
    pub(crate) fn note(&mut self, what: Decided, because: &str, now: Timestamp) {
        if let Some(last) = self.decisions.back_mut()
            && last.because == because
            && let Some(both) = last.what.and(what)
        {
            (last.what, last.at) = (both, now);
            return;
        }
        if self.decisions.len() == DECISIONS_MAX {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Decision {
            at: now,
            what,
            because: because.to_owned(),
        });
    }

    /// Notes why no pilot is asked for, if that is of another kind than what was noted last.
    pub(crate) fn note_nothing(&mut self, kind: &'static str, because: &str, now: Timestamp) {
        let last = self
            .decisions
            .iter()
            .rev()
            .find_map(|decision| match decision.what {
                Decided::Nothing(kind) => Some(Some(kind)),
                Decided::Ordered(_) => Some(None),
                Decided::Recalled(_) | Decided::Useless(_) => None,
            });
        if last.flatten() != Some(kind) {
            self.note(Decided::Nothing(kind), because, now);
        }
    }

    /// The last decisions, the newest last.
    pub(crate) fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter()
    }

    /// Takes over from what was known before the CE's description changed. Patience with useless
    /// pilots begins anew: the change may have been the remedy.
    pub(crate) fn succeed(&mut self, before: Self) {
        *self = Self {
            useless: 0,
            backoff: None,
            ..before
        };
    }
}

/// Whether all of a minute is a day before a moment.
fn is_past(minute: i64, now_ms: i64) -> bool {
    (minute + 1) * MINUTE_MS + DAY_MS <= now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_by_the_minute() {
        let mut experience = Experience::default();
        let at = |seconds: i64| Timestamp::from_secs(seconds);
        experience.note_asked(2, at(30));
        experience.note_asked(1, at(59));
        experience.note_asked(5, at(3600));
        assert_eq!(experience.asked_in_a_day(at(3600)), 8);
        assert_eq!(experience.asked_in_a_day(at(24 * 3600 + 59)), 8);
        assert_eq!(experience.asked_in_a_day(at(24 * 3600 + 60)), 5);
        experience.note_asked(1, at(24 * 3600 + 120));
        assert_eq!(experience.asked.len(), 2, "what is past is forgotten");
    }

    #[test]
    fn decisions_are_few_and_alike_ones_are_one() {
        let mut experience = Experience::default();
        let now = Timestamp::from_secs(0);
        for _ in 0..3 {
            experience.note(Decided::Ordered(2), "work waits", now);
            experience.note_nothing("covered", "5 are on the way", now);
            experience.note_nothing("covered", "6 are on the way", now);
        }
        let told: Vec<_> = experience.decisions().map(|it| it.what).collect();
        assert_eq!(told.len(), 6);
        for _ in 0..2 {
            experience.note(Decided::Recalled(1), "no work", now);
        }
        experience.note_nothing("covered", "7 are on the way", now);
        let last = experience.decisions().last().unwrap();
        assert_eq!(last.what, Decided::Recalled(2), "the reason is an old one");
        for n in 0..100 {
            experience.note(Decided::Recalled(1), &n.to_string(), now);
        }
        assert_eq!(experience.decisions().count(), DECISIONS_MAX);
    }
}
