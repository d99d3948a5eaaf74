//! By which rule a task is the next one, told at the moment when it is given to a pilot.

use fairway_model::{PolicyKind, Rule, TaskId, Timestamp};

use super::State;
use crate::backfill::Passed;
use crate::queue::ClassId;
use crate::shares::{AccountId, Arrangement};

impl State {
    /// Why a task that still waits is next. A few look-ups: this is done for each task that is
    /// given out.
    pub(super) fn rule_of(
        &self,
        (task, since): (TaskId, Timestamp),
        (id, account): (ClassId, AccountId),
        passed: Option<Passed>,
        now: Timestamp,
    ) -> Option<Rule<'_>> {
        let class = self.queue.class(id)?;
        let since = class.waits_since(&self.shares, account).unwrap_or(since);
        let waited_s = now.since(since).as_secs();
        if let Some(max_s) = self.queue.overdue_max_s().filter(|max_s| waited_s > *max_s) {
            return Some(Rule::Overdue { waited_s, max_s });
        }
        if self.kept_rooms.of(task).is_some() {
            return Some(Rule::RoomMade);
        }
        if let Some((before, from)) = passed {
            return Some(Rule::Backfilled { before, from });
        }
        if let Some(tier) = self.queue.raises(class) {
            let qos = class.needs.qos.as_deref().unwrap_or_default();
            return Some(Rule::Tier { qos, tier });
        }
        Some(match self.shares.arrangement() {
            Arrangement::Arrival => Rule::Longest { waited_s },
            Arrangement::Priority => Rule::Priority {
                priority: self.shares.priority(account, &class.needs)?
                    + self.shares.priority_per_ms(&class.needs) * waited_s as f64 * 1000.0,
            },
            Arrangement::Tree => self.rule_in_tree(account)?,
        })
    }

    fn rule_in_tree(&self, account: AccountId) -> Option<Rule<'_>> {
        let Some(stand) = self.queue.stand(&self.shares, account) else {
            return Some(Rule::Alone);
        };
        let path = self.shares.path(stand.node);
        let (of, first) = (stand.of, stand.first);
        let kind = self.policy().kind;
        Some(match kind {
            PolicyKind::RoundRobin | PolicyKind::RoundRobinGroups => Rule::Turn { path, of, first },
            _ => Rule::Least {
                kind,
                path,
                level: stand.level,
                of,
                first,
            },
        })
    }
}
