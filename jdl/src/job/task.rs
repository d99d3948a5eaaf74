//! One task, made from the lowered attributes, with everything checked that the
//! schema cannot say.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{InputName, Needs, TaskSpec, words};
use crate::Ad;
use crate::diagnostic::Report;
use crate::syntax::{Node, Span};

/// Variables of this prefix tell the task what it is; a job cannot set them.
const RESERVED_PREFIX: &str = "FAIRWAY_";

/// Reads attributes from their lowered form, and reports where they stand in the ad.
pub(super) struct Builder<'a> {
    pub(super) lowered: &'a Map<String, Json>,
    /// What this task has instead.
    pub(super) varied: Map<String, Json>,
    /// The ad that it was made from, for the places.
    pub(super) ad: &'a Ad,
    pub(super) report: &'a mut Report,
}

impl Builder<'_> {
    /// The task. `parameter` is gLite's `ParameterValue`.
    pub(super) fn task(&mut self, needs: Arc<Needs>, parameter: Option<&str>) -> TaskSpec {
        TaskSpec {
            executable: self.executable(),
            arguments: self.arguments(),
            environment: self.environment(parameter),
            stdin: self.stdin(),
            stdout: self.output_name("StdOutput"),
            stderr: self.output_name("StdError"),
            inputs: self.inputs(),
            outputs: self.outputs(),
            needs,
        }
    }

    fn json(&self, name: &str) -> Option<&Json> {
        self.varied.get(name).or_else(|| self.lowered.get(name))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.json(name)
            .and_then(Json::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        // -1, for "none", is as good as 0.
        let number = self.json(name).and_then(Json::as_i64)?;
        Some(u64::try_from(number).unwrap_or(0))
    }

    /// The texts of an attribute, with their places. A text alone is a list of one.
    pub(super) fn texts(&self, name: &str) -> Vec<(String, Option<Span>)> {
        let expr = self.ad.get(name);
        match self.json(name) {
            Some(Json::String(text)) => vec![(text.clone(), expr.map(crate::Expr::span))],
            Some(Json::Array(items)) => {
                let place = |i: usize| match expr.map(crate::Expr::node) {
                    Some(Node::List(exprs)) => exprs.get(i).map(crate::Expr::span),
                    _ => expr.map(crate::Expr::span),
                };
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(i, item)| Some((item.as_str()?.to_owned(), place(i))))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn place(&self, name: &str) -> Option<Span> {
        self.ad.get(name).map(crate::Expr::span)
    }

    fn executable(&mut self) -> String {
        let text = self.text("Executable").unwrap_or_default().to_owned();
        let given = self.json("Executable").and_then(Json::as_str);
        if text.is_empty() && given.is_some_and(|given| !given.is_empty()) {
            let place = self.place("Executable");
            let help = "say what to run: `Executable = \"program\";`";
            self.report.error_with(place, "`Executable` is empty", help);
        }
        // A file of the input sandbox is named as it is in the task's folder.
        text.strip_prefix("./").map(str::to_owned).unwrap_or(text)
    }

    fn arguments(&mut self) -> Vec<String> {
        let Some(line) = self.text("Arguments") else {
            return Vec::new();
        };
        match words::split(line) {
            Ok(words) => words,
            Err(unbalanced) => {
                let place = self.place("Arguments");
                self.report.error_with(
                    place,
                    format!("`Arguments` cannot be split into words: {unbalanced}"),
                    "close the quote, or put `\\\\` before it to mean the character itself",
                );
                Vec::new()
            }
        }
    }

    fn environment(&mut self, parameter: Option<&str>) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        for attribute in ["Environment", "ExecutionEnvironment"] {
            for (entry, place) in self.texts(attribute) {
                if entry.trim().is_empty() {
                    continue;
                }
                if let Some(variable) = self.variable(&entry, place) {
                    variables.retain(|(name, _)| *name != variable.0);
                    variables.push(variable);
                }
            }
        }
        if let Some(value) = parameter {
            variables.push(("ParameterValue".to_owned(), value.to_owned()));
        }
        variables
    }

    fn variable(&mut self, entry: &str, place: Option<Span>) -> Option<(String, String)> {
        let split = entry
            .split_once('=')
            .map(|(name, value)| (name.trim(), value));
        let Some((name, value)) = split.filter(|(name, _)| is_variable(name)) else {
            self.report.error_with(
                place,
                format!("`{}` does not set a variable", shown(entry)),
                "write \"NAME=value\"; a name has letters, digits and `_`",
            );
            return None;
        };
        if name.starts_with(RESERVED_PREFIX) {
            self.report.error_with(
                place,
                format!("variables that begin with `{RESERVED_PREFIX}` are reserved"),
                "choose another name",
            );
            return None;
        }
        Some((name.to_owned(), value.to_owned()))
    }

    fn stdin(&mut self) -> Option<String> {
        let name = self.text("StdInput")?.to_owned();
        if name.starts_with('/') {
            return Some(name);
        }
        let place = self.place("StdInput");
        self.inside("StdInput", &name, place)
    }

    fn output_name(&mut self, attribute: &str) -> Option<String> {
        let name = self.text(attribute)?.to_owned();
        let place = self.place(attribute);
        self.inside(attribute, &name, place)
    }

    fn outputs(&mut self) -> Vec<String> {
        let mut outputs = Vec::new();
        for (name, place) in self.texts("OutputSandbox") {
            let name = name.trim();
            if name.is_empty() {
                let help = "remove it";
                self.report.warn(
                    place,
                    "an empty name in `OutputSandbox` means nothing",
                    help,
                );
            } else if let Some(name) = self.inside("OutputSandbox", name, place)
                && !outputs.contains(&name)
            {
                outputs.push(name);
            }
        }
        outputs
    }

    /// A name in the task's folder: relative, and not leading out of it.
    fn inside(&mut self, attribute: &str, name: &str, place: Option<Span>) -> Option<String> {
        let (message, help) = if let Some(scheme) = url_scheme(name) {
            (
                format!("`{attribute}` cannot be at a URL: {scheme}"),
                "name a file in the task's folder; it is kept by the server",
            )
        } else if name.starts_with('/') {
            (
                format!(
                    "`{attribute}` must be in the task's folder: `{}`",
                    shown(name)
                ),
                "write a relative name, such as \"result.txt\"",
            )
        } else if name.split('/').any(|part| part == "..") {
            (
                format!("`{}` leads out of the task's folder", shown(name)),
                "remove the `..`: only files in the task's folder can be named",
            )
        } else if name.contains('\0') || name.ends_with('/') {
            (
                format!("`{}` is not the name of a file", shown(name)),
                "name a file in the task's folder",
            )
        } else {
            return Some(name.strip_prefix("./").unwrap_or(name).to_owned());
        };
        self.report.error_with(place, message, help);
        None
    }

    pub(super) fn inputs(&mut self) -> Vec<InputName> {
        let paths = self.texts("InputSandbox");
        if let Some(base) = self.text("InputSandboxBaseURI").map(shown)
            && !paths.is_empty()
        {
            let place = self.place("InputSandboxBaseURI");
            self.report.error_with(
                place,
                format!("input files cannot be fetched from `{base}` yet"),
                "remove `InputSandboxBaseURI` and have the files on your machine",
            );
        }
        let names = self.texts("InputSandboxDestFileName");
        if !names.is_empty() && names.len() != paths.len() {
            let place = self.place("InputSandboxDestFileName");
            self.report.error_with(
                place,
                format!(
                    "`InputSandboxDestFileName` has {} names for the {} files of `InputSandbox`",
                    names.len(),
                    paths.len()
                ),
                "give one name for each file, in the same order",
            );
            return Vec::new();
        }
        let mut inputs: Vec<InputName> = Vec::new();
        let mut taken = std::collections::HashSet::new();
        for (i, (path, place)) in paths.into_iter().enumerate() {
            if path.trim().is_empty() {
                let help = "remove it";
                self.report
                    .warn(place, "an empty name in `InputSandbox` means nothing", help);
                continue;
            }
            let renamed = names.get(i).map(|(name, _)| name.as_str());
            let Some(input) = self.input(path.trim(), renamed, place) else {
                continue;
            };
            if !taken.insert(input.name.clone()) {
                self.report.error_with(
                    place,
                    format!(
                        "two files of `InputSandbox` have the name `{}`",
                        shown(&input.name)
                    ),
                    "all files go into one folder: rename one, or use `InputSandboxDestFileName`",
                );
                continue;
            }
            inputs.push(input);
        }
        inputs
    }

    fn input(
        &mut self,
        path: &str,
        renamed: Option<&str>,
        place: Option<Span>,
    ) -> Option<InputName> {
        let mut local = path;
        if let Some(rest) = path.strip_prefix("file://") {
            local = rest.strip_prefix("localhost").unwrap_or(rest);
        } else if let Some(scheme) = url_scheme(path) {
            self.report.error_with(
                place,
                format!("`{}` is not fetched yet", shown(path)),
                format!("copy the file to your machine first: `{scheme}` cannot be read"),
            );
            return None;
        }
        let name = renamed.unwrap_or_else(|| local.rsplit('/').next().unwrap_or(local));
        let (message, help) = if local.contains(['*', '?', '[']) {
            (
                "patterns are not expanded in `InputSandbox`",
                "name each file",
            )
        } else if name.is_empty() || name == "." || name == ".." {
            (
                "`InputSandbox` must name a file",
                "a folder must be packed first, e.g. with tar",
            )
        } else if name.contains(['/', '\0']) || local.contains('\0') {
            (
                "a file's name in the task's folder has no `/`",
                "write the name alone",
            )
        } else {
            return Some(InputName {
                path: local.to_owned(),
                name: name.to_owned(),
            });
        };
        let message = format!("{message}: `{}`", shown(path));
        self.report.error_with(place, message, help);
        None
    }
}

/// Letters, digits and `_`, and not a digit in front.
fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What stands before the first `:` if the name is a URL or DIRAC's `LFN:`, `SB:`.
fn url_scheme(name: &str) -> Option<&str> {
    let (scheme, rest) = name.split_once(':')?;
    let known = ["lfn", "sb", "pfn", "guid", "lf", "pf"];
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_scheme && (rest.starts_with("//") || known.contains(&&*scheme.to_ascii_lowercase())))
        .then_some(scheme)
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
