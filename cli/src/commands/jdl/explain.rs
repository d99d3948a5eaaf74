//! `fairway jdl explain`

use std::fmt::Write as _;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use fairway_jdl::job::{Status, attribute};
use fairway_jdl::{Ad, JobSpec};

use crate::exit::Failure;
use crate::render::table::harmless;
use crate::render::words;
use crate::screen;
use crate::submission::{Reading, examine, listed};

/// Longest value that is shown, in characters.
const VALUE_CHARS_MAX: usize = 200;

/// Tell what a job description says: its dialect, what each attribute does, and in which order
/// its jobs run
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The job description; `-` is standard input
    file: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let job = examine(&self.file, &self.reading)?.map_err(|diagnostics| {
            Failure::Refused(listed(&self.file, "a valid job description", &diagnostics))
        })?;
        for remark in &job.remarks {
            screen::remark(&format!("{}\n", remark.rendered.trim_end()));
        }
        screen::write(&text(&job.spec))
    }
}

fn text(spec: &JobSpec) -> String {
    let mut text = format!(
        "Job `{}`: {}.\nIt is read in the dialect of {}: {}.\n\n",
        harmless(spec.name()),
        size(spec),
        spec.dialect(),
        spec.dialect_evidence()
    );
    attributes(&mut text, spec.ad(), "");
    for (place, node) in spec.nodes().iter().enumerate() {
        let _ = write!(
            text,
            "\nNode `{}`: {}",
            harmless(&node.name),
            words::count(node.tasks.end - node.tasks.start, "task")
        );
        let parents = node.parents.iter();
        let parents = parents.filter_map(|parent| spec.nodes().get(*parent as usize));
        let parents: Vec<_> = parents
            .map(|it| format!("`{}`", harmless(&it.name)))
            .collect();
        if !parents.is_empty() {
            let _ = write!(text, ", when all of {} succeeded", parents.join(", "));
        }
        text.push('\n');
        if let Some(ad) = u32::try_from(place)
            .ok()
            .and_then(|place| spec.node_ad(place))
        {
            attributes(&mut text, ad, "  ");
        }
    }
    text
}

/// How many tasks, of how many nodes.
fn size(spec: &JobSpec) -> String {
    let tasks = words::count(spec.task_count(), "task");
    match spec.nodes().len() {
        0 => tasks,
        nodes => format!("{tasks} of {}", words::count(nodes as u64, "node")),
    }
}

/// Each attribute with its value, and what becomes of it.
fn attributes(text: &mut String, ad: &Ad, margin: &str) {
    let dimmed = Style::new().dimmed();
    let yellow = AnsiColor::Yellow.on_default();
    for (name, expr) in ad.iter() {
        let value = shortened(&harmless(&expr.to_string()));
        let _ = writeln!(text, "{margin}{} = {value}", harmless(name));
        let _ = match attribute(name) {
            None => writeln!(
                text,
                "{margin}    {yellow}Not known; kept with the job, and other attributes can refer to it.{yellow:#}"
            ),
            Some(known) => writeln!(text, "{margin}    {dimmed}{}{dimmed:#}", known.doc),
        };
        match attribute(name).map(|known| known.status) {
            Some(Status::NotDone(what)) => {
                let _ = writeln!(text, "{margin}    {yellow}Not done: {what}.{yellow:#}");
            }
            Some(Status::Noted) => {
                let _ = writeln!(text, "{margin}    {yellow}It has no effect.{yellow:#}");
            }
            Some(Status::Honoured) | None => {}
        }
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text.to_owned();
    }
    let short: String = text.chars().take(VALUE_CHARS_MAX).collect();
    format!("{short}…")
}
