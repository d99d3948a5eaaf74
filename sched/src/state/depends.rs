//! Jobs that depend on others: finding what they name, and letting them go or skipping them.

use std::collections::BTreeMap;

use fairway_jdl::JobSpec;
use fairway_jdl::job::{Condition, Dependency, Named, Part};
use fairway_model::{Job, JobId, Task, TaskId, TaskState, Timestamp};

use super::change_tasks::Tally as Told;
use super::{LiveJob, State, refused};
use crate::command::{EndedTasks, NamedJob, Refused, RefusedKind};
use crate::depends::{Dependent, Key, Known, Stage, Tally, Term, Verdict, combined, set};
use crate::nodes::{Nodes, Row};
use crate::ranges::Ranges;

/// What a job waits for, found.
#[derive(Default)]
pub(super) struct Found {
    terms: Vec<Term>,
    known: BTreeMap<(JobId, Key), Known>,
}

fn refuse<T>(reason: String) -> Result<T, Refused> {
    Err(refused(RefusedKind::Invalid, reason))
}

/// The row of tasks that is named.
fn row_of(named: &Named, job: &NamedJob, dependency: &Dependency) -> Result<Row, Refused> {
    let id = job.id;
    match &named.part {
        Part::Whole => Ok((0, job.task_count)),
        Part::Tasks(from, to) if *to <= job.task_count => Ok((*from, *to)),
        Part::Tasks(..) => refuse(format!(
            "`{dependency}`: the last task of job {id} is {id}.{}",
            job.task_count.saturating_sub(1)
        )),
        Part::Node(name) => {
            let mut nodes = job.nodes.iter();
            match nodes.find(|(known, ..)| known == &**name) {
                Some(&(_, from, to)) => Ok((from, to)),
                None => refuse(format!("`{dependency}`: job {id} has no node `{name}`")),
            }
        }
    }
}

impl State {
    /// Finds what the job of this description waits for, among the jobs that the caller brings.
    /// What is in memory is known better there.
    pub(super) fn find_named(
        &self,
        spec: &JobSpec,
        brought: &[NamedJob],
    ) -> Result<Found, Refused> {
        let mut found = Found::default();
        let dependencies = spec.depends().map_or(&[][..], |it| &it.dependencies);
        for dependency in dependencies {
            let Dependency::On(condition, named) = dependency else {
                found.terms.push(Term::Singleton);
                continue;
            };
            let Some(job) = brought.iter().find(|job| job.id == named.job) else {
                let reason = format!("`{dependency}`: there is no job {}", named.job);
                return refuse(reason);
            };
            let row = row_of(named, job, dependency)?;
            let counterparts = row.1 - row.0;
            if *condition == Condition::AfterCorr && spec.task_count() > counterparts {
                return refuse(format!(
                    "`{dependency}` names {counterparts} tasks, and the job has {}: those beyond \
                     have no counterpart and could never start",
                    spec.task_count()
                ));
            }
            let term = Term::On(*condition, named.job, row);
            if let Some((id, key)) = term.key()
                && !self.depends.is_watched(id, key)
                && !found.known.contains_key(&(id, key))
            {
                found.known.insert((id, key), self.known(job, key)?);
            }
            found.terms.push(term);
        }
        Ok(found)
    }

    /// How far the tasks of a row are.
    fn known(&self, job: &NamedJob, key: Key) -> Result<Known, Refused> {
        let live = self.jobs.get(&job.id).map(|live| &**live);
        let whole = !key.by_task && (key.from, key.to) == (0, job.task_count);
        let mut known = Known::default();
        match live {
            Some(live) if whole => known.tally = live.tally(),
            None if whole => {
                for &(state, tasks) in job.counts.iter().filter(|(state, _)| state.is_final()) {
                    known.tally.add(Stage::of(state), tasks);
                }
            }
            _ => known = self.known_in_part(job, live, (key.from, key.to)),
        }
        if known.tally.total() == key.to - key.from {
            return Ok(known);
        }
        let reason = format!("job {} has changed meanwhile: try again", job.id);
        Err(refused(RefusedKind::Conflict, reason))
    }

