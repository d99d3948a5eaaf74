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
use super::parameters::{Bindings, Item, Parameters, Placeholders, Template};
use super::sandbox::Inputs;
use super::task::Builder;
use super::values::Values;
use super::{Dialect, Needs, TaskSpec, lower, needs, sandbox, schema, task, words};
use crate::diagnostic::Report;
use crate::syntax::{Node, Span};
use crate::{Ad, Expr, Value};

/// Of a job with computed values, so many tasks from the first on are checked,
/// and the last. Listed values are all checked.
const CHECKED_MAX: u32 = 1000;

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

#[derive(Clone, Debug)]
enum Form {
    Text(Template),
    Texts(Vec<Item>),
    Computed,
}

/// How a part of a task is made.
#[derive(Clone, Debug, Default)]
enum Field<T> {
    /// It is that of the first task.
    #[default]
    Same,
    /// From templates: what the first task passed in checks is not checked again.
    Filled(T),
    /// From the attributes.
    Made,
}

/// How the parts of a task are made.
#[derive(Clone, Debug, Default)]
struct Fields {
    executable: Field<Template>,
    arguments: Field<Line>,
    environment: Field<Vec<Item>>,
    stdin: Field<()>,
    stdout: Field<Template>,
    stderr: Field<Template>,
    inputs: Field<()>,
    outputs: Field<Vec<Item>>,
}

/// A line that is split into words.
#[derive(Clone, Debug)]
struct Line {
    whole: Template,
    /// If the values are plain.
    words: Vec<Item>,
}

/// Longest list that is looked through for doubles, item by item.
const LIST_MAX: usize = 64;

impl Fields {
    /// Notes that an attribute differs; whether a task is made from it.
    fn mark(&mut self, varying: &Varying, ad: &Ad) -> bool {
        let has = |names: &[&str]| names.iter().any(|name| ad.get(name).is_some());
        let form = &varying.form;
        match varying.attribute.name {
            "Executable" => self.executable = form.text(),
            "StdOutput" => self.stdout = form.text(),
            "StdError" => self.stderr = form.text(),
            "Arguments" if !has(&["SplitArguments"]) => self.arguments = form.line(),
            "Environment" if !has(&["ExecutionEnvironment", "JDLVariables"]) => {
                self.environment = form.list();
            }
            "ExecutionEnvironment" if !has(&["Environment", "JDLVariables"]) => {
                self.environment = form.list();
            }
            "OutputSandbox" if !has(&["Output", "OutputFile", "OutputArchive"]) => {
                self.outputs = form.list();
            }
            "Arguments" | "SplitArguments" => self.arguments = Field::Made,
            "Environment" | "ExecutionEnvironment" | "JDLVariables" => {
                self.environment = Field::Made;
            }
            "StdInput" => self.stdin = Field::Made,
            "InputSandbox" | "InputSandboxDestFileName" | "InputSandboxBaseURI" | "InputFile" => {
                self.inputs = Field::Made;
            }
            "OutputSandbox" | "Output" | "OutputFile" | "OutputArchive" => {
                self.outputs = Field::Made;
            }
            _ => return false,
        }
        true
    }

    /// A task with those parts that are the same in all.
    fn common(&self, first: &TaskSpec, needs: Arc<Needs>) -> TaskSpec {
        fn list<T, U: Clone>(field: &Field<T>, first: &[U]) -> Vec<U> {
            match field {
                Field::Same => {
                    let mut list = Vec::with_capacity(first.len() + 1);
                    list.extend_from_slice(first);
                    list
                }
                _ => Vec::new(),
            }
        }
        TaskSpec {
            executable: Arc::clone(&first.executable),
            arguments: list(&self.arguments, &first.arguments),
            environment: list(&self.environment, &first.environment),
            stdin: first.stdin.clone(),
            stdout: first.stdout.clone(),
            stderr: first.stderr.clone(),
            inputs: Arc::clone(&first.inputs),
            outputs: list(&self.outputs, &first.outputs),
            needs,
        }
    }

    /// Whether the attributes themselves are needed to make a task.
    fn need_attributes(&self) -> bool {
        matches!(self.executable, Field::Made)
            || matches!(self.arguments, Field::Made)
            || matches!(self.environment, Field::Made)
            || matches!(self.stdin, Field::Made)
            || matches!(self.stdout, Field::Made)
            || matches!(self.stderr, Field::Made)
            || matches!(self.inputs, Field::Made)
            || matches!(self.outputs, Field::Made)
    }
}

impl Form {
    fn text(&self) -> Field<Template> {
        match self {
            Self::Text(template) => Field::Filled(template.clone()),
            _ => Field::Made,
        }
    }

    fn line(&self) -> Field<Line> {
        match self {
            Self::Text(whole) => match whole.words() {
                Some(words) => Field::Filled(Line {
                    whole: whole.clone(),
                    words,
                }),
                None => Field::Made,
            },
            _ => Field::Made,
        }
    }

