//! Who waits for whom among jobs: which of the jobs that depend on others may begin, and which
//! cannot any more.
//!
//! What jobs wait for is *watched*: a row of tasks of a job, with how many of them are how far,
//! or which of them have ended how. All that wait for the same row share the watch, and are told
//! only when what it means changes; so a task that ends costs nothing for those that wait for
//! other tasks, and a job of any size that waits for another is one entry.
//!
//! What a dependency is worth follows from how the tasks stand, and from nothing else: nothing
//! of this book is durable, it is made anew from the rows after a restart. A job that was once
//! let go does not wait again when what it waited for is retried by hand.
//!
//! Cycles cannot arise: a job names others when it is submitted, and only those that there are.

mod tally;
mod watch;
pub(crate) mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fairway_jdl::job::{Condition, Join};
use fairway_model::{Job, JobId, TaskState, UserName};

use crate::nodes::Row;
use crate::ranges::Ranges;
pub(crate) use tally::{Stage, Tally, Verdict, combined};
use watch::Watched;
pub(crate) use watch::{Key, Known, set};

/// So many rows of tasks are remembered that ended last.
const LATELY_MAX: usize = 10_000;

/// All tasks of a job, however many it has.
const ALL: Row = (0, u32::MAX);

/// One thing that a job waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// Something must become of tasks of a job.
    On(Condition, JobId, Row),
    /// All earlier jobs of the same name and owner must be over.
    Singleton,
}

impl Term {
    /// What is watched for it.
    pub(crate) fn key(&self) -> Option<(JobId, Key)> {
        match *self {
            Self::On(condition, job, row) => Some((job, Key::new(row, condition))),
            Self::Singleton => None,
        }
    }
}

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependent {
    pub(crate) join: Join,
    /// In the order of its description.
    pub(crate) terms: Vec<Term>,
    /// How many tasks it has.
    pub(crate) tasks: u32,
    owner: UserName,
    name: String,
}

impl Dependent {
    pub(crate) fn new(job: &Job, join: Join, terms: Vec<Term>) -> Self {
        Self {
            join,
            terms,
            tasks: job.task_count,
            owner: job.owner.clone(),
            name: job.name.clone(),
        }
    }

    /// Whether what it waits for as a whole counts no more once some of its tasks were let go.
    /// Not where one task may have been let go for itself.
    fn is_free_once_let_go(&self) -> bool {
        let by_task = |term: &Term| term.key().is_some_and(|(_, key)| key.by_task);
        self.join == Join::All || !self.terms.iter().any(by_task)
    }
}

/// What jobs in memory wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Depends {
    watched: BTreeMap<JobId, Watched>,
    dependents: BTreeMap<JobId, Dependent>,
    /// All jobs in memory, by owner and name.
    alike: BTreeMap<(UserName, String), BTreeSet<JobId>>,
    /// The tasks that ended last, the oldest first, with how they ended.
    lately: VecDeque<(JobId, Row, TaskState)>,
    /// The jobs for whose tasks something may have changed.
    news: BTreeMap<JobId, Vec<Row>>,
}

impl Depends {
    /// A job is in memory.
    pub(crate) fn arrived(&mut self, job: &Job) {
        let key = (job.owner.clone(), job.name.clone());
        self.alike.entry(key).or_default().insert(job.id);
    }

    /// A job is over, and no longer in memory.
    pub(crate) fn left(&mut self, job: &Job) {
        self.withdraw(job.id);
        let key = (job.owner.clone(), job.name.clone());
        let Some(alike) = self.alike.get_mut(&key) else {
            return;
        };
        alike.remove(&job.id);
        // Only the first one of them has nobody before it.
        match alike.first().copied() {
            Some(first) => self.stir(first),
            None => drop(self.alike.remove(&key)),
        }
    }

