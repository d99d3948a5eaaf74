//! What a job waits for before it begins, in the manner of Slurm:
//! `Depends = "afterok:12, aftercorr:13";`.

use std::fmt;
use std::sync::Arc;

use fairway_model::{JobId, TaskId};

use crate::diagnostic::{Report, nearest};
use crate::syntax::parser::{self, Manners};
use crate::syntax::{Node, Span};
use crate::{Ad, Diagnostic, Expr, Value, eval};

/// The attribute's name.
const NAME: &str = "Depends";

/// Most dependencies of one job.
pub const DEPENDENCIES_MAX: usize = 1000;

/// What is told of a dependency that is written wrongly.
const HELP: &str = "write `afterok:12`, or `after`, `afterany`, `afternotok` or `aftercorr` with the number of a job, or `singleton`";

/// What is told of a thing that is named wrongly.
const NAMED_HELP: &str =
    "name a job (`12`), a node of it (`12/fit`), a task (`12.7`) or several in a row (`12.3-8`)";

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depends {
    /// How its dependencies go together.
    pub join: Join,
    /// At least one; each once.
    pub dependencies: Vec<Dependency>,
}

/// How several dependencies go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// All must be met (`,`).
    All,
    /// One that is met is enough (`?`).
    Any,
}

/// One dependency. `Display` writes it as it is written in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// Something must become of other tasks.
    On(Condition, Named),
    /// All earlier jobs of the same name and owner must be over.
    Singleton,
}

/// What must become of other tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// All of them have started, or are over without.
    After,
    /// All of them have succeeded.
    AfterOk,
    /// All of them are over.
    AfterAny,
    /// All of them are over, and not all have succeeded.
    AfterNotOk,
    /// Of each task its counterpart has succeeded: the first of the others for the first one,
    /// and so on.
    AfterCorr,
}

/// Other tasks, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Whose they are.
    pub job: JobId,
    /// Which of them.
    pub part: Part,
}

/// Which tasks of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All.
    Whole,
    /// Those of a node.
    Node(Arc<str>),
    /// Those in a row: the first, and one past the last. Never none.
    Tasks(u32, u32),
}

impl Depends {
    /// The things named, each with what must become of it.
    pub fn named(&self) -> impl Iterator<Item = (Condition, &Named)> {
        self.dependencies.iter().filter_map(|it| match it {
            Dependency::On(condition, named) => Some((*condition, named)),
            Dependency::Singleton => None,
        })
    }
}

impl Condition {
    const ALL: [Self; 5] = [
        Self::After,
        Self::AfterOk,
        Self::AfterAny,
        Self::AfterNotOk,
        Self::AfterCorr,
    ];

    /// The word for it, as it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::After => "after",
            Self::AfterOk => "afterok",
            Self::AfterAny => "afterany",
            Self::AfterNotOk => "afternotok",
            Self::AfterCorr => "aftercorr",
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(condition, named) => write!(f, "{}:{named}", condition.word()),
            Self::Singleton => f.write_str(SINGLETON),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = self.job;
        match &self.part {
            Part::Whole => write!(f, "{job}"),
            Part::Node(name) => write!(f, "{job}/{name}"),
            Part::Tasks(from, to) if to - from == 1 => write!(f, "{job}.{from}"),
            Part::Tasks(from, to) => write!(f, "{job}.{from}-{}", to - 1),
        }
    }
}

const SINGLETON: &str = "singleton";

/// The tasks that a text names, if it is written as it should be.
fn named(text: &str) -> Option<Named> {
    if let Some((job, node)) = text.split_once('/') {
        let job = job.parse().ok()?;
        let part = Part::Node(node.into());
        return (!node.is_empty()).then_some(Named { job, part });
    }
    if let Ok(job) = text.parse() {
        let part = Part::Whole;
        return Some(Named { job, part });
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first, Some(last)),
        None => (text, None),
    };
    let first: TaskId = first.parse().ok()?;
    let last: u32 = match last {
        Some(last) => last.parse().ok()?,
        None => first.index,
    };
    let end = last.checked_add(1).filter(|end| *end > first.index)?;
    let part = Part::Tasks(first.index, end);
    Some(Named {
        job: first.job,
        part,
    })
}

/// What the job waits for, if for anything. `text` is what the ad was read from.
pub(super) fn read(ad: &Ad, text: &str, compound: bool, report: &mut Report) -> Option<Depends> {
    let expr = ad.get(NAME)?;
    let mut reader = Reader {
        text,
        compound,
        joined: None,
        dependencies: Vec::new(),
        report,
    };
    match expr.node() {
        Node::List(items) => {
            for item in items {
                reader.value(item, &eval(item, ad, None));
            }
        }
        _ => match eval(expr, ad, None) {
            Value::List(items) => items.iter().for_each(|item| reader.value(expr, item)),
            value => reader.value(expr, &value),
        },
    }
    let dependencies = reader.dependencies;
    if dependencies.len() > DEPENDENCIES_MAX {
        report.error_with(
            expr.span(),
            format!("the job waits for {} things", dependencies.len()),
            format!("it may wait for {DEPENDENCIES_MAX}; name jobs instead of their tasks"),
        );
        return None;
    }
    let join = match reader.joined {
        Some((ANY, _)) => Join::Any,
        _ => Join::All,
    };
    (!dependencies.is_empty()).then_some(Depends { join, dependencies })
}

