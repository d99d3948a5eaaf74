//! One ad that makes tasks: a job, or a node of a compound job.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use fairway_model::TaskId;
use indexmap::IndexSet;
use serde_json::{Map, Value as Json};

use super::attributes::{self, Attribute};
use super::dialect::{has_percent_mark, holds_text};
use super::parameters::{ALIEN_MARK, Bindings, GLITE_MARK, Parameters};
use super::sandbox::Inputs;
use super::values::Values;
use super::{Dialect, INPUTS_MAX, InputName, Needs, TaskSpec, lower, needs, schema, task};
use crate::Ad;
use crate::diagnostic::Report;
use crate::syntax::Span;

/// Of a job with computed values, so many tasks from the first on are checked,
/// and the last. Listed values are all checked.
const CHECKED_MAX: u32 = 1000;

/// A checked ad. It stays one value however many tasks it makes.
#[derive(Clone, Debug)]
pub(super) struct Description {
    dialect: Dialect,
    ad: Ad,
    /// The known attributes of the first task, without the parameters' values.
    lowered: Map<String, Json>,
    parameters: Option<Parameters>,
    /// Names (in lower case) of the attributes that hold placeholders.
    marked: BTreeSet<String>,
    /// Known attributes that differ from task to task.
    varying: Vec<&'static Attribute>,
    /// The needs, if they are those of all tasks.
    needs: Option<Arc<Needs>>,
}

/// An ad that is to be checked.
pub(super) struct Draft {
    pub(super) dialect: Dialect,
    pub(super) ad: Ad,
    pub(super) parameters: Option<Parameters>,
    /// What could not be read of the text may be what is missing here.
    pub(super) broken: bool,
    /// Where the ad stands, if it is a part of the text.
    pub(super) place: Option<Span>,
}

impl Draft {
    /// The ad of the first task.
    fn filled(&self) -> Ad {
        let bindings = match &self.parameters {
            Some(parameters) => parameters.bindings(0, None),
            None => Bindings::plain(self.dialect, None),
        };
        let mut first = self.ad.clone();
        for (name, expr) in self.ad.iter() {
            first.replace(name, bindings.fill(expr));
        }
        first
    }

    /// Checks everything, also after errors, so that all are told at once; `None` after
    /// an error.
    pub(super) fn check(self, report: &mut Report) -> Option<Description> {
        let first = self.filled();
        let mut lowered = lower::lower(&first, report);
        if self.broken {
            lowered.entry("Executable").or_insert_with(lower::unread);
        }
        let lowered = Json::Object(lowered);
        schema::check(&lowered, &first, self.place, report);
        let Json::Object(mut lowered) = lowered else {
            return None;
        };
        lowered.remove("Parameters"); // may be as long as the text, and is in `parameters`
        let marked = marked(&self.ad, self.dialect, self.parameters.is_some());
        let varying = attributes::all()
            .filter(|attribute| depends_on(&self.ad, attribute.name, &marked))
            .collect();
        let mut checked = Description {
            dialect: self.dialect,
            ad: self.ad,
            lowered,
            parameters: self.parameters,
            marked,
            varying,
            needs: None,
        };
        let needs = {
            let mut builder = task::Builder {
                dialect: checked.dialect,
                values: Values {
                    lowered: &checked.lowered,
                    varied: Vec::new(),
                    ad: &first,
                },
                report,
            };
            builder.check_together();
            let needs = Arc::new(builder.needs());
            builder.task(Arc::clone(&needs), None);
            needs
        };
        if report.has_errors() {
            return None;
        }
        let differ = checked.parameters.is_some()
            && needs::SOURCES
                .iter()
                .any(|name| depends_on(&checked.ad, name, &checked.marked));
        if !differ {
            checked.needs = Some(needs);
        }
        checked.check_tasks(self.place, report);
        Some(checked)
    }
}

impl Description {
    pub(super) fn ad(&self) -> &Ad {
        &self.ad
    }

    /// How many tasks it makes; at least 1.
    pub(super) fn task_count(&self) -> u32 {
        self.parameters.as_ref().map_or(1, Parameters::count)
    }

    /// The needs, if they are those of all its tasks.
    pub(super) fn uniform_needs(&self) -> Option<&Arc<Needs>> {
        self.needs.as_ref()
    }

    /// Takes an equal value that others have too.
    pub(super) fn share_needs(&mut self, needs: Arc<Needs>) {
        self.needs = Some(needs);
    }

    /// What the task `index` of this description needs of a site.
    pub(super) fn needs(&self, index: u32) -> Arc<Needs> {
        if let Some(needs) = &self.needs {
            return Arc::clone(needs);
        }
        let mut report = Report::default();
        Arc::new(self.with_task(index, None, &mut report, |builder, _| builder.needs()))
    }

    /// The task `index` of this description, which is `id` in its job.
    pub(super) fn task(&self, index: u32, id: TaskId) -> TaskSpec {
        let needs = self.needs(index);
        // What could be wrong with it was told when the text was read.
        let mut report = Report::default();
        self.with_task(index, Some(id), &mut report, |builder, bindings| {
            builder.task(needs, bindings.parameter_value())
        })
    }

