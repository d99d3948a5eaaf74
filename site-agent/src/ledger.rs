//! Which requests were seen, and which replies have not reached the server. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fairway_api::agent::{AgentReply, EXCHANGE_BYTES_MAX, Fault, FaultKind, Outcome};

/// Requests under way or not yet told of, at most. The server keeps fewer open.
const OPEN_MAX: usize = 1000;
/// Ids of requests that are done with, to know them again should they come once more.
const DONE_KEPT: usize = 10_000;
/// Room for replies in one exchange, in bytes of JSON.
const REPLIES_BYTES_MAX: usize = EXCHANGE_BYTES_MAX as usize / 4 * 3;

/// The requests of this run of the agent.
pub(crate) struct Ledger {
    /// Room for replies in one exchange, in bytes of JSON.
    room: usize,
    /// Being executed.
    running: BTreeSet<String>,
    /// Executed; each with its size in bytes.
    untold: BTreeMap<String, (usize, AgentReply)>,
    /// The server has heard of the outcome. Oldest first.
    done: VecDeque<String>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::with_room(REPLIES_BYTES_MAX)
    }
}

impl Ledger {
    fn with_room(room: usize) -> Self {
        Self {
            room,
            running: BTreeSet::new(),
            untold: BTreeMap::new(),
            done: VecDeque::new(),
        }
    }

    /// Whether the request is to be executed: it is new, and there is room for it. One for which
    /// there is no room is not held, so the server gives it again.
    pub(crate) fn admit(&mut self, id: &str) -> bool {
        let known = self.running.contains(id)
            || self.untold.contains_key(id)
            || self.done.iter().any(|done| done == id);
        if known || self.running.len() + self.untold.len() >= OPEN_MAX {
            return false;
        }
        self.running.insert(id.to_owned())
    }

    /// The request has been executed.
    pub(crate) fn finish(&mut self, reply: AgentReply) {
        self.running.remove(&reply.id);
        let (bytes, reply) = sized(reply, self.room);
        self.untold.insert(reply.id.clone(), (bytes, reply));
    }

    /// What the server must not give again: requests without a reply in `replies`.
    pub(crate) fn holding(&self, replies: &[AgentReply]) -> Vec<String> {
        let told: BTreeSet<&str> = replies.iter().map(|reply| reply.id.as_str()).collect();
        let untold = self.untold.keys().filter(|id| !told.contains(id.as_str()));
        self.running.iter().chain(untold).cloned().collect()
    }

    /// Replies for the next exchange, as many as there is room for.
    pub(crate) fn replies(&self) -> Vec<AgentReply> {
        let mut room = self.room;
        let fitting = self.untold.values().map_while(|(bytes, reply)| {
            room = room.checked_sub(*bytes)?;
            Some(reply.clone())
        });
        fitting.collect()
    }

    /// Whether there are replies that the server has not heard.
    pub(crate) fn has_replies(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The server has heard these replies.
    pub(crate) fn told(&mut self, ids: &[String]) {
        for id in ids {
            if self.untold.remove(id).is_some() {
                if self.done.len() >= DONE_KEPT {
                    self.done.pop_front();
                }
                self.done.push_back(id.clone());
            }
        }
    }
}

/// A reply with its size. One that fits into no exchange is replaced by one that says so.
fn sized(reply: AgentReply, bytes_max: usize) -> (usize, AgentReply) {
    let size = |reply: &AgentReply| serde_json::to_vec(reply).map_or(usize::MAX, |json| json.len());
    let bytes = size(&reply);
    if bytes <= bytes_max {
        return (bytes, reply);
    }
    let instead = AgentReply {
        id: reply.id,
        outcome: Outcome::Failed {
            fault: Fault {
                kind: FaultKind::Unexpected,
                text: format!("the answer of {bytes} bytes is longer than can be passed on"),
            },
        },
    };
    (size(&instead), instead)
}

#[cfg(test)]
mod tests {
    use fairway_api::agent::{BatchJob, BatchState};

    use super::*;

    fn reply(id: &str) -> AgentReply {
        AgentReply {
            id: id.to_owned(),
            outcome: Outcome::Cancelled,
        }
    }

    #[test]
    fn a_request_is_executed_once_however_often_it_comes() {
        let mut ledger = Ledger::default();
        assert!(ledger.admit("a"));
        assert!(!ledger.admit("a"), "under way");
        assert_eq!(ledger.holding(&[]), ["a"]);
        ledger.finish(reply("a"));
        assert!(!ledger.admit("a"), "not told yet");
        let replies = ledger.replies();
        assert_eq!(replies, [reply("a")]);
        assert!(ledger.holding(&replies).is_empty());
        assert_eq!(ledger.holding(&[]), ["a"]);
        // The exchange failed, so it is told again.
        assert_eq!(ledger.replies(), replies);
        ledger.told(&["a".to_owned()]);
        assert!(!ledger.has_replies());
        assert!(!ledger.admit("a"), "done");
        assert!(ledger.admit("b"));
    }

    #[test]
    fn what_there_is_no_room_for_is_not_held() {
        let mut ledger = Ledger::default();
        for number in 0..OPEN_MAX {
            assert!(ledger.admit(&number.to_string()));
        }
        assert!(!ledger.admit("one more"));
        assert!(!ledger.holding(&[]).contains(&"one more".to_owned()));
        ledger.finish(reply("0"));
        ledger.told(&["0".to_owned()]);
        assert!(ledger.admit("one more"));
    }

    #[test]
    fn long_replies_are_told_in_several_exchanges_and_too_long_ones_not_at_all() {
        let jobs = |bytes: usize| Outcome::Jobs {
            jobs: vec![BatchJob {
                batch_id: "1".to_owned(),
                name: "x".repeat(bytes),
                state: BatchState::Running,
            }],
        };
        let mut ledger = Ledger::with_room(600);
        for (id, bytes) in [("a", 300), ("b", 300), ("c", 600)] {
            ledger.admit(id);
            ledger.finish(AgentReply {
                id: id.to_owned(),
                outcome: jobs(bytes),
            });
        }
        let first = ledger.replies();
        assert_eq!(first.len(), 1);
        ledger.told(&["a".to_owned()]);
        let second = ledger.replies();
        assert_eq!(second.len(), 2);
        assert!(
            matches!(&second[1].outcome, Outcome::Failed { fault } if fault.kind == FaultKind::Unexpected)
        );
    }
}
