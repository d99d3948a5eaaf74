//! What is watched of one job for those that wait for it.

use std::collections::{BTreeMap, BTreeSet};

use fairway_jdl::job::Condition;
use fairway_model::JobId;

use super::tally::{Stage, Tally};
use crate::nodes::Row;
use crate::ranges::Ranges;

/// A row of tasks that is watched: as a whole, or task by task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) by_task: bool,
}

impl Key {
    pub(crate) fn new((from, to): Row, condition: Condition) -> Self {
        Self {
            from,
            to,
            by_task: condition == Condition::AfterCorr,
        }
    }

    /// Rows of this class have at least `1 << class` tasks, and fewer than twice as many.
    fn class(self) -> u32 {
        (self.to - self.from).checked_ilog2().unwrap_or(0)
    }
}

/// How far the tasks of a row are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// All of them.
    pub(crate) tally: Tally,
    /// Of those that are over, whether they have succeeded; by their numbers in their job. Only
    /// kept where it is asked for task by task.
    pub(crate) fates: Ranges<bool>,
}

/// One row that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) known: Known,
    /// The jobs that wait for it; never none.
    dependents: BTreeSet<JobId>,
}

/// The rows of a job that are watched, by class, so that those with a task in them are found
/// without a look at the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    classes: BTreeMap<u32, BTreeMap<Key, Watch>>,
}

impl Watched {
    pub(crate) fn get(&self, key: Key) -> Option<&Watch> {
        self.classes.get(&key.class())?.get(&key)
    }

    /// A job waits for a row. `known` tells how far that is, if it is not watched yet.
    pub(crate) fn join(&mut self, key: Key, dependent: JobId, known: impl FnOnce() -> Known) {
        let class = self.classes.entry(key.class()).or_default();
        let watch = class.entry(key).or_insert_with(|| Watch {
            known: known(),
            dependents: BTreeSet::new(),
        });
        watch.dependents.insert(dependent);
    }

    /// A job waits no more for a row. True if nothing of the job is watched any more.
    pub(crate) fn leave(&mut self, key: Key, dependent: JobId) -> bool {
        if let Some(class) = self.classes.get_mut(&key.class()) {
            if let Some(watch) = class.get_mut(&key) {
                watch.dependents.remove(&dependent);
                if watch.dependents.is_empty() {
                    class.remove(&key);
                }
            }
            if class.is_empty() {
                self.classes.remove(&key.class());
            }
        }
        self.classes.is_empty()
    }

    /// Notes that tasks in a row went from one stage to another. Gives back the jobs that have to
    /// hear of it; of those that wait task by task with their tasks that are meant.
    pub(crate) fn note(
        &mut self,
        row: Row,
        before: Stage,
        after: Stage,
    ) -> Vec<(JobId, Option<Row>)> {
        let mut news = Vec::new();
        if before == after {
            return news;
        }
        for (&class, watches) in &mut self.classes {
            // A row that begins further ahead than this ends before the first task.
            let ahead = (2_u64 << class).min(u64::from(u32::MAX));
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            let begin = |from| Key {
                from,
                to: 0,
                by_task: false,
            };
            let near = begin(row.0.saturating_sub(ahead))..begin(row.1);
            for (key, watch) in watches.range_mut(near) {
                let part = (key.from.max(row.0), key.to.min(row.1));
                if part.0 < part.1 {
                    watch.note(*key, part, before, after, &mut news);
                }
            }
        }
        news
    }

    /// Each row with each of the jobs that wait for it.
    pub(crate) fn dependents(&self) -> impl Iterator<Item = (Key, JobId)> {
        let watches = self.classes.values().flatten();
        watches.flat_map(|(key, watch)| watch.dependents.iter().map(|id| (*key, *id)))
    }

    /// Compares the watches with each other, and with how far the job is. The error says what is
    /// wrong.
    pub(crate) fn check(&self, job: Option<Tally>) -> Result<(), String> {
        for (key, Watch { known, .. }) in self.classes.values().flatten() {
            let Known { tally, fates } = known;
            let whole = job.filter(|job| key.from == 0 && key.to == job.total());
            let count = |fate: bool| -> u32 {
                let alike = fates.iter().filter(|(.., it)| *it == fate);
                alike.map(|(from, to, _)| to - from).sum()
            };
            let sound = tally.total() == key.to - key.from
                && whole.is_none_or(|job| job == *tally)
                && (!key.by_task || (count(true), count(false)) == (tally.succeeded, tally.lost));
            if !sound {
                return Err(format!("is miscounted: {key:?} {known:?}, it has {job:?}"));
            }
        }
        Ok(())
    }
}

impl Watch {
    fn note(
        &mut self,
        key: Key,
        (from, to): Row,
        before: Stage,
        after: Stage,
        news: &mut Vec<(JobId, Option<Row>)>,
    ) {
        let outlook = self.known.tally.outlook();
        self.known.tally.shift(before, after, to - from);
        if !key.by_task {
            if self.known.tally.outlook() != outlook {
                news.extend(self.dependents.iter().map(|id| (*id, None)));
            }
            return;
        }
        if before.fate() == after.fate() {
            return;
        }
        set(&mut self.known.fates, (from, to), after.fate());
        let row = Some((from - key.from, to - key.from));
        news.extend(self.dependents.iter().map(|id| (*id, row)));
    }
}

/// Says of a row what is so from here on.
pub(crate) fn set<V: Copy + PartialEq>(ranges: &mut Ranges<V>, (from, to): Row, value: Option<V>) {
    for (from, to, _) in ranges.within(from, to) {
        ranges.take(from, to);
    }
    if let Some(value) = value {
        ranges.insert(from, to, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(from: u32, to: u32) -> Key {
        Key::new((from, to), Condition::AfterAny)
    }

    fn pending(tasks: u32) -> Known {
        let mut known = Known::default();
        known.tally.add(Stage::Pending, tasks);
        known
    }

    proptest! {
        /// Every row with the task in it is told, and no other.
        #[test]
        fn a_task_is_counted_in_every_row_that_holds_it(
            rows in proptest::collection::vec((0_u32..200, 1_u32..200), 1..30),
            task in 0_u32..400,
        ) {
            let mut watched = Watched::default();
            for (number, &(from, length)) in rows.iter().enumerate() {
                let id = JobId(number as u64);
                watched.join(key(from, from + length), id, || pending(length));
            }
            watched.note((task, task + 1), Stage::Pending, Stage::Succeeded);
            for (key, _) in watched.dependents() {
                let holds = (key.from..key.to).contains(&task);
                let known = &watched.get(key).unwrap().known;
                prop_assert_eq!(known.tally.succeeded, u32::from(holds));
            }
        }
    }

    #[test]
    fn nothing_is_left_when_nobody_waits() {
        let mut watched = Watched::default();
        watched.join(key(0, 4), JobId(1), || pending(4));
        watched.join(key(0, 4), JobId(2), || pending(4));
        assert!(!watched.leave(key(0, 4), JobId(1)));
        assert!(watched.leave(key(0, 4), JobId(2)));
    }
}