    fn list(&self) -> Field<Vec<Item>> {
        match self {
            Self::Text(template) => Field::Filled(vec![Item::Filled(template.clone())]),
            Self::Texts(items) if items.len() <= LIST_MAX => Field::Filled(items.clone()),
            _ => Field::Made,
        }
    }
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
            if fields.mark(&varying, ad) {
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
            fields.environment = Field::Made;
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
            self.make(&mut task, ad, &bindings);
        }
        self.fill(&mut task, &bindings);
        if let Some(value) = bindings.parameter_value() {
            task.environment
                .push((Arc::clone(&PARAMETER_VALUE), value.into()));
        }
        task
    }

    /// Makes those parts that are made from attributes.
    fn make(&self, task: &mut TaskSpec, ad: &Ad, bindings: &Bindings<'_>) {
        // What could be wrong with it was told when the text was read.
        let mut report = Report::default();
        let fields = &self.fields;
        self.with_values(&[&self.task], ad, bindings, &mut report, |builder| {
            if let Field::Made = fields.executable {
                task.executable = builder.executable();
            }
            if let Field::Made = fields.arguments {
                task.arguments = builder.arguments();
            }
            if let Field::Made = fields.environment {
                task.environment = builder.environment();
            }
            if let Field::Made = fields.stdin {
                task.stdin = builder.stdin();
            }
            if let Field::Made = fields.stdout {
                task.stdout = builder.output_name("StdOutput");
            }
            if let Field::Made = fields.stderr {
                task.stderr = builder.output_name("StdError");
            }
            if let Field::Made = fields.inputs {
                task.inputs = builder.inputs().local.into();
            }
            if let Field::Made = fields.outputs {
                task.outputs = builder.outputs();
            }
        });
    }

    /// Fills in those parts that are made from templates.
    fn fill(&self, task: &mut TaskSpec, bindings: &Bindings<'_>) {
        let mut filler = Filler {
            bindings,
            text: String::new(),
        };
        if let Field::Filled(template) = &self.fields.executable {
            task.executable = task::program(filler.fill(template)).into();
        }
        if let Field::Filled(line) = &self.fields.arguments {
            task.arguments = filler.words(line);
        }
        if let Field::Filled(items) = &self.fields.environment {
            task.environment = filler.environment(items);
        }
        if let Field::Filled(template) = &self.fields.stdout {
            task.stdout = filler.output_name(template);
        }
        if let Field::Filled(template) = &self.fields.stderr {
            task.stderr = filler.output_name(template);
        }
        if let Field::Filled(items) = &self.fields.outputs {
            task.outputs = filler.outputs(items);
        }
    }

    /// Looks at the inputs of each task, if they differ, as long as there is more to see.
    pub(super) fn each_sandbox(&self, ad: &Ad, mut look: impl FnMut(Inputs) -> bool) {
        if matches!(self.fields.inputs, Field::Same) {
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
                self.check_task(builder);
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

    fn check_task(&self, builder: &mut Builder<'_>) {
        let fields = &self.fields;
        if !matches!(fields.executable, Field::Same) {
            builder.executable();
        }
        if !matches!(fields.arguments, Field::Same) {
            builder.arguments();
        }
        if !matches!(fields.environment, Field::Same) {
            builder.environment();
        }
        if !matches!(fields.stdin, Field::Same) {
            builder.stdin();
        }
        if !matches!(fields.stdout, Field::Same) {
            builder.output_name("StdOutput");
        }
        if !matches!(fields.stderr, Field::Same) {
            builder.output_name("StdError");
        }
        if !matches!(fields.inputs, Field::Same) {
            builder.inputs();
        }
        if !matches!(fields.outputs, Field::Same) {
            builder.outputs();
        }
        if self.needs_differ() {
            builder.needs();
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

static PARAMETER_VALUE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("ParameterValue"));

/// Fills templates with the values of one task.
struct Filler<'a> {
    bindings: &'a Bindings<'a>,
    /// The text that is being made.
    text: String,
}

impl Filler<'_> {
    fn fill(&mut self, template: &Template) -> &str {
        self.text.clear();
        template.fill_into(self.bindings, &mut self.text);
        &self.text
    }

    fn words(&mut self, line: &Line) -> Vec<Arc<str>> {
        if !self.bindings.are_plain() {
            let words = words::split(self.fill(&line.whole).trim());
            return words
                .unwrap_or_default()
                .into_iter()
                .map(Arc::from)
                .collect();
        }
        let words = line.words.iter().map(|word| match word {
            Item::Fixed(word) => Arc::clone(word),
            Item::Filled(word) => self.fill(word).into(),
        });
        words.collect()
    }

    fn output_name(&mut self, template: &Template) -> Option<Arc<str>> {
        let name = self.fill(template).trim();
        let name = match name.strip_prefix('/') {
            Some(path) => path.rsplit('/').next().unwrap_or_default(),
            None => name,
        };
        sandbox::folder_name(name).map(Arc::from)
    }

    fn environment(&mut self, items: &[Item]) -> Vec<(Arc<str>, Arc<str>)> {
        let mut variables: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(items.len() + 1);
        for item in items {
            let entry = match item {
                Item::Fixed(entry) => entry,
                Item::Filled(template) => self.fill(template),
            };
            let Some((name, value)) = task::assignment(entry) else {
                continue;
            };
            match variables.iter_mut().find(|(known, _)| **known == *name) {
                Some(known) => known.1 = value.into(),
                None => variables.push((name.into(), value.into())),
            }
        }
        variables
    }

    fn outputs(&mut self, items: &[Item]) -> Vec<Arc<str>> {
        let mut outputs: Vec<Arc<str>> = Vec::with_capacity(items.len());
        for item in items {
            let written = match item {
                Item::Fixed(name) => name,
                Item::Filled(template) => self.fill(template),
            };
            let Some(name) = sandbox::folder_name(written.trim()) else {
                continue;
            };
            if !outputs.iter().any(|known| **known == *name) {
                outputs.push(match item {
                    Item::Fixed(whole) if whole.len() == name.len() => Arc::clone(whole),
                    _ => name.into(),
                });
            }
        }
        outputs
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
        let fields = &mut plain.fields;
        fields.executable = Field::Made;
        fields.arguments = Field::Made;
        fields.environment = Field::Made;
        fields.stdout = Field::Made;
        fields.stderr = Field::Made;
        fields.outputs = Field::Made;
        for varying in &mut plain.task {
            varying.form = Form::Computed;
        }
        plain
    }
}
