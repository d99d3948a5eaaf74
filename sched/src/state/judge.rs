//! Which classes may run at which CEs: looked at once for each pair of them, when either is new
//! or changes. A job of many different needs brings as many classes, which all CEs have to be held
//! against: one command holds nobody else up for that, and what it leaves is done by the next.

use std::sync::Arc;

use fairway_jdl::Needs;
use fairway_model::{CeId, GroupName};

use super::State;
use crate::queue::ClassId;

/// So many pairs of a CE and a class are looked at in one command: some 10 ms.
const PAIRS_MAX: usize = 10_000;

impl State {
    /// Adds `tasks` members to the class of `needs`. Until a new class has been judged, its tasks
    /// may run nowhere.
    pub(super) fn join_class(
        &mut self,
        needs: &Arc<Needs>,
        group: Option<&GroupName>,
        tasks: u64,
    ) -> ClassId {
        let (id, new) = self.queue.join(&self.shares, needs, group, tasks);
        if new {
            self.unjudged.insert(id);
            self.judge_classes();
        }
        id
    }

    /// Takes `tasks` members, all over, out of their class.
    pub(super) fn leave_class(&mut self, id: ClassId, tasks: u64) {
        if self.queue.leave(id, tasks) {
            self.unjudged.remove(&id);
            for element in self.elements.values_mut() {
                element.verdicts.remove(&id);
            }
        }
    }

    /// Has every CE judge the new classes, as far as one command may.
    pub(super) fn judge_classes(&mut self) {
        while let Some(id) = self.unjudged.first().copied() {
            if !self.may_judge(self.elements.len()) {
                return;
            }
            self.unjudged.remove(&id);
            let Some(class) = self.queue.class(id) else {
                continue;
            };
            for element in self.elements.values_mut() {
                let verdict = element.judge(&class.needs);
                element.verdicts.insert(id, verdict);
            }
            self.wishes_may_be_granted |= class.waiting() > 0;
        }
    }

    /// Has every CE judge all new classes, however long it takes: while nobody waits yet.
    pub(super) fn judge_all_classes(&mut self) {
        while !self.unjudged.is_empty() {
            self.judged = 0;
            self.judge_classes();
        }
        self.judged = 0;
    }

    /// Has a CE that has changed judge every class, or, if that is too much for this command,
    /// leaves it to the next ticks.
    pub(super) fn judge_element(&mut self, id: &CeId) {
        let may = self.may_judge(self.queue.classes().count());
        let Some(element) = self.elements.get_mut(id) else {
            return;
        };
        if may {
            element.judge_all(self.queue.classes());
            self.wishes_may_be_granted = true;
        } else {
            element.outdated = true;
        }
    }

    /// Whether so many pairs more may be looked at in this command; counts them. The first may always.
    fn may_judge(&mut self, pairs: usize) -> bool {
        let may = self.judged == 0 || self.judged + pairs <= PAIRS_MAX;
        if may {
            self.judged += pairs;
        }
        may
    }
}
