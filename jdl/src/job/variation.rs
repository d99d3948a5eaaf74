//! What the tasks of one description differ in.
//!
//! What does not depend on a placeholder is made once, with the first task. A text with
//! placeholders is taken apart once and filled for each task. Only what is computed from
//! placeholders is computed for each task.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use fairway_model::TaskId;
use serde_json::{Map, Value as Json};

use super::attributes::{Attribute, Kind};
use super::description::varying;
use super::fields::Fields;
use super::parameters::{Bindings, Item, Parameters, Placeholders, Template};
use super::sandbox::Inputs;
use super::size::parts;
use super::task::Builder;
use super::values::Values;
use super::{Dialect, Needs, TaskSpec, lower, needs, schema};
use crate::diagnostic::Report;
use crate::syntax::{Node, Span};
use crate::{Ad, Expr, Value};

/// Of a job with computed values, so many tasks from the first on are checked,
/// and the last. Listed values are all checked.
const CHECKED_MAX: u32 = 1000;

/// gLite's variable with the task's value.
static PARAMETER_VALUE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("ParameterValue"));

/// Most that is made while tasks are checked, counted in parts of expressions.
const PARTS_MAX: usize = 50_000_000;

/// What the tasks differ in.
#[derive(Clone, Debug)]
pub(super) struct Variation {
    dialect: Dialect,
    /// `None` if the tasks only differ in their ids.
    parameters: Option<Parameters>,
    /// The attributes of the first task.
    lowered: Map<String, Json>,
    /// Names (in lower case) of the attributes that hold placeholders.
    marked: BTreeSet<String>,
    /// What a task is made from.
    task: Vec<Varying>,
    fields: Fields,
    /// What needs are made from.
    needs: Vec<Varying>,
    /// What is only looked at.
    other: Vec<Varying>,
}

/// An attribute that differs from task to task.
#[derive(Clone, Debug)]
struct Varying {
    attribute: &'static Attribute,
    form: Form,
}

/// How an attribute's value is made.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Text(Template),
    Texts(Vec<Item>),
    Computed,
}

impl Varying {
    /// `None` if there is nothing to fill in.
    fn of(attribute: &'static Attribute, ad: &Ad, placeholders: Placeholders<'_>) -> Option<Self> {
        let expr = ad.get(attribute.name)?;
        let form = match (attribute.kind, expr.node()) {
            (Kind::Text | Kind::Texts, Node::Literal(Value::String(text))) => {
                Form::Text(placeholders.template(text)?)
            }
            (Kind::Texts, Node::List(items)) => match items_of(items, placeholders) {
                Some(items) => Form::Texts(items),
                None => Form::Computed,
            },
            _ => Form::Computed,
        };
        Some(Self { attribute, form })
    }

    fn value(&self, ad: &Ad, bindings: &Bindings<'_>, report: &mut Report) -> Json {
        match &self.form {
            Form::Text(template) => Json::String(template.fill(bindings)),
            Form::Texts(items) => items
                .iter()
                .map(|item| match item {
                    Item::Fixed(text) => Json::String(String::from(&**text)),
                    Item::Filled(template) => Json::String(template.fill(bindings)),
                })
                .collect(),
            Form::Computed => match ad.get(self.attribute.name) {
                Some(expr) => lower::attribute_value(self.attribute, expr, ad, report),
                None => Json::Null,
            },
        }
    }
}

/// The items if all are texts.
fn items_of(items: &[Expr], placeholders: Placeholders<'_>) -> Option<Vec<Item>> {
    let item = |expr: &Expr| match expr.node() {
        Node::Literal(Value::String(text)) => Some(match placeholders.template(text) {
            Some(template) => Item::Filled(template),
            None => Item::Fixed(Arc::clone(text)),
        }),
        _ => None,
    };
    items.iter().map(item).collect()
}

impl Variation {
    pub(super) fn new(
        dialect: Dialect,
        ad: &Ad,
        lowered: Map<String, Json>,
        marked: BTreeSet<String>,
        parameters: Option<Parameters>,
    ) -> Self {
        let placeholders = Placeholders::new(dialect, parameters.as_ref());
        let (mut task, mut needs, mut other) = (Vec::new(), Vec::new(), Vec::new());
        let mut fields = Fields::default();
        for attribute in varying(ad, &marked) {
            let Some(varying) = Varying::of(attribute, ad, placeholders) else {
                continue;
            };
            if fields.mark(attribute.name, &varying.form, ad) {
                task.push(varying);
            } else if needs::SOURCES.contains(&attribute.name) && parameters.is_some() {
                needs.push(varying);
            } else {
                other.push(varying);
            }
        }
        // These name attributes that may differ themselves.
        if let Some(attribute) = super::attribute("JDLVariables")
            && ad.get(attribute.name).is_some()
            && !marked.is_empty()
        {
            fields.make_environment();
            let form = Form::Computed;
            task.push(Varying { attribute, form });
        }
        Self {
            dialect,
            parameters,
            lowered,
            marked,
            task,
            fields,
            needs,
            other,
        }
    }

    pub(super) fn task_count(&self) -> u32 {
        self.parameters.as_ref().map_or(1, Parameters::count)
    }

