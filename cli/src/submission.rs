//! From a JDL file to what is sent: the text, and the files that it names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fairway_api::client::{InputFile, Submission};
use fairway_jdl::{Diagnostic, JobSpec};
use fairway_model::GroupName;

use crate::exit::Failure;

/// A JDL file, read and found good.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What is sent.
    pub(crate) submission: Submission,
    /// How many tasks it expands to.
    pub(crate) tasks: u32,
}

/// Reads a JDL file (`-`: standard input) and finds the files of its input sandbox.
pub(crate) fn load(path: &Path, group: Option<GroupName>) -> Result<Loaded, Failure> {
    let text = read_text(path)?;
    let (spec, _) =
        JobSpec::read(&text).map_err(|diagnostics| Failure::Refused(listed(path, &diagnostics)))?;
    let folder = match path.parent() {
        Some(parent) if path != Path::new("-") => parent,
        _ => Path::new(""),
    };
    // Tasks may give one file different names.
    let paths: BTreeSet<_> = spec.inputs().into_iter().map(|input| input.path).collect();
    let files: Vec<_> = paths
        .into_iter()
        .map(|path| InputFile {
            path: folder.join(&path),
            name: path,
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

/// The text of a file, or of standard input for `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Failure::file("read", path, &error))
}

/// Diagnostics as they are shown, under the file's name.
pub(crate) fn listed(path: &Path, diagnostics: &[Diagnostic]) -> String {
    let mut text = format!("{} is not a valid job description", path.display());
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
