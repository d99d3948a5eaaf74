//! `fairway jdl check`

use std::path::{Path, PathBuf};

use fairway_jdl::{Diagnostic, JobSpec, Severity};
use serde::Serialize;

use crate::exit::Failure;
use crate::render::words;
use crate::screen;
use crate::submission::{self, Reading};

/// Check job descriptions without submitting them: all mistakes are told at once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of a folder, all files whose names end in .jdl are checked, also those in the folders below it.")]
pub(crate) struct Check {
    /// JDL files, or folders of them; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// Only the summary and what is refused: no warnings
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: screen::Format,
}

/// What is told of one file.
#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<Job>,
    diagnostics: Vec<Told>,
}

/// The job that a valid description makes.
#[derive(Serialize)]
struct Job {
    name: String,
    dialect: String,
    /// How many jobs a collection or DAG is made of; 0 for other jobs.
    nodes: usize,
    tasks: u32,
}

#[derive(Serialize)]
struct Told {
    severity: &'static str,
    message: String,
    help: Option<String>,
    line: u32,
    column: u32,
    #[serde(skip)]
    rendered: String,
}

/// All files, added up.
#[derive(Default, Serialize)]
struct Summary {
    files: u64,
    valid: u64,
    refused: u64,
    with_warnings: u64,
    tasks: u64,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut files = Vec::new();
        for file in &self.files {
            collect(file, &mut files)?;
        }
        if files.is_empty() {
            return Err(Failure::Local("there are no .jdl files there".into()));
        }
        let mut summary = Summary::default();
        let mut all = Vec::new();
        for file in &files {
            let checked = self.check(file)?;
            summary.add(&checked);
            if self.format.json {
                all.push(checked);
            } else {
                screen::write(&checked.text(self.quiet))?;
            }
        }
        if self.format.json {
            screen::write_json(&serde_json::json!({ "files": all, "summary": summary }))?;
        } else if files.len() > 1 {
            screen::write(&summary.text())?;
        }
        match summary.refused {
            0 => Ok(()),
            1 if files.len() == 1 => Err(Failure::Refused("the job description is refused".into())),
            refused => Err(Failure::Refused(format!(
                "{} refused",
                words::count(refused, "job description")
            ))),
        }
    }

    fn check(&self, file: &Path) -> Result<Checked, Failure> {
        let (job, diagnostics) = match submission::examine(file, &self.reading)? {
            Ok(job) => (Some(Job::of(&job.spec)), job.remarks),
            Err(diagnostics) => (None, diagnostics),
        };
        Ok(Checked {
            file: file.display().to_string(),
            valid: job.is_some(),
            job,
            diagnostics: diagnostics.into_iter().map(Told::from).collect(),
        })
    }
}

/// The file, or all descriptions in and below the folder, in the order of their names.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| Failure::file("read", path, &error);
    if path == Path::new("-") || !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        // A link to a folder is not followed: it may lead back.
        let kind = entry.file_type().map_err(unreadable)?;
        let is_jdl = entry.path().extension().is_some_and(|it| it == "jdl");
        if kind.is_dir() || is_jdl && entry.path().is_file() {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

impl Job {
    fn of(spec: &JobSpec) -> Self {
        Self {
            name: spec.name().to_owned(),
            dialect: spec.dialect().to_string(),
            nodes: spec.nodes().len(),
            tasks: spec.task_count(),
        }
    }
}

impl From<Diagnostic> for Told {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            severity: diagnostic.severity.name(),
            message: diagnostic.message,
            help: diagnostic.help,
            line: diagnostic.line,
            column: diagnostic.column,
            rendered: diagnostic.rendered,
        }
    }
}

impl Checked {
    fn text(&self, quiet: bool) -> String {
        let mut text = match &self.job {
            Some(job) => format!(
                "{}: {} job `{}` with {}\n",
                self.file,
                job.dialect,
                job.name,
                words::count(job.tasks, "task")
            ),
            None => format!("{}: refused\n", self.file),
        };
        for diagnostic in &self.diagnostics {
            if quiet && diagnostic.severity != Severity::Error.name() {
                continue;
            }
            text.push_str(diagnostic.rendered.trim_end());
            text.push_str("\n\n");
        }
        text
    }
}

impl Summary {
    fn add(&mut self, checked: &Checked) {
        self.files += 1;
        match &checked.job {
            Some(job) => {
                self.valid += 1;
                self.with_warnings += u64::from(!checked.diagnostics.is_empty());
                self.tasks += u64::from(job.tasks);
            }
            None => self.refused += 1,
        }
    }

    fn text(&self) -> String {
        format!(
            "{}: {} good ({} of them with remarks), {} refused; {} in all\n",
            words::count(self.files, "file"),
            self.valid,
            self.with_warnings,
            self.refused,
            words::count(self.tasks, "task")
        )
    }
}