    pub(super) fn needs_differ(&self) -> bool {
        !self.needs.is_empty()
    }

    pub(super) fn needs(&self, ad: &Ad, index: u32) -> Needs {
        let mut report = Report::default();
        let bindings = self.bindings(index, None);
        self.with_values(&[&self.needs], ad, &bindings, &mut report, |builder| {
            builder.needs()
        })
    }

    /// A task, where it does not differ the same as the `first`.
    pub(super) fn task(
        &self,
        ad: &Ad,
        first: &TaskSpec,
        needs: Arc<Needs>,
        index: u32,
        id: TaskId,
    ) -> TaskSpec {
        let bindings = self.bindings(index, Some(id));
        let mut task = self.fields.common(first, needs);
        if self.fields.need_attributes() {
            // What could be wrong with it was told when the text was read.
            let mut report = Report::default();
            self.with_values(&[&self.task], ad, &bindings, &mut report, |builder| {
                self.fields.make(&mut task, builder);
            });
        }
        self.fields.fill(&mut task, &bindings);
        if let Some(value) = bindings.parameter_value() {
            let name = Arc::clone(&PARAMETER_VALUE);
            task.environment.push((name, value.into()));
        }
        task
    }

    /// Looks at the inputs of each task, if they differ, as long as there is more to see.
    pub(super) fn each_sandbox(&self, ad: &Ad, mut look: impl FnMut(Inputs) -> bool) {
        if !self.fields.inputs_differ() {
            return;
        }
        for index in 0..self.task_count() {
            let mut report = Report::default();
            let bindings = self.bindings(index, None);
            let inputs = self.with_values(&[&self.task], ad, &bindings, &mut report, |builder| {
                builder.inputs()
            });
            if !look(inputs) {
                return;
            }
        }
    }

    /// Checks the tasks after the first one, up to the first that is wrong.
    pub(super) fn check(&self, ad: &Ad, place: Option<Span>, report: &mut Report) {
        let Some(parameters) = self.parameters.as_ref() else {
            return;
        };
        let varying = [&*self.task, &self.needs, &self.other];
        if varying.iter().all(|varying| varying.is_empty()) {
            return;
        }
        let count = parameters.count();
        let checked = if parameters.has_lists() {
            count
        } else {
            count.min(CHECKED_MAX)
        };
        let marked = self.marked.iter().filter_map(|name| ad.get(name));
        let parts: usize = marked.map(parts).sum();
        if parts.saturating_mul(checked as usize) > PARTS_MAX {
            report.error_with(
                place.or_else(|| ad.name_span("Parameters")),
                format!("{count} tasks are too many for what each of them differs in"),
                "shorten the lists and texts that hold placeholders, or split the job",
            );
            return;
        }
        let last = (checked < count).then_some(count - 1);
        // The type of a text that is filled in stays what it is.
        let is_computed = |varying: &Varying| matches!(varying.form, Form::Computed);
        let types_differ = varying
            .iter()
            .any(|varying| varying.iter().any(is_computed));
        for index in (1..checked).chain(last) {
            let bindings = self.bindings(index, None);
            let mut found = Report::default();
            self.with_values(&varying, ad, &bindings, &mut found, |builder| {
                if types_differ {
                    check_types(builder, place);
                }
                self.fields.check(builder);
                if self.needs_differ() {
                    builder.needs();
                }
            });
            if found.has_errors() {
                report.append(found);
                let message = format!("task {index} of the job is wrong: {}", bindings.told());
                let help = "change that value, or where it is used";
                report.error_with(place, message, help);
                return;
            }
        }
    }

    fn bindings(&self, index: u32, id: Option<TaskId>) -> Bindings<'_> {
        Placeholders::new(self.dialect, self.parameters.as_ref()).bindings(index, id)
    }

    /// Does something with the attributes of one task.
    fn with_values<T>(
        &self,
        varying: &[&[Varying]],
        ad: &Ad,
        bindings: &Bindings<'_>,
        report: &mut Report,
        f: impl FnOnce(&mut Builder<'_>) -> T,
    ) -> T {
        let varying = || varying.iter().copied().flatten();
        let is_computed = varying().any(|varying| matches!(varying.form, Form::Computed));
        let filled = is_computed.then(|| {
            let mut filled = ad.clone();
            for name in &self.marked {
                if let Some(expr) = ad.get(name) {
                    filled.replace(name, bindings.fill(expr));
                }
            }
            filled
        });
        let ad = filled.as_ref().unwrap_or(ad);
        let varied = varying()
            .map(|varying| {
                let value = varying.value(ad, bindings, report);
                (varying.attribute.name, value)
            })
            .collect();
        f(&mut Builder {
            dialect: self.dialect,
            values: Values {
                lowered: &self.lowered,
                varied,
                ad,
            },
            report,
        })
    }
}

fn check_types(builder: &mut Builder<'_>, place: Option<Span>) {
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
}

#[cfg(test)]
impl Variation {
    /// The same, with nothing made from templates.
    pub(super) fn without_templates(&self) -> Self {
        let mut plain = self.clone();
        plain.fields = plain.fields.without_templates();
        for varying in &mut plain.task {
            varying.form = Form::Computed;
        }
        plain
    }
}
