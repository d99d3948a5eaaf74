//! The files of a task: what goes with it, what is brought back.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexSet;

use super::compound::inherit::NODE_SCHEME;
use super::task::Builder;
use super::{Dialect, InputName};
use crate::diagnostic::Report;
use crate::syntax::Span;

/// The files that go with a task.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Those that the submitter has.
    pub(super) local: Vec<InputName>,
    /// Those that cannot be had: URIs, names of a catalogue, folders and patterns.
    pub(super) absent: Vec<String>,
}

/// Why an input is not one.
enum Unusable {
    /// It cannot be had.
    Absent {
        written: String,
        why: &'static str,
        help: &'static str,
    },
    /// What it would be called is not a file's name.
    Misnamed,
}

impl Unusable {
    fn elsewhere(written: String) -> Self {
        Self::Absent {
            written,
            why: "is elsewhere and is not fetched",
            help: "to submit this job, copy the file to your machine and name it by its path",
        }
    }
}

impl Builder<'_> {
    pub(super) fn stdin(&mut self) -> Option<Arc<str>> {
        let name = self.values.text("StdInput")?;
        if name.starts_with('/') {
            return Some(name.into());
        }
        inside("StdInput", name, self.values.place("StdInput"), self.report)
    }

    /// Where standard output or error goes.
    pub(super) fn output_name(&mut self, attribute: &str) -> Option<Arc<str>> {
        let name = self.values.text(attribute)?;
        let place = self.values.place(attribute);
        if !name.starts_with('/') {
            return inside(attribute, name, place, self.report);
        }
        let base = name.rsplit('/').next().unwrap_or_default();
        self.report.notice(
            place,
            format!("`{}` is not in the task's folder", shown(name)),
            format!("`{base}` in the task's folder is written instead"),
        );
        inside(attribute, base, place, self.report)
    }

    pub(super) fn outputs(&mut self) -> Vec<Arc<str>> {
        let mut outputs = IndexSet::new();
        for (name, place) in self.values.texts("OutputSandbox") {
            let name = name.trim();
            if name.is_empty() {
                let message = "an empty name in `OutputSandbox` means nothing";
                self.report.warn(place, message, "remove it");
            } else if is_elsewhere(name) {
                self.report.notice(
                    place,
                    format!("`{}` is not brought back", shown(name)),
                    "only what is in the task's folder is: have the program write or copy it there",
                );
            } else {
                outputs.extend(inside("OutputSandbox", name, place, self.report));
            }
        }
        self.archives(&mut outputs);
        outputs.into_iter().collect()
    }

    /// AliEn's outputs: `name@options`, or `archive:name,name@options`.
    fn archives(&mut self, outputs: &mut IndexSet<Arc<str>>) {
        for attribute in ["Output", "OutputFile", "OutputArchive"] {
            for (entry, place) in self.values.texts(attribute) {
                let entry = entry.split('@').next().unwrap_or(entry);
                let names = match entry.split_once(':') {
                    Some((archive, names)) => {
                        self.report.notice(
                            place,
                            format!("the archive `{}` is not made", shown(archive)),
                            "the files that it would hold are brought back one by one",
                        );
                        names
                    }
                    None => entry,
                };
                for name in names
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                {
                    outputs.extend(inside(attribute, name, place, self.report));
                }
            }
        }
    }

    pub(super) fn inputs(&mut self) -> Inputs {
        let mut written = self.values.texts("InputSandbox");
        let names = self.values.texts("InputSandboxDestFileName");
        if !names.is_empty() && names.len() != written.len() {
            self.report.error_with(
                self.values.place("InputSandboxDestFileName"),
                format!(
                    "`InputSandboxDestFileName` has {} names for the {} files of `InputSandbox`",
                    names.len(),
                    written.len()
                ),
                "give one name for each file, in the same order",
            );
            return Inputs::default();
        }
        written.extend(self.values.texts("InputFile"));
        let mut inputs = Inputs::default();
        let mut taken: HashMap<String, usize> = HashMap::new();
        for (i, (path, place)) in written.into_iter().enumerate() {
            if path.trim().is_empty() {
                let message = "an empty name in `InputSandbox` means nothing";
                self.report.warn(place, message, "remove it");
                continue;
            }
            let renamed = names.get(i).map(|(name, _)| *name);
            let input = match self.input(path.trim(), renamed) {
                Ok(input) => input,
                Err(Unusable::Absent { written, why, help }) => {
                    let message = format!("`{}` {why}", shown(&written));
                    self.report.notice(place, message, help);
                    inputs.absent.push(written);
                    continue;
                }
                Err(Unusable::Misnamed) => {
                    let message = "a file's name in the task's folder has no `/`";
                    self.report
                        .error_with(place, message, "write the name alone");
                    continue;
                }
            };
            match taken.get(&input.name) {
                None => {
                    taken.insert(input.name.clone(), inputs.local.len());
                    inputs.local.push(input);
                }
                Some(&before) => {
                    let before = &mut inputs.local[before];
                    doubled(before, input, self.dialect, place, self.report);
                }
            }
        }
        inputs
    }

    /// An input that the submitter has. With a base URI, what is not a URI itself is there.
    fn input(&self, path: &str, renamed: Option<&str>) -> Result<InputName, Unusable> {
        if let Some(rest) = path.strip_prefix("file://") {
            return local(rest.strip_prefix("localhost").unwrap_or(rest), renamed);
        }
        if path.starts_with(NODE_SCHEME) {
            return Err(Unusable::Absent {
                written: path.to_owned(),
                why: "is made by another node and is not handed on",
                help: "have the nodes share a folder that all sites see, or run them as one job",
            });
        }
        if url_scheme(path).is_some() {
            return Err(Unusable::elsewhere(path.to_owned()));
        }
        let base = self.values.text("InputSandboxBaseURI");
        match base.map(|base| base.trim_end_matches('/')) {
            None => local(path, renamed),
            Some(base) if base.starts_with("file://") && path.starts_with('/') => {
                local(path, renamed)
            }
            Some(base) => {
                let path = path.trim_start_matches('/');
                Err(Unusable::elsewhere(format!("{base}/{path}")))
            }
        }
    }
}