    /// As [`known`](Self::known), of a part of a job. Memory knows which tasks are not over, and
    /// how those did that ended last; the caller brings how the others did.
    fn known_in_part(&self, job: &NamedJob, live: Option<&LiveJob>, (from, to): Row) -> Known {
        let mut ended: Ranges<bool> = Ranges::default();
        let brought = job
            .rows
            .iter()
            .map(|&(state, a, b)| (state, (a.max(from), b.min(to))));
        let rows = brought.chain(self.depends.ended_lately(job.id, (from, to)));
        for (state, row) in rows.filter(|(_, row)| row.0 < row.1) {
            set(&mut ended, row, Stage::of(state).fate());
        }
        let mut known = Known::default();
        if let Some(live) = live {
            for (from, to, untouched) in live.untouched.within(from, to) {
                set(&mut ended, (from, to), None);
                known.tally.add(Stage::of(untouched.state), to - from);
            }
            for (&index, task) in live.tasks.range(from..to) {
                set(&mut ended, (index, index + 1), None);
                known.tally.add(Stage::of(task.state), 1);
            }
        }
        for (from, to, succeeded) in ended.iter() {
            let stage = if succeeded {
                Stage::Succeeded
            } else {
                Stage::Lost
            };
            known.tally.add(stage, to - from);
        }
        known.fates = ended;
        known
    }

    /// Whether the job of this description need not wait at all.
    pub(super) fn is_met(&self, spec: &JobSpec, found: &Found) -> bool {
        let Some(depends) = spec.depends() else {
            return true;
        };
        // Whether there are earlier jobs is only known of one that is in memory.
        let verdicts = found.terms.iter().map(|term| match (term, term.key()) {
            (Term::On(condition, ..), Some(key)) => {
                let known = found.known.get(&key).or_else(|| self.depends.known(term));
                known.map_or(Verdict::Open, |known| known.tally.verdict(*condition))
            }
            _ => Verdict::Open,
        });
        combined(depends.join, verdicts) == Verdict::Met
    }

    /// Has a job wait for what was found.
    pub(super) fn enroll(&mut self, job: &Job, spec: &JobSpec, found: Found) {
        if let Some(depends) = spec.depends() {
            let dependent = Dependent::new(job, depends.join, found.terms);
            self.depends.enroll(job.id, dependent, found.known);
        }
    }

    /// The tasks of a compound job that were skipped with it as a whole, and may wait again. If
    /// they would wait in vain, there are none, and that is told of the first.
    pub(super) fn skipped_as_a_whole(
        &self,
        given: &EndedTasks,
        nodes: &Nodes,
        let_go: bool,
        told: &mut Told,
    ) -> Vec<Row> {
        let Some(described) = given.spec.depends() else {
            return Vec::new();
        };
        let id = given.job.id;
        let places = (0_u32..).zip(given.spec.nodes());
        let for_others = places.filter(|(place, _)| !nodes.is_futile(*place));
        let skipped: Vec<Row> = for_others
            .flat_map(|(_, node)| nodes.skipped((node.tasks.start, node.tasks.end)))
            .collect();
        let Some(&(first, _)) = skipped.first() else {
            return skipped;
        };
        let verdict = self.depends.verdicts(id, (first, first + 1), let_go);
        if verdict
            .iter()
            .all(|(verdict, _)| *verdict != Verdict::Never)
        {
            return skipped;
        }
        told.leave_with(TaskId::new(id, first), || {
            let why = self.depends.why_never(id, described, first);
            format!("it would not run: {why}")
        });
        Vec::new()
    }

    /// Takes those tasks out of the rows that would wait in vain for other jobs, and tells why.
    /// Not those that were let go before.
    pub(super) fn leave_vain(
        &self,
        given: &EndedTasks,
        let_go: bool,
        rows: &mut Vec<Task>,
        told: &mut Told,
    ) {
        let (id, all) = (given.job.id, (0, given.job.task_count));
        let Some(described) = given.spec.depends() else {
            return;
        };
        let parts = self.depends.verdicts(id, all, let_go);
        let in_vain = |index: u32| {
            let after = parts.partition_point(|(_, (from, _))| *from <= index);
            let part = after.checked_sub(1).and_then(|place| parts.get(place));
            part.is_some_and(|(verdict, _)| *verdict == Verdict::Never)
        };
        rows.retain(|row| {
            let leave = row.attempt.0 == 0 && in_vain(row.id.index);
            if leave {
                told.leave_with(row.id, || {
                    let why = self.depends.why_never(id, described, row.id.index);
                    format!("it would not run: {why}")
                });
            }
            !leave
        });
    }

