//! Changing the policy.

use fairway_model::{EventKind, Policy, Timestamp, UserName};

use super::State;
use crate::command::{Change, Reply};

impl State {
    pub(super) fn set_policy(&mut self, policy: Policy, by: UserName, now: Timestamp) -> Reply {
        if policy == *self.shares.policy() {
            return Reply::Done;
        }
        let text = serde_json::to_string(&policy).unwrap_or_default();
        self.shares.set_policy(policy.clone(), now);
        self.reorder_all();
        self.changes.push(Change::Policy(policy));
        let policy = text;
        self.event(EventKind::PolicyChanged { policy, by }, now);
        Reply::Done
    }
}