/// Two files cannot have one name. DIRAC takes the last; naming one twice does no harm.
fn doubled(
    before: &mut InputName,
    input: InputName,
    dialect: Dialect,
    place: Option<Span>,
    report: &mut Report,
) {
    let name = shown(&input.name);
    if *before == input {
        let message = format!("`{name}` is named twice in `InputSandbox`");
        report.warn(place, message, "remove one of them");
    } else if dialect == Dialect::Dirac {
        report.warn(
            place,
            format!("two files of `InputSandbox` have the name `{name}`: the last is taken"),
            "all files go into one folder: rename one",
        );
        *before = input;
    } else {
        report.error_with(
            place,
            format!("two files of `InputSandbox` have the name `{name}`"),
            "all files go into one folder: rename one, or use `InputSandboxDestFileName`",
        );
    }
}

/// A name in the task's folder: relative, and not leading out of it.
fn inside(
    attribute: &str,
    name: &str,
    place: Option<Span>,
    report: &mut Report,
) -> Option<Arc<str>> {
    if let Some(name) = folder_name(name) {
        return Some(name.into());
    }
    let (message, help) = if let Some(scheme) = url_scheme(name) {
        (
            format!("`{attribute}` cannot be at a URL: {scheme}"),
            "name a file in the task's folder; it is kept by the server",
        )
    } else if name.split('/').any(|part| part == "..") {
        (
            format!("`{}` leads out of the task's folder", shown(name)),
            "remove the `..`: only files in the task's folder can be named",
        )
    } else {
        (
            format!("`{}` is not the name of a file", shown(name)),
            "name a file in the task's folder",
        )
    };
    report.error_with(place, message, help);
    None
}

/// The name as it is in the task's folder; `None` if it is not one of a file there.
pub(super) fn folder_name(name: &str) -> Option<&str> {
    let leads_out = || name.contains("..") && name.split('/').any(|part| part == "..");
    if is_elsewhere(name)
        || name.is_empty()
        || name.ends_with('/')
        || name.contains('\0')
        || leads_out()
    {
        return None;
    }
    Some(name.strip_prefix("./").unwrap_or(name))
}

fn local(path: &str, renamed: Option<&str>) -> Result<InputName, Unusable> {
    let name = renamed.unwrap_or_else(|| path.rsplit('/').next().unwrap_or(path));
    let absent = |why, help| Unusable::Absent {
        written: path.to_owned(),
        why,
        help,
    };
    if path.contains(['*', '?', '[']) {
        Err(absent(
            "is a pattern, which is not expanded",
            "name each file",
        ))
    } else if name.is_empty() || name == "." || name == ".." {
        let help = "pack it first, e.g. with tar, and name the packed file";
        Err(absent("is a folder, which is not sent", help))
    } else if name.contains(['/', '\0']) || path.contains('\0') {
        Err(Unusable::Misnamed)
    } else {
        Ok(InputName {
            path: path.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Whether an output is named that is not in the task's folder.
fn is_elsewhere(name: &str) -> bool {
    name.starts_with('/') || url_scheme(name).is_some()
}

/// What stands before the first `:` if the name is a URL or a name of a catalogue or of a
/// store of sandboxes.
fn url_scheme(name: &str) -> Option<&str> {
    let (scheme, rest) = name.split_once(':')?;
    let known = ["lfn", "sb", "pfn", "guid", "lf", "pf"];
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_scheme && (rest.starts_with("//") || known.contains(&&*scheme.to_ascii_lowercase())))
        .then_some(scheme)
}

/// The beginning of a text, for a message.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