/// A node waits with its job: what it waits for itself is in `Dependencies`.
pub(super) fn refuse_in_node(name: &str, own: &Ad, report: &mut Report) {
    if let Some(place) = own.name_span(NAME) {
        report.error_with(
            place,
            format!("the node `{name}` cannot wait for other jobs by itself"),
            "write `Depends` beside `Nodes`: the whole job then waits",
        );
    }
}

const ALL: char = ',';
const ANY: char = '?';

struct Reader<'a> {
    text: &'a str,
    compound: bool,
    /// What stands between the dependencies, and where that was seen.
    joined: Option<(char, Option<Span>)>,
    dependencies: Vec<Dependency>,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn value(&mut self, expr: &Expr, value: &Value) {
        let Some(text) = value.as_str() else {
            let help = format!("it is a text: {HELP}");
            let message = format!("`{NAME}` cannot be {expr:.40}");
            return self.report.error_with(expr.span(), message, help);
        };
        if !self.dependencies.is_empty() {
            self.join(ALL, Some(expr.span()));
        }
        let within = |part: &str| within(expr.span(), self.text, text, part);
        // A text with nothing in it waits for nothing.
        if text.trim().is_empty() {
            return;
        }
        let places: Vec<_> = text
            .split_inclusive([ALL, ANY])
            .map(|piece| {
                let mark = piece.chars().last().filter(|c| [ALL, ANY].contains(c));
                let piece = piece.trim_end_matches([ALL, ANY]).trim();
                (piece, within(piece), mark)
            })
            .collect();
        let last = places.len() - 1;
        for (number, (piece, place, mark)) in places.into_iter().enumerate() {
            if let Some(mark) = mark {
                if number == last {
                    let message = format!("nothing stands behind the last `{mark}`");
                    self.report.error_with(Some(expr.span()), message, HELP);
                }
                self.join(mark, Some(place));
            }
            self.dependency(piece, place);
        }
    }

    fn join(&mut self, mark: char, place: Option<Span>) {
        match self.joined {
            None => self.joined = Some((mark, place)),
            Some((known, _)) if known == mark => {}
            Some(_) => self.report.error_with(
                place,
                "`,` and `?` cannot be used together",
                "`,` waits for all, `?` for any: use one of them; the texts of a list are all waited for",
            ),
        }
    }

    fn dependency(&mut self, piece: &str, place: Span) {
        let mut parts = piece.split(':').map(str::trim);
        let word = parts.next().unwrap_or_default();
        if word.eq_ignore_ascii_case(SINGLETON) {
            match parts.next() {
                None => self.add(Dependency::Singleton),
                Some(_) => {
                    let message = "`singleton` names no job";
                    let help = "it waits for the earlier jobs of the same name and owner";
                    self.report.error_with(place, message, help);
                }
            }
            return;
        }
        let known = Condition::ALL.into_iter();
        let mut meant = known.filter(|it| it.word().eq_ignore_ascii_case(word));
        let Some(condition) = meant.next() else {
            return self.refuse_word(word, place);
        };
        if condition == Condition::AfterCorr && self.compound {
            let message = "the tasks of a compound job have no counterparts";
            let help = "`aftercorr` is for parametric jobs; wait with `afterok`";
            self.report.error_with(place, message, help);
        }
        let mut any = false;
        for name in parts {
            any = true;
            match named(name) {
                Some(named) => self.add(Dependency::On(condition, named)),
                None => self.refuse_name(name, place),
            }
        }
        if !any {
            let message = format!("`{}` does not say of what", condition.word());
            let help = format!("write `{}:12`; {NAMED_HELP}", condition.word());
            self.report.error_with(place, message, help);
        }
    }

    fn add(&mut self, dependency: Dependency) {
        // Beyond the limit they are only counted.
        let few = self.dependencies.len() <= DEPENDENCIES_MAX;
        if !(few && self.dependencies.contains(&dependency)) {
            self.dependencies.push(dependency);
        }
    }

    fn refuse_word(&mut self, word: &str, place: Span) {
        let words = Condition::ALL.map(Condition::word).into_iter();
        let help = match nearest(word, words.chain([SINGLETON])) {
            Some(known) => format!("did you mean `{known}`?"),
            None => HELP.to_owned(),
        };
        let message = match word {
            "" => "a dependency is missing here".to_owned(),
            word => format!("`{word:.40}` is no kind of dependency"),
        };
        self.report.error_with(place, message, help);
    }

    fn refuse_name(&mut self, name: &str, place: Span) {
        let help = if name.contains('+') {
            "it begins at once when the condition holds: no delay can be given".to_owned()
        } else if name.contains('_') {
            format!("tasks are written as `{:.40}`", name.replacen('_', ".", 1))
        } else {
            NAMED_HELP.to_owned()
        };
        let message = match name {
            "" => "a job's number is missing here".to_owned(),
            name => format!("`{name:.40}` names no tasks"),
        };
        self.report.error_with(place, message, help);
    }
}

