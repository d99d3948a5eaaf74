//! What jobs wait for, in words.

use fairway_jdl::job::{Condition, Dependency, Depends as Described, Join, Named, Part};
use fairway_model::JobId;

use super::{Depends, Known, Tally, Term, Verdict};

/// So many things are told in one sentence.
const TOLD_MAX: usize = 3;

/// Something that a job waits for, with what it is worth for one task.
struct Told<'a> {
    term: &'a Term,
    dependency: &'a Dependency,
    known: Option<&'a Known>,
    verdict: Verdict,
    earlier: Vec<JobId>,
    index: u32,
}

/// Names of tasks, and whether they are several.
fn subject(named: &Named) -> (String, bool) {
    let job = named.job;
    match &named.part {
        Part::Whole => (format!("job {job}"), false),
        Part::Node(name) => (format!("node `{name}` of job {job}"), false),
        Part::Tasks(from, to) if to - from == 1 => (format!("task {job}.{from}"), false),
        Part::Tasks(from, to) => (format!("tasks {job}.{from} to {job}.{}", to - 1), true),
    }
}

fn runs(begun: u32) -> String {
    match begun {
        0 => String::new(),
        1 => ", 1 runs".into(),
        n => format!(", {n} run"),
    }
}

fn is_or_are(n: u32) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

fn has_or_have(n: u32) -> &'static str {
    if n == 1 { "has" } else { "have" }
}

/// How far it is, in numbers; nothing of a task alone.
fn progress(condition: Condition, tally: Tally) -> Option<String> {
    let n = tally.total();
    if n < 2 || condition == Condition::AfterCorr {
        return None;
    }
    let over = tally.succeeded + tally.lost;
    let started = over + tally.begun;
    Some(match condition {
        Condition::After => format!("{started} of {n} tasks {}", has_or_have(started)),
        Condition::AfterAny => format!(
            "{over} of {n} tasks {}{}",
            is_or_are(over),
            runs(tally.begun)
        ),
        Condition::AfterNotOk => format!(
            "{over} of {n} tasks {} over{}",
            is_or_are(over),
            runs(tally.begun)
        ),
        Condition::AfterOk | Condition::AfterCorr => format!(
            "{} of {n} tasks {}{}",
            tally.succeeded,
            has_or_have(tally.succeeded),
            runs(tally.begun)
        ),
    })
}

impl Told<'_> {
    fn counterpart(&self) -> String {
        match *self.term {
            Term::On(_, job, (from, _)) => {
                format!("task {job}.{}", from.saturating_add(self.index))
            }
            Term::Singleton => String::new(),
        }
    }

    /// What must be, and how far it is.
    fn until(&self) -> (String, Option<String>) {
        let Dependency::On(condition, named) = self.dependency else {
            let first = self.earlier.first();
            let progress = first.map(|first| match self.earlier.len() {
                1 => format!("job {first} is not over"),
                n => format!("{n} are not over, job {first} first"),
            });
            let until = "all earlier jobs of its name and owner are over";
            return (until.into(), progress);
        };
        let (what, several) = subject(named);
        let (has, is) = match several {
            true => ("have", "are"),
            false => ("has", "is"),
        };
        let until = match condition {
            Condition::After => format!("{what} {has} started"),
            Condition::AfterOk => format!("{what} {has} succeeded"),
            Condition::AfterAny => format!("{what} {is} over"),
            Condition::AfterNotOk => format!("{what} {is} over without success"),
            Condition::AfterCorr => format!("{} has succeeded", self.counterpart()),
        };
        let progress = self.known.and_then(|it| progress(*condition, it.tally));
        (until, progress)
    }

    /// What has come about.
    fn met(&self) -> String {
        let Dependency::On(condition, named) = self.dependency else {
            return "all earlier jobs of its name and owner are over".into();
        };
        match condition {
            Condition::AfterCorr => format!("{} has succeeded", self.counterpart()),
            Condition::AfterNotOk => {
                let (what, several) = subject(named);
                let is = if several { "are" } else { "is" };
                format!("{what} {is} over, and did not succeed")
            }
            _ => self.until().0,
        }
    }

    /// Why it will not come about.
    fn never(&self) -> String {
        let Dependency::On(condition, named) = self.dependency else {
            return String::new();
        };
        let (what, several) = subject(named);
        match condition {
            Condition::AfterCorr => format!(
                "{}, on whose success it depends, did not succeed",
                self.counterpart()
            ),
            Condition::AfterNotOk => {
                let has = if several { "have" } else { "has" };
                format!("{what}, on whose failure it depends, {has} succeeded")
            }
            _ => {
                let tally = self.known.map(|known| known.tally);
                let lost = tally
                    .filter(|tally| tally.total() > 1)
                    .map(|tally| format!(": {} of {} tasks did not", tally.lost, tally.total()));
                let lost = lost.unwrap_or_default();
                format!("{what}, on whose success it depends, did not succeed{lost}")
            }
        }
    }
}