    /// A job that is not in memory waits no more.
    pub(crate) fn withdraw(&mut self, id: JobId) {
        self.news.remove(&id);
        if let Some(dependent) = self.dependents.remove(&id) {
            for (named, key) in dependent.terms.iter().filter_map(Term::key) {
                self.unwatch(named, key, id);
            }
        }
    }

    fn unwatch(&mut self, named: JobId, key: Key, dependent: JobId) {
        if let Some(watched) = self.watched.get_mut(&named)
            && watched.leave(key, dependent)
        {
            self.watched.remove(&named);
        }
    }

    /// A job waits for others. `known`: how far those are of which nothing is watched yet.
    pub(crate) fn enroll(
        &mut self,
        id: JobId,
        dependent: Dependent,
        mut known: BTreeMap<(JobId, Key), Known>,
    ) {
        for (named, key) in dependent.terms.iter().filter_map(Term::key) {
            let watched = self.watched.entry(named).or_default();
            watched.join(key, id, || known.remove(&(named, key)).unwrap_or_default());
        }
        self.dependents.insert(id, dependent);
    }

    /// What the job waits for, if for anything.
    pub(crate) fn of(&self, id: JobId) -> Option<&Dependent> {
        self.dependents.get(&id)
    }

    /// Whether a row is watched already.
    pub(crate) fn is_watched(&self, job: JobId, key: Key) -> bool {
        self.watched
            .get(&job)
            .is_some_and(|watched| watched.get(key).is_some())
    }

    /// Notes that tasks in a row went from one state to another.
    pub(crate) fn note(&mut self, job: JobId, row: Row, before: TaskState, after: TaskState) {
        if after.is_final() {
            if self.lately.len() == LATELY_MAX {
                self.lately.pop_front();
            }
            self.lately.push_back((job, row, after));
        }
        let Some(watched) = self.watched.get_mut(&job) else {
            return;
        };
        let news = watched.note(row, Stage::of(before), Stage::of(after));
        for (dependent, row) in news {
            self.tell(dependent, row.unwrap_or(ALL));
        }
    }

    /// The tasks of a row that ended of late, with how they did, in order.
    pub(crate) fn ended_lately(
        &self,
        job: JobId,
        (from, to): Row,
    ) -> impl Iterator<Item = (TaskState, Row)> {
        self.lately.iter().filter_map(move |(other, row, state)| {
            let (from, to) = (row.0.max(from), row.1.min(to));
            (*other == job && from < to).then_some((*state, (from, to)))
        })
    }

    /// Has all tasks of a job looked at again, if it depends on others.
    pub(crate) fn stir(&mut self, id: JobId) {
        self.tell(id, ALL);
    }

    fn tell(&mut self, id: JobId, row: Row) {
        let Some(dependent) = self.dependents.get(&id) else {
            return;
        };
        let row = (row.0, row.1.min(dependent.tasks));
        let rows = self.news.entry(id).or_default();
        match rows.first() {
            Some(first) if *first == (0, dependent.tasks) => {}
            _ if row == (0, dependent.tasks) => *rows = vec![row],
            _ if row.0 < row.1 => rows.push(row),
            _ => {}
        }
    }

    /// The next job for which something may have changed, with its tasks that are meant.
    pub(crate) fn next_news(&mut self) -> Option<(JobId, Vec<Row>)> {
        self.news.pop_first()
    }

    /// Forgets what has changed: it has been acted upon.
    pub(crate) fn clear_news(&mut self) {
        self.news.clear();
    }

