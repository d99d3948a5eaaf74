//! One task, made from the lowered attributes, with everything checked that the
//! schema cannot say.

use std::sync::Arc;

use indexmap::IndexMap;

use super::sandbox::shown;
use super::values::Values;
use super::words::{self, Unbalanced};
use super::{Dialect, Needs, TaskSpec};
use crate::diagnostic::Report;
use crate::syntax::Span;
use crate::{Ad, Value, eval};

/// Variables of this prefix tell the task what it is; a job cannot set them.
const RESERVED_PREFIX: &str = "FAIRWAY_";

/// What AliEn puts between the items of a list in a variable.
const ALIEN_LIST_MARK: &str = "##";

/// Makes a task, and reports what is wrong with it where that stands in the text.
pub(super) struct Builder<'a> {
    pub(super) dialect: Dialect,
    pub(super) values: Values<'a>,
    pub(super) report: &'a mut Report,
}

impl Builder<'_> {
    /// The task, and those of its inputs that cannot be had.
    pub(super) fn task(&mut self, needs: Arc<Needs>) -> (TaskSpec, Vec<String>) {
        let inputs = self.inputs();
        let task = TaskSpec {
            executable: self.executable(),
            arguments: self.arguments(),
            environment: self.environment(),
            stdin: self.stdin(),
            stdout: self.output_name("StdOutput"),
            stderr: self.output_name("StdError"),
            inputs: inputs.local.into(),
            outputs: self.outputs(),
            needs,
        };
        (task, inputs.absent)
    }

    pub(super) fn executable(&mut self) -> Arc<str> {
        let text = self.values.raw("Executable");
        if text.is_some_and(|text| text.trim().is_empty()) {
            let place = self.values.place("Executable");
            let help = "say what to run: `Executable = \"program\";`";
            self.report.error_with(place, "`Executable` is empty", help);
        }
        program(text.unwrap_or_default()).into()
    }

    pub(super) fn arguments(&mut self) -> Vec<Arc<str>> {
        let place = self.values.place("Arguments");
        let line = self.values.text("Arguments").unwrap_or_default();
        let mut words = split("Arguments", line, place, self.report);
        // AliEn makes a task of each; several are refused where they are counted.
        if let [(line, place)] = &*self.values.texts("SplitArguments") {
            words.extend(split("SplitArguments", line, *place, self.report));
        }
        words.into_iter().map(Arc::from).collect()
    }

    pub(super) fn environment(&mut self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut variables = IndexMap::new();
        for attribute in ["Environment", "ExecutionEnvironment"] {
            for (entry, place) in self.values.texts(attribute) {
                if entry.trim().is_empty() {
                    continue;
                }
                if let Some((name, value)) = variable(entry, place, self.report) {
                    variables.insert(Arc::from(name), Arc::from(value));
                }
            }
        }
        for (name, _) in self.values.texts("JDLVariables") {
            if let Some(value) = alien_variable(self.values.ad, name) {
                let name = format!("ALIEN_JDL_{}", name.to_ascii_uppercase());
                variables.insert(name.into(), value.into());
            }
        }
        variables.into_iter().collect()
    }
}

fn split(attribute: &str, line: &str, place: Option<Span>, report: &mut Report) -> Vec<String> {
    let (words, unbalanced) = words_of(line);
    if let Some(unbalanced) = unbalanced {
        report.warn(
            place,
            format!("`{attribute}` is split at its blanks only: {unbalanced}"),
            "close the quote, or put `\\\\` before it to mean the character itself",
        );
    }
    words
}

/// The words of a line as a shell would split it; if it cannot, what is between blanks.
pub(super) fn words_of(line: &str) -> (Vec<String>, Option<Unbalanced>) {
    match words::split(line) {
        Ok(words) => (words, None),
        Err(unbalanced) => {
            let words = line.split_whitespace().map(str::to_owned).collect();
            (words, Some(unbalanced))
        }
    }
}

/// What a program of AliEn finds of an attribute of its job; `None` if there is nothing.
fn alien_variable(ad: &Ad, name: &str) -> Option<String> {
    let text = |value: &Value| match value {
        Value::Undefined | Value::Error => None,
        Value::String(text) => Some(text.to_string()),
        value => Some(value.to_string()),
    };
    match eval(ad.get(name)?, ad, None) {
        Value::List(items) => {
            let items: Vec<String> = items.iter().filter_map(text).collect();
            Some(items.join(ALIEN_LIST_MARK))
        }
        value => text(&value),
    }
}

/// The program that `Executable` names. A file of the input sandbox is named as it is in the
/// task's folder.
pub(super) fn program(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("./").unwrap_or(text)
}

/// The name and the value of a variable; `None` if there is no name.
pub(super) fn assignment(entry: &str) -> Option<(&str, &str)> {
    let (name, value) = entry.split_once('=')?;
    let name = name.trim();
    (!name.is_empty() && !entry.contains('\0')).then_some((name, value))
}

fn variable<'t>(
    entry: &'t str,
    place: Option<Span>,
    report: &mut Report,
) -> Option<(&'t str, &'t str)> {
    let Some((name, value)) = assignment(entry) else {
        report.warn(
            place,
            format!("`{}` does not set a variable", shown(entry)),
            "write \"NAME=value\"",
        );
        return None;
    };
    if !is_variable(name) {
        report.warn(
            place,
            format!("a shell does not see the variable `{}`", shown(name)),
            "a name has letters, digits and `_`, and no digit in front",
        );
    }
    if name.starts_with(RESERVED_PREFIX) {
        report.error_with(
            place,
            format!("variables that begin with `{RESERVED_PREFIX}` are reserved"),
            "choose another name",
        );
        return None;
    }
    Some((name, value))
}

/// Letters, digits and `_`, and not a digit in front.
fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
