//! `fairway jdl expand`

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use fairway_jdl::{JobSpec, TaskSpec};
use fairway_model::{JobId, TaskId};
use serde::Serialize;

use crate::exit::Failure;
use crate::render::table::harmless;
use crate::render::words;
use crate::screen;
use crate::submission::read_job;

/// Stands for the number that the server gives to the job.
const JOB: JobId = JobId(1);

/// Show the tasks that a job description makes
#[derive(Debug, clap::Args)]
pub(crate) struct Expand {
    /// The job description; `-` is standard input
    file: PathBuf,
    /// Only this task
    #[arg(long, value_name = "N", conflicts_with_all = ["limit", "all"])]
    task: Option<u32>,
    /// So many tasks, from the first on
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// All tasks
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Write JSON: one object a line
    #[arg(long)]
    json: bool,
}

/// A task as it is told to programs.
#[derive(Serialize)]
struct Told<'a> {
    task: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    executable: &'a str,
    arguments: &'a [Arc<str>],
    environment: Vec<String>,
    stdin: Option<&'a str>,
    stdout: Option<&'a str>,
    stderr: Option<&'a str>,
    /// Each with its path and its name in the task's folder.
    inputs: Vec<[&'a str; 2]>,
    outputs: &'a [Arc<str>],
    cores: u32,
    memory_mib: u64,
    gpus: u32,
    walltime_s: Option<u64>,
    requirements: Option<String>,
    rank: Option<String>,
}

impl Expand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let spec = read_job(&self.file)?.spec;
        let count = spec.task_count();
        let shown = self.shown(count)?;
        let mut out = BufWriter::new(anstream::stdout().lock());
        for index in shown.clone() {
            let task = spec.task(TaskId::new(JOB, index));
            let node = node_name(&spec, index);
            if self.json {
                let told = serde_json::to_string(&told(index, node, &task))
                    .map_err(|error| Failure::Local(error.to_string()))?;
                writeln!(out, "{told}")?;
            } else {
                out.write_all(text(index, node, &task).as_bytes())?;
            }
        }
        out.flush()?;
        if self.task.is_none() && shown.end < count {
            screen::remark(&format!(
                "{} of {} shown: see the others with --all",
                words::count(shown.end, "task"),
                count
            ));
        }
        Ok(())
    }

    fn shown(&self, count: u32) -> Result<Range<u32>, Failure> {
        match self.task {
            Some(task) if task >= count => Err(Failure::Usage(format!(
                "there is no task {task}: the job has {}",
                words::count(count, "task")
            ))),
            Some(task) => Ok(task..task + 1),
            None if self.all => Ok(0..count),
            None => Ok(0..count.min(self.limit)),
        }
    }
}

fn node_name(spec: &JobSpec, index: u32) -> Option<&str> {
    let node = spec.node_of(index)?;
    Some(&spec.nodes().get(node as usize)?.name)
}

fn told<'a>(index: u32, node: Option<&'a str>, task: &'a TaskSpec) -> Told<'a> {
    let needs = &task.needs;
    Told {
        task: index,
        node,
        executable: &task.executable,
        arguments: &task.arguments,
        environment: task
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        stdin: task.stdin.as_deref(),
        stdout: task.stdout.as_deref(),
        stderr: task.stderr.as_deref(),
        inputs: task
            .inputs
            .iter()
            .map(|it| [&*it.path, &*it.name])
            .collect(),
        outputs: &task.outputs,
        cores: needs.resources.cores,
        memory_mib: needs.resources.memory_mib,
        gpus: needs.resources.gpus,
        walltime_s: needs.walltime_s,
        requirements: needs.requirements.as_ref().map(ToString::to_string),
        rank: needs.rank.as_ref().map(ToString::to_string),
    }
}

/// The task as a person reads it: the command first, and below it what else there is.
fn text(index: u32, node: Option<&str>, task: &TaskSpec) -> String {
    let mut text = format!("{index}");
    if let Some(node) = node {
        let _ = write!(text, " ({})", harmless(node));
    }
    let command = std::iter::once(&task.executable).chain(&task.arguments);
    let command: Vec<_> = command.map(|word| quoted(word)).collect();
    let _ = writeln!(text, ": {}", harmless(&command.join(" ")));
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "    {label:<13}{}", harmless(&value));
        }
    };
    let variables = task.environment.iter();
    let variables: Vec<_> = variables
        .map(|(name, value)| format!("{name}={}", quoted(value)))
        .collect();
    line("environment", variables.join(" "));
    let file = |file: &Option<Arc<str>>| file.as_deref().unwrap_or_default().to_owned();
    line("stdin", file(&task.stdin));
    line("stdout", file(&task.stdout));
    line("stderr", file(&task.stderr));
    let inputs = task.inputs.iter().map(|input| {
        if input.path == input.name {
            input.path.clone()
        } else {
            format!("{} as {}", input.path, input.name)
        }
    });
    line("inputs", inputs.collect::<Vec<_>>().join(", "));
    line("outputs", task.outputs.join(", "));
    line("needs", words::resources(task.needs.resources));
    let shown = |expr: &Option<fairway_jdl::Expr>| expr.as_ref().map(ToString::to_string);
    line(
        "Requirements",
        shown(&task.needs.requirements).unwrap_or_default(),
    );
    line("Rank", shown(&task.needs.rank).unwrap_or_default());
    text
}

/// A word as a shell would have to read it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