    /// Adds every file that some task's InputSandbox names and its submitter has.
    pub(super) fn inputs(&self, inputs: &mut IndexSet<InputName>) {
        self.each_sandbox(|sandbox| {
            inputs.extend(sandbox.local);
            inputs.len() <= INPUTS_MAX
        });
    }

    /// Adds every file that some task's InputSandbox names and that is elsewhere.
    pub(super) fn remote_inputs(&self, inputs: &mut IndexSet<String>) {
        self.each_sandbox(|sandbox| {
            inputs.extend(sandbox.remote);
            inputs.len() <= INPUTS_MAX
        });
    }

    /// Looks at the inputs of each task, as long as there is more to see.
    fn each_sandbox(&self, mut look: impl FnMut(Inputs) -> bool) {
        let varies = self
            .varying
            .iter()
            .any(|attribute| attribute.name.starts_with("Input"));
        let tasks = if varies { self.task_count() } else { 1 };
        for index in 0..tasks {
            let mut report = Report::default();
            let inputs = self.with_task(index, None, &mut report, |builder, _| builder.inputs());
            if !look(inputs) {
                break;
            }
        }
    }

    /// Checks the tasks after the first one, up to the first that is wrong.
    fn check_tasks(&self, place: Option<Span>, report: &mut Report) {
        let Some(parameters) = self.parameters.as_ref() else {
            return;
        };
        if self.varying.is_empty() {
            return;
        }
        let count = parameters.count();
        let checked = if parameters.has_lists() {
            count
        } else {
            count.min(CHECKED_MAX)
        };
        let last = (checked < count).then_some(count - 1);
        for index in (1..checked).chain(last) {
            let mut found = Report::default();
            let needs = self.needs.clone();
            self.with_task(index, None, &mut found, |builder, _| {
                let varied = builder.values.varied.iter();
                let mut varied: Map<_, _> = varied
                    .map(|(name, json)| ((*name).to_owned(), json.clone()))
                    .collect();
                varied
                    .entry("Executable") // the schema asks for it
                    .or_insert_with(lower::unread);
                schema::check(
                    &Json::Object(varied),
                    builder.values.ad,
                    place,
                    builder.report,
                );
                let needs = needs.unwrap_or_else(|| Arc::new(builder.needs()));
                builder.task(needs, None)
            });
            if found.has_errors() {
                report.append(found);
                report.error_with(
                    place,
                    format!(
                        "task {index} of the job is wrong: {}",
                        parameters.told(index)
                    ),
                    "change that value, or where it is used",
                );
                return;
            }
        }
    }

    /// Does something with the attributes of one task.
    fn with_task<T>(
        &self,
        index: u32,
        id: Option<TaskId>,
        report: &mut Report,
        f: impl FnOnce(&mut task::Builder<'_>, &Bindings) -> T,
    ) -> T {
        let id = id.map(|id| id.to_string());
        let bindings = match &self.parameters {
            Some(parameters) => parameters.bindings(index, id),
            None => Bindings::plain(self.dialect, id),
        };
        if self.varying.is_empty() {
            let mut builder = task::Builder {
                dialect: self.dialect,
                values: Values {
                    lowered: &self.lowered,
                    varied: Vec::new(),
                    ad: &self.ad,
                },
                report,
            };
            return f(&mut builder, &bindings);
        }
        let mut ad = self.ad.clone();
        for name in &self.marked {
            if let Some(expr) = self.ad.get(name) {
                ad.replace(name, bindings.fill(expr));
            }
        }
        let mut varied = Vec::new();
        for attribute in &self.varying {
            if let Some(expr) = ad.get(attribute.name) {
                let json = lower::attribute_value(attribute, expr, &ad, report);
                varied.push((attribute.name, json));
            }
        }
        let mut builder = task::Builder {
            dialect: self.dialect,
            values: Values {
                lowered: &self.lowered,
                varied,
                ad: &ad,
            },
            report,
        };
        f(&mut builder, &bindings)
    }
}

/// The attributes (in lower case) that hold placeholders.
fn marked(ad: &Ad, dialect: Dialect, parametric: bool) -> BTreeSet<String> {
    let test = |text: &str| match dialect {
        Dialect::Glite => parametric && text.contains(GLITE_MARK),
        Dialect::Alien => parametric && text.contains(ALIEN_MARK),
        Dialect::Dirac if parametric => has_percent_mark(text),
        Dialect::Dirac => text.contains("%j"),
    };
    ad.iter()
        .filter(|(_, expr)| holds_text(expr, &test))
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect()
}

/// Whether an attribute holds a placeholder, or refers to one that does.
fn depends_on(ad: &Ad, name: &str, marked: &BTreeSet<String>) -> bool {
    if marked.is_empty() {
        return false;
    }
    let mut seen = HashSet::new();
    let mut open = vec![name.to_ascii_lowercase()];
    while let Some(name) = open.pop() {
        let Some(expr) = ad.find(&name) else { continue };
        if marked.contains(&name) {
            return true;
        }
        if seen.insert(name) {
            open.extend(needs::names(expr, ad));
        }
    }
    false
}
