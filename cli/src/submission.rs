//! From a JDL file to what is sent: the text, and the files that it names.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use fairway_api::client::{InputFile, Submission};
use fairway_jdl::job::{MissingFiles, ReadOptions, decode, inline_files, node_files, with_depends};
use fairway_jdl::json::jdl_of;
use fairway_jdl::{Diagnostic, Dialect, JobSpec};
use fairway_model::GroupName;

use crate::exit::Failure;

/// A job that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What is sent.
    pub(crate) submission: Submission,
    /// How many tasks it expands to.
    pub(crate) tasks: u32,
}

/// Reads a job description and finds the files of its input sandbox. `after`: what it waits for,
/// instead of what it says itself.
pub(crate) fn load(
    path: &Path,
    group: Option<GroupName>,
    after: Option<&str>,
) -> Result<Loaded, Failure> {
    let Description { text, spec, .. } = match after {
        Some(after) => read_job_after(path, after)?,
        None => read_job(path)?,
    };
    let files: Vec<_> = spec
        .inputs()
        .into_iter()
        .map(|input| InputFile {
            path: folder_of(path).join(&input.path),
            name: input.path,
        })
        .collect();
    refuse_missing(path, &text, &files)?;
    Ok(Loaded {
        tasks: spec.task_count(),
        submission: Submission {
            jdl: text,
            group,
            files,
        },
    })
}

/// How a job description is read.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Reading {
    /// Refuse what the old systems forgave, such as a missing semicolon
    #[arg(long)]
    strict: bool,
    /// Read it in this dialect, whatever it looks like
    #[arg(long)]
    dialect: Option<DialectName>,
}

/// A dialect, as it is named on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DialectName {
    Glite,
    Dirac,
    Alien,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Glite => Self::Glite,
            DialectName::Dirac => Self::Dirac,
            DialectName::Alien => Self::Alien,
        }
    }
}

/// A job description that was read and found good.
#[derive(Debug)]
pub(crate) struct Description {
    /// JDL that needs no other file of nodes.
    pub(crate) text: String,
    pub(crate) spec: JobSpec,
    /// What is to be said of it.
    pub(crate) remarks: Vec<Diagnostic>,
}

/// The job that a file (`-`: standard input) describes.
pub(crate) fn read_job(path: &Path) -> Result<Description, Failure> {
    describe(read(path)?, path, &ReadOptions::default()).map_err(|diagnostics| {
        Failure::Refused(listed(path, "a valid job description", &diagnostics))
    })
}

/// As [`read_job`], with other dependencies than it has.
fn read_job_after(path: &Path, after: &str) -> Result<Description, Failure> {
    let Description { text, .. } = read_job(path)?;
    let refused = |diagnostics: Vec<Diagnostic>| {
        Failure::Refused(listed(path, "a valid job description", &diagnostics))
    };
    let text = with_depends(&text, after).map_err(refused)?;
    let (spec, remarks) = JobSpec::read(&text).map_err(refused)?;
    Ok(Description {
        text,
        spec,
        remarks,
    })
}

/// As [`read_job`], for looking at it only: nodes may be in files that are not there. The inner
/// error is what is wrong with the description.
pub(crate) fn examine(
    path: &Path,
    reading: &Reading,
) -> Result<Result<Description, Vec<Diagnostic>>, Failure> {
    let options = ReadOptions {
        missing_files: MissingFiles::Count,
        strict: reading.strict,
        dialect: reading.dialect.map(Dialect::from),
    };
    Ok(describe(read(path)?, path, &options))
}

