//! The parts of a task, each made in the cheapest way: once for all tasks, from a template
//! that is filled for each, or from the attributes of each.

use std::sync::Arc;

use super::parameters::{Bindings, Item, Template};
use super::task::Builder;
use super::variation::Form;
use super::{Needs, TaskSpec, sandbox, task};
use crate::Ad;

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

impl<T> Field<T> {
    fn differs(&self) -> bool {
        !matches!(self, Self::Same)
    }
}

/// How the parts of a task are made.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
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
    pub(super) fn mark(&mut self, name: &str, form: &Form, ad: &Ad) -> bool {
        let has = |names: &[&str]| names.iter().any(|name| ad.get(name).is_some());
        match name {
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
    pub(super) fn common(&self, first: &TaskSpec, needs: Arc<Needs>) -> TaskSpec {
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
    pub(super) fn need_attributes(&self) -> bool {
        matches!(self.executable, Field::Made)
            || matches!(self.arguments, Field::Made)
            || matches!(self.environment, Field::Made)
            || matches!(self.stdin, Field::Made)
            || matches!(self.stdout, Field::Made)
            || matches!(self.stderr, Field::Made)
            || matches!(self.inputs, Field::Made)
            || matches!(self.outputs, Field::Made)
    }

    /// Makes those parts that are made from attributes.
    pub(super) fn make(&self, task: &mut TaskSpec, builder: &mut Builder<'_>) {
        if let Field::Made = self.executable {
            task.executable = builder.executable();
        }
        if let Field::Made = self.arguments {
            task.arguments = builder.arguments();
        }
        if let Field::Made = self.environment {
            task.environment = builder.environment();
        }
        if let Field::Made = self.stdin {
            task.stdin = builder.stdin();
        }
        if let Field::Made = self.stdout {
            task.stdout = builder.output_name("StdOutput");
        }
        if let Field::Made = self.stderr {
            task.stderr = builder.output_name("StdError");
        }
        if let Field::Made = self.inputs {
            task.inputs = builder.inputs().local.into();
        }
        if let Field::Made = self.outputs {
            task.outputs = builder.outputs();
        }
    }

    /// Fills in those parts that are made from templates.
    pub(super) fn fill(&self, task: &mut TaskSpec, bindings: &Bindings<'_>) {
        let mut filler = Filler {
            bindings,
            text: String::new(),
        };
        if let Field::Filled(template) = &self.executable {
            task.executable = task::program(filler.fill(template)).into();
        }
        if let Field::Filled(line) = &self.arguments {
            task.arguments = filler.words(line);
        }
        if let Field::Filled(items) = &self.environment {
            task.environment = filler.environment(items);
        }
        if let Field::Filled(template) = &self.stdout {
            task.stdout = filler.output_name(template);
        }
        if let Field::Filled(template) = &self.stderr {
            task.stderr = filler.output_name(template);
        }
        if let Field::Filled(items) = &self.outputs {
            task.outputs = filler.outputs(items);
        }
    }

    /// Makes those parts that differ, to see what is wrong with them.
    pub(super) fn check(&self, builder: &mut Builder<'_>) {
        if self.executable.differs() {
            builder.executable();
        }
        if self.arguments.differs() {
            builder.arguments();
        }
        if self.environment.differs() {
            builder.environment();
        }
        if self.stdin.differs() {
            builder.stdin();
        }
        if self.stdout.differs() {
            builder.output_name("StdOutput");
        }
        if self.stderr.differs() {
            builder.output_name("StdError");
        }
        if self.inputs.differs() {
            builder.inputs();
        }
        if self.outputs.differs() {
            builder.outputs();
        }
    }

    pub(super) fn inputs_differ(&self) -> bool {
        self.inputs.differs()
    }

    /// Has the variables made from the attributes.
    pub(super) fn make_environment(&mut self) {
        self.environment = Field::Made;
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
            let (words, _) = task::words_of(self.fill(&line.whole).trim());
            return words.into_iter().map(Arc::from).collect();
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

#[cfg(test)]
impl Fields {
    /// The same, with nothing made from templates.
    pub(super) fn without_templates(&self) -> Self {
        fn made<T>(field: &Field<T>) -> Field<T> {
            match field {
                Field::Same => Field::Same,
                _ => Field::Made,
            }
        }
        Self {
            executable: made(&self.executable),
            arguments: made(&self.arguments),
            environment: made(&self.environment),
            stdin: made(&self.stdin),
            stdout: made(&self.stdout),
            stderr: made(&self.stderr),
            inputs: made(&self.inputs),
            outputs: made(&self.outputs),
        }
    }
}