    /// What other jobs mean for tasks of a job in a row, in as few parts as can be.
    pub(crate) fn verdicts(&self, id: JobId, row: Row) -> Vec<(Verdict, Row)> {
        let let_go = self.jobs.get(&id).is_some_and(|live| live.is_let_go());
        self.depends.verdicts(id, row, let_go)
    }

    /// A row of tasks in parts that wait for nothing any more, or do. What will never be does
    /// not hold back a task that is released: it was let go before.
    pub(super) fn by_readiness(&self, id: JobId, row: Row) -> Vec<(bool, Row)> {
        let Some(live) = self.jobs.get(&id) else {
            return Vec::new();
        };
        let parts = live.by_readiness(row);
        if self.depends.of(id).is_none() {
            return parts;
        }
        let mut cut = Vec::new();
        for (ready, row) in parts {
            if !ready {
                cut.push((false, row));
                continue;
            }
            let verdicts = self.verdicts(id, row).into_iter();
            cut.extend(verdicts.map(|(verdict, row)| (verdict != Verdict::Open, row)));
        }
        cut
    }

    /// Draws the consequences for jobs that depend on what has changed, and for those that
    /// depend on these.
    pub(super) fn settle_dependents(&mut self, now: Timestamp) {
        while let Some((id, rows)) = self.depends.next_news() {
            for row in rows {
                for (verdict, row) in self.verdicts(id, row) {
                    match verdict {
                        Verdict::Open => {}
                        Verdict::Met => self.let_go(id, row, now),
                        Verdict::Never => self.skip(id, row, now),
                    }
                }
            }
            self.finish_job(id, now);
        }
    }

    /// Queues the tasks of a row that wait for other jobs only.
    fn let_go(&mut self, id: JobId, row: Row, now: Timestamp) {
        for (before, row) in self.untouched(id, row) {
            // What is held stays so until it is released.
            if before != TaskState::Blocked {
                continue;
            }
            let parts = self.jobs.get(&id).map(|live| live.by_readiness(row));
            for (ready, row) in parts.unwrap_or_default() {
                if ready {
                    let because = self.why(id, Verdict::Met, row.0);
                    self.follow_row(id, row, before, TaskState::Waiting, &because, now);
                }
            }
        }
    }

    fn skip(&mut self, id: JobId, row: Row, now: Timestamp) {
        for (before, row) in self.untouched(id, row) {
            if matches!(before, TaskState::Blocked | TaskState::Held) {
                let because = self.why(id, Verdict::Never, row.0);
                self.follow_row(id, row, before, TaskState::Skipped, &because, now);
            }
        }
    }

    /// Why a task waits no more for other jobs, or in vain.
    pub(super) fn why(&self, id: JobId, verdict: Verdict, index: u32) -> String {
        let described = self.jobs.get(&id).and_then(|live| live.spec.depends());
        let why = described.map(|described| match verdict {
            Verdict::Never => self.depends.why_never(id, described, index),
            _ => self.depends.why_met(id, described, index),
        });
        why.unwrap_or_default()
    }
}

impl LiveJob {
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for state in TaskState::ALL {
            tally.add(Stage::of(state), self.counts.of(state));
        }
        tally
    }

    /// Whether some task has left the place where it waited for other jobs. Follows from how the
    /// tasks stand, so that it is the same after a restart.
    pub(crate) fn is_let_go(&self) -> bool {
        !self.tasks.is_empty() || were_let_go(|state| self.counts.of(state) > 0)
    }
}

/// As [`LiveJob::is_let_go`], of tasks that are in these states.
pub(super) fn were_let_go(any: impl Fn(TaskState) -> bool) -> bool {
    const LEFT: [TaskState; 6] = [
        TaskState::Waiting,
        TaskState::Leased,
        TaskState::Running,
        TaskState::Cancelling,
        TaskState::Succeeded,
        TaskState::Failed,
    ];
    LEFT.into_iter().any(any)
}