/// From the bytes of a file to a job: JDL or JSON, with the files that its nodes are in.
fn describe(
    bytes: Vec<u8>,
    path: &Path,
    options: &ReadOptions,
) -> Result<Description, Vec<Diagnostic>> {
    let (mut text, mut remarks) = jdl_of(&bytes, options.strict)?;
    let folder = folder_of(path);
    let there = |name: &String| folder.join(name).is_file();
    if options.missing_files == MissingFiles::Refuse || node_files(&text).iter().all(there) {
        let (whole, more) = inline_files(&text, &mut |name| node_text(&folder.join(name)))?;
        text = whole;
        remarks.extend(more);
    }
    match JobSpec::read_with(&text, options) {
        Ok((spec, more)) => {
            remarks.extend(more);
            Ok(Description {
                text,
                spec,
                remarks,
            })
        }
        Err(diagnostics) => Err([remarks, diagnostics].concat()),
    }
}

/// What a file holds that a node is in; otherwise why it cannot be had.
fn node_text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    match decode(&bytes, false) {
        Ok((text, _)) => Ok(text),
        Err(diagnostics) => Err(diagnostics.into_iter().map(|it| it.message).collect()),
    }
}

/// Where the paths in a description begin.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if path != Path::new("-") => parent,
        _ => Path::new(""),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return std::fs::read(path).map_err(|error| Failure::file("read", path, &error));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file("read", path, &error))?;
    Ok(bytes)
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    decode(&read(path)?, false)
        .map(|(text, _)| text)
        .map_err(|diagnostics| Failure::Refused(listed(path, "a text", &diagnostics)))
}

/// Diagnostics as they are shown, under the file's name.
pub(crate) fn listed(path: &Path, what: &str, diagnostics: &[Diagnostic]) -> String {
    let mut text = format!("{} is not {what}", path.display());
    for diagnostic in diagnostics {
        text.push_str("\n\n");
        text.push_str(diagnostic.rendered.trim_end());
    }
    text
}

/// Refuses a sandbox with files that are not there, all of them at once.
fn refuse_missing(jdl_path: &Path, text: &str, files: &[InputFile]) -> Result<(), Failure> {
    let missing: Vec<_> = files
        .iter()
        .filter_map(|file| Some((file, why_unusable(&file.path)?)))
        .map(|(file, why)| {
            // A name with a parameter in it is nowhere as it stands.
            let place = match text.lines().position(|line| line.contains(&file.name)) {
                Some(index) => format!("{}:{}", jdl_path.display(), index + 1),
                None => jdl_path.display().to_string(),
            };
            format!(
                "{place}: the input sandbox names `{}`, but {} {why}",
                file.name,
                file.path.display()
            )
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Local(format!(
        "{}\nPaths are relative to the folder of the JDL file",
        missing.join("\n")
    )))
}

fn why_unusable(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => None,
        Ok(_) => Some("is not a file".into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("does not exist".into()),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

/// Where the outputs of a job go if its user names no place: `./<name>-<number>`,
/// with the first number from the job's on that is not taken, so that nothing is overwritten.
pub(crate) fn output_folder(job_name: &str, job: fairway_model::JobId) -> PathBuf {
    let name: String = job_name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(64)
        .collect();
    let name = match name.trim_start_matches('.') {
        "" => "job",
        name => name,
    };
    (job.0..)
        .map(|number| PathBuf::from(format!("{name}-{number}")))
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_model::JobId;

    #[test]
    fn a_missing_file_is_told_with_its_line() {
        let text = "[\n Executable = \"run.sh\";\n InputSandbox = {\"data/in.txt\"};\n]";
        let file = InputFile {
            name: "data/in.txt".into(),
            path: "/nowhere/data/in.txt".into(),
        };
        let failure = refuse_missing(Path::new("/nowhere/job.jdl"), text, &[file]).unwrap_err();
        insta::assert_snapshot!(failure, @r"
        /nowhere/job.jdl:3: the input sandbox names `data/in.txt`, but /nowhere/data/in.txt does not exist
        Paths are relative to the folder of the JDL file
        ");
    }

    #[test]
    fn an_output_folder_stays_here() {
        for (name, expected) in [
            ("sweep", "sweep-7"),
            ("../etc/x y", "_etc_x_y-7"),
            ("..", "job-7"),
        ] {
            assert_eq!(output_folder(name, JobId(7)), PathBuf::from(expected));
        }
    }
}