    /// What what a job waits for is worth, for each of its tasks in a row; the row in as few
    /// parts as can be. `let_go`: some task of the job has left the place where it waited.
    pub(crate) fn verdicts(&self, id: JobId, (from, to): Row, let_go: bool) -> Vec<(Verdict, Row)> {
        let Some(dependent) = self.dependents.get(&id) else {
            return vec![(Verdict::Met, (from, to))];
        };
        let free = let_go && dependent.is_free_once_let_go();
        let mut cuts = BTreeSet::from([from, to]);
        for (fates, first) in self.counterparts(dependent) {
            let (low, high) = (first.saturating_add(from), first.saturating_add(to));
            for (low, high, _) in fates.within(low, high) {
                cuts.extend([low - first, high - first]);
            }
        }
        let mut parts: Vec<(Verdict, Row)> = Vec::new();
        let mut cuts = cuts.into_iter();
        let mut from = cuts.next().unwrap_or(from);
        for to in cuts {
            let verdict = combined(
                dependent.join,
                dependent.terms.iter().map(|term| match term.key() {
                    Some((_, key)) if key.by_task => self.verdict(id, term, from),
                    _ if free => Verdict::Met,
                    _ => self.verdict(id, term, from),
                }),
            );
            match parts.last_mut() {
                Some((same, row)) if *same == verdict => row.1 = to,
                _ => parts.push((verdict, (from, to))),
            }
            from = to;
        }
        parts
    }

    /// Of each thing that is waited for task by task: what became of those that are over, and
    /// where they begin.
    fn counterparts<'a>(
        &'a self,
        dependent: &'a Dependent,
    ) -> impl Iterator<Item = (&'a Ranges<bool>, u32)> {
        let keys = dependent.terms.iter().filter_map(Term::key);
        let by_task = keys.filter(|(_, key)| key.by_task);
        by_task.filter_map(|(job, key)| {
            let watch = self.watched.get(&job)?.get(key)?;
            Some((&watch.known.fates, key.from))
        })
    }

    /// What one of the things that a job waits for is worth for one of its tasks.
    pub(crate) fn verdict(&self, id: JobId, term: &Term, index: u32) -> Verdict {
        let Term::On(condition, ..) = term else {
            return match self.earlier(id).next() {
                None => Verdict::Met,
                Some(_) => Verdict::Open,
            };
        };
        let Some(known) = self.known(term) else {
            return Verdict::Never;
        };
        match (condition, term.key()) {
            (Condition::AfterCorr, Some((_, key))) => {
                match known.fates.get(key.from.saturating_add(index)) {
                    Some((.., true)) => Verdict::Met,
                    Some((.., false)) => Verdict::Never,
                    None => Verdict::Open,
                }
            }
            _ => known.tally.verdict(*condition),
        }
    }

    /// How far the tasks are that a job waits for.
    pub(crate) fn known(&self, term: &Term) -> Option<&Known> {
        let (job, key) = term.key()?;
        Some(&self.watched.get(&job)?.get(key)?.known)
    }

    /// The jobs of the same name and owner before a job that depends on others, in order.
    pub(crate) fn earlier(&self, id: JobId) -> impl Iterator<Item = JobId> {
        let alike = self.dependents.get(&id).and_then(|dependent| {
            let key = (dependent.owner.clone(), dependent.name.clone());
            self.alike.get(&key)
        });
        alike
            .into_iter()
            .flat_map(move |all| all.range(..id).copied())
    }

    /// Compares what is watched with what `tally` counts. The error says what is wrong.
    pub(crate) fn check(&self, known: impl Fn(JobId) -> Option<Tally>) -> Result<(), String> {
        if !self.news.is_empty() {
            return Err(format!("{:?} were not settled", self.news));
        }
        let mut dependents: BTreeSet<(JobId, Key, JobId)> = BTreeSet::new();
        for (id, dependent) in &self.dependents {
            let keys = dependent.terms.iter().filter_map(Term::key);
            dependents.extend(keys.map(|(job, key)| (job, key, *id)));
        }
        let mut watching = BTreeSet::new();
        for (job, watched) in &self.watched {
            watched
                .check(known(*job))
                .map_err(|why| format!("job {job}, which others wait for, {why}"))?;
            watching.extend(watched.dependents().map(|(key, id)| (*job, key, id)));
        }
        if watching != dependents {
            return Err("what is watched is not what is waited for".into());
        }
        Ok(())
    }
}