impl Depends {
    fn told<'a>(&'a self, id: JobId, described: &'a Described, index: u32) -> Vec<Told<'a>> {
        let Some(dependent) = self.of(id) else {
            return Vec::new();
        };
        let terms = dependent.terms.iter().zip(&described.dependencies);
        terms
            .map(|(term, dependency)| Told {
                term,
                dependency,
                known: self.known(term),
                verdict: self.verdict(id, term, index),
                earlier: match term {
                    Term::Singleton => self.earlier(id).collect(),
                    Term::On(..) => Vec::new(),
                },
                index,
            })
            .collect()
    }

    /// Why the task waits no more, as a clause.
    pub(crate) fn why_met(&self, id: JobId, described: &Described, index: u32) -> String {
        let mut told = self.told(id, described, index);
        told.retain(|it| it.verdict == Verdict::Met);
        if described.join == Join::Any {
            told.truncate(1);
        }
        let met: Vec<String> = told.iter().take(TOLD_MAX).map(Told::met).collect();
        match (&*met, told.len() - met.len()) {
            ([], _) => "all that it waited for has come about".into(),
            (_, 0) => listed(&met, "and"),
            (_, more) => format!("{}, and {more} more things", met.join(", ")),
        }
    }

    /// Why the task will not run, as a clause.
    pub(crate) fn why_never(&self, id: JobId, described: &Described, index: u32) -> String {
        let told = self.told(id, described, index);
        let mut never = told.iter().filter(|it| it.verdict == Verdict::Never);
        let why = never.next().map(Told::never).unwrap_or_default();
        match described.join {
            Join::Any if told.len() > 1 => format!("none of what it waits for can be: {why}"),
            _ => why,
        }
    }

    /// What the task waits for, as the end of a sentence that begins `it waits until`; `None` if
    /// it waits for no other job.
    pub(crate) fn until(&self, id: JobId, described: &Described, index: u32) -> Option<String> {
        let mut told = self.told(id, described, index);
        told.retain(|it| it.verdict == Verdict::Open);
        if let [only] = &*told {
            let (until, progress) = only.until();
            return Some(match progress {
                Some(progress) => format!("{until}: {progress}"),
                None => until,
            });
        }
        let each = told.iter().take(TOLD_MAX).map(|it| match it.until() {
            (until, Some(progress)) => format!("{until} ({progress})"),
            (until, None) => until,
        });
        let mut each: Vec<String> = each.collect();
        match told.len() - each.len() {
            0 => {}
            1 => each.push("1 more thing has come about".into()),
            more => each.push(format!("{more} more things have come about")),
        }
        let word = match described.join {
            Join::All => "and",
            Join::Any => "or",
        };
        (!each.is_empty()).then(|| listed(&each, word))
    }
}

fn listed(clauses: &[String], word: &str) -> String {
    match clauses {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} {word} {last}", others.join(", ")),
    }
}
