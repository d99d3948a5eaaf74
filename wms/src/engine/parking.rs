//! Wishes for work that nothing can be given for yet: the server's end of the
//! pilots' long polls.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_model::PilotId;
use fairway_sched::{Command, Refused, Reply};
use tokio::time::Instant;

use super::{Answer, EngineError};

#[derive(Default)]
pub(super) struct Parking {
    places: BTreeMap<PilotId, Place>,
}

struct Place {
    answer: Answer,
    until: Instant,
}

impl Parking {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Keeps `answer` open. The pilot must have [left](Self::leave) before.
    pub(super) fn park(&mut self, pilot: PilotId, answer: Answer, wait: Duration) {
        self.places.insert(
            pilot,
            Place {
                answer,
                until: Instant::now() + wait,
            },
        );
    }

    /// Takes the pilot's answer out, with the empty reply that it gets if nothing better is known.
    pub(super) fn leave(&mut self, pilot: PilotId) -> Option<(Answer, Result<Reply, EngineError>)> {
        self.places
            .remove(&pilot)
            .map(|place| (place.answer, Ok(empty())))
    }

    /// Takes out those that have waited enough or whose other end is gone.
    pub(super) fn due(&mut self) -> Vec<(PilotId, Answer)> {
        let now = Instant::now();
        self.places
            .extract_if(.., |_, place| {
                place.until <= now || place.answer.is_closed()
            })
            .map(|(pilot, place)| (pilot, place.answer))
            .collect()
    }

    /// Answers all with `error`.
    pub(super) fn fail(&mut self, error: &EngineError) {
        for (_, place) in std::mem::take(&mut self.places) {
            let _ = place.answer.send(Err(error.clone()));
        }
    }
}

/// The pilot that wishes for work with `command`, if it does.
pub(super) fn wish(command: &Command) -> Option<PilotId> {
    match command {
        Command::Sync {
            pilot,
            want: Some(_),
            ..
        } => Some(*pilot),
        _ => None,
    }
}

/// The answer that says nothing.
pub(super) fn empty() -> Reply {
    Reply::Synced {
        grants: Vec::new(),
        orders: Vec::new(),
        drain: false,
        stay: None,
    }
}

/// Whether there is nothing in `reply` that the pilot should know at once.
pub(super) fn is_empty(reply: &Result<Reply, Refused>) -> bool {
    matches!(
        reply,
        Ok(Reply::Synced { grants, orders, drain: false, stay: None }) if grants.is_empty() && orders.is_empty()
    )
}