/// Where a part of a literal text stands; where the whole stands if it is not written as it reads.
fn within(span: Span, source: &str, text: &str, part: &str) -> Span {
    let written = span.of(source);
    let offset = part.as_ptr() as usize - text.as_ptr() as usize;
    let begin = match written.strip_prefix('"') {
        Some(rest) if rest.strip_suffix('"') == Some(text) => 1,
        None if written == text => 0,
        _ => return span,
    };
    if part.is_empty() {
        return span;
    }
    let start = span.start as usize + begin + offset;
    Span::new(start, start + part.len())
}

/// The description with these dependencies instead of those that it has. Everything stays in
/// its line.
///
/// # Errors
/// If the text is not that of one job. What else is wrong with it is left to
/// [`JobSpec::read`](crate::JobSpec::read), also of the dependencies.
pub fn with_depends(text: &str, depends: &str) -> Result<String, Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    let ads = parser::documents(text, Manners::Jdl, &mut report);
    let [ad] = &*ads else {
        let message = format!("the text holds {} descriptions", ads.len());
        let help = "dependencies can be given to one job: write them to files of their own";
        let mut report = Report::default();
        report.error_with(None, message, help);
        return Err(report.into_diagnostics(text));
    };
    let value = Expr::from(depends).to_string();
    let places = ad.iter().filter_map(|(name, _)| ad.name_span(name));
    let first = places.map(|place| place.start as usize).min();
    let put = |start: usize, end: usize, what: &str| {
        let around = text.get(..start).zip(text.get(end..));
        around.map(|(before, after)| format!("{before}{what}{after}"))
    };
    let changed = match (ad.get(NAME).map(Expr::span), first) {
        (Some(span), _) => put(span.start as usize, span.end as usize, &value),
        (None, Some(first)) => put(first, first, &format!("{NAME} = {value}; ")),
        (None, None) => None,
    };
    Ok(changed.unwrap_or_else(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobSpec;

    fn told(depends: &str) -> Vec<String> {
        let text = format!("Executable = \"a\"; Depends = {depends};");
        let (spec, _) = JobSpec::read(&text).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let depends = spec.depends();
        let mut told: Vec<String> = depends
            .into_iter()
            .flat_map(|it| it.dependencies.iter().map(ToString::to_string))
            .collect();
        told.extend(
            depends
                .filter(|it| it.join == Join::Any)
                .map(|_| "any".into()),
        );
        told
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(told("\"afterok:12\""), ["afterok:12"]);
        assert_eq!(
            told("\" AfterOK:12:13/fit , afterany:4.7:4.3-8,singleton\""),
            [
                "afterok:12",
                "afterok:13/fit",
                "afterany:4.7",
                "afterany:4.3-8",
                "singleton"
            ]
        );
        assert_eq!(
            told("\"after:1?afternotok:2\""),
            ["after:1", "afternotok:2", "any"]
        );
        assert_eq!(
            told("{ \"afterok:1\", \"aftercorr:2, afterok:1\" }"),
            ["afterok:1", "aftercorr:2"]
        );
        assert_eq!(told("\"\""), [""; 0]);
        assert_eq!(told("singleton"), ["singleton"]);
    }

    #[test]
    fn a_compound_job_waits_as_a_whole() {
        let text = "Type = \"collection\"; Depends = \"afterok:3\"; \
                    Nodes = { [ Executable = \"a\" ], [ Executable = \"b\" ] };";
        let (spec, warnings) = JobSpec::read(text).unwrap();
        assert_eq!(warnings, []);
        assert!(spec.depends().is_some());
        assert!(spec.node_ad(0).unwrap().get(NAME).is_none());
    }

    #[test]
    fn dependencies_can_be_given_beside_the_text() {
        let given = |text: &str| with_depends(text, "afterok:1").unwrap();
        assert_eq!(
            given("# first\n[\n  Executable = \"a\";\n]"),
            "# first\n[\n  Depends = \"afterok:1\"; Executable = \"a\";\n]"
        );
        assert_eq!(
            given("Executable = \"a\"; Depends = { \"singleton\" }; StdOutput = \"b\""),
            "Executable = \"a\"; Depends = \"afterok:1\"; StdOutput = \"b\""
        );
        let two = with_depends("[ Executable = \"a\" ] [ Executable = \"b\" ]", "afterok:1");
        assert!(two.is_err());
    }
}
