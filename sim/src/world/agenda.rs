//! What will happen, in order of time; what happens at one moment, in the order of noting.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fairway_model::{Attempt, PilotId, TaskId, Timestamp};

/// Something that happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// Users submit.
    Arrival,
    /// What the batch system's other work held up may start when there are cores.
    Ready { cluster: usize, job: PilotId },
    /// A pilot calls home for the first time.
    Call(PilotId),
    /// A task's process ends.
    Exit {
        pilot: PilotId,
        task: TaskId,
        attempt: Attempt,
    },
    /// A pilot has had no work for as long as it waits. Holds only if it had none since then.
    Idle { pilot: PilotId, spell: u32 },
    /// A pilot's allocation is over.
    Expiry(PilotId),
    /// A pilot fails.
    Death(PilotId),
    /// A look at the batch system shows that a pilot has failed.
    Discovery(PilotId),
    /// The scheduler's clock ticks, batch systems are looked at, pilots are planned: what of it
    /// is due.
    Beat,
}

/// All that will happen.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(Timestamp, u64, Happening)>>,
    noted: u64,
}

impl Agenda {
    pub(crate) fn note(&mut self, at: Timestamp, what: Happening) {
        self.heap.push(Reverse((at, self.noted, what)));
        self.noted += 1;
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next thing, if it happens at that moment or before.
    pub(crate) fn pop_until(&mut self, at: Timestamp) -> Option<Happening> {
        if self.next_at()? > at {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, what))| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_time_and_then_by_noting() {
        let mut agenda = Agenda::default();
        agenda.note(Timestamp(5), Happening::Beat);
        agenda.note(
            Timestamp(3),
            Happening::Idle {
                pilot: PilotId(1),
                spell: 1,
            },
        );
        agenda.note(Timestamp(3), Happening::Arrival);
        assert_eq!(agenda.next_at(), Some(Timestamp(3)));
        assert_eq!(agenda.pop_until(Timestamp(2)), None);
        let three: Vec<_> = std::iter::from_fn(|| agenda.pop_until(Timestamp(4))).collect();
        assert_eq!(
            three,
            [
                Happening::Idle {
                    pilot: PilotId(1),
                    spell: 1
                },
                Happening::Arrival
            ]
        );
        assert_eq!(agenda.next_at(), Some(Timestamp(5)));
    }
}
