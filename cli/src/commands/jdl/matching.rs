//! `fairway jdl match`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use fairway_jdl::eval::{Clause, clauses};
use fairway_jdl::json::is_json;
use fairway_jdl::{Ad, Expr, Needs};
use serde::Serialize;

use super::ads;
use crate::exit::Failure;
use crate::render::table::harmless;
use crate::screen::Format;
use crate::submission::{read_job, read_text};

/// Show what each clause of a job's Requirements is worth at a site, and the Rank
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The site is what `fairway site show NAME --json` prints, or one ad of GLUE attributes, as JSON or
as a ClassAd. If the site's ad has Requirements of its own, they must hold as well.

The exit code is 0 if the job matches somewhere, and 1 if it does not.")]
pub(crate) struct Match {
    /// The job; `-` is standard input
    job: PathBuf,
    /// The site, or one ad
    #[arg(long, value_name = "FILE")]
    site: PathBuf,
    /// Which of the job's tasks
    #[arg(long, value_name = "N", default_value_t = 0)]
    task: u32,
    #[command(flatten)]
    format: Format,
}

/// How a job and one CE go together.
#[derive(Serialize)]
struct Verdict {
    ce: String,
    matches: bool,
    /// What the Rank is worth there, as a ClassAd literal; the job may have none.
    rank: Option<String>,
    requirements: Vec<ClauseTold>,
    /// The Requirements of the other side.
    site_requirements: Vec<ClauseTold>,
}

#[derive(Serialize)]
struct ClauseTold {
    clause: String,
    value: String,
    because: String,
}

impl Match {
    pub(super) fn run(self) -> Result<(), Failure> {
        let spec = read_job(&self.job)?.spec;
        if self.task >= spec.task_count() {
            return Err(Failure::Usage(format!(
                "there is no task {}: the job has {}",
                self.task,
                crate::render::words::count(spec.task_count(), "task")
            )));
        }
        let needs = spec.needs(self.task);
        let verdicts: Vec<_> = candidates(&self.site)?
            .into_iter()
            .map(|(name, ad)| verdict(name, &needs, &ad))
            .collect();
        self.format.show(&verdicts, || text(&verdicts))?;
        if verdicts.iter().any(|verdict| verdict.matches) {
            Ok(())
        } else {
            Err(Failure::Unsuccessful("the job matches nowhere".into()))
        }
    }
}

/// The ads to match with, each with its name.
fn candidates(path: &Path) -> Result<Vec<(String, Ad)>, Failure> {
    let text = read_text(path)?;
    if !is_json(&text) {
        let ad = ads::parse(path, &text)?;
        return Ok(vec![(name_of(&ad, path), ad)]);
    }
    let json = ads::parse_json(path, &text)?;
    let Some(states) = json.get("states").and_then(|states| states.as_array()) else {
        let ad = ads::from_json(path, &json)?;
        return Ok(vec![(name_of(&ad, path), ad)]);
    };
    let mut candidates = Vec::new();
    for (place, state) in states.iter().enumerate() {
        let site = json["name"].as_str().unwrap_or_default();
        let ce = json["ces"][place]["name"].as_str().unwrap_or_default();
        candidates.push((
            format!("{site}/{ce}"),
            ads::from_json(path, &state["glue"])?,
        ));
    }
    Ok(candidates)
}

/// What an ad calls itself, or the file that it came from.
fn name_of(ad: &Ad, path: &Path) -> String {
    let named = ["GlueCEUniqueID", "Name"]
        .into_iter()
        .find_map(|name| Some(ad.get(name)?.literal()?.as_str()?.to_owned()));
    named.unwrap_or_else(|| path.display().to_string())
}

fn verdict(ce: String, needs: &Needs, site: &Ad) -> Verdict {
    let told = |requirements: Option<&Expr>, my: &Ad, other: &Ad| {
        let clauses = requirements.map(|expr| clauses(expr, my, other));
        let clauses = clauses.unwrap_or_default().into_iter();
        clauses.map(ClauseTold::from).collect::<Vec<_>>()
    };
    let holds = |requirements: Option<&Expr>, my: &Ad, other: &Ad| {
        requirements.is_none_or(|expr| fairway_jdl::eval(expr, my, Some(other)).is_true())
    };
    let ours = needs.requirements.as_ref();
    let theirs = site.get("Requirements");
    let rank = needs.rank.as_ref();
    Verdict {
        ce,
        matches: holds(ours, &needs.ad, site) && holds(theirs, site, &needs.ad),
        rank: rank.map(|rank| fairway_jdl::eval(rank, &needs.ad, Some(site)).to_string()),
        requirements: told(ours, &needs.ad, site),
        site_requirements: told(theirs, site, &needs.ad),
    }
}

impl From<Clause> for ClauseTold {
    fn from(clause: Clause) -> Self {
        Self {
            clause: clause.text,
            value: clause.value.to_string(),
            because: clause.because,
        }
    }
}

fn text(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let (style, says) = match verdict.matches {
            true => (AnsiColor::Green, "matches"),
            false => (AnsiColor::Red, "does not match"),
        };
        let style = style.on_default().bold();
        let ce = harmless(&verdict.ce);
        let _ = write!(text, "{ce}: {style}{says}{style:#}");
        match &verdict.rank {
            Some(rank) => writeln!(text, ", Rank {}", harmless(rank)),
            None => writeln!(text),
        }
        .ok();
        if verdict.requirements.is_empty() {
            text.push_str("  the job has no Requirements\n");
        }
        clauses_text(&mut text, &verdict.requirements);
        if !verdict.site_requirements.is_empty() {
            text.push_str("  Requirements of the site:\n");
            clauses_text(&mut text, &verdict.site_requirements);
        }
    }
    text
}

fn clauses_text(text: &mut String, clauses: &[ClauseTold]) {
    let width = clauses.iter().map(|it| it.value.len()).max().unwrap_or(0);
    let dimmed = Style::new().dimmed();
    for clause in clauses {
        let style = match &*clause.value {
            "true" => AnsiColor::Green,
            _ => AnsiColor::Red,
        }
        .on_default();
        let _ = writeln!(
            text,
            "  {style}{:width$}{style:#}  {}\n  {:width$}  {dimmed}{}{dimmed:#}",
            harmless(&clause.value),
            harmless(&clause.clause),
            "",
            harmless(&clause.because),
        );
    }
}
