//! The policy as a file: `fairway policy export` and `check`.

use std::path::{Path, PathBuf};

use fairway_api::client::Versioned;
use fairway_model::Policy;
use fairway_model::policy::Mistake;
use serde::Serialize;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::render::words;
use crate::screen::{self, Format};
use crate::submission::read_text;

/// What the line of an exported file begins with that tells of which version it is.
const VERSION: &str = "# version: ";

/// Write the policy in force as TOML
///
/// What the file does not name is as usual. `diff` and `import` take it back; its version
/// makes sure that no change of somebody else is lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Write to a file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
}

/// Check policy files (TOML or JSON), without a server
///
/// All that cannot be read is told; if everything can be, all that makes no sense. In TOML each
/// mistake has its line, in JSON its place.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Policy files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// What is told of one file.
#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    mistakes: Vec<Mistake>,
}

/// A policy file.
pub(super) struct Document {
    pub(super) policy: Policy,
    /// The version that it was exported as.
    pub(super) version: Option<String>,
}

impl Export {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let text = written(&self.connect.client()?.versioned_policy().await?)?;
        match &self.output {
            None => screen::write(&text),
            Some(path) => {
                std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
            }
        }
    }
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut all = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let mistakes = Policy::read(&read_text(file)?).err().unwrap_or_default();
            all.push(Checked {
                file: file.display().to_string(),
                valid: mistakes.is_empty(),
                mistakes,
            });
        }
        if self.format.json {
            screen::write_json(&all)?;
        } else {
            let text: String = all.iter().map(Checked::text).collect();
            screen::write(&text)?;
        }
        match all.iter().filter(|it| !it.valid).count() as u64 {
            0 => Ok(()),
            refused => Err(Failure::Refused(format!(
                "{} not valid",
                words::count(refused, "policy file")
            ))),
        }
    }
}

impl Checked {
    fn text(&self) -> String {
        if self.valid {
            return format!("{}: good\n", self.file);
        }
        let lines = self.mistakes.iter().map(|it| format!("  {it}\n"));
        format!("{}: not valid\n{}", self.file, lines.collect::<String>())
    }
}

/// The file of a policy.
fn written(versioned: &Versioned) -> Result<String, Failure> {
    let policy = versioned.policy.to_toml().map_err(Failure::Local)?;
    Ok(format!(
        "# The policy of a Fairway server; what is not named here is as usual.\n\
         # Try it with `fairway policy diff FILE`, put it in force with `fairway policy import FILE`.\n\
         {VERSION}{}\n\n{policy}",
        versioned.version
    ))
}

/// Reads a policy file.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    let text = read_text(path)?;
    let policy = Policy::read(&text).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(|it| format!("\n  {it}")).collect();
        Failure::Refused(format!("{} is not valid{}", path.display(), told.concat()))
    })?;
    let version = text.lines().find_map(|line| line.strip_prefix(VERSION));
    Ok(Document {
        policy,
        version: version.map(|version| version.trim().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_file_is_read_with_its_version() {
        let versioned = Versioned {
            policy: Policy::default(),
            version: "3f2a".into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        std::fs::write(&path, written(&versioned).unwrap()).unwrap();
        let document = read(&path).unwrap();
        assert_eq!(document.policy, versioned.policy);
        assert_eq!(document.version.as_deref(), Some("3f2a"));
        std::fs::write(&path, "kind = \"fifo\"\n").unwrap();
        assert_eq!(read(&path).unwrap().version, None);
    }
}
