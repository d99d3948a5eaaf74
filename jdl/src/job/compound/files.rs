//! Nodes that are in files: their names, and putting in what the files hold.
//!
//! Nothing is read here: the caller brings the contents.

use std::collections::HashMap;
use std::ops::Range;

use indexmap::IndexSet;

use super::word;
use crate::Diagnostic;
use crate::diagnostic::Report;
use crate::job::lower;
use crate::syntax::parser::{self, Manners};
use crate::syntax::{Node, Span, TEXT_BYTES_MAX};
use crate::{Ad, Expr};

/// The names of the files that nodes of a text refer to, as they are written, each once.
/// What cannot be read of the text is left to [`JobSpec::read`](crate::JobSpec::read).
pub fn node_files(text: &str) -> Vec<String> {
    let names: IndexSet<String> = references(text).into_iter().map(|file| file.name).collect();
    names.into_iter().collect()
}

/// The text with what the files hold in the place of their names: one that needs no other.
/// `read` gives the content of a file, or says why it cannot be had. Everything stays in its
/// line, as each description is put into the line of its `File`. Paths in it keep their
/// meaning: they are relative to where the whole text is. The second value holds the warnings
/// about the files.
///
/// # Errors
/// Every diagnostic about files that cannot be had, or hold no description of a job. Those on
/// what is in a file begin with its name, and their line is one of that file.
pub fn inline_files(
    text: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    let mut told = Vec::new();
    let mut inlined = String::with_capacity(text.len());
    let mut done = 0;
    for file in references(text) {
        let content = known
            .entry(file.name.clone())
            .or_insert_with(|| match read(&file.name) {
                Ok(content) => description(&file.name, &content, &mut told),
                Err(why) => {
                    let message = format!("`{}` cannot be read: {why}", file.name);
                    let help = "paths are relative to the folder of this text";
                    report.error_with(file.place, message, help);
                    None
                }
            });
        let Some(content) = content else { continue };
        inlined.push_str(&text[done..file.range.start]);
        inlined.push_str("Description = ");
        inlined.push_str(content);
        done = file.range.end;
        if inlined.len() + (text.len() - done) > TEXT_BYTES_MAX {
            report.error_with(
                file.place,
                "the text becomes too long with what its files hold",
                format!(
                    "it may have {TEXT_BYTES_MAX} bytes; make nodes parametric, or split the job"
                ),
            );
            break;
        }
    }
    inlined.push_str(&text[done..]);
    let errors = report.into_diagnostics(text);
    let is_error = |remark: &Diagnostic| remark.severity == crate::Severity::Error;
    if errors.is_empty() && !told.iter().any(is_error) {
        Ok((inlined, told))
    } else {
        Err([errors, told].concat())
    }
}

/// A `File = "name"` of a node.
struct Reference {
    name: String,
    /// From the attribute's name to the end of its value.
    range: Range<usize>,
    place: Span,
}

fn references(text: &str) -> Vec<Reference> {
    let mut report = Report::default();
    let ads = parser::documents(text, Manners::Jdl, &mut report);
    let mut found = Vec::new();
    for ad in &ads {
        match ad.get("Nodes").map(Expr::node) {
            Some(Node::List(items)) => found.extend(items.iter().filter_map(reference)),
            Some(Node::Record(record)) => {
                found.extend(record.iter().filter_map(|(_, expr)| reference(expr)));
            }
            _ => {}
        }
    }
    found.sort_by_key(|file: &Reference| file.range.start);
    found
}

fn reference(node: &Expr) -> Option<Reference> {
    let Node::Record(record) = node.node() else {
        return None;
    };
    if record.get("Description").is_some() {
        return None;
    }
    let file = record.get("File")?;
    let name = word(file).filter(|name| !name.is_empty())?;
    let start = record.name_span("File")?.start as usize;
    Some(Reference {
        name: name.to_owned(),
        range: start..file.span().end as usize,
        place: file.span(),
    })
}

/// The ad in a file, in one line. Remarks are told as those of the file.
fn description(file: &str, content: &str, told: &mut Vec<Diagnostic>) -> Option<String> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut report = Report::default();
    let mut ads = parser::documents(content, Manners::Jdl, &mut report);
    let several = ads.len() > 1;
    let mut ad = ads.pop().unwrap_or_default();
    lower::quote_bare_texts(&mut ad, content, &mut report);
    if several || ad.get("Nodes").is_some() {
        let help = "a node is one job: put these among the nodes of the whole";
        report.error_with(None, "there are several jobs in this file", help);
    } else if ad.is_empty() && !report.has_errors() {
        report.error_with(
            None,
            "this file describes nothing",
            "write `Executable = \"program\";`",
        );
    }
    let broken = report.has_errors();
    told.extend(
        report
            .into_diagnostics(content)
            .into_iter()
            .map(|remark| of_file(file, remark)),
    );
    (!broken).then(|| Ad::to_string(&ad))
}

/// The remark, told to be on that file.
fn of_file(file: &str, remark: Diagnostic) -> Diagnostic {
    let message = format!("in `{file}`: {}", remark.message);
    Diagnostic {
        rendered: remark.rendered.replacen(&remark.message, &message, 1),
        message,
        ..remark
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobSpec;

    const DAG: &str = "\u{feff}Type = \"dag\";\n\
        Nodes = [\n\
          a = [ file = \"sub/a.jdl\" ];\n\
          b = [ NodeName = \"b\"; File = \"b.jdl\"; ];\n\
          c = [ FILE = \"sub/a.jdl\"; node_retry_count = 2 ];\n\
          Dependencies = { { a, b }, { b, c } }\n\
        ];\n\
        Requirements = other.X ==;";

    fn whole() -> String {
        DAG.replace("==;", "== 1;")
    }

    #[test]
    fn files_are_listed_once_and_put_in_without_moving_a_line() {
        assert_eq!(node_files(&whole()), ["sub/a.jdl", "b.jdl"]);
        let mut asked = Vec::new();
        let (text, warnings) = inline_files(&whole(), &mut |name| {
            asked.push(name.to_owned());
            Ok(match name {
                "b.jdl" => {
                    "[\n  # A comment.\n  Executable = \"b\";\n  Arguments = \"x\ny\";\n]".into()
                }
                _ => "Executable = run.sh;\nParameters.A = 1;".into(),
            })
        })
        .unwrap();
        assert_eq!(asked, ["sub/a.jdl", "b.jdl"]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].message.starts_with("in `sub/a.jdl`: "));
        insta::assert_snapshot!(text);
        let (spec, _) = JobSpec::read(&text).unwrap();
        assert_eq!(spec.task_count(), 3);
        assert_eq!(spec.needs(2).retries_deep, 2);
    }

    #[test]
    fn what_is_wrong_with_files_is_told_with_their_names() {
        let errors = inline_files(&whole(), &mut |name| match name {
            "b.jdl" => Ok("Executable = \"b\"\nArguments = \"x\";".into()),
            _ => Err("no such file".into()),
        })
        .unwrap_err();
        let rendered: Vec<String> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(rendered.join("\n\n"));
    }

    #[test]
    fn what_is_wrong_with_the_text_itself_is_left_to_its_reader() {
        let (text, _) = inline_files(DAG, &mut |_| Ok("Executable = \"b\";".into())).unwrap();
        let errors = JobSpec::read(&text).unwrap_err();
        assert_eq!((errors.len(), errors[0].line), (1, 8), "{errors:?}");
    }
}
